//! The system calls of the write path, behind one seam so that tests can let them fail or lose what was not synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::libc;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use rustix::io::Errno;

use super::mapping::{Mapping, Tail};

/// An extended attribute that no segment has.
const ABSENT: &str = "user.interceptor.absent";

/// What the writer asks of the disk.
pub(crate) trait Disk: Send + Sync {
    /// Makes a file that must not exist yet, open for reading and writing.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Allocates the first `len` bytes of `file`.
    fn allocate(&self, file: &File, len: u64) -> io::Result<()>;
    /// Maps the first `len` bytes of `file`.
    fn map(&self, file: &File, len: usize) -> io::Result<(Arc<Mapping>, Tail)>;
    /// Makes a range of a mapped segment durable.
    fn flush(&self, mapping: &Mapping, range: Range<usize>) -> io::Result<()>;
    /// Whether the file system of `file` still takes what is written. Costs some microseconds.
    fn writable(&self, file: &File) -> io::Result<()>;
    /// Writes to a file, where it stands.
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file to `len` bytes.
    fn truncate(&self, file: &File, len: u64) -> io::Result<()>;
    /// Makes a file or directory durable.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Gives a file another name, which no other file has.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file the name of another, which is gone then.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The real one.
pub(crate) struct Kernel;

impl Disk for Kernel {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o640)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)
    }

    fn allocate(&self, file: &File, len: u64) -> io::Result<()> {
        let len = i64::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        nix::fcntl::posix_fallocate(file, 0, len).map_err(io::Error::from)
    }

    fn map(&self, file: &File, len: usize) -> io::Result<(Arc<Mapping>, Tail)> {
        Mapping::new(file, len)
    }

    fn flush(&self, mapping: &Mapping, range: Range<usize>) -> io::Result<()> {
        mapping.flush(range)
    }

    fn writable(&self, file: &File) -> io::Result<()> {
        // Newer kernels have a state of emergency beside the flag, and a journal may have been given up before either is set:
        // msync then says that all is well though nothing was committed. To remove an attribute that is not there, a journal
        // must take a transaction, and nothing is changed.
        match rustix::fs::fremovexattr(file, ABSENT) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
            Err(error) => return Err(error.into()),
        }
        if fstatvfs(file)?.flags().contains(FsFlags::ST_RDONLY) {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
        }
        Ok(())
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE).map_err(io::Error::from)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}
