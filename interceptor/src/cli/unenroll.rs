//! `interceptor unenroll`: takes the kernel programs away, so that connections go direct again.

use std::process::ExitCode;

use super::{Failure, Global};
use crate::capture::Pinned;
use crate::config::{Config, StatePaths};

/// Arguments of `interceptor unenroll`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Detaches every program of this instance and removes its pins, also those of an earlier version.
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
    let pins = &config.capture.pin;
    let Some(pinned) = Pinned::find(pins)? else {
        println!("nothing is pinned at {}: this host is not enrolled", pins.display());
        return Ok(ExitCode::SUCCESS);
    };
    if pinned.in_use()? && !args.force {
        let who = super::run::daemon_pid(&paths.run()).map_or_else(String::new, |pid| format!(" (process {pid})"));
        return Err(format!("a daemon{who} runs with {}; stop it first, or use --force", pins.display()).into());
    }
    let attached = pinned.attached()?;
    pinned.remove()?;
    println!("{attached} programs detached, nothing is left at {}: connections go direct", pins.display());
    Ok(ExitCode::SUCCESS)
}
