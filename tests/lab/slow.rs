//! Clients that send or take a byte a second: other requests go on as before, and memory stays bounded.

use std::io::Write as _;

use interceptor_tests::Lab;

use crate::origin::{Origin, wire};

const CONNECTIONS: u64 = 500;

/// What one of them may cost at the most: buffers of both TLS sessions, and a piece of a response on its way.
const EACH: u64 = 512 << 10;

#[test]
fn five_hundred_slow_clients_leave_other_requests_alone() {
    let place = tempfile::tempdir().expect("a directory");
    let origin = Origin::start("odd_origin.py", &[&place.path().join("events").to_string_lossy()]);
    let lab = Lab::with(&["--upstream", &origin.address()]);
    let [python, script] = wire("slow.py");
    let seen = lab.run(&[&python, &script, &CONNECTIONS.to_string(), "20"]).json();
    // Past the harness, which keeps what a passing test prints to itself.
    let _ = writeln!(std::io::stderr(), "{seen:#}");
    assert_eq!(seen["connections"], CONNECTIONS, "{seen}");
    // The client fails when a single one does not succeed; a run without any shows nothing.
    for phase in ["before", "during"] {
        assert!(seen[phase]["requests"].as_u64().is_some_and(|count| count > 50), "{seen}");
    }
    let resident = |when: &str| seen["resident"][when].as_u64().expect("a number of bytes");
    let bound = resident("before") + CONNECTIONS * EACH;
    assert!(resident("most") < bound, "{} KiB each: {seen}", EACH >> 10);
}
