//! Many short-lived processes.
//!
//! `storm PROCESSES CONCURRENT CONNECTIONS ADDR,... PROGRAM...` starts PROCESSES processes, CONCURRENT at a time, as
//! PROGRAM (copies of this one, in turn) `burst CONNECTIONS ADDR,...`. Each makes its connections one after the other
//! and ends. Every second connection is closed without waiting for an answer. A line of JSON for each connection.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use socket2::SockRef;

pub(crate) fn storm(args: &[&str]) -> Result<()> {
    let [processes, concurrent, connections, to, programs @ ..] = args else {
        bail!("usage: storm PROCESSES CONCURRENT CONNECTIONS ADDR,... PROGRAM...");
    };
    ensure!(!programs.is_empty(), "no PROGRAM");
    let (processes, concurrent): (usize, usize) = (processes.parse()?, concurrent.parse()?);
    let next = AtomicUsize::new(0);
    let take_turns = || -> Result<()> {
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= processes {
                return Ok(());
            }
            let program = programs[turn % programs.len()];
            let status = Command::new(program).args(["burst", connections, to]).status();
            let status = status.with_context(|| format!("cannot run {program}"))?;
            ensure!(status.success(), "{program}: {status}");
        }
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..concurrent).map(|_| scope.spawn(take_turns)).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().expect("a lane does not panic"))
    })
}

pub(crate) fn burst(args: &[&str]) -> Result<()> {
    let [connections, to] = args else { bail!("usage: burst CONNECTIONS ADDR,...") };
    let to = to.split(',').map(str::parse).collect::<Result<Vec<SocketAddr>, _>>()?;
    let exe = std::env::current_exe()?;
    let mut report = Vec::new();
    for turn in 0..connections.parse()? {
        // Neighbours start at different addresses.
        let to = to[(turn + std::process::id() as usize) % to.len()];
        let mut stream = TcpStream::connect(to).with_context(|| format!("{to}"))?;
        let cookie = SockRef::from(&stream).cookie()?;
        let mut said = String::new();
        if turn % 2 == 0 {
            BufReader::new(&mut stream).read_line(&mut said)?;
            ensure!(said.trim() == to.to_string(), "{to} was answered as {said:?}");
        }
        let line = json!({"cookie": cookie, "pid": std::process::id(), "exe": exe, "original": to.to_string()});
        writeln!(report, "{line}")?;
    }
    // A write of this size to a pipe is not torn by others'.
    ensure!(report.len() < 4096, "too many connections for one line of report");
    Ok(std::io::stdout().write_all(&report)?)
}
