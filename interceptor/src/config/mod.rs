//! Where things are and how the daemon is set up: files and flags in, each stage's settings out.

mod file;
mod limits;
mod paths;
mod retention;
mod rules;

pub use file::{Audit, Capture, Config, DEFAULT_FILE, Error, Listen, Stop, Upgrade};
pub use limits::{Limits, Upstream};
pub use paths::{STATE_ENV, StatePaths};
pub use retention::{Age, Retention};
pub use rules::{DictionaryFile, Rules};
