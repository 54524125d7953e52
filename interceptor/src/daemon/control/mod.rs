//! The control socket: one JSON document a line, a request and its answer on each connection.
//!
//! ```text
//! {"verb":"status","check":true}
//! {"answer":"status", ...}                 or {"answer":"refused","why":"..."}
//! ```

mod client;
mod server;

use serde::{Deserialize, Serialize};

pub use client::{AskError, ask};
pub use server::{Asked, Server};

use super::Status;

/// Name of the socket below the state's `run` directory.
pub const SOCKET: &str = "control.sock";

/// The group whose members may look at the daemon's state.
pub const GROUP: &str = "interceptor";

/// The longest request, in bytes.
const MAX_REQUEST: u64 = 4 << 10;

/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 4 << 20;

/// What can be asked of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How it is.
    Status {
        /// After a self-test made now, rather than with the last one's result.
        #[serde(default)]
        check: bool,
    },
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Root, and members of [`GROUP`].
    Reader,
}

impl Request {
    fn role(&self) -> Role {
        match self {
            Self::Status { .. } => Role::Reader,
        }
    }
}

/// What the daemon says to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// No.
    Refused {
        /// Why not.
        why: String,
    },
}
