//! Where things are and how the daemon is set up: files and flags in, each stage's settings out.

mod paths;

pub use paths::{STATE_ENV, StatePaths};
