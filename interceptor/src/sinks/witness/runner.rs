//! The thread of one witness.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::super::backoff::{Backoff, Pace};
use super::super::thread::{self, Stop, stopping};
use super::Witness;
use super::settings::WitnessSettings;
use super::status::Shared;
use crate::audit::ReadError;

/// Why a checkpoint was not witnessed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwitnessed {
    /// The witness is not to be had now, or does not take it for a reason that is no evidence.
    #[error("{why}")]
    Later { why: String, after: Option<Duration> },
    /// What the witness has seen is not how the log begins.
    #[error("{0}; if nobody has restored the log from a backup, somebody has changed it: docs/log.md says what to do")]
    Contradiction(String),
}

impl Unwitnessed {
    pub(super) fn later(why: impl std::fmt::Display) -> Self {
        Self::Later { why: why.to_string(), after: None }
    }
}

impl From<ReadError> for Unwitnessed {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Shorter { size, old } => Self::Contradiction(format!(
                "it has seen {old} leaves of this log, which has {size} now: records were removed"
            )),
            ReadError::Unprovable => Self::Contradiction(error.to_string()),
            other => Self::later(other),
        }
    }
}

pub(super) struct Runner {
    settings: WitnessSettings,
    witness: Witness,
    shared: Arc<Shared>,
    backoff: Backoff,
    error: Option<String>,
}

impl Runner {
    pub(super) fn new(settings: WitnessSettings, witness: Witness, pace: Pace, shared: Arc<Shared>) -> Self {
        Self { settings, witness, shared, backoff: Backoff::new(pace), error: None }
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self, stop: Stop) {
        thread::run(&format!("witness {}", self.settings.name), stop, async |stop| self.work(stop).await);
    }

    /// One checkpoint after the other; when the daemon ends, the last.
    async fn work(&mut self, mut stop: Stop) {
        if let Some(size) = self.witness.size() {
            self.shared.has(size);
        }
        loop {
            let is_last = stop.borrow().is_some();
            let wait = match self.witness.show().await {
                Ok(size) => {
                    self.well(size);
                    self.settings.every
                }
                Err(error) => self.failed(&error),
            };
            if is_last {
                return;
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = stopping(&mut stop) => {}
            }
        }
    }

    fn well(&mut self, size: Option<u64>) {
        if let Some(size) = size {
            self.shared.given(size);
        }
        if self.error.take().is_some() {
            log::info!("witness {}: goes on", self.settings.name);
        }
        self.backoff.reset();
        self.shared.well();
    }

    fn failed(&mut self, error: &Unwitnessed) -> Duration {
        let why = error.to_string();
        let after = match error {
            Unwitnessed::Later { after, .. } => *after,
            Unwitnessed::Contradiction(_) => None,
        };
        let wait = self.backoff.next(after);
        if self.error.as_ref() != Some(&why) {
            let level = match error {
                Unwitnessed::Later { .. } => log::Level::Warn,
                Unwitnessed::Contradiction(_) => log::Level::Error,
            };
            log::log!(level, "witness {}: {why}", self.settings.name);
        }
        self.shared.failed(&why, matches!(error, Unwitnessed::Contradiction(_)), wait);
        self.error = Some(why);
        wait
    }
}

impl Witness {
    /// Leaves in the last checkpoint that it is known to have.
    fn size(&self) -> Option<u64> {
        match self {
            Self::Remote(remote) => remote.size(),
            Self::Directory(_) => None,
        }
    }

    /// Shows it the log's checkpoint if that is new to it. Returns the leaves in what it was given.
    async fn show(&mut self) -> Result<Option<u64>, Unwitnessed> {
        match self {
            Self::Remote(remote) => remote.show().await,
            Self::Directory(directory) => directory.show(),
        }
    }
}
