//! Subjects: whose data a content is, each with a secret that its contents are sealed under besides the data key.
//!
//! `keys/subjects/<id>.key`:
//!
//! ```text
//! interceptor-subject-v1
//! subject uid:1000
//! secret R7k...=                 32 random bytes, base64
//! ```
//!
//! The id is the first 16 bytes of `SHA-256("interceptor subject v1 " || subject || 0x00 || secret)`. The secret alone opens
//! nothing: that takes an auditor's key too. Without it nobody opens anything of the subject's, so erasing is destroying the
//! file. A subject that calls again gets a new secret. One subject may have several, of two daemons at the same time.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::open::UnsealError;
use crate::audit::Error;
use crate::audit::auditor::{open, read_text, refuse_loose, store_new};
use crate::audit::destroy::{is_blank, overwrite};
use crate::audit::log::make_dir;
use crate::audit::tree::sha256;

const FILE: &str = "interceptor-subject-v1";

/// Names a subject's secret; zeros when it is nobody's data in particular.
pub(crate) type SubjectId = [u8; 16];

/// A subject with its secret.
#[derive(Debug)]
pub(crate) struct Subject {
    id: SubjectId,
    secret: Zeroizing<[u8; 32]>,
    /// The file that holds it.
    inode: u64,
}

impl Subject {
    pub(crate) fn id(&self) -> SubjectId {
        self.id
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

/// Where subjects' secrets are below the keys directory.
fn subjects_dir(keys: &Path) -> PathBuf {
    keys.join("subjects")
}

fn file_of(dir: &Path, id: &SubjectId) -> PathBuf {
    dir.join(format!("{}.key", hex::encode(id)))
}

fn id_of(name: &str, secret: &[u8; 32]) -> SubjectId {
    let bytes = Zeroizing::new([b"interceptor subject v1 ", name.as_bytes(), &[0], secret].concat());
    sha256(&bytes)[..16].try_into().expect("16 of 32 bytes")
}

/// The subjects that a daemon has met.
#[derive(Debug)]
pub(crate) struct Subjects {
    dir: PathBuf,
    known: Mutex<HashMap<String, Arc<Subject>>>,
}

impl Subjects {
    pub(super) fn open(keys: &Path) -> Result<Self, Error> {
        let dir = subjects_dir(keys);
        make_dir(&dir, 0o700)?;
        let known = list(&dir)?.into_iter().map(|(name, subject)| (name, Arc::new(subject))).collect();
        Ok(Self { dir, known: Mutex::new(known) })
    }

    /// The subject of this name if it has a secret that was not erased meanwhile: asks the file system each time, so that
    /// nothing is sealed under a secret that is gone.
    pub(crate) fn known(&self, name: &str) -> Option<Arc<Subject>> {
        let subject = self.lock().get(name).cloned()?;
        let there = fs::symlink_metadata(file_of(&self.dir, &subject.id)).is_ok_and(|file| file.ino() == subject.inode);
        there.then_some(subject)
    }

    /// Makes a secret for this subject and stores it, which waits for the disk.
    pub(crate) fn create(&self, name: &str) -> Result<Arc<Subject>, Error> {
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *secret).map_err(|_| Error::Sealing { reason: "no random numbers".into() })?;
        let id = id_of(name, &secret);
        let path = file_of(&self.dir, &id);
        let encoded = Zeroizing::new(STANDARD.encode(*secret));
        let text = Zeroizing::new(format!("{FILE}\nsubject {name}\nsecret {}\n", encoded.as_str()));
        store_new(&path, text.as_bytes())?;
        let inode = fs::symlink_metadata(&path).map_err(|e| Error::io("stat", &path, e))?.ino();
        let subject = Arc::new(Subject { id, secret, inode });
        self.lock().insert(name.to_owned(), Arc::clone(&subject));
        Ok(subject)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Subject>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The secret of the subject `id`.
pub(super) fn secret(keys: &Path, id: &SubjectId) -> Result<Zeroizing<[u8; 32]>, UnsealError> {
    let path = file_of(&subjects_dir(keys), id);
    match read(&path) {
        Ok(Some((_, subject))) if subject.id == *id => Ok(subject.secret),
        Ok(None) => Err(UnsealError::Erased(hex::encode(id))),
        Ok(Some(_)) => Err(UnsealError::Epoch { path, reason: "it is the file of another subject".into() }),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(UnsealError::Erased(hex::encode(id)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The ids of all secrets of a subject.
pub(crate) fn ids(keys: &Path, name: &str) -> Result<Vec<SubjectId>, Error> {
    let found = list(&subjects_dir(keys))?;
    Ok(found.into_iter().filter(|(of, _)| of == name).map(|(_, subject)| subject.id).collect())
}

/// Destroys a subject's secret.
pub(crate) fn erase(keys: &Path, id: &SubjectId) -> Result<(), Error> {
    overwrite(&file_of(&subjects_dir(keys), id), None)
}

fn list(dir: &Path) -> Result<Vec<(String, Subject)>, Error> {
    let failed = |e| Error::io("readdir", dir, e);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "key") {
            match read(&path) {
                Ok(subject) => found.extend(subject),
                // One subject's trouble: nothing of others waits for it.
                Err(error @ Error::KeyFile { .. }) => log::warn!("audit log: passed over: {error}"),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// Nothing of a secret that was being destroyed, or never got to the disk.
fn read(path: &Path) -> Result<Option<(String, Subject)>, Error> {
    let file = open(path)?;
    refuse_loose(&file, path)?;
    let inode = file.metadata().map_err(|e| Error::io("fstat", path, e))?.ino();
    let text = Zeroizing::new(read_text(&file, path)?);
    if is_blank(&text) {
        return Ok(None);
    }
    let malformed = || Error::key_file(path, format!("is no {FILE} file: restore it from a backup"));
    let mut lines = text.lines();
    let mut next = |name: &str| lines.next()?.strip_prefix(name);
    let (Some(""), Some(name), Some(secret)) = (next(FILE), next("subject "), next("secret ")) else {
        return Err(malformed());
    };
    let secret = Zeroizing::new(STANDARD.decode(secret).map_err(|_| malformed())?);
    let secret = Zeroizing::new(<[u8; 32]>::try_from(secret.as_slice()).map_err(|_| malformed())?);
    Ok(Some((name.to_owned(), Subject { id: id_of(name, &secret), secret, inode })))
}
