//! What other tools get of a log, by `interceptor log export` and by a sink, judged by programs that are not ours.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use interceptor::audit::{
    AuditorSecret, Completion, Durability, Exchange, FindingCount, Log, Outgoing, Record, Response, Settings, Time,
    Timing, VerifyingKey, Worker,
};
use interceptor::flow::{Action, ExchangeId};
use interceptor::sinks::{Net, Pace, Place, Prepared};
use serde_json::{Value, json};

const OUTGOING: Outgoing<'static> = Outgoing {
    head: b"POST /v1/chat/completions?a=1 HTTP/1.1\r\nhost: api.openai.com\r\n\r\n",
    body: b"{\"card\":\"[CARD_k7q2m9xd]\"}",
};

struct State(tempfile::TempDir);

impl State {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn log(&self) -> Log {
        let log = Log::open(Settings {
            dir: self.path("audit"),
            keys: self.path("keys"),
            host: "build-7".into(),
            durability: Durability::Process,
            auditors: vec![AuditorSecret::generate().public()],
            threshold: 1,
            segment_bytes: 256 << 10,
            accept_missing_checkpoint: false,
        });
        log.expect("the log opens")
    }

    /// The lines of an export.
    fn exported(&self, format: &str) -> Vec<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_interceptor"));
        command.args(["log", "export", "--format", format, "--state"]).arg(self.0.path());
        let output = command.output().expect("interceptor runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        lines(&String::from_utf8(output.stdout).expect("text"))
    }

    /// The lines that a sink writes into a file.
    fn sent(&self, format: &str) -> Vec<String> {
        #[derive(serde::Deserialize)]
        struct Configuration {
            sink: Vec<interceptor::sinks::Settings>,
        }
        let file = self.path("events");
        let text = format!(
            "[[sink]]\nname = 'file'\ntype = 'file'\nfrom = 'start'\nformat = '{format}'\npath = '{}'\n",
            file.display()
        );
        let configuration: Configuration = toml::from_str(&text).expect("a configuration");
        let (audit, cursors) = (self.path("audit"), self.path("sinks"));
        let place = Place { audit, cursors, net: Net::default(), pace: Pace::default() };
        let sinks = Prepared::new(&configuration.sink, place).expect("a sink").start(&self.key()).expect("a thread");
        sinks.stop(Duration::from_secs(60));
        lines(&std::fs::read_to_string(file).expect("events"))
    }

    fn key(&self) -> VerifyingKey {
        VerifyingKey::read(&self.path("keys/log-signing.pub")).expect("the log made it")
    }

    /// Changes the first record's host behind the log's back.
    fn damage(&self) {
        let segment = self.path("audit/log-00000000000000000000.alog");
        let mut bytes = std::fs::read(&segment).expect("a segment");
        let host = bytes.windows(7).position(|window| window == b"build-7").expect("the first record's host");
        bytes[host] ^= 1;
        std::fs::write(&segment, bytes).expect("written");
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// A record of which everything is known.
fn known(action: &str) -> Record {
    let mut record = bare(action);
    let caller = &mut record.caller;
    (caller.user, caller.uid, caller.pid) = (Some("alice".into()), Some(1000), Some(42));
    caller.groups = Some(vec!["dev".into()]);
    (caller.exe, caller.exe_sha256) = (Some("/usr/bin/curl".into()), Some("ab".repeat(32)));
    (caller.cmdline, caller.cwd) = (Some("curl -d x\ny".into()), Some("/root".into()));
    caller.started_at = Some(Time::from_unix_ns(1_700_000_000_123_456_789));
    let endpoint = &mut record.endpoint;
    (endpoint.provider, endpoint.host) = (Some("openai".into()), Some("api.openai.com".into()));
    (endpoint.ip, endpoint.port) = ("2001:db8::10".parse().ok(), Some(443));
    let request = &mut record.request;
    (request.method, request.path) = (Some("POST".into()), Some("/v1/chat/completions?a=1".into()));
    (request.operation, request.model) = (Some("chat.completions".into()), Some("gpt-4o".into()));
    (request.bytes, record.coverage.scanned_bytes) = (Some(30), Some(20));
    record.decision.rule = Some("policy.findings".into());
    let finding =
        FindingCount { entity: "CREDIT_CARD".into(), rule: "card.pan".into(), count: 1, action: Action::Mask };
    record.findings = vec![finding];
    record
}

/// A record of which hardly anything is known.
fn bare(action: &str) -> Record {
    let mut record = Record::new(ExchangeId::new());
    record.decision.action = Some(action.into());
    record
}

fn completion() -> Completion {
    let response = Response {
        status: Some(200),
        bytes: Some(300),
        finish_reason: Some("stop".into()),
        usage: Some(json!({"input_tokens": 4, "output_tokens": 6})),
        ..Response::default()
    };
    let timing = Timing { first_byte_us: Some(2345), total_us: Some(12_345), ..Timing::default() };
    Completion { response, timing, ..Completion::default() }
}

async fn complete(worker: &Worker, record: Record) {
    let (mut exchange, _) = worker.begin(record, b"original", OUTGOING).await.expect("recorded");
    exchange.chunk(b"{}").await.expect("recorded");
    exchange.complete(&completion()).await.expect("recorded").await.expect("durable");
}

async fn refuse(worker: &Worker, record: Record) {
    worker.refuse(record, Some(b"original"), b"{\"error\":{}}").await.expect("recorded");
}

/// Records all kinds of exchanges; gives the one that goes on, and how many there are.
async fn write(worker: &Worker) -> (Exchange, usize) {
    complete(worker, known("mask")).await;
    complete(worker, known("allow")).await;
    let mut denied = known("deny");
    denied.response.status = Some(403);
    refuse(worker, denied).await;
    // What little is known of a connection that was passed on unread.
    let mut spliced = bare("splice");
    (spliced.endpoint.ip, spliced.endpoint.port) = ("192.0.2.1".parse().ok(), Some(443));
    complete(worker, spliced).await;
    let mut nowhere = bare("deny");
    nowhere.endpoint.port = Some(11434);
    refuse(worker, nowhere).await;
    let mut undecided = bare("deny");
    undecided.decision.action = None;
    refuse(worker, undecided).await;
    // Methods and paths are the clients' to choose.
    for (method, path) in
        [("PROPFIND", "/"), ("CONNECT", "h:443"), ("OPTIONS", "*"), ("get", "http://h/v1?x"), ("DELETE", "/a#b")]
    {
        let mut odd = known("allow");
        (odd.request.method, odd.request.path) = (Some(method.into()), Some(path.into()));
        (odd.caller.user, odd.caller.exe) = (None, Some("/tmp/x (deleted)".into()));
        complete(worker, odd).await;
    }
    drop(worker.begin(known("mask"), b"original", OUTGOING).await.expect("recorded"));
    let open = worker.begin(known("mask"), b"original", OUTGOING).await.expect("recorded").0;
    (open, 13)
}

/// Whether an event says `"member":value`, in JSON or in a text of it.
fn says(event: &str, member: &str) -> bool {
    event.replace('\\', "").contains(member)
}

/// Events of each kind in `format`: exported while one is open, sent with a checkpoint at the end, and a damaged one.
fn every_kind(format: &str) -> Vec<String> {
    let state = State::new();
    let log = state.log();
    let worker = log.worker().expect("a worker");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (open, count) = runtime.block_on(write(&worker));
    let mut events = state.exported(format);
    assert_eq!(events.len(), count, "{events:?}");
    assert!(says(&events[count - 1], r#""state":"open""#), "{}", events[count - 1]);
    drop(open);
    drop(worker);
    log.close().expect("the log closes");
    let sent = state.sent(format);
    assert_eq!(sent.len(), count + 1, "{sent:?}");
    assert!(sent[count].contains("\u{2014} interceptor/build-7 "), "a signed note: {}", sent[count]);
    assert!(sent.iter().any(|event| says(event, r#""state":"aborted""#)), "{sent:?}");
    events.extend(sent);
    state.damage();
    let damaged = state.exported(format).swap_remove(0);
    assert!(says(&damaged, r#""damaged":true"#), "{damaged}");
    events.push(damaged);
    events
}

/// Gives lines to a script below `tests/sinks`. Whether it was content, and what it said.
fn judge(script: &str, lines: &[String]) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let python = root.join("target/clients/sinks/bin/python");
    assert!(python.is_file(), "{} is missing: run `cargo xtask setup --clients`", python.display());
    let mut command = Command::new(python);
    command.arg("-B").arg(root.join("tests/sinks").join(script)).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("python runs");
    let mut input = child.stdin.take().expect("piped");
    for line in lines {
        writeln!(input, "{line}").expect("it reads");
    }
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    (output.status.success(), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn ocsf_events_of_every_kind_are_valid() {
    let events = every_kind("ocsf");
    let (valid, said) = judge("validate_ocsf.py", &events);
    assert!(valid, "{said}");
    assert_eq!(said, format!("1 of class 0, {} of class 6003\n", events.len() - 1));
}

#[test]
fn the_validators_refuse_ocsf_events_that_are_wrong() {
    let state = State::new();
    let log = state.log();
    let worker = log.worker().expect("a worker");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(complete(&worker, known("mask")));
    let good: Value = serde_json::from_str(&state.exported("ocsf")[0]).expect("JSON");
    type Break = fn(&mut Value);
    let breaks: [(&str, Break); 7] = [
        ("schema $.metadata: 'product' is a required", |event| drop(object(&mut event["metadata"]).remove("product"))),
        ("schema $.severity_id: 42 is not one of", |event| event["severity_id"] = 42.into()),
        ("schema $: Additional properties", |event| event["colour"] = "red".into()),
        ("schema $.dst_endpoint: {'port': 443} is not valid", |event| event["dst_endpoint"] = json!({"port": 443})),
        ("schema $.http_request.http_method: 'BREW' is not", |event| {
            event["http_request"]["http_method"] = "BREW".into();
        }),
        ("models : Value error, type_uid must be 600301", |event| event["type_uid"] = 600_302.into()),
        ("models : Value error, Inconsistent status_id=1", |event| event["status"] = "Failure".into()),
    ];
    let broken: Vec<String> = breaks
        .iter()
        .map(|(_, break_it)| {
            let mut event = good.clone();
            break_it(&mut event);
            event.to_string()
        })
        .collect();
    let (valid, said) = judge("validate_ocsf.py", &broken);
    assert!(!valid, "{said}");
    for (number, (why, _)) in breaks.iter().enumerate() {
        assert!(said.contains(&format!("{number} {why}")), "{number} {why}: {said}");
    }
}

#[test]
fn otlp_lines_are_read_by_opentelemetrys_own_messages() {
    let events = every_kind("otlp");
    let (valid, said) = judge("validate_otlp.py", &events);
    assert!(valid, "{said}");
    let said = lines(&said);
    assert_eq!(said.len(), events.len());
    for expected in [
        "interceptor.exchange INFO2 gpt-4o 4",
        "interceptor.exchange WARN gpt-4o -",
        "interceptor.exchange INFO - 4",
        "interceptor.checkpoint INFO - -",
    ] {
        assert!(said.iter().any(|line| line == expected), "{expected}: {said:?}");
    }
    let broken = events[0].replace("timeUnixNano", "timeUnixNanos");
    assert!(!judge("validate_otlp.py", &[broken]).0);
}

fn object(value: &mut Value) -> &mut serde_json::Map<String, Value> {
    value.as_object_mut().expect("an object")
}
