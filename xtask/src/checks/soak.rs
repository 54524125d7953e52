//! `cargo xtask soak`: what takes too long for every run of the tests.

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

use super::{LAB_RUNS, cargo_test, leftovers::Traces};
use crate::{lab, setup, workspace};

/// A test that can be made to run longer.
struct Soak {
    name: &'static str,
    about: &'static str,
    /// The targets of `cargo test`, and the filter that selects the test.
    targets: &'static [&'static str],
    filter: &'static str,
    /// The variable that says how long, and what it says here.
    variable: (&'static str, &'static str),
    /// Whether it is run on one transport after the other, rather than on the one that the daemon chooses.
    on_each_transport: bool,
    /// Whether it measures the product, and so the release build of it.
    release: bool,
}

const SOAKS: [Soak; 10] = [
    Soak {
        name: "connections",
        about: "200,000 connections from 40,000 processes, 50 at a time: every record has the right caller",
        targets: &["--test", "capture"],
        filter: "storm::",
        variable: ("INTERCEPTOR_TEST_PROCESSES", "40000"),
        on_each_transport: false,
        release: false,
    },
    Soak {
        name: "lifecycle",
        about: "kill, hang, restart and upgrade under 200 streams, twenty times each",
        targets: &["--test", "lab"],
        filter: "lifecycle::",
        variable: ("INTERCEPTOR_TEST_ROUNDS", "20"),
        on_each_transport: false,
        release: false,
    },
    Soak {
        name: "hostile",
        about: "every attempt to get past the interceptor, twenty times",
        targets: &["--test", "lab"],
        filter: "hostile::nothing_arrives",
        variable: ("INTERCEPTOR_TEST_ROUNDS", "20"),
        on_each_transport: false,
        release: false,
    },
    Soak {
        name: "streams",
        about: "5,000 streams that are idle for ten minutes, then 100 events on each: what each of them costs",
        targets: &["--test", "lab"],
        filter: "load::idle_streams",
        variable: ("INTERCEPTOR_TEST_STREAMS", "5000 600"),
        on_each_transport: true,
        release: false,
    },
    Soak {
        name: "silence",
        about: "event streams over HTTP/1.1 and HTTP/2 that are silent for an hour and then go on",
        targets: &["--test", "lab"],
        filter: "disconnects::",
        variable: ("INTERCEPTOR_TEST_SILENCE", "3600"),
        on_each_transport: false,
        release: false,
    },
    Soak {
        name: "log-reader",
        about: "questions to an audit log of 10 million records (some 20 GB) with nothing in memory: how long each takes",
        targets: &["--test", "audit_reader"],
        filter: "",
        variable: ("INTERCEPTOR_TEST_RECORDS", "10000000"),
        on_each_transport: false,
        release: true,
    },
    Soak {
        name: "sinks",
        about: "receivers of records and their sender, killed and started again a hundred times each",
        targets: &["--test", "sinks"],
        filter: "",
        variable: ("INTERCEPTOR_TEST_ROUNDS", "100"),
        on_each_transport: false,
        release: false,
    },
    Soak {
        name: "tls",
        about: "every check that testssl.sh knows, on what clients see of the proxy",
        targets: &["--test", "lab"],
        filter: "tls_scanners::",
        variable: ("INTERCEPTOR_TEST_TLS_ALL", "1"),
        on_each_transport: false,
        release: false,
    },
    Soak {
        name: "log-crash",
        about: "the audit log: 2,000 writers killed, 10,000 simulated and 200 real losses of power, faults at each call",
        targets: &["--lib", "--test", "audit_crash"],
        filter: "crash",
        variable: ("INTERCEPTOR_TEST_AUDIT", "crash"),
        on_each_transport: false,
        release: false,
    },
    Soak {
        name: "log-attack",
        about: "the audit log: every attack on one of a million records, and how fast it is verified (4 GB of disk)",
        targets: &["--test", "audit_attack"],
        filter: "attack",
        variable: ("INTERCEPTOR_TEST_AUDIT", "attack"),
        on_each_transport: false,
        release: true,
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
    let profile = if soak.release { &["--release"][..] } else { &[] };
    if !soak.release {
        // The lab's tests start programs of the whole workspace.
        workspace::run_visibly(workspace::cargo().args(["build", "--workspace", "--bins", "--tests"]))?;
    }
    let (variable, value) = soak.variable;
    let run = |transport: Option<&str>| {
        let harness = ["--test-threads", "1", "--nocapture"];
        let mut command = cargo_test(&[profile, soak.targets].concat(), &harness, Some(soak.filter));
        command.env(variable, value).envs(transport.map(|transport| (lab::TRANSPORT, transport)));
        workspace::run_visibly(&mut command)
    };
    if soak.on_each_transport {
        LAB_RUNS.iter().try_for_each(|(_, transport)| run(Some(transport)))?;
    } else {
        run(None)?;
    }
    before.compare()
}
