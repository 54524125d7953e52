//! The process that writes a log and has sinks, and how the test starts and kills it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use interceptor::audit::{
    Alert, AuditorPublic, AuditorSecret, Completion, Durability, Log, Outgoing, Record, SEGMENT_BYTES, Settings, Time,
};
use interceptor::flow::{ExchangeId, Severity};
use interceptor::sinks::{Net, Pace, Place, Prepared, Sinks};

/// Where the worker works; what it does is in [`MODE`].
pub(crate) const WORKER: &str = "SINKS_WORKER";
const MODE: &str = "SINKS_WORKER_MODE";
/// How long everything may take to be sent in the end.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(serde::Deserialize)]
struct Configuration {
    sink: Vec<interceptor::sinks::Settings>,
}

/// Writes what a worker needs below `dir`.
pub(crate) fn prepare(dir: &Path, configuration: &str) {
    AuditorSecret::generate().write(&dir.join("auditor.key")).expect("a key");
    configure(dir, configuration);
}

/// Gives the next worker other sinks.
pub(crate) fn configure(dir: &Path, configuration: &str) {
    std::fs::write(dir.join("sinks.toml"), configuration).expect("written");
}

/// A worker.
pub(crate) struct Worker {
    child: Child,
    reading: std::thread::JoinHandle<Vec<String>>,
}

impl Worker {
    pub(crate) fn start(dir: &Path, mode: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(WORKER, dir)
            .env(MODE, mode)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a worker starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let reading = std::thread::spawn(move || {
            let mut lines = Vec::new();
            for line in out.lines().map_while(Result::ok) {
                lines.push(line);
            }
            lines
        });
        Self { child, reading }
    }

    /// Kills it; says what it recorded. Its lines are written whole, in one call each.
    pub(crate) fn kill(&mut self) -> Vec<String> {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("it is dead");
        std::mem::replace(&mut self.reading, std::thread::spawn(Vec::new)).join().expect("read")
    }

    /// Waits for its end; says what it recorded.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "the worker failed: {status}");
        self.reading.join().expect("read")
    }
}

/// The worker itself.
pub(crate) fn run(dir: &Path) {
    let log = Log::open(Settings {
        dir: dir.join("audit"),
        keys: dir.join("keys"),
        host: "sinks".into(),
        durability: Durability::Power,
        auditors: vec![AuditorPublic::read(&dir.join("auditor.key.pub")).expect("the parent wrote it")],
        threshold: 1,
        segment_bytes: SEGMENT_BYTES.min(256 << 10),
        accept_missing_checkpoint: false,
    })
    .expect("the log opens");
    let text = std::fs::read_to_string(dir.join("sinks.toml")).expect("the parent wrote it");
    let configuration: Configuration = toml::from_str(&text).expect("a configuration");
    let pace = Pace {
        poll: Duration::from_millis(20),
        first: Duration::from_millis(20),
        most: Duration::from_millis(300),
        checkpoints: Duration::from_millis(500),
    };
    let place = Place { audit: dir.join("audit"), cursors: dir.join("state"), net: Net::default(), pace };
    let sinks = Prepared::new(&configuration.sink, place).expect("sinks").start(log.key()).expect("threads");
    match std::env::var(MODE).as_deref() {
        Ok("write") => write(&log, u64::MAX),
        Ok("poison") => {
            write(&log, 300);
            record(&log, "poison");
        }
        Ok("shut") => {
            write(&log, 20);
            record(&log, "poison that shuts");
            record(&log, "after it");
        }
        _ => {}
    }
    // A writer that lives tells the sinks that the one before is dead.
    drain(&sinks);
    log.close().expect("the log closes");
    sinks.stop(Duration::from_secs(30));
}

/// Waits until everything was sent and counts as taken.
fn drain(sinks: &Sinks) {
    let deadline = Instant::now() + PATIENCE;
    let is_done = || sinks.status().iter().all(|sink| sink.behind == 0 && sink.error.is_none());
    // The last checkpoint has to be signed and looked at before nothing is behind it.
    std::thread::sleep(Duration::from_secs(2));
    while !is_done() {
        assert!(Instant::now() < deadline, "not all was sent: {:?}", sinks.status());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How many exchanges there are to an alert.
const AN_ALERT_EVERY: u64 = 25;

/// Exchanges that begin and end crosswise, three open at a time, and alerts between them.
fn write(log: &Log, count: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let worker = log.worker().expect("a worker");
    runtime.block_on(async {
        let mut open = std::collections::VecDeque::new();
        for round in 0..count {
            let body = vec![b'a' + (round % 26) as u8; 200 + 97 * (round as usize % 50)];
            let outgoing = Outgoing { head: b"POST /v1/chat/completions HTTP/1.1\r\n\r\n", body: &body };
            let new = new();
            let id = new.id;
            let (mut exchange, _) = worker.begin(new, &body, outgoing).await.expect("recorded");
            say(&format!("begun {id}\n"));
            exchange.chunk(&body).await.expect("recorded");
            open.push_back((id, exchange));
            if round % AN_ALERT_EVERY == 0 {
                alert(log, id);
            }
            if open.len() == 3 {
                // Now the oldest, now another one.
                let (id, exchange) = open.remove((round % 3) as usize).expect("three are open");
                end(id, exchange).await;
            }
        }
        for (id, exchange) in open {
            end(id, exchange).await;
        }
    });
}

/// About a record, whose id tells it from others.
fn alert(log: &Log, id: ExchangeId) {
    let alert = Alert {
        name: "test".into(),
        key: id.to_string(),
        severity: Severity::High,
        time: Time::now(),
        reason: "a test".into(),
        count: 1,
        window_s: 60,
        suppressed: 0,
        caller: None,
        uid: None,
        endpoint: None,
        types: BTreeMap::new(),
        records: vec![id],
    };
    alert.record(&log.notes()).expect("recorded");
    say(&format!("begun alert-{id}\nended alert-{id}\n"));
}

fn record(log: &Log, body: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let worker = log.worker().expect("a worker");
    runtime.block_on(async {
        let (new, outgoing) = (new(), Outgoing { head: b"POST / HTTP/1.1\r\n\r\n", body: body.as_bytes() });
        let id = new.id;
        let (exchange, _) = worker.begin(new, b"", outgoing).await.expect("recorded");
        say(&format!("begun {id}\n"));
        end(id, exchange).await;
    });
}

fn new() -> Record {
    let mut record = Record::new(ExchangeId::new());
    record.request.method = Some("POST".into());
    record.request.path = Some("/v1/chat/completions".into());
    record.request.operation = Some("chat.completions".into());
    record.request.model = Some("gpt-4o".into());
    record.endpoint.provider = Some("openai".into());
    record.decision.action = Some("mask".into());
    record
}

async fn end(id: ExchangeId, exchange: interceptor::audit::Exchange) {
    exchange.complete(&Completion::default()).await.expect("recorded").await.expect("durable");
    say(&format!("ended {id}\n"));
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).expect("the parent reads");
}
