//! The tree's edge as it grows, level by level: fills tile after tile.

use super::super::tree::{Frontier, Hash, node_hash, sha256};
use super::{Row, Tile, WIDTH};

/// The tiles at the edge of a tree, which are not full.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth {
    size: u64,
    /// The hashes of each level's last tile, level 0 first.
    levels: Vec<Vec<Hash>>,
    /// The entries of level 0's, each with its length before it.
    bundle: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Growth {
    /// The edge of a tree that has `size` leaves, all of its tiles of level 0 full; `levels` are the hashes that are not in
    /// a full tile, from level 1 on.
    pub(super) fn of_full(size: u64, levels: Vec<Vec<Hash>>) -> Self {
        let levels = std::iter::once(Vec::new()).chain(levels).collect();
        Self { size, levels, ..Self::default() }
    }

    /// Number of leaves.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. Hands what that fills to `full`, the bundle of entries and the tile of level 0 first.
    pub(super) fn push<E>(
        &mut self,
        leaf: Hash,
        entry: &[u8],
        mut full: impl FnMut(Tile, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let length = u16::try_from(entry.len()).expect("an entry has at most a few hundred bytes");
        self.bundle.extend_from_slice(&length.to_be_bytes());
        self.bundle.extend_from_slice(entry);
        self.ends.push(self.bundle.len());
        self.size += 1;
        if self.ends.len() == WIDTH {
            full(Tile::full(Row::Entries, self.size / WIDTH as u64 - 1), &self.bundle)?;
            self.bundle.clear();
            self.ends.clear();
        }
        let (mut hash, mut count) = (leaf, self.size);
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(WIDTH));
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            if hashes.len() < WIDTH {
                break;
            }
            count /= WIDTH as u64;
            full(Tile::full(Row::Hashes(level as u32), count - 1), hashes.as_flattened())?;
            hash = root(hashes);
            hashes.clear();
        }
        Ok(())
    }

    /// The tree's root.
    pub(super) fn root(&self) -> Hash {
        // Those of the lower levels are at the right.
        let mut subtrees =
            self.levels.iter().flat_map(|hashes| frontier(hashes).roots().iter().rev().copied().collect::<Vec<_>>());
        let Some(last) = subtrees.next() else { return sha256(b"") };
        subtrees.fold(last, |right, left| node_hash(&left, &right))
    }

    /// The tiles that are not full and not empty.
    pub(super) fn partial(&self) -> impl Iterator<Item = (Tile, &[u8])> {
        let entries = (!self.ends.is_empty()).then(|| {
            let tile = Tile { row: Row::Entries, number: self.size / WIDTH as u64, width: self.ends.len() };
            (tile, self.bundle.as_slice())
        });
        let levels = self.levels.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()).map(|(level, hashes)| {
            let number = self.size.checked_shr(super::HEIGHT * (level as u32 + 1)).unwrap_or(0);
            (Tile { row: Row::Hashes(level as u32), number, width: hashes.len() }, hashes.as_flattened())
        });
        entries.into_iter().chain(levels)
    }
}

/// The root of the subtree that the hashes of a tile are the leaves of.
pub(super) fn root(hashes: &[Hash]) -> Hash {
    frontier(hashes).root()
}

fn frontier(hashes: &[Hash]) -> Frontier {
    let mut frontier = Frontier::default();
    hashes.iter().for_each(|hash| frontier.push(*hash));
    frontier
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::super::tree::leaf_hash;
    use super::*;

    #[test]
    fn the_root_is_the_trees_at_every_size_and_each_tile_is_filled_once() {
        let (mut growth, mut tree, mut filled) = (Growth::default(), Frontier::default(), Vec::new());
        for n in 0..(3 * 65_536 + 300u32) {
            let entry = n.to_le_bytes();
            let leaf = leaf_hash(&entry);
            let pushed = growth.push(leaf, &entry, |tile, bytes| {
                assert_eq!(tile.width, WIDTH);
                let expected = if tile.row == Row::Entries { WIDTH * 6 } else { WIDTH * 32 };
                assert_eq!(bytes.len(), expected);
                filled.push((tile.row, tile.number));
                Ok::<(), Infallible>(())
            });
            pushed.unwrap();
            tree.push(leaf);
            if n < 600 || n % 1999 == 0 || n % 65_536 < 2 {
                assert_eq!(growth.root(), tree.root(), "{n}");
            }
        }
        let of = |row| filled.iter().filter(|(of, _)| *of == row).map(|(_, number)| *number).collect::<Vec<_>>();
        for row in [Row::Entries, Row::Hashes(0)] {
            assert_eq!(of(row), (0..769).collect::<Vec<_>>());
        }
        assert_eq!((of(Row::Hashes(1)), of(Row::Hashes(2))), (vec![0, 1, 2], vec![]));
        let partial: Vec<_> = growth.partial().map(|(tile, _)| (tile.row, tile.number, tile.width)).collect();
        let edge = [(Row::Entries, 769, 44), (Row::Hashes(0), 769, 44), (Row::Hashes(1), 3, 1), (Row::Hashes(2), 0, 3)];
        assert_eq!(partial, edge);
    }
}
