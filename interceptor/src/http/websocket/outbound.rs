//! What is sent to the endpoint for a message of the client: its frames as they came, or one frame of our own.
//!
//! A message that nobody edits leaves with the same fragments, keys and compression. An edited one leaves as one frame
//! under a fresh key, compressed if the client's was. Then compression needs care: with context takeover the endpoint
//! decompresses every message with what it has decompressed before as history, and from the first edit on its history is
//! not the one that the client's compressor refers to.
//!
//! ```text
//! client's compressor    m1   m2   m3   m4      m4 may refer to m2
//! endpoint's history     m1   m2'  m3           where m2 is not
//! our compressor              m2'  m3   m4      so everything compressed from m2 on is compressed again
//! ```
//!
//! Our compressor starts empty with the first message it makes. It never refers to anything before that, and all it made
//! since is in the endpoint's history at the same distance, because nothing compressed reaches the endpoint any more that it
//! did not make. Messages that the client sends uncompressed touch no history and go on leaving as they came. Without
//! context takeover there is no history: each message is taken by itself.

use bytes::Bytes;

use super::deflate::Deflater;
use super::{Deflate, Error, Kind, Message, Peer, frame};

/// The way to the endpoint of one session.
#[derive(Debug)]
pub struct Outbound {
    deflater: Option<Deflater>,
    takeover: bool,
    /// The endpoint's history is not the client's any more.
    diverged: bool,
}

impl Outbound {
    /// Of a session with this compression.
    #[must_use]
    pub fn new(deflate: Option<&Deflate>) -> Self {
        let takeover = deflate.is_some_and(|deflate| deflate.takeover(Peer::Client));
        let deflater = deflate.map(|deflate| Deflater::new(deflate.window_bits(Peer::Client), takeover));
        Self { deflater, takeover, diverged: false }
    }

    /// The bytes that make the endpoint read `content` where the client said `message`. `key` masks a frame of our own: it
    /// must be random and fresh (RFC 6455, 10.3).
    ///
    /// # Errors
    /// When text was made into something that is not UTF-8.
    pub fn message(&mut self, message: &Message, content: &Bytes, key: [u8; 4]) -> Result<Bytes, Error> {
        let as_it_came = message.content == content && !(message.compressed && self.diverged);
        if as_it_came {
            return Ok(message.raw.clone());
        }
        if message.kind == Kind::Text && std::str::from_utf8(content).is_err() {
            return Err(Error::Utf8);
        }
        let opcode = message.kind.opcode();
        match &mut self.deflater {
            Some(deflater) if message.compressed => {
                self.diverged = self.takeover;
                Ok(frame::encode(opcode, true, &deflater.compress(content), Some(key)))
            }
            _ => Ok(frame::encode(opcode, false, content, Some(key))),
        }
    }
}
