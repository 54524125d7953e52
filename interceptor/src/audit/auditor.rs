//! Auditors' key pairs: X25519, to whose public half data keys are wrapped.
//!
//! A key file is text: comment lines that start with `#`, and one line with a name and 32 bytes in base64.
//!
//! ```text
//! # public half, to configure: interceptor-auditor-public-v1 jMy...=
//! interceptor-auditor-secret-v1 R7k...=
//! ```

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hpke::kem::X25519HkdfSha256 as X25519;
use hpke::{Deserializable as _, Kem as _, Serializable as _};
use zeroize::Zeroizing;

use super::Error;
use super::disk::{Disk as _, Kernel};
use super::tree::sha256;

const PUBLIC: &str = "interceptor-auditor-public-v1";
const SECRET: &str = "interceptor-auditor-secret-v1";
/// Larger files are not key files.
const MAX_FILE: u64 = 64 * 1024;

/// An auditor's public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditorPublic([u8; 32]);

impl AuditorPublic {
    /// Reads a public key file.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = read_text(&open(path)?, path)?;
        Self::from_str(&text).map_err(|reason| Error::key_file(path, reason))
    }

    /// The raw key (RFC 7748).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key's short name: the first 16 hexadecimal digits of its SHA-256.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode(&sha256(&self.0)[..8])
    }
}

impl fmt::Display for AuditorPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC} {}", STANDARD.encode(self.0))
    }
}

impl FromStr for AuditorPublic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = key_line(text, PUBLIC)?;
        <X25519 as hpke::Kem>::PublicKey::from_bytes(&*key).map_err(|e| format!("not an X25519 public key: {e}"))?;
        Ok(Self(*key))
    }
}

/// An auditor's private key. Wiped from memory when dropped.
pub struct AuditorSecret(Zeroizing<[u8; 32]>);

impl fmt::Debug for AuditorSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditorSecret({})", self.public().fingerprint())
    }
}

impl AuditorSecret {
    /// A new key from the system's random numbers.
    #[must_use]
    pub fn generate() -> Self {
        let (secret, _) = X25519::gen_keypair();
        let mut bytes = Zeroizing::new([0; 32]);
        secret.write_exact(&mut *bytes);
        Self(bytes)
    }

    /// Reads a private key file.
    ///
    /// # Errors
    /// When the file cannot be read, others may read it, or it holds something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = open(path)?;
        let text = Zeroizing::new(read_text(&file, path)?);
        // What kind of key it is comes first: a public key needs no narrower mode.
        let key = key_line(&text, SECRET).map_err(|reason| Error::key_file(path, reason))?;
        refuse_loose(&file, path)?;
        Ok(Self(key))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> AuditorPublic {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&X25519::sk_to_pk(&self.hpke()).to_bytes());
        AuditorPublic(bytes)
    }

    /// Writes the private key to `path` (mode 0600) and the public half to `path` with `.pub` added. Overwrites
    /// nothing. Returns where the public half is.
    ///
    /// # Errors
    /// When a file exists or cannot be written.
    pub fn write(&self, path: &Path) -> Result<PathBuf, Error> {
        let mut public_path = path.as_os_str().to_owned();
        public_path.push(".pub");
        let public_path = PathBuf::from(public_path);
        if public_path.symlink_metadata().is_ok() {
            return Err(Error::key_file(public_path, "exists already: choose another name or move it away"));
        }
        let public = self.public();
        let secret = Zeroizing::new(format!(
            "# Interceptor: an auditor's private key. Whoever has it reads what was sealed; keep it off the host.\n\
             # The public half is {public}\n{SECRET} {}\n",
            Zeroizing::new(STANDARD.encode(*self.0)).as_str()
        ));
        write_new(path, 0o600, secret.as_bytes())?;
        let text = format!("# Interceptor: an auditor's public key, to configure on hosts\n{public}\n");
        write_new(&public_path, 0o644, text.as_bytes())?;
        Ok(public_path)
    }

    pub(crate) fn hpke(&self) -> <X25519 as hpke::Kem>::PrivateKey {
        <X25519 as hpke::Kem>::PrivateKey::from_bytes(&*self.0).expect("every 32 bytes are an X25519 private key")
    }
}

fn key_line(text: &str, name: &str) -> Result<Zeroizing<[u8; 32]>, String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(format!("expected exactly one line `{name} <base64>`"));
    };
    let value = match line.split_once(' ') {
        Some((found, value)) if found == name => value.trim(),
        Some((found, _)) if found == PUBLIC || found == SECRET => {
            return Err(if found == PUBLIC {
                "is a public key; the private half is needed: the file without .pub".into()
            } else {
                "is a private key; the other half of the pair is needed: the file that ends in .pub".into()
            });
        }
        _ => return Err(format!("expected a line `{name} <base64>`")),
    };
    let bytes = Zeroizing::new(STANDARD.decode(value).map_err(|e| format!("the key is not base64: {e}"))?);
    let key =
        <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| format!("the key has {} bytes, not 32", bytes.len()))?;
    Ok(Zeroizing::new(key))
}

/// Opens a file without following a symbolic link.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    open_regular(path).map_err(|e| Error::io("open", path, e))
}

/// The same, with the system's error. What is no regular file is refused, and not waited for: a pipe has no end. Then the error is
/// of the kind `InvalidInput`.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC | nix::libc::O_NONBLOCK;
    regular(OpenOptions::new().read(true).custom_flags(flags).open(path))
}

/// Opens a file that is locked, and makes it when it is not there; refuses as [`open_regular`] does.
pub(crate) fn open_lock(path: &Path, mode: u32) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC | nix::libc::O_NONBLOCK;
    let mut options = OpenOptions::new();
    // For reading too: a pipe that nobody reads could not be opened otherwise, and the error would not say what it is.
    options.read(true).write(true).create(true).truncate(false).mode(mode).custom_flags(flags);
    regular(options.open(path))
}

fn regular(opened: io::Result<File>) -> io::Result<File> {
    let other = || io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
    let file = opened.map_err(|e| match e.raw_os_error() {
        // A symbolic link, a socket, a directory that was to be written to.
        Some(nix::libc::ELOOP | nix::libc::ENXIO | nix::libc::EISDIR) => other(),
        _ => e,
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(other()) }
}

/// Refuses a secret that its group or others may read.
pub(crate) fn refuse_loose(file: &File, path: &Path) -> Result<(), Error> {
    let mode = file.metadata().map_err(|e| Error::io("fstat", path, e))?.mode();
    if mode & 0o077 != 0 {
        let reason = format!("others may read this secret (mode {:04o}): chmod 0600 it", mode & 0o7777);
        return Err(Error::key_file(path, reason));
    }
    Ok(())
}

pub(crate) fn read_text(file: &File, path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|e| Error::io("read", path, e))?;
    Ok(text)
}

/// The first line of a key file that is neither empty nor a comment.
pub(crate) fn one_line(path: &Path) -> Result<String, Error> {
    let file = open(path).map_err(|error| match error {
        Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Error::key_file(path, "there is no such file")
        }
        error => error,
    })?;
    let text = read_text(&file, path)?;
    let mut lines = text.lines().map(str::trim);
    Ok(lines.find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default().to_owned())
}

/// Writes a file that must not exist yet, durably.
pub(crate) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Error> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
        .open(path)
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::key_file(path, "exists already: choose another name or move it away")
            }
            _ => Error::io("create", path, e),
        })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| Error::io("write", path, e))
}

/// As [`write_new`] for a secret of this process, whole or not at all whatever stops it; durable with its name.
pub(crate) fn store_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    write_new(&temporary, 0o600, bytes)?;
    if let Err(error) = Kernel.rename(&temporary, path) {
        let _ = std::fs::remove_file(&temporary);
        return Err(Error::io("rename", path, error));
    }
    sync_parent(path)
}

/// Makes the name of a file durable, or that it is gone.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| Error::io("fsync", dir, e))
}

/// Gives a file of the log its mode, whatever the umask: the directory decides who reads the log.
pub(crate) fn readable(file: &File, path: &Path) -> Result<(), Error> {
    file.set_permissions(std::fs::Permissions::from_mode(0o640)).map_err(|e| Error::io("fchmod", path, e))
}

/// Makes a directory that the log's readers may look into, whatever the umask, and that gives its files the group that
/// the log's directory does.
pub(crate) fn make_readable_dirs(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_readable_dirs(parent)?;
    }
    match std::fs::create_dir(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let inherited = std::fs::symlink_metadata(path)?.mode() & nix::libc::S_ISGID;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o750 | inherited))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_survives_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auditor.key");
        let secret = AuditorSecret::generate();
        let public_path = secret.write(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(AuditorPublic::read(&public_path).unwrap(), secret.public());
        assert_eq!(AuditorSecret::read(&path).unwrap().public(), secret.public());
        assert!(matches!(secret.write(&path), Err(Error::KeyFile { .. })), "nothing is overwritten");
    }

    #[test]
    fn refuses_a_secret_that_others_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auditor.key");
        AuditorSecret::generate().write(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(AuditorSecret::read(&path).unwrap_err().to_string().contains("chmod 0600"));
    }

    #[test]
    fn refuses_a_link_and_the_wrong_half() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auditor.key");
        let public = AuditorSecret::generate().write(&path).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(AuditorSecret::read(&link).is_err());
        // Its mode is no reason to complain about a public key.
        let wrong = AuditorSecret::read(&public).unwrap_err().to_string();
        assert!(wrong.contains("private half") && !wrong.contains("chmod"), "{wrong}");
        let wrong = AuditorPublic::read(&path).unwrap_err().to_string();
        assert!(wrong.contains("the other half"), "{wrong}");
        assert!(AuditorPublic::read(&public).is_ok());
    }
}
