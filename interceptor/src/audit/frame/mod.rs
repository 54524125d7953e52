//! Frames: the unit that is appended. Pure encoding and parsing; `docs/log-format.md` is the reference.
//!
//! ```text
//! 0    u32      length of the frame, a multiple of 8; stored last. Its lowest bit: contents were removed
//! 4    u32      CRC-32C of the head (bytes 0-3 and 8 to the end of the entry), seeded with the segment id
//! 8    [32]     chain value
//! 40   entry    what the leaf hash covers: kind, sequence, ids, times, table of sections with their digests
//!      [8]      if contents were removed: a bit for each section that is gone, lowest first
//!      sections in table order, without gaps
//!      zeros    up to the trailer
//! -4   u32      CRC-32C of the sections' own CRC-32C, seeded with the segment id
//! ```
//!
//! All numbers are little-endian. The entry holds digests of everything else, so the sections of a frame may be
//! removed ([`reduce`]) without touching what the chain and the Merkle tree prove.

mod kinds;

pub use kinds::{Content, Holding, Kind};

use super::class::Class;
use super::tree::{Hash, leaf_hash};
use crate::flow::ExchangeId;

/// Frames start at multiples of this.
pub(crate) const ALIGN: usize = 8;
/// Bytes before the entry.
const ENTRY: usize = 40;
/// Bytes of an entry without its table.
const ENTRY_FIXED: usize = 80;
/// Bytes of one row of the table.
pub(crate) const ROW: usize = 40;
/// Rows an entry may have.
pub(crate) const MAX_SECTIONS: usize = 8;
/// Bytes that say which sections were removed.
const REMOVED: usize = 8;
/// In the length of a frame: sections were removed.
const REDUCED: usize = 1;
/// Bytes of the largest head: everything before the sections.
pub(crate) const MAX_HEAD: usize = ENTRY + ENTRY_FIXED + MAX_SECTIONS * ROW + REMOVED;
/// Bytes that must be there before a head's size is known.
pub(crate) const MIN_HEAD: usize = ENTRY + ENTRY_FIXED;
const TRAILER: usize = 4;
const ENTRY_VERSION: u8 = 1;

/// One row of an entry's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it holds.
    pub content: Content,
    /// How.
    pub holding: Holding,
    /// Bytes in this frame, or number of part frames.
    pub length: u32,
    /// See [`Holding`].
    pub digest: Hash,
}

impl Section {
    /// Bytes the section takes in its frame, unless it was removed from there.
    #[must_use]
    pub fn stored(&self) -> usize {
        if self.holding == Holding::Parts { 0 } else { self.length as usize }
    }
}

/// The part of a frame that the leaf hash covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the frame says.
    pub kind: Kind,
    /// Number of frames before this one in the stream.
    pub sequence: u64,
    /// Number of leaves before this one: the index of this leaf, if it is one.
    pub leaf_index: u64,
    /// Number of frames that had been made durable when this one was written.
    pub durable: u64,
    /// The exchange; zeros for notes.
    pub exchange: ExchangeId,
    /// Wall clock, nanoseconds since 1970.
    pub wall_ns: u64,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub boottime_ns: u64,
    /// Names the data key of the sealed sections; zeros when there are none.
    pub key_id: [u8; 16],
    /// What the frame holds; at most `MAX_SECTIONS` rows.
    pub sections: Vec<Section>,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There are fewer bytes than a frame needs.
    #[error("the frame is cut short")]
    Short,
    /// The length is no multiple of 8 or does not fit its sections.
    #[error("the frame's length does not fit its content")]
    Length,
    /// The head's checksum does not match.
    #[error("the head's checksum does not match")]
    HeadChecksum,
    /// The sections' checksum does not match.
    #[error("the body's checksum does not match")]
    BodyChecksum,
    /// The padding is not zero.
    #[error("the padding is not zero")]
    Padding,
    /// The checksum is right but a field has a value that this version does not know.
    #[error("the entry has an unknown {0}: a newer version wrote it, or it was forged")]
    Unknown(&'static str),
}

/// Checksums of one segment: all CRCs start from the segment's id, so that bytes of another segment never validate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(segment_id: &[u8; 16]) -> Self {
        Self(crc32c::crc32c(segment_id))
    }

    fn head(self, frame: &[u8], end: usize) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &frame[..4]), &frame[8..end])
    }

    fn body(self, sections: u32) -> u32 {
        crc32c::crc32c_append(self.0, &sections.to_le_bytes())
    }
}

/// Sections, by their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows(u8);

impl Rows {
    /// Adds a row.
    pub(crate) fn insert(&mut self, row: usize) {
        self.0 |= 1 << row;
    }

    /// Whether a row is among them.
    #[must_use]
    pub fn contains(self, row: usize) -> bool {
        self.0 & (1 << row) != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A parsed head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the whole frame.
    pub length: usize,
    /// Bytes before the sections.
    pub size: usize,
    /// The chain value as stored.
    pub chain: Hash,
    /// RFC 6962 leaf hash of the entry, computed.
    pub leaf: Hash,
    /// The entry.
    pub entry: Entry,
    /// Sections that were written and are gone.
    pub removed: Rows,
}

impl Head {
    /// Where section `index` lies in the frame; an empty range when it is not there.
    #[must_use]
    pub fn section_range(&self, index: usize) -> std::ops::Range<usize> {
        let start = self.size + (0..index).map(|row| self.stored(row)).sum::<usize>();
        start..start + self.stored(index)
    }

    /// Whether some content of `class` was removed from it.
    pub(crate) fn has_lost(&self, class: Class) -> bool {
        let mut sections = self.entry.sections.iter().enumerate();
        sections.any(|(row, section)| section.content.class() == class && self.removed.contains(row))
    }

    /// Bytes that section `index` takes in this frame.
    fn stored(&self, index: usize) -> usize {
        let section = self.entry.sections.get(index).filter(|_| !self.removed.contains(index));
        section.map_or(0, Section::stored)
    }

    /// Bytes of all sections in this frame.
    pub(crate) fn body(&self) -> usize {
        (0..self.entry.sections.len()).map(|row| self.stored(row)).sum()
    }
}

/// Length of a frame whose entry has `rows` rows and whose sections take `body` bytes.
pub(crate) fn frame_length(rows: usize, body: usize) -> usize {
    (ENTRY + ENTRY_FIXED + rows * ROW + body + TRAILER).next_multiple_of(ALIGN)
}

/// An entry encoded, ready to be hashed and completed to a head.
pub(crate) struct EncodedHead {
    bytes: [u8; MAX_HEAD],
    size: usize,
}

impl EncodedHead {
    /// # Panics
    /// When the entry has more than [`MAX_SECTIONS`] sections.
    pub(crate) fn new(entry: &Entry) -> Self {
        Self::with_sections(entry, &entry.sections)
    }

    /// An entry with these sections, whatever its own are: the writer has them elsewhere.
    ///
    /// # Panics
    /// When there are more than [`MAX_SECTIONS`].
    pub(crate) fn with_sections(entry: &Entry, sections: &[Section]) -> Self {
        assert!(sections.len() <= MAX_SECTIONS, "an entry has at most {MAX_SECTIONS} sections");
        let entry_size = ENTRY_FIXED + sections.len() * ROW;
        let mut bytes = [0; MAX_HEAD];
        let e = &mut bytes[ENTRY..ENTRY + entry_size];
        e[0] = ENTRY_VERSION;
        e[1] = entry.kind.code();
        e[4..6].copy_from_slice(&(entry_size as u16).to_le_bytes());
        e[6] = sections.len() as u8;
        e[8..16].copy_from_slice(&entry.sequence.to_le_bytes());
        e[16..24].copy_from_slice(&entry.leaf_index.to_le_bytes());
        e[24..32].copy_from_slice(&entry.durable.to_le_bytes());
        e[32..48].copy_from_slice(entry.exchange.as_bytes());
        e[48..56].copy_from_slice(&entry.wall_ns.to_le_bytes());
        e[56..64].copy_from_slice(&entry.boottime_ns.to_le_bytes());
        e[64..80].copy_from_slice(&entry.key_id);
        for (row, section) in e[ENTRY_FIXED..].chunks_exact_mut(ROW).zip(sections) {
            row.copy_from_slice(&encode_row(section));
        }
        Self { bytes, size: ENTRY + entry_size }
    }

    pub(crate) fn leaf(&self) -> Hash {
        leaf_hash(self.entry())
    }

    /// What the leaf hash covers.
    pub(crate) fn entry(&self) -> &[u8] {
        &self.bytes[ENTRY..self.size]
    }

    /// Fills in length, chain value and checksum.
    pub(crate) fn finish(mut self, seed: Seed, length: usize, chain: &Hash) -> Self {
        let length = u32::try_from(length).expect("a frame fits into a segment, which fits into 4 GiB");
        self.bytes[..4].copy_from_slice(&length.to_le_bytes());
        self.bytes[8..ENTRY].copy_from_slice(chain);
        let crc = seed.head(&self.bytes, self.size);
        self.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

/// The frame's last bytes: padding and the sections' checksum. `sections` is their unseeded CRC-32C.
pub(crate) fn trailer(seed: Seed, head: usize, body: usize, sections: u32) -> ([u8; ALIGN + TRAILER], usize) {
    let size = (head + body + TRAILER).next_multiple_of(ALIGN) - head - body;
    let mut bytes = [0; ALIGN + TRAILER];
    bytes[size - TRAILER..size].copy_from_slice(&seed.body(sections).to_le_bytes());
    (bytes, size)
}

/// Parses the head at the start of `bytes`. Checks its checksum and that the length fits the sections, nothing of the
/// sections themselves.
///
/// # Errors
/// [`FrameError`] says what is wrong first.
pub(crate) fn parse_head(seed: Seed, bytes: &[u8]) -> Result<Head, FrameError> {
    if bytes.len() < MIN_HEAD {
        return Err(FrameError::Short);
    }
    let length = u32_at(bytes, 0) as usize;
    let (reduced, length) = (length & REDUCED != 0, length & !REDUCED);
    let rows = usize::from(bytes[ENTRY + 6]);
    let entry_size = usize::from(u16_at(bytes, ENTRY + 4));
    if rows > MAX_SECTIONS || entry_size != ENTRY_FIXED + rows * ROW {
        return Err(FrameError::HeadChecksum);
    }
    let end = ENTRY + entry_size;
    let size = end + if reduced { REMOVED } else { 0 };
    if bytes.len() < size {
        return Err(FrameError::Short);
    }
    if seed.head(bytes, size) != u32_at(bytes, 4) {
        return Err(FrameError::HeadChecksum);
    }
    let entry = parse_entry(&bytes[ENTRY..end])?;
    let removed = parse_removed(&bytes[end..size], &entry)?;
    let (chain, leaf) = (hash_at(bytes, 8), leaf_hash(&bytes[ENTRY..end]));
    let head = Head { length, size, chain, leaf, entry, removed };
    if length != (size + head.body() + TRAILER).next_multiple_of(ALIGN) {
        return Err(FrameError::Length);
    }
    Ok(head)
}

/// Which sections are gone; `bytes` is empty when none is.
fn parse_removed(bytes: &[u8], entry: &Entry) -> Result<Rows, FrameError> {
    let Some((&rows, rest)) = bytes.split_first() else { return Ok(Rows::default()) };
    let removable = (0..entry.sections.len()).filter(|&row| entry.sections[row].holding != Holding::Parts);
    let removable = removable.fold(Rows::default(), |mut rows, row| {
        rows.insert(row);
        rows
    });
    if rows == 0 || rows & !removable.0 != 0 || rest.iter().any(|&byte| byte != 0) {
        return Err(FrameError::Unknown("removed section"));
    }
    Ok(Rows(rows))
}

/// The frame without the sections `rows`, besides those that are gone already. Chain value, entry and with it the leaf hash
/// stay what they are.
pub(crate) fn reduce(seed: Seed, head: &Head, frame: &[u8], rows: Rows) -> Vec<u8> {
    let end = ENTRY + ENTRY_FIXED + head.entry.sections.len() * ROW;
    let removed = head.removed.union(rows);
    let mut bytes = frame[..end].to_vec();
    bytes.extend_from_slice(&u64::from(removed.0).to_le_bytes());
    let size = bytes.len();
    for row in (0..head.entry.sections.len()).filter(|&row| !removed.contains(row)) {
        bytes.extend_from_slice(&frame[head.section_range(row)]);
    }
    let crc = crc32c::crc32c(&bytes[size..]);
    let (end, end_len) = trailer(seed, size, bytes.len() - size, crc);
    bytes.extend_from_slice(&end[..end_len]);
    let length = u32::try_from(bytes.len() | REDUCED).expect("it is shorter than it was");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    let crc = seed.head(&bytes, size);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Parses an entry that stands by itself, not in a frame.
///
/// # Errors
/// [`FrameError`] says what is wrong first.
pub(crate) fn parse_whole_entry(bytes: &[u8]) -> Result<Entry, FrameError> {
    if bytes.len() < ENTRY_FIXED {
        return Err(FrameError::Short);
    }
    let rows = usize::from(bytes[6]);
    let size = ENTRY_FIXED + rows * ROW;
    if rows > MAX_SECTIONS || usize::from(u16_at(bytes, 4)) != size || bytes.len() != size {
        return Err(FrameError::Length);
    }
    parse_entry(bytes)
}

fn parse_entry(e: &[u8]) -> Result<Entry, FrameError> {
    if e[0] != ENTRY_VERSION {
        return Err(FrameError::Unknown("version"));
    }
    let kind = Kind::from_code(e[1]).ok_or(FrameError::Unknown("kind"))?;
    if u16_at(e, 2) != 0 || e[7] != 0 {
        return Err(FrameError::Unknown("flag"));
    }
    let sections = e[ENTRY_FIXED..].chunks_exact(ROW).map(parse_row).collect::<Result<_, _>>()?;
    let bytes16 = |at: usize| <[u8; 16]>::try_from(&e[at..at + 16]).expect("16 bytes");
    Ok(Entry {
        kind,
        sequence: u64_at(e, 8),
        leaf_index: u64_at(e, 16),
        durable: u64_at(e, 24),
        exchange: ExchangeId::from_bytes(bytes16(32)),
        wall_ns: u64_at(e, 48),
        boottime_ns: u64_at(e, 56),
        key_id: bytes16(64),
        sections,
    })
}

/// One row of a table, as it is stored.
pub(crate) fn encode_row(section: &Section) -> [u8; ROW] {
    let mut row = [0; ROW];
    row[0..2].copy_from_slice(&section.content.code().to_le_bytes());
    row[2..4].copy_from_slice(&section.holding.flags().to_le_bytes());
    row[4..8].copy_from_slice(&section.length.to_le_bytes());
    row[8..40].copy_from_slice(&section.digest);
    row
}

/// The row in `row`, which has [`ROW`] bytes.
pub(crate) fn parse_row(row: &[u8]) -> Result<Section, FrameError> {
    let code = u16_at(row, 0);
    let content = Content::ALL.into_iter().find(|c| c.code() == code).ok_or(FrameError::Unknown("section"))?;
    let flags = u16_at(row, 2);
    let holding = [Holding::Plain, Holding::Sealed, Holding::Parts]
        .into_iter()
        .find(|h| h.flags() == flags)
        .ok_or(FrameError::Unknown("section flag"))?;
    Ok(Section { content, holding, length: u32_at(row, 4), digest: hash_at(row, 8) })
}

/// Checks padding and body checksum of a whole frame whose head was parsed. The digests of the entry are the
/// verifier's to check.
///
/// # Errors
/// [`FrameError::Short`], [`FrameError::Padding`] or [`FrameError::BodyChecksum`].
pub(crate) fn check_body(seed: Seed, head: &Head, frame: &[u8]) -> Result<(), FrameError> {
    let frame = frame.get(..head.length).ok_or(FrameError::Short)?;
    let (sections, rest) = frame[head.size..].split_at(head.body());
    let (padding, crc) = rest.split_at(rest.len() - TRAILER);
    if padding.iter().any(|&byte| byte != 0) {
        return Err(FrameError::Padding);
    }
    if seed.body(crc32c::crc32c(sections)) != u32_at(crc, 0) {
        return Err(FrameError::BodyChecksum);
    }
    Ok(())
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

pub(crate) fn hash_at(bytes: &[u8], at: usize) -> Hash {
    bytes[at..at + 32].try_into().expect("32 bytes")
}
