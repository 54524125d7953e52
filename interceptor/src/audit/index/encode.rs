//! Writing an index.
//!
//! ```text
//! 0     [8]   magic                      8    u32  version, 1            12  u32  bytes of a block
//! 16    [16]  segment id                 32   [16] generation
//! 48    u64   length of the segment      56   u64  when it was last modified, nanoseconds since 1970
//! 64    u64   its first sequence number  72   u64  the one after its last frame's
//! 80    u64   where its frames end
//! 88    u64   earliest arrival           96   u64  latest                (0 and 0 without rows)
//! 104   [16]  smallest id                120  [16] largest
//! 136   u64   earliest note              144  u64  latest                (0 and 0 without notes)
//! 152   u32   records                    156  u32  bytes of the checksums that follow the header
//! 160   u64   length of the index        168  [8]  bytes of a value in each column, 0: all have the first value
//! 176   (u64 offset, u64 length) of each section
//! 1016  u32   CRC-32C of the checksums   1020 u32  CRC-32C of bytes 0 to 1019
//! 1024  u32   CRC-32C of each block      then the blocks
//! ```

use super::super::walk::Damage;
use super::{PartRow, Rest, Row, Visitor};

pub(super) const MAGIC: [u8; 8] = *b"\x89AIDX\r\n\x1a";
/// Higher with each change of what is made from the same frames, too: the verifier compares all bytes.
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER: usize = 1024;
/// Bytes that one checksum covers.
pub(super) const BLOCK: usize = 16 << 10;
pub(super) const SECTION_TABLE: usize = 176;
/// Number of kinds of values, see `Facet::ALL`.
pub(super) const FACETS: usize = 6;
pub(super) const ROW: usize = 24;
pub(super) const VISITOR: usize = 28;
pub(super) const PART: usize = 20;
pub(super) const NOTE: usize = 12;

/// Pieces of an index, in their order. What decides whether more must be read comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Dictionary(usize),
    Visitors,
    Notes,
    Damage,
    /// Rows of requests whose end is not in the segment.
    Unended,
    /// Rows of which the index does not know what they say.
    Unsure,
    Column(usize),
    Times,
    Rows,
    Ids,
    Parts,
}

pub(super) const SECTIONS: usize = 2 * FACETS + 9;

impl Section {
    pub(super) fn number(self) -> usize {
        match self {
            Self::Dictionary(facet) => facet,
            Self::Visitors => FACETS,
            Self::Notes => FACETS + 1,
            Self::Damage => FACETS + 2,
            Self::Unended => FACETS + 3,
            Self::Unsure => FACETS + 4,
            Self::Column(facet) => FACETS + 5 + facet,
            Self::Times => 2 * FACETS + 5,
            Self::Rows => 2 * FACETS + 6,
            Self::Ids => 2 * FACETS + 7,
            Self::Parts => 2 * FACETS + 8,
        }
    }
}

/// The segment that an index is made from, as it was then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::audit) struct Stamp {
    /// Bytes of the file.
    pub(in crate::audit) length: u64,
    /// Nanoseconds since 1970.
    pub(in crate::audit) modified: u64,
}

/// What an index says, before it is written.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) segment_id: [u8; 16],
    pub(super) generation: [u8; 16],
    pub(super) first_sequence: u64,
    pub(super) next_sequence: u64,
    /// Where the frames end.
    pub(super) end: u64,
    pub(super) rows: Vec<Row>,
    pub(super) ids: Vec<[u8; 16]>,
    pub(super) times: Vec<u64>,
    /// For each kind of value, the number of each record's values in the dictionary.
    pub(super) values: [Vec<u32>; FACETS],
    pub(super) dictionaries: [Vec<Vec<String>>; FACETS],
    pub(super) unended: Vec<u32>,
    pub(super) unsure: Vec<u32>,
    pub(super) visitors: Vec<Visitor>,
    pub(super) parts: Vec<PartRow>,
    /// Offset and time of each note.
    pub(super) notes: Vec<(u64, u64)>,
    pub(super) damage: Vec<Damage>,
}

impl Columns {
    /// The index as a file has it.
    pub(super) fn encode(&self, stamp: Stamp) -> Vec<u8> {
        let sections = self.sections();
        let body: usize = sections.iter().map(Vec::len).sum();
        let table = body.div_ceil(BLOCK) * 4;
        let mut bytes = vec![0; HEADER + table];
        bytes.reserve(body);
        for (number, section) in sections.iter().enumerate() {
            let at = SECTION_TABLE + number * 16;
            let start = bytes.len() as u64;
            bytes[at..at + 8].copy_from_slice(&start.to_le_bytes());
            bytes[at + 8..at + 16].copy_from_slice(&(section.len() as u64).to_le_bytes());
            bytes.extend_from_slice(section);
        }
        let checksums: Vec<u8> =
            bytes[HEADER + table..].chunks(BLOCK).flat_map(|block| crc32c::crc32c(block).to_le_bytes()).collect();
        bytes[HEADER..HEADER + table].copy_from_slice(&checksums);
        self.header(stamp, &mut bytes, table);
        bytes
    }

    fn header(&self, stamp: Stamp, bytes: &mut [u8], table: usize) {
        let total = bytes.len() as u64;
        let checksums = crc32c::crc32c(&bytes[HEADER..HEADER + table]);
        let range = |values: &mut dyn Iterator<Item = u64>| {
            values.fold(None, |range: Option<(u64, u64)>, v| {
                Some(range.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
            })
        };
        let times = range(&mut self.times.iter().copied()).unwrap_or_default();
        let notes = range(&mut self.notes.iter().map(|(_, time)| *time)).unwrap_or_default();
        let zeros = [0; 16];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[16..32].copy_from_slice(&self.segment_id);
        bytes[32..48].copy_from_slice(&self.generation);
        bytes[104..120].copy_from_slice(self.ids.iter().min().unwrap_or(&zeros));
        bytes[120..136].copy_from_slice(self.ids.iter().max().unwrap_or(&zeros));
        for (at, value) in [
            (48, stamp.length),
            (56, stamp.modified),
            (64, self.first_sequence),
            (72, self.next_sequence),
            (80, self.end),
            (88, times.0),
            (96, times.1),
            (136, notes.0),
            (144, notes.1),
            (160, total),
        ] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        for (at, value) in [
            (8, VERSION),
            (12, BLOCK as u32),
            (152, self.rows.len() as u32),
            (156, table as u32),
            (HEADER - 8, checksums),
        ] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        for (facet, dictionary) in self.dictionaries.iter().enumerate() {
            bytes[168 + facet] = width(dictionary.len()) as u8;
        }
        let crc = crc32c::crc32c(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    }

    fn sections(&self) -> Vec<Vec<u8>> {
        let mut sections = vec![Vec::new(); SECTIONS];
        let mut put = |section: Section, bytes: Vec<u8>| sections[section.number()] = bytes;
        for (facet, (dictionary, values)) in self.dictionaries.iter().zip(&self.values).enumerate() {
            put(Section::Dictionary(facet), encode_dictionary(dictionary));
            let width = width(dictionary.len());
            put(Section::Column(facet), values.iter().flat_map(|v| v.to_le_bytes().into_iter().take(width)).collect());
        }
        put(Section::Visitors, self.visitors.iter().flat_map(encode_visitor).collect());
        put(
            Section::Notes,
            self.notes.iter().flat_map(|(at, time)| join(&[&place(*at), &time.to_le_bytes()])).collect(),
        );
        put(Section::Damage, self.damage.iter().flat_map(encode_damage).collect());
        put(Section::Unended, self.unended.iter().flat_map(|row| row.to_le_bytes()).collect());
        put(Section::Unsure, self.unsure.iter().flat_map(|row| row.to_le_bytes()).collect());
        put(Section::Times, self.times.iter().flat_map(|time| time.to_le_bytes()).collect());
        put(Section::Rows, self.rows.iter().flat_map(encode_row).collect());
        put(Section::Ids, self.ids.concat());
        put(Section::Parts, self.parts.iter().flat_map(encode_part).collect());
        sections
    }
}

/// Bytes of a number below `count`.
fn width(count: usize) -> usize {
    match count {
        0 | 1 => 0,
        2..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// Frames start at multiples of 8, and a segment has at most 2 GiB.
fn place(offset: u64) -> [u8; 4] {
    u32::try_from(offset / 8).expect("the builder takes no frame that lies further back").to_le_bytes()
}

fn join(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

fn encode_rest(rest: &Rest) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&place(rest.end.unwrap_or(0)));
    bytes[4..8].copy_from_slice(&rest.parts.0.to_le_bytes());
    bytes[8..].copy_from_slice(&rest.parts.1.to_le_bytes());
    bytes
}

fn encode_row(row: &Row) -> Vec<u8> {
    join(&[&row.sequence.to_le_bytes(), &place(row.opening), &encode_rest(&row.rest)])
}

fn encode_visitor(visitor: &Visitor) -> Vec<u8> {
    join(&[visitor.id.as_bytes(), &encode_rest(&visitor.rest)])
}

fn encode_part(part: &PartRow) -> Vec<u8> {
    let content = part.content.map_or(0, super::Content::code) as u8;
    let flags = u8::from(part.sealed) | u8::from(part.damaged) << 1;
    let (sequence, stored) = (part.sequence.to_le_bytes(), part.stored.to_le_bytes());
    join(&[&sequence, &place(part.offset), &stored, &[content, flags, 0, 0]])
}

fn encode_text(text: &str) -> Vec<u8> {
    join(&[&(text.len() as u32).to_le_bytes(), text.as_bytes()])
}

fn encode_damage(damage: &Damage) -> Vec<u8> {
    join(&[&damage.offset.to_le_bytes(), &damage.sequence.to_le_bytes(), &encode_text(&damage.reason)])
}

fn encode_dictionary(dictionary: &[Vec<String>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for values in dictionary {
        bytes.extend((values.len() as u32).to_le_bytes());
        values.iter().for_each(|value| bytes.extend(encode_text(value)));
    }
    bytes
}

/// Bytes with the checksums that they would have as an index, so that a fuzzer gets past them.
pub(super) fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    use super::super::frame::u32_at;
    let mut bytes = bytes.to_vec();
    if bytes.len() < HEADER {
        return bytes;
    }
    let total = bytes.len() as u64;
    bytes[160..168].copy_from_slice(&total.to_le_bytes());
    let table = u32_at(&bytes, 156) as usize;
    if bytes.len() >= HEADER + table {
        let blocks = bytes[HEADER + table..].chunks(BLOCK);
        let sums: Vec<u8> = blocks.flat_map(|block| crc32c::crc32c(block).to_le_bytes()).collect();
        if sums.len() == table {
            bytes[HEADER..HEADER + table].copy_from_slice(&sums);
        }
        let crc = crc32c::crc32c(&bytes[HEADER..HEADER + table]);
        bytes[HEADER - 8..HEADER - 4].copy_from_slice(&crc.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes[..HEADER - 4]);
    bytes[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    bytes
}
