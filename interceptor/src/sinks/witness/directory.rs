//! A directory as a witness: each new checkpoint is a file of its own, never written over. It is as good as the directory's
//! promise that what was written stays.
//!
//! ```text
//! 00000000000000000061.checkpoint      the signed note, by the frames that it covers
//! ```

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::super::Place;
use super::runner::Unwitnessed;
use crate::audit::{Checkpoint, CheckpointError, ConsistencyError, Reader, Stream, VerifyingKey};
use crate::sys::sync_parent;

const EXTENSION: &str = "checkpoint";
const DIGITS: usize = 20;

/// A directory that keeps checkpoints.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    audit: PathBuf,
}

impl Directory {
    pub(super) fn new(path: &Path, place: &Place) -> Self {
        Self { path: path.to_path_buf(), audit: place.audit.clone() }
    }

    pub(super) fn describe(&self) -> String {
        format!("directory {}", self.path.display())
    }

    pub(super) fn show(&self) -> Result<Option<u64>, Unwitnessed> {
        let key = VerifyingKey::read(&self.audit.join("log-signing.pub")).map_err(Unwitnessed::later)?;
        let read = |path: &Path| fs::read_to_string(path).map_err(|e| self.failed(path, &e));
        let note = read(&self.audit.join(Stream::Log.checkpoint()))?;
        let now = Checkpoint::verify(&note, &key, Stream::Log).map_err(Unwitnessed::later)?;
        if let Some((path, seen)) = self.newest(&key).map_err(|e| self.failed(&self.path, &e))? {
            let contradicts = |why: &dyn fmt::Display| Unwitnessed::Contradiction(format!("{}: {why}", path.display()));
            let seen = seen.map_err(|e| contradicts(&e))?;
            if now == seen {
                return Ok(None);
            }
            // Of a checkpoint that may be newer than the one that was read.
            let (proof, _) = Reader::open(&self.audit)?.prove_continuation(seen.size)?;
            proof.verify(&key, &seen).map_err(|e| match e {
                ConsistencyError::Inconsistent { .. } => contradicts(&e),
                other => Unwitnessed::later(other),
            })?;
            if now.frames <= seen.frames {
                let why = format!("it covers {} frames, and the log's checkpoint {} others", seen.frames, now.frames);
                return Err(contradicts(&why));
            }
        }
        let path = self.path.join(format!("{:0DIGITS$}.{EXTENSION}", now.frames));
        write(&path, &note).map_err(|e| self.failed(&path, &e))?;
        Ok(Some(now.size))
    }

    fn failed(&self, path: &Path, error: &io::Error) -> Unwitnessed {
        Unwitnessed::later(format_args!("{}: {error}", path.display()))
    }

    /// The checkpoint that covers the most; what is no checkpoint, as after a loss of power, is left where it is.
    fn newest(&self, key: &VerifyingKey) -> io::Result<Option<(PathBuf, Result<Checkpoint, CheckpointError>)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let is_number = |stem: &str| stem.len() == DIGITS && stem.bytes().all(|byte| byte.is_ascii_digit());
            let is_ours = path.extension().is_some_and(|extension| extension == EXTENSION)
                && path.file_stem().and_then(|stem| stem.to_str()).is_some_and(is_number);
            if is_ours {
                names.push(path);
            }
        }
        names.sort();
        for path in names.into_iter().rev() {
            let note = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            match Checkpoint::verify(&note, key, Stream::Log) {
                Err(CheckpointError::Malformed(why)) => {
                    log::warn!("witness {}: {} is no checkpoint: {why}", self.describe(), path.display());
                }
                found => return Ok(Some((path, found))),
            }
        }
        Ok(None)
    }
}

/// A file that must not exist yet, durable when this returns.
fn write(path: &Path, note: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    sync_parent(path)
}
