//! `cargo xtask`: set-up, demo, lab, tests and benchmarks of Interceptor.
//!
//! The workspace's own tasks, in Rust so that they need nothing but cargo to start.

mod endpoint;
mod lab;
mod setup;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Bring everything that is needed to build and test
    Setup(setup::Args),
    /// Run a command as an enrolled client: own network namespaces and cgroups, everything but the model real
    Lab(lab::Args),
    /// The lab's model endpoint
    #[command(hide = true)]
    Endpoint(endpoint::Args),
    /// Start a program in its place in the lab
    #[command(hide = true)]
    LabEnter(lab::EnterArgs),
    /// Clean up when the lab ends
    #[command(hide = true)]
    LabWatch(lab::WatchArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Lab(args) => return lab::main(&args),
        Task::Setup(args) => setup::run(&args),
        Task::LabEnter(args) => return ExitCode::from(lab::enter(&args)),
        Task::Endpoint(args) => endpoint::run(&args),
        Task::LabWatch(args) => lab::watch(&args),
    };
    finish(result)
}

fn finish(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
