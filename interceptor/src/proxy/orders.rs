//! What a worker is told while it runs, and the sign of life it gives.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::capture::{BootTime, Heartbeat, Listening};

/// What a worker is to do.
#[derive(Debug)]
pub enum Order {
    /// Accept from these sockets. What arrives there was redirected to this listener.
    Listen {
        /// The listener, as announced to the kernel programs.
        listening: Listening,
        /// Its sockets that are this worker's own.
        sockets: Vec<TcpListener>,
    },
    /// Accept no more for this listener, and close its sockets. Connections that were accepted go on.
    Close(Listening),
}

/// When a worker was last seen to run: written by a timer of its own ring, so that a worker that is stuck in a
/// computation or a system call gives none.
#[derive(Debug)]
pub struct Pulse {
    name: String,
    last: AtomicU64,
}

impl Pulse {
    /// Of the worker `name`, which counts as alive now.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self { name, last: AtomicU64::new(BootTime::now().as_nanos()) }
    }

    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The last sign of life.
    #[must_use]
    pub fn last(&self) -> BootTime {
        BootTime::from_nanos(self.last.load(Ordering::Relaxed))
    }

    /// Time since the last sign of life.
    #[must_use]
    pub fn age(&self, now: BootTime) -> Duration {
        now.since_boot().saturating_sub(self.last().since_boot())
    }

    /// Gives signs of life as long as it is polled.
    pub(super) async fn keep(&self) -> ! {
        let mut timer = tokio::time::interval(Heartbeat::EVERY);
        loop {
            timer.tick().await;
            self.last.store(BootTime::now().as_nanos(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sys::{Transport, run_worker};

    #[test]
    fn a_blocked_thread_gives_no_sign_of_life() {
        for transport in [Transport::IoUring, Transport::Epoll] {
            let pulse = Arc::new(Pulse::new("worker-0".to_owned()));
            let kept = Arc::clone(&pulse);
            run_worker(transport, async move {
                let keeping = tokio::task::spawn_local({
                    let kept = Arc::clone(&kept);
                    async move { kept.keep().await }
                });
                let first = kept.last();
                tokio::time::sleep(Heartbeat::EVERY * 2).await;
                let second = kept.last();
                assert!(second > first, "{transport}: it runs");
                std::thread::sleep(Heartbeat::EVERY * 2);
                assert_eq!(kept.last(), second, "{transport}: nothing else writes it");
                keeping.abort();
            })
            .unwrap();
            assert!(pulse.age(BootTime::now()) >= Heartbeat::EVERY);
        }
    }
}
