//! The system calls of the write path that fail on a bad day, behind one seam so that tests can let them fail.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::mapping::Mapping;

/// What the writer asks of the disk.
pub(crate) trait Disk: Send + Sync {
    /// Allocates the first `len` bytes of `file`.
    fn allocate(&self, file: &File, len: u64) -> io::Result<()>;
    /// Makes a range of a mapped segment durable.
    fn flush(&self, mapping: &Mapping, range: Range<usize>) -> io::Result<()>;
    /// Makes a file or directory durable.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Gives a file another name, which no other file has.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
}

/// The real one.
pub(crate) struct Kernel;

impl Disk for Kernel {
    fn allocate(&self, file: &File, len: u64) -> io::Result<()> {
        let len = i64::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        nix::fcntl::posix_fallocate(file, 0, len).map_err(io::Error::from)
    }

    fn flush(&self, mapping: &Mapping, range: Range<usize>) -> io::Result<()> {
        mapping.flush(range)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE).map_err(io::Error::from)
    }
}
