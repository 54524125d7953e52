//! Coming to an end: connections are told, counted, and cut off when there is no more time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

/// How far the end of this process has come. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not at all.
    Serving,
    /// A successor accepts. What runs goes on; the next response of each connection says that it is the last one.
    Draining,
    /// Nobody accepts. What runs goes on; connections between two requests are closed.
    Stopping,
    /// Whatever runs is cut off.
    Over,
}

/// The connections of all workers, and what they are told about the end.
#[derive(Debug)]
pub struct Drain {
    phase: watch::Sender<Phase>,
    open: AtomicUsize,
    /// Wakes those who wait for the last connection.
    last: Notify,
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Guard(Arc<Drain>);

impl Drain {
    /// Of a process that serves.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { phase: watch::Sender::new(Phase::Serving), open: AtomicUsize::new(0), last: Notify::new() })
    }

    /// Goes on to `phase`, if it is not there already.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|present| std::mem::replace(present, phase.max(*present)) < phase);
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Waits until none is open. The workers must have stopped accepting.
    pub async fn emptied(&self) {
        loop {
            let mut last = std::pin::pin!(self.last.notified());
            // Before looking: an end between looking and waiting is not missed.
            last.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            last.await;
        }
    }

    /// Whether a connection may be kept for another request.
    pub(super) fn is_serving(&self) -> bool {
        *self.phase.borrow() == Phase::Serving
    }

    /// Waits for `phase` or what comes after it.
    pub(super) async fn reaches(&self, phase: Phase) {
        // The sender is here: it cannot be gone.
        let _ = self.phase.subscribe().wait_for(|present| *present >= phase).await;
    }

    /// Counts a connection as long as this lives.
    pub(super) fn guard(self: &Arc<Self>) -> Guard {
        self.open.fetch_add(1, Ordering::Relaxed);
        Guard(Arc::clone(self))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.last.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn it_is_empty_when_the_last_connection_has_ended() {
        let drain = Drain::new();
        let guards = [drain.guard(), drain.guard()];
        assert_eq!(drain.open(), 2);
        run(async {
            tokio::join!(drain.emptied(), async {
                for guard in guards {
                    tokio::task::yield_now().await;
                    drop(guard);
                }
            });
        });
        assert_eq!(drain.open(), 0);
        run(drain.emptied());
    }

    #[test]
    fn the_end_never_goes_back() {
        let drain = Drain::new();
        drain.enter(Phase::Stopping);
        drain.enter(Phase::Draining);
        assert!(!drain.is_serving());
        run(async {
            drain.reaches(Phase::Draining).await;
            drain.reaches(Phase::Stopping).await;
        });
    }
}
