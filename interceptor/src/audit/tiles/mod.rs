//! The exchanges' Merkle tree as [C2SP tlog-tiles](https://c2sp.org/tlog-tiles) below the log's directory: what makes a
//! proof without reading the log, and what lets others read tree and entries.
//!
//! Tiles are a cache. They are made from the frames that a signed checkpoint covers, by a thread that nothing waits for;
//! no write of the log, no recovery and no verdict depends on them. Whoever makes a proof from them finds out whether
//! they lead to the root that was signed, and reads the log itself when they do not. The verifier looks at them last, and
//! names one that does not say what the log does.
//!
//! ```text
//! tile/<level>/<number>[.p/<width>]     hashes of 256 subtrees of 256^level leaves each, or of fewer at the tree's edge
//! tile/entries/<number>[.p/<width>]     the entries that level 0 is the leaf hashes of
//! ```

mod check;
mod growth;
mod keep;
mod read;

use std::io;
use std::path::{Path, PathBuf};

use super::Time;
pub(super) use check::TileCheck;
pub(crate) use keep::TileKeeper;
pub use read::fuzz_tiles;
pub(super) use read::{Tiles, on_disk};

/// Name of the directory.
const DIRECTORY: &str = "tile";
/// Hashes of a full tile, entries of a full bundle.
const WIDTH: usize = 256;
/// The same as a power of two.
const HEIGHT: u32 = 8;
const HASH: usize = size_of::<super::Hash>();
/// End of the name of the directory with the partial forms of a tile.
const PARTIAL: &str = "p";

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    /// Entries of leaves.
    Entries,
    /// Roots of subtrees of 256 to the power of the level leaves.
    Hashes(u32),
}

/// A tile, or a bundle of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    row: Row,
    /// How many of its row are before it.
    number: u64,
    /// Hashes or entries in it, 1 to 256.
    width: usize,
}

impl Tile {
    fn full(row: Row, number: u64) -> Self {
        Self { row, number, width: WIDTH }
    }

    /// The file, in the log's directory.
    fn path(&self, dir: &Path) -> PathBuf {
        let full = Self::full(self.row, self.number);
        match self.width {
            WIDTH => full.in_full(dir),
            width => full.in_full(dir).with_extension(PARTIAL).join(width.to_string()),
        }
    }

    /// The file of the full tile: `x001/x234/067` for number 1,234,067.
    fn in_full(&self, dir: &Path) -> PathBuf {
        let row = match self.row {
            Row::Entries => "entries".to_owned(),
            Row::Hashes(level) => level.to_string(),
        };
        let mut path = dir.join(DIRECTORY).join(row);
        let digits = self.number.to_string();
        let digits = format!("{digits:0>width$}", width = digits.len().next_multiple_of(3));
        let last = digits.len() - 3;
        for at in (0..last).step_by(3) {
            path.push(format!("x{}", &digits[at..at + 3]));
        }
        path.join(&digits[last..])
    }

    /// The directory with the forms it had before it was full.
    fn partial_forms(&self, dir: &Path) -> PathBuf {
        self.in_full(dir).with_extension(PARTIAL)
    }

    /// The number of leaves that a tree with this tile has at least; none when no tree is that large.
    fn leaves(&self) -> Option<u64> {
        let level = match self.row {
            Row::Entries => 0,
            Row::Hashes(level) => level,
        };
        let hashes = self.number.checked_mul(WIDTH as u64)?.checked_add(self.width as u64)?;
        hashes.checked_mul(1u64.checked_shl(HEIGHT * level)?)
    }
}

/// Moves tiles aside that are not of this log, or not of what it has become: they may be evidence of what it was.
pub(super) fn set_aside(dir: &Path) -> io::Result<()> {
    let name = format!("{DIRECTORY}.{}.quarantine", Time::now().unix_ns());
    match std::fs::rename(dir.join(DIRECTORY), dir.join(&name)) {
        Ok(()) => log::warn!("audit log: tiles that say something else than the log are kept as {name}"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_another_implementation() {
        for (level, number, width) in
            [(0, 0, 256), (0, 5, 1), (1, 999, 255), (2, 1_000, 256), (0, 1_234_067, 256), (7, 12_345_678, 3)]
        {
            let theirs = |is_data| tlog_tiles::Tile::new(8, level, number, width, is_data).path();
            let path = |row| Tile { row, number, width: width as usize }.path(Path::new(""));
            assert_eq!(Path::new(&theirs(false).replacen("tile/8/", "tile/", 1)), path(Row::Hashes(level.into())));
            if level == 0 {
                assert_eq!(Path::new(&theirs(true).replacen("tile/8/data", "tile/entries", 1)), path(Row::Entries));
            }
        }
    }

    #[test]
    fn a_tile_says_how_large_its_tree_is() {
        let leaves = |row, number, width| Tile { row, number, width }.leaves();
        assert_eq!(leaves(Row::Entries, 1, 3), Some(259));
        assert_eq!(leaves(Row::Hashes(1), 0, 17), Some(17 * 256));
        assert_eq!(leaves(Row::Hashes(7), u64::MAX, 1), None);
        assert_eq!(leaves(Row::Hashes(9), 0, 1), None);
    }
}
