//! How far a sink has got, on disk: a file that is replaced whole, and a lock that one process at a time holds.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::audit::{FollowPosition, Time, open_lock, open_regular};
use crate::sys::sync_parent;

/// A link is not followed, and whoever might read a pipe not waited for.
const UNWAITING: i32 = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file system said no.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
    /// The file is not a cursor of this sink.
    #[error(
        "{} is not the cursor of this sink ({reason}); remove it to have the sink start as if it were new",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contents {
    /// Whose it is.
    pub(super) sink: String,
    /// The log it is a place in: the origin of its checkpoints.
    pub(super) log: Option<String>,
    /// After the last record that the receiver has taken.
    pub(super) position: FollowPosition,
    /// Records that the receiver has taken.
    pub(super) delivered: u64,
    /// Records that it never will.
    pub(super) undeliverable: u64,
}

/// The cursor of one sink. While this value lives, no other process has it.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    pub(super) contents: Contents,
    /// Whether there is a file with these contents.
    pub(super) stored: bool,
    _lock: File,
}

impl Cursor {
    /// The cursor of `sink` in `dir`; none while another process has it.
    ///
    /// # Errors
    /// When it cannot be read, or is not one.
    pub fn take(dir: &Path, sink: &str) -> Result<Option<Self>, CursorError> {
        DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(failed("create", dir))?;
        let lock_path = dir.join(format!("{sink}.lock"));
        let lock = open_lock(&lock_path, 0o600).map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(source)) => return Err(failed("lock", &lock_path)(source)),
        }
        let path = dir.join(format!("{sink}.cursor"));
        let read = match read(&path) {
            Ok(bytes) => {
                Some(parse(&bytes, sink).map_err(|reason| CursorError::Unusable { path: path.clone(), reason })?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let stored = read.is_some();
        let contents = read.unwrap_or_else(|| Contents {
            sink: sink.to_owned(),
            log: None,
            position: FollowPosition::default(),
            delivered: 0,
            undeliverable: 0,
        });
        Ok(Some(Self { path, contents, stored, _lock: lock }))
    }

    /// Where to go on; none for one that is new.
    #[must_use]
    pub fn position(&self) -> Option<&FollowPosition> {
        self.stored.then_some(&self.contents.position)
    }

    /// Moves it, durably.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub fn advance(&mut self, position: FollowPosition) -> Result<(), CursorError> {
        self.contents.position = position;
        self.store()
    }

    /// Makes the contents durable: whoever reads finds either the old or the new ones, also after a loss of power.
    pub(super) fn store(&mut self) -> Result<(), CursorError> {
        let mut bytes = serde_json::to_vec(&self.contents).expect("a cursor is plain data");
        bytes.push(b'\n');
        let temporary = self.path.with_added_extension("tmp");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .custom_flags(UNWAITING)
            .open(&temporary)
            .map_err(failed("create", &temporary))?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed("write", &temporary))?;
        std::fs::rename(&temporary, &self.path).map_err(failed("rename", &self.path))?;
        self.sync_directory()?;
        self.stored = true;
        Ok(())
    }

    /// Notes, durably, a record that the receiver will not take.
    pub(super) fn give_up(&self, id: &str, sequence: Option<u64>, reason: &str) -> Result<(), CursorError> {
        let path = self.path.with_extension("undeliverable");
        let line = serde_json::json!({"at": Time::now(), "id": id, "sequence": sequence, "reason": reason});
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640).custom_flags(UNWAITING);
        let mut file = options.open(&path).map_err(failed("open", &path))?;
        file.write_all(format!("{line}\n").as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed("write", &path))?;
        self.sync_directory()
    }

    fn sync_directory(&self) -> Result<(), CursorError> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        sync_parent(&self.path).map_err(failed("make durable", dir))
    }
}

/// The whole file. Something else in its place is not waited for.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CursorError {
    move |source| CursorError::Io { verb, path: path.to_path_buf(), source }
}

/// The contents of a cursor file of `sink`, or what is wrong with it.
fn parse(bytes: &[u8], sink: &str) -> Result<Contents, String> {
    let contents: Contents = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if contents.sink == sink { Ok(contents) } else { Err(format!("it is that of sink {:?}", contents.sink)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Key, Seen};

    #[test]
    fn what_was_stored_is_found_again_and_one_process_at_a_time_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::take(dir.path(), "a").unwrap().unwrap();
        assert!(!cursor.stored);
        assert!(Cursor::take(dir.path(), "a").unwrap().is_none());
        cursor.contents.position = FollowPosition {
            from: 3,
            last: Some(Key { end: 5, opening: 3 }),
            seen: Some(Seen { sequence: 6, leaf_hash: "00".into() }),
        };
        cursor.contents.delivered = 7;
        cursor.store().unwrap();
        let contents = cursor.contents.clone();
        drop(cursor);
        let again = Cursor::take(dir.path(), "a").unwrap().unwrap();
        assert!(again.stored);
        assert_eq!(again.contents, contents);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        for name in ["a.lock", "a.cursor", "a.cursor.tmp"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(name);
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            let stored = Cursor::take(dir.path(), "a").and_then(|cursor| cursor.unwrap().store());
            let error = stored.unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_no_cursor_of_the_sink_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.cursor");
        for bytes in [
            "",
            "{}",
            "null",
            r#"{"sink":"b","log":null,"position":{"from":0,"last":null,"seen":null},"delivered":0,"undeliverable":0}"#,
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = Cursor::take(dir.path(), "a").unwrap_err().to_string();
            assert!(error.contains("a.cursor") && error.contains("remove it"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), bytes);
        }
    }
}
