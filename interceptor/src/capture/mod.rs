//! Loads and attaches the kernel programs; looks up flow records.

mod catalogue;

pub use catalogue::{Catalogue, Endpoint};
