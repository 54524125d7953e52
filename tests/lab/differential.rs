//! Exchanges of every kind, sent directly and through the interceptor: the other side sees the same.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use interceptor_tests::{Lab, Run};

use crate::origin::{Origin, wire};

/// So that a failure is seen again.
const SEED: &str = "issue 4";

/// Bodies of unknown operations are passed, for it is what passes that is looked at.
const CONFIG: &str = "[policy]\nunknown_operations = \"record\"\nmedia = \"record\"\ndocuments = \"record\"\n";

#[test]
fn exchanges_of_every_kind_are_the_same_bytes_on_the_other_side() {
    compare(["origin.py", "differential.py", "compare.py"], "2000", &[]);
}

#[test]
fn over_http2_they_are_the_same_fields_and_bodies() {
    compare(["h2_origin.py", "h2_differential.py", "h2_compare.py"], "1000", &["--alpn", "h2"]);
}

/// Has a client talk to an origin directly and in the lab, and what both saw compared.
fn compare([server, client, comparison]: [&str; 3], count: &str, options: &[&str]) {
    let place = tempfile::tempdir().expect("a directory");
    let [direct, lab] = ["direct", "lab"].map(|name| place.path().join(name));

    let origin = start(&direct, server);
    let port = origin.port().to_string();
    let [python, script] = wire(client);
    let mut command = Command::new(&python);
    command.args([&script, SEED, count]).arg(direct.join("client")).args(["direct", &port]).stdin(Stdio::null());
    let _ = Run::of(command.output().expect("the client runs")).ok();
    drop(origin);

    let origin = start(&lab, server);
    let config = place.path().join("interceptor.toml");
    fs::write(&config, CONFIG).expect("a file");
    let (address, config) = (origin.address(), config.to_string_lossy());
    let labs = Lab::with(&[&["--upstream", &address, "--config", &config], options].concat());
    let sent = labs.run(&[&python, &script, SEED, count, &lab.join("client").to_string_lossy(), "lab"]);

    let [_, script] = wire(comparison);
    let mut compare = Command::new(python);
    let compared = compare.args([&script, SEED]).args([&direct, &lab]).output().expect("the comparison runs");
    // Past the harness, which keeps what a passing test prints to itself.
    let _ = std::io::stderr().write_all(&compared.stdout);
    let _ = sent.ok();
    let _ = Run::of(compared).ok();
}

/// An origin that keeps what it sees in `place`.
fn start(place: &Path, name: &str) -> Origin {
    fs::create_dir(place).expect("a directory");
    Origin::start(name, &[SEED, &place.join("origin").to_string_lossy()])
}
