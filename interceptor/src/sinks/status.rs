//! How a sink is doing, for those who ask.

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
    /// Frames of the log, as far as it is signed, that the sink has not looked at.
    pub behind: u64,
    /// Of those, what the receiver refused for good: their ids are in `sinks/NAME.undeliverable` in the state directory.
    pub undeliverable: u64,
    /// Why the last attempt failed; none when it did not.
    pub error: Option<String>,
    /// When the next attempt is made; RFC 3339, UTC.
    pub retry_at: Option<String>,
}

/// What the sink's thread writes and others read.
#[derive(Debug)]
pub(super) struct Shared(Mutex<SinkStatus>);

impl Shared {
    pub(super) fn new(settings: &Settings, to: String) -> Self {
        Self(Mutex::new(SinkStatus { name: settings.name.clone(), to, ..SinkStatus::default() }))
    }

    pub(super) fn status(&self) -> SinkStatus {
        self.lock().clone()
    }

    pub(super) fn name(&self) -> String {
        self.lock().name.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SinkStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failed(&self, why: &str, wait: std::time::Duration) {
        let at = Time::now().unix_ns().saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let mut status = self.lock();
        status.error = Some(why.to_owned());
        status.retry_at = Some(Time::from_unix_ns(at).to_string());
    }

    pub(super) fn well(&self) {
        let mut status = self.lock();
        status.error = None;
        status.retry_at = None;
    }
}
