//! Hashes of the log: RFC 6962 Merkle tree, computed as leaves come, and the chain that links every frame.
//!
//! RFC 6962 section 2.1: a leaf hashes to `SHA-256(0x00 || leaf)`, a node to `SHA-256(0x01 || left || right)`, an empty
//! tree to `SHA-256("")`. The chain and running digests use prefixes of their own, so that no value of one kind can be
//! taken for another.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// A SHA-256 value.
pub type Hash = [u8; 32];

const LEAF: u8 = 0;
const NODE: u8 = 1;
const CHAIN: u8 = 2;
const SEGMENT: u8 = 3;
const PARTS: u8 = 4;

/// Entries up to this are hashed in one call, which takes half the time of a context: all that frames hold.
const SHORT: usize = 400;

/// SHA-256 of `bytes`.
#[must_use]
pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    to_hash(digest(&SHA256, bytes).as_ref())
}

/// RFC 6962 leaf hash.
#[must_use]
pub(crate) fn leaf_hash(entry: &[u8]) -> Hash {
    let mut buffer = [LEAF; 1 + SHORT];
    match buffer.get_mut(1..=entry.len()) {
        Some(copy) => {
            copy.copy_from_slice(entry);
            sha256(&buffer[..=entry.len()])
        }
        None => prefixed(LEAF, &[entry]),
    }
}

/// Chain value of a frame: `SHA-256(0x02 || link || leaf hash)`. `link` is the previous frame's chain value, or
/// [`segment_link`] for the first frame of a segment.
#[must_use]
pub(crate) fn chain(link: &Hash, leaf: &Hash) -> Hash {
    pair(CHAIN, link, leaf)
}

/// What the first frame of a segment links to: `SHA-256(0x03 || previous chain value || header page)`.
#[must_use]
pub(crate) fn segment_link(chain: &Hash, header: &[u8]) -> Hash {
    prefixed(SEGMENT, &[chain, header])
}

/// Running digest over the frames that hold a section's parts: `SHA-256(0x04 || so far || leaf hash)`, from 32 zeros.
#[must_use]
pub(crate) fn parts(so_far: &Hash, leaf: &Hash) -> Hash {
    pair(PARTS, so_far, leaf)
}

/// RFC 6962 node hash.
#[must_use]
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    pair(NODE, left, right)
}

fn pair(prefix: u8, left: &Hash, right: &Hash) -> Hash {
    let mut buffer = [0; 65];
    buffer[0] = prefix;
    buffer[1..33].copy_from_slice(left);
    buffer[33..].copy_from_slice(right);
    sha256(&buffer)
}

fn prefixed(prefix: u8, pieces: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[prefix]);
    for piece in pieces {
        context.update(piece);
    }
    to_hash(context.finish().as_ref())
}

fn to_hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(bytes);
    hash
}

/// The right edge of a Merkle tree: roots of its perfect subtrees, largest first. Enough to add leaves and to compute
/// the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// A tree of `size` leaves with these subtree roots; `None` when their number does not fit the size.
    #[must_use]
    pub fn from_parts(size: u64, roots: Vec<Hash>) -> Option<Self> {
        (roots.len() == size.count_ones() as usize).then_some(Self { size, roots })
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect subtrees, largest first.
    #[must_use]
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.roots.pop().expect("a set bit of the size has a root");
            node = pair(NODE, &left, &node);
        }
        self.roots.push(node);
        self.size += 1;
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(&last) = roots.next() else { return sha256(b"") };
        roots.fold(last, |right, left| pair(NODE, left, &right))
    }
}

/// The root of the tree of `leaves`.
#[cfg(test)]
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    let mut tree = Frontier::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree.root()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 section 2.1, word for word.
    fn reference_root(leaves: &[&[u8]]) -> Hash {
        match leaves {
            [] => sha256(b""),
            [leaf] => leaf_hash(leaf),
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                pair(NODE, &reference_root(&leaves[..k]), &reference_root(&leaves[k..]))
            }
        }
    }

    #[test]
    fn agrees_with_the_published_test_vectors() {
        // The eight leaves and roots that Certificate Transparency implementations share.
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let mut tree = Frontier::default();
        assert_eq!(hex::encode(tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        tree.push(leaf_hash(leaves[0]));
        assert_eq!(hex::encode(tree.root()), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        for leaf in &leaves[1..] {
            tree.push(leaf_hash(leaf));
        }
        assert_eq!(hex::encode(tree.root()), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn agrees_with_the_recursive_definition_at_every_size() {
        let leaves: Vec<Vec<u8>> = (0..70u8).map(|n| vec![n; usize::from(n)]).collect();
        let mut tree = Frontier::default();
        for size in 0..leaves.len() {
            let slices: Vec<&[u8]> = leaves[..size].iter().map(Vec::as_slice).collect();
            assert_eq!(tree.root(), reference_root(&slices), "{size} leaves");
            let again = Frontier::from_parts(tree.size(), tree.roots().to_vec()).unwrap();
            assert_eq!(again, tree);
            tree.push(leaf_hash(&leaves[size]));
        }
    }

    #[test]
    fn leaves_of_any_length_are_hashed_alike() {
        for length in [0, 1, 80, SHORT - 1, SHORT, SHORT + 1, 4 * SHORT] {
            let leaf = vec![7; length];
            assert_eq!(leaf_hash(&leaf), prefixed(LEAF, &[&leaf]), "{length} bytes");
        }
    }

    #[test]
    fn refuses_a_frontier_of_the_wrong_shape() {
        assert_eq!(Frontier::from_parts(3, vec![[0; 32]]), None);
    }
}
