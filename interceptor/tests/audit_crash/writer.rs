//! The process that writes, and what it was told.

use std::collections::HashMap;
use std::io::{BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::slice::from_ref;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use interceptor::audit::{
    AuditorPublic, AuditorSecret, Completion, Durability, Everything, Located, Log, Opener, Outgoing, Query, Reader,
    Record, Settings, State, Trust, Verdict, VerifyingKey, verify,
};
use interceptor::flow::ExchangeId;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// Names the directory to write in, and makes this program a writer.
pub(crate) const WRITER: &str = "AUDIT_CRASH_WRITER";
const THREADS: usize = 3;
/// Whatever is waited for comes within this time, or never.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.join("audit"),
        keys: dir.join("keys"),
        host: "crash".into(),
        durability: Durability::Power,
        auditors: vec![AuditorPublic::read(&dir.join("auditor.key.pub")).expect("the parent wrote it")],
        threshold: 1,
        segment_bytes: 256 << 10,
        accept_missing_checkpoint: false,
    }
}

/// The body that only the request `id` has.
fn body(id: ExchangeId, bytes: usize) -> String {
    id.to_string().repeat(1 + bytes / 36)
}

/// Says on standard output what it is told about each record, as soon as it is told. Goes on when records are refused.
pub(crate) fn write_until_killed(dir: &Path) -> ! {
    let log = Log::open(settings(dir)).expect("the log opens");
    std::thread::scope(|scope| {
        for n in 0..THREADS {
            let worker = log.worker().expect("a worker");
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                for round in 0.. {
                    let id = ExchangeId::new();
                    let text = body(id, 500 + 997 * (round + n) % 9000);
                    let outgoing = Outgoing { head: b"POST / HTTP/1.1\r\n\r\n", body: text.as_bytes() };
                    let told = runtime.block_on(async {
                        let (mut exchange, _) = worker.begin(Record::new(id), text.as_bytes(), outgoing).await?;
                        say(&format!("begun {id}\n"));
                        exchange.chunk(text.as_bytes()).await?;
                        exchange.complete(&Completion::default()).await?.await?;
                        say(&format!("ended {id}\n"));
                        Ok::<(), interceptor::audit::Error>(())
                    });
                    if told.is_err() {
                        say(&format!("refused {id}\n"));
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            });
        }
    });
    unreachable!("the writer is killed")
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        // Nobody listens any more.
        std::process::exit(0);
    }
}

/// A log that is written by one process after another, each of which ends badly.
pub(crate) struct Writer {
    dir: PathBuf,
    secret: AuditorSecret,
    pub(crate) told: Vec<(String, ExchangeId)>,
}

/// A writer at work.
pub(crate) struct Running {
    child: Child,
    told: Arc<Mutex<Vec<(String, ExchangeId)>>>,
    reading: JoinHandle<()>,
}

impl Writer {
    pub(crate) fn new(dir: &Path) -> Self {
        let secret = AuditorSecret::generate();
        secret.write(&dir.join("auditor.key")).expect("a key");
        Self { dir: dir.to_path_buf(), secret, told: Vec::new() }
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.dir.join("audit")
    }

    /// Starts a writer, and waits for the first record.
    pub(crate) fn start(&self) -> Running {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(WRITER, &self.dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a writer starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let reading = std::thread::spawn(move || read_lines(out, &heard));
        let running = Running { child, told, reading };
        running.wait_for("begun", 1);
        running
    }

    /// What the writer was told until it ended is kept. Returns the signal that ended it.
    pub(crate) fn ended(&mut self, mut running: Running) -> Option<i32> {
        let status = running.child.wait().expect("it has ended");
        running.reading.join().expect("read to the end");
        self.told.append(&mut running.told.lock().expect("not poisoned"));
        status.signal()
    }

    /// Opens the log as the daemon does when it starts again, and compares it with what was told.
    pub(crate) fn check(&self, case: &str) {
        Log::open(settings(&self.dir)).unwrap_or_else(|e| panic!("{case}: {e}")).close().expect("closes");
        let trust = Trust {
            key: VerifyingKey::read(&self.dir.join("keys/log-signing.pub")).expect("the public key"),
            checkpoint: None,
            keys: Some(self.dir.join("keys")),
        };
        match verify(&self.audit(), &trust).expect("readable") {
            Verdict::Intact(_) => {}
            Verdict::Faulty(fault) => panic!("{case}: {fault}"),
        }
        let mut reader = Reader::open(&self.audit()).expect("a log");
        let mut states = HashMap::new();
        for at in located(&mut reader) {
            let record = reader.record(&at).expect("a whole record");
            let masked = record.request.masked.expect("it was to leave");
            let id = record.id.to_string();
            assert!(masked.text.as_bytes().chunks(36).all(|piece| piece == id.as_bytes()), "{case}: {id} was altered");
            states.insert(record.id, record.state);
        }
        for (word, id) in self.told.iter().filter(|(word, _)| word != "refused") {
            let state = states.get(id).unwrap_or_else(|| panic!("{case}: {word} {id} is lost"));
            assert!(word == "begun" || *state == State::Complete, "{case}: {id} ended, but is {state:?}");
        }
    }

    /// Opens some of what was sealed.
    pub(crate) fn unseal(&self) {
        let keys = self.dir.join("keys");
        let mut reader = Reader::open(&self.audit()).expect("a log");
        let mut opener = Opener::new(&keys, from_ref(&self.secret));
        let records = located(&mut reader);
        for at in records.iter().step_by(records.len().div_ceil(50)) {
            let id = at.id().to_string();
            let original = reader.original(at, &mut opener).expect("opens").expect("is there");
            assert!(original.starts_with(id.as_bytes()) && original.len().is_multiple_of(36), "{id}");
        }
    }

    pub(crate) fn count(&self, word: &str) -> usize {
        count(&self.told, word)
    }
}

fn located(reader: &mut Reader) -> Vec<Located> {
    let (mut query, mut records) = (Query::oldest_first(&Everything), Vec::new());
    while let Some(at) = query.located(reader).expect("readable") {
        records.push(at);
    }
    records
}

fn count(told: &[(String, ExchangeId)], word: &str) -> usize {
    told.iter().filter(|(said, _)| said == word).count()
}

fn read_lines(mut out: impl std::io::BufRead, told: &Mutex<Vec<(String, ExchangeId)>>) {
    let mut line = String::new();
    loop {
        line.clear();
        // A line cut short by the end of the writer was not heard.
        match out.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => {}
            _ => return,
        }
        let (word, id) = line.trim_end().split_once(' ').expect("WORD ID");
        told.lock().expect("not poisoned").push((word.to_owned(), id.parse().expect("an id")));
    }
}

impl Running {
    pub(crate) fn count(&self, word: &str) -> usize {
        count(&self.told.lock().expect("not poisoned"), word)
    }

    /// Waits until the writer has said this so many times.
    #[track_caller]
    pub(crate) fn wait_for(&self, word: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(word) < times {
            assert!(Instant::now() < deadline, "{word:?} was not said {times} times in {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether it has died; it can still be sent signals.
    pub(crate) fn has_ended(&mut self) -> bool {
        let id = Id::Pid(Pid::from_raw(self.child.id() as i32));
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(id, flags).is_ok_and(|status| status != WaitStatus::StillAlive)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it is ours");
    }
}
