//! Undoing codings, piece by piece.

use super::br::Br;
use super::deflate::Deflate;
use super::gzip::Gzip;
use super::zstd::Zstd;
use super::{Coding, CodingError};

/// The most that a coding gives out at once.
pub(super) const PIECE: usize = 8 << 10;

/// Undoes the codings of one body, which may come in any pieces. Whatever of the body can be read is given out at once:
/// an event that the server flushed does not wait for the next one.
#[derive(Debug)]
pub struct Decoder {
    /// The one that was applied last comes first.
    layers: Vec<Layer>,
}

/// One coding that is being undone.
#[derive(Debug)]
struct Layer {
    format: Format,
    /// Nothing at all is a body too, whatever its coding.
    begun: bool,
    produced: u64,
    limit: u64,
}

#[derive(Debug)]
enum Format {
    Gzip(Box<Gzip>),
    Deflate(Box<Deflate>),
    Br(Box<Br>),
    Zstd(Box<Zstd>),
}

/// What one call of a format's `step` did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// Input bytes that are done with.
    pub(super) read: usize,
    /// Output bytes that were written.
    pub(super) written: usize,
}

impl Decoder {
    pub(super) fn new(codings: &[Coding], limit: u64) -> Self {
        Self { layers: codings.iter().rev().map(|&coding| Layer::new(coding, limit)).collect() }
    }

    /// Looks more closely, and so more slowly, for what [`Decoder::is_extended`] reports.
    pub(super) fn watchful(mut self) -> Self {
        for layer in &mut self.layers {
            if let Format::Br(br) = &mut layer.format {
                br.watch();
            }
        }
        self
    }

    /// Whether the coded form held more than the content.
    pub(super) fn is_extended(&self) -> bool {
        self.layers.iter().any(|layer| match &layer.format {
            Format::Gzip(gzip) => gzip.is_extended(),
            Format::Deflate(_) => false,
            Format::Br(br) => br.is_extended(),
            Format::Zstd(zstd) => zstd.is_extended(),
        })
    }

    /// Takes the next piece of the body and appends to `out` what can be read by now. Nothing is to be fed after an
    /// error; what was appended before it is good.
    ///
    /// # Errors
    /// A body that is damaged, followed by anything or over the limit.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CodingError> {
        self.each(bytes, &mut |piece| {
            out.extend_from_slice(piece);
            Ok(())
        })
    }

    /// Like [`Decoder::push`], for who need not hold what is read: `each` gets it in pieces of 8 KiB at most (without
    /// any coding: as it came), and can end it all with an error.
    ///
    /// # Errors
    /// Those of [`Decoder::push`], and those of `each`.
    pub fn each(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(&[u8]) -> Result<(), CodingError>,
    ) -> Result<(), CodingError> {
        undo(&mut self.layers, bytes, each)
    }

    /// The body has ended: nothing is left to be given out.
    ///
    /// # Errors
    /// [`CodingError::Truncated`] when something is missing.
    pub fn finish(&mut self) -> Result<(), CodingError> {
        self.layers.iter_mut().filter(|layer| layer.begun).try_for_each(Layer::finish)
    }
}

fn undo(
    layers: &mut [Layer],
    bytes: &[u8],
    each: &mut dyn FnMut(&[u8]) -> Result<(), CodingError>,
) -> Result<(), CodingError> {
    match layers.split_first_mut() {
        _ if bytes.is_empty() => Ok(()),
        None => each(bytes),
        Some((outer, inner)) => outer.push(bytes, &mut |piece| undo(inner, piece, each)),
    }
}

impl Layer {
    fn new(coding: Coding, limit: u64) -> Self {
        let format = match coding {
            Coding::Gzip => Format::Gzip(Box::default()),
            Coding::Deflate => Format::Deflate(Box::default()),
            Coding::Br => Format::Br(Box::default()),
            Coding::Zstd => Format::Zstd(Box::default()),
        };
        Self { format, begun: false, produced: 0, limit }
    }

    fn push(
        &mut self,
        mut input: &[u8],
        each: &mut dyn FnMut(&[u8]) -> Result<(), CodingError>,
    ) -> Result<(), CodingError> {
        self.begun = true;
        let mut room = [0; PIECE];
        loop {
            let Step { read, written } = self.step(input, &mut room)?;
            input = &input[read..];
            self.produced += written as u64;
            if self.produced > self.limit {
                return Err(CodingError::TooLarge { limit: self.limit });
            }
            if written > 0 {
                each(&room[..written])?;
            }
            match (input.is_empty(), read + written) {
                // A full piece may have left something behind.
                (true, _) if written < PIECE => return Ok(()),
                (false, 0) => return Err(CodingError::Corrupt { coding: self.coding(), reason: "it leads nowhere" }),
                _ => {}
            }
        }
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        match &mut self.format {
            Format::Gzip(gzip) => gzip.step(input, output),
            Format::Deflate(deflate) => deflate.step(input, output),
            Format::Br(br) => br.step(input, output),
            Format::Zstd(zstd) => zstd.step(input, output),
        }
    }

    fn finish(&mut self) -> Result<(), CodingError> {
        let complete = match &mut self.format {
            Format::Gzip(gzip) => gzip.is_complete(),
            Format::Deflate(deflate) => deflate.is_complete()?,
            Format::Br(br) => br.is_complete(),
            Format::Zstd(zstd) => zstd.is_complete(),
        };
        if complete { Ok(()) } else { Err(CodingError::Truncated { coding: self.coding() }) }
    }

    fn coding(&self) -> Coding {
        match self.format {
            Format::Gzip(_) => Coding::Gzip,
            Format::Deflate(_) => Coding::Deflate,
            Format::Br(_) => Coding::Br,
            Format::Zstd(_) => Coding::Zstd,
        }
    }
}
