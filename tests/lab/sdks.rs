//! The vendors' SDKs, unmodified, streaming and not.
//!
//! A streaming client makes the file that the endpoint waits for only when it has the first piece of the answer, so a
//! proxy that held pieces back would stop it.

use std::time::{Duration, Instant};

use interceptor_tests::{Lab, PLANTED, client, planted_prompt, script};

/// Runs a client script in both modes: `PROGRAM SCRIPT whole|stream PROMPT HOLD`.
#[track_caller]
fn check(program: &str, file: &str, environment: &[(&str, &str)]) {
    let lab = Lab::new();
    let hold = lab.state().join("first-piece-seen");
    let hold = hold.to_str().expect("a path in UTF-8");
    for mode in ["whole", "stream"] {
        let start = Instant::now();
        let mut command = lab.command(&[program, &script(file), mode, &planted_prompt(), hold]);
        command.envs(environment.iter().copied());
        let run = interceptor_tests::Run::of(command.output().expect("the lab runs"));
        let printed = run.json();
        let text = printed["text"].as_str().expect("a text");
        assert!(text.starts_with("You said: card [CARD_") && text.ends_with(" end"), "{mode}: {run}");
        assert!(printed["output_tokens"].as_u64().is_some_and(|count| count > 5), "{mode}: {run}");
        if mode == "stream" {
            assert!(printed["pieces"].as_u64().is_some_and(|count| count > 5), "{run}");
            assert!(start.elapsed() < Duration::from_secs(30), "the first piece was held back: {:?}", start.elapsed());
        }
    }
    let requests = lab.requests_as_text();
    assert_eq!(requests.len(), 2, "{requests:?}");
    for value in PLANTED {
        assert!(requests.iter().all(|request| !request.contains(value)), "{value} arrived: {requests:?}");
    }
    let records = lab.records();
    assert!(records.len() == 2 && records.iter().all(|record| record["state"] == "complete"), "{records:?}");
    lab.assert_absent(&PLANTED);
}

#[test]
fn openai_for_python() {
    check(&client("python/bin/python"), "openai_chat.py", &[]);
}

#[test]
fn anthropic_for_python() {
    check(&client("python/bin/python"), "anthropic_messages.py", &[]);
}

#[test]
fn openai_for_node() {
    let modules = client("node/node_modules");
    check(&client("node/node_modules/node/bin/node"), "openai_chat.cjs", &[("NODE_PATH", &modules)]);
}
