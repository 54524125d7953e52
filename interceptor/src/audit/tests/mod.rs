//! The log from end to end: written, read back, damaged, recovered.

mod attack;
mod crash;
mod failure;
mod faults;
mod flip;
mod follow;
mod frames;
mod handover;
mod index;
mod load;
mod power;
mod proof;
mod retention;
mod sealing;
mod sharing;
mod tiles;
mod unreadable;

use std::path::{Path, PathBuf};

use super::*;
use crate::flow::ExchangeId;

pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) secret: AuditorSecret,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), secret: AuditorSecret::generate() }
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            dir: self.audit(),
            keys: self.keys(),
            host: "testhost".into(),
            durability: Durability::Power,
            auditors: vec![self.secret.public()],
            threshold: 1,
            segment_bytes: 64 << 10,
            accept_missing_checkpoint: false,
        }
    }

    pub(crate) fn open(&self) -> Log {
        Log::open(self.settings()).unwrap()
    }
}

impl Place {
    pub(crate) fn trust(&self) -> Trust {
        Trust {
            key: VerifyingKey::read(&self.keys().join("log-signing.pub")).unwrap(),
            checkpoint: None,
            keys: Some(self.keys()),
        }
    }

    pub(crate) fn verify(&self) -> Verdict {
        verify(&self.audit(), &self.trust()).unwrap()
    }

    pub(crate) fn intact(&self) -> Report {
        match self.verify() {
            Verdict::Intact(report) => report,
            Verdict::Faulty(fault) => panic!("{fault}"),
        }
    }

    pub(crate) fn faulty(&self) -> Fault {
        match self.verify() {
            Verdict::Intact(report) => panic!("nothing was noticed: {report:?}"),
            Verdict::Faulty(fault) => *fault,
        }
    }

    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        scan::segments(&self.audit(), Stream::Log).unwrap()
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.audit()).unwrap()
    }

    /// Writes exchanges with these responses and closes the log.
    pub(crate) fn write(&self, responses: &[&[&[u8]]]) -> Vec<ExchangeId> {
        let log = self.open();
        let mut worker = log.worker().unwrap();
        let ids = responses.iter().map(|chunks| run(exchange(&mut worker, chunks))).collect();
        log.close().unwrap();
        ids
    }
}

/// All records, in the order of the log.
pub(crate) fn located(reader: &mut Reader) -> Vec<Located> {
    let (mut query, mut all) = (Query::oldest_first(&Everything), Vec::new());
    while let Some(at) = query.located(reader).unwrap() {
        all.push(at);
    }
    all
}

/// Record number `n` of the log.
pub(crate) fn nth(reader: &mut Reader, n: usize) -> Located {
    located(reader).swap_remove(n)
}

/// What record number `n` of the log says.
pub(crate) fn read(place: &Place, n: usize) -> Record {
    let mut reader = place.reader();
    let at = nth(&mut reader, n);
    reader.record(&at).unwrap()
}

/// The one record with this id.
pub(crate) fn find(reader: &mut Reader, id: &ExchangeId) -> Option<Located> {
    reader.find(&id.to_string()).unwrap().one()
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            match std::fs::copy(entry.path(), target) {
                // A running writer's temporary file.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.unwrap()),
            }
        }
    }
}

pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) const ORIGINAL: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\n\r\n{\"card\":\"4111111111111111\"}";
pub(crate) const HEAD: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\n\r\n";
pub(crate) const BODY: &[u8] = b"{\"card\":\"[CARD_k7q2m9xd]\"}";

pub(crate) fn outgoing() -> Outgoing<'static> {
    Outgoing { head: HEAD, body: BODY }
}

pub(crate) async fn exchange(worker: &mut Worker, chunks: &[&[u8]]) -> ExchangeId {
    let id = ExchangeId::new();
    let (mut exchange, committed) = worker.begin(Record::new(id), ORIGINAL, outgoing()).await.unwrap();
    assert_eq!(committed.exchange(), id);
    for chunk in chunks {
        exchange.chunk(chunk).await.unwrap();
    }
    exchange.complete(&Completion::default()).await.unwrap().await.unwrap();
    id
}

/// What a suite has counted, for whoever asks for its output.
pub(crate) fn report(line: &str) {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}").expect("stdout");
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_unused_log_leaves_no_segment() {
    let place = Place::new();
    place.open().close().unwrap();
    assert_eq!(names(&place.audit()), ["checkpoint", "lock", "log-signing.pub"]);
}

#[test]
fn a_log_goes_on_where_it_ended() {
    let place = Place::new();
    for _ in 0..3 {
        let log = place.open();
        let mut worker = log.worker().unwrap();
        run(exchange(&mut worker, &[b"one", b"two"]));
        log.close().unwrap();
    }
    let logs: Vec<String> = names(&place.audit()).into_iter().filter(|n| n.ends_with(".alog")).collect();
    assert_eq!(
        logs,
        ["log-00000000000000000000.alog", "log-00000000000000000004.alog", "log-00000000000000000008.alog"]
    );
}
