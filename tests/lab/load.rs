//! Many streams and connections at once: all of them are served, none leaves anything behind, and those beyond the limits
//! are told so.

use std::fs;

use interceptor_tests::{Lab, Run, program, script};
use serde_json::Value;
use tempfile::NamedTempFile;

/// How many streams, and how many seconds they are silent: `cargo xtask soak streams` wants more.
const SIZE: &str = "INTERCEPTOR_TEST_STREAMS";

/// Kilobytes that one idle stream may cost. The aim is 40; a few streams also carry what there is once.
const A_STREAM_KIB: f64 = 40.0;

/// What the allocator may take at once, however few streams there are.
const ALLOCATOR_KIB: f64 = 16384.0;

fn lab_with(text: &str) -> (Lab, NamedTempFile) {
    let file = NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("a configuration");
    let lab = Lab::with(&["--config", file.path().to_str().expect("a path in UTF-8")]);
    (lab, file)
}

fn load(lab: &Lab, arguments: &[&str]) -> Run {
    let program = program("lab-load");
    let mut command = vec![program.to_str().expect("a path in UTF-8")];
    command.extend(arguments);
    lab.run(&command)
}

#[test]
fn idle_streams_cost_little_all_events_arrive_and_nothing_stays() {
    let size = std::env::var(SIZE).unwrap_or_else(|_| "200 2".to_owned());
    let (streams, idle) = size.split_once(' ').expect("two numbers");
    let (lab, _config) = lab_with("[limits]\nconnections = 20000\nconnections_per_user = 20000\n");
    let report = load(&lab, &["streams", streams, idle, "100"]).json();
    let count: u64 = streams.parse().expect("a number");
    eprintln!("{}", serde_json::to_string_pretty(&report).expect("JSON"));
    for round in report["rounds"].as_array().expect("rounds") {
        assert_eq!(round["complete"].as_u64(), Some(count), "{report}");
        assert!(round["least_events"].as_u64() >= Some(100), "{report}");
        let cost = round["anonymous_kib_a_stream"].as_f64().expect("a number");
        // With few streams, what the allocator takes at once outweighs them.
        let allowed = A_STREAM_KIB + ALLOCATOR_KIB / count as f64;
        assert!(cost <= allowed, "{cost} KiB a stream: {report}");
    }
    let after = |round: usize| report["rounds"][round]["after_close"].clone();
    let kib = |held: Value| held["anonymous_kib"].as_u64().expect("a number");
    let leaked = kib(after(1)).saturating_sub(kib(after(0)));
    assert!(leaked as f64 <= (count as f64).max(ALLOCATOR_KIB), "{leaked} KiB more after the second round: {report}");
    assert_eq!(lab.records().iter().filter(|record| record["state"] == "complete").count() as u64, 2 * count + 1);
}

#[test]
fn connections_beyond_the_limit_are_answered_in_the_providers_words() {
    let (lab, _config) = lab_with("[limits]\nconnections_per_user = 4\n");
    let run = lab.run(&["python3", &script("crowd.py"), "4"]);
    let report = run.json();
    assert_eq!(report["held"], 4, "{run}");
    for (provider, status, kind) in [("openai", 429, "rate_limit_error"), ("anthropic", 529, "overloaded_error")] {
        let answer = &report[provider];
        assert_eq!(answer["status"], status, "{run}");
        assert_eq!(answer["body"]["error"]["type"], kind, "{run}");
        assert_eq!(answer["headers"]["x-should-retry"], "true", "{run}");
        let seconds = answer["headers"]["retry-after"].as_str().and_then(|text| text.parse::<u8>().ok());
        assert!(seconds.is_some_and(|seconds| (1..=4).contains(&seconds)), "{run}");
    }
    assert_eq!(report["openai"]["body"]["error"]["code"], "rate_limit_exceeded", "{run}");
    assert!(report["crowd"]["kept"].as_u64() <= Some(8), "{run}");
    assert!(report["crowd"]["closed"].as_u64() >= Some(1), "{run}");
    assert_eq!(report["afterwards"], 200, "{run}");
    let records = lab.records();
    let refused: Vec<_> = records.iter().filter(|record| record["decision"]["rule"] == "limits.connections").collect();
    assert!(!refused.is_empty() && refused.len() < 10, "{} records", refused.len());
    assert!(lab.requests().len() <= 5, "none of them reached the endpoint");
}
