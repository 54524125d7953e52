//! `interceptor rules`: the masking rules, and what those of files cost.

mod cache;
mod cost;
mod lint;
mod list;
mod load;

use std::process::ExitCode;

use clap::Subcommand;

pub(super) use self::load::{RuleArgs, for_daemon};
use super::{Failure, Global};

/// Arguments of `interceptor rules`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell what is wrong with rule files, and what each rule costs
    Lint(lint::Args),
    /// List the rules, built-in and of files
    List(list::Args),
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Lint(args) => lint::run(args, global),
        Command::List(args) => list::run(args, global),
    }
}
