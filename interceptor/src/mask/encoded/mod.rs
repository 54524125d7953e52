//! Values in another code: percent encoding, character references, backslash escapes, hexadecimal digits, base64.
//!
//! A copy of the text is scanned in which everything encoded is replaced by what it stands for, so that words and edges
//! around a value are those that a reader of the decoded text sees. Only stretches around something encoded are copied.
//! What is in the copy encoded in its turn is decoded next, [`ROUNDS`] times: since no copy is longer than what
//! it was made of, all rounds together look at no more than `ROUNDS` times the text.
//!
//! What is found leads back to raw bytes: of an escape exactly those of its characters; a run of base64 or of hexadecimal
//! digits is one piece, since to replace a part of it would make another document. What is found in the text itself wins
//! over what its bytes are when they are decoded, unless that is more: then it is one finding over both, named for the
//! worse leak.

mod escapes;
mod fuzz;
mod pieces;
mod reference;
mod runs;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use fuzz::fuzz_encoded;

use self::pieces::{Pieces, Window, windows};
use super::classes::Classes;
use super::resolve::overlap;
use super::{Error, context};
use crate::flow::Finding;

/// How often is decoded: an encoding may hide another. A fourth one is no accident.
const ROUNDS: usize = 3;
/// Between a value and something encoded that makes it one: words nearby, an edge.
const NEAR: usize = context::BEFORE;

/// How something is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Percent,
    Entity,
    Escape,
    Hex,
    Base64,
}

impl Encoding {
    /// The word for it in explanations.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Percent => "percent",
            Self::Entity => "entity",
            Self::Escape => "escape",
            Self::Hex => "hex",
            Self::Base64 => "base64",
        }
    }
}

/// A value that only the decoded form of a text shows.
#[derive(Clone, Debug)]
pub(super) struct Unveiled {
    /// Raw bytes.
    pub(super) finding: Finding,
    /// How its bytes are encoded, outermost.
    pub(super) how: Encoding,
}

/// What the decoded forms of a text came to.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) found: Vec<Unveiled>,
    /// Bytes that are still encoded after the last round.
    pub(super) left: usize,
}

/// A scan for plain values: of a text, and whether that is all there is.
pub(super) type Scan<'s> = dyn FnMut(&str, bool) -> Result<Vec<Finding>, Error> + 's;

/// What `text[value]` shows when it is decoded; the rest of `text` introduces it.
pub(super) fn unveil(
    text: &str,
    classes: &Classes,
    value: Range<usize>,
    scan: &mut Scan<'_>,
) -> Result<Decoded, Error> {
    let mut decoded = Decoded::default();
    decode(text, classes, value, ROUNDS, scan, &mut decoded)?;
    Ok(decoded)
}

/// One round: scans the copies and, before it leads what is found in them back to `text`, what they hide.
fn decode(
    text: &str,
    classes: &Classes,
    value: Range<usize>,
    rounds: usize,
    scan: &mut Scan<'_>,
    decoded: &mut Decoded,
) -> Result<(), Error> {
    if rounds == 0 {
        let mut pieces = Pieces::new(text, classes, value);
        decoded.left += std::iter::from_fn(|| pieces.next()).map(|piece| piece.raw.len()).sum::<usize>();
        return Ok(());
    }
    windows(text, classes, value.clone(), |window| {
        let is_whole = value == (0..text.len()) && window.raw == value;
        let mut inner = Decoded::default();
        let found = scan(&window.text, is_whole)?;
        inner.found.extend(found.into_iter().filter_map(|finding| {
            let how = window.near(&finding.span)?;
            Some(Unveiled { finding, how })
        }));
        let mut deeper = Decoded::default();
        let classes = Classes::of(window.text.as_bytes());
        decode(&window.text, &classes, 0..window.text.len(), rounds - 1, scan, &mut deeper)?;
        decoded.left += deeper.left;
        merge_unveiled(&mut inner.found, deeper.found);
        for Unveiled { finding, how } in inner.found {
            // The outer encoding names the value, where there is one right there.
            let how = window.near(&finding.span).unwrap_or(how);
            decoded.found.extend(window.lead_back(text, &value, finding).map(|finding| Unveiled { finding, how }));
        }
        Ok(())
    })
}

fn merge_unveiled(plain: &mut Vec<Unveiled>, more: Vec<Unveiled>) {
    if more.is_empty() {
        return;
    }
    let hows: Vec<_> = plain.iter().chain(&more).map(|one| (one.finding.span.clone(), one.how)).collect();
    let mut findings: Vec<Finding> = plain.drain(..).map(|one| one.finding).collect();
    merge(&mut findings, 0, more.into_iter().map(|one| one.finding).collect());
    plain.extend(findings.into_iter().filter_map(|finding| {
        let of = |span: &Range<usize>| overlap(span, &finding.span);
        let how = hows.iter().find(|(span, _)| of(span))?.1;
        Some(Unveiled { finding, how })
    }));
}

/// Adds to the findings from `first` on, which are sorted and do not overlap, those of decoded forms.
pub(super) fn merge(findings: &mut Vec<Finding>, first: usize, more: Vec<Finding>) {
    if more.is_empty() {
        return;
    }
    let plain = findings.split_off(first).into_iter().map(|finding| (finding, false));
    let mut all: Vec<_> = plain.chain(more.into_iter().map(|finding| (finding, true))).collect();
    all.sort_by_key(|(finding, decoded)| (finding.span.start, *decoded));
    let mut kept: Vec<(Finding, bool)> = Vec::with_capacity(all.len());
    for next in all {
        match kept.last_mut() {
            Some(last) if overlap(&last.0.span, &next.0.span) => *last = one_of(last.clone(), next),
            _ => kept.push(next),
        }
    }
    findings.extend(kept.into_iter().map(|(finding, _)| finding));
}

/// One finding for two that overlap, of which at least one is of a decoded form (`true`).
fn one_of(a: (Finding, bool), b: (Finding, bool)) -> (Finding, bool) {
    let rank = |finding: &Finding| (!finding.rule.report_only, finding.rule.severity);
    // Dates and links keep nothing from being masked, and mask nothing more.
    if a.0.rule.report_only != b.0.rule.report_only {
        return if a.0.rule.report_only { b } else { a };
    }
    if a.0.rule.report_only && a.1 != b.1 {
        return if a.1 { b } else { a };
    }
    let covers = |p: &Finding, d: &Finding| p.span.start <= d.span.start && d.span.end <= p.span.end;
    match (a.1, b.1) {
        (false, true) if covers(&a.0, &b.0) => return a,
        (true, false) if covers(&b.0, &a.0) => return b,
        _ => {}
    }
    let span = a.0.span.start.min(b.0.span.start)..a.0.span.end.max(b.0.span.end);
    let worst = match rank(&a.0).cmp(&rank(&b.0)) {
        std::cmp::Ordering::Less => b.0,
        std::cmp::Ordering::Greater => a.0,
        std::cmp::Ordering::Equal if b.1 && !a.1 => b.0,
        std::cmp::Ordering::Equal => a.0,
    };
    (Finding { span, ..worst }, true)
}
