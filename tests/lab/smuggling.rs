//! Request smuggling: bytes that two readers take for one request or for two never leave.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use interceptor_tests::{Lab, Run};

use crate::origin::{Origin, wire};

/// Requests of operations that are not known pass, so that nothing is refused for that.
const RECORD: &str = "[policy]\nunknown_operations = \"record\"\n";

/// A place for what one run leaves.
struct Place(tempfile::TempDir);

impl Place {
    fn new(config: &str) -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        fs::create_dir(place.path("raw")).expect("a directory");
        fs::write(place.path("interceptor.toml"), config).expect("a file");
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// Has `script` send its corpus in a lab with this configuration, and keeps what became of it.
    fn send(&self, origin: &Origin, options: &[&str], script: &[&str]) {
        let (address, config) = (origin.address(), self.path("interceptor.toml"));
        let lab = Lab::with(&[&["--upstream", &address, "--config", &config], options].concat());
        let [python, path] = wire(script[0]);
        let sent = lab.run(&[&[python.as_str(), &path], &script[1..]].concat());
        fs::write(self.path("sent"), sent.ok()).expect("a file");
        let mut records = String::new();
        for record in lab.records() {
            let _ = writeln!(records, "{record}");
        }
        fs::write(self.path("records"), records).expect("a file");
    }

    /// Has `script` judge what arrived.
    fn judge(&self, script: &str, arguments: &[&str]) {
        let [python, path] = wire(script);
        let mut check = Command::new(python);
        let checked = check.arg(path).args(arguments).stdin(Stdio::null()).output().expect("the check runs");
        // Past the harness, which keeps what a passing test prints to itself.
        let _ = std::io::stderr().write_all(&checked.stdout);
        let _ = Run::of(checked).ok();
    }

    fn judge_as_h1(&self, how: &[&str]) {
        let [sent, raw, records] = ["sent", "raw", "records"].map(|name| self.path(name));
        self.judge("smuggling.py", &[&["check", sent.as_str(), &raw, &records], how].concat());
    }
}

#[test]
fn no_variant_reaches_the_endpoint_as_two_requests() {
    let place = Place::new(RECORD);
    let origin = Origin::start("raw_origin.py", &[&place.path("raw")]);
    place.send(&origin, &[], &["smuggling.py", "send"]);
    place.judge_as_h1(&[]);
}

#[test]
fn not_even_an_endpoint_that_ignores_bodies_sees_two_requests_by_default() {
    let place = Place::new("");
    let origin = Origin::start("raw_origin.py", &[&place.path("raw")]);
    place.send(&origin, &[], &["smuggling.py", "send"]);
    place.judge_as_h1(&["careless"]);
}

#[test]
fn what_comes_over_http2_is_one_request_for_an_endpoint_of_http1() {
    let place = Place::new(RECORD);
    let origin = Origin::start("raw_origin.py", &[&place.path("raw")]);
    // Without ALPN an endpoint speaks HTTP/1.1, and a client that offers nothing but HTTP/2 is served in it.
    place.send(&origin, &["--alpn", "none"], &["h2_smuggling.py"]);
    place.judge_as_h1(&["h2"]);
}

#[test]
fn what_comes_over_http2_is_sound_for_an_endpoint_of_http2() {
    let place = Place::new(RECORD);
    let arrived = place.path("arrived");
    let origin = Origin::start("h2_raw_origin.py", &[&arrived]);
    place.send(&origin, &["--alpn", "h2"], &["h2_smuggling.py"]);
    place.judge("h2_check.py", &[&place.path("sent"), &arrived]);
}
