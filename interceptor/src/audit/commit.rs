//! Group commit: one thread makes everything appended so far durable, then tells all who wait for it.

use std::fs::File;
use std::mem;
use std::sync::MutexGuard;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Error;
use super::segment::Segment;
use super::writer::{Retired, Shared, State, Ticket};

/// How long frames nobody waits for may stay undurable.
const INTERVAL: Duration = Duration::from_secs(1);

impl Shared {
    /// Resolves when all that was appended so far is durable, or cannot be.
    pub(crate) fn settled(&self) -> Result<Ticket, Error> {
        let mut state = self.lock();
        if state.closing {
            return Err(Error::Closed);
        }
        Ok(self.ticket(&mut state))
    }

    /// For whoever waits until what was appended so far is durable.
    pub(crate) fn ticket(&self, state: &mut State) -> Ticket {
        let (sender, ticket) = oneshot::channel();
        state.waiters.push(sender);
        self.commit.notify_one();
        ticket
    }

    /// The commit thread: returns when the log is closed and everything is durable, or cannot be.
    pub(crate) fn commit_loop(&self) {
        // However it ends, also by a panic: nobody may wait for it any more.
        let _end = OnDrop(|| {
            let mut state = self.lock();
            state.closing = true;
            let error = state.poison.clone().map_or(Error::Closed, |reason| Error::Poisoned { reason });
            for waiter in mem::take(&mut state.waiters) {
                let _ = waiter.send(Err(error.clone()));
            }
            drop(state);
            self.announce_room();
        });
        let mut state = self.lock();
        loop {
            state = if state.poison.is_some() {
                self.recover_or_wait(state)
            } else if !state.waiters.is_empty() || is_overdue(&state) || (state.closing && state.dirty_since.is_some())
            {
                self.round(state)
            } else if state.closing {
                return;
            } else {
                self.wait(state)
            };
            if state.closing && state.poison.is_some() {
                return;
            }
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let timeout = state.dirty_since.map_or(INTERVAL, |since| INTERVAL.saturating_sub(since.elapsed()));
        self.commit.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    fn recover_or_wait<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if self.try_rescue(&mut state) || state.closing { state } else { self.wait(state) }
    }

    /// Goes on in a fresh segment after a failure, if that is possible now.
    fn try_rescue(&self, state: &mut State) -> bool {
        let reason = state.poison.clone().unwrap_or_default();
        match self.rescue(state) {
            Ok(()) => {
                log::warn!("audit log: going on in a fresh segment after a failure: {reason}");
                state.poison = None;
                self.announce_room();
                true
            }
            Err(error) => {
                log::error!("audit log: {reason}; no fresh segment: {error}; requests are denied");
                let failed = Error::Poisoned { reason };
                for waiter in mem::take(&mut state.waiters) {
                    let _ = waiter.send(Err(failed.clone()));
                }
                self.announce_room();
                false
            }
        }
    }

    /// Makes durable what has been appended, without holding the lock meanwhile.
    pub(crate) fn round<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let extent = state.extent.clone();
        let waiters = mem::take(&mut state.waiters);
        let retired = mem::take(&mut state.retired);
        let directory = mem::take(&mut state.directory_dirty);
        state.dirty_since = None;
        let current = state.current.as_ref().map(|c| (Arc::clone(&c.segment), c.synced, c.tail.offset()));
        drop(state);

        let began = Instant::now();
        let result = self.sync(&retired, current.as_ref(), directory);
        let took = began.elapsed();

        let mut state = self.lock();
        state.tally.synced(took, result.is_ok());
        match &result {
            Ok(()) => {
                state.durable = extent;
                if !retired.is_empty() {
                    state.unindexed = true;
                    self.index.notify_one();
                }
                if let (Some((segment, _, offset)), Some(now)) = (&current, &mut state.current)
                    && Arc::ptr_eq(segment, &now.segment)
                {
                    now.synced = *offset;
                }
            }
            Err(error) => {
                state.poison = Some(error.to_string());
                // Older segments first, as `rescue` expects them.
                let newer = mem::replace(&mut state.retired, retired);
                state.retired.extend(newer);
                // Before anyone hears of the failure, so that the next request need not fail as well.
                self.try_rescue(&mut state);
            }
        }
        drop(state);
        for waiter in waiters {
            // Who no longer waits has gone away: its exchange is ended by its own drop.
            let _ = waiter.send(result.clone());
        }
        self.lock()
    }

    fn sync(
        &self,
        retired: &[Retired],
        current: Option<&(Arc<Segment>, usize, usize)>,
        directory: bool,
    ) -> Result<(), Error> {
        let flush = |segment: &Segment, from: usize, to: usize| {
            if from == to {
                return Ok(());
            }
            self.disk.flush(&segment.mapping, from..to).map_err(|e| Error::io("msync", &segment.path, e))?;
            // ext4 that turned read-only meanwhile may have written the pages and not that they are in use: msync then
            // returns without an error, and after the next mount there are zeros.
            self.disk.writable(&segment.file).map_err(|e| Error::io("msync", &segment.path, e))
        };
        for full in retired {
            flush(&full.segment, full.from, full.used)?;
            full.segment.cut(&*self.disk, full.used)?;
        }
        if let Some((segment, from, to)) = current {
            flush(segment, *from, *to)?;
        }
        if directory {
            self.sync_directory()?;
        }
        Ok(())
    }

    pub(crate) fn sync_directory(&self) -> Result<(), Error> {
        let dir = File::open(&self.dir).map_err(|e| Error::io("open", &self.dir, e))?;
        self.disk.sync(&dir).map_err(|e| Error::io("fsync", &self.dir, e))
    }
}

/// Runs something when it goes out of scope, however that happens.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn is_overdue(state: &State) -> bool {
    state.dirty_since.is_some_and(|since: Instant| since.elapsed() >= INTERVAL)
}
