//! Cosignatures: what a witness says that has seen a log grow and never shrink or change.
//!
//! A [C2SP cosignature/v1](https://c2sp.org/tlog-cosignature), Ed25519: a signature line of the checkpoint's note, with the
//! time at which it was made. Witnesses get checkpoints, and nothing of what the log holds.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use super::checkpoint::{decode_key, encode_key, key_hash, signature_lines};
use super::{Error, Time, auditor};

/// The signature type of cosignatures in C2SP signed notes.
const ALGORITHM: u8 = 4;

/// The public key of a witness, as verifier keys are written: `NAME+HASH+BASE64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    public: [u8; 32],
}

/// A text that is no key of a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no verifier key of a witness (NAME+HASH+BASE64, of an Ed25519 cosigner: type 4): use the one that the witness \
     publishes"
)]
pub struct UnusableWitnessKey;

/// Why a cosignature is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// Not a signed note.
    #[error("it is no checkpoint: {0}")]
    Malformed(&'static str),
    /// The witness has not signed.
    #[error("it has no cosignature of the witness {0}")]
    Missing(String),
    /// It has signed something else.
    #[error("the cosignature of the witness {0} does not match: the checkpoint or the cosignature was altered")]
    Wrong(String),
}

impl WitnessKey {
    /// Reads a key file: one line, after lines that begin with `#`.
    ///
    /// # Errors
    /// When it cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        auditor::one_line(path)?.parse().map_err(|e: UnusableWitnessKey| Error::key_file(path, e.to_string()))
    }

    /// The witness's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cosignature line of this witness among `lines`, which are of a note with this `body`, and when it was made.
    ///
    /// # Errors
    /// [`CosignatureError`].
    pub fn find<'a>(&self, body: &str, lines: &'a str) -> Result<(&'a str, Time), CosignatureError> {
        let id = key_hash(&self.name, ALGORITHM, &self.public);
        for line in signature_lines(lines) {
            let line = line.map_err(CosignatureError::Malformed)?;
            if line.name != self.name || line.key != id {
                continue;
            }
            let wrong = || CosignatureError::Wrong(self.name.clone());
            let (time, signature) = line.signature.split_first_chunk::<8>().ok_or_else(wrong)?;
            let seconds = u64::from_be_bytes(*time);
            let said = format!("cosignature/v1\ntime {seconds}\n{body}");
            let key = UnparsedPublicKey::new(&ED25519, &self.public);
            key.verify(said.as_bytes(), signature).map_err(|_| wrong())?;
            // The time is part of what is said: without one it is about a part of a tree.
            let nanoseconds = seconds.checked_mul(1_000_000_000).filter(|&time| time > 0).ok_or_else(wrong)?;
            return Ok((line.text, Time::from_unix_ns(nanoseconds)));
        }
        Err(CosignatureError::Missing(self.name.clone()))
    }

    /// When this witness has cosigned the checkpoint `note`.
    ///
    /// # Errors
    /// [`CosignatureError`].
    pub fn verify(&self, note: &str) -> Result<Time, CosignatureError> {
        let end = note.rfind("\n\n").ok_or(CosignatureError::Malformed("no empty line before the signatures"))?;
        self.find(&note[..=end], &note[end + 2..]).map(|(_, time)| time)
    }

    /// `note` with the cosignature that is among the lines of a witness's answer.
    ///
    /// # Errors
    /// [`CosignatureError`]: it is not there, or not of this checkpoint.
    pub fn add(&self, note: &str, answer: &str) -> Result<String, CosignatureError> {
        let end = note.rfind("\n\n").ok_or(CosignatureError::Malformed("no empty line before the signatures"))?;
        let (line, _) = self.find(&note[..=end], answer)?;
        Ok(format!("{note}{line}\n"))
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = key_hash(&self.name, ALGORITHM, &self.public);
        f.write_str(&encode_key(&self.name, ALGORITHM, hash, &self.public))
    }
}

impl FromStr for WitnessKey {
    type Err = UnusableWitnessKey;

    fn from_str(text: &str) -> Result<Self, UnusableWitnessKey> {
        let (name, public) = decode_key(text, ALGORITHM).ok_or(UnusableWitnessKey)?;
        let key = Self { name, public };
        if key.to_string() == text { Ok(key) } else { Err(UnusableWitnessKey) }
    }
}

/// Fuzz entry: whatever a witness answers, only a line that verifies is taken from it.
///
/// # Panics
/// When that does not hold.
#[doc(hidden)]
pub fn fuzz_cosignature(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let key = WitnessKey { name: "witness.example/w1".to_owned(), public: [7; 32] };
    let note = "interceptor/host\n3\nAAAA\n\n— interceptor/host AAAA\n";
    if let Ok(cosigned) = key.add(note, &text) {
        assert!(key.verify(&cosigned).is_ok());
    }
    let _ = key.verify(&text);
    if let Ok(key) = text.parse::<WitnessKey>() {
        assert_eq!(key.to_string(), text);
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const BODY: &str = "interceptor/host\n3\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\nframes 5 AgIC\n";

    fn witness(seed: u8) -> (Ed25519KeyPair, WitnessKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        (pair, WitnessKey { name: "witness.example/w1".into(), public })
    }

    fn line(pair: &Ed25519KeyPair, key: &WitnessKey, seconds: u64, body: &str) -> String {
        let signature = pair.sign(format!("cosignature/v1\ntime {seconds}\n{body}").as_bytes());
        let id = key_hash(&key.name, ALGORITHM, &key.public);
        let bytes = [&id[..], &seconds.to_be_bytes(), signature.as_ref()].concat();
        format!("— {} {}\n", key.name, STANDARD.encode(bytes))
    }

    #[test]
    fn a_cosignature_is_found_among_others_and_its_time_told() {
        let (pair, key) = witness(1);
        let (other_pair, other) = witness(2);
        let note = format!("{BODY}\n— interceptor/host AAAAAAAA\n");
        let answer = [line(&other_pair, &other, 5, BODY), line(&pair, &key, 1_700_000_000, BODY)].concat();
        let cosigned = key.add(&note, &answer).unwrap();
        assert_eq!(key.verify(&cosigned), Ok(Time::from_unix_ns(1_700_000_000_000_000_000)));
        // Another witness's line is not taken along.
        assert_eq!(other.verify(&cosigned), Err(CosignatureError::Missing(other.name.clone())));
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn what_was_not_signed_like_that_is_not_believed() {
        let (pair, key) = witness(1);
        let note = format!("{BODY}\n— interceptor/host AAAAAAAA\n");
        let good = line(&pair, &key, 1_700_000_000, BODY);
        assert!(key.add(&note, &good).is_ok());
        for wrong in [
            line(&pair, &key, 1_700_000_000, &BODY.replacen('3', "4", 1)),
            line(&pair, &key, 0, BODY),
            line(&pair, &key, u64::MAX, BODY),
            // The type that a log signs with: no cosignature.
            format!(
                "— {} {}\n",
                key.name,
                STANDARD.encode(
                    [&key_hash(&key.name, ALGORITHM, &key.public)[..], pair.sign(BODY.as_bytes()).as_ref()].concat()
                )
            ),
        ] {
            assert_eq!(key.add(&note, &wrong), Err(CosignatureError::Wrong(key.name.clone())));
        }
        assert_eq!(key.add(&note, ""), Err(CosignatureError::Missing(key.name.clone())));
        assert!(matches!(key.add(&note, "witness.example/w1 AAAA\n"), Err(CosignatureError::Malformed(_))));
        assert!(matches!(key.verify("no note"), Err(CosignatureError::Malformed(_))));
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        for text in ["", "a+b", "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"] {
            assert_eq!(text.parse::<WitnessKey>(), Err(UnusableWitnessKey), "{text}");
        }
    }

    /// Whatever is changed: it is refused, or what a fuzz entry says holds.
    #[test]
    fn the_fuzz_entry_takes_anything() {
        let (pair, key) = witness(1);
        for text in [line(&pair, &key, 5, BODY), key.to_string(), String::new()] {
            fuzz_cosignature(text.as_bytes());
        }
    }
}
