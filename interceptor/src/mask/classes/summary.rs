//! Which blocks have what is looked for: most of a text has none of it, and is not read again to see that.

use super::{BLOCK, Block};

/// Bytes of the shortest run that is looked for.
pub(super) const SHORTEST_RUN: u32 = 11;

/// Of 64 blocks, a bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Summary {
    /// A row of joints may begin there.
    pub(super) joints: u64,
    /// A run of what keys are made of is there, or ends there.
    pub(super) runs: u64,
}

impl Summary {
    /// Of blocks before which `before` bytes are of one run; and how many are behind them.
    pub(super) fn of(blocks: &[Block], mut before: u32) -> (Self, u32) {
        let mut all = Self::default();
        for (block, at) in blocks.iter().zip(0..BLOCK) {
            let (keys, joints) = (block.keys(), block.joints);
            let crosses = before + keys.trailing_ones() >= SHORTEST_RUN;
            // A row may go on in the next block.
            let joined = joints & (joints >> 3 | joints >> 5) | joints >> (BLOCK - 6);
            before = keys.leading_ones();
            all.runs |= u64::from(crosses | has_run(keys)) << at;
            all.joints |= u64::from(joined != 0) << at;
        }
        (all, before)
    }
}

/// Whether so many bits are set in a row.
fn has_run(mut bits: u64) -> bool {
    bits &= bits >> 1;
    bits &= bits >> 2;
    bits &= bits >> 4;
    bits & bits >> (SHORTEST_RUN - 8) != 0
}

/// The blocks from `first` on of which `which` has a bit.
pub(super) fn flagged(
    summaries: &[Summary],
    which: impl Fn(&Summary) -> u64,
    first: usize,
) -> impl Iterator<Item = usize> {
    let mut at = first / BLOCK;
    let mut bits = summaries.get(at).map_or(0, &which) & (u64::MAX << (first % BLOCK));
    std::iter::from_fn(move || {
        while bits == 0 {
            at += 1;
            bits = which(summaries.get(at)?);
        }
        let block = at * BLOCK + bits.trailing_zeros() as usize;
        bits &= bits - 1;
        Some(block)
    })
}
