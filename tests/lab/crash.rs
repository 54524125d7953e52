//! `kill -9` of the daemon while a request is on its way.

use interceptor_tests::{Lab, OPENAI, PLANTED, body, curl, planted_prompt};

/// Starts a stream, kills the daemon after the first piece, and tries another connection while it is dead.
fn killed_mid_request(lab: &Lab) -> interceptor_tests::Run {
    lab.sh(&format!(
        "curl -sSN {OPENAI} -H 'content-type: application/json' -H 'x-lab-delay-ms: 20' -H 'x-lab-tokens: 500' \\
             -d '{body}' > $INTERCEPTOR_STATE/streamed &
         stream=$!
         until grep -q '\"content\":\"You\"' $INTERCEPTOR_STATE/streamed; do sleep 0.02; done
         kill -9 $(cat $INTERCEPTOR_STATE/run/daemon.pid)
         wait $stream; echo \"stream: $?\"
         for family in -4 -6; do
             curl $family -sS --max-time 5 {OPENAI} -d '{body}' 2>&1; echo \"during: $?\"
         done
         curl -sS --max-time 5 --capath /nonexistent --cacert $INTERCEPTOR_STATE/lab/endpoint-ca.pem {OPENAI} -d '{body}' 2>&1
         echo \"trusting the endpoint: $?\"",
        body = body(&planted_prompt(), true),
    ))
}

#[test]
fn what_was_acknowledged_is_in_the_log_and_nothing_leaks_meanwhile() {
    let lab = Lab::new();
    let run = killed_mid_request(&lab);
    let printed = run.ok();
    assert!(!printed.contains("stream: 0"), "the stream broke off: {run}");
    // curl's 7: the connection was refused.
    assert_eq!(printed.matches("during: 7").count(), 2, "{run}");
    assert!(printed.contains("trusting the endpoint: 7"), "not even who would trust it gets through: {run}");
    assert!(run.stderr.contains("lab: the daemon died"), "{run}");
    let requests = lab.requests_as_text();
    assert_eq!(requests.len(), 1, "only the first request arrived: {requests:?}");
    assert!(!PLANTED.iter().any(|value| requests[0].contains(value)), "{requests:?}");

    // The next run with this state recovers.
    let _ = lab.run(&curl(OPENAI, &body("after", false), &[])).json();
    let verified = lab.interceptor(&["log", "verify"]);
    assert_eq!(verified.status, 0, "{verified}");
    let records = lab.records();
    assert_eq!(records.len(), 2, "{records:?}");
    assert_ne!(records[0]["state"], "complete", "the first was cut short: {}", records[0]);
    assert_eq!(records[0]["findings"].as_array().map(Vec::len), Some(PLANTED.len()), "{}", records[0]);
    assert_eq!(records[1]["state"], "complete", "{}", records[1]);
    lab.assert_absent(&PLANTED);
}
