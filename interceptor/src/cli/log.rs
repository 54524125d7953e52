//! `interceptor log`.

use std::process::ExitCode;

use super::{Failure, Global};

/// Arguments of `interceptor log`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, _global: &Global) -> Result<ExitCode, Failure> {
    Err("not built yet".into())
}
