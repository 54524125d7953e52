//! `interceptor log` on a terminal: the pager, and rows that fit.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use interceptor::audit::{
    AuditorPublic, Completion, Durability, FindingCount, Log, Outgoing, Record, Response, Settings,
};
use interceptor::flow::{Action, ExchangeId};
use nix::pty::{Winsize, openpty};

const SEALED: &str = "4111111111111111";

struct State(tempfile::TempDir);

impl State {
    /// A log of `count` records, and the key that opens it.
    fn new(count: usize) -> Self {
        let state = Self(tempfile::tempdir().unwrap());
        let key = state.path("auditor.key");
        interceptor::audit::AuditorSecret::generate().write(&key).unwrap();
        let log = Log::open(Settings {
            dir: state.path("audit"),
            keys: state.path("keys"),
            host: "testhost".into(),
            durability: Durability::Process,
            auditors: vec![AuditorPublic::read(&state.path("auditor.key.pub")).unwrap()],
            threshold: 1,
            segment_bytes: 1 << 20,
            accept_missing_checkpoint: false,
        });
        let log = log.unwrap();
        let worker = log.worker().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let response = Response { status: Some(200), ..Response::default() };
        let completion = Completion { response, ..Completion::default() };
        for _ in 0..count {
            runtime.block_on(async {
                let outgoing = Outgoing { head: b"POST / HTTP/1.1\r\n\r\n", body: b"{\"prompt\":\"a needle\x1b[7m\"}" };
                let (exchange, _) = worker.begin(record(), SEALED.as_bytes(), outgoing).await.unwrap();
                exchange.complete(&completion).await.unwrap().await.unwrap();
            });
        }
        drop(worker);
        log.close().unwrap();
        state
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A program that can be named as a pager.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, args: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interceptor"));
        command.env_clear().env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
        command.arg("--state").arg(self.0.path()).arg("log").args(args);
        command
    }

    /// Runs `interceptor log` on a terminal of that many columns. Its exit status, and what was on the terminal.
    fn on_terminal(&self, columns: u16, args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).unwrap();
        let end = || Stdio::from(terminal.slave.try_clone().unwrap());
        let mut command = self.command(args, variables);
        let mut child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let reading = std::thread::spawn(|| read(terminal.master));
        let status = child.wait().unwrap();
        // The command holds ends of its own.
        drop(command);
        drop(terminal.slave);
        (status.code(), reading.join().unwrap())
    }
}

/// What comes until nobody has the terminal any more, without the carriage returns that it adds.
fn read(master: OwnedFd) -> String {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    let mut master = File::from(master);
    // A terminal that all have left is an error, not an end.
    while let Ok(count @ 1..) = master.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(seen).unwrap().replace('\r', "")
}

fn record() -> Record {
    let mut record = Record::new(ExchangeId::new());
    record.caller.user = Some("somebody-with-a-long-name".into());
    record.caller.exe = Some("/usr/bin/\x1b[7mcurl".into());
    record.endpoint.host = Some("api.openai.com".into());
    record.request.model = Some("gpt-4o-mini-2024-07-18".into());
    record.decision.action = Some("mask".into());
    record.findings =
        vec![FindingCount { entity: "CREDIT_CARD".into(), rule: "card.pan".into(), count: 1, action: Action::Mask }];
    record
}

fn widest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn what_people_read_goes_through_the_pager_that_is_named() {
    let state = State::new(3);
    let pager = state.script("pager", "echo \"less: $LESS $LESSSECURE $LESSCHARSET\"; exec sed 's/^/paged: /'");
    let named = [("INTERCEPTOR_PAGER", &*pager), ("PAGER", "false"), ("NO_COLOR", "1")];
    for args in [&["list"][..], &["show", "latest"], &["grep", "needle"], &["stats"]] {
        let (status, text) = state.on_terminal(100, args, &named);
        assert_eq!(status, Some(0), "{args:?}: {text}");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("less: FRX 1 utf-8"), "{args:?}: {text}");
        assert!(lines.clone().count() > 1 && lines.all(|line| line.starts_with("paged: ")), "{args:?}: {text}");
        assert!(!text.contains('\x1b') && !text.contains(SEALED), "{args:?}: {text:?}");
        let (status, text) = state.on_terminal(100, &[args, &["--no-pager"]].concat(), &named);
        assert!(status == Some(0) && !text.contains("paged") && text.lines().count() > 1, "{args:?}: {text}");
    }
    let (_, text) = state.on_terminal(100, &["list"], &[("PAGER", &pager), ("LESS", "S")]);
    assert!(text.starts_with("less: S 1 utf-8\npaged: \x1b[2mTIME"), "colours and the user's own: {text:?}");
    assert!(text.contains("\\u{1b}[7mcurl") || text.contains("somebody-"), "{text:?}");
    assert!(!text.contains("\x1b[7m"), "no escape of a caller's: {text:?}");
}

#[test]
fn where_no_pager_is_wanted_or_there_the_terminal_is_written_to() {
    let state = State::new(1);
    for pager in ["", "cat", " cat "] {
        let (status, text) = state.on_terminal(100, &["list"], &[("PAGER", pager)]);
        assert!(status == Some(0) && text.lines().count() == 2, "{pager:?}: {text}");
    }
    let (status, text) = state.on_terminal(100, &["list"], &[("PAGER", "/missing/pager -x")]);
    assert!(text.starts_with("interceptor: PAGER: /missing/pager cannot be run: "), "{text}");
    assert_eq!((status, text.lines().count()), (Some(0), 3), "{text}");
    let (status, text) = state.on_terminal(100, &["list"], &[("PATH", "/missing")]);
    assert_eq!((status, text.lines().count()), (Some(0), 2), "no less: {text}");
    let pager = state.script("pager", "exec sed 's/^/paged: /'");
    let out = state.command(&["list"], &[("PAGER", &pager)]).output().unwrap();
    assert!(String::from_utf8(out.stdout).unwrap().starts_with("TIME"), "a pipe is no terminal");
    let key = state.path("auditor.key");
    let unseal = ["unseal", "latest", "--reason", "case 17", "--key", key.to_str().unwrap()];
    let (status, text) = state.on_terminal(100, &unseal, &[("PAGER", &pager)]);
    assert!(status == Some(0) && text.contains(SEALED) && !text.contains("paged"), "{text}");
}

#[test]
fn the_exit_status_is_kept_and_a_pager_that_is_left_early_is_no_error() {
    let state = State::new(500);
    let pager = state.script("pager", "exec sed 's/^/paged: /'");
    let (status, text) = state.on_terminal(100, &["grep", "absent"], &[("PAGER", &pager)]);
    assert_eq!((status, text.as_str()), (Some(1), ""));
    let (status, text) = state.on_terminal(100, &["show", "ffff"], &[("PAGER", &pager)]);
    assert!(status == Some(2) && text.starts_with("interceptor: no record's id"), "{text}");
    let (status, text) = state.on_terminal(100, &["list", "--model", "none"], &[("PAGER", &pager)]);
    assert_eq!((status, text.as_str()), (Some(0), "paged: interceptor: no record fits\n"));
    for args in [&["list"][..], &["list", "--json"], &["grep", "needle"]] {
        let (status, text) = state.on_terminal(100, args, &[("PAGER", "head -n 2"), ("NO_COLOR", "1")]);
        assert_eq!((status, text.lines().count()), (Some(0), 2), "{args:?}: {text}");
    }
}

#[test]
fn rows_fit_narrow_terminals_and_are_whole_elsewhere() {
    let state = State::new(2);
    let rows = |columns| state.on_terminal(columns, &["list", "--no-pager"], &[("NO_COLOR", "1")]).1;
    for columns in [40, 60, 80, 100, 120] {
        let text = rows(columns);
        assert!(widest(&text) <= usize::from(columns) && text.lines().count() == 3, "{columns}: {text}");
        assert_eq!(text.contains("mask"), columns > 40, "{columns}: {text}");
    }
    assert!(rows(80).lines().next().unwrap().ends_with("CALLER       DECISION  STATUS  FINDINGS"), "{}", rows(80));
    assert!(rows(60).lines().next().unwrap().ends_with("CALLER     DECISION  FINDINGS"), "{}", rows(60));
    let text = String::from_utf8(state.command(&["list"], &[("COLUMNS", "60")]).output().unwrap().stdout).unwrap();
    assert!(text.contains("gpt-4o-mini-2024-07-18") && text.contains("CREDIT_CARD"), "{text}");
    // The pager's terminal counts, not the pipe to it.
    let (_, text) = state.on_terminal(60, &["list"], &[("PAGER", "tail -n 9"), ("NO_COLOR", "1")]);
    assert_eq!(text, rows(60));
}

#[test]
fn less_shows_what_fits_and_ends() {
    let state = State::new(2);
    assert!(Path::new("/usr/bin/less").exists(), "install less, or run `cargo xtask setup --clients`");
    let (status, text) = state.on_terminal(100, &["list"], &[("TERM", "xterm"), ("NO_COLOR", "1")]);
    assert!(status == Some(0) && text.contains("TIME (UTC)") && text.contains("mask"), "{text}");
}
