//! A real log, its files changed and put back.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use interceptor::audit::{
    Access, AuditorSecret, Completion, Durability, Log, Outcome, Outgoing, Record, Settings, Time,
};
use interceptor::flow::ExchangeId;

const THREADS: usize = 4;

/// What `interceptor log verify` said.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) status: Option<i32>,
    pub(crate) said: String,
}

/// A state directory with a log in it, and what was kept elsewhere when the log was whole.
pub(crate) struct Place {
    home: tempfile::TempDir,
    pub(crate) records: usize,
    /// Files as they were, by what they are called now; nothing where there was none.
    changed: RefCell<Vec<(PathBuf, Option<PathBuf>)>>,
}

impl Place {
    /// Writes a log of so many records, two of which are unsealed, and keeps key and checkpoints.
    pub(crate) fn written(records: usize, segment_bytes: u64) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let home = tempfile::tempdir_in(target).expect("a directory below target");
        let place = Self { home, records, changed: RefCell::default() };
        let (mut earlier, secret) = (Vec::new(), AuditorSecret::generate());
        write(&place.state(), &secret, records / 2, segment_bytes, &mut earlier);
        for file in ["audit/checkpoint", "audit/access.checkpoint", "keys/access.checkpoint"] {
            place.keep(file, "earlier");
        }
        write(&place.state(), &secret, records - records / 2, segment_bytes, &mut earlier);
        for file in ["audit/checkpoint", "keys/log-signing.pub"] {
            place.keep(file, "kept");
        }
        place
    }

    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    fn keep(&self, file: &str, as_of: &str) {
        let target = self.home.path().join(as_of).join(file);
        fs::create_dir_all(target.parent().expect("below another")).expect("a directory");
        fs::copy(self.state().join(file), target).expect("copied");
    }

    pub(crate) fn audit(&self, name: &str) -> PathBuf {
        self.state().join("audit").join(name)
    }

    /// A file as it was in the middle of the log's life.
    pub(crate) fn earlier(&self, file: &str) -> Vec<u8> {
        fs::read(self.home.path().join("earlier").join(file)).expect("kept")
    }

    /// Paths of the segments of `log` or `access`.
    pub(crate) fn segments(&self, stream: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.audit("")).expect("a log").map(|entry| entry.expect("an entry").path());
        let ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(&format!("{stream}-")) && name.ends_with(".alog")
        };
        let mut paths: Vec<_> = entries.filter(ours).collect();
        paths.sort();
        paths
    }

    /// Verifies with what was kept elsewhere.
    pub(crate) fn verify(&self) -> Verdict {
        let kept = self.home.path().join("kept");
        let output = Command::new(env!("CARGO_BIN_EXE_interceptor"))
            .args(["log", "verify", "--state"])
            .arg(self.state())
            .arg("--key")
            .arg(kept.join("keys/log-signing.pub"))
            .arg("--checkpoint")
            .arg(kept.join("audit/checkpoint"))
            .output()
            .expect("the program runs");
        let said = [output.stdout, output.stderr].concat();
        Verdict { status: output.status.code(), said: String::from_utf8(said).expect("text") }
    }

    /// Whether `interceptor log show` finds a record.
    pub(crate) fn shows(&self, id: &str) -> bool {
        let output = Command::new(env!("CARGO_BIN_EXE_interceptor"))
            .args(["log", "show", id, "--state"])
            .arg(self.state())
            .output()
            .expect("the program runs");
        output.status.success()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments("log").iter().map(|path| path.metadata().expect("its size").len()).sum()
    }

    /// Drops the log from the page cache.
    pub(crate) fn forget(&self) {
        for path in self.segments("log") {
            let file = File::open(path).expect("readable");
            file.sync_all().expect("synced");
            let all = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            nix::fcntl::posix_fadvise(&file, 0, 0, all).expect("a hint");
        }
    }

    /// Removes a file.
    pub(crate) fn remove(&self, path: &Path) {
        let aside = self.home.path().join(format!("aside-{}", self.changed.borrow().len()));
        let was = path.exists().then(|| {
            fs::rename(path, &aside).expect("moved");
            aside
        });
        self.changed.borrow_mut().push((path.to_path_buf(), was));
    }

    /// Replaces a file's content, or makes one.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) {
        self.remove(path);
        fs::write(path, bytes).expect("written");
    }

    /// Puts everything back.
    pub(crate) fn undo(&self) {
        for (path, was) in self.changed.borrow_mut().drain(..).rev() {
            let _ = fs::remove_file(&path);
            if let Some(was) = was {
                fs::rename(was, path).expect("put back");
            }
        }
    }
}

/// One life of the log: exchanges of several threads, and the unsealing of one.
fn write(state: &Path, secret: &AuditorSecret, records: usize, segment_bytes: u64, ids: &mut Vec<ExchangeId>) {
    let settings = Settings {
        dir: state.join("audit"),
        keys: state.join("keys"),
        host: "attacked".into(),
        durability: Durability::Process,
        auditors: vec![secret.public()],
        threshold: 1,
        segment_bytes,
        accept_missing_checkpoint: false,
    };
    let log = Log::open(settings).expect("opens");
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let log = &log;
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                    let worker = log.worker().expect("a worker");
                    let share = records / THREADS + usize::from(thread < records % THREADS);
                    runtime.block_on(async {
                        let mut last = ExchangeId::new();
                        for _ in 0..share {
                            last = ExchangeId::new();
                            exchange(&worker, last).await;
                        }
                        last
                    })
                })
            })
            .collect();
        ids.extend(writers.into_iter().map(|writer| writer.join().expect("it writes")));
    });
    log.close().expect("closed");
    let access = Access {
        exchange: *ids.last().expect("there are records"),
        time: Time::now(),
        uid: 0,
        user: None,
        auditor: secret.public().fingerprint(),
        reason: "case 17".into(),
        outcome: Outcome::Opened,
        error: None,
    };
    access.record(&state.join("audit"), &state.join("keys")).expect("recorded");
}

async fn exchange(worker: &interceptor::audit::Worker, id: ExchangeId) {
    let original = format!("{{\"prompt\":\"pay with 4111111111111111 for {id}\"}}");
    let body = format!("{{\"prompt\":\"pay with [CARD_k7q2m9xd] for {id}\"}}").repeat(4);
    let outgoing = Outgoing { head: b"POST /v1/chat/completions HTTP/1.1\r\n\r\n", body: body.as_bytes() };
    let begun = worker.begin(Record::new(id), original.as_bytes(), outgoing).await.expect("recorded");
    let ended = begun.0.complete(&Completion::default()).await.expect("recorded");
    ended.await.expect("recorded");
}
