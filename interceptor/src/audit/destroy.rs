//! Destroying secrets on disk.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

use super::Error;
use super::auditor::{sync_parent, write_new};

/// Puts `with` in the place of a file, or nothing, and overwrites the bytes that it had: before its name goes, or, when the
/// name goes to other bytes, right after. The directory is synced. File systems that copy on write, and disks that level
/// wear, may keep the old bytes elsewhere for a while.
pub(crate) fn overwrite(path: &Path, with: Option<&[u8]>) -> Result<(), Error> {
    let old = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .map_err(|e| Error::io("open", path, e))?;
    let blank = || blank(&old).map_err(|e| Error::io("write", path, e));
    let Some(bytes) = with else {
        // Stopped in between, it leaves a blank file: see `is_blank`.
        blank()?;
        fs::remove_file(path).map_err(|e| Error::io("unlink", path, e))?;
        return sync_parent(path);
    };
    let temporary = path.with_added_extension("tmp");
    let _ = fs::remove_file(&temporary);
    write_new(&temporary, 0o600, bytes)?;
    fs::rename(&temporary, path).map_err(|e| Error::io("rename", path, e))?;
    sync_parent(path)?;
    blank()
}

/// Whether a file's text is what an interrupted [`overwrite`] leaves, or a file that lost its bytes with the power.
pub(crate) fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte == 0)
}

fn blank(mut file: &File) -> std::io::Result<()> {
    let zeros = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
    file.write_all(&zeros)?;
    file.sync_all()
}
