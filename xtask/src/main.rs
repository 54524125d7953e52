//! `cargo xtask`: set-up, demo, lab, tests and benchmarks of Interceptor.
//!
//! The workspace's own tasks, in Rust so that they need nothing but cargo to start.

mod checks;
mod demo;
mod endpoint;
mod kernels;
mod lab;
mod layers;
mod setup;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, max_term_width = 100)]
#[command(after_help = "\
Examples:
  cargo xtask demo
  cargo xtask lab -- curl -sS https://api.openai.com/v1/models
  cargo xtask test
  cargo xtask lab --help
")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Bring everything that is needed to build and test
    Setup(setup::Args),
    /// Show the main job on this machine: one request, captured, masked, audited, verified
    Demo(demo::Args),
    /// Run a command as an enrolled client: own network namespaces and cgroups, everything but the model real
    Lab(lab::Args),
    /// Run every test
    Test(checks::TestArgs),
    /// Run a test for much longer than `test` does
    Soak(checks::SoakArgs),
    /// Run the fuzz targets for a while
    Fuzz(checks::FuzzArgs),
    /// Formatting, clippy, documentation, layers, and the licences of the dependencies
    Lint(LintArgs),
    /// Check which room of interceptor/src uses which
    Layers(LayersArgs),
    /// Run the benchmarks
    Bench(checks::BenchArgs),
    /// Run the capture tests on other kernels, in qemu
    Kernels(kernels::Args),
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

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo xtask lint\n")]
struct LintArgs {}

#[derive(Debug, clap::Args)]
#[command(after_help = "The allowed edges are in xtask/src/layers.rs.\n\nExample:\n  cargo xtask layers\n")]
struct LayersArgs {}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Lab(args) => return lab::main(&args),
        Task::Setup(args) => setup::run(&args),
        Task::Demo(demo::Args {}) => demo::run(),
        Task::Test(args) => checks::test(&args),
        Task::Soak(args) => checks::soak(&args),
        Task::Fuzz(args) => checks::fuzz(&args),
        Task::Lint(LintArgs {}) => checks::lint(),
        Task::Layers(LayersArgs {}) => layers::run(),
        Task::Bench(args) => checks::bench(&args),
        Task::Kernels(args) => kernels::run(&args),
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
