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
    let scripts = Scripts { client: "differential.py", direct: "origin.py", lab: "origin.py", judge: &["compare.py"] };
    scripts.compare("2000", &[]);
}

#[test]
fn over_http2_they_are_the_same_fields_and_bodies() {
    let origin = "h2_origin.py";
    let scripts = Scripts { client: "h2_differential.py", direct: origin, lab: origin, judge: &["h2_compare.py"] };
    scripts.compare("1000", &["--alpn", "h2"]);
}

#[test]
fn from_http2_to_http1_they_say_the_same() {
    // Without ALPN an endpoint speaks HTTP/1.1, and a client that offers nothing but HTTP/2 is served in it.
    let judge = &["h2_compare.py", "h1"];
    let scripts = Scripts { client: "h2_differential.py", direct: "h2_origin.py", lab: "origin.py", judge };
    scripts.compare("1000", &["--alpn", "none"]);
}

/// Who talks to whom.
struct Scripts<'a> {
    client: &'a str,
    /// The origin that is talked to directly, and the one behind the interceptor.
    direct: &'a str,
    lab: &'a str,
    /// Compares what they saw, with further arguments.
    judge: &'a [&'a str],
}

impl Scripts<'_> {
    fn compare(&self, count: &str, options: &[&str]) {
        let place = tempfile::tempdir().expect("a directory");
        let [direct, lab] = ["direct", "lab"].map(|name| place.path().join(name));

        let origin = start(&direct, self.direct);
        let port = origin.port().to_string();
        let [python, script] = wire(self.client);
        let mut command = Command::new(&python);
        command.args([&script, SEED, count]).arg(direct.join("client")).args(["direct", &port]).stdin(Stdio::null());
        let _ = Run::of(command.output().expect("the client runs")).ok();
        drop(origin);

        let origin = start(&lab, self.lab);
        let config = place.path().join("interceptor.toml");
        fs::write(&config, CONFIG).expect("a file");
        let (address, config) = (origin.address(), config.to_string_lossy());
        let labs = Lab::with(&[&["--upstream", &address, "--config", &config], options].concat());
        let sent = labs.run(&[&python, &script, SEED, count, &lab.join("client").to_string_lossy(), "lab"]);

        let [_, script] = wire(self.judge[0]);
        let mut compare = Command::new(python);
        compare.args([&script, SEED]).args([&direct, &lab]).args(&self.judge[1..]);
        let compared = compare.output().expect("the comparison runs");
        // Past the harness, which keeps what a passing test prints to itself.
        let _ = std::io::stderr().write_all(&compared.stdout);
        let _ = sent.ok();
        let _ = Run::of(compared).ok();
    }
}

/// An origin that keeps what it sees in `place`.
fn start(place: &Path, name: &str) -> Origin {
    fs::create_dir(place).expect("a directory");
    Origin::start(name, &[SEED, &place.join("origin").to_string_lossy()])
}
