//! Whoever goes away, the other side learns; whoever is silent, is waited for.

use std::io::Write as _;

use interceptor_tests::Lab;
use serde_json::Value;

use crate::origin::{Origin, wire};

/// Seconds for which an event stream is silent; `cargo xtask soak silence` makes it an hour.
fn silence() -> String {
    std::env::var("INTERCEPTOR_TEST_SILENCE").unwrap_or_else(|_| "70".into())
}

#[test]
fn ends_are_passed_on_and_silence_is_not_one() {
    leave(["odd_origin.py", "disconnects.py"], 15, &[]);
}

#[test]
fn over_http2_streams_end_without_their_connection() {
    leave(["h2_odd_origin.py", "h2_disconnects.py"], 14, &["--alpn", "h2"]);
}

fn leave([server, script]: [&str; 2], cases: usize, options: &[&str]) {
    let place = tempfile::tempdir().expect("a directory");
    let events = place.path().join("events").to_string_lossy().into_owned();
    let origin = Origin::start(server, &[&events]);
    let lab = Lab::with(&[&["--upstream", origin.address().as_str()], options].concat());
    let [python, script] = wire(script);
    let run = lab.run(&[&python, &script, &silence(), &events]);
    let seen: Vec<Value> = run.ok().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for case in &seen {
        // Past the harness, which keeps what a passing test prints to itself.
        let _ = writeln!(std::io::stderr(), "{case}");
    }
    assert_eq!(seen.len(), cases, "{run}");
    let wrong: Vec<_> = seen.iter().filter(|case| case["right"] != true).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
