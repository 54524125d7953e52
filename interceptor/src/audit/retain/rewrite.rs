//! A segment, written again without contents.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc;

use super::RetainError;
use super::plan::{Chooser, damaged};
use crate::audit::Error;
use crate::audit::auditor::{readable, sync_parent};
use crate::audit::frame::reduce;
use crate::audit::header::HEADER;
use crate::audit::index::EXTENSION;
use crate::audit::reader::ReadError;
use crate::audit::scan::{Depth, SegmentFile, Step};

/// Writes the segment again without what `chooser` says, and puts it in the place of the old one. Readers that have the old
/// file open go on with it. Returns by how many bytes it is shorter.
pub(super) fn segment(path: &Path, chooser: &Chooser) -> Result<u64, RetainError> {
    let mut old = SegmentFile::open(path).map_err(ReadError::from_log)?;
    let before = old.len()?;
    let temporary = path.with_added_extension("tmp");
    let _ = fs::remove_file(&temporary);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&temporary)
        .map_err(|e| Error::io("create", &temporary, e))?;
    let written = copy(&mut old, &file, &temporary, chooser);
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    let after = written?;
    readable(&file, &temporary)?;
    keep_owner(&file, path)?;
    file.sync_all().map_err(|e| Error::io("fsync", &temporary, e))?;
    fs::rename(&temporary, path).map_err(|e| Error::io("rename", path, e))?;
    // It no longer fits, and has words of what was removed.
    let index = path.with_extension(EXTENSION);
    match fs::remove_file(&index) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("unlink", &index, e).into()),
        _ => {}
    }
    sync_parent(path)?;
    Ok(before.saturating_sub(after))
}

/// Copies header and frames. Returns the bytes written.
fn copy(old: &mut SegmentFile, file: &File, temporary: &Path, chooser: &Chooser) -> Result<u64, RetainError> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let failed = |e| Error::io("write", temporary, e);
    out.write_all(old.bytes(0, HEADER)?).map_err(failed)?;
    let (mut at, mut written) = (HEADER as u64, HEADER as u64);
    loop {
        let head = match old.step(at, Depth::Bodies)? {
            Step::Frame(head) => head,
            Step::End => break,
            Step::Invalid(error) => return Err(damaged(&old.path, at, &error)),
        };
        let seed = old.seed;
        let frame = old.bytes(at, head.length)?;
        let rows = chooser.rows(&head);
        let reduced;
        let frame = if rows.is_empty() {
            frame
        } else {
            reduced = reduce(seed, &head, frame, rows);
            &reduced
        };
        out.write_all(frame).map_err(failed)?;
        written += frame.len() as u64;
        at += head.length as u64;
    }
    if let Some(nonzero) = old.first_nonzero(at)? {
        return Err(damaged(&old.path, nonzero, &"bytes after the last frame are not zero"));
    }
    out.flush().map_err(failed)?;
    Ok(written)
}

/// Root may do this for a daemon that runs as somebody else.
fn keep_owner(file: &File, path: &Path) -> Result<(), RetainError> {
    let old = fs::symlink_metadata(path).map_err(|e| Error::io("stat", path, e))?;
    let new = file.metadata().map_err(|e| Error::io("fstat", path, e))?;
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        let owned = std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()));
        owned.map_err(|e| Error::io("fchown", path, e))?;
    }
    Ok(())
}
