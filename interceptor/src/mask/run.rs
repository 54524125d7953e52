//! Long runs: nearly every key of a vendor is one, or stands behind a name that introduces one.
//!
//! Hundreds of literals cost Hyperscan half of its speed, while ordinary text has few runs of sixteen letters, digits
//! and `_+/=-` with a digit or with letters of both cases. So the patterns whose values hold such a run, all but surely, are a
//! database of their own, and only what is around a run is scanned with it.

use std::ops::Range;

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::classes::{Block, Classes};

/// Bytes of the shortest run that counts as long.
const LONG: usize = 16;
/// What is around a run: bytes before it, where what introduces it begins, and behind it, where its pattern ends.
pub(super) const BEFORE: usize = 192;
const AFTER: usize = 64;
/// Digits that values have on average at least, so that hardly one of a thousand is taken for words: 22 letters and digits
/// of both cases, 6 hexadecimal ones. Letters that are written out in a pattern do not count.
pub(super) const FEWEST_DIGITS: f32 = 3.5;
/// The same where a validator takes short values without digits for words, and long ones that look like names: sixteen
/// letters and digits.
pub(super) const FEWEST_ASKED_FOR: f32 = 2.5;
/// How often the case changes in a word that is made of some: `fromUtcDateTime` has six changes.
const MOST_TURNS: usize = 7;

/// Whether `byte` may be in a run.
fn joins(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'=' | b'_')
}

/// Whether a run may be random: with two digits; with one, among letters of both cases or in a long row of letters; of
/// letters whose case changes often, or of capitals in a long row. What tells of a part of a run tells of all of it.
fn tells(run: &[u8]) -> bool {
    let (mut digits, mut capital, mut small, mut turns) = (0, false, false, 0);
    // Letters and digits in a row up to here, those since the last small letter, and whether there was a digit.
    let (mut row, mut capitals, mut counts) = (0, 0, false);
    let mut last = None;
    for byte in run {
        let is_digit = byte.is_ascii_digit();
        digits += usize::from(is_digit);
        capital |= byte.is_ascii_uppercase();
        small |= byte.is_ascii_lowercase();
        if byte.is_ascii_alphabetic() {
            turns += usize::from(last.is_some_and(|upper| upper != byte.is_ascii_uppercase()));
            last = Some(byte.is_ascii_uppercase());
        }
        let joins = byte.is_ascii_alphanumeric();
        row = if joins { row + 1 } else { 0 };
        // Groups of capitals with hyphens are one key; names of constants have other joints.
        capitals =
            if (joins && !byte.is_ascii_lowercase()) || (*byte == b'-' && capitals > 0) { capitals + 1 } else { 0 };
        counts = joins && (counts || is_digit);
        if capitals >= LONG || (row >= LONG && counts) {
            return true;
        }
    }
    digits > 1 || (capital && small && (digits == 1 || turns >= MOST_TURNS))
}

/// Whether there is such a run in `value`.
pub(super) fn is_in(value: &[u8]) -> bool {
    value.split(|b| !joins(*b)).any(|run| run.len() >= LONG && tells(run))
}

/// The parts of `text` around its long runs, in order, none touching another. A text that is `cut` may have been longer:
/// its ends are ends of runs.
pub(super) fn parts(text: &[u8], classes: &Classes, cut: bool, mut found: impl FnMut(Range<usize>) -> bool) {
    let mut at = 0;
    let runs = std::iter::from_fn(|| {
        let run = classes.next_run::<LONG>(Block::keys, at, text.len())?;
        at = run.end;
        Some(run)
    })
    .filter(|run| {
        classes.any(run, |block| block.digits | block.capital) && (classes.digits(run) > 1 || tells(&text[run.clone()]))
    });
    let head = cut.then_some(0..0);
    let tail = cut.then(|| text.len() - text.iter().rev().take_while(|b| joins(**b)).count()..text.len());
    let mut part: Option<Range<usize>> = None;
    for run in head.into_iter().chain(runs).chain(tail) {
        let around = run.start.saturating_sub(BEFORE)..text.len().min(run.end + AFTER);
        match &mut part {
            Some(part) if around.start <= part.end => part.end = part.end.max(around.end),
            _ => {
                if part.replace(around).is_some_and(|part| !found(part)) {
                    return;
                }
            }
        }
    }
    part.map(found);
}

/// What every match of an expression has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// It is one run.
    is_run: bool,
    /// Bytes of runs at its ends.
    head: usize,
    tail: usize,
    /// Bytes into the match by which a long run has begun; none if there may be none.
    long_by: Option<usize>,
    /// Bytes of the longest match.
    most: usize,
    /// It says what is around it.
    looks: bool,
    /// Digits that it has on average, where each byte of a class is as likely as the others.
    digits: f32,
}

impl Shape {
    const EMPTY: Self = Self { is_run: true, head: 0, tail: 0, long_by: None, most: 0, looks: false, digits: 0.0 };

    /// Of an expression as the `regex` crate and Hyperscan write it; none where it is not understood. With `groups`, what
    /// is outside of groups is no run.
    pub(super) fn of(expression: &str, groups: bool) -> Option<Self> {
        let mut parser = ParserBuilder::new().unicode(false).utf8(false).build();
        Some(of(&parser.parse(expression).ok()?, !groups))
    }

    fn other(most: usize) -> Self {
        Self { is_run: false, most, ..Self::EMPTY }
    }

    fn run(bytes: usize) -> Self {
        let long_by = (bytes >= LONG).then_some(0);
        Self { head: bytes, tail: bytes, long_by, most: bytes, ..Self::EMPTY }
    }

    fn then(self, next: Self) -> Self {
        let begins = if self.is_run { 0 } else { self.most };
        let joined = (self.tail + next.head >= LONG).then_some(begins);
        let later = next.long_by.map(|by| self.most.saturating_add(by));
        Self {
            is_run: self.is_run && next.is_run,
            head: if self.is_run { self.head + next.head } else { self.head },
            tail: if next.is_run { self.tail + next.tail } else { next.tail },
            long_by: self.long_by.or(joined).or(later),
            most: self.most.saturating_add(next.most),
            looks: self.looks || next.looks,
            digits: self.digits + next.digits,
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            is_run: self.is_run && other.is_run,
            head: self.head.min(other.head),
            tail: self.tail.min(other.tail),
            long_by: self.long_by.zip(other.long_by).map(|(a, b)| a.max(b)),
            most: self.most.max(other.most),
            looks: self.looks || other.looks,
            digits: self.digits.min(other.digits),
        }
    }

    fn times(self, least: u32, most: Option<u32>) -> Self {
        let digits = self.digits * least as f32;
        let least = least as usize;
        let total = most.map_or(usize::MAX, |most| self.most.saturating_mul(most as usize));
        let shape = match (self.is_run, least) {
            (true, _) => Self::run(self.head.saturating_mul(least)),
            (false, 0) => Self::other(0),
            (false, _) => self,
        };
        Self { most: total, looks: self.looks, digits, ..shape }
    }

    /// Whether values of this shape hold a long run, with `digits` on average, near the `before` bytes at most that
    /// introduce them.
    pub(super) fn is_behind(&self, before: usize, digits: f32) -> bool {
        self.digits >= digits && self.long_by.is_some_and(|by| by.saturating_add(before) <= BEFORE)
    }

    /// Whether all of a match is around its run.
    pub(super) fn is_around(&self) -> bool {
        !self.looks && self.is_behind(0, FEWEST_DIGITS) && (self.tail >= LONG || self.most <= AFTER + LONG)
    }

    /// Bytes of the longest match that can be told from what it is of.
    pub(super) fn widest(&self) -> Option<usize> {
        (!self.looks).then_some(self.most)
    }
}

fn of(hir: &Hir, counts: bool) -> Shape {
    match hir.kind() {
        HirKind::Empty => Shape::EMPTY,
        HirKind::Look(_) => Shape { looks: true, ..Shape::EMPTY },
        HirKind::Literal(literal) => literal
            .0
            .iter()
            .map(|&b| if counts && joins(b) { Shape::run(1) } else { Shape::other(1) })
            .fold(Shape::EMPTY, Shape::then),
        HirKind::Class(class) => {
            let joined = match class {
                Class::Bytes(class) => class.iter().all(|range| (range.start()..=range.end()).all(joins)),
                Class::Unicode(class) => class
                    .iter()
                    .all(|range| range.end().is_ascii() && (range.start()..=range.end()).all(|c| joins(c as u8))),
            };
            if counts && joined {
                Shape { digits: share_of_digits(class), ..Shape::run(1) }
            } else {
                Shape::other(class.maximum_len().unwrap_or(4))
            }
        }
        HirKind::Repetition(repetition) => of(&repetition.sub, counts).times(repetition.min, repetition.max),
        HirKind::Capture(capture) => of(&capture.sub, true),
        HirKind::Concat(parts) => parts.iter().map(|part| of(part, counts)).fold(Shape::EMPTY, Shape::then),
        HirKind::Alternation(parts) => {
            parts.iter().map(|part| of(part, counts)).reduce(Shape::or).unwrap_or(Shape::EMPTY)
        }
    }
}

/// The part of a class that is digits.
fn share_of_digits(class: &Class) -> f32 {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Bytes(class) => class.iter().map(|range| (range.start().into(), range.end().into())).collect(),
        Class::Unicode(class) => class.iter().map(|range| (range.start().into(), range.end().into())).collect(),
    };
    let all = ranges.iter().map(|(start, end)| end - start + 1).sum::<u32>();
    let of = |&(start, end): &(u32, u32)| (end.min(b'9'.into()) + 1).saturating_sub(start.max(b'0'.into()));
    let digits = ranges.iter().map(of).sum::<u32>();
    digits as f32 / all.max(1) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn long_by(expression: &str) -> Option<usize> {
        Shape::of(expression, false).unwrap().long_by
    }

    #[test]
    fn expressions_tell_where_a_run_begins() {
        assert_eq!(long_by("sk-[A-Za-z0-9]{48}"), Some(0));
        assert_eq!(long_by("[a-z]{3}[.][A-Za-z0-9]{16}"), Some(4));
        assert_eq!(long_by("[.]{0,9}(?:[a-f0-9]{8}-){2}"), Some(9));
        assert_eq!(long_by("[a-z]{15}"), None);
        assert_eq!(long_by("(?:[a-z]{20}|[.]{20})"), None);
        assert_eq!(long_by("[a-z.]{20}"), None);
        assert_eq!(long_by("[a-z]{0,20}"), None);
        assert_eq!(long_by("(?i)[a-z]{8}[0-9]{0,4}[A-Z]{8}"), Some(0));
        assert_eq!(long_by(r"\s*[a-z]{16}"), Some(usize::MAX));
    }

    #[test]
    fn only_values_with_enough_digits_are_told_by_their_runs() {
        let is_told = |expression: &str| Shape::of(expression, false).unwrap().is_around();
        assert!(is_told("ghp_[A-Za-z0-9]{36}") && is_told("[0-9a-f]{32}") && is_told("[a-z0-9]{20}"));
        assert!(!is_told("rzp_live_[A-Za-z0-9]{14}") && !is_told("LTAI[A-Za-z0-9]{12,20}"));
        assert!(!is_told("PROJECT-[a-z]{30}") && !is_told("(?:[0-9a-f]{32}|[A-Za-z0-9]{16})"));
    }

    #[test]
    fn only_what_is_in_a_group_counts_where_that_is_the_value() {
        assert_eq!(Shape::of("[a-z]{20}=(?P<v>[a-z]{9})", true).unwrap().long_by, None);
        assert_eq!(Shape::of("[a-z]{20}=(?P<v>[a-z]{16})", true).unwrap().long_by, Some(21));
    }

    proptest! {
        #[test]
        fn parts_hold_all_that_is_around_a_run(text in "([a-zA-Z0-9]{0,20}[., ]{1,150}){0,12}") {
            let bytes = text.as_bytes();
            let mut covered = vec![false; text.len()];
            let mut last = 0;
            parts(bytes, &Classes::of(bytes), false, |part| {
                assert!(last == 0 || last < part.start);
                last = part.end;
                covered[part].fill(true);
                true
            });
            let mut start = 0;
            for run in bytes.split(|b| !joins(*b)) {
                let run = start..start + run.len();
                start = run.end + 1;
                if run.len() < LONG || !tells(&bytes[run.clone()]) {
                    continue;
                }
                let around = run.start.saturating_sub(BEFORE)..text.len().min(run.end + AFTER);
                prop_assert!(covered[around].iter().all(|covered| *covered));
            }
        }
    }
}
