//! The transport is a setting, and is said; without a ring the daemon starts where it may, and says why where it may not.

use std::fs;
use std::process::{Command, Stdio};

use interceptor_tests::{Lab, OPENAI, Run, body, curl, program, script};
use tempfile::NamedTempFile;

/// Of `cargo xtask test`: it would win over what these tests set.
const WINS: &str = "INTERCEPTOR_LAB_TRANSPORT";

fn configuration(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("a configuration");
    file
}

/// The daemon's judgement of a configuration, where a seccomp filter forbids io_uring as a container's does.
fn check_without_ring(transport: &str) -> Run {
    let lab = Lab::new();
    let key = lab.state().join("auditor.key");
    let _ = lab.interceptor(&["keys", "generate", "--out", key.to_str().expect("a path in UTF-8")]).ok();
    let text = format!("[listen]\ntransport = '{transport}'\n[audit]\nauditors = ['{}.pub']\n", key.display());
    let file = configuration(&text);
    let mut command = Command::new("python3");
    command.arg(script("without_ring.py")).arg(program("interceptor")).args(["run", "--check", "--config"]);
    Run::of(command.arg(file.path()).stdin(Stdio::null()).output().expect("python3 runs"))
}

#[test]
fn each_transport_serves_and_is_named_with_its_reason() {
    for transport in ["io-uring", "epoll"] {
        let file = configuration(&format!("[listen]\ntransport = '{transport}'\n"));
        let lab = Lab::with(&["--config", file.path().to_str().expect("a path in UTF-8")]);
        let body = body("hello", false);
        let request = curl(OPENAI, &body, &[]).iter().map(|word| format!("'{word}' ")).collect::<String>();
        let script = format!("{request} > /dev/null && interceptor status --json; interceptor status | grep transport");
        let mut command = lab.command(&["bash", "-c", &script]);
        let run = Run::of(command.env_remove(WINS).output().expect("the lab runs"));
        let (json, text) = run.ok().split_once('\n').expect("two answers");
        let status: serde_json::Value = serde_json::from_str(json).expect("a document");
        assert_eq!((&status["transport"], &status["state"]), (&transport.into(), &"healthy".into()), "{run}");
        assert_eq!(status["transport_because"], "listen.transport says so", "{run}");
        assert_eq!(text, format!("transport   {transport}: listen.transport says so\n"), "{run}");
        assert!(lab.journal().contains(&format!("over {transport}")), "{}", lab.journal());
    }
}

#[test]
fn a_ring_that_is_demanded_and_forbidden_is_no_start_and_what_forbids_it_is_said() {
    let run = check_without_ring("io-uring");
    assert_eq!(run.status, 2, "{run}");
    assert!(run.stderr.contains("io_uring is not available") && run.stderr.contains("seccomp"), "{run}");
    assert!(run.stderr.contains("io_uring_setup") && run.stderr.contains("listen.transport = \"auto\""), "{run}");
}

#[test]
fn without_a_ring_auto_and_epoll_are_all_right() {
    for transport in ["auto", "epoll"] {
        let run = check_without_ring(transport);
        assert!(run.ok().contains(": ok"), "{run}");
    }
}
