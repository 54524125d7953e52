//! What a daemon does beside the connections.

mod error;
pub mod handover;
mod heart;
mod workers;

pub use error::Error;
pub use heart::Heart;
pub use workers::{Open, Workers};
