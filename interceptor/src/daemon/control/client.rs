//! The side of `interceptor status` and its like.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{Answer, MAX_ANSWER, Request};

/// How long the daemon may take; a self-test has seconds of patience itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no socket, or nobody behind it.
    #[error("no daemon runs")]
    NotRunning,
    /// Not for this user.
    #[error("only root and members of the group {} may ask the daemon", super::GROUP)]
    Denied,
    /// Stopped or stuck.
    #[error("the daemon does not answer")]
    Silent,
    /// Something else answered, or another version.
    #[error("cannot understand the daemon: {0}")]
    Garbled(String),
    /// What the system said.
    #[error("cannot ask the daemon: {0}")]
    Io(io::Error),
}

/// Asks the daemon behind `socket`.
///
/// # Errors
/// See [`AskError`].
pub fn ask(socket: &Path, request: &Request) -> Result<Answer, AskError> {
    let mut stream = UnixStream::connect(socket).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning,
        io::ErrorKind::PermissionDenied => AskError::Denied,
        // A full backlog: it does not accept.
        io::ErrorKind::WouldBlock => AskError::Silent,
        _ => AskError::Io(e),
    })?;
    let silent = |e: io::Error| match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Silent,
        _ => AskError::Io(e),
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(AskError::Io)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(AskError::Io)?;
    let mut line = serde_json::to_string(request).expect("a request is plain data");
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(silent)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_line(&mut answer).map_err(silent)?;
    if answer.is_empty() {
        return Err(AskError::Garbled("it closed the connection".to_owned()));
    }
    serde_json::from_str(&answer).map_err(|e| AskError::Garbled(e.to_string()))
}
