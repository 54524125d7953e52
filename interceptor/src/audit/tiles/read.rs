//! Roots of subtrees from tiles: a handful of reads, however large the tree is.
//!
//! What comes from here proves nothing: whoever uses it checks that it leads to a root that was signed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

use super::super::auditor::open;
use super::super::tree::{Frontier, Hash, node_hash};
use super::growth::root;
use super::{HASH, HEIGHT, Row, Tile, WIDTH};

/// The tiles of a tree of some size.
pub(in crate::audit) struct Tiles<R> {
    size: u64,
    read: R,
    /// Those that were read.
    known: BTreeMap<(u32, u64), Vec<Hash>>,
}

/// Reads hashes of the tiles below `dir`.
pub(in crate::audit) fn on_disk(dir: &Path) -> impl FnMut(Tile) -> Option<Vec<u8>> {
    move |tile| {
        // No more than a tile may have.
        let mut bytes = Vec::with_capacity(WIDTH * HASH);
        let file = open(&tile.path(dir)).ok()?;
        file.take((WIDTH * HASH) as u64 + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() == tile.width * HASH).then_some(bytes)
    }
}

impl<R: FnMut(Tile) -> Option<Vec<u8>>> Tiles<R> {
    /// Of a tree of `size` leaves; `read` gives a tile's hashes, if it has as many as it should.
    pub(in crate::audit) fn new(size: u64, read: R) -> Self {
        Self { size, read, known: BTreeMap::new() }
    }

    /// The roots of subtrees as proofs have them; none when a tile is not there.
    pub(in crate::audit) fn roots(&mut self, subtrees: &[Range<u64>]) -> Option<Vec<Hash>> {
        subtrees.iter().map(|range| self.subtree(range)).collect()
    }

    /// The root over a range of leaves that begins at a multiple of the power of two that is not smaller than it.
    fn subtree(&mut self, range: &Range<u64>) -> Option<Hash> {
        let (mut at, mut perfect) = (range.start, Vec::new());
        if range.is_empty() || range.end > self.size {
            return None;
        }
        while at < range.end {
            let height = (range.end - at).ilog2().min(at.trailing_zeros());
            perfect.push(self.node(height, at >> height)?);
            at += 1 << height;
        }
        let last = perfect.pop()?;
        Some(perfect.into_iter().rev().fold(last, |right, left| node_hash(&left, &right)))
    }

    /// The root of the perfect subtree of 2^`height` leaves, `index` others before it.
    fn node(&mut self, height: u32, index: u64) -> Option<Hash> {
        let (level, within) = (height / HEIGHT, height % HEIGHT);
        let first = index << within;
        let hashes = self.tile(level, first / WIDTH as u64)?;
        let from = (first % WIDTH as u64) as usize;
        hashes.get(from..from + (1 << within)).map(root)
    }

    fn tile(&mut self, level: u32, number: u64) -> Option<&[Hash]> {
        if !self.known.contains_key(&(level, number)) {
            let row = Row::Hashes(level);
            let hashes = self.size.checked_shr(HEIGHT * level).unwrap_or(0);
            let width = usize::try_from(hashes.checked_sub(number * WIDTH as u64)?).ok()?.min(WIDTH);
            if width == 0 {
                return None;
            }
            // The log may have grown since, and a wider form, the full one mostly, have taken the place of this one.
            let mut forms = [width, WIDTH].into_iter().chain(width + 1..WIDTH);
            let bytes = forms.find_map(|width| (self.read)(Tile { row, number, width }))?;
            let (hashes, _) = bytes.as_chunks::<HASH>();
            self.known.insert((level, number), hashes.iter().take(width).copied().collect());
        }
        self.known.get(&(level, number)).map(Vec::as_slice)
    }
}

/// The edge of a tree of `full` tiles of level 0, from the tiles below `dir`.
pub(super) fn edge(dir: &Path, full: u64) -> Option<Vec<Vec<Hash>>> {
    let (mut levels, mut below, mut read) = (Vec::new(), full, on_disk(dir));
    for level in 0.. {
        if below == 0 {
            return Some(levels);
        }
        // The tiles of this level whose roots are in no full tile of the next.
        let rest = below - below % WIDTH as u64..below;
        let hashes = rest.map(|number| {
            let bytes = read(Tile::full(Row::Hashes(level), number))?;
            Some(root(bytes.as_chunks::<HASH>().0))
        });
        levels.push(hashes.collect::<Option<Vec<_>>>()?);
        below /= WIDTH as u64;
    }
    None
}

/// Fuzz entry: whatever tiles hold, a subtree of theirs has a root or none, and the root is that of its leaves where
/// level 0 has them all.
///
/// # Panics
/// When that does not hold.
#[doc(hidden)]
pub fn fuzz_tiles(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<24>() else { return };
    let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("8 bytes"));
    let (size, range) = (number(0), number(8)..number(16));
    let read = |tile: Tile| {
        let bytes = rest.get(..tile.width * HASH)?;
        (tile.row == Row::Hashes(0) && tile.number == 0).then(|| bytes.to_vec())
    };
    let mut tiles = Tiles::new(size, read);
    let Some(found) = tiles.subtree(&range) else { return };
    let mut expected = Frontier::default();
    for leaf in &rest.as_chunks::<HASH>().0[range.start as usize..range.end as usize] {
        expected.push(*leaf);
    }
    // A range that is no subtree of a proof has another root: it is not one of the tree's.
    let length = range.end - range.start;
    if range.start.is_multiple_of(length.next_power_of_two()) {
        assert_eq!(found, expected.root());
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::subtrees::{consistency, inclusion, roots};
    use super::super::super::tree::leaf_hash;
    use super::super::growth::Growth;
    use super::*;

    #[test]
    fn the_hashes_of_every_proof_are_those_that_all_leaves_give() {
        let leaves: Vec<Hash> = (0..700u32).map(|n| leaf_hash(&n.to_le_bytes())).collect();
        let (mut growth, mut files) = (Growth::default(), BTreeMap::new());
        for (size, leaf) in (1..).zip(&leaves) {
            let keep = |tile: Tile, bytes: &[u8]| {
                files.insert((tile.row, tile.number), bytes.to_vec());
                Ok::<(), std::convert::Infallible>(())
            };
            growth.push(*leaf, b"", keep).unwrap();
            // As much as there is of each tile: wider than the tree that is asked for needs it.
            let mut now = files.clone();
            now.extend(growth.partial().map(|(tile, bytes)| ((tile.row, tile.number), bytes.to_vec())));
            let read = |tile: Tile| Some(now.get(&(tile.row, tile.number))?.get(..tile.width * HASH)?.to_vec());
            if size > 40 && size % 37 != 0 && size % 256 > 1 {
                continue;
            }
            let mut tiles = Tiles::new(size, read);
            let leaves = &leaves[..size as usize];
            for other in (0..size).step_by(if size > 40 { 13 } else { 1 }) {
                for subtrees in [inclusion(other, size), consistency(other, size)] {
                    assert_eq!(tiles.roots(&subtrees), Some(roots(&subtrees, leaves)), "{other} of {size}");
                }
            }
        }
    }

    #[test]
    fn the_form_of_a_log_that_has_grown_is_as_good() {
        let leaves: Vec<Hash> = (0..9u32).map(|n| leaf_hash(&n.to_le_bytes())).collect();
        let read = |tile: Tile| {
            let is_there = tile.row == Row::Hashes(0) && tile.number == 0 && tile.width == leaves.len();
            is_there.then(|| leaves.concat())
        };
        let subtrees = inclusion(2, 5);
        assert_eq!(Tiles::new(5, read).roots(&subtrees), Some(roots(&subtrees, &leaves[..5])));
    }

    #[test]
    fn what_is_not_there_or_not_of_the_tree_has_no_root() {
        let mut tiles = Tiles::new(10, |tile: Tile| (tile.row == Row::Hashes(0)).then(|| vec![7; tile.width * HASH]));
        let mut root = |subtree| tiles.roots(std::slice::from_ref(&subtree));
        assert!(root(0..10).is_some() && root(8..10).is_some());
        assert_eq!((root(0..11), root(4..4)), (None, None));
        assert_eq!(Tiles::new(10, |_| None).roots(std::slice::from_ref(&(0..8))), None);
        assert_eq!(Tiles::new(u64::MAX, |_| None).roots(std::slice::from_ref(&(0..u64::MAX))), None);
    }
}
