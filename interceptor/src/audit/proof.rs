//! Proofs that a frame is in the log, for whoever has the log's public key and nothing else.
//!
//! Written as a [C2SP tlog-proof](https://c2sp.org/tlog-proof): the leaf's index, the hashes beside its way to the root
//! (RFC 6962 section 2.1.1), and the signed checkpoint of that root. The extra data is the frame's entry, which the leaf
//! is the hash of: kind, ids, times, and the digests of all that was recorded.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointError, VerifyingKey};
use super::frame::{Entry, parse_whole_entry};
use super::header::Stream;
use super::tree::{Hash, leaf_hash, node_hash};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// More than any tree has levels.
const MOST_HASHES: usize = 64;

/// A proof that an entry is in the tree of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The entry's bytes, as `docs/log-format.md` says.
    entry: Vec<u8>,
    index: u64,
    path: Vec<Hash>,
    /// A signed note.
    checkpoint: String,
}

/// What a proof proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// What was recorded.
    pub entry: Entry,
    /// The tree that it is in.
    pub checkpoint: Checkpoint,
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a proof as `interceptor log prove` makes it.
    #[error("it is no proof: {0}")]
    Malformed(&'static str),
    /// The checkpoint is not signed by the key, or altered.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The entry is not in the tree of the checkpoint.
    #[error("the entry is not in the tree that the checkpoint signs: one of them was altered")]
    NotInTree,
}

impl Proof {
    /// A proof for the leaf at `index`; `path` leads from it to the root that `checkpoint` signs.
    pub(crate) fn new(entry: &[u8], index: u64, path: Vec<Hash>, checkpoint: String) -> Self {
        Self { entry: entry.to_vec(), index, path, checkpoint }
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let malformed = ProofError::Malformed;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(malformed("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(malformed("it does not begin with c2sp.org/tlog-proof@v1"));
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra ")).ok_or(malformed("no `extra` line"))?;
        let entry = STANDARD.decode(extra).map_err(|_| malformed("its extra data are not base64"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(malformed("no `index` line"))?;
        let index = decimal(index).ok_or(malformed("its index is no number"))?;
        let path = hashes(lines, MOST_HASHES).map_err(malformed)?;
        Ok(Self { entry, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// Checks the proof with nothing but the log's public key.
    ///
    /// # Errors
    /// [`ProofError`]: it proves nothing.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Proven, ProofError> {
        let checkpoint = Checkpoint::verify(&self.checkpoint, key, Stream::Log)?;
        let root = root(leaf_hash(&self.entry), self.index, checkpoint.size, &self.path);
        if root != Some(checkpoint.root) {
            return Err(ProofError::NotInTree);
        }
        let entry = parse_whole_entry(&self.entry).map_err(|_| ProofError::Malformed("its extra data are no entry"))?;
        if !entry.kind.is_leaf() || entry.leaf_index != self.index {
            return Err(ProofError::Malformed("its extra data are the entry of another leaf"));
        }
        Ok(Proven { entry, checkpoint })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nextra {}\nindex {}", STANDARD.encode(&self.entry), self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// A number as C2SP's formats write it: without a sign, without zeros before it.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let is_plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    text.parse().ok().filter(|_| is_plain)
}

/// The hashes of a proof, a line each.
pub(super) fn hashes<'a>(lines: impl Iterator<Item = &'a str>, most: usize) -> Result<Vec<Hash>, &'static str> {
    let path = lines.take(most + 1).map(hash).collect::<Option<Vec<_>>>();
    let path = path.ok_or("a line behind the first ones is no SHA-256 in base64")?;
    if path.len() > most { Err("it has more hashes than a tree has levels") } else { Ok(path) }
}

/// A SHA-256 in base64.
pub(super) fn hash(line: &str) -> Option<Hash> {
    STANDARD.decode(line).ok().and_then(|bytes| Hash::try_from(bytes).ok())
}

/// The root that a proof leads to; none when it does not fit the tree's size (RFC 9162 section 2.1.3.2).
pub(super) fn root(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    let (mut at, mut last, mut node) = (index, size.checked_sub(1).filter(|last| index <= *last)?, leaf);
    for beside in path {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            node = node_hash(beside, &node);
            // Where this is the last node of its level, it goes up alone until it is a right one.
            let alone = if at % 2 == 0 { at.trailing_zeros() } else { 0 };
            (at, last) = (at >> alone, last >> alone);
        } else {
            node = node_hash(&node, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(node)
}

/// Fuzz entry: a proof that can be read is written as it was, and nothing upsets its verification.
///
/// # Panics
/// When that does not hold.
#[doc(hidden)]
pub fn fuzz_proof(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(proof) = Proof::parse(&text) else { return };
    assert_eq!(Proof::parse(&proof.to_string()), Ok(proof.clone()));
    let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().expect("a key");
    let _ = proof.verify(&key);
    let _ = root(leaf_hash(&proof.entry), proof.index, proof.path.len() as u64, &proof.path);
    let _ = parse_whole_entry(&proof.entry);
}

#[cfg(test)]
mod tests {
    use tlog_tiles::tlog;

    use super::super::subtrees::{inclusion, roots};
    use super::super::tree;
    use super::*;

    fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
        roots(&inclusion(index as u64, leaves.len() as u64), leaves)
    }

    fn leaves(size: u8) -> Vec<Hash> {
        (0..size).map(|n| leaf_hash(&[n])).collect()
    }

    #[test]
    fn every_leaf_of_every_tree_is_proven_also_to_another_implementation() {
        for size in 1..=70 {
            let leaves = leaves(size);
            let expected = tree::root(&leaves);
            for (index, leaf) in (0..).zip(&leaves) {
                let path = path(&leaves, index as usize);
                assert_eq!(root(*leaf, index, u64::from(size), &path), Some(expected), "{index} of {size}");
                let theirs = path.iter().map(|hash| tlog::Hash(*hash)).collect();
                let checked = tlog::check_record(&theirs, size.into(), tlog::Hash(expected), index, tlog::Hash(*leaf));
                assert!(checked.is_ok(), "{index} of {size}: {checked:?}");
            }
        }
    }

    /// Proofs of inclusion, right and wrong, that implementations of transparency logs share.
    #[test]
    fn the_published_test_vectors_are_judged_as_they_say() {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Vector {
            leaf_idx: u64,
            tree_size: u64,
            root: String,
            leaf_hash: String,
            proof: Vec<String>,
            want_err: bool,
            file: String,
        }
        let lines = include_str!("tests/vectors/inclusion.jsonl").lines().filter(|line| !line.starts_with('#'));
        let mut judged = [0, 0];
        for line in lines {
            let vector: Vector = serde_json::from_str(line).unwrap();
            let proven = hash(&vector.root).is_some_and(|expected| {
                let path: Option<Vec<Hash>> = vector.proof.iter().map(|line| hash(line)).collect();
                path.zip(hash(&vector.leaf_hash))
                    .is_some_and(|(path, leaf)| root(leaf, vector.leaf_idx, vector.tree_size, &path) == Some(expected))
            });
            assert_eq!(proven, !vector.want_err, "{}", vector.file);
            judged[usize::from(proven)] += 1;
        }
        assert!(judged[0] > 80 && judged[1] > 5, "{judged:?}");
    }

    #[test]
    fn nothing_else_is_proven() {
        let leaves = leaves(13);
        let expected = tree::root(&leaves);
        let path = path(&leaves, 5);
        let prove = |leaf, index, size, path: &[Hash]| root(leaf, index, size, path) == Some(expected);
        assert!(prove(leaves[5], 5, 13, &path));
        assert!(!prove(leaves[6], 5, 13, &path) && !prove(leaves[5], 4, 13, &path) && !prove(leaves[5], 13, 13, &path));
        assert!(
            !prove(leaves[5], 5, 0, &path) && !prove(leaves[5], 5, 13, &path[1..]) && !prove(leaves[5], 5, 13, &[])
        );
        let mut longer = path.clone();
        longer.push(expected);
        assert!(!prove(leaves[5], 5, 13, &longer));
        for at in 0..path.len() {
            let mut wrong = path.clone();
            wrong[at][7] ^= 1;
            assert!(!prove(leaves[5], 5, 13, &wrong), "{at}");
        }
    }

    #[test]
    fn what_is_no_proof_is_refused_with_what_is_wrong() {
        let good = format!("{HEADER}\nextra AA==\nindex 1\n{}\n\nnote\n", STANDARD.encode([7; 32]));
        let proof = Proof::parse(&good).unwrap();
        assert_eq!(proof.to_string(), good);
        for (from, to) in [
            ("@v1", "@v2"),
            ("extra AA==\n", ""),
            ("extra AA==", "extra A"),
            ("index 1", "index 01"),
            ("index 1", "index +1"),
            ("index 1", "index "),
            ("BwcH", "Bw"),
            ("\n\n", "\n"),
        ] {
            let text = good.replacen(from, to, 1);
            assert!(matches!(Proof::parse(&text), Err(ProofError::Malformed(_))), "{text}");
        }
        let many = format!("{}\n", STANDARD.encode([7; 32])).repeat(MOST_HASHES);
        assert!(Proof::parse(&good.replacen("index 1\n", &format!("index 1\n{many}"), 1)).is_err());
    }
}
