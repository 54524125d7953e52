//! The checkpoints that witnesses have cosigned, kept beside the log: `witness/<name>.checkpoint`, the newest of each.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use super::auditor::make_readable_dirs;
use super::checkpoint::read_note;
use super::keeper::replace_durably;

const DIRECTORY: &str = "witness";
const EXTENSION: &str = "checkpoint";

/// Where the checkpoint is that the witness `name` has cosigned last.
fn place(dir: &Path, name: &str) -> PathBuf {
    dir.join(DIRECTORY).join(name).with_added_extension(EXTENSION)
}

/// Keeps the newest checkpoint that the witness `name` has cosigned, beside the log in `dir`, durably.
///
/// # Errors
/// When it cannot be written.
pub fn keep_cosigned(dir: &Path, name: &str, note: &str) -> Result<(), Error> {
    let path = place(dir, name);
    let parent = dir.join(DIRECTORY);
    make_readable_dirs(&parent).map_err(|e| Error::io("mkdir", &parent, e))?;
    replace_durably(&path, note.as_bytes())
}

/// The newest checkpoint that the witness `name` has cosigned, if one is kept.
#[must_use]
pub fn cosigned_by(dir: &Path, name: &str) -> Option<String> {
    read_note(&place(dir, name)).ok()
}

/// All that are kept, with where they are.
#[must_use]
pub fn cosigned(dir: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(dir.join(DIRECTORY)).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let kept = paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    kept.filter_map(|path| Some((path.clone(), read_note(&path).ok()?))).collect()
}
