//! One log, two processes: while a daemon that was replaced still has exchanges running, it appends to the log of its
//! successor, through a socket between them.
//!
//! ```text
//! predecessor                                              successor
//! Exchange ── Route::Remote ── queue ── socket ──> reader ── Route::Local ── log
//!     ^──────── replies <───────────── socket <─── appended, durable ──────────'
//! ```
//!
//! There is one writer at a time: one sequence of frames, one chain, one tree. The predecessor gives the log up when
//! everything of it is durable and signed ([`Log::hand_over`](super::Log::hand_over)), its successor opens it with the
//! same lock and the same generation ([`Log::open_after`](super::Log::open_after)). Between the two, appends wait.
//! When the successor dies, appends fail, and what cannot be recorded does not leave.

mod message;
mod predecessor;
mod route;
mod successor;

pub use message::fuzz_messages;
pub(crate) use predecessor::Remote;
pub(crate) use route::{Route, Sink};
pub(crate) use successor::serve;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::checkpoint::SigningKey;
use super::header::Stream;
use super::recover::WithoutCheckpoint;
use super::writer::Shared;
use super::{Error, Log};

/// What a writer leaves to its successor. Dropped by both, the log is free for anyone.
#[derive(Debug)]
pub struct Handover {
    /// The open file that holds the writer's lock.
    pub lock: OwnedFd,
    /// Names the line of writers: open exchanges of a predecessor are not aborted ones.
    pub generation: [u8; 16],
}

/// Changing hands.
impl Log {
    /// Gives the log up so that another process can go on with it: everything is durable and signed when this returns.
    /// From here on appends wait, until [`Log::follow`] or [`Log::resume`]. Waits for the disk.
    ///
    /// # Errors
    /// [`Error::Closed`] when this process does not write the log, [`Error::Io`] when its lock cannot be shared. What
    /// keeps the log from being finished is logged instead: whoever goes on recovers it.
    pub fn hand_over(&mut self) -> Result<Handover, Error> {
        let shared = self.context.sink.detach()?;
        self.stop(&shared);
        if let Err(error) = shared.finish_locked() {
            log::error!("audit log: {error}");
        }
        let lock = shared.take_lock().ok_or(Error::Closed)?;
        let share = || lock.share().map_err(|e| Error::io("dup", &self.settings.dir, e));
        self.handed = Some(Handover { lock: share()?, generation: shared.generation });
        Ok(Handover { lock: share()?, generation: shared.generation })
    }

    /// Goes on with the log after [`Log::hand_over`] when nobody took it. Waits for the disk.
    ///
    /// # Errors
    /// As [`Log::open`]. Appends go on waiting then.
    pub fn resume(&mut self) -> Result<(), Error> {
        let handed = self.handed.take().ok_or(Error::Closed)?;
        let settings = &self.settings;
        let key = SigningKey::load(&settings.keys)?;
        let shared = Shared::open(
            &settings.dir,
            Stream::Log,
            settings.segment_bytes,
            key,
            Arc::clone(&self.disk),
            WithoutCheckpoint::Refuse,
            Some(handed),
        )?;
        self.start(&shared)?;
        self.context.sink.attach(Route::Local(shared));
        Ok(())
    }

    /// From here on appends go to the process at the other end of `successor`, whose [`Log::serve`] must have been
    /// called. `part_bytes` is its [`Log::part_bytes`].
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn follow(&mut self, successor: UnixStream, part_bytes: usize) -> Result<(), Error> {
        let failed = |e: io::Error| Error::Successor { reason: e.to_string() };
        let remote = Remote::start(successor, part_bytes).map_err(failed)?;
        self.handed = None;
        self.context.sink.attach(Route::Remote(remote));
        let context = Arc::clone(&self.context);
        self.spawn("audit-keeper", move || context.slots.keep(&context.sealer))
    }

    /// Appends for the daemon at the other end of `predecessor`, until it has no more.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn serve(&mut self, predecessor: UnixStream) -> Result<(), Error> {
        let failed = |e: io::Error| Error::io("clone", &self.settings.dir, e);
        self.heirs.push(serve(Arc::clone(&self.context), predecessor).map_err(failed)?);
        Ok(())
    }

    /// Whether a predecessor is still served: this log must not be closed before it has ended.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.heirs.iter().any(|thread| !thread.is_finished())
    }

    /// Content that goes into one frame; see [`Log::follow`].
    #[must_use]
    pub fn part_bytes(&self) -> usize {
        self.context.sink.part_bytes()
    }
}
