//! Files that hold keys: owned by the daemon's user, mode 0600, below directories of mode 0700, never through a symbolic
//! link.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::geteuid;
use zeroize::Zeroizing;

/// No key file is larger.
const MAX_SECRET: u64 = 1 << 20;

/// Why a secret file or its directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// Group or others have a right.
    #[error("{path} has mode {mode:04o}, so others may use it; run: chmod {wanted:04o} {path}", path = path.display())]
    Mode {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The loosest that is accepted.
        wanted: u32,
    },
    /// Somebody else could change it.
    #[error("{path} belongs to uid {owner}, but this process runs as uid {uid}; run: chown {uid} {path}", path = path.display())]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The effective user of this process.
        uid: u32,
    },
    /// A symbolic link, a device, a socket, or a file where a directory should be.
    #[error("{path} is not a regular {wanted}; move it away", path = path.display())]
    Kind {
        /// What is there.
        path: PathBuf,
        /// `file` or `directory`.
        wanted: &'static str,
    },
    /// Too large to be what it should be.
    #[error("{path} has {len} bytes, more than any such file; is it the right one?", path = path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
    },
    /// Anything else the system answered.
    #[error("cannot {verb} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
}

impl SecretFileError {
    fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { verb, path: path.to_path_buf(), source }
    }

    /// Whether the file or directory simply is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the file to create is there already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
    }
}

/// Reads a secret. The bytes are wiped when dropped.
///
/// # Errors
/// When the file is a link, belongs to another user, is open to group or others, or cannot be read.
pub fn read_secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    read_private_file(path, MAX_SECRET)
}

/// Reads a file of this user that nobody else may use, of at most `limit` bytes.
///
/// # Errors
/// As [`read_secret_file`].
pub fn read_private_file(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).map_err(
        |error| {
            if error.raw_os_error() == Some(libc::ELOOP) {
                SecretFileError::Kind { path: path.to_path_buf(), wanted: "file" }
            } else {
                SecretFileError::io("open", path)(error)
            }
        },
    )?;
    let metadata = file.metadata().map_err(SecretFileError::io("inspect", path))?;
    if !metadata.is_file() {
        return Err(SecretFileError::Kind { path: path.to_path_buf(), wanted: "file" });
    }
    check_access(path, &metadata, 0o600)?;
    if metadata.len() > limit {
        return Err(SecretFileError::Size { path: path.to_path_buf(), len: metadata.len() });
    }
    // Sized beforehand, so that growing leaves no copies behind.
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(metadata.len()).unwrap_or_default()]);
    file.read_exact(&mut bytes).map_err(SecretFileError::io("read", path))?;
    Ok(bytes)
}

/// Creates a secret with mode 0600 and makes it durable, its directory entry too. Never replaces a file.
///
/// # Errors
/// When something is there already ([`SecretFileError::is_already_exists`]) or the file cannot be written.
pub fn create_secret_file(path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(SecretFileError::io("create", path))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| sync_parent(path));
    written.map_err(|error| {
        // A torn secret must not be taken for a whole one.
        let _ = std::fs::remove_file(path);
        SecretFileError::io("write", path)(error)
    })
}

/// Makes sure that `path` is a directory of this user that nobody else may enter; creates it, with mode 0700, when it is
/// missing.
///
/// # Errors
/// When it is something else, belongs to another user, is open to group or others, or cannot be created.
pub fn secret_dir(path: &Path) -> Result<(), SecretFileError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return sync_parent(path).map_err(SecretFileError::io("make durable", path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(SecretFileError::io("create", path)(error)),
    }
    let metadata = std::fs::symlink_metadata(path).map_err(SecretFileError::io("inspect", path))?;
    if !metadata.is_dir() {
        return Err(SecretFileError::Kind { path: path.to_path_buf(), wanted: "directory" });
    }
    check_access(path, &metadata, 0o700)
}

fn check_access(path: &Path, metadata: &Metadata, wanted: u32) -> Result<(), SecretFileError> {
    let (owner, uid) = (metadata.uid(), geteuid().as_raw());
    if owner != uid {
        return Err(SecretFileError::Owner { path: path.to_path_buf(), owner, uid });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & !wanted != 0 {
        return Err(SecretFileError::Mode { path: path.to_path_buf(), mode, wanted });
    }
    Ok(())
}

/// Makes the name of a file durable, or that it is gone.
///
/// # Errors
/// What the file system says.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_is_created_is_private_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        secret_dir(&keys).unwrap();
        let path = keys.join("a.key");
        create_secret_file(&path, b"shh").unwrap();
        assert_eq!(std::fs::metadata(&keys).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read_secret_file(&path).unwrap().as_slice(), b"shh");
        secret_dir(&keys).unwrap();
    }

    #[test]
    fn an_existing_file_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        create_secret_file(&path, b"first").unwrap();
        assert!(create_secret_file(&path, b"second").unwrap_err().is_already_exists());
        assert_eq!(read_secret_file(&path).unwrap().as_slice(), b"first");
    }

    #[test]
    fn looser_modes_are_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        create_secret_file(&path, b"shh").unwrap();
        for mode in [0o640, 0o604, 0o660, 0o700, 0o4600] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let message = read_secret_file(&path).unwrap_err().to_string();
            assert!(message.contains("chmod 0600") && message.contains("a.key"), "{message}");
        }
        set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        read_secret_file(&path).unwrap();

        let keys = dir.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        set_permissions(&keys, Permissions::from_mode(0o750)).unwrap();
        assert!(secret_dir(&keys).unwrap_err().to_string().contains("chmod 0700"));
    }

    #[test]
    fn links_and_other_kinds_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.key"), dir.path().join("link"));
        create_secret_file(&file, b"shh").unwrap();
        symlink(&file, &link).unwrap();
        assert!(matches!(read_secret_file(&link), Err(SecretFileError::Kind { .. })));
        assert!(matches!(read_secret_file(dir.path()), Err(SecretFileError::Kind { .. })));
        assert!(matches!(secret_dir(&file), Err(SecretFileError::Kind { .. })));
        assert!(create_secret_file(&link, b"x").unwrap_err().is_already_exists());
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(read_secret_file(&fifo), Err(SecretFileError::Kind { .. })), "and opening does not hang");
    }

    #[test]
    fn files_of_other_users_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().join("a.key");
        create_secret_file(&path, b"shh").unwrap();
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        } else {
            path = PathBuf::from("/etc/passwd");
        }
        let error = read_secret_file(&path).unwrap_err();
        assert!(matches!(error, SecretFileError::Owner { .. }), "{error}");
        assert!(error.to_string().contains("chown"));
    }

    #[test]
    fn a_missing_file_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_secret_file(&dir.path().join("none")).unwrap_err().is_not_found());
        assert!(!read_secret_file(dir.path()).unwrap_err().is_not_found());
    }
}
