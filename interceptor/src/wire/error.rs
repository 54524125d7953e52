//! Why a body's text could not be located.

use thiserror::Error;

use super::multipart::{MAX_HEAD, MAX_PARTS};
use super::walk::{MAX_FIELDS, MAX_RUNS};

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
    /// An upload in another format than its operation takes.
    #[error("this operation takes multipart/form-data; the Content-Type must say so and name the boundary")]
    NotForm,
    /// RFC 2046, 5.1.1: a boundary is 1 to 70 characters of few kinds.
    #[error("the boundary in the Content-Type is not a boundary")]
    Boundary,
    /// RFC 7578 and RFC 2046, 5.1: not such a form, or one that two readers could take differently.
    #[error("malformed multipart/form-data at byte {offset}: expected {expected}")]
    Form {
        /// Of the first byte that does not fit.
        offset: usize,
        /// What would have fitted.
        expected: &'static str,
    },
    /// More parts than anybody sends.
    #[error("more than {} parts in one form", MAX_PARTS)]
    TooManyParts,
    /// The header of a part is too long.
    #[error("more than {} bytes of header on the part at byte {offset}", MAX_HEAD)]
    PartHeadTooLarge {
        /// Of the part.
        offset: usize,
    },
    /// The operation's format is not known, so nothing can be said about its text.
    #[error("the format of this operation is not known")]
    UnknownOperation,
}

impl Error {
    /// The same, found in a piece of the body that begins at `base`.
    pub(super) fn further(self, base: usize) -> Self {
        match self {
            Self::Malformed { offset, expected } => Self::Malformed { offset: offset + base, expected },
            Self::NotUtf8 { offset } => Self::NotUtf8 { offset: offset + base },
            Self::TooDeep { offset, limit } => Self::TooDeep { offset: offset + base, limit },
            other => other,
        }
    }
}
