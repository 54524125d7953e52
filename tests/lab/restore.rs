//! Values put back into answers: the client sees its own again, the endpoint and the log see tokens.

use std::fs;

use interceptor_tests::{ANTHROPIC, Lab, OPENAI, PLANTED, Run, body, client, curl, script};
use serde_json::Value;
use tempfile::TempDir;

const RESTORE: &str = "[policy]\nrestore = true\n";

/// A value with what JSON escapes in it, beside an address.
const PROMPT: &str = "say \"jane@corp.example\" and C:\\x\nto [EMAIL_aaaaaaaa] 4111 1111 1111 1111 \u{1f600}";

/// A lab whose daemon has this configuration.
struct Configured {
    lab: Lab,
    _dir: TempDir,
}

fn lab(config: &str, alpn: &str) -> Configured {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config.toml");
    fs::write(&path, config).expect("a configuration");
    let lab = Lab::with(&["--config", path.to_str().expect("a path in UTF-8"), "--alpn", alpn]);
    Configured { lab, _dir: dir }
}

/// What the model said in a stream of either provider's events.
fn streamed(run: &Run) -> String {
    let data = run.ok().lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = data.filter_map(|data| serde_json::from_str(data).ok()).collect();
    let pointers = [
        "/choices/0/delta/content",
        "/choices/0/delta/tool_calls/0/function/arguments",
        "/delta/text",
        "/delta/partial_json",
    ];
    let said = |event: &Value| pointers.into_iter().find_map(|at| event.pointer(at)?.as_str().map(str::to_owned));
    events.iter().filter_map(said).collect()
}

/// And in a whole answer.
fn whole(run: &Run) -> String {
    let answer = run.json();
    let texts = ["/choices/0/message/content", "/content/0/text", "/choices/0/message/tool_calls/0/function/arguments"];
    let text = texts.into_iter().find_map(|at| answer.pointer(at)?.as_str().map(str::to_owned));
    text.or_else(|| answer.pointer("/content/0/input").map(Value::to_string)).expect("an answer")
}

#[test]
fn the_client_sees_its_own_values_and_nobody_else_does() {
    for (alpn, version) in [("http/1.1", "--http1.1"), ("h2,http/1.1", "--http2"), ("h2,http/1.1", "--http1.1")] {
        let Configured { lab, .. } = &lab(RESTORE, alpn);
        let mut exchanges = 0;
        for url in [OPENAI, ANTHROPIC] {
            for stream in [false, true] {
                // The whole answers in one piece each, the streams in pieces of one character.
                let sent = body(PROMPT, stream);
                let more = [version, "--compressed", "-H", "x-lab-piece: 1", "-H", "x-lab-delay-ms: 0"];
                let run = lab.run(&curl(url, &sent, &more));
                let said = if stream { streamed(&run) } else { whole(&run) };
                assert_eq!(said, format!("You said: {PROMPT}"), "{alpn} {version} {url} {stream}");

                let called = lab.run(&curl(url, &sent, &[&more[..], &["-H", "x-lab-tool: send"]].concat()));
                let arguments = if stream { streamed(&called) } else { whole(&called) };
                let arguments: Value = serde_json::from_str(&arguments).expect("arguments are JSON");
                assert_eq!(arguments["text"], PROMPT, "{alpn} {version} {url} {stream}");
                exchanges += 2;
            }
        }
        let requests = lab.requests_as_text();
        assert_eq!(requests.len(), exchanges);
        for request in &requests {
            assert!(
                request.contains("[EMAIL_") && !request.contains("jane@") && !request.contains("4111"),
                "{request}"
            );
            assert!(request.to_lowercase().contains("\naccept-encoding: identity"), "{request}");
            assert!(!request.contains("gzip"), "{request}");
        }
        lab.assert_absent(&[PLANTED[0], PLANTED[2]]);
        for record in lab.records() {
            assert_eq!(record["state"], "complete", "{record}");
            let restored = &record["response"]["restored"];
            assert_eq!((&restored["EMAIL_ADDRESS"], &restored["CREDIT_CARD"]), (&1.into(), &1.into()), "{record}");
            assert_eq!(record["response"]["not_restored"], Value::Null, "{record}");
        }
        let id = lab.records()[0]["id"].as_str().expect("an id").to_owned();
        let shown = lab.interceptor(&["log", "show", &id]);
        assert!(shown.ok().contains("restored") && shown.ok().contains("EMAIL_ADDRESS 1"), "{shown}");
        let key = lab.state().join("lab/auditor.key");
        let key = key.to_str().expect("a path in UTF-8");
        let unsealed = lab.interceptor(&["log", "unseal", &id, "--key", key, "--reason", "test", "--json"]).json();
        let response = unsealed["response"]["text"].as_str().expect("a response");
        assert!(response.contains("EMAIL_") && !response.contains("jane@"), "{response}");
    }
}

#[test]
fn connections_go_on_behind_a_restored_answer_and_http_1_0_has_its_end() {
    let Configured { lab, .. } = &lab(RESTORE, "http/1.1");
    let sent = body("mail jane@corp.example", false);
    let show = ["-w", "\n%{num_connects} %header{transfer-encoding}\n", "-o", "/dev/null", "-o", "/dev/null", OPENAI];
    let run = lab.run(&curl(OPENAI, &sent, &show));
    assert_eq!(run.ok().split_whitespace().collect::<Vec<_>>(), ["1", "chunked", "0", "chunked"], "{run}");
    for stream in [false, true] {
        let sent = body("mail jane@corp.example", stream);
        let run = lab.run(&curl(OPENAI, &sent, &["--http1.0", "--no-alpn", "-H", "connection: keep-alive"]));
        let said = if stream { streamed(&run) } else { whole(&run) };
        assert_eq!(said, "You said: mail jane@corp.example");
    }
}

#[test]
fn nothing_is_restored_unless_policy_says_so() {
    let mail = "[[policy.rule]]\nname = \"mail\"\ntypes = [\"EMAIL_ADDRESS\"]\naction = \"mask\"\nrestore = true\n";
    for (config, mail_is_back) in [("", false), (mail, true)] {
        let Configured { lab, .. } = &lab(config, "http/1.1");
        for stream in [false, true] {
            let sent = body("mail jane@corp.example card 4111 1111 1111 1111", stream);
            let run = lab.run(&curl(OPENAI, &sent, &["-H", "accept-encoding: gzip;q=0.5"]));
            let said = if stream { streamed(&run) } else { whole(&run) };
            assert_eq!(said.contains("jane@corp.example"), mail_is_back, "{said}");
            assert!(said.contains("[CARD_") && !said.contains("4111"), "{said}");
        }
        for (request, record) in lab.requests_as_text().iter().zip(lab.records()) {
            assert_eq!(request.contains("gzip;q=0.5"), !mail_is_back, "{request}");
            let restored = &record["response"]["restored"];
            assert_eq!(restored.is_object(), mail_is_back, "{record}");
        }
        // Where nothing was replaced, nothing changes.
        let run = lab.run(&curl(OPENAI, &body("hello", false), &["-i", "-H", "accept-encoding: gzip;q=0.5"]));
        assert!(run.ok().to_lowercase().contains("\ncontent-length: "), "{run}");
        assert!(lab.requests_as_text().last().is_some_and(|request| request.contains("gzip;q=0.5")));
    }
}

#[test]
fn a_rule_that_leaves_no_token_cannot_restore() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config.toml");
    let rule = "[[policy.rule]]\nname = \"cards\"\naction = \"partial\"\nrestore = true\n";
    fs::write(&path, rule).expect("a configuration");
    let Configured { lab, .. } = &lab("", "http/1.1");
    let told = lab.interceptor(&["run", "--check", "--config", path.to_str().expect("a path in UTF-8")]);
    assert_ne!(told.status, 0, "{told}");
    let both = format!("{}{}", told.stdout, told.stderr);
    assert!(both.contains("cards") && both.contains("restore") && both.contains("partial"), "{told}");
}

/// The SDKs' own reading of streams and of whole answers. The endpoint holds its second piece until the client has the
/// first: nothing is held that need not be.
#[test]
fn the_vendors_libraries_read_restored_answers() {
    for alpn in ["http/1.1", "h2,http/1.1"] {
        let Configured { lab, .. } = &lab(RESTORE, alpn);
        let prompt = "mail jane@corp.example, card 4111 1111 1111 1111, again jane@corp.example end";
        for file in ["openai_chat.py", "anthropic_messages.py"] {
            for mode in ["whole", "stream"] {
                let hold = lab.state().join(format!("hold-{file}-{mode}"));
                let hold = hold.to_str().expect("a path in UTF-8");
                let python = client("python/bin/python");
                let report = lab.run(&[&python, &script(file), mode, prompt, hold]).json();
                assert_eq!(report["text"], format!("You said: {prompt}"), "{file} {mode}: {report}");
                assert!(mode == "whole" || report["pieces"].as_u64().is_some_and(|pieces| pieces > 5), "{report}");
            }
        }
        lab.assert_absent(&[PLANTED[0], PLANTED[2]]);
    }
}
