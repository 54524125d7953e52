//! Asking a long log. `cargo xtask soak log-reader` runs it with ten million records and the page cache dropped before
//! each question, and prints how long each answer took.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use interceptor::audit::{
    AuditorSecret, Completion, Durability, FindingCount, Log, Outgoing, Record, Response, SEGMENT_BYTES, Settings, Time,
};
use interceptor::flow::{Action, ExchangeId};

/// How many records; when it is set, caches are dropped, which needs root.
const VARIABLE: &str = "INTERCEPTOR_TEST_RECORDS";
const FEW: u64 = 20_000;
/// When the last record arrives, nanoseconds since 1970: 2026-06-30T00:00:00Z. The first arrives 30 days earlier.
const LAST: u64 = 1_782_777_600_000_000_000;
const SPAN: u64 = 30 * 24 * 3600 * 1_000_000_000;

struct State {
    dir: tempfile::TempDir,
    count: u64,
    is_long: bool,
}

impl State {
    fn new() -> Self {
        let count = std::env::var(VARIABLE).ok().map(|text| text.parse().expect("a number of records"));
        // Below target: /tmp may be in memory.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { dir, count: count.unwrap_or(FEW), is_long: count.is_some() }
    }

    fn settings(&self) -> Settings {
        Settings {
            dir: self.audit(),
            keys: self.dir.path().join("keys"),
            host: "testhost".into(),
            durability: Durability::Process,
            auditors: vec![AuditorSecret::generate().public()],
            threshold: 1,
            segment_bytes: if self.is_long { SEGMENT_BYTES } else { 1 << 20 },
            accept_missing_checkpoint: false,
        }
    }

    fn audit(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interceptor"));
        command.arg("--state").arg(self.dir.path()).arg("log").args(args);
        command
    }

    /// Asks, with nothing of the log or the program in memory when the log is long. Gives how many lines came.
    fn ask(&self, args: &[&str]) -> usize {
        if self.is_long {
            nix::unistd::sync();
            std::fs::write("/proc/sys/vm/drop_caches", "3").expect("root may drop caches");
        }
        let start = Instant::now();
        let (out, peak) = output(&mut self.command(args));
        let took = start.elapsed();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        let lines = out.stdout.iter().filter(|&&byte| byte == b'\n').count();
        let (ms, mib) = (took.as_secs_f64() * 1e3, peak >> 10);
        eprintln!("{ms:>8.1} ms  {lines:>7} lines  {mib:>4} MiB at most  log {}", args.join(" "));
        lines
    }

    /// When record `n` arrives.
    fn time(&self, n: u64) -> u64 {
        LAST - SPAN + (u128::from(SPAN) * u128::from(n + 1) / u128::from(self.count)) as u64
    }

    fn record(&self, n: u64) -> Record {
        let mut record = Record::new(ExchangeId::new());
        record.time = Time::from_unix_ns(self.time(n));
        let rare = n % 10_000 == 4_000;
        record.caller.user = Some(if rare { "mallory".into() } else { format!("svc-{}", n % 20) });
        record.caller.exe = Some("/usr/bin/python3.11".into());
        record.endpoint.host = Some("api.openai.com".into());
        record.request.model = Some(if n % 10_000 == 7_000 { "o1-pro" } else { "gpt-4o" }.into());
        record.decision.action = Some(if n % 1_000 == 500 { "deny" } else { "mask" }.into());
        let entity = if n % 10_000 == 2_000 { "IBAN_CODE" } else { "CREDIT_CARD" };
        record.findings =
            vec![FindingCount { entity: entity.into(), rule: "a".into(), count: 1, action: Action::Mask }];
        record
    }

    /// Writes the log. Every other exchange is ended only after the next one has begun.
    fn write(&self) -> ExchangeId {
        let start = Instant::now();
        let log = Log::open(self.settings()).unwrap();
        let worker = log.worker().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let response = Response { status: Some(200), bytes: Some(25), ..Response::default() };
        let completion = Completion { response, ..Completion::default() };
        let mut middle = None;
        let mut open = None;
        for n in 0..self.count {
            let record = self.record(n);
            if n == self.count / 2 {
                middle = Some(record.id);
            }
            runtime.block_on(async {
                if record.decision.action.as_deref() == Some("deny") {
                    worker.refuse(record, None, b"{}").await.unwrap();
                    return;
                }
                let outgoing = Outgoing { head: b"POST / HTTP/1.1\r\n\r\n", body: b"{}" };
                let (exchange, _) = worker.begin(record, b"", outgoing).await.unwrap();
                if let Some(exchange) = open.replace(exchange) {
                    drop(exchange.complete(&completion).await.unwrap());
                }
            });
        }
        if let Some(exchange) = open {
            drop(runtime.block_on(exchange.complete(&completion)).unwrap());
        }
        eprintln!("{} records written in {:.1} s", self.count, start.elapsed().as_secs_f64());
        log.close().unwrap();
        middle.unwrap()
    }
}

/// What `command` says, and the most memory that it had, as far as a look each millisecond tells: KiB.
fn output(command: &mut Command) -> (Output, u64) {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watching = std::thread::spawn(move || {
        let mut peak = 0;
        while let Some(now) = std::fs::read_to_string(&status).ok().and_then(|text| memory(&text)) {
            peak = now;
            std::thread::sleep(Duration::from_millis(1));
        }
        peak
    });
    (child.wait_with_output().unwrap(), watching.join().unwrap())
}

/// The most memory that a process has had; none of one that has ended.
fn memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn bytes(dir: &Path, extension: &str) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == extension));
    files.map(|path| path.metadata().unwrap().len()).sum()
}

#[test]
fn questions_to_a_long_log_are_answered() {
    let state = State::new();
    let middle = state.write().to_string();
    let start = Instant::now();
    // What the daemon has not indexed is.
    let (made, peak) = output(&mut state.command(&["list", "--caller", "nobody"]));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (log, index) = (bytes(&state.audit(), "alog"), bytes(&state.audit(), "idx"));
    eprintln!(
        "{log} bytes of log, {index} bytes of indexes; the rest of those took {:.1} s and {} MiB at most",
        start.elapsed().as_secs_f64(),
        peak >> 10
    );
    let count = state.count as usize;
    let at = |ns: u64| Time::from_unix_ns(ns).to_string();
    let hour = at(LAST - SPAN / 720);
    let day = at(LAST - SPAN / 30);
    let (minute, after) = (at(state.time(state.count / 2)), at(state.time(state.count / 2 + 200)));
    // One line more than records: the headings.
    assert_eq!(state.ask(&["list", "--since", &hour, "--limit", "20"]), 21);
    assert_eq!(state.ask(&["list", "--since", &minute, "--until", &after]), 201);
    let denied = (500..state.count).step_by(1_000).filter(|&n| state.time(n) >= LAST - SPAN / 30).count();
    assert_eq!(state.ask(&["list", "--since", &day, "--decision", "deny", "--limit", "20"]), denied.min(20) + 1);
    assert_eq!(state.ask(&["list", "--caller", "mallory", "--limit", "100"]), (count / 10_000).min(100) + 1);
    assert_eq!(state.ask(&["list", "--caller", "svc-7", "--limit", "20"]), 21);
    assert_eq!(state.ask(&["list", "--model", "o1-pro", "--limit", "100"]), (count / 10_000).min(100) + 1);
    assert_eq!(state.ask(&["list", "--model", "gpt-*", "--limit", "20"]), 21);
    assert_eq!(state.ask(&["list", "--type", "IBAN_CODE", "--limit", "100"]), (count / 10_000).min(100) + 1);
    assert_eq!(state.ask(&["list", "--decision", "deny", "--limit", "20"]), (count / 1_000).min(20) + 1);
    assert_eq!(state.ask(&["list", "--model", "of nobody"]), 0);
    assert!(state.ask(&["show", &middle]) > 5);
    assert!(state.ask(&["show", "latest"]) > 5);
    assert_eq!(state.ask(&["tail", "-n", "10"]), 11);
    assert!(state.ask(&["stats", "--since", &hour]) > 5);
    // Once more: at first the disk was busy with what had just been written.
    assert_eq!(state.ask(&["list", "--since", &hour, "--limit", "20"]), 21);
    assert_eq!(state.ask(&["list", "--since", &minute, "--until", &after]), 201);
}

#[test]
fn a_followed_log_shows_records_soon() {
    let state = State::new();
    let log = Log::open(state.settings()).unwrap();
    let worker = log.worker().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut tail = state.command(&["tail", "-f", "-n", "0", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let stdout = BufReader::new(tail.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut waits = Vec::new();
    for n in 0..100 {
        let record = state.record(n);
        let id = record.id.to_string();
        let start = Instant::now();
        runtime.block_on(worker.refuse(record, None, b"{}")).unwrap();
        // The first ones may come before it looks, and are then of the log's past.
        let patience = Duration::from_secs(if waits.is_empty() { 1 } else { 20 });
        match lines.recv_timeout(patience) {
            Ok(line) => assert!(line.contains(&id), "{line}"),
            Err(_) if waits.is_empty() && n < 20 => continue,
            Err(e) => panic!("{id} was not shown: {e}"),
        }
        waits.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(7));
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
    log.close().unwrap();
    waits.sort_unstable();
    eprintln!("shown after {:?} in the median, {:?} at most", waits[waits.len() / 2], waits[waits.len() - 1]);
}
