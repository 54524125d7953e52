//! Proofs that a log goes on from an earlier state of it: what was signed then is still there, unchanged and in its place.
//!
//! Written as the body of a request to a [C2SP tlog-witness](https://c2sp.org/tlog-witness): the earlier size, the hashes
//! of the proof (RFC 6962 section 2.1.2), and the signed checkpoint of the later state. Whoever checks it has kept the
//! checkpoint of the earlier one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointError, VerifyingKey};
use super::header::Stream;
use super::proof::{decimal, hashes};
use super::tree::{Hash, node_hash, sha256};

/// The most that a witness takes.
const MOST_HASHES: usize = 63;

/// A proof that the tree of a checkpoint begins with an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    old: u64,
    path: Vec<Hash>,
    /// A signed note.
    checkpoint: String,
}

/// Why a proof of consistency proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsistencyError {
    /// Not a proof as `interceptor log prove --since` makes it.
    #[error("it is no proof of consistency: {0}")]
    Malformed(&'static str),
    /// Its checkpoint is not signed by the key, or altered.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// It is about another state than the one that was kept.
    #[error("it is about a tree of {proof} leaves, but the checkpoint that was kept is of {kept}")]
    OtherState {
        /// Leaves of the old tree, as the proof says.
        proof: u64,
        /// As the checkpoint says.
        kept: u64,
    },
    /// The later tree does not begin with the earlier one.
    #[error(
        "the log of {size} leaves does not begin with the {old} that were signed before: it was put back to an earlier \
         state or written anew, or the proof was altered"
    )]
    Inconsistent {
        /// Leaves of the earlier tree.
        old: u64,
        /// Leaves of the later one.
        size: u64,
    },
}

impl Consistency {
    /// A proof that the tree which `checkpoint` signs begins with one of `old` leaves.
    pub(crate) fn new(old: u64, path: Vec<Hash>, checkpoint: String) -> Self {
        Self { old, path, checkpoint }
    }

    /// Whether a text is meant to be such a proof.
    #[must_use]
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with("old ")
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`ConsistencyError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ConsistencyError> {
        let malformed = ConsistencyError::Malformed;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(malformed("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).ok_or(malformed("no `old` line"))?;
        let old = decimal(old).ok_or(malformed("its old size is no number"))?;
        let path = hashes(lines, MOST_HASHES).map_err(malformed)?;
        Ok(Self { old, path, checkpoint: checkpoint.to_owned() })
    }

    /// The signed note of the later state.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.checkpoint
    }

    /// Checks with nothing but the log's public key that the log goes on from `old`, which the same key has signed. Returns
    /// what it has become.
    ///
    /// # Errors
    /// [`ConsistencyError`]: it proves nothing.
    pub fn verify(&self, key: &VerifyingKey, old: &Checkpoint) -> Result<Checkpoint, ConsistencyError> {
        let new = Checkpoint::verify(&self.checkpoint, key, Stream::Log)?;
        if old.size != self.old {
            return Err(ConsistencyError::OtherState { proof: self.old, kept: old.size });
        }
        // Every tree begins with the empty one: there is nothing to show.
        let is_shown = match old.size {
            0 => self.path.is_empty() && old.root == sha256(b""),
            _ => is_consistent((old.size, &old.root), (new.size, &new.root), &self.path),
        };
        if !is_shown {
            return Err(ConsistencyError::Inconsistent { old: old.size, size: new.size });
        }
        Ok(new)
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Whether `path` shows that the tree `new`, size and root, begins with `old` (RFC 9162 section 2.1.4.2), which
/// is not empty.
pub(super) fn is_consistent(old: (u64, &Hash), new: (u64, &Hash), path: &[Hash]) -> bool {
    if old.0 == 0 || old.0 >= new.0 {
        return old.0 > 0 && path.is_empty() && old == new;
    }
    // A perfect tree is itself the first subtree of the new one.
    let mut path = old.0.is_power_of_two().then_some(old.1).into_iter().chain(path);
    let Some(&first) = path.next() else { return false };
    let (mut at, mut last) = (old.0 - 1, new.0 - 1);
    (at, last) = (at >> at.trailing_ones(), last >> at.trailing_ones());
    let (mut old_root, mut new_root) = (first, first);
    for beside in path {
        if last == 0 {
            return false;
        }
        if at % 2 == 1 || at == last {
            old_root = node_hash(beside, &old_root);
            new_root = node_hash(beside, &new_root);
            // Where this is the last node of its level, it goes up alone until it is a right one.
            let alone = if at % 2 == 0 { at.trailing_zeros() } else { 0 };
            (at, last) = (at >> alone, last >> alone);
        } else {
            new_root = node_hash(&new_root, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    last == 0 && old_root == *old.1 && new_root == *new.1
}

/// Fuzz entry: a proof that can be read is written as it was, and nothing upsets its verification.
///
/// # Panics
/// When that does not hold.
#[doc(hidden)]
pub fn fuzz_consistency(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(proof) = Consistency::parse(&text) else { return };
    assert_eq!(Consistency::parse(&proof.to_string()), Ok(proof.clone()));
    let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().expect("a key");
    let old = Checkpoint { origin: String::new(), size: proof.old, root: [0; 32], frames: 0, chain: [0; 32] };
    let _ = proof.verify(&key, &old);
    for size in [0, proof.old, proof.old.saturating_add(1), proof.path.len() as u64, u64::MAX] {
        assert!(size == proof.old || !is_consistent((proof.old, &[0; 32]), (size, &[0; 32]), &proof.path));
    }
}

#[cfg(test)]
mod tests {
    use tlog_tiles::tlog;

    use super::super::proof::hash;
    use super::super::subtrees::{consistency, roots};
    use super::super::tree::{self, leaf_hash};
    use super::*;

    fn leaves(size: u8) -> Vec<Hash> {
        (0..size).map(|n| leaf_hash(&[n])).collect()
    }

    #[test]
    fn every_pair_of_sizes_is_proven_also_to_another_implementation() {
        let leaves = leaves(70);
        for size in 1..=leaves.len() {
            let new = tree::root(&leaves[..size]);
            for old in 1..=size {
                let path = roots(&consistency(old as u64, size as u64), &leaves[..size]);
                let old_root = tree::root(&leaves[..old]);
                let (old, size) = (old as u64, size as u64);
                assert!(is_consistent((old, &old_root), (size, &new), &path), "{old} of {size}");
                assert!(!is_consistent((old, &[7; 32]), (size, &new), &path), "{old} of {size}");
                assert!(!is_consistent((old, &old_root), (size, &[7; 32]), &path), "{old} of {size}");
                let theirs = path.iter().map(|hash| tlog::Hash(*hash)).collect();
                let checked = tlog::check_tree(&theirs, size, tlog::Hash(new), old, tlog::Hash(old_root));
                assert!(checked.is_ok(), "{old} of {size}: {checked:?}");
            }
        }
    }

    #[test]
    fn nothing_else_is_consistent() {
        let leaves = leaves(13);
        let new = tree::root(&leaves);
        for old in 1..13u64 {
            let path = roots(&consistency(old, 13), &leaves);
            let old_root = tree::root(&leaves[..old as usize]);
            let shown = |old, size, path: &[Hash]| is_consistent((old, &old_root), (size, &new), path);
            assert!(shown(old, 13, &path));
            for other in (0..40).filter(|&other| other != old) {
                assert!(!shown(other, 13, &path), "{other} for {old}");
            }
            for at in 0..path.len() {
                let (mut less, mut more, mut wrong) = (path.clone(), path.clone(), path.clone());
                less.remove(at);
                more.insert(at, path[at]);
                wrong[at][7] ^= 1;
                assert!(!shown(old, 13, &less) && !shown(old, 13, &more) && !shown(old, 13, &wrong), "{at} of {old}");
            }
            let longer = [&path[..], &[new]].concat();
            assert!(!shown(old, 13, &longer) && !shown(old, 13, &[]) && !shown(old, 0, &path));
        }
    }

    /// Proofs of consistency, right and wrong, that implementations of transparency logs share.
    #[test]
    fn the_published_test_vectors_are_judged_as_they_say() {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Vector {
            size1: u64,
            size2: u64,
            root1: String,
            root2: String,
            proof: Vec<String>,
            want_err: bool,
            file: String,
        }
        let lines = include_str!("tests/vectors/consistency.jsonl").lines().filter(|line| !line.starts_with('#'));
        let mut judged = [0, 0];
        for line in lines {
            let vector: Vector = serde_json::from_str(line).unwrap();
            let path: Option<Vec<Hash>> = vector.proof.iter().map(|line| hash(line)).collect();
            // Some are no SHA-256, where only that they are the same matters.
            let root = |text: &String| {
                let bytes = STANDARD.decode(text).ok()?;
                Some(Hash::try_from(bytes).unwrap_or_else(|bytes| sha256(&bytes)))
            };
            let read = (root(&vector.root1), root(&vector.root2), path);
            let proven = matches!(&read, (Some(old), Some(new), Some(path))
                if is_consistent((vector.size1, old), (vector.size2, new), path));
            assert_eq!(proven, !vector.want_err, "{}", vector.file);
            judged[usize::from(proven)] += 1;
        }
        assert!(judged[0] > 80 && judged[1] > 5, "{judged:?}");
    }

    #[test]
    fn what_is_no_proof_is_refused_with_what_is_wrong() {
        let good = format!("old 3\n{}\n\nnote\n", STANDARD.encode([7; 32]));
        let proof = Consistency::parse(&good).unwrap();
        assert_eq!(proof.to_string(), good);
        assert_eq!(Consistency::parse("old 0\n\nnote\n").unwrap().to_string(), "old 0\n\nnote\n");
        for (from, to) in [("old 3", "old 03"), ("old 3", "old +3"), ("old 3", "new 3"), ("BwcH", "Bw"), ("\n\n", "\n")]
        {
            let text = good.replacen(from, to, 1);
            assert!(matches!(Consistency::parse(&text), Err(ConsistencyError::Malformed(_))), "{text}");
        }
        let many = format!("{}\n", STANDARD.encode([7; 32])).repeat(MOST_HASHES);
        assert!(Consistency::parse(&good.replacen("old 3\n", &format!("old 3\n{many}"), 1)).is_err());
    }
}
