//! Sealing: contents under short-lived data keys, data keys wrapped to auditors.
//!
//! A data key is 32 random bytes. Its id is the first 16 bytes of `SHA-256("interceptor data key v1" || key)`. It is
//! wrapped to every auditor with HPKE (RFC 9180: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM;
//! info `interceptor data key v1`, associated data the key id) and stored in `keys/epochs/<id>.key`, apart from the log,
//! so that destroying that file destroys what was sealed under it:
//!
//! ```text
//! interceptor-epoch-v1
//! key 5d0c...                       the id, hexadecimal
//! created 2026-01-02T03:04:05.000000006Z
//! wrapped 91b2... <enc> <ct>        auditor's fingerprint, encapsulated key and wrapped key in base64; a line for each
//! sha256 77aa...                    of the lines before
//! ```
//!
//! A sealed section is `nonce (12) || ciphertext || tag (16)`, AES-256-GCM; the nonce is four zeros and a big-endian
//! counter of the key; the associated data is [`associated_data`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hpke::kem::X25519HkdfSha256 as X25519;
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};
use zeroize::Zeroizing;

use super::auditor::{AuditorPublic, AuditorSecret, open, read_text, write_new};
use super::frame::Content;
use super::log::make_dir;
use super::tree::sha256;
use super::{Error, Time};
use crate::flow::ExchangeId;

/// How long a data key may seal.
pub(crate) const EPOCH: Duration = Duration::from_secs(300);
/// How long before that it is replaced.
const MARGIN: Duration = Duration::from_secs(30);
const INFO: &[u8] = b"interceptor data key v1";
const AAD: &[u8] = b"interceptor-seal-v1";
const FILE: &str = "interceptor-epoch-v1";
const TAG: usize = 16;

/// Names a data key.
pub type KeyId = [u8; 16];

type Kdf = hpke::kdf::HkdfSha256;
type Wrap = hpke::aead::AesGcm256;

/// `"interceptor-seal-v1" || exchange id (16) || key id (16) || content (u16) || ordinal (u32)`, little-endian. The
/// ordinal counts the parts of one content from 0.
fn associated_data(exchange: ExchangeId, key: &KeyId, content: Content, ordinal: u32) -> Vec<u8> {
    let code = content.code().to_le_bytes();
    [AAD, exchange.as_bytes().as_slice(), key, &code, &ordinal.to_le_bytes()].concat()
}

/// A data key in use.
pub(crate) struct Epoch {
    key: LessSafeKey,
    id: KeyId,
    counter: u64,
    first_use: Option<Instant>,
}

/// A worker's current key; the keeper replaces what is in it.
pub(crate) type Slot = Arc<Mutex<Epoch>>;

/// Makes data keys and stores them wrapped.
pub(crate) struct Sealer {
    auditors: Vec<AuditorPublic>,
    dir: PathBuf,
    epoch: Duration,
}

impl Sealer {
    pub(crate) fn new(auditors: Vec<AuditorPublic>, keys: &Path, epoch: Duration) -> Result<Self, Error> {
        if auditors.is_empty() {
            return Err(Error::NoAuditor);
        }
        let dir = epochs_dir(keys);
        make_dir(keys, 0o700)?;
        make_dir(&dir, 0o700)?;
        Ok(Self { auditors, dir, epoch })
    }

    /// A fresh data key, its wrapped form durable on disk.
    pub(crate) fn epoch(&self) -> Result<Epoch, Error> {
        let mut key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *key).map_err(|_| Error::Sealing { reason: "no random numbers".into() })?;
        let id = key_id(&key);
        let mut text = format!("{FILE}\nkey {}\ncreated {}\n", hex::encode(id), Time::now());
        for auditor in &self.auditors {
            text.push_str(&wrap(&key, &id, auditor)?);
        }
        text.push_str(&format!("sha256 {}\n", hex::encode(sha256(text.as_bytes()))));
        write_new(&epoch_path(&self.dir, &id), 0o600, text.as_bytes())?;
        let dir = fs::File::open(&self.dir).map_err(|e| Error::io("open", &self.dir, e))?;
        dir.sync_all().map_err(|e| Error::io("fsync", &self.dir, e))?;
        let key = UnboundKey::new(&AES_256_GCM, &*key).expect("32 bytes are an AES-256 key");
        Ok(Epoch { key: LessSafeKey::new(key), id, counter: 0, first_use: None })
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

impl Epoch {
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Seals `plain`.
    pub(crate) fn seal(
        &mut self,
        lifetime: Duration,
        exchange: ExchangeId,
        content: Content,
        ordinal: u32,
        plain: &[u8],
    ) -> Result<Vec<u8>, Error> {
        if self.first_use.get_or_insert_with(Instant::now).elapsed() > lifetime {
            return Err(Error::Sealing { reason: "see the daemon's messages about keys/epochs".into() });
        }
        let mut nonce = [0; NONCE_LEN];
        nonce[4..].copy_from_slice(&self.counter.to_be_bytes());
        self.counter += 1;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + TAG);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let aad = associated_data(exchange, &self.id, content, ordinal);
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut sealed[NONCE_LEN..])
            .map_err(|_| Error::Sealing { reason: "AES-GCM refused".into() })?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }
}

/// Bytes of content in a sealed section of `stored` bytes.
pub(crate) fn plain_len(stored: usize) -> u64 {
    stored.saturating_sub(NONCE_LEN + TAG) as u64
}

fn key_id(key: &[u8; 32]) -> KeyId {
    let hash = sha256(&Zeroizing::new([INFO, key].concat()));
    hash[..16].try_into().expect("16 of 32 bytes")
}

fn wrap(key: &[u8; 32], id: &KeyId, auditor: &AuditorPublic) -> Result<String, Error> {
    let failed = |e: hpke::HpkeError| Error::Sealing { reason: format!("HPKE: {e}") };
    let public = <X25519 as hpke::Kem>::PublicKey::from_bytes(auditor.as_bytes()).map_err(failed)?;
    let (enc, ct) =
        hpke::single_shot_seal::<Wrap, Kdf, X25519>(&OpModeS::Base, &public, INFO, key, id).map_err(failed)?;
    let (enc, ct) = (STANDARD.encode(enc.to_bytes()), STANDARD.encode(ct));
    Ok(format!("wrapped {} {enc} {ct}\n", auditor.fingerprint()))
}

/// Where wrapped data keys are below the keys directory.
pub(crate) fn epochs_dir(keys: &Path) -> PathBuf {
    keys.join("epochs")
}

fn epoch_path(dir: &Path, id: &KeyId) -> PathBuf {
    dir.join(format!("{}.key", hex::encode(id)))
}

/// Why a content cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum UnsealError {
    /// The wrapped key cannot be read.
    #[error(transparent)]
    File(#[from] Error),
    /// The wrapped key is gone: what it sealed cannot be read by anyone.
    #[error("the data key {0} is gone from keys/epochs: it was destroyed, or the keys were not copied with the log")]
    Shredded(String),
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
    /// The sealed bytes are not what was written.
    #[error("the sealed content does not open: it was altered, or belongs elsewhere")]
    Altered,
}

/// A wrapped data key as stored.
pub(crate) struct WrappedKey {
    path: PathBuf,
    id: KeyId,
    wrapped: Vec<Wrapped>,
}

/// A data key wrapped to one auditor (RFC 9180).
struct Wrapped {
    /// Fingerprint of the auditor's public key.
    auditor: String,
    encapsulated: Vec<u8>,
    ciphertext: Vec<u8>,
}

impl WrappedKey {
    /// Reads and checks `keys/epochs/<id>.key`.
    pub(crate) fn read(keys: &Path, id: &KeyId) -> Result<Self, UnsealError> {
        let path = epoch_path(&epochs_dir(keys), id);
        let file = open(&path).map_err(|e| match e {
            Error::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                UnsealError::Shredded(hex::encode(id))
            }
            e => UnsealError::File(e),
        })?;
        let text = read_text(&file, &path)?;
        let wrapped = parse_epoch(&text, id).map_err(|reason| UnsealError::Epoch { path: path.clone(), reason })?;
        Ok(Self { path, id: *id, wrapped })
    }

    fn unwrap(&self, secret: &AuditorSecret) -> Result<LessSafeKey, UnsealError> {
        let fingerprint = secret.public().fingerprint();
        let Some(wrapped) = self.wrapped.iter().find(|wrapped| wrapped.auditor == fingerprint) else {
            let sealed_to = self.wrapped.iter().map(|wrapped| wrapped.auditor.as_str()).collect::<Vec<_>>().join(", ");
            return Err(UnsealError::WrongKey { given: fingerprint, sealed_to });
        };
        let damaged =
            |_| UnsealError::Epoch { path: self.path.clone(), reason: "the wrapped key does not open".into() };
        let enc = <X25519 as hpke::Kem>::EncappedKey::from_bytes(&wrapped.encapsulated).map_err(damaged)?;
        let key = hpke::single_shot_open::<Wrap, Kdf, X25519>(
            &OpModeR::Base,
            &secret.hpke(),
            &enc,
            INFO,
            &wrapped.ciphertext,
            &self.id,
        )
        .map_err(damaged)?;
        let key = Zeroizing::new(key);
        let bytes: &[u8; 32] = key.as_slice().try_into().map_err(|_| damaged(hpke::HpkeError::OpenError))?;
        if key_id(bytes) != self.id {
            return Err(damaged(hpke::HpkeError::OpenError));
        }
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("32 bytes are an AES-256 key")))
    }
}

fn parse_epoch(text: &str, id: &KeyId) -> Result<Vec<Wrapped>, String> {
    let (signed, digest) = text
        .strip_suffix('\n')
        .and_then(|t| t.rfind("\nsha256 ").map(|at| (&text[..=at], &t[at + 8..])))
        .ok_or("it has no sha256 line")?;
    if digest != hex::encode(sha256(signed.as_bytes())) {
        return Err("its checksum does not match: the file was altered".into());
    }
    let mut lines = signed.lines();
    if lines.next() != Some(FILE) || lines.next() != Some(format!("key {}", hex::encode(id)).as_str()) {
        return Err("it is the file of another key".into());
    }
    let mut wrapped = Vec::new();
    for line in lines.filter_map(|line| line.strip_prefix("wrapped ")) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [auditor, enc, ct] = fields[..] else { return Err("a `wrapped` line has not three fields".into()) };
        let decode = |field: &str| STANDARD.decode(field).map_err(|e| format!("a `wrapped` line is not base64: {e}"));
        wrapped.push(Wrapped { auditor: auditor.to_owned(), encapsulated: decode(enc)?, ciphertext: decode(ct)? });
    }
    Ok(wrapped)
}

/// Opens sealed contents with an auditor's private key.
pub struct Opener<'a> {
    keys: &'a Path,
    secret: &'a AuditorSecret,
    opened: HashMap<KeyId, LessSafeKey>,
}

impl<'a> Opener<'a> {
    /// Opens with `secret` what was sealed under the data keys below `keys`.
    #[must_use]
    pub fn new(keys: &'a Path, secret: &'a AuditorSecret) -> Self {
        Self { keys, secret, opened: HashMap::new() }
    }

    /// The data key `id`.
    pub(crate) fn unwrap(&mut self, id: &KeyId) -> Result<&LessSafeKey, UnsealError> {
        match self.opened.entry(*id) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(WrappedKey::read(self.keys, id)?.unwrap(self.secret)?)),
        }
    }

    /// Opens one sealed section.
    pub(crate) fn open(
        &mut self,
        id: &KeyId,
        exchange: ExchangeId,
        content: Content,
        ordinal: u32,
        sealed: &[u8],
    ) -> Result<Vec<u8>, UnsealError> {
        let key = self.unwrap(id)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(UnsealError::Altered)?;
        let mut buffer = sealed.to_vec();
        let aad = associated_data(exchange, id, content, ordinal);
        let plain = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut buffer)
            .map_err(|_| UnsealError::Altered)?
            .len();
        buffer.truncate(plain);
        Ok(buffer)
    }
}
