//! Whether the tiles that are there say what the log does.

use std::convert::Infallible;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::super::auditor::open;
use super::super::tree::Hash;
use super::growth::Growth;
use super::{DIRECTORY, HASH, PARTIAL, Row, Tile, WIDTH};

/// Directories that the number of a tile may take: three digits each, of at most twenty.
const DEPTH: usize = 6;

/// Compares tiles with the leaves as they pass by. Tiles that are missing are no fault.
#[derive(Debug)]
pub(in crate::audit) struct TileCheck {
    dir: PathBuf,
    growth: Growth,
    /// Tiles that were compared.
    compared: u64,
    /// The first that is wrong, and how.
    wrong: Option<(PathBuf, String)>,
    /// The largest tree that one of them is of, and which.
    largest: Option<(u64, PathBuf)>,
}

impl TileCheck {
    /// For the tiles of the log in `dir`; none when there are none. Made before the leaves are read: the log of which there
    /// are tiles now is then read.
    pub(in crate::audit) fn new(dir: &Path) -> Option<Self> {
        let all = dir.join(DIRECTORY);
        all.is_dir().then(|| {
            let (growth, wrong) = (Growth::default(), None);
            Self { dir: dir.to_path_buf(), growth, compared: 0, wrong, largest: largest(dir) }
        })
    }

    /// The next leaf.
    pub(in crate::audit) fn push(&mut self, leaf: Hash, entry: &[u8]) {
        let (dir, compared, wrong) = (&self.dir, &mut self.compared, &mut self.wrong);
        let compare = |tile, bytes: &[u8]| {
            compare(dir, tile, bytes, compared, wrong);
            Ok::<(), Infallible>(())
        };
        match self.growth.push(leaf, entry, compare) {
            Ok(()) => {}
        }
    }

    /// After the last leaf: how many tiles were compared, or the first that is wrong, and how.
    pub(in crate::audit) fn finish(mut self) -> Result<u64, (PathBuf, String)> {
        for (tile, bytes) in self.growth.partial() {
            compare(&self.dir, tile, bytes, &mut self.compared, &mut self.wrong);
        }
        if let Some((leaves, path)) = self.largest
            && leaves > self.growth.size()
        {
            let reason = format!("it is of a tree of {leaves} leaves, but the log has {}", self.growth.size());
            self.wrong.get_or_insert((path, reason));
        }
        self.wrong.map_or(Ok(self.compared), Err)
    }
}

/// Compares what is there of a tile with what it should be.
fn compare(dir: &Path, tile: Tile, bytes: &[u8], compared: &mut u64, wrong: &mut Option<(PathBuf, String)>) {
    let narrower = fs::read_dir(tile.partial_forms(dir)).into_iter().flatten().filter_map(|entry| {
        let width = width(entry.ok()?.file_name().to_str()?)?;
        (width <= tile.width).then_some(Tile { width, ..tile })
    });
    let full = (tile.width == WIDTH).then_some(tile);
    for form in narrower.chain(full) {
        let path = form.path(dir);
        let Some(found) = read(&path, bytes.len()) else { continue };
        *compared += 1;
        let expected = match form.row {
            Row::Hashes(_) => &bytes[..form.width * HASH],
            Row::Entries => first_entries(bytes, form.width),
        };
        if found != expected {
            wrong.get_or_insert((path, "it does not say what the log does".to_owned()));
        }
    }
}

/// A file, and no more than one byte beyond `most`. None when it is not there: a writer may just have removed it.
fn read(path: &Path, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open(path).ok()?;
    file.take(most as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The first entries of a bundle, which was made here.
fn first_entries(bundle: &[u8], count: usize) -> &[u8] {
    let mut at = 0;
    for _ in 0..count {
        let Some((length, _)) = bundle.get(at..).and_then(<[u8]>::split_first_chunk) else { break };
        at += length.len() + usize::from(u16::from_be_bytes(*length));
    }
    &bundle[..at.min(bundle.len())]
}

fn width(name: &str) -> Option<usize> {
    let width = name.parse().ok().filter(|width| (1..WIDTH).contains(width))?;
    (width.to_string() == name).then_some(width)
}

/// The largest tree that a tile below `dir` is of, and that tile.
fn largest(dir: &Path) -> Option<(u64, PathBuf)> {
    let rows = std::iter::once(Row::Entries).chain((0..8).map(Row::Hashes));
    rows.filter_map(|row| last(dir, row)).max_by_key(|(leaves, _)| *leaves)
}

/// The last tile of a row, and the size of its tree.
fn last(dir: &Path, row: Row) -> Option<(u64, PathBuf)> {
    let first = Tile::full(row, 0).path(dir);
    let found = last_below(first.parent()?, 0, DEPTH);
    let forms = found.into_iter().filter_map(|(number, path)| {
        let tile = Tile::full(row, number);
        let full = path.extension().is_none();
        let width = match full {
            true => WIDTH,
            false => fs::read_dir(&path).ok()?.filter_map(|entry| width(entry.ok()?.file_name().to_str()?)).max()?,
        };
        let tile = Tile { width, ..tile };
        Some((tile.leaves().unwrap_or(u64::MAX), tile.path(dir)))
    });
    forms.max_by_key(|(leaves, _)| *leaves)
}

/// Of the names below a directory, those with the greatest number: a full tile, the forms of one that is not, or both.
fn last_below(dir: &Path, before: u64, depth: usize) -> Vec<(u64, PathBuf)> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let mut deeper = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let number = |digits: &str| {
            let is_number = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
            let value = digits.parse::<u64>().ok().filter(|_| is_number)?;
            before.checked_mul(1000)?.checked_add(value)
        };
        if let Some(number) = name.strip_prefix('x').and_then(number) {
            // A link may lead back to where it is.
            let goes_on = depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !goes_on {
                continue;
            }
            deeper.push((number, entry.path()));
        } else if let Some(number) = number(name.strip_suffix(&format!(".{PARTIAL}")).unwrap_or(&name)) {
            found.push((number, entry.path()));
        }
    }
    deeper.sort();
    while let Some((number, path)) = deeper.pop() {
        let below = last_below(&path, number, depth - 1);
        if !below.is_empty() {
            return below;
        }
    }
    let greatest = found.iter().map(|(number, _)| *number).max();
    found.retain(|(number, _)| Some(*number) == greatest);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_cut_behind_an_entry() {
        let bundle = [0, 2, 7, 7, 0, 1, 8, 0, 0];
        let cut = [0, 1, 2, 3].map(|count| first_entries(&bundle, count).len());
        assert_eq!(cut, [0, 4, 7, 9]);
    }

    #[test]
    fn widths_are_written_in_one_way() {
        let widths = ["1", "255", "0", "256", "007", "+1", "1.tmp", ""].map(width);
        assert_eq!(widths, [Some(1), Some(255), None, None, None, None, None, None]);
    }

    #[test]
    fn links_that_lead_back_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let row = Tile::full(Row::Hashes(0), 0).path(place.path()).parent().unwrap().to_owned();
        fs::create_dir_all(&row).unwrap();
        for number in 0..50 {
            std::os::unix::fs::symlink(".", row.join(format!("x{number:03}"))).unwrap();
        }
        assert_eq!(last(place.path(), Row::Hashes(0)), None);
    }

    #[test]
    fn the_last_tile_is_found_at_any_depth() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(largest(place.path()), None);
        for (row, number, width) in [(Row::Hashes(0), 999, 256), (Row::Hashes(0), 1000, 3), (Row::Hashes(1), 3, 200)] {
            let path = Tile { row, number, width }.path(place.path());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let of = |row| last(place.path(), row).unwrap();
        assert_eq!(of(Row::Hashes(0)), (256_003, place.path().join("tile/0/x001/000.p/3")));
        assert_eq!(largest(place.path()), Some(of(Row::Hashes(0))));
        assert_eq!(of(Row::Hashes(1)), (968 * 256, place.path().join("tile/1/003.p/200")));
    }
}
