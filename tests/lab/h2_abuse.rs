//! Clients of HTTP/2 that mean harm: their connections end or their streams are refused, and nobody else notices.

use std::io::Write as _;

use interceptor_tests::Lab;
use serde_json::Value;

use crate::origin::{Origin, wire};

/// What one connection may cost at the most, however much it sends: windows, answers that wait, what they are sealed in, and
/// an arena of the allocator, which is taken at once and kept.
const RESIDENT: u64 = 128 << 20;

#[test]
fn abuse_is_limited_and_others_are_served() {
    let place = tempfile::tempdir().expect("a directory");
    let events = place.path().join("events").to_string_lossy().into_owned();
    let origin = Origin::start("h2_odd_origin.py", &[&events]);
    let lab = Lab::with(&["--upstream", &origin.address(), "--alpn", "h2"]);
    let [python, script] = wire("h2_abuse.py");
    let run = lab.run(&[&python, &script]);
    let cases: Vec<Value> = run.ok().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut wrong = Vec::new();
    for case in &cases {
        let resident = case["resident"].as_u64().expect("a number of bytes");
        let unlimited = case["must_be_limited"] == true && case["limited"] != true;
        if unlimited || !case["error"].is_null() || case["beside"].as_u64() < Some(1) || resident > RESIDENT {
            wrong.push(case);
        }
        // Past the harness, which keeps what a passing test prints to itself.
        let (name, seen) = (case["case"].as_str().unwrap_or_default(), case["seen"].as_str().unwrap_or_default());
        let (sent, beside) = (&case["sent"], &case["beside"]);
        let _ = writeln!(
            std::io::stderr(),
            "{name:72} {sent:>7} sent, {seen}; {} KiB, {beside} answered beside",
            resident >> 10
        );
    }
    assert!(cases.len() > 40, "{run}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(!lab.journal().contains("panicked"), "{}", lab.journal());
}
