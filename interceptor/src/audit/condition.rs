//! How a log that is being written is doing, in numbers.

use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::handover::Route;
use super::log::Context;
use crate::flow::Histogram;

/// Upper bounds of what syncs take, in seconds.
const SYNC_SECONDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// Counted by the writer, under its lock.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Bytes of the frames that this process appended.
    pub(crate) bytes: u64,
    /// Frames that the newest checkpoint covers.
    pub(crate) signed: u64,
    syncs: Histogram,
    failures: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { bytes: 0, signed: 0, syncs: Histogram::new(&SYNC_SECONDS), failures: 0 }
    }
}

impl Tally {
    pub(crate) fn synced(&mut self, took: Duration, is_ok: bool) {
        self.syncs.add(took.as_secs_f64());
        self.failures += u64::from(!is_ok);
    }
}

/// How a log is doing.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Frames of the log.
    pub frames: u64,
    /// Those of them that are known to be durable.
    pub durable: u64,
    /// Those of them that a signed checkpoint covers.
    pub signed: u64,
    /// Bytes of the frames that this process appended.
    pub bytes: u64,
    /// Seconds that making frames durable took.
    pub syncs: Histogram,
    /// How often that failed.
    pub failures: u64,
    /// Whether no record can be made durable now.
    pub is_stuck: bool,
}

/// A handle on a log for asking [how it is doing](Condition), and what of it would survive.
#[derive(Clone)]
pub struct Probe {
    context: Arc<Context>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

impl Probe {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Waits until all that was appended so far survives a loss of power.
    ///
    /// # Errors
    /// When that cannot be had, also because another process writes the log now.
    pub async fn settled(&self) -> Result<(), Error> {
        let Route::Local(shared) = self.context.sink.route() else { return Err(Error::Closed) };
        shared.settled()?.await.unwrap_or(Err(Error::Closed))
    }

    /// As of now; none when another process writes the log.
    #[must_use]
    pub fn condition(&self) -> Option<Condition> {
        let Route::Local(shared) = self.context.sink.route() else { return None };
        let state = shared.lock();
        let Tally { bytes, signed, syncs, failures } = state.tally.clone();
        Some(Condition {
            frames: state.extent.frames,
            durable: state.durable.frames,
            signed,
            bytes,
            syncs,
            failures,
            is_stuck: state.poison.is_some() || state.shortage.is_some(),
        })
    }
}
