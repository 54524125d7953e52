//! Clients that need another server than the lab's own: gRPC and WebSocket, each with an independent implementation
//! behind `--upstream`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use interceptor_tests::{Lab, PLANTED, client, planted_prompt, script};
use tempfile::NamedTempFile;

use super::MODES;
use super::rows::{Outcome, Row, run};
use super::table::{GRPC, WEBSOCKET};

/// What locates no text in gRPC's messages, and records them as opaque.
const OPAQUE: &str = "
[policy]
unknown_operations = 'record'
[[endpoint]]
provider = 'other'
names = ['api.openai.com']
ports = [443]
";

/// A server of `tests/clients` on the host's loopback; it ends with its standard input.
#[derive(Debug)]
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(file: &str) -> Self {
        let mut command = Command::new(client("python/bin/python"));
        command.arg(script(file)).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let mut port = String::new();
        let stdout = child.stdout.take().expect("its output is piped");
        BufReader::new(stdout).read_line(&mut port).expect("the server says its port");
        Self { child, address: format!("127.0.0.1:{}", port.trim()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn websocket_clients_are_masked_and_answered_message_by_message() {
    let server = Server::start("websocket_server.py");
    let lab = Lab::with(&["--upstream", &server.address, "--alpn", "http/1.1"]);
    let rows = WEBSOCKET.iter().flat_map(|client| MODES.map(|mode| Row { client, mode, trusting: true })).collect();
    for outcome in run(&lab, rows, &planted_prompt()) {
        let report = outcome.report();
        let text = report["text"].as_str().unwrap_or_default();
        let echoed = text.starts_with(&format!("You said: {} card [CARD_", outcome.tag)) && text.ends_with(" end");
        let is_answered = outcome.status == 0 && echoed && report["pieces"].as_u64() > Some(5);
        assert!(is_answered, "{outcome}\n{:#?}\n{}", lab.records(), lab.journal());
        assert_eq!((&report["close"], &report["deflated"]), (&1000.into(), &true.into()), "{outcome}");
    }
    lab.assert_absent(&PLANTED);
}

/// Runs calls of gRPC; what they say is passed as it is.
fn calls(modes: &[&'static str]) -> (Lab, Vec<Outcome>) {
    let server = Server::start("grpc_server.py");
    let mut config = NamedTempFile::new().expect("a file");
    config.write_all(OPAQUE.as_bytes()).expect("the configuration is written");
    let config = config.path().to_str().expect("a path in UTF-8");
    let lab = Lab::with(&["--upstream", &server.address, "--alpn", "h2", "--config", config]);
    let rows = modes.iter().map(|mode| Row { client: &GRPC, mode, trusting: true }).collect();
    let outcomes = run(&lab, rows, "one two three end");
    (lab, outcomes)
}

/// Asserts that a call brought `text` in at least `pieces` messages, and the trailer that was asked for.
#[track_caller]
fn answered(outcome: &Outcome, text: &str, pieces: u64) {
    let report = outcome.report();
    assert!(outcome.status == 0 && report["status"] == "OK" && report["note"] == "kept", "{outcome}");
    assert_eq!(report["text"], text, "{outcome}");
    assert!(report["pieces"].as_u64() >= Some(pieces), "{outcome}");
}

#[test]
fn grpc_calls_are_answered_message_by_message_and_end_with_their_status() {
    let (lab, outcomes) = calls(&["whole", "stream", "fail", "gather"]);
    answered(&outcomes[0], "You said: row0x one two three end", 1);
    answered(&outcomes[1], "You said: row1x one two three end", 7);
    let failed = outcomes[2].report();
    assert_eq!(failed["status"], "FAILED_PRECONDITION", "{}", outcomes[2]);
    assert_eq!(failed["details"], "as it was told: 100 %");
    answered(&outcomes[3], "You said: row3x one two three end", 1);
    for record in lab.records() {
        assert!(record["state"] == "complete" && record["coverage"]["opaque_bytes"].as_u64() > Some(0), "{record}");
    }
}

#[test]
fn a_grpc_call_is_answered_before_its_client_says_the_next_message() {
    let (_lab, outcomes) = calls(&["talk"]);
    answered(&outcomes[0], "You said: row0x You said: one You said: two You said: three You said: end", 5);
}
