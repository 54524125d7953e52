//! curl: both address families, spellings of a value, HTTP's ways to send a body, both providers, streams.

use interceptor_tests::{ANTHROPIC, Lab, OPENAI, PLANTED, body, curl, json_body, planted_prompt};
use serde_json::Value;

/// The content of the first message of a request that arrived.
fn prompt(request: &str) -> String {
    json_body(request)["messages"][0]["content"].as_str().expect("a prompt").to_owned()
}

#[test]
fn no_planted_value_arrives_over_ipv4_or_ipv6() {
    let lab = Lab::new();
    let body = body(&planted_prompt(), false);
    for family in ["-4", "-6"] {
        let answer = lab.run(&curl(OPENAI, &body, &[family])).json();
        let said = answer["choices"][0]["message"]["content"].as_str().expect("an answer");
        assert!(said.starts_with("You said: card [CARD_") && said.ends_with(" end"), "{said}");
    }
    let requests = lab.requests_as_text();
    assert_eq!(requests.len(), 2, "{requests:?}");
    for request in &requests {
        for value in PLANTED {
            assert!(!request.contains(value), "{value} arrived: {request}");
        }
    }
    assert_eq!(prompt(&requests[0]), prompt(&requests[1]), "equal values have equal tokens");
    lab.assert_absent(&PLANTED);
}

#[test]
fn an_escaped_digit_does_not_help_a_number_through() {
    let lab = Lab::new();
    let spelled =
        r#"{"model":"m","messages":[{"role":"user","content":"card \u0034111 1111 \u00311\u00311 1111 end"}]}"#;
    let answer = lab.run(&curl(OPENAI, spelled, &[])).json();
    assert!(!answer.to_string().contains("1111"), "{answer}");
    let request = &lab.requests_as_text()[0];
    assert!(prompt(request).starts_with("card [CARD_") && !request.contains("1111"), "{request}");
}

#[test]
fn what_is_not_masked_arrives_byte_for_byte() {
    let lab = Lab::new();
    let before =
        "{ \"model\" : \"m\",\t\"x\":1.50e+1, \"temperature\":0.70,\n \"messages\":[ {\"content\":\"\\u00e9\\/ mail ";
    let after = " \\ud83d\\ude00\",\"role\":\"user\"} ] , \"seed\":12345678901234567890 }";
    let sent = format!("{before}{}{after}", PLANTED[2]);
    let _ = lab
        .run(&curl(OPENAI, &sent, &["--http1.1", "-H", "X-Odd:   kept  as it is", "-H", "Authorization: Bearer x"]))
        .json();
    let request = &lab.requests_as_text()[0];
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    assert!(
        head.starts_with("POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nUser-Agent: curl/"),
        "{head}"
    );
    assert!(head.contains("\r\nX-Odd:   kept  as it is\r\nAuthorization: Bearer x\r\n"), "{head}");
    let token = body.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).expect("nothing else changed");
    assert!(token.starts_with("[EMAIL_") && token.ends_with(']'), "{token}");
}

#[test]
fn one_connection_carries_several_requests() {
    let lab = Lab::new();
    let body = body(&planted_prompt(), false);
    let show = ["-w", "\n%{num_connects}\n", "-o", "/dev/null", "-o", "/dev/null", OPENAI];
    let run = lab.run(&curl(OPENAI, &body, &show));
    assert_eq!(run.ok().split_whitespace().collect::<Vec<_>>(), ["1", "0"], "the second request opens no connection");
    let requests = lab.requests_as_text();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| prompt(request).starts_with("card [CARD_")), "{requests:?}");
}

#[test]
fn bodies_in_chunks_and_after_100_continue_are_masked() {
    let lab = Lab::new();
    let body = body(&planted_prompt(), false);
    for header in ["transfer-encoding: chunked", "expect: 100-continue"] {
        let answer = lab.run(&curl(OPENAI, &body, &["-H", header])).json();
        assert!(
            answer["choices"][0]["message"]["content"].as_str().is_some_and(|said| said.contains("[SSN_")),
            "{answer}"
        );
    }
    let requests = lab.requests_as_text();
    assert_eq!(requests.len(), 2);
    for value in PLANTED {
        assert!(requests.iter().all(|request| !request.contains(value)), "{value} arrived: {requests:?}");
    }
}

#[test]
fn the_client_sees_the_real_peer() {
    let lab = Lab::new();
    let show = ["-4", "-o", "/dev/null", "-w", "%{remote_ip} %{remote_port}"];
    assert_eq!(lab.run(&curl(OPENAI, &body("hi", false), &show)).ok(), "203.0.113.10 443");
}

#[test]
fn anthropic_messages_are_masked() {
    let lab = Lab::new();
    let version = ["-H", "anthropic-version: 2023-06-01", "-H", "x-api-key: x"];
    let answer = lab.run(&curl(ANTHROPIC, &body(&planted_prompt(), false), &version)).json();
    let said = answer["content"][0]["text"].as_str().expect("an answer");
    assert!(said.starts_with("You said: card [CARD_"), "{said}");
    for value in PLANTED {
        assert!(!lab.requests_as_text()[0].contains(value), "{value} arrived");
    }
}

#[test]
fn streams_arrive_whole_and_in_order() {
    let lab = Lab::new();
    let run = lab.run(&curl(OPENAI, &body(&planted_prompt(), true), &["-N"]));
    let events: Vec<&str> = run.ok().lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(events.last(), Some(&"[DONE]"), "{run}");
    let said: String = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert!(said.starts_with("You said: card [CARD_") && said.ends_with(" end"), "{said}");

    let run = lab.run(&curl(ANTHROPIC, &body(&planted_prompt(), true), &["-N"]));
    let events: Vec<&str> = run.ok().lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(events.first(), Some(&"message_start"), "{run}");
    assert_eq!(events.last(), Some(&"message_stop"), "{run}");
}

/// The endpoint goes on only when there is a file, and the client makes the file only when it has the first piece: a
/// proxy that held the first back for the rest would wait for itself.
#[test]
fn the_first_piece_of_a_stream_is_not_held_back_for_the_rest() {
    let lab = Lab::new();
    let seen = lab.state().join("first-piece-seen");
    let text = format!(
        "curl -sSN {OPENAI} -H 'content-type: application/json' -H 'x-lab-hold: {seen}' -H 'x-lab-tokens: 200' -d '{body}' |
         while read -r line; do
             case $line in *'\"content\":\"You\"'*) touch {seen};; esac
             echo \"$line\"
         done",
        seen = seen.display(),
        body = body("hello", true),
    );
    let start = std::time::Instant::now();
    let run = lab.sh(&text);
    assert!(run.ok().contains("[DONE]"), "{run}");
    assert!(seen.exists(), "the client saw the first piece");
    assert!(start.elapsed().as_secs() < 30, "the endpoint gives up holding after a minute: {:?}", start.elapsed());
}
