//! How a sink is doing, for those who ask.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::settings::Settings;
use crate::audit::Time;

/// How one sink is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Where it sends to, and how.
    pub to: String,
    /// Records, alerts and other notes that the receiver has taken, since the sink's first start.
    pub delivered: u64,
    /// Frame of the log up to which the receiver has taken everything.
    pub sequence: Option<u64>,
    /// Frames of the log, as far as it is signed, behind those that the receiver has taken everything of.
    pub behind: u64,
    /// Frames of the log that were not found: it is damaged.
    #[serde(default)]
    pub missing: u64,
    /// Of those, what the receiver refused for good: their ids are in `sinks/NAME.undeliverable` in the state directory.
    pub undeliverable: u64,
    /// The same, since this start of the daemon.
    #[serde(default)]
    pub refused: u64,
    /// Why the last attempt failed; none when it did not.
    pub error: Option<String>,
    /// Since when no attempt has succeeded; RFC 3339, UTC.
    #[serde(default)]
    pub failing_since: Option<String>,
    /// When the next attempt is made; RFC 3339, UTC.
    pub retry_at: Option<String>,
}

/// What the sink's thread writes and others read.
#[derive(Debug)]
pub(super) struct Shared {
    status: Mutex<SinkStatus>,
    /// Everything before this frame was taken, or is nothing to send.
    reached: AtomicU64,
}

impl Shared {
    pub(super) fn new(settings: &Settings, to: String) -> Self {
        let status = SinkStatus { name: settings.name.clone(), to, ..SinkStatus::default() };
        Self { status: Mutex::new(status), reached: AtomicU64::new(0) }
    }

    /// As it is while a checkpoint covers `frames` of the log.
    pub(super) fn status(&self, frames: u64) -> SinkStatus {
        let behind = frames.saturating_sub(self.reached.load(Ordering::Relaxed));
        SinkStatus { behind, ..self.lock().clone() }
    }

    pub(super) fn reached(&self, frame: u64) {
        self.reached.store(frame, Ordering::Relaxed);
    }

    pub(super) fn name(&self) -> String {
        self.lock().name.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SinkStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failed(&self, why: &str, wait: std::time::Duration) {
        let now = Time::now();
        let at = now.unix_ns().saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let mut status = self.lock();
        status.error = Some(why.to_owned());
        status.failing_since.get_or_insert_with(|| now.to_string());
        status.retry_at = Some(Time::from_unix_ns(at).to_string());
    }

    pub(super) fn well(&self) {
        let mut status = self.lock();
        status.error = None;
        status.failing_since = None;
        status.retry_at = None;
    }
}
