//! One connection of HTTP/1.1, used for one request at a time.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::{Failure, Outgoing, Piece, UpstreamStream, content};
use crate::http::{
    self, BodyDecoder, BodyFraming, Limits, ReadError, Reader, ResponseHead, Version, encode_single_chunk,
};
use crate::sys::Stream;
use crate::tls::{Alpn, Session};

/// A verified connection on which no request is under way.
#[derive(Debug)]
pub struct Connection {
    stream: UpstreamStream,
    reader: Reader,
    limits: Limits,
    /// How long the endpoint may take no byte.
    patience: Duration,
}

/// A request that was sent over a connection.
#[derive(Debug)]
pub struct Answer {
    connection: Connection,
    method: String,
    /// As the request says.
    keep_alive: bool,
    body: Option<Body>,
}

/// The body that follows the final head.
#[derive(Debug)]
struct Body {
    decoder: BodyDecoder,
    until_close: bool,
    keep_alive: bool,
}

impl Connection {
    pub(super) fn new(stream: UpstreamStream, limits: Limits, patience: Duration) -> Self {
        Self { stream, reader: Reader::default(), limits: limits.streaming(), patience }
    }

    /// What was agreed on in the TLS handshake.
    pub(super) fn alpn(&self) -> Option<Alpn> {
        match &self.stream {
            Session::Tls(tls) => tls.get_ref().1.alpn_protocol().and_then(Alpn::from_bytes),
            Session::Plain(_) => None,
        }
    }

    pub(super) async fn send(mut self, outgoing: Outgoing<'_>) -> Result<Answer, Failure> {
        let (head, body) = frame(&outgoing)?;
        match self.write(&head, &body).await {
            // It may have said why before it took no more.
            Err(e) if e.kind() == io::ErrorKind::TimedOut => return Err(Failure::Send(e)),
            Err(e) => log::debug!("an endpoint took no more of a request: {e}"),
            Ok(()) => {}
        }
        let keep_alive = outgoing.head.keep_alive();
        Ok(Answer { connection: self, method: outgoing.head.method().to_owned(), keep_alive, body: None })
    }

    async fn write(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        // One write for a small request: one TLS record, one segment.
        if head.len() + body.len() <= 16 << 10 {
            return http::write(&mut self.stream, &[head, body].concat(), self.patience).await;
        }
        http::write(&mut self.stream, head, self.patience).await?;
        http::write(&mut self.stream, body, self.patience).await
    }

    /// Whether the endpoint has closed the connection, or sent bytes nobody asked for, since the last response.
    pub(super) async fn is_stale(&mut self) -> bool {
        if !self.reader.buffered().is_empty() {
            return true;
        }
        // Anything but "nothing to read yet" on an idle connection means that it must not be used again. The poll also
        // takes in what TLS has to say to itself, session tickets for one.
        let spoke = tokio::time::timeout(Duration::ZERO, self.reader.fill(&mut self.stream)).await.is_ok();
        spoke || self.has_ended()
    }

    /// Whether the endpoint's end has arrived, which a read that is under way may not have been told yet.
    fn has_ended(&self) -> bool {
        let stream: &Stream = match &self.stream {
            Session::Tls(tls) => tls.get_ref().0,
            Session::Plain(stream) => stream,
        };
        let fd = std::os::fd::AsFd::as_fd(stream).as_raw_fd();
        let peeked = recv(fd, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
        // To ask takes a reset away, so anything but "nothing yet" counts.
        !matches!(peeked, Ok(1..) | Err(Errno::EAGAIN | Errno::EINTR))
    }

    pub(super) fn into_stream(self) -> UpstreamStream {
        self.stream
    }

    async fn fill(&mut self) -> Result<usize, Failure> {
        Ok(self.reader.fill(&mut self.stream).await.map_err(ReadError::Io)?)
    }
}

impl Answer {
    pub(super) async fn head(&mut self) -> Result<ResponseHead, Failure> {
        let Connection { stream, reader, limits, .. } = &mut self.connection;
        let head = reader.response_head(stream, limits).await?.ok_or(Failure::NoAnswer)?;
        if !head.is_interim() {
            let framing = head.framing(&self.method);
            self.body = Some(Body {
                decoder: BodyDecoder::new(framing, limits),
                until_close: framing == BodyFraming::UntilClose,
                keep_alive: head.keep_alive(),
            });
        }
        Ok(head)
    }

    /// Everything that has come and was not taken yet; waits when that is nothing.
    pub(super) async fn piece(&mut self) -> Result<Piece, Failure> {
        let Some(body) = &mut self.body else { return Ok(Piece { last: true, ..Piece::default() }) };
        let mut ended = false;
        while self.connection.reader.buffered().is_empty() && !body.decoder.is_done() && !ended {
            ended = self.connection.fill().await? == 0;
        }
        if ended {
            // The end of the connection is the end of some bodies, and cuts off others.
            body.decoder.finish().map_err(ReadError::Http)?;
        }
        let (raw, content) = take(&mut self.connection.reader, &mut body.decoder).map_err(ReadError::Http)?;
        let trailers = Bytes::copy_from_slice(body.decoder.trailers());
        Ok(Piece { raw: Some(raw), content, trailers, last: body.decoder.is_done() })
    }

    pub(super) fn reusable(self) -> Option<Connection> {
        let body = self.body?;
        (body.decoder.is_done() && !body.until_close && body.keep_alive && self.keep_alive).then_some(self.connection)
    }

    pub(super) fn into_upgraded(mut self) -> (UpstreamStream, Bytes) {
        let said = self.connection.reader.take_all();
        (self.connection.stream, said)
    }
}

/// What is buffered of the body: as it came, and its content.
fn take(reader: &mut Reader, decoder: &mut BodyDecoder) -> Result<(Bytes, Bytes), http::Error> {
    let mut consumed = 0;
    // The content of one stretch is a part of the raw bytes; of several, it has to be put together.
    let mut stretches = Vec::with_capacity(1);
    while consumed < reader.buffered().len() && !decoder.is_done() {
        let step = decoder.decode(&reader.buffered()[consumed..])?;
        if !step.content.is_empty() {
            stretches.push(step.content.start + consumed..step.content.end + consumed);
        }
        consumed += step.consumed;
    }
    let raw = reader.take(consumed);
    let content = match &stretches[..] {
        [] => Bytes::new(),
        [one] => raw.slice(one.clone()),
        several => {
            let mut joined = BytesMut::with_capacity(several.iter().map(ExactSizeIterator::len).sum());
            several.iter().for_each(|range| joined.extend_from_slice(&raw[range.clone()]));
            joined.freeze()
        }
    };
    Ok((raw, content))
}

/// The bytes that leave. An untouched body leaves in the framing it came in, unless that framing carries extensions, or is
/// of HTTP/2.
fn frame(outgoing: &Outgoing<'_>) -> Result<(Vec<u8>, Bytes), Failure> {
    let Outgoing { head, received, masked } = outgoing;
    let translated = head.version() == Version::Http2;
    if !masked.changed() && !received.extended && !received.padded && !translated {
        return Ok((head.render(), received.raw.clone()));
    }
    let content = content(outgoing)?;
    let trailers = &received.trailers;
    let chunked = head.framing() == BodyFraming::Chunked || !trailers.is_empty();
    let head = head.to_h1(content.len(), !trailers.is_empty());
    Ok((head, if chunked { encode_single_chunk(&content, trailers).into() } else { content }))
}
