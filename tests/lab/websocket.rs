//! A WebSocket suite as wide as Autobahn's, driven by independent libraries on both sides.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use interceptor_tests::{Lab, PLANTED, Run, client, script};
use serde_json::Value;

/// `websocket_echo.py`, the server behind the endpoint's name. It ends with its standard input.
struct Echo {
    process: Child,
    address: String,
    // Read from once. A server whose output nobody can take any more would end.
    _output: BufReader<ChildStdout>,
}

impl Echo {
    fn start() -> Self {
        let mut command = Command::new(client("python/bin/python"));
        command.arg("-B").arg(script("websocket_echo.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the echo server runs");
        let mut output = BufReader::new(process.stdout.take().expect("its output is ours"));
        let mut port = String::new();
        output.read_line(&mut port).expect("it says where it listens");
        Self { process, address: format!("127.0.0.1:{}", port.trim()), _output: output }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The reports of the cases, one a line.
fn cases(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// A line a section: how many of its cases passed.
fn print(title: &str, cases: &[Value]) {
    let section = |case: &Value| {
        let number = case["case"].as_str().expect("a case has a number").to_owned();
        number.split('.').next().unwrap_or_default().to_owned()
    };
    let mut report = format!("{title}\n");
    for same in cases.chunk_by(|a, b| section(a) == section(b)) {
        let passed = same.iter().filter(|case| case["passed"] == true).count();
        report += &format!("  section {:>2}: {passed} of {} cases passed\n", section(&same[0]), same.len());
    }
    report += &format!("  in all: {} cases\n", cases.len());
    // Past the harness, which keeps what a passing test prints to itself.
    let _ = std::io::stderr().write_all(report.as_bytes());
}

#[track_caller]
fn assert_passed(cases: &[Value], at_least: usize) {
    let failed: Vec<_> = cases.iter().filter(|case| case["passed"] != true).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    assert!(cases.len() >= at_least, "only {} cases ran", cases.len());
}

/// Runs the suite in a lab, all of it or the cases whose numbers begin so.
fn run_suite(lab: &Lab, prefixes: &[&str]) -> Run {
    let (python, suite) = (client("python/bin/python"), script("websocket_suite.py"));
    lab.run(&[&[python.as_str(), "-B", &suite], prefixes].concat())
}

#[test]
fn websocket_suite_passes_through_the_interceptor() {
    let echo = Echo::start();
    // Half of the suite says what is no text, and so cannot be scanned.
    let place = tempfile::tempdir().expect("a directory");
    let config = place.path().join("interceptor.toml");
    std::fs::write(&config, "[policy]\nunknown_operations = \"record\"\n").expect("a file");
    let lab = Lab::with(&["--upstream", &echo.address, "--config", &config.to_string_lossy()]);
    let run = run_suite(&lab, &[]);
    let cases = cases(&run.stdout);
    print("WebSocket through the interceptor", &cases);
    assert_passed(&cases, 500);
    let _ = run.ok();
    lab.assert_absent(&[PLANTED[0]]);
    let verified = lab.interceptor(&["log", "verify"]);
    assert_eq!(verified.status, 0, "{verified}");
}

#[test]
fn websocket_messages_that_cannot_be_scanned_do_not_leave_unless_policy_says_so() {
    const BINARY: &str = "1.2.2";
    let echo = Echo::start();
    let lab = Lab::with(&["--upstream", &echo.address]);
    let run = run_suite(&lab, &[BINARY, "1.1.2", "30."]);
    let (binary, text): (Vec<_>, Vec<_>) = cases(&run.stdout).into_iter().partition(|case| case["case"] == BINARY);
    assert_passed(&text, 18);
    let [binary] = &binary[..] else { panic!("{run}") };
    let reason = binary["reason"].as_str().expect("it failed, and says why");
    assert!(reason.contains("saw ('close', 1008, ") && reason.contains("policy.unknown"), "{reason}");
    let denied: Vec<_> = lab.records().into_iter().filter(|record| record["decision"]["action"] == "deny").collect();
    assert!(denied.len() == 1 && denied[0]["request"]["bytes"] == 125, "{denied:?}");
    lab.assert_absent(&[PLANTED[0]]);
}

#[test]
fn a_websocket_over_http2_is_masked_too() {
    let echo = Echo::start();
    // The echo server speaks HTTP/1.1, so the session is translated on the way.
    let lab = Lab::with(&["--upstream", &echo.address]);
    let sentence = format!("card {} end", PLANTED[0]);
    let run = lab.run(&[&client("python/bin/python"), "-B", &script("wire/h2_websocket.py"), &sentence]);
    let report = run.json();
    assert_eq!(report["status"], "200", "{run}");
    let heard = report["heard"].as_str().expect("a sentence");
    assert!(heard.starts_with("card [CARD_") && heard.ends_with(" end"), "{run}");
    let decisions: Vec<_> = lab.records().iter().map(|record| record["decision"]["action"].clone()).collect();
    assert_eq!(decisions, ["allow", "mask"], "the session, and the message in it");
    lab.assert_absent(&[PLANTED[0]]);
}

#[test]
fn websocket_suite_passes_without_the_interceptor_too() {
    let echo = Echo::start();
    let port = echo.address.rsplit(':').next().expect("an address has a port");
    let mut command = Command::new(client("python/bin/python"));
    command.arg("-B").arg(script("websocket_suite.py")).args(["--direct", port]).stdin(Stdio::null());
    let run = Run::of(command.output().expect("the suite runs"));
    let cases = cases(&run.stdout);
    print("WebSocket straight to the echo server", &cases);
    assert_passed(&cases, 480);
    let _ = run.ok();
}
