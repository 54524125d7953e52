//! What a daemon does beside the connections: its workers and their listeners in every network namespace, the heartbeat
//! that the kernel programs watch, the self-test, and the control socket.
//!
//! Everything here runs on the main thread's runtime, except the heartbeat: that has a thread of its own, so that it
//! says nothing about the main thread and everything about the workers.

mod canary;
pub mod control;
mod error;
pub mod handover;
mod health;
mod heart;
mod namespaces;
mod notices;
mod occupied;
mod status;
mod supervisor;
mod workers;

pub use error::Error;
pub use heart::Heart;
pub use status::{
    Canary, Concern, Endpoints, FailedUpgrade, Gauge, NamespaceCount, Reason, SelfTest, State, Status, WorkerSign,
};
pub use supervisor::{Asks, CallerFacts, Facts, Settings, Supervisor, Task, control_socket};
pub use workers::{Open, Workers};
