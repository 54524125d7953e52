//! How a witness is doing, for those who ask.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::WitnessSettings;
use crate::audit::Time;

/// How one witness is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is.
    pub to: String,
    /// Leaves of the log in the last checkpoint that it has; none before the first.
    pub size: Option<u64>,
    /// When it was given that; RFC 3339, UTC. None when that was before this daemon's start.
    pub at: Option<String>,
    /// Why the last attempt failed; none when it did not.
    pub error: Option<String>,
    /// Whether that is because what it has seen is not how the log begins.
    #[serde(default)]
    pub contradicts: bool,
    /// When the next attempt is made; RFC 3339, UTC.
    pub retry_at: Option<String>,
}

/// What the witness's thread writes and others read.
#[derive(Debug)]
pub(super) struct Shared(Mutex<WitnessStatus>);

impl Shared {
    pub(super) fn new(settings: &WitnessSettings, to: String) -> Self {
        Self(Mutex::new(WitnessStatus { name: settings.name.clone(), to, ..WitnessStatus::default() }))
    }

    pub(super) fn status(&self) -> WitnessStatus {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, WitnessStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has(&self, size: u64) {
        self.lock().size = Some(size);
    }

    pub(super) fn given(&self, size: u64) {
        let mut status = self.lock();
        (status.size, status.at) = (Some(size), Some(Time::now().to_string()));
    }

    pub(super) fn failed(&self, why: &str, contradicts: bool, wait: Duration) {
        let at = Time::now().unix_ns().saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let mut status = self.lock();
        (status.error, status.retry_at) = (Some(why.to_owned()), Some(Time::from_unix_ns(at).to_string()));
        status.contradicts = contradicts;
    }

    pub(super) fn well(&self) {
        let mut status = self.lock();
        (status.error, status.contradicts, status.retry_at) = (None, false, None);
    }
}
