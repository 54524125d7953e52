//! `cargo xtask kernels`: the capture tests on other kernels.
//!
//! A kernel comes from its Debian package, unpacked below `target/`; nothing of it is installed. It boots in qemu with
//! this machine's own file system, read-only, as its root, so that it finds the tests and what they run. It has no network
//! but its loopback.
#![expect(clippy::print_stdout, reason = "the table is the task's output")]

mod guest;
mod package;
mod report;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;
use serde_json::Value;

use crate::{setup, workspace};
use report::Report;

/// Arguments of `cargo xtask kernels`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs root and Debian's qemu-system-x86, busybox-static, cpio, kmod and xz-utils, which it installs. A kernel package is
some 100 MB and stays below target/kernels. qemu emulates the processor, so that it runs anywhere; --kvm is faster where
that is hardware. Prints a row for each kernel; fails when a test fails.

Examples:
  cargo xtask kernels
  cargo xtask kernels linux-image-6.1.0-47-amd64 --tests ways
")]
pub(crate) struct Args {
    /// Debian packages of kernels, or packages that depend on one
    #[arg(default_values = ["linux-image-amd64", "linux-image-6.12-amd64"])]
    packages: Vec<String>,
    /// Run only capture tests whose name contains this
    #[arg(long)]
    tests: Vec<String>,
    /// Use /dev/kvm
    #[arg(long)]
    kvm: bool,
    /// Seconds until a kernel is given up
    #[arg(long, default_value_t = 900)]
    patience: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if !geteuid().is_root() {
        bail!("the tests' file system is handed to another kernel with all that root may read: run it as root");
    }
    setup::kernels()?;
    let tests = build()?;
    let mut reports = Vec::new();
    for package in &args.packages {
        let kernel = package::Kernel::fetch(package)?;
        eprintln!("{}: booting", kernel.release);
        let script = script(&tests, &args.tests);
        let patience = Duration::from_secs(args.patience);
        let console = guest::boot(&kernel, &script, args.kvm, patience)?;
        let report = Report::read(&kernel.release, &console);
        for failed in &report.failed {
            eprintln!("{}: {failed} failed; see {}", kernel.release, kernel.console().display());
        }
        reports.push(report);
    }
    println!("{}", report::table(&reports));
    if reports.iter().all(Report::is_good) {
        return Ok(());
    }
    bail!("not every test passed on every kernel")
}

/// The capture tests' program and the daemon they start.
struct Tests {
    harness: String,
    daemon: String,
}

fn build() -> Result<Tests> {
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--test", "capture", "--no-run"]);
    let messages = workspace::output(command.args(["--message-format", "json-render-diagnostics"]))?;
    let messages: Vec<Value> = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let executable = |target: &str| {
        let built = |message: &&Value| message["target"]["name"] == target && message["executable"].is_string();
        let message = messages.iter().find(built)?;
        message["executable"].as_str().map(ToOwned::to_owned)
    };
    let harness = executable("capture").context("cargo built the tests `capture` and named no executable")?;
    let daemon = executable("capture-daemon").context("cargo built `capture-daemon` and named no executable")?;
    Ok(Tests { harness, daemon })
}

/// What the guest runs, in the workspace's root.
fn script(tests: &Tests, filters: &[String]) -> String {
    let filters = filters.iter().map(|filter| format!(" '{filter}'")).collect::<String>();
    format!("{} features; {} --test-threads 2 --color never{filters}", tests.daemon, tests.harness)
}

/// What a command prints; for the small tools used here.
fn ask(program: &str, arguments: &[&str]) -> Result<String> {
    workspace::output(Command::new(program).args(arguments))
}
