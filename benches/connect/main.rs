//! What the kernel programs add to connect(2), in a network namespace and in cgroups of its own. Needs root.
//!
//! Every round measures a batch of connections in each setting, in turn, by a process that lives in that setting's
//! cgroup. Settings are compared within a round, so that whatever else the machine does meets them alike. The time is
//! that of the connect call alone; of a TCP connection it holds the whole handshake over loopback.
//!
//! `cargo xtask bench connect`
#![expect(clippy::print_stdout, reason = "a benchmark's output")]

mod arena;
mod statistics;
mod worker;

use anyhow::{Context as _, Result, bail};

use arena::{Arena, SETTINGS};
use statistics::{Estimate, median};

/// Rounds, connections of each batch, and batches whose results do not count.
const ROUNDS: usize = 300;
const BATCH: usize = 50;
const WARM_UP: usize = 5;

/// How sockets connect, as the worker names it, and in which settings that comes to anything.
const KINDS: [(&str, &str, bool); 4] = [
    ("tcp4", "TCP over IPv4, with the handshake", true),
    ("tcp6", "TCP over IPv6, with the handshake", true),
    ("udp4", "UDP over IPv4: the call and the hook, no packets", false),
    ("udp6", "UDP over IPv6: the call and the hook, no packets", false),
];

fn main() -> Result<()> {
    if let Ok(cgroup) = std::env::var(worker::CGROUP) {
        return worker::run(&cgroup);
    }
    // `cargo test` wants to know that it starts; criterion's benchmarks take a name to choose by.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = arguments.iter().find(|argument| !argument.starts_with("--"));
    if arguments.iter().any(|argument| argument == "--test")
        || wanted.is_some_and(|name| !"connect".contains(name.as_str()))
    {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("the benchmark of connect needs root: it makes a network namespace and cgroups and loads BPF programs");
    }
    let mut arena = Arena::new()?;
    for (kind, what, captured_too) in KINDS {
        println!("\n{what}: {ROUNDS} rounds of {BATCH}, medians");
        println!("{:52} {:>10} {:>10}  95 % confidence", "", "call", "added");
        measure(&mut arena, kind, captured_too)?;
    }
    println!("\nOne run of each program, by the kernel's own count (BPF_ENABLE_STATS), mean:");
    programs(&mut arena)
}

fn measure(arena: &mut Arena, kind: &str, captured_too: bool) -> Result<()> {
    let settings: Vec<usize> = (0..SETTINGS.len()).filter(|&at| captured_too || !SETTINGS[at].captured).collect();
    let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); SETTINGS.len()];
    for round in 0..WARM_UP + ROUNDS {
        // Another one goes first each time.
        for turn in 0..settings.len() {
            let setting = settings[(round + turn) % settings.len()];
            let times = arena.batch(setting, kind, BATCH)?;
            if round >= WARM_UP {
                rounds[setting].push(median(&times));
            }
        }
    }
    let baseline = rounds[0].clone();
    for setting in settings {
        let call = median(&rounds[setting]);
        print!("{:52} {call:>7.0} ns", SETTINGS[setting].name);
        if setting > 0 {
            let added: Vec<f64> = rounds[setting].iter().zip(&baseline).map(|(with, without)| with - without).collect();
            let Estimate { median, low, high } = Estimate::of(&added);
            print!(" {median:>7.0} ns  {low:.0} to {high:.0} ns");
        }
        println!();
    }
    Ok(())
}

/// The second figure: what a program took by the kernel's own clock. The clock itself costs some tens of nanoseconds,
/// which is why it is off while calls are measured.
fn programs(arena: &mut Arena) -> Result<()> {
    let _on = aya::sys::enable_stats(aya::sys::Stats::RunTime).context("BPF_ENABLE_STATS")?;
    let rounds = 100;
    for (at, setting) in SETTINGS.iter().enumerate().skip(1) {
        let kinds: &[&str] = if setting.captured { &["tcp4", "tcp6"] } else { &["tcp4", "tcp6", "udp4", "udp6"] };
        let before = arena.run_times(at)?;
        for kind in kinds {
            for _ in 0..rounds {
                arena.batch(at, kind, BATCH)?;
            }
        }
        println!("{}", setting.name);
        for (name, (time, count)) in arena.run_times(at)? {
            let (time_before, count_before) = before.get(&name).copied().unwrap_or_default();
            let runs = count - count_before;
            if runs > 0 {
                let mean = (time - time_before).as_nanos() as f64 / runs as f64;
                println!("    {name:16} {mean:>6.0} ns  ({runs} runs)");
            }
        }
    }
    Ok(())
}
