//! `interceptor run`: the daemon.

pub(super) mod backstop;
mod daemon;
mod inherit;
mod listeners;
mod modes;
mod names;
mod nearest;
mod retention;
mod settings;
mod state;
mod upgrade;
mod watching;

use std::path::Path;
use std::process::ExitCode;

use self::daemon::{Daemon, Signals, sinks_place};
use self::inherit::Inheritance;
use self::modes::Modes;
pub(super) use self::settings::host;
use self::settings::{audit_settings, capture_settings, check_rules};
pub(super) use self::state::{PinDir, daemon_config, daemon_pid};
use self::upgrade::Program;
use super::{Failure, Global, rules, tokens};
use crate::config::{Config, DEFAULT_FILE, StatePaths};
use crate::mask::Engine;
use crate::sinks::{self, PreparedWitnesses};
use crate::sys;

/// Arguments of `interceptor run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor run --config /etc/interceptor/interceptor.toml
  interceptor run --check --config new.toml
  INTERCEPTOR_LOG=debug interceptor run --state /tmp/state

SIGHUP replaces the daemon by the program that is on disk then, with its configuration read anew, and
loses no connection. SIGTERM or SIGINT stop it when the requests under way have ended. The programs stay attached then (enrolled connections are refused until the next
start) unless capture.detach_on_exit is set.")]
pub(crate) struct Args {
    /// Read the configuration and the auditors' keys, look for the cgroups, say what is wrong, and start nothing
    #[arg(long)]
    check: bool,
    /// With --check: only the file itself, not what it names on this host
    #[arg(long, requires = "check")]
    file_only: bool,
    /// Go on with an audit log whose signed checkpoint is missing or not signed by its key; noted in the log
    #[arg(long)]
    accept_missing_checkpoint: bool,
    /// Take over from the daemon at standard input; it starts us so on SIGHUP
    #[arg(long, hide = true)]
    successor: bool,
}

/// The flag above.
const SUCCESSOR: &str = "--successor";

pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    if args.check {
        let config = Config::load(global.config.as_deref())?;
        let paths = StatePaths::resolve(global.state.as_deref(), config.state.as_deref());
        return check(args, &config, &paths, global);
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("the daemon needs root: it loads kernel programs and keeps keys".into());
    }
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("INTERCEPTOR_LOG", "info")).init();
    let mut inheritance = if args.successor { Inheritance::of_predecessor()? } else { Inheritance::of_service()? };
    match serve(args, global, &mut inheritance) {
        Err(failure) => {
            inheritance.failed(&failure);
            Err(failure)
        }
        done => done,
    }
}

/// What can be told without root and without the kernel.
#[expect(clippy::print_stdout, reason = "the answer")]
fn check(args: &Args, config: &Config, paths: &StatePaths, global: &Global) -> Result<ExitCode, Failure> {
    let engine = if args.file_only { Engine::builtin()? } else { rules::for_daemon(&config.rules, None)? };
    // Types of rule files that were not read are not known.
    if config.rules.are_builtin() || !args.file_only {
        check_rules(&config.policy, &engine)?;
    }
    if !args.file_only {
        check_host(args, config, paths)?;
    }
    println!("{}: ok", global.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE)).display());
    Ok(ExitCode::SUCCESS)
}

/// What the configuration names is there.
fn check_host(args: &Args, config: &Config, paths: &StatePaths) -> Result<(), Failure> {
    audit_settings(args, config, paths)?;
    let place = sinks_place(config, paths, Vec::new());
    watching::check(config, paths, place.net.clone())?;
    PreparedWitnesses::new(&config.audit.witnesses, place.clone())?;
    sinks::Prepared::new(&config.sinks, place)?.check()?;
    config.listen.transport.choose()?;
    let capture = &config.capture;
    if capture.cgroup.is_some() || !capture.strict.is_empty() || !capture.exempt.is_empty() {
        Modes::new(config, &capture_settings(config)?.cgroup)?;
    }
    Ok(())
}

fn serve(args: &Args, global: &Global, inheritance: &mut Inheritance) -> Result<ExitCode, Failure> {
    let program = Program::this()?;
    let config = Config::load(global.config.as_deref())?;
    let file = global.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    let paths = StatePaths::resolve(global.state.as_deref(), config.state.as_deref());
    inheritance.check(&config, &paths)?;
    match sys::harden()? {
        sys::MemoryLock::Locked => {}
        sys::MemoryLock::Limited { limit } => log::warn!(
            "memory may be swapped: RLIMIT_MEMLOCK is {limit} bytes; set LimitMEMLOCK=infinity, or run without swap"
        ),
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _entered = runtime.enter();
        // A signal that comes while this process starts is kept until it serves.
        Signals::take()?
    };
    let done = runtime
        .block_on(async { Daemon::start(args, (config, file), &paths, inheritance)?.run(program, signals).await });
    // What must be done has been; a thread that something keeps waiting must not keep the process.
    runtime.shutdown_background();
    done
}
