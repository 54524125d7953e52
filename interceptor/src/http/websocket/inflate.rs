//! Decompression of messages (RFC 7692, section 7.2.2), piece by piece.

use flate2::{Decompress, FlushDecompress, Status};

use super::Error;

/// What a sender leaves out at the end of a message, and a receiver adds (RFC 7692, 7.2.1 and 7.2.2).
pub(super) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Content given out at once.
const PIECE: usize = 16 << 10;

/// One direction's decompressor. What it needs is allocated with the first compressed message.
#[derive(Debug)]
pub(super) struct Inflater {
    stream: Option<Box<Stream>>,
    window_bits: u8,
    /// Messages may refer to the ones before.
    takeover: bool,
}

#[derive(Debug)]
struct Stream {
    inflate: Decompress,
    out: Box<[u8]>,
    state: State,
}

/// Where in a message it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Content,
    /// Behind a final block, with this many bytes of padding.
    Final {
        padding: usize,
    },
    /// In the tail, of which this much was taken.
    Tail {
        taken: usize,
    },
    /// The content before the fault was given out.
    Broken,
}

/// One step: what was taken of the input, what it became, and whether there is more to come without further input.
#[derive(Debug)]
pub(super) struct Inflated<'a> {
    pub(super) taken: usize,
    pub(super) content: &'a [u8],
    pub(super) more: bool,
}

impl Inflater {
    pub(super) fn new(window_bits: u8, takeover: bool) -> Self {
        Self { stream: None, window_bits, takeover }
    }

    /// Takes the next bytes of a message. To be called until everything is taken and there is no more.
    pub(super) fn push(&mut self, input: &[u8]) -> Result<Inflated<'_>, Error> {
        let window_bits = self.window_bits;
        self.stream.get_or_insert_with(|| Box::new(Stream::new(window_bits))).step(input)
    }

    /// The message has ended: what is left of its content. To be called until there is no more.
    pub(super) fn finish(&mut self) -> Result<Inflated<'_>, Error> {
        let window_bits = self.window_bits;
        let stream = self.stream.get_or_insert_with(|| Box::new(Stream::new(window_bits)));
        let tail = match stream.state {
            State::Content => 0,
            State::Tail { taken } => taken,
            State::Final { .. } | State::Broken => TAIL.len(),
        };
        let Inflated { taken, content, more } = stream.step(&TAIL[tail..])?;
        let len = content.len();
        let is_final = matches!(stream.state, State::Final { .. });
        match stream.state {
            State::Content | State::Tail { .. } if more => stream.state = State::Tail { taken: tail + taken },
            State::Final { .. } | State::Broken if more => {}
            _ => {
                // Behind a final block there is no history that two decompressors would agree about.
                if is_final || !self.takeover {
                    stream.inflate.reset(false);
                }
                stream.state = State::Content;
            }
        }
        Ok(Inflated { taken, content: &stream.out[..len], more })
    }
}

impl Stream {
    fn new(window_bits: u8) -> Self {
        // A window of 2^8 bytes is read with one of 2^9, the smallest there is.
        let inflate = Decompress::new_with_window_bits(false, window_bits.max(9));
        Self { inflate, out: vec![0; PIECE].into(), state: State::Content }
    }

    fn step(&mut self, input: &[u8]) -> Result<Inflated<'_>, Error> {
        match self.state {
            State::Broken => return Err(Error::Inflate),
            State::Final { padding } => return self.pad(padding, input),
            State::Content | State::Tail { .. } => {}
        }
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, &mut self.out, FlushDecompress::Sync);
        let taken = (self.inflate.total_in() - read) as usize;
        let len = (self.inflate.total_out() - written) as usize;
        match status {
            Ok(Status::Ok | Status::BufError) if taken + len > 0 || input.is_empty() => {}
            Ok(Status::StreamEnd) => self.state = State::Final { padding: 0 },
            // What came before the fault is judged before it.
            _ => self.state = State::Broken,
        }
        let more = len == self.out.len() || self.state == State::Broken;
        Ok(Inflated { taken, content: &self.out[..len], more })
    }

    /// A sender that ends a message with a final block puts one byte of zero behind it (RFC 7692, 7.2.3.4).
    fn pad(&mut self, padding: usize, input: &[u8]) -> Result<Inflated<'_>, Error> {
        if padding + input.len() > 1 || input.iter().any(|&byte| byte != 0) {
            return Err(Error::BehindFinalBlock);
        }
        self.state = State::Final { padding: padding + input.len() };
        Ok(Inflated { taken: input.len(), content: &[], more: false })
    }
}
