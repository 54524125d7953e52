//! Why the daemon cannot run.

use std::io;
use std::path::PathBuf;

use crate::{audit, capture, mask};

/// What stands in the way of a part of the daemon.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A thread cannot be started.
    #[error("cannot start the thread {name}: {source}; raise the limit of threads (TasksMax)")]
    Thread {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// A listening socket cannot be kept for a successor.
    #[error("cannot duplicate a listening socket: {0}; raise LimitNOFILE")]
    Duplicate(io::Error),
    /// The control socket cannot be made.
    #[error("cannot make the control socket {path}: {source}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The events of the kernel programs cannot be waited for.
    #[error("cannot wait for the kernel programs' events: {0}")]
    Events(io::Error),
    /// The kernel's part.
    #[error(transparent)]
    Capture(#[from] capture::Error),
    /// A worker's scanner.
    #[error(transparent)]
    Mask(#[from] mask::Error),
    /// A worker's key.
    #[error(transparent)]
    Audit(#[from] audit::Error),
}
