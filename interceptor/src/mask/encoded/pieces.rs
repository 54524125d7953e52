//! What is encoded in a text, piece by piece, and copies of the stretches around with the pieces decoded.

use std::ops::Range;

use super::escapes::{self, Escape};
use super::runs::{self, Encoded, Runs};
use super::{Encoding, NEAR};
use crate::flow::{Finding, OffsetMap, Run};
use crate::mask::Error;
use crate::mask::classes::Classes;

/// Bytes around something encoded that are copied with it: more than rules look at around a value that is near.
const AROUND: usize = 256;
/// Bytes in which a copy may begin or end later for the sake of a blank.
const BLANK: usize = 64;
/// Pieces in one copy, so that the map of escapes without end takes a few megabytes at most.
const MOST_PIECES: usize = 16 << 10;

/// Something encoded.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) raw: Range<usize>,
    pub(super) plain: Plain,
    pub(super) how: Encoding,
}

/// What it stands for; shorter than its raw bytes.
#[derive(Debug)]
pub(super) enum Plain {
    Character(char),
    Text(String),
}

/// The pieces of a text, in order and apart from each other.
#[derive(Debug)]
pub(super) struct Pieces<'t> {
    text: &'t [u8],
    classes: &'t Classes,
    until: usize,
    at: usize,
    /// The next of each kind, once looked for; none when there are no more.
    escape: Option<Option<Escape>>,
    run: Option<Option<Encoded>>,
    runs: Runs<'t>,
}

impl<'t> Pieces<'t> {
    pub(super) fn new(text: &'t str, classes: &'t Classes, within: Range<usize>) -> Self {
        let text = text.as_bytes();
        let runs = Runs::new(text, classes, within.clone());
        Self { text, classes, until: within.end, at: within.start, escape: None, run: None, runs }
    }

    pub(super) fn next(&mut self) -> Option<Piece> {
        let escape = match self.escape.take() {
            Some(found) => found,
            None => escapes::next(self.text, self.classes, self.at, self.until),
        };
        let run = match self.run.take() {
            Some(found) => found,
            None => self.runs.next(),
        };
        let escape_is_first = match (&escape, &run) {
            (Some(escape), Some(run)) => escape.raw.start < run.raw.start,
            (escape, _) => escape.is_some(),
        };
        if escape_is_first {
            self.run = Some(run);
            let Escape { raw, character, how } = escape?;
            self.at = raw.end;
            return Some(Piece { raw, plain: Plain::Character(character), how });
        }
        self.escape = Some(escape);
        let Encoded { raw, text, how } = run?;
        Some(Piece { raw, plain: Plain::Text(text), how })
    }
}

/// A copy of a stretch of a text.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) raw: Range<usize>,
    pub(super) text: String,
    map: OffsetMap,
    /// Where the pieces are in the copy.
    pieces: Vec<(Range<usize>, Encoding)>,
}

impl Window {
    pub(super) fn new(text: &str, raw: Range<usize>, pieces: &[Piece]) -> Self {
        let mut copy = String::with_capacity(raw.len());
        let mut runs = Vec::with_capacity(2 * pieces.len() + 1);
        let mut places = Vec::with_capacity(pieces.len());
        let mut at = raw.start;
        let keep = |copy: &mut String, runs: &mut Vec<Run>, plain: Range<usize>| {
            if !plain.is_empty() {
                let len = plain.len();
                runs.push(Run { decoded: copy.len(), decoded_len: len, raw: plain.start, raw_len: len });
                copy.push_str(&text[plain]);
            }
        };
        for piece in pieces {
            keep(&mut copy, &mut runs, at..piece.raw.start);
            let decoded = copy.len();
            match &piece.plain {
                Plain::Character(character) => copy.push(*character),
                Plain::Text(text) => copy.push_str(text),
            }
            let decoded_len = copy.len() - decoded;
            debug_assert!(decoded_len < piece.raw.len(), "{piece:?} is not shorter when it is decoded");
            runs.push(Run { decoded, decoded_len, raw: piece.raw.start, raw_len: piece.raw.len() });
            places.push((decoded..copy.len(), piece.how));
            at = piece.raw.end;
        }
        keep(&mut copy, &mut runs, at..raw.end);
        Self { raw, text: copy, map: OffsetMap::from_runs(runs), pieces: places }
    }

    /// The encoding of what `span` of the copy covers, or else of something near that may have made it a value.
    pub(super) fn near(&self, span: &Range<usize>) -> Option<Encoding> {
        let first = self.pieces.partition_point(|(piece, _)| piece.end <= span.start);
        let covered = self.pieces.get(first).filter(|(piece, _)| piece.start < span.end);
        let before = || first.checked_sub(1).map(|i| &self.pieces[i]).filter(|(p, _)| span.start - p.end <= NEAR);
        let after = || self.pieces.get(first).filter(|(piece, _)| piece.start - span.end <= NEAR);
        covered.or_else(before).or_else(after).map(|(_, how)| *how)
    }

    pub(super) fn to_raw(&self, span: &Range<usize>) -> Range<usize> {
        self.map.to_raw(span)
    }

    /// A finding of the copy as one of the text from which it was made; none where only the cut made it one.
    pub(super) fn lead_back(&self, text: &str, value: &Range<usize>, finding: Finding) -> Option<Finding> {
        let Finding { span, .. } = &finding;
        // Next to a copy that ends with a run there may be a blank or a comma: then nothing is cut.
        let goes_on = |at: Option<usize>| {
            let byte = at.and_then(|at| text.as_bytes().get(at));
            byte.is_some_and(|b| b.is_ascii_alphanumeric() || !b.is_ascii())
        };
        let is_cut = (span.start == 0 && goes_on(self.raw.start.checked_sub(1)))
            || (span.end == self.text.len() && goes_on(Some(self.raw.end)));
        let raw = self.to_raw(span);
        let raw = raw.start.max(value.start)..raw.end.min(value.end);
        (!is_cut && raw.start < raw.end).then_some(Finding { span: raw, ..finding })
    }
}

/// Hands the copies of all stretches of `text` with something encoded in `value` to `each`, in order.
pub(super) fn windows(
    text: &str,
    classes: &Classes,
    value: Range<usize>,
    mut each: impl FnMut(&Window) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut pieces = Pieces::new(text, classes, value);
    let mut group: Vec<Piece> = Vec::new();
    let mut next = pieces.next();
    // Before, something is encoded that is not in the group.
    let mut from = 0;
    while let Some(piece) = next {
        group.push(piece);
        next = pieces.next();
        let end = group.last().map_or(0, |last| last.raw.end);
        let is_near = next.as_ref().is_some_and(|next| is_near(text.as_bytes(), end, next.raw.start));
        if is_near && group.len() < MOST_PIECES {
            continue;
        }
        let start = group[0].raw.start.saturating_sub(AROUND).max(from);
        let limit = next.as_ref().map_or(text.len(), |next| next.raw.start);
        let outer = whole_runs(text.as_bytes(), start..(end + AROUND).min(limit), from..limit);
        let raw = widened(text, outer, group[0].raw.start..end);
        each(&Window::new(text, raw, &group))?;
        if is_near {
            // The next copy begins with the end of this one: a value may lie across.
            let overlap = group.partition_point(|piece| piece.raw.start + AROUND < end).max(1);
            from = group[overlap - 1].raw.end;
            group.drain(..overlap);
        } else {
            group.clear();
        }
    }
    Ok(())
}

/// Whether what is around the pieces that end at `end` and begin at `start` is best copied together.
fn is_near(text: &[u8], end: usize, start: usize) -> bool {
    start - end <= 2 * AROUND || text[end + AROUND..start - AROUND].iter().all(|b| runs::is_letter(*b))
}

/// `part` and what it cuts off of runs at both ends, as far as that is `within`: another round may decode those.
fn whole_runs(text: &[u8], part: Range<usize>, within: Range<usize>) -> Range<usize> {
    let before = text[within.start..part.start].iter().rev().take_while(|b| runs::is_letter(**b)).count();
    let behind = text[part.end..within.end].iter().take_while(|b| runs::is_letter(**b)).count();
    part.start - before..part.end + behind
}

/// From the first blank of `outer` to the last, so that no word is cut if that can be; all of `inner` stays.
fn widened(text: &str, outer: Range<usize>, inner: Range<usize>) -> Range<usize> {
    let bytes = text.as_bytes();
    let is_blank = |b: &u8| b.is_ascii_whitespace();
    let start = match bytes[outer.start..inner.start].iter().take(BLANK).position(is_blank) {
        _ if outer.start == 0 => 0,
        Some(at) => outer.start + at,
        None => text.floor_char_boundary(outer.start),
    };
    let end = match bytes[inner.end..outer.end].iter().rev().take(BLANK).position(is_blank) {
        _ if outer.end == text.len() => text.len(),
        Some(at) => outer.end - at,
        None => text.ceil_char_boundary(outer.end),
    };
    start..end
}
