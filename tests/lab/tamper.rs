//! Flipped bytes in the log.

use std::fs;
use std::path::PathBuf;

use interceptor_tests::{Lab, OPENAI, body, curl, planted_prompt};

/// How many places of the log are tried.
const PLACES: usize = 48;

fn segment(lab: &Lab) -> PathBuf {
    let entries = fs::read_dir(lab.state().join("audit")).expect("a log").map(|entry| entry.expect("an entry").path());
    let mut segments: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|kind| kind == "alog")).collect();
    segments.sort();
    segments.into_iter().next().expect("a segment")
}

#[test]
fn one_flipped_byte_anywhere_in_a_record_is_found_and_named() {
    let lab = Lab::new();
    for _ in 0..2 {
        let _ = lab.run(&curl(OPENAI, &body(&planted_prompt(), false), &[])).json();
    }
    assert_eq!(lab.interceptor(&["log", "verify"]).status, 0);
    let records = lab.records();
    let first = records[0]["id"].as_str().expect("an id").to_owned();

    let segment = segment(&lab);
    let intact = fs::read(&segment).expect("the segment can be read");
    let used = intact.iter().rposition(|&byte| byte != 0).expect("something was written") + 1;
    let mut named_by_id = 0;
    for place in 0..PLACES {
        let offset = place * (used - 1) / (PLACES - 1);
        let mut flipped = intact.clone();
        flipped[offset] ^= 0x10;
        fs::write(&segment, &flipped).expect("the segment can be written");
        let verdict = lab.interceptor(&["log", "verify"]);
        assert_eq!(verdict.status, 1, "byte {offset} of {used}: {verdict}");
        let said = format!("{}{}", verdict.stdout, verdict.stderr);
        assert!(said.contains(".alog"), "byte {offset} of {used}: {said}");
        named_by_id += usize::from(records.iter().any(|record| said.contains(record["id"].as_str().expect("an id"))));
    }
    assert!(named_by_id > PLACES / 2, "most of the log is records, and only {named_by_id} of {PLACES} were named");
    fs::write(&segment, &intact).expect("the segment can be written");
    assert_eq!(lab.interceptor(&["log", "verify"]).status, 0, "intact again: {first}");
}
