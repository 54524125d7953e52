//! Flipped bytes in the log.

use std::fs;
use std::path::{Path, PathBuf};

use interceptor_tests::{Lab, OPENAI, body, curl, planted_prompt};

/// Bytes of a segment before its first record.
const HEADER: usize = 4096;

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
    let ids: Vec<&str> = records.iter().map(|record| record["id"].as_str().expect("an id")).collect();

    let segment = segment(&lab);
    let intact = fs::read(&segment).expect("the segment can be read");
    let used = intact.iter().rposition(|&byte| byte != 0).expect("something was written") + 1;
    let mut named_by_id = 0;
    for place in 0..PLACES {
        let offset = HEADER + place * (used - 1 - HEADER) / (PLACES - 1);
        let said = verdict_with_flipped_byte(&lab, &segment, &intact, offset);
        assert!(said.contains(".alog") && said.contains("frame "), "byte {offset} of {used}: {said}");
        named_by_id += usize::from(ids.iter().any(|id| said.contains(id)));
    }
    // A byte of the id itself makes it another id.
    assert!(named_by_id > PLACES * 3 / 4, "only {named_by_id} of {PLACES} were named by their id");
    for offset in [0, 9, 100, HEADER - 1] {
        let said = verdict_with_flipped_byte(&lab, &segment, &intact, offset);
        assert!(said.contains(".alog"), "byte {offset} of the header: {said}");
    }
    fs::write(&segment, &intact).expect("the segment can be written");
    assert_eq!(lab.interceptor(&["log", "verify"]).status, 0, "intact again");
}

#[track_caller]
fn verdict_with_flipped_byte(lab: &Lab, segment: &Path, intact: &[u8], offset: usize) -> String {
    let mut flipped = intact.to_vec();
    flipped[offset] ^= 0x10;
    fs::write(segment, &flipped).expect("the segment can be written");
    let verdict = lab.interceptor(&["log", "verify"]);
    assert_eq!(verdict.status, 1, "byte {offset}: {verdict}");
    format!("{}{}", verdict.stdout, verdict.stderr)
}
