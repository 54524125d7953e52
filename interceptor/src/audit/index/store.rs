//! Where indexes are kept: beside their segments.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc;

use super::super::Error;
use super::super::header::Stream;
use super::super::reader::ReadError;
use super::super::scan::segments;
use super::super::walk::first_sequence;
use super::build::build;
use super::encode::Stamp;
use super::{EXTENSION, SegmentIndex, Unfit};

/// No index of a segment of as many bytes is larger than so many times that, and a little.
const LARGEST: u64 = 4;

/// The index of the segment at `path`: the one that is kept, if it fits, else one made now, which is kept if that may be.
/// That of a segment that is being written is made anew and kept nowhere.
pub(in crate::audit) fn open(
    dir: &Path,
    stream: Stream,
    path: &Path,
    being_written: bool,
) -> Result<SegmentIndex, ReadError> {
    if !being_written
        && let Ok(stamp) = stamp(path)
        && let Ok(index) = kept(path, stamp)
    {
        return Ok(index);
    }
    make_anew(dir, stream, path, being_written)
}

/// Makes the index of a segment, whatever is kept.
pub(in crate::audit) fn make_anew(
    dir: &Path,
    stream: Stream,
    path: &Path,
    being_written: bool,
) -> Result<SegmentIndex, ReadError> {
    let stamp = stamp(path).map_err(|e| ReadError::from_log(Error::io("stat", path, e)))?;
    make(dir, stream, path, being_written, stamp, &|| true)
}

/// Makes the index of a segment, and keeps it if that may be. Fails with [`Error::Closed`] when `go_on` says so.
pub(super) fn make(
    dir: &Path,
    stream: Stream,
    path: &Path,
    being_written: bool,
    before: Stamp,
    go_on: &dyn Fn() -> bool,
) -> Result<SegmentIndex, ReadError> {
    let bytes = build(dir, stream, path, being_written, before, go_on)?;
    // A writer may just have cut the segment to what it used.
    if !being_written && stamp(path).is_ok_and(|now| now == before) {
        // The audit role may read here and not write.
        if save(path, &bytes).is_ok()
            && let Ok(kept) = kept(path, before)
        {
            // Of a long log without indexes, all of them would be in memory.
            return Ok(kept);
        }
    }
    Ok(SegmentIndex::from_memory(bytes).expect("it was made just now"))
}

/// How the segment stands now.
pub(super) fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let metadata = std::fs::symlink_metadata(path)?;
    let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Ok(Stamp { length: metadata.len(), modified: u64::try_from(modified).unwrap_or(0) })
}

/// The index that is kept of a segment that stands so.
pub(super) fn kept(segment: &Path, stamp: Stamp) -> Result<SegmentIndex, Unfit> {
    let file = super::super::auditor::open(&segment.with_extension(EXTENSION)).map_err(|error| match error {
        Error::Io { source, .. } => Unfit::Io(source.kind()),
        _ => Unfit::Damaged("it cannot be opened"),
    })?;
    let len = file.metadata().map_err(|e| Unfit::Io(e.kind()))?.len();
    if len > largest(stamp) {
        return Err(Unfit::Damaged("it is too large"));
    }
    let index = SegmentIndex::from_file(file)?;
    // Segments may be of one length and time, but not of one name.
    let is_of_this = first_sequence(segment) == Some(index.first_sequence());
    if !is_of_this || index.stamp() != stamp {
        return Err(Unfit::Changed);
    }
    Ok(index)
}

/// Bytes that no index of a segment is larger than.
pub(super) fn largest(segment: Stamp) -> u64 {
    segment.length.saturating_mul(LARGEST).saturating_add(1 << 20)
}

/// Puts an index in its place. Nothing is synced: what a loss of power leaves is checked like everything else.
fn save(segment: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let path = segment.with_extension(EXTENSION);
    // Readers may do the same at the same time.
    let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&temporary)?;
    let written = super::super::auditor::readable(&file, &temporary)
        .map_err(std::io::Error::other)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| std::fs::rename(&temporary, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Removes indexes without a segment, and what a killed process has left.
pub(super) fn remove_orphans(dir: &Path, stream: Stream) -> std::io::Result<()> {
    let kept = segments(dir, stream)?;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some((stem, end)) = name.split_once('.') else { continue };
        let is_ours = stem.starts_with(&format!("{}-", stream.prefix()))
            && (end == EXTENSION || end.starts_with(&format!("{EXTENSION}.")));
        let has_segment = end == EXTENSION && kept.binary_search(&path.with_extension("alog")).is_ok();
        if is_ours && !has_segment {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}
