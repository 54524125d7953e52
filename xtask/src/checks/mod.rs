//! `cargo xtask test`, `soak`, `fuzz`, `lint` and `bench`: what CI runs, and what one runs before.
#![expect(clippy::print_stdout, reason = "the summary is the task's output")]

mod fuzz;
mod leftovers;
mod masking;
mod proxy;
mod rates;
mod soak;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

use crate::{lab, layers, setup, workspace};
use leftovers::Traces;

pub(crate) use fuzz::{Args as FuzzArgs, run as fuzz};
pub(crate) use soak::{Args as SoakArgs, run as soak};

const CARGO_DENY: &str = "0.20.2";

/// Modules of the end-to-end tests that are about something else than how bytes come and go: they run on one transport alone.
const BESIDE_THE_TRANSPORT: [&str; 20] = [
    "bad_input",
    "ca",
    "certificates",
    "contract",
    "elsewhere",
    "h2_abuse",
    "hostile",
    "leftovers",
    "metrics",
    "names",
    "namespaces",
    "record",
    "refusals",
    "restore",
    "rules",
    "sinks",
    "status",
    "tamper",
    "tls_scanners",
    "upstream",
];

/// The runs of the end-to-end tests.
const LAB_RUNS: [(&str, &str); 2] =
    [("end-to-end tests on io_uring", "io-uring"), ("end-to-end tests on epoll", "epoll")];

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runs, in this order: formatting, clippy, documentation, layers, unit tests, end-to-end tests (as root, in network
namespaces, on io_uring, and what is about the transport on epoll as well), and a look for anything that was left behind. The first failing step ends the run.

Examples:
  cargo xtask test
  cargo xtask test streaming        only tests with `streaming` in their name, no lints
  cargo xtask test --unprivileged   all that does not need root
")]
pub(crate) struct TestArgs {
    /// Leave out what needs root: the end-to-end tests
    #[arg(long)]
    unprivileged: bool,
    /// Run only tests whose name contains this, and no lints
    filter: Option<String>,
}

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench
  cargo xtask bench mask      masking beside other programs, in one table; some four minutes
  cargo xtask bench connect   (as root)
  cargo xtask bench proxy     (as root) requests through the lab, on io_uring and on epoll; some three minutes
")]
pub(crate) struct BenchArgs {
    /// Run only benchmarks whose name contains this
    name: Option<String>,
    /// Measure the development build of the proxy, rather than build a release first
    #[arg(long)]
    dev: bool,
}

/// Runs every test.
pub(crate) fn test(args: &TestArgs) -> Result<()> {
    let privileged = !args.unprivileged;
    if privileged && !geteuid().is_root() {
        bail!("the end-to-end tests need root (network namespaces, cgroups, BPF); leave them out with --unprivileged");
    }
    setup::run(&setup::Args { clients: privileged })?;
    let before = Traces::look()?;
    let mut steps = Steps::default();
    if args.filter.is_none() {
        static_checks(&mut steps)?;
    }
    let filter = args.filter.as_deref();
    steps.run("build", || {
        workspace::run_visibly(workspace::cargo().args(["build", "--workspace", "--bins", "--tests"]))
    })?;
    let unprivileged = ["--lib", "--bins", "--test", "audit_*"];
    steps.run("unit tests", || {
        let mut command = cargo_test(&unprivileged, &[], filter);
        if !privileged {
            command.env("INTERCEPTOR_TEST_UNPRIVILEGED", "1");
        }
        workspace::run_visibly(&mut command)
    })?;
    if args.filter.is_none() {
        steps.run("documented examples", || workspace::run_visibly(&mut cargo_test(&["--doc"], &[], None)))?;
    }
    if privileged {
        let end_to_end = |target, harness: &[&str]| {
            // Most of the time they wait.
            cargo_test(&["--test", target], &[&["--test-threads", "3"], harness].concat(), filter)
        };
        steps.run("sinks", || {
            let targets = ["--test", "sinks", "--test", "siem", "--test", "witness"];
            workspace::run_visibly(&mut cargo_test(&targets, &[], filter))
        })?;
        steps.run("capture tests", || workspace::run_visibly(&mut end_to_end("capture", &[])))?;
        // The whole product in the lab, with each way to wait for sockets that it has.
        let beside: Vec<String> = BESIDE_THE_TRANSPORT.iter().map(|module| format!("{module}::")).collect();
        let beside: Vec<&str> = beside.iter().flat_map(|module| ["--skip", module]).collect();
        for (number, (name, transport)) in LAB_RUNS.into_iter().enumerate() {
            let again = number > 0 && filter.is_none();
            let mut command = end_to_end("lab", if again { &beside } else { &[] });
            steps.run(name, || workspace::run_visibly(command.env(lab::TRANSPORT, transport)))?;
        }
        steps.run("leftovers", || before.compare())?;
    }
    steps.sum_up();
    Ok(())
}

/// What can be said without running anything, and whether every dependency may be used.
pub(crate) fn lint() -> Result<()> {
    let mut steps = Steps::default();
    static_checks(&mut steps)?;
    steps.run("dependencies (cargo deny)", || {
        let program = tool("cargo-deny", CARGO_DENY)?;
        workspace::run_visibly(
            Command::new(program).args(["check", "bans", "licenses", "sources"]).current_dir(workspace::root()),
        )
    })?;
    steps.sum_up();
    Ok(())
}

/// The benchmarks.
pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    match args.name.as_deref() {
        Some("proxy") => return proxy::run(args.dev),
        Some(name) if name.starts_with("mask") => return masking::run(name),
        _ => {}
    }
    let mut command = workspace::cargo();
    command.args(["bench", "--package", "interceptor-benches", "--features", "peers", "--no-fail-fast"]);
    if let Some(name) = &args.name {
        command.args(["--", name]);
    }
    workspace::run_visibly(&mut command)
}

fn static_checks(steps: &mut Steps) -> Result<()> {
    steps.run("formatting", || workspace::run_visibly(workspace::cargo().args(["fmt", "--all", "--check"])))?;
    steps.run("clippy", || {
        let mut command = workspace::cargo();
        command.args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
        workspace::run_visibly(&mut command)
    })?;
    steps.run("documentation", || {
        let mut command = workspace::cargo();
        command.args(["doc", "--workspace", "--no-deps"]);
        workspace::run_visibly(command.env("RUSTDOCFLAGS", "-Dwarnings"))
    })?;
    steps.run("layers", layers::run)
}

/// Tests of the whole workspace: always the same selection of packages, so that nothing is built with two sets of
/// features.
fn cargo_test(targets: &[&str], harness: &[&str], filter: Option<&str>) -> Command {
    let mut command = workspace::cargo();
    command.args(["test", "--workspace"]).args(targets).arg("--").args(harness).args(filter);
    command
}

/// A program for cargo, installed when it is first asked for.
fn tool(name: &str, version: &str) -> Result<PathBuf> {
    let program = workspace::tools().join("bin").join(name);
    if !setup::runs(&program.to_string_lossy(), &["--version"]) {
        eprintln!("cargo install {name} {version} (some minutes)");
        let mut command = workspace::cargo();
        command.args(["install", "--quiet", "--locked", name, "--version", version, "--root"]);
        workspace::run_visibly(command.arg(workspace::tools()))?;
    }
    Ok(program)
}

/// Names and durations of the steps that passed.
#[derive(Default)]
struct Steps {
    passed: Vec<(String, Duration)>,
}

impl Steps {
    fn run(&mut self, name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("== {name}");
        let start = Instant::now();
        step().with_context(|| format!("{name} failed"))?;
        self.passed.push((name.to_owned(), start.elapsed()));
        Ok(())
    }

    fn sum_up(&self) {
        let total: Duration = self.passed.iter().map(|(_, duration)| *duration).sum();
        let steps = self.passed.iter().map(|(name, duration)| format!("{name} {} s", duration.as_secs()));
        println!("passed in {} s: {}", total.as_secs(), steps.collect::<Vec<_>>().join(", "));
    }
}
