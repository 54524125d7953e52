//! Scanning a text that arrives in pieces, so that what is settled can go on at once.
//!
//! ```text
//!   released before        held                     new piece
//! ┌───────────────────┬────────────────┬──────────────────────────────┐
//! │ history: read for │ may be changed │                              │
//! │ words and edges   │ by what comes  │                              │
//! └───────────────────┴────────────────┴──────────────────────────────┘
//!                     └── settled: released now ──┴── held from here ──┘
//! ```
//!
//! Every piece is scanned as a whole text is, together with what is held and a little history. A finding is settled
//! when no text behind it can change it; the place from which nothing is settled follows from the text alone, never
//! from where it was cut:
//!
//! - what may become a value when it goes on: the rules' shapes as automata that are still alive (`growth`), also
//!   in the folded copy; behind a word such as `password`, as long as the expression for its value is;
//! - what has a value's shape but depends on what stands behind it: an edge, words nearby, a token's closing bracket;
//! - a private key without its END line;
//! - what overlaps any of these: candidates that overlap are settled together, since one may win over the other.
//!
//! So the findings are those of [`Scanner::scan`] in the whole text as it is, for every way to cut it, but for one thing: a
//! number that is a value only because nothing else is in the text is one only if at most 64 bytes of
//! blanks, quotes and full stops follow it.
//!
//! Nothing encoded is decoded here: where the run of base64 ends that a piece begins shows only at its end, so that a long
//! one would be held.
//!
//! Each rule's longest value bounds what is held: in prose that is the last word.

mod ahead;
mod fuzz;
mod growth;
mod pairs;
#[cfg(test)]
mod tests;

pub(super) use ahead::Ahead;
pub use fuzz::fuzz_mask_stream;
pub(super) use growth::Growth;

use super::lone::{Lone, is_dull, may_become_list};
use super::scan::{Limit, Part, Settled};
use super::{Error, Scanner};
use crate::flow::Finding;

/// Bytes behind a lone value; for more, nothing is held.
const LONE_TAIL: usize = 64;
/// Most bytes held: only values that overlap in a long chain reach it.
const MOST_HELD: usize = 64 << 10;
/// Up to so many bytes held, every piece is looked at at once; beyond, when it adds an eighth. So a long key that
/// arrives in small pieces is not read again for each.
const LOOK_AT_ONCE: usize = 1 << 10;
/// An idle stream keeps no more memory than this beyond what it needs.
const SPARE: usize = 512;

/// One text that arrives in pieces. It belongs to no thread: any [`Scanner`] of one engine may be used with it.
#[derive(Debug, Default)]
pub struct Stream {
    /// The end of what was released, and what is held.
    text: String,
    /// Bytes of `text` that were released.
    released: usize,
    /// Where `text` starts in the stream.
    start: usize,
    /// Bytes of `text` that were looked at.
    seen: usize,
    /// Something was released to which no value alone and no list of values belongs.
    is_begun: bool,
    /// Bytes that were scanned, pieces of history each time, and what verifying cost.
    scanned: usize,
    work: usize,
    found: usize,
}

/// Text that is settled.
#[derive(Clone, Debug, Default)]
pub struct Released {
    /// Where it starts in the stream.
    pub at: usize,
    /// The text: what the stream held first.
    pub text: String,
    /// What was found in it: sorted, without overlaps, on character boundaries. Spans are of `text`.
    pub findings: Vec<Finding>,
}

impl Stream {
    /// Adds `piece`, and gives what is settled by it.
    ///
    /// # Errors
    /// As [`Scanner::scan`], for all of the stream so far; and when more than 64 KiB would be held. What is held stays
    /// held then, and the stream is of no more use.
    pub fn push(&mut self, scanner: &mut Scanner, piece: &str) -> Result<Released, Error> {
        self.text.push_str(piece);
        let held = self.held();
        if held > LOOK_AT_ONCE && self.text.len() - self.seen < held / 8 {
            return Ok(Released { at: self.start + self.released, ..Released::default() });
        }
        let released = self.settle(scanner, false)?;
        if self.held() > MOST_HELD {
            return Err(Error::TooMuchHeld(MOST_HELD));
        }
        Ok(released)
    }

    /// Ends the text, and gives all that was held.
    ///
    /// # Errors
    /// As [`Stream::push`].
    pub fn finish(mut self, scanner: &mut Scanner) -> Result<Released, Error> {
        self.settle(scanner, true)
    }

    /// Bytes that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.text.len() - self.released
    }

    /// Bytes of memory beyond the structure itself.
    #[must_use]
    pub fn heap(&self) -> usize {
        self.text.capacity()
    }

    fn settle(&mut self, scanner: &mut Scanner, is_last: bool) -> Result<Released, Error> {
        self.seen = self.text.len();
        self.scanned += self.text.len();
        let whole = Limit::of(self.scanned);
        let limit = Limit { work: whole.work.saturating_sub(self.work), ..Limit::of(self.text.len()) };
        let part = Part { text: &self.text, settled: self.released, lone: self.lone(), is_last, limit };
        let mut findings = Vec::new();
        let settled = scanner.scan_part(&part, &mut findings);
        self.work += scanner.work();
        let Settled { until, keep } = settled?;
        self.found += findings.len();
        if self.found > whole.candidates {
            return Err(Error::TooManyMatches { limit: whole.candidates, bytes: self.start + self.text.len() });
        }
        for finding in &mut findings {
            finding.span = finding.span.start - self.released..finding.span.end - self.released;
        }
        let text = self.text[self.released..until].to_owned();
        let at = self.start + self.released;
        self.is_begun = self.is_begun || !(text.chars().all(is_dull) || may_become_list(&self.text[..until]));
        self.forget(until, keep);
        Ok(Released { at, text, findings })
    }

    /// What stands alone, if there is or may be such a value.
    fn lone(&self) -> Lone {
        if self.is_begun { Lone::NOWHERE } else { Lone::of_beginning(&self.text, LONE_TAIL) }
    }

    /// Everything before `until` is released; drops what is before `keep`.
    fn forget(&mut self, until: usize, keep: usize) {
        self.text.drain(..keep);
        self.start += keep;
        self.seen -= keep;
        self.released = until - keep;
        if self.text.capacity() > self.text.len() + 2 * SPARE {
            self.text.shrink_to(self.text.len() + SPARE);
        }
    }
}
