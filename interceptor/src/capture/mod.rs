//! Loads and attaches the kernel programs; looks up flow records.

mod endpoints;

pub use endpoints::{Endpoint, Endpoints};
