//! Destroying secrets on disk.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

use super::Error;
use super::auditor::write_new;

/// Puts `with` in the place of a file, or nothing, and overwrites the bytes that it had. The directory is synced. File
/// systems that copy on write, and disks that level wear, may keep the old bytes elsewhere for a while.
pub(crate) fn overwrite(path: &Path, with: Option<&[u8]>) -> Result<(), Error> {
    let old = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .map_err(|e| Error::io("open", path, e))?;
    match with {
        Some(bytes) => {
            let temporary = path.with_added_extension("tmp");
            let _ = fs::remove_file(&temporary);
            write_new(&temporary, 0o600, bytes)?;
            fs::rename(&temporary, path).map_err(|e| Error::io("rename", path, e))?;
        }
        None => fs::remove_file(path).map_err(|e| Error::io("unlink", path, e))?,
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| Error::io("fsync", dir, e))?;
    // The new state is durable: what remains of the old one has no name any more.
    blank(&old).map_err(|e| Error::io("write", path, e))
}

fn blank(mut file: &File) -> std::io::Result<()> {
    let zeros = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
    file.write_all(&zeros)?;
    file.sync_all()
}
