//! A program that wants to get past the interceptor, in a strict cgroup and without privilege.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use interceptor_tests::{Lab, contains, program, rounds, script};
use serde_json::Value;

/// What every attempt carries.
const PLANTED: &str = "4111 1111 1111 1111";

/// Programs and script where every user can read them.
struct Tools(tempfile::TempDir);

impl Tools {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
        let copy = |from: &Path, name: &str| {
            fs::copy(from, place.path().join(name)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        };
        copy(&program("capture-client"), "capture-client");
        copy(Path::new(&script("hostile.py")), "hostile.py");
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--edition", "2024", "-C", "target-feature=+crt-static", "-o"]).arg(place.path().join("static"));
        let status = rustc.arg(script("static_program.rs")).status().expect("rustc runs");
        assert!(status.success(), "rustc: {status}");
        Self(place)
    }

    /// A configuration in which the clients' cgroup is `strict` or `exempt`.
    fn config(&self, mode: &str) -> String {
        let path = self.path("interceptor.toml");
        fs::write(&path, format!("[capture]\n{mode} = [\"client\"]\n")).expect("a file");
        path
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// The program's attempts (those with one of `words` in their names), made in a lab with this configuration.
fn attempts(lab: &Lab, tools: &Tools, words: &str) -> Vec<Value> {
    let [script, client, binary] = ["hostile.py", "capture-client", "static"].map(|name| tools.path(name));
    let run = lab.sh(&format!(
        "exec setpriv --reuid=65534 --regid=65534 --clear-groups \
             /usr/bin/python3 {script} {client} {binary} 960 $(cat $INTERCEPTOR_STATE/run/daemon.pid) {words}"
    ));
    run.ok().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn without_capture_the_same_program_is_seen_to_get_through() {
    let tools = Tools::new();
    let config = tools.config("exempt");
    let lab = Lab::with(&["--config", &config]);
    let attempts = attempts(&lab, &tools, "resolver plain_HTTP no_protocol QUIC io_uring static");
    let arrived = arrivals(lab.state());
    let through = |attempt: &&Value| {
        let own = format!("<{}>", text(&attempt["attempt"]));
        arrived.iter().any(|bytes| contains(bytes, &own) && contains(bytes, PLANTED))
    };
    let names: Vec<_> = attempts.iter().filter(through).map(|attempt| text(&attempt["attempt"])).collect();
    for expected in [
        "own resolver IPv6",
        "plain HTTP another port",
        "no protocol at all endpoint port",
        "QUIC v4",
        "static program",
    ] {
        assert!(names.contains(&expected), "{expected} is not among {names:?}: {attempts:?}");
    }
}

#[test]
fn nothing_arrives_unmasked_however_it_is_tried() {
    let tools = Tools::new();
    for _ in 0..rounds() {
        try_everything(&tools);
    }
}

fn try_everything(tools: &Tools) {
    let config = tools.config("strict");
    let lab = Lab::with(&["--config", &config]);
    let attempts = attempts(&lab, tools, "");
    assert!(attempts.len() > 70, "{attempts:?}");

    let arrived = arrivals(lab.state());
    let mut report = format!("{:46} {:60} arrived\n", "attempt", "seen by the client");
    let mut wrong = Vec::new();
    for attempt in &attempts {
        let (name, seen) = (text(&attempt["attempt"]), text(&attempt["seen"]));
        let own = format!("<{name}>");
        let of_it: Vec<_> = arrived.iter().filter(|bytes| contains(bytes, &own)).collect();
        let unmasked = of_it.iter().filter(|bytes| contains(bytes, PLANTED)).count();
        let outcome = match (of_it.len(), unmasked) {
            (0, _) => "nothing".to_owned(),
            (number, 0) => format!("{number} masked"),
            (number, unmasked) => format!("{unmasked} of {number} UNMASKED"),
        };
        let known = ["intercepted", "denied", "refused", "sent", "spliced"].iter().any(|word| seen.starts_with(word));
        // What is masked does not leave in the clear either.
        let in_the_clear = name.starts_with("plain HTTP") && !of_it.is_empty();
        if unmasked > 0 || in_the_clear || !known {
            wrong.push(format!("{name}: {seen}; {outcome}"));
        }
        let _ = writeln!(report, "{name:46} {seen:60} {outcome}");
    }
    // Past the harness, which keeps what a passing test prints to itself.
    let _ = std::io::stderr().write_all(report.as_bytes());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for bytes in &arrived {
        assert!(!contains(bytes, PLANTED), "{}", String::from_utf8_lossy(bytes));
    }
    lab.assert_absent(&[PLANTED]);
    let verified = lab.interceptor(&["log", "verify"]);
    assert_eq!(verified.status, 0, "{verified}");
}

/// Everything that reached the endpoint: requests, what was no request, datagrams.
fn arrivals(state: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(state.join("endpoint")).expect("the lab keeps what arrives");
    entries.map(|entry| fs::read(entry.expect("an entry").path()).expect("it can be read")).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}
