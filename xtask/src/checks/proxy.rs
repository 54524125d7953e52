//! `cargo xtask bench proxy`: requests through the whole product in the lab, on each transport and past it.
//!
//! Machines are noisy, so the settings take turns within one run, and what is told is medians over the rounds and ratios of
//! one run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;
use serde_json::Value;

use super::LAB_RUNS;
use crate::{lab, workspace};

const ROUNDS: usize = 5;

/// Of each measurement.
const SECONDS: &str = "4";

/// A chat as agents send them.
const BYTES: &str = "10240";

/// One request at a time for what is added to each; as many as keep everything busy for how many there can be.
const CONNECTIONS: [&str; 2] = ["1", "32"];

/// What the client's connections pass through.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    /// None: nothing.
    transport: Option<&'static str>,
}

/// One measurement.
struct Sample {
    requests_a_second: f64,
    median_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

/// Measures and prints a table.
pub(super) fn run(dev: bool) -> Result<()> {
    if !geteuid().is_root() {
        bail!("this benchmark needs root: the lab makes network namespaces and cgroups and loads BPF programs");
    }
    let programs = build(dev)?;
    let through = LAB_RUNS.iter().map(|(_, transport)| Way { name: transport, transport: Some(transport) });
    let ways: Vec<Way> = [Way { name: "direct", transport: None }].into_iter().chain(through).collect();
    println!("| connections | way | requests/s | median us | p99 us | daemon CPU us a request |");
    println!("|---|---|---|---|---|---|");
    for connections in CONNECTIONS {
        let mut samples: Vec<Vec<Sample>> = ways.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (way, samples) in ways.iter().zip(&mut samples) {
                samples.push(measure(&programs, *way, connections)?);
            }
        }
        let rows: Vec<Sample> = samples.iter().map(|samples| middle(samples)).collect();
        for (way, row) in ways.iter().zip(&rows) {
            let Sample { requests_a_second, median_us, p99_us, cpu_us } = row;
            let cpu = way.transport.map(|_| format!("{cpu_us:.0}")).unwrap_or_default();
            let name = way.name;
            println!("| {connections} | {name} | {requests_a_second:.0} | {median_us:.0} | {p99_us:.0} | {cpu} |");
        }
        if let [direct, ring, epoll] = &rows[..] {
            println!(
                "| {connections} | io-uring : epoll | {:.2} | {:.2} | {:.2} | {:.2} |",
                ring.requests_a_second / epoll.requests_a_second,
                (ring.median_us - direct.median_us) / (epoll.median_us - direct.median_us),
                (ring.p99_us - direct.p99_us) / (epoll.p99_us - direct.p99_us),
                ring.cpu_us / epoll.cpu_us,
            );
        }
    }
    println!("(in the rows of ratios, the latencies are those that are added to direct's)");
    Ok(())
}

/// The directory of the programs.
fn build(dev: bool) -> Result<PathBuf> {
    let mut command = workspace::cargo();
    command.args(["build", "--workspace", "--bins"]).args((!dev).then_some("--release"));
    workspace::run(&mut command)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from);
    Ok(target.join(if dev { "debug" } else { "release" }))
}

fn measure(programs: &Path, way: Way, connections: &str) -> Result<Sample> {
    let config = tempfile::NamedTempFile::new()?;
    // An exempt client's connections are not captured.
    let exempt = if way.transport.is_none() { "[capture]\nexempt = ['client']\n" } else { "" };
    std::fs::write(config.path(), exempt)?;
    let mut command = Command::new(programs.join("xtask"));
    command.args(["lab", "--no-build", "--alpn", "http/1.1", "--config"]).arg(config.path());
    command.envs(way.transport.map(|transport| (lab::TRANSPORT, transport)));
    let load = programs.join("lab-load");
    let load = load.to_str().context("the path of the workspace is not UTF-8")?;
    let trust = if way.transport.is_none() { "SSL_CERT_FILE=$INTERCEPTOR_STATE/lab/endpoint-ca.pem" } else { "" };
    let script = format!("{trust} exec {load} requests {connections} {SECONDS} {BYTES}");
    let printed = workspace::output(command.args(["--", "bash", "-c", &script]))?;
    let report: Value = serde_json::from_str(&printed).with_context(|| format!("not JSON: {printed}"))?;
    let number = |name: &str| report[name].as_f64().with_context(|| format!("no {name} in {report}"));
    let requests = number("requests")?;
    Ok(Sample {
        requests_a_second: requests / number("seconds")?,
        median_us: number("median_us")?,
        p99_us: number("p99_us")?,
        cpu_us: number("daemon_cpu_us")? / requests,
    })
}

fn middle(samples: &[Sample]) -> Sample {
    let median = |of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Sample {
        requests_a_second: median(|sample| sample.requests_a_second),
        median_us: median(|sample| sample.median_us),
        p99_us: median(|sample| sample.p99_us),
        cpu_us: median(|sample| sample.cpu_us),
    }
}
