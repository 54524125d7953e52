//! Request smuggling: bytes that two readers take for one request or for two never leave.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use interceptor_tests::{Lab, Run};

use crate::origin::{Origin, wire};

/// Sends the corpus under `config`, and has what arrived read by careless servers.
fn try_corpus(config: &str, more: &[&str]) {
    let place = tempfile::tempdir().expect("a directory");
    let path = |name: &str| place.path().join(name).to_string_lossy().into_owned();
    fs::create_dir(path("raw")).expect("a directory");
    fs::write(path("interceptor.toml"), config).expect("a file");
    let origin = Origin::start("raw_origin.py", &[&path("raw")]);
    let lab = Lab::with(&["--upstream", &origin.address(), "--config", &path("interceptor.toml")]);

    let [python, script] = wire("smuggling.py");
    let sent = lab.run(&[&python, &script, "send"]);
    fs::write(path("sent"), sent.ok()).expect("a file");
    let mut records = String::new();
    for record in lab.records() {
        let _ = writeln!(records, "{record}");
    }
    fs::write(path("records"), records).expect("a file");

    let mut check = Command::new(python);
    check.args([&script, "check", &path("sent"), &path("raw"), &path("records")]).args(more).stdin(Stdio::null());
    let checked = check.output().expect("the check runs");
    // Past the harness, which keeps what a passing test prints to itself.
    let _ = std::io::stderr().write_all(&checked.stdout);
    let _ = Run::of(checked).ok();
}

#[test]
fn no_variant_reaches_the_endpoint_as_two_requests() {
    try_corpus("[policy]\nunknown_operations = \"record\"\n", &[]);
}

#[test]
fn not_even_an_endpoint_that_ignores_bodies_sees_two_requests_by_default() {
    try_corpus("", &["careless"]);
}
