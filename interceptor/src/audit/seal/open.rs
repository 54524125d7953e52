//! Opening what was sealed, with auditors' private keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use super::subject::{self, SubjectId};
use super::wrapped::WrappedKeys;
use super::{ClassKey, KeyId, Place, associated_data, content_key};
use crate::audit::Error;
use crate::audit::auditor::AuditorSecret;
use crate::audit::class::Class;

/// Why a content cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    /// The wrapped key cannot be read.
    #[error(transparent)]
    File(#[from] Error),
    /// The wrapped key is gone: what it sealed cannot be read by anyone.
    #[error("the data key {key} is gone from keys/epochs: it was destroyed, or the keys were not copied with the log")]
    Shredded {
        /// Its id.
        key: String,
    },
    /// Retention has destroyed the key of this class.
    #[error("the key of {class} was destroyed in the data key {key}: nobody can open them any more")]
    ClassShredded {
        /// Id of the data key.
        key: String,
        /// What was sealed under it.
        class: Class,
    },
    /// The subject's secret is gone.
    #[error(
        "the data of subject {0} was erased: its secret is gone from keys/subjects, or was not copied with the log"
    )]
    Erased(String),
    /// The file with the wrapped key is damaged.
    #[error("{}: {reason}", path.display())]
    Epoch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key pair is not among those the data key was wrapped to.
    #[error("the key {given} cannot open this record: it was sealed to {sealed_to}")]
    WrongKey {
        /// Fingerprint of the given key.
        given: String,
        /// Fingerprints of the auditors.
        sealed_to: String,
    },
    /// It takes the keys of more auditors.
    #[error(
        "it takes the keys of {needed} auditors to open this record, and {fitting} of those given fits: give --key for each; it was sealed to {sealed_to}"
    )]
    TooFewKeys {
        /// How many.
        needed: u8,
        /// How many of those given are among them.
        fitting: usize,
        /// Fingerprints of the auditors.
        sealed_to: String,
    },
    /// The sealed bytes are not what was written.
    #[error("the sealed content does not open: it was altered, or belongs elsewhere")]
    Altered,
}

/// Opens sealed contents with auditors' private keys.
pub struct Opener<'a> {
    keys: &'a Path,
    secrets: &'a [AuditorSecret],
    unwrapped: HashMap<(KeyId, Class), ClassKey>,
    derived: HashMap<(KeyId, Class, SubjectId), LessSafeKey>,
}

impl<'a> Opener<'a> {
    /// Opens with `secrets`, of as many auditors as it takes, what was sealed under the data keys below `keys`.
    #[must_use]
    pub fn new(keys: &'a Path, secrets: &'a [AuditorSecret]) -> Self {
        Self { keys, secrets, unwrapped: HashMap::new(), derived: HashMap::new() }
    }

    /// The key of `class` in the data key `id`.
    pub(crate) fn unwrap(&mut self, id: &KeyId, class: Class) -> Result<&ClassKey, UnsealError> {
        if !self.unwrapped.contains_key(&(*id, class)) {
            let key = WrappedKeys::read(self.keys, id)?.unwrap(class, self.secrets)?;
            self.unwrapped.insert((*id, class), key);
        }
        Ok(&self.unwrapped[&(*id, class)])
    }

    fn key(&mut self, id: &KeyId, class: Class, subject: SubjectId) -> Result<&LessSafeKey, UnsealError> {
        if !self.derived.contains_key(&(*id, class, subject)) {
            let secret = (subject != SubjectId::default()).then(|| subject::secret(self.keys, &subject)).transpose()?;
            let key = content_key(class, self.unwrap(id, class)?, secret.as_deref());
            self.derived.insert((*id, class, subject), key);
        }
        Ok(&self.derived[&(*id, class, subject)])
    }

    /// Opens one sealed section.
    pub(crate) fn open(&mut self, id: &KeyId, place: Place, sealed: &[u8]) -> Result<Vec<u8>, UnsealError> {
        let (subject, sealed) = sealed.split_first_chunk::<16>().ok_or(UnsealError::Altered)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(UnsealError::Altered)?;
        let aad = associated_data(place.exchange, id, place.content, place.ordinal);
        let key = self.key(id, place.content.class(), *subject)?;
        let mut buffer = sealed.to_vec();
        let plain = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut buffer)
            .map_err(|_| UnsealError::Altered)?
            .len();
        buffer.truncate(plain);
        Ok(buffer)
    }
}
