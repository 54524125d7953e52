//! What the log says about a request, and who can read it.

use interceptor_tests::{ANTHROPIC, Lab, OPENAI, PLANTED, body, curl, planted_prompt};

#[test]
fn the_record_says_who_asked_what_was_found_and_what_was_sent() {
    let lab = Lab::new();
    let _ = lab.run(&curl(OPENAI, &body(&planted_prompt(), false), &[])).json();
    let records = lab.records();
    assert_eq!(records.len(), 1, "{records:?}");
    let id = records[0]["id"].as_str().expect("an id");
    let record = lab.interceptor(&["log", "show", id, "--json"]).json();

    assert_eq!(record["state"], "complete", "{record}");
    assert_eq!(record["caller"]["uid"], 0, "{record}");
    assert!(record["caller"]["exe"].as_str().is_some_and(|exe| exe.ends_with("/curl")), "{record}");
    assert!(record["caller"]["cgroup"].as_str().is_some_and(|cgroup| cgroup.ends_with("/client")), "{record}");
    assert_eq!(record["endpoint"]["provider"], "openai", "{record}");
    assert_eq!(record["endpoint"]["host"], "api.openai.com", "{record}");
    assert_eq!(record["endpoint"]["port"], 443, "{record}");
    assert_eq!(record["request"]["method"], "POST", "{record}");
    assert_eq!(record["request"]["path"], "/v1/chat/completions", "{record}");
    assert_eq!(record["request"]["model"], "test-model", "{record}");
    assert_eq!(record["decision"]["action"], "mask", "{record}");
    assert_eq!(record["response"]["status"], 200, "{record}");
    assert_eq!(record["findings"].as_array().map(Vec::len), Some(PLANTED.len()), "{record}");
    // What was sent is what arrived.
    let sent = record["request"]["masked"]["text"].as_str().expect("the masked request");
    assert!(lab.requests_as_text()[0].ends_with(sent), "{sent}");
}

#[test]
fn the_auditor_reads_the_original_and_nobody_else_does() {
    let lab = Lab::new();
    let sent = body(&planted_prompt(), false);
    let _ = lab.run(&curl(OPENAI, &sent, &[])).json();
    lab.assert_absent(&PLANTED);

    let id = lab.records()[0]["id"].as_str().expect("an id").to_owned();
    let key = lab.state().join("lab/auditor.key");
    let key = key.to_str().expect("a path in UTF-8");
    let original = lab.interceptor(&["log", "unseal", &id, "--key", key, "--reason", "test"]);
    for value in PLANTED {
        assert!(original.ok().contains(value), "{value} is not in the original: {original}");
    }
    assert_eq!(lab.interceptor(&["log", "verify"]).status, 0, "unsealing leaves a log that verifies");

    let stranger = lab.state().join("stranger.key");
    let stranger = stranger.to_str().expect("a path in UTF-8");
    let _ = lab.interceptor(&["keys", "generate", "--out", stranger]).ok();
    let refused = lab.interceptor(&["log", "unseal", &id, "--key", stranger, "--reason", "test"]);
    assert_ne!(refused.status, 0, "another key opens nothing: {refused}");
    assert!(!PLANTED.iter().any(|value| refused.stdout.contains(value)), "{refused}");
}

#[test]
fn a_state_directory_goes_on_from_one_run_to_the_next() {
    let lab = Lab::new();
    let _ = lab.run(&curl(OPENAI, &body("first", false), &[])).json();
    let _ = lab.run(&curl(ANTHROPIC, &body("second", true), &[])).ok();
    let records = lab.records();
    let providers: Vec<_> = records.iter().map(|record| &record["endpoint"]["provider"]).collect();
    assert_eq!(providers, ["openai", "anthropic"]);
    assert_eq!(lab.requests().len(), 2, "the requests are numbered on");
    assert_eq!(lab.interceptor(&["log", "verify"]).status, 0);
}
