//! The transport: one stream type that tokio-rustls can drive, over io_uring or over epoll, and what the process owes
//! the secrets it holds.
//!
//! Only reads and writes of connected sockets go through the ring. Accepting and connecting wait for readiness
//! instead: an abandoned accept in a ring can complete into a descriptor that nobody owns, and an abandoned connect
//! holds its socket for as long as the kernel retries, while a readiness wait is dropped without a trace.

mod connect;
mod harden;
mod listen;
mod nice;
mod pass;
mod peer;
mod ring;
mod secret_file;
pub mod service;
mod stream;
#[cfg(test)]
mod tests;
mod transport;
mod unacknowledged;
mod worker;

pub use connect::{connect, connect_from};
pub use harden::{HardenError, MemoryLock, descriptors, harden};
pub use listen::Listener;
pub use nice::yield_to_others;
pub use pass::Passage;
pub use peer::peer_groups;
pub use secret_file::{
    SecretFileError, create_secret_file, read_private_file, read_secret_file, secret_dir, sync_parent,
};
pub use stream::{Closer, Stream};
pub use transport::{Chosen, RingError, TransportSetting};
pub use unacknowledged::unacknowledged;
pub use worker::{Transport, run_worker, spawn_worker};
