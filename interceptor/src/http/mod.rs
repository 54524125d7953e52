//! A strict HTTP/1.1 codec that keeps heads byte-exact: RFC 9112 (message syntax) and RFC 9110 (semantics).
//!
//! Bytes go in, heads and body ranges come out; I/O is left to [`Reader`], [`write`](write()) and
//! [`send_bounded`]. Header order, case and whitespace survive, because a head is its raw bytes plus spans, and an edit
//! touches only the line it must.
//!
//! Two parties read every message that passes (this codec and the endpoint), so anything on which two readers could
//! disagree is refused instead of repaired: that is what keeps a second request from being smuggled in a first
//! (RFC 9112, section 11.2).
//!
//! ```text
//! RequestHead::parse(bytes) -> head, its length
//!   head.framing() -> BodyFraming -> BodyDecoder::decode(bytes) -> content ranges, end, trailers
//! ResponseHead::parse(bytes) -> head, its length
//!   head.framing(request method) -> the same
//! ```

mod body;
mod chunked;
pub mod coding;
mod connect;
mod error;
mod fields;
mod framing;
mod h2;
mod reader;
mod request;
mod response;
mod send;
#[cfg(test)]
mod tests;
pub mod websocket;
mod writer;

pub use body::{BodyDecoder, Decoded, encode_chunk, encode_last_chunk, encode_single_chunk, fuzz_body};
pub use coding::{CodingError, Codings, fuzz_coding};
pub use connect::{ConnectHead, fuzz_connect_head};
pub use error::Error;
pub use fields::Fields;
pub use framing::BodyFraming;
pub use h2::{trailer_lines, trailers_from_h2, trailers_to_h2};
pub use reader::{ReadError, Reader, ReceivedBody};
pub use request::{RequestHead, fuzz_request_head};
pub use response::{ResponseHead, fuzz_response_head};
pub use send::send_bounded;
pub use writer::write;

/// Upper bounds on what a peer may make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, from the start line to the empty line.
    pub head: usize,
    /// Field lines in a head.
    pub fields: usize,
    /// Content bytes of a body, framing not included.
    pub body: u64,
    /// Bytes of all chunk extensions of one body together.
    pub chunk_extensions: usize,
    /// Bytes of the trailer section.
    pub trailers: usize,
}

impl Default for Limits {
    /// 64 KiB and 256 fields a head, 32 MiB a body, 16 KiB of chunk extensions and of trailers.
    fn default() -> Self {
        Self { head: 64 << 10, fields: 256, body: 32 << 20, chunk_extensions: 16 << 10, trailers: 16 << 10 }
    }
}

impl Limits {
    /// The same limits for a body that is forwarded as it comes and never held: no bound on its content.
    #[must_use]
    pub fn streaming(self) -> Self {
        Self { body: u64::MAX, ..self }
    }
}

/// The version a message came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2, where no start line names it.
    Http2,
}
