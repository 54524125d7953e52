//! Why a handshake or a session is refused.

use thiserror::Error;

/// A deviation of one peer. No variant carries the peer's bytes, so that an error can be logged and sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// RFC 6455, 5.2: a reserved bit that no negotiated extension gives a meaning.
    #[error("a reserved bit is set that no extension was negotiated for")]
    ReservedBit,
    /// RFC 7692, 6: the bit of compression on a control frame or a continuation.
    #[error("the bit of compression on a frame that does not begin a message")]
    CompressionBit,
    /// RFC 6455, 5.2: opcodes 3 to 7 and 11 to 15.
    #[error("the opcode {0} is reserved")]
    Opcode(u8),
    /// RFC 6455, 5.1: a frame of the client that is not masked.
    #[error("a frame of the client is not masked")]
    Unmasked,
    /// RFC 6455, 5.1: a frame of the endpoint that is masked.
    #[error("a frame of the endpoint is masked")]
    Masked,
    /// RFC 6455, 5.5: a control frame in fragments.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// RFC 6455, 5.5: a control frame with more than 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// RFC 6455, 5.2: a length in more bytes than it needs.
    #[error("a length is not written in as few bytes as it needs")]
    LengthNotMinimal,
    /// RFC 6455, 5.2: a length with its highest bit set.
    #[error("a length does not fit 63 bits")]
    Length,
    /// RFC 6455, 5.4: a continuation of nothing.
    #[error("a continuation frame, but no message has begun")]
    NothingToContinue,
    /// RFC 6455, 5.4: a new message within another.
    #[error("a message begins before the last one has ended")]
    Interrupted,
    /// RFC 6455, 8.1: text, or the reason of a close frame, that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// RFC 6455, 5.5.1: a close frame with one byte.
    #[error("a close frame with half of a status code")]
    CloseLength,
    /// RFC 6455, 7.4: a status code that may not be sent.
    #[error("a close frame with the status code {0}, which may not be sent")]
    CloseCode(u16),
    /// RFC 7692, 7.2.2: what is marked as compressed cannot be inflated.
    #[error("compressed content cannot be inflated")]
    Inflate,
    /// RFC 7692, 7.2.3.4: bytes behind a final block. Some readers overlook them, and some do not.
    #[error("compressed content goes on behind its final block")]
    BehindFinalBlock,
    /// The message is over the limit.
    #[error("a message is larger than {limit} bytes")]
    MessageTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The message's frames are over the limit.
    #[error("a message has more than {limit} frames")]
    TooManyFragments {
        /// In frames.
        limit: usize,
    },
}

impl Error {
    /// The status code that tells its sender (RFC 6455, 7.4.1).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Utf8 | Self::Inflate | Self::BehindFinalBlock => 1007,
            Self::MessageTooLarge { .. } | Self::TooManyFragments { .. } => 1009,
            _ => 1002,
        }
    }
}

/// A handshake after which the session could not be read, or on which two readers could disagree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// RFC 6455, 4.1: not a GET request of HTTP/1.1, or one with a body.
    #[error("a WebSocket is asked for with a GET request of HTTP/1.1 without a body")]
    Request,
    /// RFC 6455, 4.1: `Connection` does not list `upgrade`, or `Upgrade` names other protocols too.
    #[error(
        "an upgrade to WebSocket needs `Connection: Upgrade` and `Upgrade: websocket`, and nothing else in the latter"
    )]
    Upgrade,
    /// RFC 6455, 4.4: another version than 13.
    #[error("only version 13 of WebSocket can be read")]
    Version,
    /// RFC 6455, 4.1: not exactly one key of 16 bytes in base64.
    #[error("the Sec-WebSocket-Key is not one value of 16 bytes in base64")]
    Key,
    /// RFC 6455, 9.1: a list of extensions that does not follow its grammar.
    #[error("the Sec-WebSocket-Extensions are malformed")]
    Extensions,
    /// RFC 6455, 4.1: a list of subprotocols that does not follow its grammar, or names one twice.
    #[error("the Sec-WebSocket-Protocol is malformed")]
    Protocols,
    /// RFC 6455, 4.1: the answer to another key.
    #[error("the endpoint's Sec-WebSocket-Accept does not belong to the client's key")]
    Accept,
    /// RFC 6455, 4.1: an extension that the client did not offer, or not with these parameters.
    #[error("the endpoint accepted an extension, or a parameter of one, that the client did not offer")]
    NotOffered,
    /// An extension that changes the frames in a way this codec cannot read.
    #[error("the endpoint accepted the extension {0:?}, with which the messages could not be read")]
    Unreadable(String),
    /// RFC 7692, 7.1: parameters that are unknown, repeated or out of range.
    #[error("the endpoint accepted permessage-deflate with invalid parameters")]
    DeflateParameters,
    /// RFC 6455, 4.1: a subprotocol that the client did not offer.
    #[error("the endpoint chose a subprotocol that the client did not offer")]
    Protocol,
}
