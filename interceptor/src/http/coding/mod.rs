//! Content codings (RFC 9110, section 8.4): what was compressed is read, and written again when it was edited.
//!
//! ```text
//! Codings::of(fields) -> Codings
//!   decode(whole body) -> Decoded      requests: strict, held whole
//!   decoder() -> Decoder               responses: piece by piece, each as soon as it can be read
//!   encode(edited body)                the same codings again
//! ```
//!
//! Whatever comes, a decoder holds no more than its window, and what it gives out is counted against a limit, so that a
//! small body that unpacks to a huge one ends in [`CodingError::TooLarge`] and not in the loss of the daemon.

mod br;
mod decoder;
mod deflate;
mod error;
mod gzip;
#[cfg(test)]
mod tests;
mod zstd;

use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;

pub use decoder::Decoder;
pub use error::CodingError;

use super::Fields;

/// One coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip` and `x-gzip`: RFC 1952.
    Gzip,
    /// `deflate`: the zlib format (RFC 1950); without its frame (RFC 1951) where that cannot be mistaken.
    Deflate,
    /// `br`: RFC 7932.
    Br,
    /// `zstd`: RFC 8878, with the window of RFC 9659.
    Zstd,
}

/// The codings of one body, in the order in which they were applied. None: it is as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codings(Vec<Coding>);

/// A body that was decoded whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What it says.
    pub content: Bytes,
    /// There was more in the coded form than that: a file name or comment (gzip), a skippable frame (zstd), metadata
    /// (br). Nobody scans these, so such a body is better sent on through [`Codings::encode`] than as it came.
    pub extended: bool,
}

/// Codings on top of one another. One is usual, two happen by mistake; more only make a bomb of the body.
const MAX_CODINGS: usize = 3;

/// Levels at which encoding an edited body takes about as long as masking it.
const GZIP_LEVEL: u32 = 3;
const BR_QUALITY: u32 = 3;
const BR_WINDOW_BITS: u32 = 20;
const ZSTD_LEVEL: i32 = 1;

impl Coding {
    /// The name in Content-Encoding.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The coding of this name (RFC 9110, 8.4.1), in any case.
    fn named(name: &[u8]) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match () {
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("deflate") => Some(Self::Deflate),
            () if is("br") => Some(Self::Br),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Codings {
    /// Those of a message with these header lines.
    ///
    /// # Errors
    /// A coding that is not known, or more than three.
    pub fn of(fields: &Fields) -> Result<Self, CodingError> {
        Self::parse(fields.all("content-encoding"))
    }

    /// Those that the values of all Content-Encoding lines name (RFC 9110, 8.4 and 5.6.1).
    ///
    /// # Errors
    /// A coding that is not known, or more than three.
    pub fn parse<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Self, CodingError> {
        let mut codings = Vec::new();
        for name in values.flat_map(|value| value.split(|&b| b == b',')).map(<[u8]>::trim_ascii) {
            if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            codings.push(Coding::named(name).ok_or_else(|| CodingError::unknown(name))?);
            if codings.len() > MAX_CODINGS {
                return Err(CodingError::TooMany { limit: MAX_CODINGS });
            }
        }
        Ok(Self(codings))
    }

    /// Whether the body is as it is.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.0.is_empty()
    }

    /// Decodes a whole body, which may be empty. No coding may unpack to more than `limit` bytes, and `admit` is asked
    /// before more is held.
    ///
    /// # Errors
    /// A body that is damaged, cut short, followed by anything or too large, and one for which `admit` has no room.
    pub fn decode(
        &self,
        bytes: &[u8],
        limit: u64,
        mut admit: impl FnMut(usize) -> bool,
    ) -> Result<Decoded, CodingError> {
        let mut decoder = Decoder::new(&self.0, limit).watchful();
        let mut content = Vec::new();
        decoder.each(bytes, &mut |piece| {
            grow(&mut content, piece.len(), &mut admit)?;
            content.extend_from_slice(piece);
            Ok(())
        })?;
        decoder.finish()?;
        Ok(Decoded { content: content.into(), extended: decoder.is_extended() })
    }

    /// Encodes a body that was edited: decoded, it is `bytes` again.
    ///
    /// # Errors
    /// [`CodingError::Encode`], when memory for it cannot be had.
    pub fn encode(&self, bytes: &[u8]) -> Result<Bytes, CodingError> {
        let mut held = None;
        for &coding in &self.0 {
            let input = held.as_deref().unwrap_or(bytes);
            held = Some(encode(coding, input).map_err(|_| CodingError::Encode { coding })?);
        }
        Ok(held.map_or_else(|| Bytes::copy_from_slice(bytes), Bytes::from))
    }

    /// A decoder for a body that comes in pieces. No coding may unpack to more than `limit` bytes.
    #[must_use]
    pub fn decoder(&self, limit: u64) -> Decoder {
        Decoder::new(&self.0, limit)
    }
}

/// Makes room for `more` bytes, having asked.
fn grow(held: &mut Vec<u8>, more: usize, admit: &mut impl FnMut(usize) -> bool) -> Result<(), CodingError> {
    if held.capacity() - held.len() >= more {
        return Ok(());
    }
    let room = more.max(held.capacity()).max(decoder::PIECE);
    if !admit(held.len() + room - held.capacity()) {
        return Err(CodingError::NoRoom);
    }
    held.reserve_exact(room);
    Ok(())
}

fn encode(coding: Coding, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let room = Vec::with_capacity(bytes.len() / 2);
    let level = flate2::Compression::new(GZIP_LEVEL);
    match coding {
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(room, level);
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Coding::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(room, level);
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Coding::Br => {
            let mut encoder = brotli::CompressorWriter::new(room, decoder::PIECE, BR_QUALITY, BR_WINDOW_BITS);
            encoder.write_all(bytes)?;
            Ok(encoder.into_inner())
        }
        Coding::Zstd => ::zstd::bulk::compress(bytes, ZSTD_LEVEL),
    }
}

/// Fuzz entry: a body decodes the same however it is cut, within its limit, and what is encoded decodes to itself. The
/// first byte says which codings.
#[doc(hidden)]
pub fn fuzz_coding(data: &[u8]) {
    const LIMIT: u64 = 1 << 16;
    let Some((&choice, body)) = data.split_first() else { return };
    let known = [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd];
    let first = known[usize::from(choice & 3)];
    let codings = match choice >> 2 & 7 {
        second @ 0..4 => Codings(vec![first, known[usize::from(second)]]),
        _ => Codings(vec![first]),
    };
    let whole = codings.decode(body, LIMIT, |_| true).map(|decoded| decoded.content);
    assert!(whole.as_ref().is_ok_and(|content| content.len() as u64 <= LIMIT) || whole.is_err());
    for size in [1, usize::from(choice) % 13 + 2, body.len().max(1)] {
        let (mut decoder, mut content) = (codings.decoder(LIMIT), Vec::new());
        let fed = body.chunks(size).try_for_each(|piece| decoder.push(piece, &mut content));
        let ended = fed.and_then(|()| decoder.finish());
        assert_eq!(ended.is_ok(), whole.is_ok(), "in pieces of {size}: {ended:?}, whole: {whole:?}");
        if let Ok(whole) = &whole {
            assert_eq!(content, whole[..], "in pieces of {size}");
        }
    }
    let encoded = codings.encode(body).expect("a small body");
    let again = codings.decode(&encoded, LIMIT.max(2 * body.len() as u64 + 1024), |_| true).expect("just encoded");
    assert!(again.content == body && !again.extended);
}
