//! Which subtrees of a Merkle tree a proof consists of (RFC 6962 sections 2.1.1 and 2.1.2), and their roots, computed
//! while all leaves pass by.

use std::ops::Range;

use super::tree::{Frontier, Hash};

/// The subtrees beside the way from leaf `index` to the root of a tree of `size` leaves, the leaf's neighbour first: an
/// inclusion proof is their roots.
pub(crate) fn inclusion(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut way, mut beside) = (0..size, Vec::new());
    while way.end - way.start > 1 {
        let middle = middle(&way);
        beside.push(turn(&mut way, middle, index < middle));
    }
    beside.reverse();
    beside
}

/// The subtrees that show that a tree of `size` leaves begins with the first `old` of them: a consistency proof is their
/// roots. None when the trees are the same, or the old one is empty: there is nothing to show.
pub(crate) fn consistency(old: u64, size: u64) -> Vec<Range<u64>> {
    let (mut way, mut beside) = (0..size, Vec::new());
    if old == 0 || old >= size {
        return beside;
    }
    while way.end != old {
        let middle = middle(&way);
        beside.push(turn(&mut way, middle, old <= middle));
    }
    // Where it begins at the first leaf it is the old tree, whose root is known.
    if way.start != 0 {
        beside.push(way);
    }
    beside.reverse();
    beside
}

/// Where a tree divides: behind the largest power of two that is smaller than it.
fn middle(way: &Range<u64>) -> u64 {
    way.start + (1 << (way.end - way.start - 1).ilog2())
}

/// Goes on to the left or to the right. Returns the other side.
fn turn(way: &mut Range<u64>, middle: u64, left: bool) -> Range<u64> {
    let (inside, outside) = match left {
        true => (way.start..middle, middle..way.end),
        false => (middle..way.end, way.start..middle),
    };
    *way = inside;
    outside
}

/// Computes the roots of subtrees while the leaves of the whole tree pass by.
#[derive(Debug)]
pub(crate) struct Collector {
    size: u64,
    /// Leaves that were pushed.
    count: u64,
    subtrees: Vec<(Range<u64>, Frontier)>,
}

impl Collector {
    /// For these subtrees of a tree of `size` leaves.
    pub(crate) fn new(subtrees: &[Range<u64>], size: u64) -> Self {
        let subtrees = subtrees.iter().map(|range| (range.clone(), Frontier::default())).collect();
        Self { size, count: 0, subtrees }
    }

    /// The next leaf.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let at = self.count;
        self.count += 1;
        for (_, subtree) in self.subtrees.iter_mut().filter(|(range, _)| range.contains(&at)) {
            subtree.push(leaf);
        }
    }

    /// Number of the leaf that is pushed next.
    pub(crate) fn next(&self) -> u64 {
        self.count
    }

    /// The roots, if every leaf was pushed.
    pub(crate) fn finish(self) -> Option<Vec<Hash>> {
        (self.count == self.size).then(|| self.subtrees.iter().map(|(_, subtree)| subtree.root()).collect())
    }
}

/// The roots of subtrees of the tree of `leaves`.
#[cfg(test)]
pub(crate) fn roots(subtrees: &[Range<u64>], leaves: &[Hash]) -> Vec<Hash> {
    let mut collector = Collector::new(subtrees, leaves.len() as u64);
    leaves.iter().for_each(|leaf| collector.push(*leaf));
    collector.finish().expect("all leaves were pushed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_examples_in_rfc_6962() {
        // Section 2.1.3: the tree of seven leaves, and its earlier states of three, four and six.
        assert_eq!(inclusion(0, 7), [1..2, 2..4, 4..7]);
        assert_eq!(inclusion(3, 7), [2..3, 0..2, 4..7]);
        assert_eq!(inclusion(4, 7), [5..6, 6..7, 0..4]);
        assert_eq!(inclusion(6, 7), [4..6, 0..4]);
        assert_eq!(consistency(3, 7), [2..3, 3..4, 0..2, 4..7]);
        assert_eq!(consistency(4, 7), std::slice::from_ref(&(4..7)));
        assert_eq!(consistency(6, 7), [4..6, 6..7, 0..4]);
        assert!(inclusion(0, 1).is_empty() && consistency(7, 7).is_empty() && consistency(0, 7).is_empty());
    }

    #[test]
    fn the_largest_tree_has_an_end() {
        let leaves = |beside: Vec<Range<u64>>| beside.iter().map(|beside| beside.end - beside.start).sum::<u64>();
        for size in [u64::MAX, u64::MAX - 1, (1 << 63) + 1, 1 << 63] {
            assert_eq!((leaves(inclusion(size - 1, size)), leaves(consistency(1, size))), (size - 1, size - 1));
        }
    }

    #[test]
    fn nothing_is_said_before_every_leaf_was_seen() {
        let mut collector = Collector::new(&inclusion(0, 2), 2);
        collector.push([1; 32]);
        assert_eq!(collector.finish(), None);
    }
}
