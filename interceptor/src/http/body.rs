//! Which bytes of a connection are a body's content, and where the body ends.

use std::ops::Range;

use super::chunked::Chunked;
use super::{BodyFraming, Error, Limits};

/// Follows one body through the bytes of its connection, however they are cut.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    content: u64,
    limit: u64,
}

#[derive(Debug)]
enum State {
    Length { remaining: u64 },
    Chunked(Chunked),
    UntilClose,
    Done,
}

/// One step of [`BodyDecoder::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Input bytes that belong to the body; the rest is for the next call or, when `done`, the next message.
    pub consumed: usize,
    /// The content among them; may be empty.
    pub content: Range<usize>,
    /// The body is complete.
    pub done: bool,
}

impl BodyDecoder {
    /// A decoder for the body that follows a head with `framing`.
    #[must_use]
    pub fn new(framing: BodyFraming, limits: &Limits) -> Self {
        let state = match framing {
            BodyFraming::None | BodyFraming::Length(0) => State::Done,
            BodyFraming::Length(remaining) => State::Length { remaining },
            BodyFraming::Chunked => State::Chunked(Chunked::new(limits)),
            BodyFraming::UntilClose => State::UntilClose,
        };
        Self { state, content: 0, limit: limits.body }
    }

    /// Takes the next bytes, up to the end of one stretch of content. Call again with what was not consumed until
    /// everything is, or the body is done.
    ///
    /// # Errors
    /// Broken chunk framing, or a limit passed: the connection cannot be used any further.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, Error> {
        let decoded = match &mut self.state {
            State::Done => Decoded { consumed: 0, content: 0..0, done: true },
            State::UntilClose => Decoded { consumed: input.len(), content: 0..input.len(), done: false },
            State::Length { remaining } => {
                if *remaining > self.limit - self.content.min(self.limit) {
                    return Err(Error::BodyTooLarge { limit: self.limit });
                }
                let taken = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len());
                *remaining -= taken as u64;
                Decoded { consumed: taken, content: 0..taken, done: *remaining == 0 }
            }
            State::Chunked(chunked) => chunked.decode(input)?,
        };
        self.content += decoded.content.len() as u64;
        if self.content > self.limit {
            return Err(Error::BodyTooLarge { limit: self.limit });
        }
        if decoded.done && !matches!(self.state, State::Chunked(_)) {
            self.state = State::Done;
        }
        Ok(decoded)
    }

    /// Whether the body is complete. A body without content is from the start.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match &self.state {
            State::Done => true,
            State::Chunked(chunked) => chunked.is_done(),
            State::Length { .. } | State::UntilClose => false,
        }
    }

    /// The connection was closed: the end of the body, or a truncation.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the framing promised more.
    pub fn finish(&mut self) -> Result<(), Error> {
        match self.state {
            State::UntilClose => self.state = State::Done,
            _ if self.is_done() => {}
            _ => return Err(Error::Truncated),
        }
        Ok(())
    }

    /// The raw trailer lines of a complete chunked body, each with its CRLF, without the final empty line.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        match &self.state {
            State::Chunked(chunked) => chunked.trailers(),
            _ => &[],
        }
    }

    /// Bytes of chunk extensions so far. They are not content and nobody scans them: a body that has any is better
    /// sent on through [`encode_single_chunk`] than as it came.
    #[must_use]
    pub fn extension_bytes(&self) -> usize {
        match &self.state {
            State::Chunked(chunked) => chunked.extension_bytes(),
            _ => 0,
        }
    }
}

/// A chunked body (RFC 9112, 7.1) of one chunk with `content`, and `trailers` as [`BodyDecoder::trailers`] gives them.
#[must_use]
pub fn encode_single_chunk(content: &[u8], trailers: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + trailers.len() + 32);
    encode_chunk(&mut out, content);
    encode_last_chunk(&mut out, trailers);
    out
}

/// Appends `content` as a chunk of its own (RFC 9112, 7.1); nothing for no content, as that would be the end.
pub fn encode_chunk(out: &mut Vec<u8>, content: &[u8]) {
    if !content.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the end of a chunked body, with `trailers` as [`BodyDecoder::trailers`] gives them.
pub fn encode_last_chunk(out: &mut Vec<u8>, trailers: &[u8]) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}

/// Everything a body yields when fed `pieces`: content, end or error, unread rest.
fn drive<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Result<bool, Error>, usize, Vec<u8>) {
    let mut decoder = BodyDecoder::new(BodyFraming::Chunked, &Limits::default());
    let (mut content, mut consumed) = (Vec::new(), 0);
    for mut piece in pieces {
        while !piece.is_empty() && !decoder.is_done() {
            match decoder.decode(piece) {
                Ok(step) => {
                    assert!(step.consumed > 0 && step.content.end <= step.consumed);
                    content.extend_from_slice(&piece[step.content]);
                    consumed += step.consumed;
                    piece = &piece[step.consumed..];
                }
                Err(error) => return (content, Err(error), 0, Vec::new()),
            }
        }
    }
    let trailers = if decoder.is_done() { decoder.trailers().to_vec() } else { Vec::new() };
    (content, Ok(decoder.is_done()), consumed, trailers)
}

/// Fuzz entry: a chunked body decodes the same however it is cut, and survives being encoded again.
#[doc(hidden)]
pub fn fuzz_body(data: &[u8]) {
    let whole = drive(std::iter::once(data));
    assert_eq!(whole, drive(data.chunks(1)));
    let step = usize::from(data.first().copied().unwrap_or(0)) % 13 + 2;
    assert_eq!(whole, drive(data.chunks(step)));
    if let (content, Ok(true), _, trailers) = whole {
        let again = drive(std::iter::once(encode_single_chunk(&content, &trailers).as_slice()));
        assert_eq!((again.0, again.1, again.3), (content, Ok(true), trailers));
    }
}
