//! What can still become a value: the rules' shapes as automata, asked whether a text can be the beginning of one.
//!
//! An automaton that is fed a text and has not died tells that more text may complete or lengthen a match. That is
//! exact for expressions; for what is code elsewhere (telephone numbers, addresses, mailboxes) an expression stands here
//! that allows at least as much.

use std::ops::Range;
use std::sync::Arc;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind, PatternID};

use super::pairs::Pairs;
use crate::mask::Error;
use crate::mask::context::BEFORE;
use crate::mask::extent;
use crate::mask::fold::{self, WIDEST_GAP};
use crate::mask::hyperscan;
use crate::mask::picture::Picture;
use crate::mask::rules::{Address, Locate, Rule, Source, Special};
use crate::mask::token;

/// Memory for the states of one automaton, which are made when a text needs them.
const STATES: usize = 4 << 20;
/// Widest pattern that may introduce a value, and the longest value that is told by its beginning alone.
const WIDEST: usize = 512;
/// Bytes of the longest name and the longest domain of a mailbox (`extent::email`).
const LONGEST_NAME: usize = 64;
const LONGEST_DOMAIN: usize = 254;
/// As far as `phone::Written` reads. It does not end in a blank, so that a blank and a letter are no pair of it.
const PHONE: &str = r"[+(]{0,2}[0-9](?:[0-9 ().\x2f-]{0,30}[0-9)])?";
const IPV4: &str = r"[0-9][0-9.]{0,16}(?:/[0-9]{0,4})?";
const IPV6: &str = r"[0-9A-Fa-f:][0-9A-Fa-f:.]{0,46}(?:/[0-9]{0,4})?";
const MAC: &str = "[0-9A-Fa-f]{1,2}(?:[:-][0-9A-Fa-f]{0,2}){0,6}";
const MAC_DOTTED: &str = "[0-9A-Fa-f]{1,4}(?:[.][0-9A-Fa-f]{0,4}){0,3}";
/// What masking left: `token::length`.
const TOKEN: &str = r"\[[A-Z][A-Z0-9_]{0,39}_[0-9a-z]{8,24}\]";

/// The automata of one rule set.
#[derive(Debug)]
pub(in crate::mask) struct Growth {
    /// Everything that is found by its own beginning, but what is below.
    plain: Beginnings,
    /// Values that may have words of a text in them: what they have next to each other tells nothing of where they end.
    wordy: Beginnings,
    pictures: Beginnings,
    /// What goes on behind a match of Hyperscan: `verify` and `after`.
    behind: DFA,
    /// The expression of each rule in `behind`.
    of_rule: Vec<Option<PatternID>>,
    /// Bytes before a value that may be read to find it.
    lookback: usize,
}

/// What values are read by from their beginning on.
#[derive(Debug)]
struct Beginnings {
    automaton: DFA,
    /// What they have, and what they begin with.
    pairs: Pairs,
    first: Pairs,
    /// No value is longer.
    longest: usize,
}

/// The automata's states; for one thread.
#[derive(Debug)]
pub(in crate::mask) struct States {
    plain: Cache,
    wordy: Cache,
    pictures: Cache,
    behind: Cache,
}

impl Growth {
    pub(in crate::mask) fn new(rules: &[Arc<Rule>]) -> Result<Self, Error> {
        let mut plain = vec![TOKEN.to_owned()];
        let mut pictures = Vec::new();
        let mut behind = Vec::new();
        let mut of_rule = Vec::new();
        let mut longest = token::LONGEST;
        let mut longest_picture = 0;
        let mut lookback = BEFORE + token::LONGEST;
        for rule in rules {
            let (own, rest, reach) = shapes(rule)?;
            of_rule.push(rest.is_some().then_some(PatternID::new(behind.len())).transpose().map_err(failed)?);
            behind.extend(rest);
            lookback = lookback.max(reach);
            match &rule.source {
                Source::Pictures { .. } => {
                    longest_picture = longest_picture.max(reach);
                    pictures.extend(own);
                }
                // Every word is the beginning of one; told without an automaton.
                Source::Pattern { locate: Locate::Special(Special::Email), .. } => {}
                _ => {
                    longest = longest.max(reach);
                    plain.extend(own);
                }
            }
        }
        let (wordy, plain) = apart(plain)?;
        let wordy = Beginnings::new(&wordy, longest)?;
        let plain = Beginnings::new(&plain, longest)?;
        let pictures = Beginnings::new(&pictures, longest_picture)?;
        let behind = automaton(&behind, MatchKind::LeftmostFirst)?;
        Ok(Self { plain, wordy, pictures, behind, of_rule, lookback })
    }

    pub(in crate::mask) fn states(&self) -> States {
        States {
            plain: self.plain.automaton.create_cache(),
            wordy: self.wordy.automaton.create_cache(),
            pictures: self.pictures.automaton.create_cache(),
            behind: self.behind.create_cache(),
        }
    }

    /// Bytes before `at` that may be read to find what begins there, unless what introduces it is known to be further
    /// back. Twice as many where characters may be that folding leaves out.
    pub(in crate::mask) fn lookback(&self, text: &str, at: usize) -> usize {
        let near = &text.as_bytes()[at.saturating_sub(self.lookback)..at];
        if near.is_ascii() { self.lookback } else { 2 * self.lookback }
    }

    /// Bytes before the end of what introduces a value that may be read to find it.
    pub(in crate::mask) fn widest(&self) -> usize {
        self.lookback
    }

    /// The first place at or after `from` where a value may have begun that `text` does not hold the end of.
    pub(super) fn earliest(&self, states: &mut States, text: &[u8], from: usize) -> usize {
        let picture = self.earliest_picture(states, text, from).min(earliest_mailbox(text, from));
        let wordy = self.wordy.earliest(&mut states.wordy, text, from..picture);
        self.plain.earliest(&mut states.plain, text, from..wordy)
    }

    /// As [`Self::earliest`], of pictures alone.
    pub(super) fn earliest_picture(&self, states: &mut States, text: &[u8], from: usize) -> usize {
        self.pictures.earliest(&mut states.pictures, text, from..text.len())
    }

    /// The first place at or after `from` where a number may begin that has all of `text` once that is folded.
    pub(super) fn dressed_from(&self, text: &[u8], from: usize) -> usize {
        let divides = |byte: &u8| fold::is_kept(*byte) && !self.pictures.pairs.go_on_behind(*byte);
        let before_last = &text[from..text.len().saturating_sub(1).max(from)];
        before_last.iter().rposition(divides).map_or(from, |at| from + at + 1)
    }

    /// Bytes of ASCII that a number may spread over when its gaps are wide.
    pub(super) fn longest_dressed(&self) -> usize {
        self.pictures.longest * WIDEST_GAP
    }

    /// Whether more than `text[at]` may change what the expression of `rule` finds from the start of `at` on.
    pub(in crate::mask) fn goes_on(&self, states: &mut States, rule: u32, text: &[u8], at: Range<usize>) -> bool {
        let Some(pattern) = self.of_rule[rule as usize] else { return false };
        lives(&self.behind, &mut states.behind, Anchored::Pattern(pattern), text, at)
    }
}

impl Beginnings {
    fn new(expressions: &[String], longest: usize) -> Result<Self, Error> {
        let automaton = automaton(expressions, MatchKind::All)?;
        let nfa = automaton.get_nfa();
        Ok(Self { pairs: Pairs::of(nfa), first: Pairs::first(nfa), automaton, longest })
    }

    /// The first place in `range` from which all of `text` may be the beginning of a value, or its end.
    fn earliest(&self, cache: &mut Cache, text: &[u8], range: Range<usize>) -> usize {
        let from = self.pairs.reach_back(text, range.start.max(text.len().saturating_sub(self.longest)));
        let begins = |at: usize| text.get(at + 1).is_none_or(|&next| self.first.has(text[at], next));
        let grows = |&at: &usize| begins(at) && lives(&self.automaton, cache, Anchored::Yes, text, at..text.len());
        (from..range.end).find(grows).unwrap_or(range.end)
    }
}

/// The expressions whose values may have words of a text in them, and the others.
fn apart(expressions: Vec<String>) -> Result<(Vec<String>, Vec<String>), Error> {
    let (mut wordy, mut plain) = (Vec::new(), Vec::new());
    for expression in expressions {
        let nfa = NFA::compiler().syntax(syntax()).configure(thompson()).build(&expression).map_err(failed)?;
        if Pairs::of(&nfa).have_words() { &mut wordy } else { &mut plain }.push(expression);
    }
    Ok((wordy, plain))
}

/// The first place at or after `from` from which all of `text` may be the beginning of a mailbox.
fn earliest_mailbox(text: &[u8], from: usize) -> usize {
    let is_domain = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
    let is_name = |b: &&u8| is_domain(b) || matches!(b, b'_' | b'%' | b'+');
    let name_before = |end: usize| {
        let name = text[from..end].iter().rev().take(LONGEST_NAME).take_while(is_name).count();
        (name > 0).then_some(end - name)
    };
    let domain = text[from..].iter().rev().take(LONGEST_DOMAIN + 1).take_while(is_domain).count();
    let sign = text[from..text.len() - domain].ends_with(b"@").then(|| text.len() - domain - 1);
    let behind_name = sign.filter(|_| domain <= LONGEST_DOMAIN).and_then(name_before);
    behind_name.or_else(|| name_before(text.len())).unwrap_or(text.len())
}

/// What a rule's values begin with; the expression that is tried behind a match; and how long a beginning can be.
fn shapes(rule: &Rule) -> Result<(Vec<String>, Option<String>, usize), Error> {
    Ok(match &rule.source {
        Source::Pattern { locate: Locate::Special(Special::Email), .. } => {
            (Vec::new(), None, LONGEST_NAME + 1 + LONGEST_DOMAIN)
        }
        Source::Pattern { pattern, locate, .. } => {
            let width = hyperscan::width(pattern)?.1;
            if width > WIDEST {
                let id = &rule.meta.id;
                let reason = format!("rule {id}: the pattern matches up to {width} bytes; a stream keeps {WIDEST}");
                return Err(Error::Stream(reason));
            }
            let own = pattern.clone();
            match locate {
                Locate::Fixed { verify, .. } => (vec![own], verify.as_ref().map(expression), width),
                // The value may begin before its pattern.
                Locate::Window { back, verify, .. } => (vec![own, expression(verify)], Some(expression(verify)), *back),
                Locate::After { after, .. } => (Vec::new(), Some(expression(after.expression())), width),
                Locate::Special(Special::Uri) => (vec![own, extent::URI.to_owned()], None, extent::LONGEST_URI),
                Locate::Special(_) => (vec![own], None, width),
            }
        }
        Source::Pictures { pictures, extend, .. } => {
            let extend = extend.as_ref().map_or(String::new(), |extend| format!("(?:{})?", expression(extend)));
            let longest = pictures.iter().map(Picture::len).max().unwrap_or(0);
            let own = pictures.iter().map(|picture| picture.expression() + &extend).collect();
            (own, None, longest + if extend.is_empty() { 0 } else { rule.reach })
        }
        Source::Dictionary(dictionary) => {
            let literals: Vec<_> = dictionary.expressions.iter().map(|(literal, _)| literal.as_str()).collect();
            let longest = dictionary.expressions.iter().map(|(_, width)| *width as usize).max().unwrap_or(0);
            // And the character behind it, which may make it part of a longer word.
            (vec![format!("(?:{}).{{0,3}}", literals.join("|"))], None, longest + 4)
        }
        Source::Phone(_) => (vec![PHONE.to_owned()], None, 35),
        Source::Address(Address::Ipv4) => (vec![IPV4.to_owned()], None, 22),
        Source::Address(Address::Ipv6) => (vec![IPV6.to_owned()], None, 52),
        Source::Address(Address::Mac) => (vec![MAC.to_owned()], None, 19),
        Source::Address(Address::MacDotted) => (vec![MAC_DOTTED.to_owned()], None, 17),
    })
}

/// The source of an expression, without its anchor.
fn expression(regex: &regex::bytes::Regex) -> String {
    regex.as_str().trim_start_matches(r"\A").to_owned()
}

fn syntax() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}

fn thompson() -> thompson::Config {
    thompson::Config::new().utf8(false).which_captures(WhichCaptures::None)
}

fn automaton(expressions: &[String], kind: MatchKind) -> Result<DFA, Error> {
    DFA::builder()
        .configure(
            DFA::config()
                .match_kind(kind)
                .starts_for_each_pattern(true)
                .cache_capacity(STATES)
                .skip_cache_capacity_check(true),
        )
        .syntax(syntax())
        .thompson(thompson())
        .build_many(expressions)
        .map_err(failed)
}

/// Whether the automaton is alive behind `text[at]`. When it cannot tell, it is.
fn lives(dfa: &DFA, cache: &mut Cache, anchored: Anchored, text: &[u8], at: Range<usize>) -> bool {
    let input = Input::new(text).range(at.clone()).anchored(anchored);
    let Ok(mut state) = dfa.start_state_forward(cache, &input) else { return true };
    for &byte in &text[at] {
        match dfa.next_state(cache, state, byte) {
            Ok(next) if next.is_dead() => return false,
            Ok(next) => state = next,
            Err(_) => return true,
        }
    }
    true
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Stream(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_that_goes_on_is_passed_over(text in "[a-e \n]{0,16}", from in 0usize..16) {
            let expressions = [r"ab?c{2,3} d\b", "[a-c]{2,4}", "e(?:b|cc)*d?", r"(?i:A) {1,2}[^e]|\n\Bb"].map(str::to_owned);
            let all = Beginnings::new(&expressions, 9).unwrap();
            let (text, mut cache) = (text.as_bytes(), all.automaton.create_cache());
            let from = from.min(text.len());
            let expected = (from.max(text.len().saturating_sub(all.longest))..text.len())
                .find(|&at| lives(&all.automaton, &mut cache, Anchored::Yes, text, at..text.len()));
            prop_assert_eq!(all.earliest(&mut cache, text, from..text.len()), expected.unwrap_or(text.len()));
        }

        #[test]
        fn mailboxes_begin_where_an_expression_says(
            text in "[a-c.%@ -]{0,40}|[a-c]{0,70}@[a-c.]{240,260}|[a-c.%]{50,80}(@[a-c]{0,4})?",
            from in 0usize..40,
        ) {
            let from = from.min(text.len());
            let whole = regex::bytes::Regex::new(r"\A[A-Za-z0-9._%+-]{1,64}(?:@[A-Za-z0-9.-]{0,254})?\z").unwrap();
            let expected = (from..text.len()).find(|&at| whole.is_match(&text.as_bytes()[at..])).unwrap_or(text.len());
            prop_assert_eq!(earliest_mailbox(text.as_bytes(), from), expected);
        }
    }
}
