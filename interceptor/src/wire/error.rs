//! Why a body's text could not be located.

use thiserror::Error;

use super::locate::{MAX_FIELDS, MAX_RUNS};

/// A body that cannot be read as the operation's request. Offsets count from the body's first byte; no variant
/// carries the body's bytes, so that an error can be logged and sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Not JSON (RFC 8259), or something behind it.
    #[error("malformed JSON at byte {offset}: expected {expected}")]
    Malformed {
        /// Of the first byte that does not fit.
        offset: usize,
        /// What would have fitted.
        expected: &'static str,
    },
    /// RFC 8259, 8.1: JSON is UTF-8.
    #[error("the body is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Of the first byte that does not fit.
        offset: usize,
    },
    /// Objects and arrays nested beyond the limit.
    #[error("JSON nested deeper than {limit} levels at byte {offset}")]
    TooDeep {
        /// Of the bracket that goes too far.
        offset: usize,
        /// In levels.
        limit: usize,
    },
    /// More separate texts than can be held.
    #[error("more than {} strings in one body", MAX_FIELDS)]
    TooManyFields,
    /// More escapes than can be mapped.
    #[error("more than {} escape sequences in one body", MAX_RUNS / 2)]
    TooManyEscapes,
    /// A method that has no body came with one.
    #[error("a request without a body was expected")]
    UnexpectedBody,
    /// The operation's format is not known, so nothing can be said about its text.
    #[error("the format of this operation is not known")]
    UnknownOperation,
}
