//! The thread that keeps the tiles: after each checkpoint, those of the tree that it signs.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use nix::libc;

use super::super::Error;
use super::super::auditor::{make_readable_dirs, readable};
use super::super::checkpoint::{Checkpoint, read_note};
use super::super::frame::EncodedHead;
use super::super::header::{HEADER, Stream};
use super::super::reader::ReadError;
use super::super::scan::{SegmentFile, segments};
use super::super::walk::Walk;
use super::super::writer::Shared;
use super::growth::Growth;
use super::read::edge;
use super::{DIRECTORY, HASH, Row, Tile, WIDTH, set_aside};
use crate::sys::yield_to_others;

/// How long nothing is tried after a failure.
const REST: Duration = Duration::from_secs(10);
/// How long the tiles of the last checkpoint may keep a log from being closed.
const LAST: Duration = Duration::from_secs(1);

/// Why the tiles are not those of the signed tree.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    /// They cannot be written.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io { verb: &'static str, path: PathBuf, source: io::Error },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log has other leaves.
    #[error("the log is not what its checkpoint signs; run `interceptor log verify`")]
    OtherLog,
    /// There is no time for it.
    #[error("the log is being closed")]
    Closing,
}

impl KeepError {
    fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { verb, path: path.to_path_buf(), source }
    }
}

/// What the thread has in memory.
#[derive(Debug, Default)]
pub(crate) struct TileKeeper {
    work: Option<Work>,
    /// The last failure, and when.
    failed: Option<(String, Instant)>,
}

impl Shared {
    /// The thread that keeps the tiles: returns when the log is closed.
    pub(in crate::audit) fn tile_loop(&self) {
        yield_to_others();
        loop {
            let mut state = self.lock();
            while !state.closing && !state.untiled {
                state = self.tile.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closing {
                return;
            }
            state.untiled = false;
            drop(state);
            self.keep_tiles(&|| !self.lock().closing);
        }
    }

    /// The tiles of the last checkpoint, when the log is closed.
    pub(in crate::audit) fn keep_last_tiles(&self) {
        let until = Instant::now() + LAST;
        self.keep_tiles(&|| Instant::now() < until);
    }

    fn keep_tiles(&self, go_on: &dyn Fn() -> bool) {
        let mut keeper = self.tiles.lock().unwrap_or_else(PoisonError::into_inner);
        if keeper.failed.as_ref().is_some_and(|(_, at)| at.elapsed() < REST) {
            return;
        }
        match keeper.keep(&self.dir, go_on) {
            Ok(()) => keeper.failed = None,
            Err(KeepError::Closing) => {}
            Err(error) => {
                let why = error.to_string();
                if keeper.failed.as_ref().is_none_or(|(before, _)| *before != why) {
                    log::warn!("audit log: no tiles: {why}; proofs are made from the whole log");
                }
                keeper.failed = Some((why, Instant::now()));
            }
        }
    }
}

impl TileKeeper {
    /// Makes the tiles of the tree that the checkpoint in `dir` signs.
    fn keep(&mut self, dir: &Path, go_on: &dyn Fn() -> bool) -> Result<(), KeepError> {
        // What is on the disk, not what the writer has in memory: it is signed, and so is what it covers durable.
        let note = read_note(&dir.join(Stream::Log.checkpoint())).ok();
        let Some(checkpoint) = note.as_deref().and_then(Checkpoint::peek).filter(|c| c.size > 0) else { return Ok(()) };
        // After a failure, from what is on the disk.
        let mut work = match self.work.take() {
            Some(work) => work,
            None => Work::resume(dir, checkpoint.size)?,
        };
        work.grow(dir, checkpoint.size, go_on)?;
        if work.growth.root() != checkpoint.root {
            if work.from == 0 {
                return Err(KeepError::OtherLog);
            }
            // Tiles of another log, or damaged ones.
            set_aside(dir).map_err(KeepError::io("rename", &dir.join(DIRECTORY)))?;
            work = Work::begin(dir, 0, Growth::default())?;
            work.grow(dir, checkpoint.size, go_on)?;
            if work.growth.root() != checkpoint.root {
                return Err(KeepError::OtherLog);
            }
        }
        work.growth.partial().try_for_each(|(tile, bytes)| save(dir, tile, bytes))?;
        self.work = Some(work);
        Ok(())
    }
}

/// On its way through the leaves.
#[derive(Debug)]
struct Work {
    growth: Growth,
    walk: Walk,
    /// The leaf that was begun with.
    from: u64,
}

impl Work {
    /// Behind the full tiles that are there, of a tree of `size` leaves.
    fn resume(dir: &Path, size: u64) -> Result<Self, KeepError> {
        let full = full_tiles(dir, size);
        match edge(dir, full) {
            Some(levels) => Self::begin(dir, full * WIDTH as u64, Growth::of_full(full * WIDTH as u64, levels)),
            None => Self::begin(dir, 0, Growth::default()),
        }
    }

    fn begin(dir: &Path, from: u64, growth: Growth) -> Result<Self, KeepError> {
        let walk = match segment_of(dir, from)? {
            Some(path) => Walk::from(dir, Stream::Log, &path, HEADER as u64)?,
            None => Walk::new(dir, Stream::Log)?,
        };
        Ok(Self { growth, walk, from })
    }

    /// Takes the leaves up to `size`, and writes the tiles that they fill.
    fn grow(&mut self, dir: &Path, size: u64, go_on: &dyn Fn() -> bool) -> Result<(), KeepError> {
        self.walk.refresh();
        while self.growth.size() < size {
            if self.growth.size().is_multiple_of(WIDTH as u64) && !go_on() {
                return Err(KeepError::Closing);
            }
            let frame = self.walk.next()?.ok_or(KeepError::OtherLog)?;
            let entry = &frame.head.entry;
            // Leaves before the one that was begun with; and after a failed write the writer appends frames again elsewhere.
            if !entry.kind.is_leaf() || entry.leaf_index < self.growth.size() {
                continue;
            }
            if entry.leaf_index > self.growth.size() {
                return Err(KeepError::OtherLog);
            }
            let full = |tile, bytes: &[u8]| save(dir, tile, bytes);
            self.growth.push(frame.head.leaf, EncodedHead::new(entry).entry(), full)?;
        }
        Ok(())
    }
}

/// How many tiles of level 0, from the first on, are there with all that they make full.
fn full_tiles(dir: &Path, size: u64) -> u64 {
    let has = |row, number, is_whole: fn(u64) -> bool| {
        let metadata = fs::symlink_metadata(Tile::full(row, number).path(dir));
        metadata.is_ok_and(|metadata| metadata.is_file() && is_whole(metadata.len()))
    };
    let is_tile = |length| length == (WIDTH * HASH) as u64;
    let is_there = |number: u64| {
        let mut number = number;
        if !has(Row::Entries, number, |length| length > 0) {
            return false;
        }
        for level in 0.. {
            if !has(Row::Hashes(level), number, is_tile) {
                return false;
            }
            if !(number + 1).is_multiple_of(WIDTH as u64) {
                break;
            }
            number /= WIDTH as u64;
        }
        true
    };
    (0..size / WIDTH as u64).find(|&number| !is_there(number)).unwrap_or(size / WIDTH as u64)
}

/// The segment that has leaf number `leaf`, or will have it.
fn segment_of(dir: &Path, leaf: u64) -> Result<Option<PathBuf>, ReadError> {
    let mut paths = segments(dir, Stream::Log).map_err(|e| ReadError::io("readdir", dir, e))?;
    let (mut first, mut behind) = (0, paths.len());
    while first + 1 < behind {
        let middle = first.midpoint(behind);
        match SegmentFile::open(&paths[middle]) {
            Ok(file) if file.header.tree.size() <= leaf => first = middle,
            // One that is allocated and not yet begun.
            Ok(_) | Err(Error::Header { .. }) => behind = middle,
            Err(error) => return Err(ReadError::from_log(error)),
        }
    }
    Ok((!paths.is_empty()).then(|| paths.swap_remove(first)))
}

/// Puts a tile in its place: whoever reads finds all of it or nothing, also after a loss of power. That it is named there is
/// not made durable: what is missing is made again.
fn save(dir: &Path, tile: Tile, bytes: &[u8]) -> Result<(), KeepError> {
    let path = tile.path(dir);
    let parent = path.parent().unwrap_or(dir);
    make_readable_dirs(parent).map_err(KeepError::io("create", parent))?;
    let temporary = path.with_extension("tmp");
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(KeepError::io("remove", &temporary)(e)),
        _ => {}
    }
    write(&temporary, bytes).map_err(KeepError::io("write", &temporary))?;
    fs::rename(&temporary, &path).map_err(KeepError::io("rename", &path))?;
    if tile.width == WIDTH {
        let forms = tile.partial_forms(dir);
        match fs::remove_dir_all(&forms) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(KeepError::io("remove", &forms)(e)),
            _ => {}
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    readable(&file, path).map_err(io::Error::other)?;
    file.write_all(bytes)?;
    file.sync_all()
}
