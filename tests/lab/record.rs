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

#[test]
fn records_are_found_by_what_they_are_and_by_what_they_say() {
    let lab = Lab::new();
    let _ = lab.run(&curl(OPENAI, &body(&planted_prompt(), false), &[])).json();
    let _ = lab.run(&curl(ANTHROPIC, &body("where does the Danube end?", false), &[])).ok();
    let records = lab.records();
    let id = |record: &serde_json::Value| record["id"].as_str().expect("an id").to_owned();
    let ids = |args: &[&str]| -> Vec<String> {
        let found = lab.interceptor(&[&["log"], args, &["--json"]].concat());
        let lines = found.stdout.lines();
        lines.map(|line| id(&serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {found}")))).collect()
    };
    let (first, second) = (vec![id(&records[0])], vec![id(&records[1])]);
    assert_eq!(ids(&["list", "--caller", "curl", "--endpoint", "anthropic"]), second);
    assert_eq!(ids(&["list", "--type", "credit_card", "--decision", "mask", "--since", "today"]), first);
    assert_eq!(ids(&["tail", "-n", "1"]), second);
    assert_eq!(ids(&["tail", "-n", "1", "--model", "test-*", "--rule", "card.*"]), first);
    assert_eq!(ids(&["list", "--caller", "nobody"]), Vec::<String>::new());
    assert_eq!(ids(&["grep", "-i", "DANUBE"]), second);
    // What was masked is found by its token alone.
    assert_eq!(ids(&["grep", r"\[CARD_\w+\]"]), first);
    for value in PLANTED {
        let found = lab.interceptor(&["log", "grep", "-F", value]);
        assert_eq!((found.status, &*found.stdout), (1, ""), "{found}");
    }
    for (format, at) in [("ocsf", "/metadata/uid"), ("ecs", "/event/id"), ("har", "/log/entries/0/_id")] {
        let exported = lab.interceptor(&["log", "export", "--format", format, "--decision", "mask"]);
        assert!(!PLANTED.iter().any(|value| exported.stdout.contains(value)), "{exported}");
        assert_eq!(exported.json().pointer(at), Some(&records[0]["id"]), "{format}");
    }
    let cef = lab.interceptor(&["log", "export", "--format", "cef"]);
    assert_eq!(cef.ok().lines().filter(|line| line.starts_with("CEF:0|")).count(), 2, "{cef}");
    let stats = lab.interceptor(&["log", "stats", "--json"]).json();
    assert_eq!(stats["records"], 2, "{stats}");
    assert_eq!(stats["endpoints"], serde_json::json!({"api.anthropic.com": 1, "api.openai.com": 1}), "{stats}");
}

#[test]
fn a_record_is_proven_without_the_log() {
    let lab = Lab::new();
    let _ = lab.run(&curl(OPENAI, &body(&planted_prompt(), false), &[])).json();
    let elsewhere = tempfile::tempdir().expect("a directory");
    let proof = elsewhere.path().join("request.tlog-proof");
    let key = elsewhere.path().join("host.pub");
    std::fs::copy(lab.state().join("keys/log-signing.pub"), &key).expect("a copy of the key");
    let [proof, key] = [&proof, &key].map(|path| path.to_str().expect("a path in UTF-8"));
    let _ = lab.interceptor(&["log", "prove", "latest", "--out", proof]).ok();
    let id = lab.records()[0]["id"].clone();
    std::fs::remove_dir_all(lab.state().join("audit")).expect("the log goes");

    let proven = lab.interceptor(&["log", "verify", "--proof", proof, "--key", key, "--json"]).json();
    assert_eq!((&proven["proven"], &proven["id"]), (&true.into(), &id), "{proven}");
    let text = std::fs::read_to_string(proof).expect("the proof");
    std::fs::write(proof, text.replacen("index 0", "index 1", 1)).expect("another one");
    assert_eq!(lab.interceptor(&["log", "verify", "--proof", proof, "--key", key]).status, 1);
}
