//! Sealing: contents under short-lived data keys, data keys wrapped to auditors.
//!
//! A data key is in use by one thread for at most five minutes. It has a 32-byte key for each class of content that is
//! sealed, wrapped apart ([`wrapped`]), so that what is kept for 90 days and what is kept for seven years can be destroyed
//! apart. Content is sealed under a key derived from the class's key and the secret of the subject whose data it is
//! ([`subject`]): whoever destroys that secret has erased the subject's contents, whatever data keys remain.
//!
//! ```text
//! HKDF-SHA256(salt = subject's secret, ikm = class key, info = "interceptor content key v1 " || class)
//! ```
//!
//! A sealed section is `subject id (16) || nonce (12) || ciphertext || tag (16)`, AES-256-GCM; the nonce is four zeros and
//! a big-endian counter of the data key; the associated data is [`associated_data`].

mod open;
mod subject;
mod wrapped;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use super::Error;
use super::auditor::AuditorPublic;
use super::class::Class;
use super::frame::Content;
use super::log::make_dir;
use crate::flow::ExchangeId;

pub use open::{Opener, UnsealError};
pub(crate) use subject::{Subject, SubjectId, Subjects, erase as erase_subject, ids as subject_ids};
pub(crate) use wrapped::{WrappedKeys, epochs_dir};

/// How long a data key may seal.
pub(crate) const EPOCH: Duration = Duration::from_secs(300);
/// How long before that it is replaced.
const MARGIN: Duration = Duration::from_secs(30);
/// The file of a data key, which has two lines for each auditor, is read whole.
const MAX_AUDITORS: usize = 128;
const AAD: &[u8] = b"interceptor-seal-v2";
const TAG: usize = 16;
/// Bytes before the ciphertext of a sealed section.
const PREFIX: usize = size_of::<SubjectId>() + NONCE_LEN;

/// Names a data key.
pub type KeyId = [u8; 16];

/// The key of one class.
pub(crate) type ClassKey = Zeroizing<[u8; 32]>;

/// `"interceptor-seal-v2" || exchange id (16) || key id (16) || content (u16) || ordinal (u32)`, little-endian. The
/// ordinal counts the parts of one content from 0.
fn associated_data(exchange: ExchangeId, key: &KeyId, content: Content, ordinal: u32) -> Vec<u8> {
    let code = content.code().to_le_bytes();
    [AAD, exchange.as_bytes().as_slice(), key, &code, &ordinal.to_le_bytes()].concat()
}

/// The key that one subject's contents of one class are sealed under; without a subject's secret, those of all others.
fn content_key(class: Class, key: &[u8; 32], secret: Option<&[u8; 32]>) -> LessSafeKey {
    struct Size;
    impl KeyType for Size {
        fn len(&self) -> usize {
            32
        }
    }
    let info = [b"interceptor content key v1 ", class.name().as_bytes()];
    let prk = Salt::new(HKDF_SHA256, secret.map_or(&[][..], |secret| secret)).extract(key);
    let mut derived = Zeroizing::new([0; 32]);
    prk.expand(&info, Size).and_then(|okm| okm.fill(&mut *derived)).expect("32 bytes are one block of HKDF");
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*derived).expect("32 bytes are an AES-256 key"))
}

/// A data key in use.
pub(crate) struct Epoch {
    id: KeyId,
    keys: [ClassKey; Class::SEALED.len()],
    derived: HashMap<(SubjectId, Class), LessSafeKey>,
    counter: u64,
    first_use: Option<Instant>,
}

/// A worker's current key; the keeper replaces what is in it.
pub(crate) type Slot = Arc<Mutex<Epoch>>;

/// To whom contents are sealed.
#[derive(Clone, Debug)]
pub(crate) struct Auditors {
    pub(crate) keys: Vec<AuditorPublic>,
    /// How many of them it takes to open something.
    pub(crate) threshold: u8,
}

/// Makes data keys and stores them wrapped.
pub(crate) struct Sealer {
    auditors: Auditors,
    dir: PathBuf,
    epoch: Duration,
    pub(crate) subjects: Subjects,
}

impl Sealer {
    pub(crate) fn new(auditors: Auditors, keys: &Path, epoch: Duration) -> Result<Self, Error> {
        let (given, needed) = (auditors.keys.len(), auditors.threshold);
        if given == 0 {
            return Err(Error::NoAuditor);
        }
        if needed == 0 || usize::from(needed) > given || given > MAX_AUDITORS {
            return Err(Error::Threshold { needed, given });
        }
        let keys_given = &auditors.keys;
        if let Some((_, twice)) = keys_given.iter().enumerate().find(|(n, key)| keys_given[..*n].contains(key)) {
            return Err(Error::SameAuditor(twice.fingerprint()));
        }
        let dir = epochs_dir(keys);
        make_dir(keys, 0o700)?;
        make_dir(&dir, 0o700)?;
        Ok(Self { auditors, dir, epoch, subjects: Subjects::open(keys)? })
    }

    /// A fresh data key, its wrapped form durable on disk.
    pub(crate) fn epoch(&self) -> Result<Epoch, Error> {
        let mut keys = Class::SEALED.map(|_| ClassKey::default());
        for key in &mut keys {
            aws_lc_rs::rand::fill(&mut **key).map_err(|_| Error::Sealing { reason: "no random numbers".into() })?;
        }
        let id = wrapped::store(&self.dir, &keys, &self.auditors)?;
        Ok(Epoch { id, keys, derived: HashMap::new(), counter: 0, first_use: None })
    }

    /// Replaces the key in `slot` when its epoch is nearly over. A key that has sealed nothing has no age.
    pub(crate) fn refresh(&self, slot: &Slot) -> Result<(), Error> {
        let due = {
            let epoch = slot.lock().unwrap_or_else(PoisonError::into_inner);
            epoch.first_use.is_some_and(|at| at.elapsed() + MARGIN.min(self.epoch / 10) >= self.epoch)
        };
        if due {
            let fresh = self.epoch()?;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        Ok(())
    }

    /// How long a key may seal.
    pub(crate) fn lifetime(&self) -> Duration {
        self.epoch
    }
}

/// What one content is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) exchange: ExchangeId,
    pub(crate) content: Content,
    /// Number of the part.
    pub(crate) ordinal: u32,
}

impl Epoch {
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Seals `plain`, the data of `subject`.
    pub(crate) fn seal(
        &mut self,
        lifetime: Duration,
        place: Place,
        subject: Option<&Subject>,
        plain: &[u8],
    ) -> Result<Vec<u8>, Error> {
        if self.first_use.get_or_insert_with(Instant::now).elapsed() > lifetime {
            return Err(Error::Sealing { reason: "see the daemon's messages about keys/epochs".into() });
        }
        let mut nonce = [0; NONCE_LEN];
        nonce[4..].copy_from_slice(&self.counter.to_be_bytes());
        self.counter += 1;
        let subject_id = subject.map_or([0; 16], Subject::id);
        let mut sealed = Vec::with_capacity(PREFIX + plain.len() + TAG);
        sealed.extend_from_slice(&subject_id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let aad = associated_data(place.exchange, &self.id, place.content, place.ordinal);
        let key = self.key(place.content.class(), subject_id, subject)?;
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut sealed[PREFIX..])
            .map_err(|_| Error::Sealing { reason: "AES-GCM refused".into() })?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    fn key(&mut self, class: Class, id: SubjectId, subject: Option<&Subject>) -> Result<&LessSafeKey, Error> {
        let index = Class::SEALED.iter().position(|sealed| *sealed == class);
        let index = index.ok_or_else(|| Error::Sealing { reason: format!("{class} are never sealed") })?;
        let key = &self.keys[index];
        Ok(self.derived.entry((id, class)).or_insert_with(|| content_key(class, key, subject.map(Subject::secret))))
    }
}

/// Bytes of content in a sealed section of `stored` bytes.
pub(crate) fn plain_len(stored: usize) -> u64 {
    stored.saturating_sub(PREFIX + TAG) as u64
}
