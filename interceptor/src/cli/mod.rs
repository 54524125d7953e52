//! The command line: one file a subcommand. Exit status 0 done, 1 a negative answer, 2 wrong usage or environment.

mod ca;
mod generate;
mod keys;
mod log;
mod mask;
mod pager;
mod progress;
mod rules;
mod run;
mod scan;
mod status;
mod tokens;
mod unenroll;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, STATE_ENV, StatePaths};

/// Exit status of a negative answer: verification failed, findings where none are allowed.
pub(crate) const NEGATIVE: u8 = 1;

/// Exit status of wrong usage or a wrong environment.
pub(crate) const UNUSABLE: u8 = 2;

/// What a subcommand gives up with: a sentence that names the thing and the remedy.
pub(crate) type Failure = Box<dyn std::error::Error>;

#[derive(Debug, Parser)]
#[command(name = "interceptor", version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Directory of the audit log, CA, keys and sockets [env: INTERCEPTOR_STATE] [default: /var/lib/interceptor]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    state: Option<PathBuf>,
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
}

impl Global {
    /// Where the state is, for subcommands that need nothing else of the configuration. The configuration is read when
    /// a flag names it, or when nothing else says where the state is.
    pub(crate) fn paths(&self) -> Result<StatePaths, Failure> {
        let said = self.state.is_some() || std::env::var_os(STATE_ENV).is_some_and(|value| !value.is_empty());
        if said && self.config.is_none() {
            return Ok(StatePaths::resolve(self.state.as_deref(), None));
        }
        Ok(self.loaded()?.1)
    }

    /// The configuration, and where the state is.
    pub(crate) fn loaded(&self) -> Result<(Config, StatePaths), Failure> {
        let config = Config::load(self.config.as_deref())?;
        let paths = StatePaths::resolve(self.state.as_deref(), config.state.as_deref());
        Ok((config, paths))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: capture, mask, audit
    Run(run::Args),
    /// Show how the daemon is; test it
    Status(status::Args),
    /// Take the kernel programs away: connections go direct
    Unenroll(unenroll::Args),
    /// Read, verify and unseal the audit log
    Log(log::Args),
    /// Find sensitive values in JSON Lines {"id","text"} from standard input
    Scan(scan::Args),
    /// Mask a text or a request body from standard input
    Mask(mask::Args),
    /// List the masking rules; tell what is wrong with rule files and what they cost
    Rules(rules::Args),
    /// Generate an auditor's key pair
    Keys(keys::Args),
    /// Show the internal CA's certificates; rotate it
    Ca(ca::Args),
    /// Write completions for a shell
    Completions(generate::Completions),
    /// Write manual pages
    Man(generate::Man),
}

/// Parses the arguments, runs the subcommand, reports what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Run(args) => run::run(args, &cli.global),
        Command::Status(args) => status::run(args, &cli.global),
        Command::Unenroll(args) => unenroll::run(args, &cli.global),
        Command::Log(args) => log::run(args, &cli.global),
        Command::Scan(args) => scan::run(args, &cli.global),
        Command::Mask(args) => mask::run(args, &cli.global),
        Command::Rules(args) => rules::run(args, &cli.global),
        Command::Keys(args) => keys::run(args, &cli.global),
        Command::Ca(args) => ca::run(args, &cli.global),
        Command::Completions(args) => Ok(generate::completions(args)),
        Command::Man(args) => generate::man(args),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("interceptor: {failure}");
            ExitCode::from(UNUSABLE)
        }
    }
}
