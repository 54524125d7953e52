//! `interceptor scan`.

use std::process::ExitCode;

use super::{Failure, Global};

/// Arguments of `interceptor scan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, _global: &Global) -> Result<ExitCode, Failure> {
    Err("not built yet".into())
}
