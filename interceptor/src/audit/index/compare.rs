//! Whether the indexes that are kept say what their segments do.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::Error;
use super::super::header::Stream;
use super::super::reader::ReadError;
use super::super::scan::segments;
use super::EXTENSION;
use super::build::build;
use super::store::{kept, largest, stamp};

/// Threads beyond which the disk is what takes the time.
const MOST: usize = 8;

/// The indexes of a stream beside its segments.
#[derive(Debug, Default)]
pub(in crate::audit) struct Compared {
    /// Those that say what their segments do.
    pub(in crate::audit) same: u64,
    /// The first that says something else.
    pub(in crate::audit) other: Option<PathBuf>,
}

/// Compares each index that readers would use with one that is made from the segment as it is. An index that is damaged, or of another
/// state of the segment, is used by nobody, and passed over.
pub(in crate::audit) fn compare(dir: &Path, stream: Stream) -> Result<Compared, ReadError> {
    let paths = segments(dir, stream).map_err(|e| ReadError::io("readdir", dir, e))?;
    let (next, compared) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((number, path)) = at(&paths, next.fetch_add(1, Ordering::Relaxed)) {
            let is_same = is_same(dir, stream, path);
            compared.lock().unwrap_or_else(PoisonError::into_inner).push((number, is_same));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Without it this thread does everything.
            let _ = std::thread::Builder::new().name("log-indexes".into()).spawn_scoped(scope, work);
        }
        work();
    });
    let mut compared = compared.into_inner().unwrap_or_else(PoisonError::into_inner);
    compared.sort_unstable_by_key(|(number, _)| *number);
    let mut sum = Compared::default();
    for (number, is_same) in compared {
        match is_same? {
            Some(true) => sum.same += 1,
            Some(false) if sum.other.is_none() => sum.other = Some(paths[number].with_extension(EXTENSION)),
            Some(false) | None => {}
        }
    }
    Ok(sum)
}

fn at(paths: &[PathBuf], number: usize) -> Option<(usize, &PathBuf)> {
    Some((number, paths.get(number)?))
}

/// `None` when there is no index that a reader would use.
fn is_same(dir: &Path, stream: Stream, segment: &Path) -> Result<Option<bool>, ReadError> {
    let Ok(before) = stamp(segment) else { return Ok(None) };
    if kept(segment, before).is_err() {
        return Ok(None);
    }
    let path = segment.with_extension(EXTENSION);
    let mut bytes = Vec::new();
    let read = super::super::auditor::open(&path)
        .and_then(|file| file.take(largest(before)).read_to_end(&mut bytes).map_err(|e| Error::io("read", &path, e)));
    let made = build(dir, stream, segment, false, before, &|| true);
    // Retention may have been at the segment, which then has another index, or none.
    if !stamp(segment).is_ok_and(|now| now == before) {
        return Ok(None);
    }
    read.map_err(ReadError::from_log)?;
    Ok(Some(made? == bytes))
}
