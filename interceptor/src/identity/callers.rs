//! Naming callers without waiting for long: by all that can be known, or else by what the kernel saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::pool::Pool;
use super::{Caller, Resolver};
use crate::capture::Flow;

/// How long a connection may wait for its caller's name.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long the self-test waits for its turn.
const TEST_PATIENCE: Duration = Duration::from_secs(1);

/// How often callers that were not named in time are logged, in seconds.
const LOG_EVERY: u64 = 60;

/// Names the callers of flows, on threads of its own. One for all workers.
#[derive(Clone, Debug)]
pub struct Callers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    resolver: Arc<Resolver>,
    pool: Pool,
    unnamed: AtomicU64,
    begun: Instant,
    /// Second, after `begun`, from which on one more is logged.
    log_from: AtomicU64,
}

impl Callers {
    /// With threads made when they are needed.
    #[must_use]
    pub fn new(resolver: Resolver) -> Self {
        let (unnamed, log_from) = (AtomicU64::new(0), AtomicU64::new(0));
        let inner =
            Inner { resolver: Arc::new(resolver), pool: Pool::default(), unnamed, begun: Instant::now(), log_from };
        Self(Arc::new(inner))
    }

    /// The caller of `flow`, in a quarter of a second at most: what could not be found out by then is missing, and only
    /// what the kernel's snapshot says is there. To be called inside a runtime with timers.
    pub async fn name(&self, flow: &Flow) -> Caller {
        let (resolver, asked) = (Arc::clone(&self.0.resolver), flow.clone());
        self.or_by_snapshot(flow, move || resolver.resolve(&asked)).await
    }

    /// Whether callers are named: waits for a thread as a caller of this user would.
    pub async fn are_named(&self, uid: u32) -> bool {
        self.0.pool.run(uid, TEST_PATIENCE, || ()).await.is_some()
    }

    /// Callers so far that were not named in time.
    #[must_use]
    pub fn unnamed(&self) -> u64 {
        self.0.unnamed.load(Ordering::Relaxed)
    }

    /// Callers so far that are alive and that `/proc` did not show.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.0.resolver.unreadable()
    }

    /// Threads that are kept waiting now, by a file, a process or the user database.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.0.pool.stuck()
    }

    async fn or_by_snapshot(&self, flow: &Flow, resolve: impl FnOnce() -> Caller + Send + 'static) -> Caller {
        match self.0.pool.run(flow.uid, PATIENCE, resolve).await {
            Some(caller) => caller,
            None => {
                self.note(flow);
                self.0.resolver.by_snapshot(flow)
            }
        }
    }

    fn note(&self, flow: &Flow) {
        let unnamed = self.0.unnamed.fetch_add(1, Ordering::Relaxed) + 1;
        let (now, from) = (self.0.begun.elapsed().as_secs(), self.0.log_from.load(Ordering::Relaxed));
        let next = now + LOG_EVERY;
        if now >= from && self.0.log_from.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            log::warn!(
                "process {} of uid {} could not be looked at in time: it is known by the kernel's snapshot alone, \
                 as {unnamed} callers so far; its files or the user database do not answer, or it opens too many \
                 connections at once",
                flow.tgid,
                flow.uid,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::tests::{flow, snapshot};
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_caller_whose_file_hangs_is_named_by_the_snapshot_and_the_next_user_in_full() {
        block_on(async {
            let callers = Callers::new(Resolver::new());
            let (hold, held) = channel::<()>();
            let hung = Flow { uid: 1000, ..flow(Some(snapshot())) };
            let unnamed = callers.or_by_snapshot(&hung, move || {
                let _ = held.recv();
                Resolver::new().by_snapshot(&flow(None))
            });
            let caller = unnamed.await;
            assert_eq!((caller.uid, caller.exe.as_deref()), (1000, Some("/opt/agent".as_ref())));
            assert_eq!((caller.exe_sha256, callers.unnamed()), (None, 1));
            let other = callers.name(&Flow { connected_at: crate::capture::BootTime::now(), ..flow(None) }).await;
            assert_eq!(other.exe, std::env::current_exe().ok());
            assert!(callers.are_named(0).await && callers.unnamed() == 1);
            // Hung until here.
            drop(hold);
        });
    }
}
