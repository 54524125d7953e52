//! `zstd` (RFC 8878): frames, of which some are skipped.
//!
//! ```text
//! 28 b5 2f fd   descriptor (1) [window (1)] [dictionary id (0 to 4)] [content size (0 to 8)]   blocks [checksum (4)]
//! 5? 2a 4d 18   size (4)   that many bytes of anything
//! ```
//!
//! The library gets each header alone and whole. It would otherwise take a frame that is there to its end by a way that
//! does not look at the window, and what a body means must not depend on how it arrived.

use std::fmt;

use ::zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::decoder::Step;
use super::{Coding, CodingError};

#[derive(Default)]
pub(super) struct Zstd {
    /// None before the first header.
    decoder: Option<Decoder<'static>>,
    /// What has come of the current header.
    header: Vec<u8>,
    in_frame: bool,
    extended: bool,
}

/// RFC 9659, 3: the window that a recipient must support, and need not exceed. 8 MiB.
const WINDOW_LOG: u32 = 23;
const WINDOW: u64 = 1 << WINDOW_LOG;

const MAGIC: u32 = 0xfd2f_b528;
/// The lowest four bits are free.
const SKIPPABLE: u32 = 0x184d_2a50;

impl Zstd {
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        if self.in_frame {
            return self.run(input, output);
        }
        let mut read = 0;
        while let Some(&byte) = input.get(read) {
            self.header.push(byte);
            read += 1;
            if Some(self.header.len()) == header_len(&self.header)? {
                self.begin()?;
                break;
            }
        }
        Ok(Step { read, written: 0 })
    }

    /// Whether the frames that have begun are there to their ends.
    pub(super) fn is_complete(&self) -> bool {
        !self.in_frame && self.header.is_empty()
    }

    /// Whether a skipped frame had anything in it.
    pub(super) fn is_extended(&self) -> bool {
        self.extended
    }

    /// A header is complete.
    fn begin(&mut self) -> Result<(), CodingError> {
        let header = std::mem::take(&mut self.header);
        if is_skippable(&header) {
            self.extended |= header[4..] != [0; 4];
        } else if window(&header) > WINDOW {
            return Err(CodingError::WindowTooLarge { coding: Coding::Zstd, limit: WINDOW });
        }
        self.in_frame = true;
        let Step { read, .. } = self.run(&header, &mut [])?;
        if read == header.len() { Ok(()) } else { Err(corrupt("a header is damaged")) }
    }

    fn run(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(new_decoder().ok_or(CodingError::NoRoom)?),
        };
        let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
        let left = decoder.run(&mut from, &mut to).map_err(|_| corrupt("the data or its checksum is damaged"))?;
        self.in_frame = left > 0;
        Ok(Step { read: from.pos(), written: to.pos() })
    }
}

fn new_decoder() -> Option<Decoder<'static>> {
    let mut decoder = Decoder::new().ok()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).ok()?;
    Some(decoder)
}

fn magic(header: &[u8]) -> Option<u32> {
    header.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn is_skippable(header: &[u8]) -> bool {
    magic(header).is_some_and(|magic| magic & !0xf == SKIPPABLE)
}

/// How long the header that begins so is, as far as that can be told (RFC 8878, 3.1.1.1 and 3.1.2).
fn header_len(header: &[u8]) -> Result<Option<usize>, CodingError> {
    match magic(header) {
        None => Ok(None),
        Some(_) if is_skippable(header) => Ok(Some(8)),
        Some(MAGIC) => {
            let Some(&descriptor) = header.get(4) else { return Ok(None) };
            if descriptor & 3 != 0 {
                return Err(corrupt("it needs a dictionary"));
            }
            let single = descriptor & 0x20 != 0;
            let content_size = [usize::from(single), 2, 4, 8][usize::from(descriptor >> 6)];
            Ok(Some(5 + usize::from(!single) + content_size))
        }
        Some(_) => Err(corrupt("a frame does not begin like one")),
    }
}

/// The window that a frame needs (RFC 8878, 3.1.1.1.2): if there is only one segment, the content's size.
fn window(header: &[u8]) -> u64 {
    if header[4] & 0x20 != 0 {
        let size = header[5..].iter().rev().fold(0, |size, &byte| size << 8 | u64::from(byte));
        // A size of two bytes begins at 256 (3.1.1.1.4), which makes no difference here.
        return size;
    }
    let base = 1u64 << (10 + (header[5] >> 3));
    base + base / 8 * u64::from(header[5] & 7)
}

fn corrupt(reason: &'static str) -> CodingError {
    CodingError::Corrupt { coding: Coding::Zstd, reason }
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").field("in_frame", &self.in_frame).finish_non_exhaustive()
    }
}
