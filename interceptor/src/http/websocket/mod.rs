//! A strict WebSocket codec that keeps frames byte-exact: RFC 6455 (framing), RFC 7692 (permessage-deflate) and the
//! negotiation of both, over HTTP/1.1 and over HTTP/2 (RFC 8441).
//!
//! Nothing here does I/O: bytes go in, events and the raw bytes they came from come out. As with HTTP heads, two parties
//! read everything that passes, so what two readers could take differently is refused instead of repaired.
//!
//! ```text
//! Upgrade::of(request head) ──► accepted(fields of the 101) ──► Negotiated
//! client ──► Messages::decode(bytes) ──► whole messages ──► Outbound::message(message, content to send) ──► endpoint
//! client ◄── the bytes, as they came ◄── Pieces::decode(bytes) ◄── endpoint
//! either side fails ──► Session::failed ──► who gets which close frame
//! ```
//!
//! The two directions differ on purpose. What the client says must be known whole before any of it leaves, so its messages
//! are put together and held. What the endpoint says streams: every piece is passed on at once, and its content is given
//! out on the side.

mod close;
mod deflate;
mod error;
mod extensions;
mod frame;
mod fuzz;
mod handshake;
mod inflate;
mod message;
mod outbound;
mod pieces;
mod session;
#[cfg(test)]
mod tests;
mod utf8;

pub use close::{Close, close_frame};
pub use error::{Error, HandshakeError};
pub use extensions::Deflate;
pub use frame::{Control, ControlKind, Kind};
pub use fuzz::fuzz_websocket;
pub use handshake::{Negotiated, Upgrade, switches};
pub use message::{Decoded, Event, Message, Messages};
pub use outbound::Outbound;
pub use pieces::{Piece, Pieces, Seen, Stretch};
pub use session::{Failure, Farewell, Session};

/// One end of a WebSocket connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It asked for the connection. Its frames are masked (RFC 6455, 5.3).
    Client,
    /// It was asked. Its frames are not.
    Endpoint,
}

impl Peer {
    /// The one at the other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Endpoint,
            Self::Endpoint => Self::Client,
        }
    }
}

/// Upper bounds on what a peer may make us hold or produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Content bytes of a message that is held, and of any message that was compressed: a few bytes may stand for
    /// millions.
    pub message: usize,
    /// Bytes of a held message's frames, as they came.
    pub raw: usize,
    /// Frames of a message that is held. Empty ones cost their sender little.
    pub fragments: usize,
}

impl Default for Limits {
    /// 32 MiB a message, in frames of 36 MiB, 128 Ki frames.
    fn default() -> Self {
        Self { message: 32 << 20, raw: 36 << 20, fragments: 128 << 10 }
    }
}
