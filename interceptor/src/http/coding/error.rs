//! Why a coded body is refused.

use thiserror::Error;

use super::Coding;

/// A body whose Content-Encoding cannot be undone. No variant carries the body's bytes, so that an error can be logged
/// and sent back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodingError {
    /// RFC 9110, 8.4.1: a coding that is not registered, or not implemented here.
    #[error(
        "the content coding {name} is not known; send the body with gzip, deflate, br, zstd or without Content-Encoding"
    )]
    Unknown {
        /// As the client wrote it, if that is a short token.
        name: String,
    },
    /// More codings on top of one another than anybody needs.
    #[error("more than {limit} content codings on one body; one is enough")]
    TooMany {
        /// In codings.
        limit: usize,
    },
    /// The bytes are not of the coding's format, or a checksum in them does not fit.
    #[error("the body is not valid {coding}: {reason}; Content-Encoding must name what the body is")]
    Corrupt {
        /// That was being undone.
        coding: Coding,
        /// What is wrong.
        reason: &'static str,
    },
    /// A `deflate` body that has one meaning with and another without the frame of RFC 1950.
    #[error("the deflate body can be read in two ways; send it with gzip")]
    Ambiguous,
    /// The end of the body came first.
    #[error("the {coding} body is cut short")]
    Truncated {
        /// That was being undone.
        coding: Coding,
    },
    /// Bytes that belong to nothing.
    #[error("something follows the end of the {coding} body")]
    Trailing {
        /// That was undone.
        coding: Coding,
    },
    /// The window is larger than a recipient must hold (RFC 9659, 3).
    #[error("the {coding} body needs a window of more than {limit} bytes; compress it with a smaller one")]
    WindowTooLarge {
        /// That was being undone.
        coding: Coding,
        /// In bytes.
        limit: u64,
    },
    /// The body unpacks to more than the limit.
    #[error("the body unpacks to more than {limit} bytes; send less at once")]
    TooLarge {
        /// In bytes, of what any of its codings may yield.
        limit: u64,
    },
    /// The caller has no room for more of the body.
    #[error("too much is being held already; try again later")]
    NoRoom,
    /// The edited body could not be encoded again.
    #[error("the masked body could not be encoded with {coding} again; send it without Content-Encoding")]
    Encode {
        /// That was to be applied.
        coding: Coding,
    },
}

/// The longest name that is repeated to the client.
const MAX_NAME: usize = 32;

impl CodingError {
    /// `name` is repeated only if it is a token (RFC 9110, 5.6.2), and so is fit for a log.
    pub(super) fn unknown(name: &[u8]) -> Self {
        let name = std::str::from_utf8(name)
            .ok()
            .filter(|name| name.len() <= MAX_NAME && super::super::fields::is_token(name.as_bytes()));
        Self::Unknown { name: name.map_or_else(|| "(not a token)".to_owned(), |name| format!("\"{name}\"")) }
    }
}
