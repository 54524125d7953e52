//! The daemon that is replaced: it starts its successor, hands over, or goes on.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::SUCCESSOR;
use crate::audit::{self, Log};
use crate::capture::{self, Capture};
use crate::daemon::Workers;
use crate::daemon::handover::{self, Facts, HandoverError, ToSuccessor};
use crate::sys::service;

/// How to start this program again: what is on disk then, not what runs now.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// To be called at the start, before the file can have been replaced.
    pub(super) fn this() -> std::io::Result<Self> {
        let mut arguments = std::env::args_os();
        // As it was called, so that a symbolic link is followed anew.
        let path = match arguments.next().map(PathBuf::from) {
            Some(path) if path.is_absolute() => path,
            _ => std::env::current_exe()?,
        };
        Ok(Self { path, arguments: arguments.filter(|argument| argument != SUCCESSOR).collect() })
    }

    fn start(&self, stdin: Stdio) -> std::io::Result<Child> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).arg(SUCCESSOR).stdin(stdin);
        for name in service::PERSONAL {
            command.env_remove(name);
        }
        command.spawn()
    }
}

/// Why the old daemon goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    #[error("cannot start {}: {source}", path.display())]
    Start { path: PathBuf, source: std::io::Error },
    #[error("the successor is not ready after {} s (upgrade.ready_s)", .0.as_secs())]
    Late(Duration),
    #[error("the successor did not take over: {0}")]
    Handover(HandoverError),
    #[error(transparent)]
    Audit(#[from] audit::Error),
    #[error(transparent)]
    Capture(#[from] capture::Error),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A successor that does not serve yet. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Successor {
    child: Option<Child>,
    channel: ToSuccessor,
    audit: UnixStream,
    patience: Duration,
}

impl Successor {
    /// Starts the program that is on disk now and offers it what can be shared.
    pub(super) fn start(
        program: &Program,
        facts: Facts,
        capture: &Capture,
        workers: &Workers,
        patience: Duration,
    ) -> Result<Self, UpgradeError> {
        let (channel, theirs) = handover::pair()?;
        channel.set_patience(patience)?;
        let (audit, their_audit) = UnixStream::pair()?;
        let hold = capture.share_lock()?;
        let child = program
            .start(theirs.into())
            .map_err(|source| UpgradeError::Start { path: program.path.clone(), source })?;
        let successor = Self { child: Some(child), channel, audit, patience };
        let listeners =
            workers.open().iter().flat_map(|open| open.sockets.iter().map(|socket| (open.listening, socket)));
        successor
            .channel
            .offer(facts, hold.as_fd(), listeners, their_audit.as_fd())
            .map_err(|e| successor.failure(e))?;
        Ok(successor)
    }

    /// Waits until it has done what can fail.
    pub(super) fn prepared(self) -> Result<Self, UpgradeError> {
        match self.channel.prepared() {
            Ok(()) => Ok(self),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Gives the log away. On success the successor serves, and what is still recorded here goes through it. Else it
    /// is dead, and the log is this process's as before.
    ///
    /// # Errors
    /// [`Lost::Log`] when not even that could be done: this process can record nothing any more.
    pub(super) fn take_over(mut self, log: &mut Log) -> Result<u32, Lost> {
        let handed = log.hand_over().map_err(|e| Lost::Successor(e.into()))?;
        let failed = match self.channel.yours(&handed) {
            Ok(part_bytes) => {
                let Some(child) = self.child.take() else { unreachable!("taken here alone") };
                let audit = self.audit.try_clone().map_err(|e| Lost::Log(e.into()))?;
                log.follow(audit, part_bytes).map_err(|e| Lost::Log(e.into()))?;
                return Ok(child.id());
            }
            Err(error) => self.failure(error),
        };
        // It may have the log open: first it ends.
        drop(self);
        drop(handed);
        log.resume().map_err(|e| Lost::Log(e.into()))?;
        Err(Lost::Successor(failed))
    }

    fn failure(&self, error: HandoverError) -> UpgradeError {
        match error {
            HandoverError::Silent => UpgradeError::Late(self.patience),
            error => UpgradeError::Handover(error),
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a hand-over that failed cost.
#[derive(Debug)]
pub(super) enum Lost {
    /// Nothing but the successor.
    Successor(UpgradeError),
    /// The log as well.
    Log(UpgradeError),
}
