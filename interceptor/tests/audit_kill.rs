//! `kill -9` of a process that writes the audit log, again and again: everything that it was told is durable must be
//! there and verify, everything else absent or whole.
//!
//! Run without a harness: this program starts itself as the writer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::slice::from_ref;
use std::time::{Duration, Instant};

use interceptor::audit::{
    AuditorPublic, AuditorSecret, Completion, Durability, Everything, Log, Opener, Outgoing, Query, Reader, Record,
    Settings, State, Trust, Verdict, VerifyingKey, verify,
};
use interceptor::flow::ExchangeId;

const WRITER: &str = "AUDIT_KILL_WRITER";
const ROUNDS: u64 = 40;
const THREADS: usize = 3;

fn main() -> ExitCode {
    match std::env::var_os(WRITER) {
        Some(dir) => write_until_killed(Path::new(&dir)),
        None => kill_writers(),
    }
}

fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.join("audit"),
        keys: dir.join("keys"),
        host: "kill".into(),
        durability: Durability::Power,
        auditors: vec![AuditorPublic::read(&dir.join("auditor.key.pub")).expect("the parent wrote it")],
        threshold: 1,
        segment_bytes: 256 << 10,
        accept_missing_checkpoint: false,
    }
}

/// The writer: names every record on standard output as soon as it is told that it is durable.
fn write_until_killed(dir: &Path) -> ! {
    let log = Log::open(settings(dir)).expect("the log opens");
    std::thread::scope(|scope| {
        for n in 0..THREADS {
            let worker = log.worker().expect("a worker");
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                for round in 0.. {
                    let body = vec![b'a' + n as u8; 500 + 997 * round % 9000];
                    let id = ExchangeId::new();
                    let outgoing = Outgoing { head: b"POST / HTTP/1.1\r\n\r\n", body: &body };
                    runtime.block_on(async {
                        let (mut exchange, _) = worker.begin(Record::new(id), &body, outgoing).await.expect("recorded");
                        say(&format!("begun {id}\n"));
                        exchange.chunk(&body).await.expect("recorded");
                        exchange.complete(&Completion::default()).await.expect("recorded").await.expect("recorded");
                        say(&format!("ended {id}\n"));
                    });
                }
            });
        }
    });
    unreachable!("the writer is killed")
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).expect("the parent reads");
}

fn kill_writers() -> ExitCode {
    let dir = tempfile::tempdir().expect("a directory");
    let secret = AuditorSecret::generate();
    secret.write(&dir.path().join("auditor.key")).expect("a key");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        // From "hardly opened" to "several segments full", a different moment each time.
        let lines = run_and_kill(dir.path(), Duration::from_micros(2_000 + round * round * 150));
        acknowledged.extend(lines);
        check(dir.path(), &acknowledged, round);
    }
    let ended = acknowledged.iter().filter(|(word, _)| word == "ended").count();
    assert!(ended > 100, "only {ended} exchanges were acknowledged: the test tested nothing");
    unseal_last(dir.path(), &secret);
    let out = format!("{ROUNDS} writers killed, {} acknowledgements, none lost\n", acknowledged.len());
    std::io::stdout().write_all(out.as_bytes()).expect("stdout");
    ExitCode::SUCCESS
}

/// Runs a writer until some time after its first record. Returns what it acknowledged.
fn run_and_kill(dir: &Path, after: Duration) -> Vec<(String, ExchangeId)> {
    let mut writer = Command::new(std::env::current_exe().expect("this program"))
        .env(WRITER, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a writer starts");
    let mut out = BufReader::new(writer.stdout.take().expect("piped"));
    let mut text = String::new();
    out.read_line(&mut text).expect("the first record");
    let started = Instant::now();
    let reading = std::thread::spawn(move || {
        let mut rest = String::new();
        out.read_to_string(&mut rest).expect("the rest");
        rest
    });
    std::thread::sleep(after.saturating_sub(started.elapsed()));
    writer.kill().expect("SIGKILL");
    writer.wait().expect("it is dead");
    text.push_str(&reading.join().expect("read"));
    // A line cut short by the kill was not heard.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| {
            let (word, id) = line.split_once(' ').expect("WORD ID");
            (word.to_owned(), id.parse().expect("an id"))
        })
        .collect()
}

fn check(dir: &Path, acknowledged: &[(String, ExchangeId)], round: u64) {
    // What the daemon does when it starts again.
    Log::open(settings(dir)).expect("recovers").close().expect("closes");
    let trust = Trust {
        key: VerifyingKey::read(&dir.join("keys/log-signing.pub")).expect("the public key"),
        checkpoint: None,
        keys: Some(dir.join("keys")),
    };
    match verify(&dir.join("audit"), &trust).expect("readable") {
        Verdict::Intact(_) => {}
        Verdict::Faulty(fault) => panic!("round {round}: {fault}"),
    }
    let mut reader = Reader::open(&dir.join("audit")).expect("a log");
    let mut query = Query::oldest_first(&Everything);
    let mut states = std::collections::HashMap::<ExchangeId, State>::new();
    while let Some((at, record)) = query.record(&mut reader).expect("a whole record") {
        states.insert(at.id(), record.state);
    }
    for (word, id) in acknowledged {
        let state = states.get(id).unwrap_or_else(|| panic!("round {round}: {word} {id} is lost"));
        assert!(word == "begun" || *state == State::Complete, "round {round}: {id} ended, but is {state:?}");
    }
}

fn unseal_last(dir: &Path, secret: &AuditorSecret) {
    let keys: PathBuf = dir.join("keys");
    let mut reader = Reader::open(&dir.join("audit")).expect("a log");
    let mut opener = Opener::new(&keys, from_ref(secret));
    let (mut query, mut records) = (Query::oldest_first(&Everything), Vec::new());
    while let Some(at) = query.located(&mut reader).expect("readable") {
        records.push(at);
    }
    for at in records.iter().step_by(records.len().div_ceil(50)) {
        let original = reader.original(at, &mut opener).expect("opens").expect("is there");
        assert!(original.len() >= 500 && original.iter().all(|&byte| byte == original[0]));
    }
}
