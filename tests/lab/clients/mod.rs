//! The clients people use, unmodified: streaming and not, over HTTP/1.1 and over HTTP/2 where they can, with no more
//! than the setting that `docs/clients.md` says each needs.
//!
//! A streaming client makes the file that the endpoint waits for only when it has the first piece of the answer, so a
//! proxy that held pieces back would leave it without the rest.

mod rows;
mod servers;
mod table;

use interceptor_tests::{Lab, PLANTED, planted_prompt, workspace};

use rows::{Outcome, Row, run};
use table::{Client, GRPC, HTTP, WEBSOCKET};

const MODES: [&str; 2] = ["whole", "stream"];

#[test]
fn every_client_is_masked_and_answered_over_http_1() {
    over("http/1.1", |_| "1.1");
}

#[test]
fn every_client_is_masked_and_answered_over_http_2_where_it_can() {
    over("h2,http/1.1", |client| if client.h2 { "2" } else { "1.1" });
}

/// Runs all clients against an endpoint that offers `alpn`; each must see its version of HTTP, and so must the endpoint.
#[track_caller]
fn over(alpn: &str, version: fn(&Client) -> &'static str) {
    let lab = Lab::with(&["--alpn", alpn]);
    let rows = HTTP.iter().flat_map(|client| MODES.map(|mode| Row { client, mode, trusting: true })).collect();
    let outcomes = run(&lab, rows, &planted_prompt());
    let requests = lab.requests_as_text();
    let mut failures = Vec::new();
    for outcome in &outcomes {
        let expected = version(outcome.row.client);
        let wrong = check(outcome, expected).and_then(|()| arrived(outcome, expected, &requests));
        eprintln!("{}", line(outcome, wrong.as_ref().err()));
        failures.extend(wrong.err());
    }
    assert!(failures.is_empty(), "{alpn}: {}", failures.join("\n"));
    let records = lab.records();
    assert_eq!(records.len(), outcomes.len());
    assert!(records.iter().all(|record| record["state"] == "complete"), "{records:?}");
    lab.assert_absent(&PLANTED);
}

/// What the client got.
fn check(outcome: &Outcome, version: &str) -> Result<(), String> {
    let report = outcome.report();
    let text = report["text"].as_str().unwrap_or_default();
    let echoed = text.starts_with(&format!("You said: {} card [CARD_", outcome.tag)) && text.ends_with(" end");
    let pieces = report["pieces"].as_u64().unwrap_or_default();
    let streamed = outcome.row.mode == "whole" || pieces > 5;
    let counted = report["output_tokens"].as_u64().is_some_and(|count| count > 5);
    let good = outcome.status == 0 && echoed && streamed && counted && report["http"] == version;
    if good { Ok(()) } else { Err(format!("expected a masked answer over HTTP/{version}: {outcome}")) }
}

/// What the endpoint got: one request of this row, with nothing in it that was planted.
fn arrived(outcome: &Outcome, version: &str, requests: &[String]) -> Result<(), String> {
    let of_row: Vec<&String> = requests.iter().filter(|request| request.contains(&outcome.tag)).collect();
    let [request] = of_row.as_slice() else {
        return Err(format!("{} requests arrived of {outcome}", of_row.len()));
    };
    let first = request.lines().next().unwrap_or_default();
    let clean = PLANTED.iter().all(|value| !request.contains(value));
    let good = clean && first.ends_with(&format!(" HTTP/{version}"));
    if good { Ok(()) } else { Err(format!("not masked, or not over HTTP/{version}: {request}")) }
}

/// A line of the table that a run prints.
fn line(outcome: &Outcome, wrong: Option<&String>) -> String {
    let Row { client, mode, .. } = &outcome.row;
    let report = outcome.report();
    let http = report["http"].as_str().unwrap_or("?");
    let verdict = if wrong.is_some() { "FAILED" } else { "ok" };
    let needs = client.trust.unwrap_or("nothing");
    format!("{:26} {mode:7} HTTP/{http:4} pieces {:3} needs {needs:24} {verdict}", client.name, report["pieces"])
}

#[test]
fn no_client_needs_less_than_is_documented() {
    let lab = Lab::new();
    let needy = HTTP.iter().filter(|client| client.trust.is_some());
    let rows = needy.map(|client| Row { client, mode: "whole", trusting: false }).collect();
    for outcome in run(&lab, rows, "hello") {
        assert!(outcome.status != 0 && outcome.stdout.is_empty(), "{outcome}");
    }
    assert_eq!(lab.requests_as_text(), Vec::<String>::new());
}

#[test]
fn the_documented_table_is_the_tested_one() {
    let page = std::fs::read_to_string(workspace().join("docs/clients.md")).expect("docs/clients.md");
    for client in HTTP.iter().chain(&WEBSOCKET).chain([&GRPC]) {
        let beginning = format!("| {} |", client.name);
        let line = page.lines().find(|line| line.starts_with(&beginning));
        let line = line.unwrap_or_else(|| panic!("docs/clients.md has no line {beginning}"));
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, _, version, http, needs, _] = cells.as_slice() else { panic!("not four columns: {line}") };
        assert!(client.version().is_none_or(|pinned| pinned == *version), "{line}");
        let spoken = match client.h2 {
            true if client.name == GRPC.name => "2",
            true => "1.1, 2",
            false => "1.1",
        };
        assert_eq!(*http, spoken, "{line}");
        assert_eq!(*needs, client.trust.map_or("nothing".to_owned(), |name| format!("`{name}`")), "{line}");
    }
}
