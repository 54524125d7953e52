//! Reads messages from a connection: the only part of this room that waits for one.

use std::io;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::coding::{self, Codings};
use super::{BodyDecoder, BodyFraming, ConnectHead, Error, Limits, RequestHead, ResponseHead};

/// Room made for one read when nothing says that more will come.
const SMALL_READ: usize = 1 << 10;

/// Room made when reads keep filling up.
const LARGE_READ: usize = 64 << 10;

/// Bytes that came from a connection and were not taken yet. Lives as long as the connection, over many messages.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    /// The last read filled its room.
    busy: bool,
}

/// A body that was read whole.
#[derive(Clone, Debug, Default)]
pub struct ReceivedBody {
    /// As it came, framing included.
    pub raw: Bytes,
    /// Its content, without framing, in the codings that were applied to it.
    pub encoded: Bytes,
    /// Its content in the clear.
    pub content: Bytes,
    /// What `encoded` is coded in.
    pub codings: Codings,
    /// Raw trailer lines of a chunked body.
    pub trailers: Bytes,
    /// Chunk extensions were among the framing: bytes that nobody scans.
    pub extended: bool,
    /// The coded form holds more than the content, which nobody scans either: a file name in gzip, for one.
    pub padded: bool,
}

impl ReceivedBody {
    /// The same body, with its content read.
    #[must_use]
    pub fn decoded(self, codings: Codings, decoded: coding::Decoded) -> Self {
        Self { content: decoded.content, codings, padded: decoded.extended, ..self }
    }
}

/// Why a message could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The bytes are not the message they should be.
    #[error(transparent)]
    Http(#[from] Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The connection ended inside a message.
    #[error("the connection ended before the end of the message")]
    Truncated,
    /// The caller has no room for more of the body.
    #[error("too much is being held already; try again later")]
    NoRoom,
}

impl Reader {
    /// With bytes that were read before.
    #[must_use]
    pub fn holding(bytes: &[u8]) -> Self {
        Self { buffer: bytes.into(), busy: false }
    }

    /// What has been read and not taken.
    #[must_use]
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes the first `len` buffered bytes.
    ///
    /// # Panics
    /// When fewer are buffered.
    pub fn take(&mut self, len: usize) -> Bytes {
        self.buffer.split_to(len).freeze()
    }

    /// Takes all that is buffered.
    pub fn take_all(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// Reads once; 0 is the end. May be given up on without losing a byte, as far as `stream` allows that.
    ///
    /// # Errors
    /// What the connection reports.
    pub async fn fill<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> io::Result<usize> {
        let room = if self.busy { LARGE_READ } else { SMALL_READ };
        if self.buffer.is_empty() && !self.busy && self.buffer.capacity() > 2 * SMALL_READ {
            // A buffer remembers how large it once was, and a connection may now be silent for an hour.
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(room);
        let room = self.buffer.capacity() - self.buffer.len();
        let read = stream.read_buf(&mut self.buffer).await?;
        self.busy = read == room;
        Ok(read)
    }

    /// The next request's head, or `None` when the connection ended before its first byte.
    ///
    /// # Errors
    /// A malformed head, or a broken connection.
    pub async fn request_head<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        limits: &Limits,
    ) -> Result<Option<RequestHead>, ReadError> {
        self.head(stream, limits, RequestHead::parse).await
    }

    /// The next response's head, or `None` when the connection ended before its first byte.
    ///
    /// # Errors
    /// A malformed head, or a broken connection.
    pub async fn response_head<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        limits: &Limits,
    ) -> Result<Option<ResponseHead>, ReadError> {
        self.head(stream, limits, ResponseHead::parse).await
    }

    /// The next CONNECT request's head, or `None` when the connection ended before its first byte.
    ///
    /// # Errors
    /// A malformed head, or a broken connection.
    pub async fn connect_head<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        limits: &Limits,
    ) -> Result<Option<ConnectHead>, ReadError> {
        self.head(stream, limits, ConnectHead::parse).await
    }

    async fn head<S: AsyncRead + Unpin, H>(
        &mut self,
        stream: &mut S,
        limits: &Limits,
        parse: impl Fn(&[u8], &Limits) -> Result<Option<(H, usize)>, Error>,
    ) -> Result<Option<H>, ReadError> {
        let mut seen = 0;
        loop {
            // Parsed again only when a line has ended: a head that comes byte by byte must not cost its length squared.
            if self.buffer[seen..].contains(&b'\n') || self.buffer.len() > limits.head {
                if let Some((head, len)) = parse(&self.buffer, limits)? {
                    drop(self.take(len));
                    return Ok(Some(head));
                }
                seen = self.buffer.len();
            }
            if self.fill(stream).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(ReadError::Truncated) };
            }
        }
    }

    /// The whole body of a message with `framing`. `admit` is asked before more of it is held.
    ///
    /// # Errors
    /// A malformed body, one over the limit, one for which `admit` has no room, or a broken connection.
    pub async fn body<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        framing: BodyFraming,
        limits: &Limits,
        mut admit: impl FnMut(usize) -> bool,
    ) -> Result<ReceivedBody, ReadError> {
        let mut decoder = BodyDecoder::new(framing, limits);
        let mut raw = BytesMut::new();
        // Without chunks, the content is the raw body: it is not kept twice.
        let mut content = (framing == BodyFraming::Chunked).then(BytesMut::new);
        while !decoder.is_done() {
            if self.buffer.is_empty() && self.fill(stream).await? == 0 {
                return Err(ReadError::Truncated);
            }
            let step = decoder.decode(&self.buffer)?;
            let kept = step.consumed + content.as_ref().map_or(0, |_| step.content.len());
            if !admit(kept) {
                return Err(ReadError::NoRoom);
            }
            if let Some(content) = &mut content {
                content.extend_from_slice(&self.buffer[step.content]);
            }
            raw.unsplit(self.buffer.split_to(step.consumed));
        }
        let raw = raw.freeze();
        let content = content.map_or_else(|| raw.clone(), BytesMut::freeze);
        let trailers = Bytes::copy_from_slice(decoder.trailers());
        Ok(ReceivedBody {
            raw,
            encoded: content.clone(),
            content,
            codings: Codings::default(),
            trailers,
            extended: decoder.extension_bytes() > 0,
            padded: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn pipelined_requests_are_read_one_by_one() {
        let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
            GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let limits = Limits::default();
        block_on(async {
            let (mut reader, mut stream) = (Reader::default(), &bytes[..]);
            let head = reader.request_head(&mut stream, &limits).await.unwrap().unwrap();
            let body = reader.body(&mut stream, head.framing(), &limits, |_| true).await.unwrap();
            assert_eq!((&body.content[..], &body.raw[..]), (&b"abc"[..], &b"3\r\nabc\r\n0\r\n\r\n"[..]));
            let head = reader.request_head(&mut stream, &limits).await.unwrap().unwrap();
            assert_eq!(head.method(), "GET");
            assert!(reader.request_head(&mut stream, &limits).await.unwrap().is_none());
        });
    }

    #[test]
    fn an_idle_reader_gives_back_what_a_large_body_needed() {
        block_on(async {
            let (mut near, mut far) = tokio::io::duplex(1 << 20);
            let (mut reader, limits) = (Reader::default(), Limits::default());
            let content = vec![b'x'; 512 << 10];
            tokio::io::AsyncWriteExt::write_all(&mut far, &content).await.unwrap();
            let body = reader.body(&mut near, BodyFraming::Length(512 << 10), &limits, |_| true).await.unwrap();
            drop(body);
            tokio::select! {
                biased;
                read = reader.fill(&mut near) => panic!("{read:?}"),
                () = std::future::ready(()) => {}
            }
            assert!(reader.buffer.capacity() <= 2 * SMALL_READ, "{}", reader.buffer.capacity());
        });
    }

    #[test]
    fn a_line_without_end_is_given_up_at_the_limit() {
        block_on(async {
            let endless = vec![b'a'; 100 << 10];
            let (mut reader, mut stream) = (Reader::default(), &endless[..]);
            let head = reader.request_head(&mut stream, &Limits::default()).await;
            assert!(matches!(head, Err(ReadError::Http(Error::HeadTooLarge { .. }))), "{head:?}");
        });
    }

    #[test]
    fn a_body_that_ends_early_is_truncated() {
        block_on(async {
            let (mut reader, mut stream) = (Reader::default(), &b"abc"[..]);
            let body = reader.body(&mut stream, BodyFraming::Length(4), &Limits::default(), |_| true).await;
            assert!(matches!(body, Err(ReadError::Truncated)));
        });
    }

    #[test]
    fn a_body_without_room_is_given_up() {
        block_on(async {
            let (mut reader, mut stream) = (Reader::default(), &b"abcd"[..]);
            let body = reader.body(&mut stream, BodyFraming::Length(4), &Limits::default(), |more| more < 4).await;
            assert!(matches!(body, Err(ReadError::NoRoom)));
        });
    }
}
