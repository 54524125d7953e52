//! `interceptor status`: how the daemon is, and what the kernel does when there is none.

mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::run::PinDir;
use super::{Failure, Global, NEGATIVE};
use crate::capture::Pinned;
use crate::config::{Config, StatePaths};
use crate::daemon::control::{Answer, AskError, Request, ask};
use crate::daemon::{Concern, Reason, State, control_socket};

/// Arguments of `interceptor status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 healthy; 1 degraded or stopped; 2 it cannot be told.

Examples:
  interceptor status
  interceptor status --check --json | jq .reasons")]
pub(crate) struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Test now, rather than report the last test's result
    #[arg(long)]
    check: bool,
}

/// What can be told without the daemon's help.
#[derive(Debug, Serialize)]
struct Absent {
    state: State,
    reasons: Vec<Reason>,
    /// The daemon's process id, when there is one that does not answer.
    pid: Option<u32>,
    pins: PathBuf,
    /// What named that directory.
    pins_named_by: String,
    /// Programs attached to a cgroup.
    attached: usize,
    /// Destinations that they capture.
    destinations: usize,
    /// What they counted that is not 0.
    counters: BTreeMap<String, u64>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let config = Config::load(global.config.as_deref())?;
    let paths = StatePaths::resolve(global.state.as_deref(), config.state.as_deref());
    let socket = control_socket(&paths.run());
    let silent = match ask(&socket, &Request::Status { check: args.check }) {
        Ok(Answer::Status(status)) => {
            print(args.json, &*status, || report::status(&status))?;
            return Ok(exit(status.state));
        }
        Ok(Answer::Refused { why }) => return Err(why.into()),
        Err(AskError::NotRunning) => false,
        Err(AskError::Silent) => true,
        Err(e) => return Err(e.into()),
    };
    let absent = Absent::look(&paths, PinDir::find(global, &config, &paths)?, silent)?;
    print(args.json, &absent, || report::absent(&absent))?;
    Ok(exit(absent.state))
}

#[expect(clippy::print_stdout, reason = "what this subcommand is for")]
fn print(json: bool, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if json {
        println!("{}", serde_json::to_string(document)?);
    } else {
        print!("{}", text());
    }
    Ok(())
}

fn exit(state: State) -> ExitCode {
    match state {
        State::Healthy => ExitCode::SUCCESS,
        State::Degraded | State::Stopped => ExitCode::from(NEGATIVE),
    }
}

impl Absent {
    fn look(paths: &StatePaths, pins: PinDir, silent: bool) -> Result<Self, Failure> {
        let mut absent = Self {
            state: if silent { State::Degraded } else { State::Stopped },
            reasons: Vec::new(),
            pid: silent.then(|| super::run::daemon_pid(&paths.run())).flatten(),
            pins: pins.path,
            pins_named_by: pins.named_by,
            attached: 0,
            destinations: 0,
            counters: BTreeMap::new(),
        };
        if let Some(pinned) = Pinned::find(&absent.pins)? {
            absent.attached = pinned.attached()?;
            // Pins of another layout version have maps that this program does not know.
            absent.destinations = pinned.enrolled().map_or(0, |enrolled| enrolled.len());
            let stats = pinned.stats().ok();
            absent.counters = stats.iter().flat_map(crate::capture::Stats::nonzero).collect();
        }
        let (what, remedy) = match (silent, absent.attached) {
            (true, _) => (
                "the daemon does not answer: it is stopped or stuck, and connections are refused until it goes on",
                "continue it (SIGCONT) or restart it",
            ),
            (false, 0) => {
                ("no daemon runs, and no kernel program is attached: connections go direct", "start the daemon")
            }
            (false, _) => (
                "no daemon runs: connections to enrolled destinations are refused, but for endpoints with \
                 when_down = \"open\"",
                "start the daemon, or let connections go direct with `interceptor unenroll`",
            ),
        };
        let (what, remedy) = match paths.root().try_exists() {
            Ok(false) => (
                format!("the state directory {} does not exist; {what}", paths.root().display()),
                format!("name the daemon's state directory with --state, or {remedy}"),
            ),
            _ => (what.to_owned(), remedy.to_owned()),
        };
        absent.reasons.push(Reason { concern: Concern::Daemon, what, remedy });
        Ok(absent)
    }
}
