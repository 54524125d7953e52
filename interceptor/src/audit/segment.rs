//! Segment files: allocated ahead under another name, named when they are put to use.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Error;
use super::disk::Disk;
use super::frame::Seed;
use super::header::{HEADER, Header, Stream};
use super::mapping::{Mapping, Tail};
use super::tree::{Hash, segment_link};

/// End of the name of a segment that is not in use yet.
const SPARE: &str = ".spare";
/// Bytes faulted in ahead of the writer: what it fills in some milliseconds at most.
pub(crate) const AHEAD: usize = 1 << 20;

/// A segment that has disk space but no name of a segment yet.
#[derive(Debug)]
pub(crate) struct Spare {
    path: PathBuf,
    file: File,
    mapping: Arc<Mapping>,
    tail: Tail,
}

impl Spare {
    /// Allocates `bytes` on disk.
    pub(crate) fn allocate(disk: &dyn Disk, dir: &Path, stream: Stream, bytes: u64) -> Result<Self, Error> {
        // A name is never used twice: whoever renames a spare renames the file that is mapped.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{}-{count}{SPARE}", stream.prefix()));
        let file = disk.create(&path).map_err(|e| Error::io("create", &path, e))?;
        let spare = super::auditor::readable(&file, &path)
            .and_then(|()| disk.allocate(&file, bytes).map_err(|e| Error::io("fallocate", &path, e)))
            .and_then(|()| disk.sync(&file).map_err(|e| Error::io("fsync", &path, e)))
            .and_then(|()| disk.map(&file, bytes as usize).map_err(|e| Error::io("mmap", &path, e)));
        match spare {
            Ok((mapping, tail)) => {
                mapping.populate(0..AHEAD);
                Ok(Self { path, file, mapping, tail })
            }
            Err(error) => {
                // What could not be allocated must not keep the space it got.
                let _ = disk.remove(&path);
                Err(error)
            }
        }
    }

    /// Removes what a killed writer had allocated. The stream's lock must be held.
    pub(crate) fn remove_leftovers(disk: &dyn Disk, dir: &Path, stream: Stream) -> Result<(), Error> {
        let failed = |e| Error::io("readdir", dir, e);
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let ours = |name: &str| name.starts_with(&format!("{}-", stream.prefix())) && name.ends_with(SPARE);
            if name.to_str().is_some_and(ours) {
                let path = dir.join(name);
                disk.remove(&path).map_err(|e| Error::io("unlink", &path, e))?;
            }
        }
        Ok(())
    }

    /// Gives up the disk space.
    pub(crate) fn discard(self, disk: &dyn Disk) {
        let _ = disk.remove(&self.path);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.mapping.len() as u64
    }

    /// Writes the header and gives the file its name. Not durable until the segment and its directory are synced.
    pub(crate) fn activate(mut self, disk: &dyn Disk, dir: &Path, header: Header) -> Result<(Segment, Tail), Error> {
        let page = header.encode();
        self.tail.push(&[&page]);
        let path = dir.join(header.stream.segment_name(header.first_sequence));
        if let Err(e) = disk.rename(&self.path, &path) {
            self.discard(disk);
            return Err(Error::io("rename", path, e));
        }
        let segment = Segment {
            path,
            file: self.file,
            mapping: self.mapping,
            seed: Seed::new(&header.segment_id),
            link: segment_link(&header.chain, &page),
            header,
        };
        Ok((segment, self.tail))
    }
}

/// A segment in use.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) header: Header,
    pub(crate) seed: Seed,
    /// What the first frame's chain value links to.
    pub(crate) link: Hash,
}

impl Segment {
    /// Cuts the file to the bytes in use and makes that durable. The mapping must not be touched beyond `used` again.
    pub(crate) fn cut(&self, disk: &dyn Disk, used: usize) -> Result<(), Error> {
        disk.truncate(&self.file, used as u64).map_err(|e| Error::io("ftruncate", &self.path, e))?;
        disk.sync(&self.file).map_err(|e| Error::io("fsync", &self.path, e))
    }
}

/// Pages of a segment that are to be faulted in before the writer comes to them. It would wait for each: for a block of a
/// file system some microseconds.
#[derive(Debug)]
pub(crate) struct Ahead {
    mapping: Arc<Mapping>,
    range: Range<usize>,
}

impl Ahead {
    /// Of `segment`, with a writer that is at `offset`; `until` says up to where they were asked for, and is moved on. None
    /// while there are enough.
    pub(crate) fn of(segment: &Segment, offset: usize, until: &mut usize) -> Option<Self> {
        if offset + AHEAD / 2 <= *until {
            return None;
        }
        let from = std::mem::replace(until, offset + AHEAD).max(offset);
        Some(Self { mapping: Arc::clone(&segment.mapping), range: from..*until })
    }

    /// Faults them in. A segment that was cut meanwhile has none of them: that does no harm.
    pub(crate) fn fault_in(self) {
        self.mapping.populate(self.range);
    }
}

/// Bytes of a segment that frames may take.
pub(crate) fn capacity(segment_bytes: u64) -> usize {
    segment_bytes as usize - HEADER
}
