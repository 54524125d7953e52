//! `cargo xtask soak`: what takes too long for every run of the tests.

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

use super::{cargo_test, leftovers::Traces};
use crate::{setup, workspace};

/// A test that can be made to run longer.
struct Soak {
    name: &'static str,
    about: &'static str,
    /// The target of `cargo test`, and the filter that selects the test.
    target: &'static str,
    filter: &'static str,
    /// The variable that says how long, and what it says here.
    variable: (&'static str, &'static str),
}

const SOAKS: [Soak; 4] = [
    Soak {
        name: "connections",
        about: "200,000 connections from 40,000 processes, 50 at a time: every record has the right caller",
        target: "capture",
        filter: "storm::",
        variable: ("INTERCEPTOR_TEST_PROCESSES", "40000"),
    },
    Soak {
        name: "lifecycle",
        about: "kill, hang, restart and upgrade under 200 streams, twenty times each",
        target: "lab",
        filter: "lifecycle::",
        variable: ("INTERCEPTOR_TEST_ROUNDS", "20"),
    },
    Soak {
        name: "hostile",
        about: "every attempt to get past the interceptor, twenty times",
        target: "lab",
        filter: "hostile::nothing_arrives",
        variable: ("INTERCEPTOR_TEST_ROUNDS", "20"),
    },
    Soak {
        name: "silence",
        about: "event streams over HTTP/1.1 and HTTP/2 that are silent for an hour and then go on",
        target: "lab",
        filter: "disconnects::",
        variable: ("INTERCEPTOR_TEST_SILENCE", "3600"),
    },
];

/// Arguments of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs root, like the end-to-end tests. Without a name it lists what there is.

Examples:
  cargo xtask soak
  cargo xtask soak connections
")]
pub(crate) struct Args {
    /// What to run
    name: Option<String>,
}

/// Runs one, or lists them.
pub(crate) fn run(args: &Args) -> Result<()> {
    let Some(name) = &args.name else {
        for soak in &SOAKS {
            println!("{:12} {}", soak.name, soak.about);
        }
        return Ok(());
    };
    let names = || SOAKS.map(|soak| soak.name).join(", ");
    let found = SOAKS.iter().find(|soak| soak.name == name);
    let soak = found.with_context(|| format!("no soak is called {name:?}; there are {}", names()))?;
    if !geteuid().is_root() {
        bail!("{} needs root: it makes network namespaces and cgroups and loads BPF programs", soak.name);
    }
    setup::run(&setup::Args { clients: true })?;
    let before = Traces::look()?;
    workspace::run_visibly(workspace::cargo().args(["build", "--workspace", "--bins", "--tests"]))?;
    let (variable, value) = soak.variable;
    let mut command = cargo_test(&["--test", soak.target], &["--test-threads", "1"], Some(soak.filter));
    workspace::run_visibly(command.env(variable, value))?;
    before.compare()
}
