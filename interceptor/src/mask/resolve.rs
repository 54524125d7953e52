//! Overlapping candidates: which one names the bytes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::flow::Severity;

/// How much a candidate's rule knows of the value, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    /// What is not masked by default must keep nothing from being masked.
    Reported,
    /// Anything random after a word such as `token`.
    Generic,
    /// A shape without a checksum.
    Shaped,
    /// A vendor's prefix, or a delimiter that only this kind of value has.
    Prefixed,
    /// A checksum or structure holds.
    Confirmed,
}

/// A value that passed its rule's checks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) span: Range<usize>,
    pub(super) rule: u32,
    pub(super) tier: Tier,
    pub(super) severity: Severity,
    pub(super) score: f32,
    /// A later reading of its rule: it begins within another one and ends behind it.
    pub(super) later: bool,
}

/// Whether two spans have a byte in common.
pub(super) fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Hands the winners to `emit`, in order and without overlaps, and leaves in `candidates` what else the bytes of a
/// winner may be. `tokens` are spans that masking put there, in order; what lies in one is dropped, unless it is surely
/// a value.
///
/// A specific value that contains another wins over it (the password of a database URI is not an e-mail address, even
/// though `pw@host.example` looks like one); among the rest the higher tier, the worse leak, what is no later reading, the
/// longer span, the higher score. What a winner leaves of a loser is [reported](is_told) for that.
pub(super) fn resolve(
    candidates: &mut Vec<Candidate>,
    tokens: &[Range<usize>],
    text: &[u8],
    mut emit: impl FnMut(Candidate),
) {
    if !tokens.is_empty() {
        outside_tokens(candidates, tokens);
    }
    drop_contained(candidates);
    mark_later_readings(candidates);
    let mut others = Vec::new();
    let mut rest = &mut candidates[..];
    while let Some(first) = rest.first() {
        let mut end = first.span.end;
        let mut count = 1;
        while let Some(next) = rest.get(count).filter(|next| next.span.start < end) {
            end = end.max(next.span.end);
            count += 1;
        }
        let (group, behind) = rest.split_at_mut(count);
        resolve_group(group, text, &mut emit, &mut others);
        rest = behind;
    }
    *candidates = others;
}

/// Resolves candidates that overlap no others: nearly always one alone, or readings of the same bytes.
fn resolve_group(group: &mut [Candidate], text: &[u8], emit: &mut impl FnMut(Candidate), others: &mut Vec<Candidate>) {
    group.sort_by(|a, b| {
        let key = |c: &Candidate| (Reverse(c.tier), Reverse(c.severity), c.later, Reverse(c.span.len()));
        key(a)
            .cmp(&key(b))
            .then(b.score.total_cmp(&a.score))
            .then(a.span.start.cmp(&b.span.start))
            .then(a.rule.cmp(&b.rule))
    });
    let Some((winner, losers)) = group.split_first() else { return };
    if losers.iter().all(|loser| loser.span == winner.span) {
        emit(winner.clone());
        others.extend_from_slice(losers);
        return;
    }
    let mut taken: BTreeMap<usize, Candidate> = BTreeMap::new();
    let mut rest = Vec::new();
    for candidate in group.iter() {
        if is_free(&taken, &candidate.span) {
            taken.insert(candidate.span.start, candidate.clone());
        } else if taken.get(&candidate.span.start).is_some_and(|winner| winner.span == candidate.span) {
            others.push(candidate.clone());
        } else {
            rest.push(candidate);
        }
    }
    for loser in rest {
        let holds_winner = taken.range(loser.span.clone()).any(|(_, winner)| winner.span.end <= loser.span.end);
        let is_told = |part: &Range<usize>| is_told(loser, holds_winner, part);
        for span in uncovered(&taken, &loser.span, text).into_iter().filter(is_told) {
            taken.insert(span.start, Candidate { span, ..loser.clone() });
        }
    }
    taken.into_values().for_each(emit);
}

fn is_free(taken: &BTreeMap<usize, Candidate>, span: &Range<usize>) -> bool {
    taken.range(..span.end).next_back().is_none_or(|(_, other)| other.span.end <= span.start)
}

/// Whether `part` of a loser is worth telling. Of a secret anything is. Of a number too, where another begins or ends within
/// it: in `202 5550143 00:1B:44:11:3A:B7` a telephone number may take the first pair of the address, and who is right is not
/// known; around another value it was none. The rest of a guess that does no harm is nothing; of a mailbox, whose name
/// another rule took, the host is none.
fn is_told(loser: &Candidate, holds_winner: bool, part: &Range<usize>) -> bool {
    match loser.tier {
        Tier::Reported => false,
        Tier::Shaped => !holds_winner,
        _ if loser.severity == Severity::High => true,
        Tier::Generic => false,
        Tier::Prefixed => part.len() * 2 > loser.span.len(),
        Tier::Confirmed => !holds_winner,
    }
}

/// The parts of `span` that no winner covers, without blanks around, where they hold a letter or digit.
fn uncovered(taken: &BTreeMap<usize, Candidate>, span: &Range<usize>, text: &[u8]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut from = span.start;
    if let Some((_, before)) = taken.range(..span.start).next_back() {
        from = from.max(before.span.end);
    }
    for other in taken.range(span.start..span.end).map(|(_, c)| &c.span).chain([&(span.end..span.end)]) {
        if from < other.start {
            parts.push(from..other.start);
        }
        from = from.max(other.end);
    }
    for part in &mut parts {
        part.start += text[part.clone()].iter().take_while(|b| b.is_ascii_whitespace()).count();
        part.end -= text[part.clone()].iter().rev().take_while(|b| b.is_ascii_whitespace()).count();
    }
    parts.retain(|part| text[part.clone()].iter().any(|b| b.is_ascii_alphanumeric() || !b.is_ascii()));
    parts
}

/// Drops candidates that lie in a longer one of tier `Prefixed` or higher, unless they would be the worse leak (a token
/// before the `@` of a URL is no mailbox).
fn drop_contained(candidates: &mut Vec<Candidate>) {
    candidates.sort_by_key(|c| (c.span.start, Reverse(c.span.end)));
    let mut reach = (0..0, Severity::Low);
    candidates.retain(|c| {
        let contained = c.span.end <= reach.0.end && c.span != reach.0 && c.severity <= reach.1;
        if c.tier >= Tier::Prefixed && c.span.end > reach.0.end {
            reach = (c.span.clone(), c.severity);
        }
        !contained
    });
}

/// Marks what begins within a shape of the same rule and ends behind it: people write from left to right. In
/// `020 7946 0958 021000021` the last group of a telephone number and the number behind it look like a longer one.
fn mark_later_readings(in_order: &mut [Candidate]) {
    let mut open: Vec<(u32, Range<usize>)> = Vec::new();
    for candidate in in_order.iter_mut().filter(|candidate| candidate.tier == Tier::Shaped) {
        let span = &candidate.span;
        open.retain(|(_, before)| before.end > span.start);
        candidate.later = open
            .iter()
            .any(|(rule, before)| *rule == candidate.rule && before.start < span.start && before.end < span.end);
        if !candidate.later {
            open.push((candidate.rule, span.clone()));
        }
    }
}

/// Cuts the tokens out of the candidates; a generic one that touches a token is dropped. A token exempts no specific
/// value inside its brackets: masking puts none there.
fn outside_tokens(candidates: &mut Vec<Candidate>, tokens: &[Range<usize>]) {
    let mut pieces = Vec::new();
    let inside = |c: &Candidate, token: &Range<usize>| token.start < c.span.start && c.span.end < token.end;
    candidates.retain(|c| {
        let first = tokens.partition_point(|token| token.end <= c.span.start);
        if c.tier >= Tier::Prefixed && tokens.get(first).is_some_and(|token| inside(c, token)) {
            return true;
        }
        let touching = tokens[first..].iter().take_while(|token| token.start < c.span.end);
        let mut from = c.span.start;
        let mut touched = false;
        for token in touching {
            touched = true;
            if c.tier > Tier::Generic && from < token.start {
                pieces.push(Candidate { span: from..token.start, ..c.clone() });
            }
            from = token.end;
        }
        if touched && c.tier > Tier::Generic && from < c.span.end {
            pieces.push(Candidate { span: from..c.span.end, ..c.clone() });
        }
        !touched
    });
    candidates.append(&mut pieces);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn winners(candidates: &[(Range<usize>, Tier)], tokens: &[Range<usize>]) -> Vec<(Range<usize>, Tier)> {
        let mut candidates = (0u32..)
            .zip(candidates)
            .map(|(rule, (span, tier))| Candidate {
                span: span.clone(),
                rule,
                tier: *tier,
                severity: Severity::High,
                score: 0.5,
                later: false,
            })
            .collect();
        let mut out = Vec::new();
        resolve(&mut candidates, tokens, &[b'x'; 40], |c| out.push((c.span, c.tier)));
        out
    }

    #[test]
    fn a_confirmed_value_wins_over_a_longer_guess() {
        assert_eq!(winners(&[(0..30, Tier::Shaped), (5..20, Tier::Confirmed)], &[]), [(5..20, Tier::Confirmed)]);
    }

    #[test]
    fn what_a_winner_leaves_of_a_secret_is_reported_too() {
        assert_eq!(
            winners(&[(0..30, Tier::Generic), (5..20, Tier::Confirmed)], &[]),
            [(0..5, Tier::Generic), (5..20, Tier::Confirmed), (20..30, Tier::Generic)]
        );
        assert_eq!(
            winners(&[(0..10, Tier::Prefixed), (5..20, Tier::Confirmed), (15..25, Tier::Generic)], &[]),
            [(0..5, Tier::Prefixed), (5..20, Tier::Confirmed), (20..25, Tier::Generic)]
        );
    }

    #[test]
    fn a_specific_value_wins_over_what_it_contains() {
        assert_eq!(winners(&[(0..30, Tier::Prefixed), (5..20, Tier::Confirmed)], &[]), [(0..30, Tier::Prefixed)]);
    }

    #[test]
    fn of_equals_the_longer_wins_and_neighbours_both_stay() {
        assert_eq!(
            winners(&[(0..10, Tier::Shaped), (5..20, Tier::Shaped)], &[]),
            [(0..5, Tier::Shaped), (5..20, Tier::Shaped)]
        );
        assert_eq!(winners(&[(0..5, Tier::Shaped), (5..9, Tier::Shaped)], &[]).len(), 2);
    }

    #[test]
    fn of_readings_by_one_rule_the_first_wins() {
        let of = |span: Range<usize>, tier| Candidate {
            span,
            rule: 7,
            tier,
            severity: Severity::Medium,
            score: 0.5,
            later: false,
        };
        let spans = |mut candidates: Vec<Candidate>| {
            let mut out = Vec::new();
            resolve(&mut candidates, &[], &[b'x'; 40], |c| out.push(c.span));
            out
        };
        let shaped = |span| of(span, Tier::Shaped);
        assert_eq!(spans(vec![shaped(0..10), shaped(5..12), shaped(12..22), shaped(2..10)]), [0..10, 10..12, 12..22]);
        // One that begins with the first and reaches further is no later reading.
        assert_eq!(spans(vec![shaped(0..10), shaped(0..14), shaped(20..24)]), [0..14, 20..24]);
        // Where the first loses, the later one stands.
        assert_eq!(spans(vec![shaped(0..10), shaped(5..20), of(0..4, Tier::Confirmed)]), [0..4, 5..20]);
    }

    #[test]
    fn tokens_are_cut_out() {
        let token = std::slice::from_ref(&(4..10));
        assert_eq!(winners(&[(4..10, Tier::Confirmed)], token), []);
        assert_eq!(winners(&[(5..9, Tier::Shaped)], token), []);
        assert_eq!(winners(&[(5..9, Tier::Confirmed)], token), [(5..9, Tier::Confirmed)]);
        assert_eq!(winners(&[(2..12, Tier::Generic)], token), []);
        assert_eq!(winners(&[(2..12, Tier::Prefixed)], token), [(2..4, Tier::Prefixed), (10..12, Tier::Prefixed)]);
    }
}
