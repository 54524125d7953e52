//! The daemon dies, hangs, is restarted and replaced, with two hundred streaming requests running.

use std::io::Write as _;

use interceptor_tests::{Lab, contains, program, rounds, script};
use serde_json::{Map, Value};

const STREAMS: u64 = 200;
const PLANTED: &str = "4111 1111 1111 1111";

/// Runs a scenario of `streams.py`; returns its counts after checking what holds in all of them.
fn scenario(lab: &Lab, name: &str, tokens: u32) -> Value {
    let (interceptor, script) = (program("interceptor"), script("streams.py"));
    let run = lab.sh(&format!(
        r#"own=$(grep '^0::' /proc/self/cgroup | cut -d: -f3); mount=$(awk '/ - cgroup2 / {{print $5; exit}}' /proc/self/mountinfo)
         export DAEMON_CGROUP=$mount$(dirname $own)/daemon
         exec python3 {script} {name} {STREAMS} {tokens} 100 -- \
             sh -c 'echo $$ > $DAEMON_CGROUP/cgroup.procs && exec {} run --config $INTERCEPTOR_STATE/lab/config.toml --state $INTERCEPTOR_STATE'"#,
        interceptor.display(),
    ));
    let counts = run.json();
    // Past the harness, which keeps what a passing test prints to itself.
    let _ = writeln!(std::io::stderr(), "{name}: {counts}");
    assert_eq!(counts["running"], STREAMS, "the streams were running when it happened: {counts}");
    assert_eq!(counts["connections"]["direct"], 0, "nobody reached the endpoint directly: {counts}");
    assert!(counts["probes"]["after"]["connected"].as_u64() > Some(0), "service resumed: {counts}");
    assert!(counts["probes"]["after"].get("refused").is_none(), "and stayed: {counts}");
    for request in lab.requests() {
        assert!(!contains(&request, PLANTED), "{}", String::from_utf8_lossy(&request));
    }
    let verified = lab.interceptor(&["log", "verify"]);
    assert_eq!(verified.status, 0, "{verified}");
    counts
}

/// Whether every probe was refused, and there were enough.
fn all_refused(probes: &Value) -> bool {
    probes["refused"].as_u64() > Some(10) && probes.as_object().map(Map::len) == Some(1)
}

fn for_rounds(run: impl Fn(&Lab)) {
    for _ in 0..rounds() {
        run(&Lab::new());
    }
}

#[test]
fn killed_under_load() {
    for_rounds(|lab| {
        let counts = scenario(lab, "kill", 600);
        assert_eq!(counts["complete"], 0, "all streams broke: {counts}");
        let dead = &counts["probes"]["dead"];
        assert!(all_refused(dead), "{counts}");
    });
}

#[test]
fn hanging_under_load() {
    for_rounds(|lab| {
        let counts = scenario(lab, "stop", 80);
        assert_eq!(counts["complete"], STREAMS, "streams go on where they stood: {counts}");
        let stale = &counts["probes"]["stale"];
        assert!(all_refused(stale), "{counts}");
    });
}

#[test]
fn restarted_under_load() {
    for_rounds(|lab| {
        let _ = scenario(lab, "restart", 600);
    });
}

#[test]
fn upgraded_under_load() {
    for_rounds(|lab| {
        let counts = scenario(lab, "upgrade", 80);
        assert_eq!(counts["complete"], STREAMS, "no stream broke: {counts}");
        let upgrading = &counts["probes"]["upgrading"];
        assert!(upgrading.as_object().is_none_or(|seen| seen.keys().all(|outcome| outcome == "connected")), "{counts}");
    });
}
