//! Bad input: a clear error to the client in the provider's shape, a record where there was a request, and a daemon
//! that goes on.

use std::process::Command;

use interceptor_tests::{ANTHROPIC, Lab, OPENAI, Run, body, curl, program};
use serde_json::Value;

/// Asserts that the daemon of this lab still serves: the script went on to a good request, which was answered.
#[track_caller]
fn assert_goes_on(run: &Run) {
    assert!(run.ok().contains("You said: still here"), "{run}");
}

/// A script's last lines: a good request.
fn then_a_good_request(text: &str) -> String {
    format!("{text}\ncurl -sS {OPENAI} -H 'content-type: application/json' -d '{}'", body("still here", false))
}

/// The answer's status and document.
#[track_caller]
fn answer(run: &Run) -> (u16, Value) {
    let (document, status) = run.ok().rsplit_once('\n').expect("curl printed the status last");
    (status.parse().expect("a status"), serde_json::from_str(document).unwrap_or_else(|e| panic!("{e}: {run}")))
}

#[test]
fn malformed_json_is_refused_in_each_providers_shape() {
    let lab = Lab::new();
    let (status, refusal) = answer(&lab.run(&curl(OPENAI, r#"{"model":"#, &["-w", "\n%{http_code}"])));
    assert_eq!((status, &refusal["error"]["type"]), (400, &"invalid_request_error".into()), "{refusal}");
    assert!(refusal["error"]["message"].as_str().is_some_and(|message| message.contains("JSON")), "{refusal}");

    let (status, refusal) = answer(&lab.run(&curl(ANTHROPIC, r#"{"model":"#, &["-w", "\n%{http_code}"])));
    assert_eq!((status, &refusal["type"]), (400, &"error".into()), "{refusal}");
    assert_eq!(refusal["error"]["type"], "invalid_request_error", "{refusal}");

    assert!(lab.requests().is_empty(), "nothing arrived");
    let records = lab.records();
    assert_eq!(records.len(), 2, "{records:?}");
    assert!(records.iter().all(|record| record["decision"]["action"] == "deny"), "{records:?}");
    let id = records[1]["id"].as_str().expect("an id");
    assert!(refusal.to_string().contains(id), "the refusal names its record {id}: {refusal}");
}

#[test]
fn two_content_types_are_refused_for_the_endpoint_might_read_the_other() {
    let lab = Lab::new();
    let text = body("mail jane@corp.example", false);
    for version in ["--http1.1", "--http2"] {
        let run =
            lab.run(&curl(OPENAI, &text, &[version, "-H", "Content-Type: application/jsonl", "-w", "\n%{http_code}"]));
        let (status, refusal) = answer(&run);
        assert_eq!(status, 400, "{refusal}");
        assert!(refusal.to_string().contains("[rule http.content_type]"), "{refusal}");
    }
    assert!(lab.requests().is_empty(), "nothing arrived");
    assert_eq!(lab.records().len(), 2, "both are in the log");
}

#[test]
fn a_body_of_100_mb_is_refused() {
    let lab = Lab::new();
    let run = lab.sh(&then_a_good_request(&format!(
        "head -c 100000000 /dev/zero | tr '\\0' a > $INTERCEPTOR_STATE/large
         for how in 'expect: 100-continue' 'transfer-encoding: chunked'; do
             curl -sS {OPENAI} -H 'content-type: application/json' -H \"$how\" --data-binary @$INTERCEPTOR_STATE/large \\
                 -w '\\nstatus %{{http_code}}\\n'
         done"
    )));
    assert_goes_on(&run);
    assert_eq!(run.stdout.matches("status 413").count(), 2, "{run}");
    assert_eq!(run.stdout.matches(r#""type":"invalid_request_error""#).count(), 2, "{run}");
    assert_eq!(lab.requests().len(), 1, "only the good request arrived");
    let records = lab.records();
    assert_eq!(records.len(), 3, "{records:?}");
}

#[test]
fn a_truncated_client_hello_is_noted_and_closed() {
    let lab = Lab::new();
    let run = lab.sh(&then_a_good_request(
        "exec 3<>/dev/tcp/api.openai.com/443; printf '\\x16\\x03\\x01\\x02\\x00\\x01' >&3; exec 3>&-",
    ));
    assert_goes_on(&run);
    assert!(lab.journal().contains("ClientHello"), "{}", lab.journal());
}

#[test]
fn a_client_that_does_not_trust_the_ca_fails_as_it_should() {
    let lab = Lab::new();
    let run = lab.sh(&then_a_good_request(&format!(
        "curl -sS --capath /nonexistent --cacert $INTERCEPTOR_STATE/lab/endpoint-ca.pem {OPENAI} -d '{{}}'; echo \"curl: $?\""
    )));
    assert_goes_on(&run);
    // curl's 60: the peer's certificate cannot be authenticated.
    assert!(run.stdout.contains("curl: 60"), "{run}");
    assert_eq!(lab.requests().len(), 1, "nothing of the first arrived");
    assert!(lab.journal().to_lowercase().contains("unknown"), "who and why is in the journal: {}", lab.journal());
}

#[test]
fn an_endpoint_with_a_wrong_certificate_gets_nothing() {
    let lab = Lab::new();
    for (host, why) in [("wrong-cert.lab.example", "name"), ("untrusted.lab.example", "issuer")] {
        let url = format!("https://{host}/v1/chat/completions");
        let (status, refusal) = answer(&lab.run(&curl(&url, &body("hello", false), &["-w", "\n%{http_code}"])));
        assert_eq!(status, 502, "{refusal}");
        let message = refusal["error"]["message"].as_str().expect("a message");
        assert!(message.contains(host) && message.contains(why), "{message}");
    }
    assert!(lab.requests().is_empty(), "no request was sent");
    assert_eq!(lab.records().len(), 2, "both are in the log");
}

#[test]
fn an_unusable_configuration_ends_the_start_with_a_clear_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("missing.toml");
    let broken = directory.path().join("broken.toml");
    std::fs::write(&broken, "[listen]\nprot = 960\n").expect("a file");
    for (file, named) in [(&missing, "missing.toml"), (&broken, "prot")] {
        let mut command = Command::new(program("interceptor"));
        command.args(["run", "--config"]).arg(file).arg("--state").arg(directory.path().join("state"));
        let run = Run::of(command.output().expect("interceptor runs"));
        assert_eq!(run.status, 2, "{run}");
        assert!(run.stderr.contains(named), "{run}");
    }
}
