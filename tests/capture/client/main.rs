//! A client that connects in one of many ways.
//!
//! `capture-client run SCRIPT` does what the script says and prints what came of it as one line of JSON. A script is
//! a list of steps with semicolons between them; they work on one socket:
//!
//! | step | does |
//! |---|---|
//! | `socket KIND` | makes it; the kinds are in `steps.rs` |
//! | `bind ADDR`, `set OPTION [VALUE]` | binds it; sets an option (`options.rs`) |
//! | `connect ADDR`, `poll-connect ADDR`, `fastopen ADDR`, `disconnect` | connects it, or takes that back |
//! | `race ADDR` | two threads connect it at once |
//! | `uring-connect ADDR inline`, `async`, `sqpoll` | connects it through io_uring |
//! | `sendto ADDR [FLAGS]`, `sendmsg ADDR`, `sendmmsg ADDR`, `uring-send ADDR` | sends a datagram |
//! | `say TEXT`, `read`, `close` | writes to it, reads a line from it, closes it |
//! | `thread`, `fork`, `vfork`, `exec PROGRAM`, `pass` | another task does the rest (`tasks.rs`) |
//! | `cgroup DIRECTORY`, `unshare user`, `net`, `stop` | goes to another place; stops until continued |
//!
//! A failing step ends the script and is reported; with `try` before it, the script goes on.
//! `capture-client storm` makes many short-lived processes; see `storm.rs`.
#![expect(clippy::print_stdout, reason = "the tests read it")]

mod options;
mod steps;
mod storm;
mod sys;
mod tasks;

use std::process::ExitCode;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::unistd::{getpid, gettid};
use serde_json::{Map, Value, json};
use socket2::Socket;

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["run", script] => Client::default().run(script),
        ["receive", report, script] => Client::new(tasks::receive()?, report)?.run(script),
        ["inherit", fd, report, script] => Client::new(sys::inherited(fd.parse()?), report)?.run(script),
        ["storm", ref rest @ ..] => storm::storm(rest)?,
        ["burst", ref rest @ ..] => storm::burst(rest)?,
        _ => bail!("usage: capture-client run SCRIPT | storm ..."),
    }
    Ok(ExitCode::SUCCESS)
}

/// A task that runs a script, the socket it works on, and what it will report.
#[derive(Debug, Default)]
struct Client {
    socket: Option<Socket>,
    report: Map<String, Value>,
}

/// Who goes on after a step.
enum Next {
    /// The same task.
    Here,
    /// Another task did the rest and reported.
    Elsewhere,
}

impl Client {
    /// Takes over from another process.
    fn new(socket: Socket, report: &str) -> Result<Self> {
        Ok(Self { socket: Some(socket), report: serde_json::from_str(report)? })
    }

    /// Does what the script says, and reports.
    fn run(mut self, script: &str) {
        match self.steps(script) {
            Ok(Next::Here) => self.print(),
            Ok(Next::Elsewhere) => {}
            Err(error) => {
                self.note("error", name(&error));
                self.print();
            }
        }
    }

    fn steps(&mut self, script: &str) -> Result<Next> {
        let mut rest = script.trim();
        while !rest.is_empty() {
            let (step, after) = rest.split_once(';').unwrap_or((rest, ""));
            rest = after.trim();
            let (step, tried) = step.trim().strip_prefix("try ").map_or((step.trim(), false), |step| (step, true));
            let words: Vec<&str> = step.split(' ').collect();
            let done = match tasks::hand_over(self, &words, rest) {
                Some(handed) => handed.map(|()| Next::Elsewhere),
                None => steps::step(self, &words).map(|()| Next::Here),
            };
            match done {
                Ok(Next::Here) => {}
                Ok(Next::Elsewhere) => return Ok(Next::Elsewhere),
                Err(error) if tried => self.note("tried", name(&error)),
                Err(error) => {
                    self.note("step", step);
                    return Err(error);
                }
            }
        }
        Ok(Next::Here)
    }

    fn note(&mut self, key: &str, value: impl Into<Value>) {
        self.report.insert(key.to_owned(), value.into());
    }

    /// The task that runs now makes the call that the hooks see.
    fn note_caller(&mut self) {
        self.note("pid", getpid().as_raw());
        self.note("tid", gettid().as_raw());
        self.note("exe", std::env::current_exe().ok().map(|exe| exe.display().to_string()));
    }

    fn print(&self) {
        println!("{}", json!(self.report));
    }
}

/// `ECONNREFUSED` and the like; else the message.
fn name(error: &anyhow::Error) -> String {
    let errno = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error).map(Errno::from_raw);
    match errno.or_else(|| error.downcast_ref::<Errno>().copied()) {
        Some(errno) => format!("{errno:?}"),
        None => format!("{error:#}"),
    }
}
