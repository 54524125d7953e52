//! A real witness, a program of its own that checks proofs itself: it cosigns what the daemon's thread shows it, and a log
//! that was put back or written anew does not get past it. The same with a directory that keeps each checkpoint.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use interceptor::audit::{
    AuditorPublic, AuditorSecret, Checkpoint, Completion, Durability, Log, Outgoing, Record, Settings,
};
use interceptor::flow::ExchangeId;
use interceptor::sinks::{Net, Pace, Place, PreparedWitnesses, WitnessSettings, WitnessStatus, Witnesses};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

struct State {
    dir: tempfile::TempDir,
}

impl State {
    fn new() -> Self {
        let state = Self { dir: tempfile::tempdir().unwrap() };
        AuditorSecret::generate().write(&state.dir.path().join("auditor.key")).unwrap();
        state.write(3);
        state
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Goes on with the log: so many exchanges, of two leaves each.
    fn write(&self, exchanges: usize) {
        let settings = Settings {
            dir: self.path("state/audit"),
            keys: self.path("state/keys"),
            host: "witnessed".into(),
            durability: Durability::Power,
            auditors: vec![AuditorPublic::read(&self.path("auditor.key.pub")).unwrap()],
            threshold: 1,
            segment_bytes: 64 << 10,
            accept_missing_checkpoint: false,
        };
        let log = open(&settings);
        let worker = log.worker().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for _ in 0..exchanges {
                let outgoing = Outgoing { head: b"POST / HTTP/1.1\r\n\r\n", body: b"{}" };
                let (exchange, _) = worker.begin(Record::new(ExchangeId::new()), b"", outgoing).await.unwrap();
                exchange.complete(&Completion::default()).await.unwrap().await.unwrap();
            }
        });
        log.close().unwrap();
    }

    fn size(&self) -> u64 {
        Checkpoint::peek(&fs::read_to_string(self.path("state/audit/checkpoint")).unwrap()).unwrap().size
    }

    /// Starts a witness's thread, as the daemon does.
    fn show(&self, settings: &str) -> Witnesses {
        let settings: WitnessSettings = toml::from_str(settings).unwrap();
        let pace = Pace { first: Duration::from_millis(20), most: Duration::from_millis(100), ..Pace::default() };
        let (audit, cursors) = (self.path("state/audit"), self.path("state/sinks"));
        let place = Place { audit, cursors, net: Net::default(), pace };
        PreparedWitnesses::new(&[settings], place).unwrap().start().unwrap()
    }

    fn verify(&self, args: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_interceptor"))
            .arg("--state")
            .arg(self.path("state"))
            .args(["log", "verify"])
            .args(args)
            .output();
        output.unwrap()
    }

    /// Everything as it is now, to go back to.
    fn save(&self) -> PathBuf {
        let saved = self.path("saved");
        let copied = Command::new("cp").arg("-a").arg(self.path("state")).arg(&saved).status().unwrap();
        assert!(copied.success());
        saved
    }

    fn put_back(&self, saved: &Path) {
        fs::remove_dir_all(self.path("state")).unwrap();
        fs::rename(saved, self.path("state")).unwrap();
    }
}

/// Opens the log. Tests run side by side in one process: a child that another test has just forked holds a copy of the lock
/// until it becomes a program of its own.
fn open(settings: &Settings) -> Log {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Log::open(settings.clone()) {
            Err(interceptor::audit::Error::Locked { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// Waits for what is expected of a witness.
fn until(witnesses: &Witnesses, what: &str, is_so: impl Fn(&WitnessStatus) -> bool) -> WitnessStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = witnesses.status().remove(0);
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{what}: {status:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn says(status: &WitnessStatus, what: &str) -> bool {
    status.error.as_deref().is_some_and(|error| error.contains(what))
}

/// As [`says`], of what is evidence.
fn contradicts(status: &WitnessStatus, what: &str) -> bool {
    status.contradicts && says(status, what)
}

/// The witness as a program.
struct Witness {
    port: u16,
    store: PathBuf,
    log_key: PathBuf,
    seed: &'static str,
    child: Option<Child>,
}

impl Witness {
    fn start(state: &State, seed: &'static str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // As it was told when it began to watch the log.
        let log_key = state.path("log.pub");
        fs::copy(state.path("state/audit/log-signing.pub"), &log_key).unwrap();
        let mut witness = Self { port, store: state.path("seen"), log_key, seed, child: None };
        witness.restart();
        witness
    }

    fn restart(&mut self) {
        self.kill();
        let child = Command::new(python())
            .arg(root().join("tests/sinks/witness.py"))
            .arg(self.port.to_string())
            .arg(&self.store)
            .arg(self.seed)
            .arg(&self.log_key)
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "the witness does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Its verifier key.
    fn key(&self) -> String {
        let output =
            Command::new(python()).arg(root().join("tests/sinks/witness.py")).args(["key", self.seed]).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
    }

    fn settings(&self) -> String {
        let (port, key) = (self.port, self.key());
        format!("name = 'w'\nurl = 'http://127.0.0.1:{port}/prefix/'\nplaintext = true\nkey = '{key}'\nevery_s = 1")
    }

    /// Old and new size of each checkpoint that it has cosigned.
    fn seen(&self) -> Vec<(u64, u64)> {
        let text = fs::read_to_string(self.store.with_extension("seen")).unwrap_or_default();
        let pair = |line: &str| line.split_once(' ').map(|(old, new)| (old.parse().unwrap(), new.parse().unwrap()));
        text.lines().filter_map(pair).collect()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.kill();
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn python() -> PathBuf {
    let python = root().join("target/clients/sinks/bin/python");
    assert!(python.is_file(), "{} is missing: run `cargo xtask setup --clients`", python.display());
    python
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_witness_cosigns_each_checkpoint_that_goes_on_from_the_last() {
    let state = State::new();
    let mut witness = Witness::start(&state, "1");
    let witnesses = state.show(&witness.settings());
    until(&witnesses, "the first checkpoint", |status| status.size == Some(6) && status.error.is_none());
    state.write(40);
    until(&witnesses, "a later one", |status| status.size == Some(state.size()));
    // It is not asked again about the same.
    assert_eq!(witness.seen().first(), Some(&(0, 6)));
    assert!(witness.seen().windows(2).all(|pair| pair[0].1 == pair[1].0), "{:?}", witness.seen());

    witness.kill();
    state.write(2);
    until(&witnesses, "a witness that is gone", |status| status.error.is_some() && status.retry_at.is_some());
    witness.restart();
    until(&witnesses, "a witness that is back", |status| status.size == Some(90) && status.error.is_none());
    // The last checkpoint, when the daemon ends.
    state.write(1);
    witnesses.stop(PATIENCE);
    assert_eq!(witness.seen().last().map(|pair| pair.1), Some(92));

    // What it has seen is asked of it when it is not known here.
    fs::remove_dir_all(state.path("state/audit/witness")).unwrap();
    state.write(1);
    let witnesses = state.show(&witness.settings());
    until(&witnesses, "a size that was forgotten", |status| status.size == Some(94) && status.error.is_none());
    assert_eq!(witness.seen().last(), Some(&(92, 94)));
    witnesses.stop(PATIENCE);

    let key = state.path("witness.pub");
    fs::write(&key, witness.key()).unwrap();
    let verified = state.verify(&["--witness-key", key.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", text(&verified));
    assert!(text(&verified).contains("witness.example/w1 has cosigned 94 leaves at "), "{}", text(&verified));
    let other = state.path("other.pub");
    fs::write(&other, Witness::start(&state, "2").key()).unwrap();
    let unknown = state.verify(&["--witness-key", other.to_str().unwrap()]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown).contains("no checkpoint is kept that the witness"), "{}", text(&unknown));
}

#[test]
fn a_log_that_was_put_back_or_written_anew_is_refused() {
    let state = State::new();
    let witness = Witness::start(&state, "1");
    let saved = state.save();
    state.write(5);
    let witnesses = state.show(&witness.settings());
    until(&witnesses, "the checkpoint", |status| status.size == Some(16));
    witnesses.stop(PATIENCE);
    let cosigned = state.path("cosigned");
    fs::copy(state.path("state/audit/witness/w.checkpoint"), &cosigned).unwrap();

    // Put back: less than the witness has seen.
    state.put_back(&saved);
    let witnesses = state.show(&witness.settings());
    until(&witnesses, "a log that is shorter", |status| {
        contradicts(status, "it has seen 16 leaves of this log, which has 6")
    });
    // And gone on from there, to the size that the witness has seen, and past it.
    state.write(5);
    until(&witnesses, "another log of that size", |status| {
        contradicts(status, "it has seen 16 other leaves of this log")
    });
    state.write(20);
    until(&witnesses, "another log", |status| {
        contradicts(status, "does not begin with the 16 leaves that it has seen")
    });
    witnesses.stop(PATIENCE);
    assert_eq!(witness.seen(), [(0, 16)]);

    let key = state.path("witness.pub");
    fs::write(&key, witness.key()).unwrap();
    let args = ["--witness-key", key.to_str().unwrap(), "--checkpoint", cosigned.to_str().unwrap()];
    let verified = state.verify(&args);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
    let uncosigned = state.path("state/audit/checkpoint");
    let verified = state.verify(&["--witness-key", args[1], "--checkpoint", uncosigned.to_str().unwrap()]);
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));

    // Written anew: under another key.
    fs::remove_dir_all(state.path("state")).unwrap();
    state.write(20);
    let witnesses = state.show(&witness.settings());
    until(&witnesses, "a log of another key", |status| {
        says(status, "it knows another key for this log") && !status.contradicts
    });
    witnesses.stop(PATIENCE);
}

#[test]
fn what_a_witness_says_it_has_seen_is_not_remembered_before_it_has_cosigned() {
    let state = State::new();
    let witness = Witness::start(&state, "1");
    let seen = |size: u64| format!(r#"{{"size": {size}, "root": "{}"}}"#, "00".repeat(32));
    fs::write(&witness.store, seen(1000)).unwrap();
    let witnesses = state.show(&witness.settings());
    until(&witnesses, "more than there is", |status| says(status, "it has seen 1000 leaves of this log, which has 6"));
    fs::remove_file(&witness.store).unwrap();
    until(&witnesses, "a witness that was put right", |status| status.size == Some(6) && status.error.is_none());
    // Less than it has cosigned.
    let right = fs::read(&witness.store).unwrap();
    fs::write(&witness.store, seen(2)).unwrap();
    state.write(2);
    until(&witnesses, "a witness that forgets", |status| {
        says(status, "it has cosigned 6 leaves and says that it has seen 2")
    });
    fs::write(&witness.store, right).unwrap();
    until(&witnesses, "one that remembers", |status| status.size == Some(10) && status.error.is_none());
    witnesses.stop(PATIENCE);
}

#[test]
fn an_answer_that_is_worth_nothing_is_not_kept() {
    let state = State::new();
    let mut witness = Witness::start(&state, "1");
    let settings = witness.settings();
    witness.seed = "2";
    witness.restart();
    let witnesses = state.show(&settings);
    until(&witnesses, "another witness", |status| says(status, "its answer is worth nothing") && status.size.is_none());
    assert!(!state.path("state/audit/witness").exists());
    witnesses.stop(PATIENCE);
    // A log that it does not know.
    let text = fs::read_to_string(&witness.log_key).unwrap().replace("interceptor/", "someone-else/");
    fs::write(&witness.log_key, text).unwrap();
    witness.restart();
    let witnesses = state.show(&witness.settings());
    until(&witnesses, "an unknown log", |status| says(status, "it does not know this log"));
    witnesses.stop(PATIENCE);
}

#[test]
fn a_directory_keeps_each_checkpoint_and_notices_another_log() {
    let state = State::new();
    let kept = state.path("worm");
    let settings = format!("name = 'w'\ndirectory = '{}'\nevery_s = 1", kept.display());
    let witnesses = state.show(&settings);
    until(&witnesses, "a directory that is not mounted", |status| says(status, "worm"));
    fs::create_dir(&kept).unwrap();
    until(&witnesses, "the checkpoint", |status| status.size == Some(6) && status.error.is_none());
    let saved = state.save();
    state.write(2);
    until(&witnesses, "a later one", |status| status.size == Some(10));
    witnesses.stop(PATIENCE);
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(&kept).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let before = names();
    assert_eq!(
        (before.first().unwrap().as_str(), before.last().unwrap().as_str()),
        ("00000000000000000006.checkpoint", "00000000000000000010.checkpoint")
    );
    let newest = fs::read(kept.join(before.last().unwrap())).unwrap();
    assert_eq!(newest, fs::read(state.path("state/audit/checkpoint")).unwrap());

    // What a loss of power left of a file is no reason to stop.
    fs::write(kept.join("00000000000000000011.checkpoint"), "interceptor/wit").unwrap();
    state.put_back(&saved);
    let witnesses = state.show(&settings);
    until(&witnesses, "a log that is shorter", |status| {
        contradicts(status, "it has seen 10 leaves of this log, which has 6")
    });
    state.write(2);
    until(&witnesses, "another log of that size", |status| contradicts(status, "does not begin with the 10"));
    state.write(2);
    until(&witnesses, "another log", |status| says(status, "the log of 14 leaves does not begin with the 10"));
    witnesses.stop(PATIENCE);
    assert_eq!(names().len(), before.len() + 1);
    assert_eq!(fs::read(kept.join(before.last().unwrap())).unwrap(), newest);
}
