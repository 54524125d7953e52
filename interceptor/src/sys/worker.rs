//! A thread per core: each worker runs everything of its connections on its own thread and ring.

use std::fmt;
use std::future::Future;
use std::io;
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;

/// Entries of a worker's submission queue; the completion queue is twice as long.
const RING_ENTRIES: u32 = 1024;

/// How a worker waits for its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Operations on a ring (`tokio-uring`).
    IoUring,
    /// Readiness (`tokio`): for hosts where a container's seccomp profile or `kernel.io_uring_disabled` blocks rings.
    Epoll,
}

impl Transport {
    /// The name used in configuration and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IoUring => "io-uring",
            Self::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Runs `future` on the current thread with timers, sockets and [`tokio::task::spawn_local`]. Tasks still running when
/// it ends are dropped.
///
/// # Errors
/// When the ring or the epoll instance cannot be made.
///
/// # Panics
/// Inside another runtime, and when `future` panics.
pub fn run_worker<F: Future>(transport: Transport, future: F) -> io::Result<F::Output> {
    match transport {
        Transport::IoUring => {
            let runtime = tokio_uring::Runtime::new(tokio_uring::builder().entries(RING_ENTRIES))?;
            Ok(runtime.block_on(future))
        }
        Transport::Epoll => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(LocalSet::new().block_on(&runtime, future))
        }
    }
}

/// Starts a worker on a thread called `name`; `make` builds its future there, where it may hold what is not [`Send`].
///
/// # Errors
/// When the thread cannot be started. The thread ends with the errors of [`run_worker`].
pub fn spawn_worker<M, F>(name: String, transport: Transport, make: M) -> io::Result<JoinHandle<io::Result<F::Output>>>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future,
    F::Output: Send + 'static,
{
    std::thread::Builder::new().name(name).spawn(move || run_worker(transport, async move { make().await }))
}
