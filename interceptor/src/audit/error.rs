//! What goes wrong when writing the log.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::frame::FrameError;
use super::header::HeaderError;

/// Why the log cannot be opened, or a record cannot be made durable. Whoever waits for a record must not let the
/// request out: without a record nothing leaves.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a file of the log failed.
    #[error("{call} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `fallocate`, `msync`.
        call: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: SharedIo,
    },
    /// Another process writes this log.
    #[error("the audit log {} is being written by process {pid}: stop it, or use another state directory", dir.display())]
    Locked {
        /// The log's directory.
        dir: PathBuf,
        /// The other writer.
        pid: String,
    },
    /// Another process records an access or an act.
    #[error(
        "process {pid} is recording an access, or what is removed, in {}: wait for its end and try again", dir.display()
    )]
    Recording {
        /// The log's directory.
        dir: PathBuf,
        /// The other process.
        pid: String,
    },
    /// There is nobody to seal originals to.
    #[error(
        "no auditor's public key is configured, so nobody could ever read the originals: \
         make a key pair with `interceptor keys generate --out FILE` and configure its public half"
    )]
    NoAuditor,
    /// More auditors are needed than there are.
    #[error(
        "audit.threshold asks for {needed} of {given} auditors: set it from 1 to the number of keys in audit.auditors (at most 128)"
    )]
    Threshold {
        /// As configured.
        needed: u8,
        /// Number of keys.
        given: usize,
    },
    /// An auditor's key is configured twice: one person would count as several.
    #[error("audit.auditors names the key {0} twice: remove one of the files that hold it")]
    SameAuditor(String),
    /// A key file cannot be used.
    #[error("{}: {reason}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        reason: String,
    },
    /// A segment's first page is not what was written there.
    #[error("{}: {source}; run `interceptor log verify`, and see docs/log.md, \"When it says NOT INTACT\"", path.display())]
    Header {
        /// The segment.
        path: PathBuf,
        /// What is wrong.
        source: HeaderError,
    },
    /// What was durable is damaged: this is no torn tail.
    #[error(
        "{} at byte {offset}: {source}, but later bytes prove that frame {sequence} was durable: the log was damaged or \
         tampered with; run `interceptor log verify`, and see docs/log.md, \"When it says NOT INTACT\"", path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The frame that should be there.
        sequence: u64,
        /// What is wrong.
        source: FrameError,
    },
    /// The chain of segments and frames does not fit together, or does not reach the signed checkpoint.
    #[error("{}: {reason}; run `interceptor log verify`, and see docs/log.md, \"When it says NOT INTACT\"", path.display())]
    Inconsistent {
        /// The file that does not fit.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// There are frames, but no signed checkpoint that says how many there were.
    #[error(
        "{}: {reason}, so nobody can tell whether records were removed: restore the file from a backup; to go on with \
         what is there, start once with `interceptor run --accept-missing-checkpoint`, which is recorded in the log",
        path.display()
    )]
    NoCheckpoint {
        /// Where the checkpoint should be.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A record does not fit into a segment.
    #[error("a record of {bytes} bytes does not fit into a segment: raise the segment size")]
    TooLarge {
        /// Bytes it would take.
        bytes: usize,
    },
    /// An earlier write failed and no fresh segment could be started.
    #[error("the audit log is out of order since an earlier failure ({reason}): free space or repair the disk")]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// The present segment is full and the next one is not allocated yet.
    #[error("the audit log's disk does not keep up: no segment was ready within {} ms; use a faster disk", waited.as_millis())]
    NoRoom {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The data key's epoch is over and a new key could not be made.
    #[error("the data key is too old and no new one could be stored: {reason}")]
    Sealing {
        /// Why.
        reason: String,
    },
    /// This daemon was replaced, and what it still has to record goes through its successor, which cannot.
    #[error("the daemon that took over the audit log does not record this: {reason}")]
    Successor {
        /// What the successor said, or what became of it.
        reason: String,
    },
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
}

/// An I/O error that several waiters can be told.
#[derive(Clone, Debug)]
pub struct SharedIo(std::sync::Arc<io::Error>);

impl std::fmt::Display for SharedIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SharedIo {}

impl SharedIo {
    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.0.kind()
    }
}

impl Error {
    pub(crate) fn io(call: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io { call, path: path.into(), source: SharedIo(std::sync::Arc::new(source.into())) }
    }

    pub(crate) fn key_file(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::KeyFile { path: path.into(), reason: reason.into() }
    }
}
