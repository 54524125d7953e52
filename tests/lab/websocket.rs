//! A WebSocket suite as wide as Autobahn's, driven by independent libraries on both sides.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use interceptor_tests::{Lab, client, script};
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

#[test]
fn websocket_suite_passes_through_the_interceptor() {
    let echo = Echo::start();
    let lab = Lab::with(&["--upstream", &echo.address]);
    let run = lab.run(&[&client("python/bin/python"), "-B", &script("websocket_suite.py")]);
    let cases = cases(&run.stdout);
    print("WebSocket through the interceptor", &cases);
    assert_passed(&cases, 500);
    let _ = run.ok();
    lab.assert_absent(&["4111 1111 1111 1111"]);
}

#[test]
fn websocket_suite_passes_without_the_interceptor_too() {
    let echo = Echo::start();
    let port = echo.address.rsplit(':').next().expect("an address has a port");
    let mut command = Command::new(client("python/bin/python"));
    command.arg("-B").arg(script("websocket_suite.py")).args(["--direct", port]).stdin(Stdio::null());
    let run = interceptor_tests::Run::of(command.output().expect("the suite runs"));
    let cases = cases(&run.stdout);
    print("WebSocket straight to the echo server", &cases);
    assert_passed(&cases, 480);
    let _ = run.ok();
}
