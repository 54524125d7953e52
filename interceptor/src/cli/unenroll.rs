//! `interceptor unenroll`: takes the kernel programs away, so that connections go direct again.

use std::process::ExitCode;

use super::run::{PinDir, daemon_pid};
use super::{Failure, Global};
use crate::capture::Pinned;
use crate::config::{Config, StatePaths};
use crate::daemon::control::{AskError, Request, ask};
use crate::daemon::control_socket;

/// Arguments of `interceptor unenroll`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Detaches every program of this instance and removes its pins, also those of an earlier version, and its backstop.
From then on connections go direct, unmasked and unrecorded. Audit log, CA and keys stay.

Examples:
  systemctl disable --now interceptor && interceptor unenroll")]
pub(crate) struct Args {
    /// Even while a daemon runs; it reports itself as degraded from then on
    #[arg(long)]
    force: bool,
}

#[expect(clippy::print_stdout, reason = "what was done is what the caller wants to know")]
pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let config = Config::load(global.config.as_deref())?;
    let paths = StatePaths::resolve(global.state.as_deref(), config.state.as_deref());
    let PinDir { path: pins, named_by } = &PinDir::find(global, &config, &paths)?;
    if !args.force && is_running(&paths)? {
        return Err(in_use(&paths, &paths.root().display()));
    }
    let backstop = || super::run::backstop::remove_left_behind(&paths);
    let Some(pinned) = Pinned::find(pins)? else {
        if backstop()? {
            println!("the backstop is removed");
        }
        println!("nothing is pinned at {} (named by {named_by}): this host is not enrolled", pins.display());
        return Ok(ExitCode::SUCCESS);
    };
    if pinned.in_use()? && !args.force {
        return Err(in_use(&paths, &pins.display()));
    }
    let attached = pinned.attached()?;
    pinned.remove()?;
    backstop()?;
    println!("{attached} programs detached, nothing is left at {}: connections go direct", pins.display());
    Ok(ExitCode::SUCCESS)
}

/// Whether a daemon of this state directory runs, wherever it has pinned: what answers is one, and what is stuck too.
fn is_running(paths: &StatePaths) -> Result<bool, Failure> {
    match ask(&control_socket(&paths.run()), &Request::Status { check: false }) {
        Err(AskError::NotRunning) => Ok(false),
        Err(error @ (AskError::Denied | AskError::Io(_))) => Err(error.into()),
        Ok(_) | Err(AskError::Silent | AskError::Garbled(_)) => Ok(true),
    }
}

fn in_use(paths: &StatePaths, with: &impl std::fmt::Display) -> Failure {
    let who = daemon_pid(&paths.run()).map_or_else(String::new, |pid| format!(" (process {pid})"));
    format!("a daemon{who} runs with {with}; stop it first, or use --force").into()
}
