//! `deflate` (RFC 9110, 8.4.1.2): deflated data (RFC 1951) in the zlib format (RFC 1950):
//!
//! ```text
//! CM, CINFO (1 byte)   FLG (1 byte; with CMF a multiple of 31)   deflated data   Adler-32
//! ```
//!
//! Some senders leave the frame out, and every browser reads that too. The frame is there if the first two bytes can be
//! one. A body made to be read in both ways is refused: it would be scanned as one text and read as another.

use flate2::{Decompress, FlushDecompress, Status};

use super::decoder::Step;
use super::{Coding, CodingError};

/// A body that may or may not be in the zlib format.
#[derive(Debug)]
pub(super) struct Deflate {
    /// The first bytes, until there are enough to tell.
    head: Vec<u8>,
    inflate: Option<Inflate>,
    /// The same body, read the other way.
    other: Option<Other>,
}

/// Reads deflated data, and says whose fault it is when it cannot.
#[derive(Debug)]
pub(super) struct Inflate {
    stream: Decompress,
    coding: Coding,
    ended: bool,
}

/// Reads a body in the zlib format as if it were none, to see that this leads nowhere. It nearly always ends within five
/// bytes: CM is 8, which is an uncompressed block, whose length then does not fit.
#[derive(Debug)]
struct Other {
    inflate: Inflate,
    produced: u64,
}

/// What [`Other`] may yield; a body that yields more can be read in two ways.
const MAX_OTHER: u64 = 16 << 20;

impl Inflate {
    /// Deflated data: in the zlib format, or bare.
    pub(super) fn new(coding: Coding, zlib: bool) -> Self {
        Self { stream: Decompress::new(zlib), coding, ended: false }
    }

    /// Begins again with bare data.
    pub(super) fn reset(&mut self) {
        self.stream.reset(false);
        self.ended = false;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        if self.ended {
            return Ok(Step::default());
        }
        let (read, written) = (self.stream.total_in(), self.stream.total_out());
        let status = self.stream.decompress(input, output, FlushDecompress::None).map_err(|e| {
            let dictionary = e.needs_dictionary().is_some();
            let reason = if dictionary { "it needs a dictionary" } else { "the data or its checksum is damaged" };
            CodingError::Corrupt { coding: self.coding, reason }
        })?;
        self.ended = status == Status::StreamEnd;
        let since = |before: u64, now: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
        Ok(Step { read: since(read, self.stream.total_in()), written: since(written, self.stream.total_out()) })
    }
}

impl Default for Deflate {
    fn default() -> Self {
        Self { head: Vec::with_capacity(2), inflate: None, other: None }
    }
}

impl Deflate {
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        if let Some(inflate) = &mut self.inflate {
            let step = inflate.step(input, output)?;
            if inflate.has_ended() && step.read < input.len() {
                return Err(CodingError::Trailing { coding: Coding::Deflate });
            }
            self.compare(&input[..step.read]);
            return Ok(step);
        }
        let taken = (2 - self.head.len()).min(input.len());
        self.head.extend_from_slice(&input[..taken]);
        let [first, second] = self.head[..] else { return Ok(Step { read: taken, written: 0 }) };
        let zlib = is_zlib(first, second);
        let mut inflate = Inflate::new(Coding::Deflate, zlib);
        let step = inflate.step(&[first, second], output)?;
        self.inflate = Some(inflate);
        if zlib {
            self.other = Some(Other { inflate: Inflate::new(Coding::Deflate, false), produced: 0 });
            self.compare(&[first, second]);
        }
        Ok(Step { read: taken, written: step.written })
    }

    /// Whether all of it has come.
    pub(super) fn is_complete(&self) -> Result<bool, CodingError> {
        let complete = self.inflate.as_ref().is_some_and(Inflate::has_ended);
        let twice = self.other.as_ref().is_some_and(|other| other.inflate.has_ended() || other.produced > MAX_OTHER);
        if complete && twice { Err(CodingError::Ambiguous) } else { Ok(complete) }
    }

    /// Reads on in the other way, for as long as it can be read so.
    fn compare(&mut self, bytes: &[u8]) {
        if self.other.as_mut().is_some_and(|other| !other.takes(bytes)) {
            self.other = None;
        }
    }
}

impl Other {
    fn takes(&mut self, mut bytes: &[u8]) -> bool {
        let mut room = [0; 4 << 10];
        while self.produced <= MAX_OTHER {
            let Ok(step) = self.inflate.step(bytes, &mut room) else { return false };
            bytes = &bytes[step.read..];
            self.produced += step.written as u64;
            if bytes.is_empty() && step.written < room.len() {
                return true;
            }
            if step.read + step.written == 0 {
                return false;
            }
        }
        true
    }
}

/// RFC 1950, 2.2: deflate with a window of up to 32 KiB, without a preset dictionary, and FCHECK fits.
fn is_zlib(cmf: u8, flg: u8) -> bool {
    cmf & 0x0f == 8 && cmf >> 4 <= 7 && flg & 0x20 == 0 && (u16::from(cmf) << 8 | u16::from(flg)).is_multiple_of(31)
}
