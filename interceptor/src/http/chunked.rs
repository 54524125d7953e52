//! Chunked transfer coding (RFC 9112, section 7.1), decoded strictly.
//!
//! ```text
//! 4;name=value CRLF data CRLF ... 0 CRLF trailer: value CRLF CRLF
//! ```

use super::fields::check_trailers;
use super::{Decoded, Error, Limits};

/// The state between two bytes of a chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    extensions: usize,
    extensions_limit: usize,
    trailers: Vec<u8>,
    trailers_limit: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// In the digits of a chunk size.
    Size {
        digits: u8,
        size: u64,
    },
    /// Behind the semicolon of a size line.
    Extension {
        size: u64,
    },
    /// Behind the CR of a size line.
    SizeLf {
        size: u64,
    },
    Data {
        remaining: u64,
    },
    DataCr,
    DataLf,
    /// In the trailer section. `line` counts the bytes of the current line.
    Trailer {
        line: usize,
    },
    /// Behind a CR in the trailer section.
    TrailerLf {
        line: usize,
    },
    Done,
}

/// Beyond this a size would not fit 64 bits.
const MAX_SIZE_DIGITS: u8 = 16;

impl Chunked {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            state: State::Size { digits: 0, size: 0 },
            extensions: 0,
            extensions_limit: limits.chunk_extensions,
            trailers: Vec::new(),
            trailers_limit: limits.trailers,
        }
    }

    /// Consumes framing, and at most one stretch of data.
    pub(super) fn decode(&mut self, input: &[u8]) -> Result<Decoded, Error> {
        let mut at = 0;
        while at < input.len() && !self.is_done() {
            if let State::Data { remaining } = &mut self.state {
                let taken = usize::try_from(*remaining).unwrap_or(usize::MAX).min(input.len() - at);
                *remaining -= taken as u64;
                if *remaining == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Decoded { consumed: at + taken, content: at..at + taken, done: false });
            }
            self.state = self.step(input[at])?;
            at += 1;
        }
        Ok(Decoded { consumed: at, content: at..at, done: self.is_done() })
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub(super) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    pub(super) fn extension_bytes(&self) -> usize {
        self.extensions
    }

    /// The state behind one byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, Error> {
        match (self.state, byte) {
            (State::Size { digits, size }, byte) => self.size_byte(digits, size, byte),
            (State::Extension { size }, b'\r') => Ok(State::SizeLf { size }),
            (State::Extension { size }, byte) => self.extension_byte(byte).map(|()| State::Extension { size }),
            (State::SizeLf { size: 0 }, b'\n') => Ok(State::Trailer { line: 0 }),
            (State::SizeLf { size }, b'\n') => Ok(State::Data { remaining: size }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { digits: 0, size: 0 }),
            (State::SizeLf { .. } | State::DataCr | State::DataLf, _) => Err(Error::ChunkEnd),
            (State::Trailer { line }, byte) => self.trailer_byte(line, byte),
            (State::TrailerLf { line: 0 }, b'\n') => self.end_trailers(),
            (State::TrailerLf { .. }, b'\n') => self.keep_trailer(b'\n').map(|()| State::Trailer { line: 0 }),
            (State::TrailerLf { .. }, _) => Err(Error::BareCr { offset: self.trailers.len() }),
            (State::Data { .. } | State::Done, _) => unreachable!("decode() takes no framing byte in this state"),
        }
    }

    fn size_byte(&mut self, digits: u8, size: u64, byte: u8) -> Result<State, Error> {
        match (byte as char).to_digit(16) {
            Some(digit) if digits < MAX_SIZE_DIGITS => {
                Ok(State::Size { digits: digits + 1, size: size << 4 | u64::from(digit) })
            }
            None if digits > 0 && byte == b'\r' => Ok(State::SizeLf { size }),
            None if digits > 0 && byte == b';' => self.extension_byte(byte).map(|()| State::Extension { size }),
            _ => Err(Error::ChunkSize),
        }
    }

    fn extension_byte(&mut self, byte: u8) -> Result<(), Error> {
        if (byte < 0x20 && byte != b'\t') || byte == 0x7f {
            return Err(Error::ChunkEnd);
        }
        self.extensions += 1;
        if self.extensions > self.extensions_limit {
            return Err(Error::ChunkExtensionsTooLarge { limit: self.extensions_limit });
        }
        Ok(())
    }

    fn trailer_byte(&mut self, line: usize, byte: u8) -> Result<State, Error> {
        match byte {
            b'\r' if line == 0 => Ok(State::TrailerLf { line }),
            b'\r' => self.keep_trailer(byte).map(|()| State::TrailerLf { line }),
            b'\n' => Err(Error::BareLf { offset: self.trailers.len() }),
            _ => self.keep_trailer(byte).map(|()| State::Trailer { line: line + 1 }),
        }
    }

    fn keep_trailer(&mut self, byte: u8) -> Result<(), Error> {
        if self.trailers.len() >= self.trailers_limit {
            return Err(Error::TrailersTooLarge { limit: self.trailers_limit });
        }
        self.trailers.push(byte);
        Ok(())
    }

    fn end_trailers(&mut self) -> Result<State, Error> {
        check_trailers(&self.trailers)?;
        Ok(State::Done)
    }
}
