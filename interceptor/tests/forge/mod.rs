//! Frames taken apart and made right again, from docs/log-format.md and not with the log's own code: what somebody can do
//! who may write the log's files and has no key.
#![allow(dead_code, reason = "each target uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several targets")]

use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};
use crc32c::{crc32c, crc32c_append};

/// Bytes of a segment's header.
pub const HEADER: usize = 4096;
/// Where the entry of a frame begins, bytes of an entry without its table, and of a row of that.
const ENTRY: usize = 40;
const FIXED: usize = 80;
const ROW: usize = 40;

/// How far a forger goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Changed bytes stay as they are.
    Nothing,
    /// Checksums are right.
    Checksums,
    /// Sequence numbers, leaf indexes, digests and the chain are right as well.
    Chain,
}

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize
}

fn sha256(pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    context.finish().as_ref().try_into().expect("32 bytes")
}

/// Where the frames of a segment are, as far as their lengths make sense.
pub fn frames(segment: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = HEADER;
    while at + ENTRY + FIXED + 4 <= segment.len() {
        let length = number(segment, at);
        if length == 0 || !length.is_multiple_of(8) || sections(segment, at, length).is_none() {
            break;
        }
        found.push(at..at + length);
        at += length;
    }
    found
}

/// Where the sections of the frame at `at` are: of each its row and its bytes.
fn sections(segment: &[u8], at: usize, length: usize) -> Option<Vec<(usize, Range<usize>)>> {
    let rows = usize::from(segment[at + ENTRY + 6]);
    let table = at + ENTRY + FIXED;
    let mut from = table + rows * ROW;
    let end = at.checked_add(length).filter(|&end| end <= segment.len() && from + 4 <= end)?;
    let mut found = Vec::new();
    for row in (0..rows).map(|row| table + row * ROW) {
        let in_parts = segment[row + 2] == 2;
        let to = from + if in_parts { 0 } else { number(segment, row + 4) };
        if to + 4 > end {
            return None;
        }
        if !in_parts {
            found.push((row, from..to));
        }
        from = to;
    }
    Some(found)
}

/// The right edge of the Merkle tree: roots of its perfect subtrees, largest first.
#[derive(Default)]
struct Tree {
    size: u64,
    roots: Vec<[u8; 32]>,
}

impl Tree {
    fn before(segment: &[u8]) -> Self {
        let roots = segment[200..].chunks_exact(32).take(number(segment, 192));
        let size = u64::from_le_bytes(segment[104..112].try_into().expect("8 bytes"));
        Self { size, roots: roots.map(|root| root.try_into().expect("32 bytes")).collect() }
    }

    fn push(&mut self, mut node: [u8; 32]) {
        for _ in 0..self.size.trailing_ones() {
            node = sha256(&[&[1], &self.roots.pop().unwrap_or_default(), &node]);
        }
        self.roots.push(node);
        self.size += 1;
    }

    fn root(&self) -> [u8; 32] {
        let mut roots = self.roots.iter().rev();
        let Some(&last) = roots.next() else { return sha256(&[]) };
        roots.fold(last, |right, left| sha256(&[&[1], left, &right]))
    }
}

/// Makes segments that follow each other right again, headers included, as if they had been written like this.
pub fn rebuild(segments: &mut [Vec<u8>]) {
    for index in 0..segments.len() {
        let (before, from) = segments.split_at_mut(index);
        let segment = &mut from[0];
        if let Some(last) = before.last() {
            let mut tree = Tree::before(last);
            let mut sequence = u64::from_le_bytes(last[96..104].try_into().expect("8 bytes"));
            let mut chain = last[128..160].to_vec();
            for frame in frames(last) {
                let entry = &last[frame.start + ENTRY..];
                if entry[1] != 2 {
                    let size = usize::from(u16::from_le_bytes([entry[4], entry[5]]));
                    tree.push(sha256(&[&[0], &entry[..size]]));
                }
                sequence += 1;
                chain.copy_from_slice(&last[frame.start + 8..frame.start + 40]);
            }
            segment[96..104].copy_from_slice(&sequence.to_le_bytes());
            segment[104..112].copy_from_slice(&tree.size.to_le_bytes());
            segment[128..160].copy_from_slice(&chain);
            segment[160..192].copy_from_slice(&tree.root());
            segment[192..196].copy_from_slice(&(tree.roots.len() as u32).to_le_bytes());
            segment[200..HEADER - 4].fill(0);
            for (slot, root) in segment[200..HEADER - 4].chunks_exact_mut(32).zip(&tree.roots) {
                slot.copy_from_slice(root);
            }
        }
        reseal(segment, Effort::Chain);
    }
}

/// Makes a segment right again, as far as `effort` goes.
pub fn reseal(segment: &mut [u8], effort: Effort) {
    if effort == Effort::Nothing || segment.len() < HEADER {
        return;
    }
    let crc = crc32c(&segment[..HEADER - 4]);
    segment[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    let seed = crc32c(&segment[32..48]);
    let mut link = sha256(&[&[3], &segment[128..160], &segment[..HEADER]]);
    let mut sequence = u64::from_le_bytes(segment[96..104].try_into().expect("8 bytes"));
    let mut leaves = u64::from_le_bytes(segment[104..112].try_into().expect("8 bytes"));
    for frame in frames(segment) {
        let at = frame.start;
        let sections = sections(segment, at, frame.len()).expect("looked at before");
        let entry = at + ENTRY..at + ENTRY + FIXED + ROW * usize::from(segment[at + ENTRY + 6]);
        if effort == Effort::Chain {
            segment[entry.start + 8..entry.start + 16].copy_from_slice(&sequence.to_le_bytes());
            segment[entry.start + 16..entry.start + 24].copy_from_slice(&leaves.to_le_bytes());
            for (row, range) in &sections {
                let digest = sha256(&[&segment[range.clone()]]);
                segment[row + 8..row + 40].copy_from_slice(&digest);
            }
            let leaf = sha256(&[&[0], &segment[entry.clone()]]);
            link = sha256(&[&[2], &link, &leaf]);
            segment[at + 8..at + 40].copy_from_slice(&link);
            sequence = sequence.wrapping_add(1);
            leaves = leaves.wrapping_add(u64::from(segment[entry.start + 1] != 2));
        }
        let head = crc32c_append(crc32c_append(seed, &segment[at..at + 4]), &segment[at + 8..entry.end]);
        segment[at + 4..at + 8].copy_from_slice(&head.to_le_bytes());
        let end = sections.iter().map(|(_, range)| range.end).max().unwrap_or(entry.end);
        let body = crc32c_append(seed, &crc32c(&segment[entry.end..end]).to_le_bytes());
        segment[frame.end - 4..frame.end].copy_from_slice(&body.to_le_bytes());
    }
}

/// Makes the checksums of an index right again.
pub fn reseal_index(index: &mut [u8]) {
    const HEADER: usize = 1024;
    const BLOCK: usize = 16 << 10;
    let table = HEADER + number(index, 156);
    let sums: Vec<u8> = index[table..].chunks(BLOCK).flat_map(|block| crc32c(block).to_le_bytes()).collect();
    index[HEADER..table].copy_from_slice(&sums);
    let of_sums = crc32c(&index[HEADER..table]).to_le_bytes();
    index[HEADER - 8..HEADER - 4].copy_from_slice(&of_sums);
    let of_header = crc32c(&index[..HEADER - 4]).to_le_bytes();
    index[HEADER - 4..HEADER].copy_from_slice(&of_header);
}
