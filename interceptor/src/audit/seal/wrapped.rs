//! Wrapped data keys on disk, apart from the log, so that destroying them destroys what was sealed under them.
//!
//! `keys/epochs/<id>.key`:
//!
//! ```text
//! interceptor-epoch-v2
//! key 5d0c...                                the id, hexadecimal
//! created 2026-01-02T03:04:05.000000006Z
//! threshold 1                                auditors that it takes
//! class prompts 9f21...                      commitment to the class's key
//! class responses 03ab...
//! wrapped prompts 91b2... <enc> <ct>         auditor's fingerprint, encapsulated key and wrapped share in base64;
//! wrapped responses 91b2... <enc> <ct>       a line for each auditor and class
//! sha256 77aa...                             of the lines before
//! ```
//!
//! Shares are wrapped with HPKE (RFC 9180: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; info
//! `interceptor data key v2 <class>`, associated data the key id). With a threshold of 1 a share is the class's key, else a
//! share of Shamir's secret sharing over GF(256). A class's commitment is `SHA-256("interceptor class key v2 <class> " ||
//! key)`; the id is the first 16 bytes of `SHA-256("interceptor data key v2" || commitments)`. Entries of the log name the
//! id, so nobody can put other keys in the place of these. Destroying a class removes its `wrapped` lines.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blahaj::{Share, Sharks};
use hpke::kem::X25519HkdfSha256 as X25519;
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};
use zeroize::Zeroizing;

use super::open::UnsealError;
use super::{Auditors, ClassKey, KeyId};
use crate::audit::auditor::{AuditorPublic, AuditorSecret, open, read_text, store_new};
use crate::audit::class::Class;
use crate::audit::destroy::{is_blank, overwrite};
use crate::audit::tree::{Hash, sha256};
use crate::audit::{Error, Time};

const FILE: &str = "interceptor-epoch-v2";

type Kdf = hpke::kdf::HkdfSha256;
type Wrap = hpke::aead::AesGcm256;

/// Where wrapped data keys are below the keys directory.
pub(crate) fn epochs_dir(keys: &Path) -> PathBuf {
    keys.join("epochs")
}

fn file_of(dir: &Path, id: &KeyId) -> PathBuf {
    dir.join(format!("{}.key", hex::encode(id)))
}

fn info(class: Class) -> String {
    format!("interceptor data key v2 {class}")
}

fn commitment(class: Class, key: &[u8; 32]) -> Hash {
    sha256(&Zeroizing::new([format!("interceptor class key v2 {class} ").as_bytes(), key].concat()))
}

fn id_of(commitments: impl IntoIterator<Item = Hash>) -> KeyId {
    let mut bytes = b"interceptor data key v2".to_vec();
    bytes.extend(commitments.into_iter().flatten());
    sha256(&bytes)[..16].try_into().expect("16 of 32 bytes")
}

/// Wraps a data key to the auditors and stores it below `dir`, durably. Returns its id.
pub(super) fn store(dir: &Path, keys: &[ClassKey; Class::SEALED.len()], auditors: &Auditors) -> Result<KeyId, Error> {
    let commitments = [0, 1].map(|index| commitment(Class::SEALED[index], &keys[index]));
    let id = id_of(commitments);
    let mut file = WrappedKeys {
        path: file_of(dir, &id),
        id,
        created: Time::now(),
        threshold: auditors.threshold,
        commitments,
        wrapped: Vec::new(),
    };
    for (class, key) in Class::SEALED.into_iter().zip(keys) {
        let shares = shares(key, auditors)?;
        for (auditor, share) in auditors.keys.iter().zip(&shares) {
            file.wrapped.push(Wrapped::new(class, &id, auditor, share)?);
        }
    }
    store_new(&file.path, file.text().as_bytes())?;
    Ok(id)
}

/// One share for each auditor.
fn shares(key: &ClassKey, auditors: &Auditors) -> Result<Vec<Zeroizing<Vec<u8>>>, Error> {
    if auditors.threshold == 1 {
        return Ok(auditors.keys.iter().map(|_| Zeroizing::new(key.to_vec())).collect());
    }
    let dealer = Sharks(auditors.threshold).dealer(&**key);
    let shares: Vec<_> = dealer.take(auditors.keys.len()).map(|share| Zeroizing::new(Vec::from(&share))).collect();
    match shares.len() == auditors.keys.len() {
        true => Ok(shares),
        false => Err(Error::Sealing { reason: "there are more auditors than shares".into() }),
    }
}

/// A share of one class's key, wrapped to one auditor (RFC 9180).
#[derive(Debug)]
struct Wrapped {
    class: Class,
    /// Fingerprint of the auditor's public key.
    auditor: String,
    encapsulated: Vec<u8>,
    ciphertext: Vec<u8>,
}

impl Wrapped {
    fn new(class: Class, id: &KeyId, auditor: &AuditorPublic, share: &[u8]) -> Result<Self, Error> {
        let failed = |e: hpke::HpkeError| Error::Sealing { reason: format!("HPKE: {e}") };
        let public = <X25519 as hpke::Kem>::PublicKey::from_bytes(auditor.as_bytes()).map_err(failed)?;
        let info = info(class);
        let (enc, ciphertext) =
            hpke::single_shot_seal::<Wrap, Kdf, X25519>(&OpModeS::Base, &public, info.as_bytes(), share, id)
                .map_err(failed)?;
        Ok(Self { class, auditor: auditor.fingerprint(), encapsulated: enc.to_bytes().to_vec(), ciphertext })
    }

    fn parse(line: &str) -> Result<Self, String> {
        let fields: Vec<&str> = line.split(' ').collect();
        let [class, auditor, enc, ct] = fields[..] else { return Err("a `wrapped` line has not four fields".into()) };
        let decode = |field: &str| STANDARD.decode(field).map_err(|e| format!("a `wrapped` line is not base64: {e}"));
        Ok(Self {
            class: class.parse().map_err(|e| format!("a `wrapped` line: {e}"))?,
            auditor: auditor.to_owned(),
            encapsulated: decode(enc)?,
            ciphertext: decode(ct)?,
        })
    }

    /// The share, if `secret` is the auditor's.
    fn open(&self, id: &KeyId, secret: &AuditorSecret) -> Option<Zeroizing<Vec<u8>>> {
        let enc = <X25519 as hpke::Kem>::EncappedKey::from_bytes(&self.encapsulated).ok()?;
        let (private, info) = (secret.hpke(), info(self.class));
        let mode = OpModeR::Base;
        hpke::single_shot_open::<Wrap, Kdf, X25519>(&mode, &private, &enc, info.as_bytes(), &self.ciphertext, id)
            .ok()
            .map(Zeroizing::new)
    }
}

/// A wrapped data key as stored.
#[derive(Debug)]
pub(crate) struct WrappedKeys {
    path: PathBuf,
    id: KeyId,
    created: Time,
    threshold: u8,
    commitments: [Hash; Class::SEALED.len()],
    wrapped: Vec<Wrapped>,
}

impl WrappedKeys {
    /// Reads and checks `keys/epochs/<id>.key`.
    pub(crate) fn read(keys: &Path, id: &KeyId) -> Result<Self, UnsealError> {
        let path = file_of(&epochs_dir(keys), id);
        let file = open(&path).map_err(|e| match e {
            Error::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                UnsealError::Shredded { key: hex::encode(id) }
            }
            e => UnsealError::File(e),
        })?;
        let text = read_text(&file, &path)?;
        if is_blank(&text) {
            return Err(UnsealError::Shredded { key: hex::encode(id) });
        }
        Self::parse(&text, id, &path).map_err(|reason| UnsealError::Epoch { path: path.clone(), reason })
    }

    fn parse(text: &str, id: &KeyId, path: &Path) -> Result<Self, String> {
        let (signed, digest) = text
            .strip_suffix('\n')
            .and_then(|t| t.rfind("\nsha256 ").map(|at| (&text[..=at], &t[at + 8..])))
            .ok_or("it has no sha256 line")?;
        if digest != hex::encode(sha256(signed.as_bytes())) {
            return Err("its checksum does not match: the file was altered".into());
        }
        let mut lines = signed.lines();
        if lines.next() != Some(FILE) {
            return Err(format!("it is no {FILE} file: another version wrote it"));
        }
        let mut next = |name: &str| {
            let value = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.map(str::to_owned).ok_or_else(|| format!("its `{name}` line is missing"))
        };
        let key = next("key")?;
        let created = next("created")?.parse().map_err(|_| "its `created` line has no time")?;
        let threshold = next("threshold")?.parse().map_err(|_| "its `threshold` line has no number")?;
        let mut commitments = [Hash::default(); Class::SEALED.len()];
        for (class, commitment) in Class::SEALED.into_iter().zip(&mut commitments) {
            let value = next(&format!("class {class}"))?;
            hex::decode_to_slice(&value, commitment).map_err(|_| "a `class` line has no commitment")?;
        }
        if key != hex::encode(id) || id_of(commitments) != *id {
            return Err("it is the file of another key".into());
        }
        let wrapped = lines
            .map(|line| {
                line.strip_prefix("wrapped ").ok_or("it has a line that is none".to_owned()).and_then(Wrapped::parse)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), id: *id, created, threshold, commitments, wrapped })
    }

    fn text(&self) -> String {
        let mut text =
            format!("{FILE}\nkey {}\ncreated {}\nthreshold {}\n", hex::encode(self.id), self.created, self.threshold);
        for (class, commitment) in Class::SEALED.iter().zip(&self.commitments) {
            text.push_str(&format!("class {class} {}\n", hex::encode(commitment)));
        }
        for wrapped in &self.wrapped {
            let (enc, ct) = (STANDARD.encode(&wrapped.encapsulated), STANDARD.encode(&wrapped.ciphertext));
            text.push_str(&format!("wrapped {} {} {enc} {ct}\n", wrapped.class, wrapped.auditor));
        }
        text.push_str(&format!("sha256 {}\n", hex::encode(sha256(text.as_bytes()))));
        text
    }

    /// Whether the class's key can still be had by the auditors.
    pub(crate) fn has(&self, class: Class) -> bool {
        self.wrapped.iter().any(|wrapped| wrapped.class == class)
    }

    /// The key of `class`, which takes the secrets of as many auditors as the threshold says.
    pub(super) fn unwrap(&self, class: Class, secrets: &[AuditorSecret]) -> Result<ClassKey, UnsealError> {
        if !self.has(class) {
            return Err(UnsealError::ClassShredded { key: hex::encode(self.id), class });
        }
        let damaged = || UnsealError::Epoch { path: self.path.clone(), reason: "a wrapped key does not open".into() };
        let mut shares: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for secret in secrets {
            let fingerprint = secret.public().fingerprint();
            let ours = |wrapped: &&Wrapped| wrapped.class == class && wrapped.auditor == fingerprint;
            if let Some(wrapped) = self.wrapped.iter().find(ours) {
                let share = wrapped.open(&self.id, secret).ok_or_else(damaged)?;
                // The same key given twice is one auditor.
                if !shares.contains(&share) {
                    shares.push(share);
                }
            }
        }
        if shares.len() < usize::from(self.threshold) {
            return Err(self.wrong_keys(class, secrets, shares.len()));
        }
        let key = self.recover(&shares).ok_or_else(damaged)?;
        let index = Class::SEALED.iter().position(|sealed| *sealed == class).ok_or_else(damaged)?;
        if commitment(class, &key) == self.commitments[index] { Ok(key) } else { Err(damaged()) }
    }

    fn recover(&self, shares: &[Zeroizing<Vec<u8>>]) -> Option<ClassKey> {
        if self.threshold == 1 {
            return Some(Zeroizing::new(shares.first()?.as_slice().try_into().ok()?));
        }
        let shares: Vec<Share> =
            shares.iter().map(|share| Share::try_from(share.as_slice()).ok()).collect::<Option<_>>()?;
        let key = Zeroizing::new(Sharks(self.threshold).recover(&shares).ok()?);
        Some(Zeroizing::new(key.as_slice().try_into().ok()?))
    }

    fn wrong_keys(&self, class: Class, secrets: &[AuditorSecret], fitting: usize) -> UnsealError {
        let list = |names: Vec<String>| names.join(", ");
        let of_class = self.wrapped.iter().filter(|wrapped| wrapped.class == class);
        let sealed_to = list(of_class.map(|wrapped| wrapped.auditor.clone()).collect());
        let given = list(secrets.iter().map(|secret| secret.public().fingerprint()).collect());
        match self.threshold {
            1 => UnsealError::WrongKey { given, sealed_to },
            needed => UnsealError::TooFewKeys { needed, fitting, sealed_to },
        }
    }

    /// Destroys the key of `class`: writes the file without it, then overwrites the old one. What was sealed under it
    /// cannot be opened by anyone any more.
    pub(crate) fn shred(mut self, class: Class) -> Result<(), Error> {
        self.wrapped.retain(|wrapped| wrapped.class != class);
        if self.wrapped.is_empty() {
            return overwrite(&self.path, None);
        }
        overwrite(&self.path, Some(self.text().as_bytes()))
    }
}
