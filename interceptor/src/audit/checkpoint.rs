//! Signed checkpoints: a C2SP tlog-checkpoint in a C2SP signed note, Ed25519.
//!
//! ```text
//! interceptor/build-7                                    origin
//! 42                                                     leaves
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=            Merkle root
//! frames 61 nND/nri/U0xuHUrYSy0HtMeal2vzD9V4k/BO79C+QeM=  extension: frames, and the chain value of the last one
//!
//! — interceptor/build-7 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
//! ```
//!
//! The extension line binds what is no leaf: part frames and segment headers. See <https://c2sp.org/tlog-checkpoint> and
//! <https://c2sp.org/signed-note>.

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::auditor::{one_line, open, open_regular, read_text, refuse_loose, store_new};
use super::header::Stream;
use super::tree::{Hash, sha256};
use super::{Error, UnusableKey};

const ALGORITHM: u8 = 1;
const SECRET: &str = "PRIVATE+KEY+";
/// Name of the private signing key below the keys directory.
pub(crate) const SIGNING_KEY: &str = "log-signing.key";
/// Name of its public half, below the keys directory and, for readers without access to that, beside the log.
pub(crate) const SIGNING_PUB: &str = "log-signing.pub";

/// What a checkpoint states about a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Names the log.
    pub origin: String,
    /// Leaves of the tree.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
    /// Frames of the stream.
    pub frames: u64,
    /// Chain value of the last of them.
    pub chain: Hash,
}

/// Why a checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a checkpoint of this log.
    #[error("it is no checkpoint: {0}")]
    Malformed(&'static str),
    /// Not signed by the given key.
    #[error("it has no signature of the key {0}")]
    Unsigned(String),
    /// Signed by the given key, but not this text.
    #[error("its signature does not match: it was altered")]
    Signature,
    /// Another log's.
    #[error("it belongs to {found}, not to {expected}")]
    Origin {
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
}

impl Checkpoint {
    fn body(&self) -> String {
        let (root, chain) = (STANDARD.encode(self.root), STANDARD.encode(self.chain));
        format!("{}\n{}\n{root}\nframes {} {chain}\n", self.origin, self.size, self.frames)
    }

    fn parse(body: &str) -> Option<Self> {
        let mut lines = body.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let (frames, chain) = lines.next()?.strip_prefix("frames ")?.split_once(' ')?;
        let hash = |text: &str| Hash::try_from(STANDARD.decode(text).ok()?).ok();
        Some(Self {
            origin: origin.to_owned(),
            size: size.parse().ok()?,
            root: hash(root)?,
            frames: frames.parse().ok()?,
            chain: hash(chain)?,
        })
    }

    /// What a note says, its signature unchecked: for readers that show where they are, not for those who verify.
    #[must_use]
    pub fn peek(note: &str) -> Option<Self> {
        Self::parse(&note[..=note.rfind("\n\n")?])
    }

    /// Parses a signed note and checks the signature of `key`'s owner for `stream`.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn verify(note: &str, key: &VerifyingKey, stream: Stream) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let end = note.rfind("\n\n").ok_or(malformed("no empty line before the signatures"))?;
        let (body, signatures) = (&note[..=end], &note[end + 2..]);
        let name = key.name(stream);
        let hash = key_hash(&name, ALGORITHM, &key.public);
        let mut ours = None;
        for line in signature_lines(signatures) {
            let line = line.map_err(malformed)?;
            if line.name == name && line.key == hash {
                ours = Some(line.signature);
            }
        }
        let signature = ours.ok_or_else(|| CheckpointError::Unsigned(key.encode(stream)))?;
        UnparsedPublicKey::new(&ED25519, &key.public)
            .verify(body.as_bytes(), &signature)
            .map_err(|_| CheckpointError::Signature)?;
        let checkpoint = Self::parse(body).ok_or(malformed("its lines are not those of a checkpoint"))?;
        if checkpoint.origin != name {
            return Err(CheckpointError::Origin { found: checkpoint.origin, expected: name });
        }
        Ok(checkpoint)
    }
}

/// Bytes of the largest note that is read: a checkpoint with the cosignatures of more witnesses than anybody has.
const LARGEST_NOTE: u64 = 64 << 10;

/// The text of a note. Whoever may write beside the log may have put anything in its place.
///
/// # Errors
/// Of the kind `InvalidData` when it can be no note.
pub(super) fn read_note(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.take(LARGEST_NOTE + 1).read_to_string(&mut text)?;
    match text.len() as u64 > LARGEST_NOTE {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large")),
        false => Ok(text),
    }
}

/// A signature line of a note.
#[derive(Debug)]
pub(super) struct SignatureLine<'a> {
    pub(super) text: &'a str,
    pub(super) name: &'a str,
    /// Names the key, with the name.
    pub(super) key: [u8; 4],
    pub(super) signature: Vec<u8>,
}

/// The lines behind the empty line of a note; of one that cannot be read, why not.
pub(super) fn signature_lines(text: &str) -> impl Iterator<Item = Result<SignatureLine<'_>, &'static str>> {
    text.split_inclusive('\n').map(|line| {
        let text = line.strip_suffix('\n').ok_or("the last line is not ended")?;
        let (name, signature) = text
            .strip_prefix("— ")
            .and_then(|line| line.split_once(' '))
            .ok_or("a signature line is not `— NAME BASE64`")?;
        let signature = STANDARD.decode(signature).map_err(|_| "a signature is not base64")?;
        let (key, signature) =
            signature.split_first_chunk::<4>().ok_or("a signature is shorter than its key's name")?;
        Ok(SignatureLine { text, name, key: *key, signature: signature.to_vec() })
    })
}

/// The number that names a key of some type in a note.
pub(super) fn key_hash(name: &str, algorithm: u8, public: &[u8; 32]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[algorithm], public].concat());
    hash[..4].try_into().expect("4 of 32 bytes")
}

pub(super) fn encode_key(name: &str, algorithm: u8, hash: [u8; 4], key: &[u8]) -> String {
    let key = Zeroizing::new([&[algorithm], key].concat());
    format!("{name}+{}+{}", hex::encode(hash), STANDARD.encode(&*key))
}

/// The log's signing key.
pub(crate) struct SigningKey {
    pair: Ed25519KeyPair,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// Reads the key below `keys`, or makes one for `host` when there is none.
    pub(crate) fn load_or_create(keys: &Path, host: &str) -> Result<Self, Error> {
        let path = keys.join(SIGNING_KEY);
        match Self::load(keys) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            other => return other,
        }
        let mut seed = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *seed).map_err(|_| Error::key_file(&path, "no random numbers to make it"))?;
        let name = Stream::Log.origin(&host.replace(|c: char| c.is_whitespace() || c == '+', "-"));
        let key = Self::from_seed(name, &seed, &path)?;
        let hash = key_hash(&key.verifying.name, ALGORITHM, &key.verifying.public);
        let encoded = Zeroizing::new(encode_key(&key.verifying.name, ALGORITHM, hash, &*seed));
        let text = Zeroizing::new(format!("{SECRET}{}\n", *encoded));
        store_new(&path, text.as_bytes())?;
        Ok(key)
    }

    /// Reads the key below `keys`.
    pub(crate) fn load(keys: &Path) -> Result<Self, Error> {
        let path = keys.join(SIGNING_KEY);
        let file = open(&path)?;
        refuse_loose(&file, &path)?;
        let text = Zeroizing::new(read_text(&file, &path)?);
        let (name, seed) = text
            .trim_end()
            .strip_prefix(SECRET)
            .and_then(|key| decode_key(key, ALGORITHM))
            .ok_or_else(|| Error::key_file(&path, "is no signed-note signing key: restore it from a backup"))?;
        Self::from_seed(name, &Zeroizing::new(seed), &path)
    }

    fn from_seed(name: String, seed: &[u8; 32], path: &Path) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|e| Error::key_file(path, format!("is no Ed25519 key: {e}")))?;
        let public = pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        Ok(Self { pair, verifying: VerifyingKey { name, public } })
    }

    pub(crate) fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// The signed note of a checkpoint.
    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> String {
        let body = checkpoint.body();
        let signature = self.pair.sign(body.as_bytes());
        let hash = key_hash(&checkpoint.origin, ALGORITHM, &self.verifying.public);
        let signature = STANDARD.encode([&hash, signature.as_ref()].concat());
        format!("{body}\n— {} {signature}\n", checkpoint.origin)
    }
}

/// Name and key of an encoded key of this type.
pub(super) fn decode_key(text: &str, algorithm: u8) -> Option<(String, [u8; 32])> {
    let (name, rest) = text.split_once('+')?;
    let (hash, key) = rest.split_once('+')?;
    let key = Zeroizing::new(STANDARD.decode(key).ok()?);
    let (&found, key) = key.split_first()?;
    (found == algorithm && hash.len() == 8).then_some(())?;
    Some((name.to_owned(), key.try_into().ok()?))
}

/// The public half of a log's signing key, as C2SP signed-note verifier keys are written:
/// `NAME+HASH+BASE64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    public: [u8; 32],
}

impl VerifyingKey {
    /// Reads a public key file.
    ///
    /// # Errors
    /// When it cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        one_line(path)?.parse().map_err(|UnusableKey| Error::key_file(path, UnusableKey.to_string()))
    }

    /// The name that signs checkpoints of `stream`: also their origin.
    #[must_use]
    pub fn name(&self, stream: Stream) -> String {
        match stream {
            Stream::Log => self.name.clone(),
            Stream::Access => format!("{}/access", self.name),
        }
    }

    /// The verifier key for `stream`.
    #[must_use]
    pub fn encode(&self, stream: Stream) -> String {
        let name = self.name(stream);
        let hash = key_hash(&name, ALGORITHM, &self.public);
        encode_key(&name, ALGORITHM, hash, &self.public)
    }

    /// The text of a public key file: the log's verifier key and that of the access log.
    pub(crate) fn file(&self) -> String {
        format!("{}\n# the same key for the access log:\n# {}\n", self, self.encode(Stream::Access))
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encode(Stream::Log))
    }
}

impl FromStr for VerifyingKey {
    type Err = UnusableKey;

    fn from_str(text: &str) -> Result<Self, UnusableKey> {
        let (name, public) = decode_key(text, ALGORITHM).ok_or(UnusableKey)?;
        let key = Self { name, public };
        if key.to_string() == text { Ok(key) } else { Err(UnusableKey) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> (SigningKey, Checkpoint, String) {
        let key = SigningKey::from_seed("interceptor/host".into(), &[7; 32], Path::new("key")).unwrap();
        let checkpoint =
            Checkpoint { origin: "interceptor/host".into(), size: 3, root: [1; 32], frames: 5, chain: [2; 32] };
        let note = key.sign(&checkpoint);
        (key, checkpoint, note)
    }

    #[test]
    fn a_signed_checkpoint_reads_back() {
        let (key, checkpoint, note) = signed();
        let public: VerifyingKey = key.verifying().to_string().parse().unwrap();
        assert_eq!(Checkpoint::verify(&note, &public, Stream::Log), Ok(checkpoint));
    }

    #[test]
    fn the_golang_vectors_key_hash_agrees() {
        // The worked example of golang.org/x/mod/sumdb/note.
        let key: VerifyingKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        assert_eq!(key.name, "PeterNeumann");
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let (key, _, note) = signed();
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                assert!(Checkpoint::verify(&text, key.verifying(), Stream::Log).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn another_key_or_stream_is_refused() {
        let (key, _, note) = signed();
        let other = SigningKey::from_seed("interceptor/host".into(), &[8; 32], Path::new("key")).unwrap();
        assert!(matches!(Checkpoint::verify(&note, other.verifying(), Stream::Log), Err(CheckpointError::Unsigned(_))));
        assert!(Checkpoint::verify(&note, key.verifying(), Stream::Access).is_err());
    }
}
