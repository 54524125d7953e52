//! What the two directions of a session share: its state, its clock, and what one has to tell the other.

use std::cell::{Cell, RefCell};
use std::io;

use tokio::io::AsyncRead;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Cause, Count, Ended, Settings};
use crate::http::Reader;
use crate::http::websocket::{Close, Error, Failure, Farewell, Peer, Session};

/// Why one direction came to its end.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    /// Its sender said goodbye.
    Closed,
    /// Its sender's connection ended, or went silent.
    Ended,
    /// It was told to.
    Told,
    /// The session cannot go on.
    Failed(Failure),
    /// The connection of one side broke.
    Broken { of: Peer, reason: String },
}

impl Stop {
    pub(super) fn broken_by(of: Peer, error: &io::Error) -> Self {
        Self::Broken { of, reason: error.to_string() }
    }

    pub(super) fn internal(reason: impl Into<String>) -> Self {
        Self::Failed(Failure::Internal(reason.into()))
    }

    pub(super) fn violation(by: Peer, error: Error) -> Self {
        Self::Failed(Failure::Violation { by, error })
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    pub(super) fn broken(&self) -> Option<(Peer, &str)> {
        match self {
            Self::Broken { of, reason } => Some((*of, reason)),
            _ => None,
        }
    }
}

/// How long a direction goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// As long as its sender likes.
    Open,
    /// As long as its sender is not silent: the other side has said goodbye.
    Closing,
    /// To the end of its frame.
    Stopping,
}

/// One direction, by its sender.
#[derive(Debug)]
struct Line {
    mode: Cell<Mode>,
    changed: Notify,
    count: Cell<Count>,
}

/// Both directions of one session.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) settings: Settings,
    session: RefCell<Session>,
    client: Line,
    endpoint: Line,
    /// When either side has last said something.
    heard: Cell<Instant>,
    /// What the client was sent ends with a frame.
    pub(super) at_boundary: Cell<bool>,
}

impl Lines {
    pub(super) fn new(settings: Settings) -> Self {
        let line = || Line { mode: Cell::new(Mode::Open), changed: Notify::new(), count: Cell::default() };
        let (session, heard) = (RefCell::default(), Cell::new(Instant::now()));
        Self { settings, session, client: line(), endpoint: line(), heard, at_boundary: Cell::new(true) }
    }

    /// Tells the direction of `sender` how the other one has ended.
    pub(super) fn tell(&self, sender: Peer, stop: &Stop) {
        match stop {
            Stop::Closed | Stop::Ended => self.line(sender).change(Mode::Closing),
            Stop::Failed(_) | Stop::Broken { .. } => self.line(sender).change(Mode::Stopping),
            Stop::Told => {}
        }
    }

    /// Tells both to end.
    pub(super) fn stop(&self) {
        self.client.change(Mode::Stopping);
        self.endpoint.change(Mode::Stopping);
    }

    /// Whether the direction of `sender` was told to end.
    pub(super) fn is_stopping(&self, sender: Peer) -> bool {
        self.line(sender).mode.get() == Mode::Stopping
    }

    /// Returns when the direction of `sender` is told to end.
    pub(super) async fn stopped(&self, sender: Peer) {
        while !self.is_stopping(sender) {
            self.line(sender).changed.notified().await;
        }
    }

    /// Reads once from `sender`, or finds out why there is nothing more to read. A direction that is told to end may go on
    /// where it stands `within_frame`.
    pub(super) async fn fill(
        &self,
        sender: Peer,
        reader: &mut Reader,
        stream: &mut (impl AsyncRead + Unpin),
        within_frame: bool,
    ) -> Result<(), Stop> {
        let asked = Instant::now();
        loop {
            let mode = self.line(sender).mode.get();
            if mode == Mode::Stopping && !within_frame {
                return Err(Stop::Told);
            }
            let deadline = match mode {
                Mode::Open => self.idle_at(),
                Mode::Closing | Mode::Stopping => Some(asked + self.settings.closing),
            };
            let over = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                read = reader.fill(stream) => return self.read(sender, read),
                () = self.line(sender).changed.notified() => {}
                () = over => match mode {
                    // The other side has said something meanwhile.
                    Mode::Open if self.idle_at() > deadline => {}
                    Mode::Open => return Err(Stop::Failed(Failure::Idle)),
                    Mode::Closing => return Err(Stop::Ended),
                    Mode::Stopping => return Err(Stop::Told),
                },
            }
        }
    }

    /// When the session will have been idle for too long, if nobody says anything before.
    fn idle_at(&self) -> Option<Instant> {
        self.settings.idle.map(|idle| self.heard.get() + idle)
    }

    fn read(&self, sender: Peer, read: io::Result<usize>) -> Result<(), Stop> {
        match read {
            Ok(0) => Err(Stop::Ended),
            Ok(_) => {
                self.heard.set(Instant::now());
                Ok(())
            }
            Err(error) => Err(Stop::broken_by(sender, &error)),
        }
    }

    /// `bytes` of `sender` were passed on, and with them the ends of `messages`.
    pub(super) fn passed(&self, sender: Peer, messages: u64, bytes: usize) {
        let Count { messages: before, bytes: bytes_before } = self.line(sender).count.get();
        let count = Count { messages: before + messages, bytes: bytes_before + bytes as u64 };
        self.line(sender).count.set(count);
    }

    /// The close frame of `by` was passed on.
    pub(super) fn closed(&self, by: Peer, close: Close) {
        self.session.borrow_mut().closed(by, close);
    }

    /// What is left to say.
    pub(super) fn farewell(&self, failure: &Failure) -> Farewell {
        // Without randomness there is no way to say goodbye to the endpoint; a constant key breaks nothing here, because
        // nobody chose what the frame says.
        self.session.borrow().failed(failure, super::up::key().unwrap_or_default())
    }

    pub(super) fn ended(&self, cause: Cause) -> Ended {
        let session = self.session.borrow();
        Ended {
            cause,
            client: session.close_of(Peer::Client).cloned(),
            endpoint: session.close_of(Peer::Endpoint).cloned(),
            sent: self.client.count.get(),
            received: self.endpoint.count.get(),
        }
    }

    fn line(&self, sender: Peer) -> &Line {
        match sender {
            Peer::Client => &self.client,
            Peer::Endpoint => &self.endpoint,
        }
    }
}

impl Line {
    /// Only ever towards the end.
    fn change(&self, mode: Mode) {
        if mode == Mode::Stopping || self.mode.get() == Mode::Open {
            self.mode.set(mode);
        }
        self.changed.notify_one();
    }
}
