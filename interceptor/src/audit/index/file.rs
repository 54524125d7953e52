//! Reading an index: a little of it at a time, each block checked before it is used.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::super::frame::{Content, u32_at, u64_at};
use super::super::walk::Damage;
use super::encode::{
    BLOCK, FACETS, HEADER, MAGIC, NOTE, PART, ROW, SECTION_TABLE, SECTIONS, Section, Stamp, VERSION, VISITOR,
};
use super::{PartRow, Rest, Row, Unfit, Visitor};
use crate::flow::ExchangeId;

/// Read when an index is opened: header, checksums, and mostly all dictionaries.
const FIRST: usize = 32 << 10;

/// Where an index is.
#[derive(Debug)]
enum Source {
    File(File),
    Memory(Vec<u8>),
}

/// Bytes of an index, and where they stand in it.
#[derive(Debug, Default)]
struct Window {
    at: usize,
    bytes: Vec<u8>,
}

impl Window {
    fn get(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.bytes.get(at.checked_sub(self.at)?..)?.get(..len)
    }
}

/// The index of one segment, open for reading.
#[derive(Debug)]
pub(in crate::audit) struct SegmentIndex {
    source: Source,
    header: Vec<u8>,
    /// CRC-32C of each block.
    checksums: Vec<u8>,
    /// What was read when it was opened; not checked yet.
    first: Window,
    /// The block that single entries of a section were last read from; checked.
    recent: [Window; SECTIONS],
}

impl SegmentIndex {
    /// An index in memory.
    pub(super) fn from_memory(bytes: Vec<u8>) -> Result<Self, Unfit> {
        let len = bytes.len();
        Self::new(Source::Memory(bytes), len)
    }

    /// An index in a file.
    pub(super) fn from_file(file: File) -> Result<Self, Unfit> {
        let len = file.metadata().map_err(|e| Unfit::Io(e.kind()))?.len();
        // Little pieces are wanted from here and there: an optimisation, so errors do not matter.
        let _ = nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_RANDOM);
        Self::new(Source::File(file), usize::try_from(len).map_err(|_| Unfit::Damaged("it is too large"))?)
    }

    fn new(source: Source, len: usize) -> Result<Self, Unfit> {
        let mut first = read(&source, 0, FIRST.min(len))?;
        let header = first.get(..HEADER).ok_or(Unfit::Damaged("it is cut short"))?.to_vec();
        if header[..8] != MAGIC {
            return Err(Unfit::Damaged("it does not start with the magic number of an index"));
        }
        if crc32c::crc32c(&header[..HEADER - 4]) != u32_at(&header, HEADER - 4) {
            return Err(Unfit::Damaged("the header's checksum does not match"));
        }
        if u32_at(&header, 8) != VERSION || u32_at(&header, 12) as usize != BLOCK {
            return Err(Unfit::Damaged("another version wrote it"));
        }
        let table = u32_at(&header, 156) as usize;
        let body = len.checked_sub(HEADER + table).ok_or(Unfit::Damaged("it is cut short"))?;
        if u64_at(&header, 160) != len as u64 || table != body.div_ceil(BLOCK) * 4 {
            return Err(Unfit::Damaged("its length is not what its header says"));
        }
        if HEADER + table > first.len() {
            first = read(&source, 0, HEADER + table)?;
        }
        let checksums = first[HEADER..HEADER + table].to_vec();
        if crc32c::crc32c(&checksums) != u32_at(&header, HEADER - 8) {
            return Err(Unfit::Damaged("the checksum of the checksums does not match"));
        }
        let first = Window { at: 0, bytes: first };
        let index = Self { source, header, checksums, first, recent: Default::default() };
        index.check_layout(len)?;
        Ok(index)
    }

    /// Whether every section lies in the file and has the length that the number of records demands.
    fn check_layout(&self, len: usize) -> Result<(), Unfit> {
        let (start, rows) = (HEADER + self.checksums.len(), self.rows() as usize);
        let fits = |section: Section, entry: usize, count: Option<usize>| {
            let (at, length) = self.section(section);
            let inside = at >= start as u64 && at.checked_add(length).is_some_and(|end| end <= len as u64);
            inside && length.is_multiple_of(entry as u64) && count.is_none_or(|n| length == (n * entry) as u64)
        };
        let fixed = [
            (Section::Visitors, VISITOR, None),
            (Section::Notes, NOTE, None),
            (Section::Damage, 1, None),
            (Section::Unended, 4, None),
            (Section::Unsure, 4, None),
            (Section::Times, 8, Some(rows)),
            (Section::Rows, ROW, Some(rows)),
            (Section::Ids, 16, Some(rows)),
            (Section::Parts, PART, None),
        ];
        let columns = (0..FACETS).all(|facet| {
            let column = match self.width(facet) {
                0 => fits(Section::Column(facet), 1, Some(0)),
                width @ (1 | 2 | 4) => fits(Section::Column(facet), width, Some(rows)),
                _ => false,
            };
            column && fits(Section::Dictionary(facet), 1, None)
        });
        let whole = columns && fixed.into_iter().all(|(section, entry, count)| fits(section, entry, count));
        whole.then_some(()).ok_or(Unfit::Damaged("its sections do not fit its length"))
    }

    fn section(&self, section: Section) -> (u64, u64) {
        let at = SECTION_TABLE + section.number() * 16;
        (u64_at(&self.header, at), u64_at(&self.header, at + 8))
    }

    fn bytes16(&self, at: usize) -> [u8; 16] {
        self.header[at..at + 16].try_into().expect("16 bytes")
    }

    pub(in crate::audit) fn segment_id(&self) -> [u8; 16] {
        self.bytes16(16)
    }

    pub(in crate::audit) fn generation(&self) -> [u8; 16] {
        self.bytes16(32)
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp { length: u64_at(&self.header, 48), modified: u64_at(&self.header, 56) }
    }

    /// The sequence number that the segment begins with.
    pub(super) fn first_sequence(&self) -> u64 {
        u64_at(&self.header, 64)
    }

    /// The sequence number that follows the last frame's.
    pub(in crate::audit) fn next_sequence(&self) -> u64 {
        u64_at(&self.header, 72)
    }

    /// Where the frames of the segment end.
    pub(in crate::audit) fn end(&self) -> u64 {
        u64_at(&self.header, 80)
    }

    /// When the records arrived: first and last.
    pub(super) fn times(&self) -> (u64, u64) {
        (u64_at(&self.header, 88), u64_at(&self.header, 96))
    }

    /// Smallest and largest id.
    pub(in crate::audit) fn id_range(&self) -> ([u8; 16], [u8; 16]) {
        (self.bytes16(104), self.bytes16(120))
    }

    /// Number of records that opened in the segment.
    pub(in crate::audit) fn rows(&self) -> u32 {
        u32_at(&self.header, 152)
    }

    /// Bytes of a value in a column.
    pub(super) fn width(&self, facet: usize) -> usize {
        usize::from(self.header[168 + facet])
    }

    /// A whole section, checked.
    pub(super) fn whole(&self, section: Section) -> Result<Vec<u8>, Unfit> {
        let (at, len) = self.section(section);
        let window = self.blocks(at as usize, len as usize)?;
        Ok(window.get(at as usize, len as usize).unwrap_or_default().to_vec())
    }

    /// `count` entries of `size` bytes from entry `first` of a section.
    fn entries(&mut self, section: Section, size: usize, first: u32, count: u32) -> Result<&[u8], Unfit> {
        let (start, length) = self.section(section);
        let (from, len) = (first as u64 * size as u64, count as usize * size);
        if from + len as u64 > length {
            return Err(Unfit::Damaged("it refers to an entry that it does not have"));
        }
        let at = (start + from) as usize;
        let number = section.number();
        if self.recent[number].get(at, len).is_none() {
            self.recent[number] = self.blocks(at, len)?;
        }
        self.recent[number].get(at, len).ok_or(Unfit::Damaged("it is cut short"))
    }

    /// The blocks that hold `len` bytes at `at`, checked.
    fn blocks(&self, at: usize, len: usize) -> Result<Window, Unfit> {
        if len == 0 {
            return Ok(Window { at, bytes: Vec::new() });
        }
        let (start, end) = (HEADER + self.checksums.len(), u64_at(&self.header, 160) as usize);
        let first = (at - start) / BLOCK;
        let from = start + first * BLOCK;
        let to = (start + (at + len - start).div_ceil(BLOCK) * BLOCK).min(end);
        let bytes = match self.first.get(from, to - from) {
            Some(bytes) => bytes.to_vec(),
            None => read(&self.source, from as u64, to - from)?,
        };
        if bytes.len() != to - from {
            return Err(Unfit::Damaged("it is cut short"));
        }
        let sums = self.checksums[first * 4..].chunks_exact(4);
        match bytes.chunks(BLOCK).zip(sums).all(|(block, sum)| crc32c::crc32c(block) == u32_at(sum, 0)) {
            true => Ok(Window { at: from, bytes }),
            false => Err(Unfit::Damaged("the checksum of a block does not match")),
        }
    }

    /// A record.
    pub(in crate::audit) fn row(&mut self, row: u32) -> Result<Row, Unfit> {
        let bytes = self.entries(Section::Rows, ROW, row, 1)?;
        Ok(Row { sequence: u64_at(bytes, 0), opening: place(bytes, 8), rest: rest(&bytes[12..]) })
    }

    /// A record's id.
    pub(in crate::audit) fn id(&mut self, row: u32) -> Result<ExchangeId, Unfit> {
        let bytes = self.entries(Section::Ids, 16, row, 1)?;
        Ok(ExchangeId::from_bytes(bytes.try_into().expect("16 bytes")))
    }

    /// All ids, in the order of the records.
    pub(in crate::audit) fn ids(&self) -> Result<Vec<[u8; 16]>, Unfit> {
        let bytes = self.whole(Section::Ids)?;
        Ok(bytes.chunks_exact(16).map(|id| id.try_into().expect("16 bytes")).collect())
    }

    /// Part frames.
    pub(in crate::audit) fn parts(&mut self, (first, count): (u32, u32)) -> Result<Vec<PartRow>, Unfit> {
        if count == 0 {
            return Ok(Vec::new());
        }
        Ok(self.entries(Section::Parts, PART, first, count)?.chunks_exact(PART).map(part).collect())
    }

    /// Exchanges that opened in other segments.
    pub(in crate::audit) fn visitors(&self) -> Result<Vec<Visitor>, Unfit> {
        let id = |bytes: &[u8]| ExchangeId::from_bytes(bytes[..16].try_into().expect("16 bytes"));
        let bytes = self.whole(Section::Visitors)?;
        Ok(bytes.chunks_exact(VISITOR).map(|bytes| Visitor { id: id(bytes), rest: rest(&bytes[16..]) }).collect())
    }

    /// Rows of requests whose end is not in the segment.
    pub(in crate::audit) fn unended(&self) -> Result<Vec<u32>, Unfit> {
        Ok(numbers(&self.whole(Section::Unended)?))
    }

    /// Rows of which the index does not know what they say.
    pub(super) fn unsure(&self) -> Result<Vec<u32>, Unfit> {
        Ok(numbers(&self.whole(Section::Unsure)?))
    }

    /// Where notes are, and when they were written.
    pub(in crate::audit) fn notes(&self) -> Result<Vec<(u64, u64)>, Unfit> {
        Ok(self.whole(Section::Notes)?.chunks_exact(NOTE).map(|note| (place(note, 0), u64_at(note, 4))).collect())
    }

    /// Damaged places of the segment at `path`.
    pub(in crate::audit) fn damage(&self, path: &Arc<Path>) -> Result<Vec<Damage>, Unfit> {
        let bytes = self.whole(Section::Damage)?;
        let (mut rest, mut damage) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let (offset, after) = take_u64(rest)?;
            let (sequence, after) = take_u64(after)?;
            let (reason, after) = take_text(after)?;
            let (path, reason) = (path.to_path_buf(), reason.to_owned());
            damage.push(Damage { path, offset, sequence, missing: None, reason });
            rest = after;
        }
        Ok(damage)
    }
}

fn read(source: &Source, at: u64, len: usize) -> Result<Vec<u8>, Unfit> {
    match source {
        Source::Memory(bytes) => {
            let at = (at as usize).min(bytes.len());
            Ok(bytes[at..(at + len).min(bytes.len())].to_vec())
        }
        Source::File(file) => {
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, at).map_err(|e| Unfit::Io(e.kind()))?;
            Ok(bytes)
        }
    }
}

fn place(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) * 8
}

fn rest(bytes: &[u8]) -> Rest {
    let end = Some(place(bytes, 0)).filter(|&end| end != 0);
    Rest { end, parts: (u32_at(bytes, 4), u32_at(bytes, 8)) }
}

fn part(bytes: &[u8]) -> PartRow {
    let content = Content::ALL.into_iter().find(|content| content.code() == u16::from(bytes[16]));
    let (sealed, damaged) = (bytes[17] & 1 != 0, bytes[17] & 2 != 0);
    let (sequence, offset, stored) = (u64_at(bytes, 0), place(bytes, 8), u32_at(bytes, 12));
    PartRow { offset, sequence, stored, content, sealed, damaged }
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|number| u32_at(number, 0)).collect()
}

const CUT: Unfit = Unfit::Damaged("a text in it is cut short");

fn take_u64(bytes: &[u8]) -> Result<(u64, &[u8]), Unfit> {
    let (number, rest) = bytes.split_at_checked(8).ok_or(CUT)?;
    Ok((u64_at(number, 0), rest))
}

pub(super) fn take_u32(bytes: &[u8]) -> Result<(u32, &[u8]), Unfit> {
    let (number, rest) = bytes.split_at_checked(4).ok_or(CUT)?;
    Ok((u32_at(number, 0), rest))
}

pub(super) fn take_text(bytes: &[u8]) -> Result<(&str, &[u8]), Unfit> {
    let (len, rest) = take_u32(bytes)?;
    let (text, rest) = rest.split_at_checked(len as usize).ok_or(CUT)?;
    Ok((std::str::from_utf8(text).map_err(|_| Unfit::Damaged("a text in it is not UTF-8"))?, rest))
}
