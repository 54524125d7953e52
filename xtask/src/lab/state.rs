//! The state directory of a lab: given and kept, or made and removed.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// A state directory that no other lab uses while this value, or a clone of its lock, lives.
#[derive(Debug)]
pub(crate) struct State {
    root: PathBuf,
    lock: File,
    temporary: bool,
}

impl State {
    /// Opens `given`, made when absent, or makes one that is to be removed at the end.
    pub(crate) fn open(given: Option<&Path>) -> Result<Self> {
        let (root, temporary) = match given {
            Some(path) => (make(path)?, false),
            None => {
                let made = tempfile::Builder::new().prefix("interceptor-lab-").tempdir();
                (made.context("cannot make a directory for the lab's state; is TMPDIR writable?")?.keep(), true)
            }
        };
        for part in ["lab", "run", "endpoint"] {
            make(&root.join(part))?;
        }
        let path = root.join("lab/lock");
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root, lock, temporary }),
            Err(TryLockError::WouldBlock) => bail!(
                "another lab uses the state directory {}; wait for it, or name another with --state",
                root.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The lab's own files.
    pub(crate) fn lab(&self) -> PathBuf {
        self.root.join("lab")
    }

    /// The requests that arrived at the endpoint.
    pub(crate) fn requests(&self) -> PathBuf {
        self.root.join("endpoint")
    }

    /// What the daemon says while it runs.
    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("run/journal.log")
    }

    /// What the endpoint says about its connections.
    pub(crate) fn endpoint_journal(&self) -> PathBuf {
        self.root.join("run/endpoint.log")
    }

    /// The daemon's process id; there while capture is attached and the listeners accept.
    pub(crate) fn pid_file(&self) -> PathBuf {
        self.root.join("run/daemon.pid")
    }

    /// The internal CA's certificate, made by the daemon.
    pub(crate) fn ca(&self) -> PathBuf {
        self.root.join("ca/ca.pem")
    }

    /// Whether the directory goes with the lab.
    pub(crate) fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// Shares the lock with a process that is to outlive us.
    pub(crate) fn share_lock(&self) -> Result<File> {
        self.lock.try_clone().context("cannot share the lock of the state directory")
    }
}

fn make(path: &Path) -> Result<PathBuf> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(path)
        .and_then(|()| path.canonicalize())
        .with_context(|| format!("cannot make the state directory {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_directory_in_use_until_it_is_free() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("new/state");
        let first = State::open(Some(&path)).unwrap();
        let refusal = State::open(Some(&path)).unwrap_err().to_string();
        assert!(refusal.contains("another lab uses"), "{refusal}");

        let shared = first.share_lock().unwrap();
        drop(first);
        assert!(State::open(Some(&path)).is_err(), "whoever shares the lock holds it too");
        drop(shared);
        State::open(Some(&path)).unwrap();
    }
}
