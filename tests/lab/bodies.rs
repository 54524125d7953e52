//! Bodies that are too large, plainly or once they are decoded: refused in the provider's words, and nothing leaves.

use std::fs;
use std::io::Write as _;

use interceptor_tests::Lab;
use serde_json::Value;

use crate::origin::{Origin, wire};

/// What holding a body of the greatest size may cost. It counts three times against `limits.buffered_bytes`, and one in
/// chunks is held with its framing and without.
const RESIDENT: u64 = 2 * 3 * (32 << 20);

#[test]
fn too_large_bodies_and_bombs_are_refused_and_cost_no_memory() {
    let place = tempfile::tempdir().expect("a directory");
    let events = place.path().join("events");
    let origin = Origin::start("odd_origin.py", &[&events.to_string_lossy()]);
    let lab = Lab::with(&["--upstream", &origin.address()]);
    let [python, script] = wire("bodies.py");
    let run = lab.run(&[&python, &script]);
    // Past the harness, which keeps what a passing test prints to itself.
    let _ = std::io::stderr().write_all(run.stdout.as_bytes());
    let seen: Vec<Value> = run.ok().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(seen.len(), 13, "{run}");
    let (answers, refused): (Vec<_>, Vec<_>) = seen.iter().partition(|case| case["error"].is_null());
    for case in &refused {
        // As they come, bombs are small: what is wrong with them is what they say, or what they turn out to be.
        let plain = !case["case"].as_str().expect("a name").contains("bomb");
        let statuses: &[u64] = if plain { &[413] } else { &[400, 403, 413, 415] };
        assert!(statuses.contains(&case["status"].as_u64().expect("a status")), "{case}");
        assert!(case["error"] == "invalid_request_error" || !plain, "{case}");
        assert!(case["audited"] == true && case["continued"] == false, "{case}");
    }
    for case in &answers {
        assert_eq!((&case["status"], &case["seen"]), (&200.into(), &"as it was".into()), "{case}");
    }
    for case in &seen {
        assert!(case["resident"].as_u64().is_some_and(|most| most < RESIDENT), "{case}");
    }
    let arrived = fs::read_to_string(&events).expect("the origin's notes");
    let names: Vec<_> = arrived.lines().filter_map(|line| line.strip_prefix("head ")).collect();
    assert_eq!(names.len(), answers.len(), "only requests without a body arrived: {arrived}");
    assert_eq!(lab.records().len(), seen.len(), "each is in the log");
}
