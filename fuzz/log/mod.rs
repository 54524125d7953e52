//! A real small log, and what may become of its files. Checksums and links are made right again from the description of
//! the format, not with the log's own code, so that a mutation gets past them.
#![allow(dead_code, reason = "each target uses a part of it")]

mod mutate;
#[path = "../../interceptor/tests/forge/mod.rs"]
mod seal;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use interceptor::audit::{
    Access, AuditorSecret, Completion, Durability, Log, Outcome, Outgoing, Record, Settings, Time, Trust, VerifyingKey,
};
use interceptor::flow::ExchangeId;
use tempfile::TempDir;

pub use mutate::mutated;

/// Names and contents of the files of `audit/`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The log that all mutations start from: two lives that were closed and signed, and the beginning of a third that no
/// checkpoint covers yet; two accesses.
pub struct Original {
    home: TempDir,
    pub files: Files,
    /// The checkpoint after the first life.
    pub older_checkpoint: Vec<u8>,
    /// Frames that the newest checkpoint covers: file, offset, bytes.
    pub signed: Vec<(String, usize, Vec<u8>)>,
    pub secret: AuditorSecret,
    pub key: VerifyingKey,
}

/// The log of this process.
pub fn original() -> &'static Original {
    static ORIGINAL: OnceLock<Original> = OnceLock::new();
    ORIGINAL.get_or_init(make)
}

impl Original {
    pub fn audit(&self) -> PathBuf {
        self.home.path().join("audit")
    }

    pub fn keys(&self) -> PathBuf {
        self.home.path().join("keys")
    }

    pub fn trust(&self) -> Trust {
        Trust { key: self.key.clone(), checkpoint: None, keys: Some(self.keys()) }
    }

    pub fn settings(&self) -> Settings {
        settings(self.home.path(), &self.secret)
    }

    /// Puts `files` in place of what is there.
    pub fn put(&self, files: &Files) {
        for name in read(&self.audit()).into_keys() {
            fs::remove_file(self.audit().join(name)).expect("a file of ours");
        }
        for (name, bytes) in files {
            fs::write(self.audit().join(name), bytes).expect("memory");
        }
    }

    /// What is there now.
    pub fn look(&self) -> Files {
        read(&self.audit())
    }

    /// Whether `files` have everything that was signed, byte for byte and where it was.
    pub fn has_all_signed(&self, files: &Files) -> bool {
        self.signed.iter().all(|frame| has(files, frame))
    }
}

/// Whether a frame is where it was.
pub fn has(files: &Files, (name, offset, bytes): &(String, usize, Vec<u8>)) -> bool {
    files.get(name).is_some_and(|file| file.get(*offset..offset + bytes.len()) == Some(bytes))
}

fn settings(home: &Path, secret: &AuditorSecret) -> Settings {
    Settings {
        dir: home.join("audit"),
        keys: home.join("keys"),
        host: "fuzz".into(),
        durability: Durability::Power,
        auditors: vec![secret.public()],
        threshold: 1,
        segment_bytes: 64 << 10,
        accept_missing_checkpoint: false,
    }
}

fn make() -> Original {
    // Each input is written to files: to memory where that is to be had.
    let memory = Path::new("/dev/shm");
    let home = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a directory");
    let secret = AuditorSecret::generate();
    let audit = home.path().join("audit");
    live(home.path(), &secret, &[b"one", b"two"]).close().expect("closed");
    let older_checkpoint = fs::read(audit.join("checkpoint")).expect("signed");
    live(home.path(), &secret, &[b"three"]).close().expect("closed");
    let closed = read(&audit);
    let running = live(home.path(), &secret, &[b"four"]);
    let mut files = read(&audit);
    running.close().expect("closed");
    // What was signed before the third life began: its frames are a tail that may be torn.
    files.insert("checkpoint".into(), closed["checkpoint"].clone());
    files.retain(|name, _| !name.ends_with(".spare"));
    for bytes in files.values_mut() {
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(used.next_multiple_of(8) + 256);
        if bytes.starts_with(b"interceptor/") {
            bytes.truncate(used);
        }
    }
    let signed = closed
        .iter()
        .filter(|(name, _)| name.starts_with("log-") && name.ends_with(".alog"))
        .flat_map(|(name, bytes)| {
            seal::frames(bytes).into_iter().map(|at| (name.clone(), at.start, bytes[at].to_vec()))
        })
        .collect();
    let key = VerifyingKey::read(&home.path().join("keys/log-signing.pub")).expect("a key");
    Original { home, files, older_checkpoint, signed, secret, key }
}

/// One life of a log: exchanges with and without parts, a refusal, an access. Left open.
fn live(home: &Path, secret: &AuditorSecret, responses: &[&[u8]]) -> Log {
    let log = Log::open(settings(home, secret)).expect("opens");
    let worker = log.worker().expect("a worker");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut last = ExchangeId::new();
    runtime.block_on(async {
        for response in responses {
            last = ExchangeId::new();
            let outgoing = Outgoing { head: b"POST / HTTP/1.1\r\n\r\n", body: b"{\"card\":\"[CARD_k7q2m9xd]\"}" };
            let begun = worker.begin(Record::new(last), b"{\"card\":\"4111111111111111\"}", outgoing).await;
            let (mut exchange, _) = begun.expect("recorded");
            for piece in response.chunks(3) {
                exchange.chunk(piece).await.expect("recorded");
            }
            exchange.complete(&Completion::default()).await.expect("recorded").await.expect("recorded");
        }
        let refused = Record::new(ExchangeId::new());
        worker.refuse(refused, Some(b"secret"), b"denied").await.expect("recorded");
    });
    let access = Access {
        exchange: last,
        time: Time::now(),
        uid: 0,
        user: None,
        auditor: secret.public().fingerprint(),
        reason: "fuzzing".into(),
        outcome: Outcome::Opened,
        error: None,
    };
    access.record(&home.join("audit"), &home.join("keys")).expect("recorded");
    log
}

fn read(dir: &Path) -> Files {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"));
    entries
        .filter_map(|entry| {
            // The keeper of a log that is being closed removes its spares.
            let bytes = fs::read(entry.path()).ok()?;
            Some((entry.file_name().into_string().expect("a name of ours"), bytes))
        })
        .collect()
}
