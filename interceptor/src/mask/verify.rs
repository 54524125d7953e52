//! Verifying candidates: exact span, edges, validator, words around it; and what all of that may cost.

use std::cell::OnceCell;
use std::ops::Range;

use super::context::{self, Context};
use super::engine::{Engine, Follows};
use super::extent::{self, Walk};
use super::fold::{Folded, Stretches, may_hide_a_number};
use super::gate::{Token, Tokens};
use super::phone::Written;
use super::resolve::{Candidate, Tier};
use super::rules::{Address, Edge, Locate, NAME_BEFORE, Need, Rule, Source, Special};
use super::scan::Limit;
use super::validate::Verdict;
use super::{Error, token};
use crate::flow::Severity;

/// Digits of the shortest number to which a name may be glued, and of its first group.
const LONG_NUMBER: usize = 15;
const FIRST_GROUP: usize = 4;
/// What context and a checksum add to a rule's confidence.
const WORDS_BONUS: f32 = 0.2;
const CONFIRMED_BONUS: f32 = 0.1;

/// One text being verified.
pub(super) struct View<'v> {
    engine: &'v Engine,
    text: &'v [u8],
    /// What masking left in the text; looked for once something needs to know.
    tokens: OnceCell<Vec<Range<usize>>>,
    /// The text without what surrounds a lone value.
    lone: Range<usize>,
    limit: Limit,
    context: &'v mut Context,
    candidates: &'v mut Vec<Candidate>,
    work: usize,
    done: Done,
}

/// How far the last value of each special kind reached, so that none is walked twice.
#[derive(Debug, Default)]
struct Done {
    email: usize,
    ipv6: usize,
    pem: usize,
}

impl<'v> View<'v> {
    pub(super) fn new(
        engine: &'v Engine,
        text: &'v [u8],
        lone: Range<usize>,
        limit: Limit,
        context: &'v mut Context,
        candidates: &'v mut Vec<Candidate>,
    ) -> Self {
        Self { engine, text, tokens: OnceCell::new(), lone, limit, context, candidates, work: 0, done: Done::default() }
    }

    /// Verifies what Hyperscan found in `text` (`hits`: rule and end), and what the gate finds in it.
    pub(super) fn verify(&mut self, hits: &[(u32, u32)], text: &str) -> Result<(), Error> {
        for &(rule, end) in hits {
            self.hit(rule, end as usize)?;
        }
        let mut stretches = Stretches::default();
        for token in Tokens::new(self.text) {
            self.token(&token)?;
            stretches.add(self.text, &token.span);
        }
        if may_hide_a_number(text) {
            return self.folded(text, 0..text.len());
        }
        for stretch in stretches.finish(text, context::BEFORE, context::AFTER) {
            self.folded(text, stretch)?;
        }
        Ok(())
    }

    /// Looks for the numbers that would do most harm in the folded text of `part`.
    fn folded(&mut self, original: &str, part: Range<usize>) -> Result<(), Error> {
        let original = &original[part.clone()];
        self.spend(original.len())?;
        let folded = Folded::new(original);
        let (mut context, mut candidates) = (Context::default(), Vec::new());
        let text = folded.text.as_bytes();
        let mut view = View::new(self.engine, text, 0..0, self.limit, &mut context, &mut candidates);
        view.work = self.work;
        for token in Tokens::new(text) {
            view.pictures(&token, view.follows(&token), |rule| rule.meta.severity == Severity::High)?;
        }
        self.work = view.work;
        for mut candidate in candidates {
            let span = folded.to_original(&candidate.span, original);
            candidate.span = part.start + span.start..part.start + span.end;
            // Numbers one a line are many, a number that a line break divides is one.
            let breaks = memchr::memchr_iter(b'\n', &self.text[candidate.span.clone()]).count();
            if breaks <= 1 {
                self.candidates.push(candidate);
            }
        }
        Ok(())
    }

    /// Cuts the candidates to `value`; the name before it is scanned as a text of its own. A secret that the name
    /// introduces (`password": "`) is all of a value without blanks, whatever quotes and commas are in it.
    pub(super) fn keep_within(&mut self, value: &Range<usize>) {
        let (engine, text) = (self.engine, self.text);
        let is_one_word = !text[value.clone()].iter().any(u8::is_ascii_whitespace);
        self.candidates.retain_mut(|candidate| {
            let span = &mut candidate.span;
            let source = &engine.rule(candidate.rule).source;
            let introduced = matches!(source, Source::Pattern { locate: Locate::After { .. }, .. });
            if introduced && is_one_word && span.start == value.start {
                span.end = value.end;
            }
            *span = span.start.max(value.start)..span.end.min(value.end);
            span.start < span.end
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    pub(super) fn work(&self) -> usize {
        self.work
    }

    /// The tokens that masking left in the text.
    pub(super) fn into_tokens(self) -> Vec<Range<usize>> {
        self.tokens.into_inner().unwrap_or_else(|| token::find(self.text))
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        self.work += bytes;
        if self.work > self.limit.work {
            return Err(Error::TooMuchWork { limit: self.limit.work, bytes: self.text.len() });
        }
        Ok(())
    }

    fn window(&mut self, range: Range<usize>) -> Result<&'v [u8], Error> {
        let window = &self.text[range.start..range.end.min(self.text.len())];
        self.spend(window.len())?;
        Ok(window)
    }

    fn walked(&mut self, walk: Walk) -> Result<Option<Range<usize>>, Error> {
        self.spend(walk.work)?;
        Ok(walk.span)
    }

    /// Finds the value whose match ends at `end`.
    fn hit(&mut self, index: u32, end: usize) -> Result<(), Error> {
        let rule = self.engine.rule(index);
        let Source::Pattern { locate, .. } = &rule.source else { return Ok(()) };
        let span = match locate {
            Locate::Fixed { width, .. } if !self.edge_is_free(rule, end - width) => None,
            Locate::Fixed { width, verify: None } => Some(end - width..end),
            Locate::Fixed { width, verify: Some(verify) } => {
                let start = end - width;
                verify.find(self.window(start..start + rule.reach)?).map(|m| start..start + m.end())
            }
            Locate::Window { back, verify } => {
                let from = end.saturating_sub(*back);
                let window = self.window(from..end + rule.reach)?;
                let reaches = |m: &regex::bytes::Match<'_>| from + m.end() >= end && from + m.start() < end;
                let span = verify.find_iter(window).find(reaches).map(|m| from + m.start()..from + m.end());
                span.filter(|span| self.edge_is_free(rule, span.start))
            }
            Locate::After { .. } if self.in_token(end) => None,
            Locate::After { after, unless } => {
                let window = self.window(end..end + rule.reach)?;
                // Nearly all words such as `token` introduce nothing: find that out without allocating for groups.
                let captures = if after.is_match(window) { after.captures(window) } else { None };
                let span = captures.and_then(|captures| {
                    let value = captures.iter().skip(1).flatten().next().or_else(|| captures.get(0))?;
                    Some(end + value.start()..end + value.end())
                });
                let is_no_secret =
                    |span: &Range<usize>| unless.as_ref().is_some_and(|u| u.is_match(self.name(end, span.start)));
                span.filter(|span| !is_no_secret(span))
            }
            Locate::Special(Special::Email) => {
                let walk = extent::email(self.text, end, &mut self.done.email);
                self.walked(walk)?
            }
            Locate::Special(Special::Pem) => {
                let walk = extent::pem(self.text, end, &mut self.done.pem);
                self.walked(walk)?
            }
        };
        span.map_or(Ok(()), |span| self.propose(index, rule, span))
    }

    /// Compares the shapes around a digit-bearing token with the rules' pictures, number plans and addresses.
    fn token(&mut self, token: &Token) -> Result<(), Error> {
        let follows = self.follows(token);
        self.pictures(token, follows, |_| true)?;
        let (next, second) = (self.text.get(token.span.end), self.text.get(token.span.end + 1));
        if token.digits && (token.span.len() >= 7 || follows == Follows::Digit || matches!(next, Some(b')' | b' '))) {
            self.phone(token.span.start, second)?;
        }
        let colon = next == Some(&b':') || self.text[..token.span.start].ends_with(b":");
        if colon || (next == Some(&b'.') && follows == Follows::Digit) {
            self.address(token)?;
        }
        Ok(())
    }

    fn follows(&self, token: &Token) -> Follows {
        match self.text.get(token.span.end + 1) {
            Some(b) if b.is_ascii_digit() => Follows::Digit,
            Some(b) if b.is_ascii_alphabetic() => Follows::Letter,
            _ => Follows::Nothing,
        }
    }

    /// The pictures that fit at `token`; in a mixed token, those of its digits to which a name may be glued.
    fn pictures(&mut self, token: &Token, follows: Follows, which: impl Fn(&Rule) -> bool) -> Result<(), Error> {
        self.shapes(token, follows, &which)?;
        let end = token.span.end;
        let goes_on = || matches!(self.text[end..], [b' ' | b'-' | b'.', b'0'..=b'9', ..]);
        if token.digits || !(token.span.len() >= LONG_NUMBER || goes_on()) {
            return Ok(());
        }
        let mut from = token.span.start;
        while from < end {
            let len = self.text[from..end].iter().take_while(|b| b.is_ascii_digit()).count();
            if len >= LONG_NUMBER || (len == FIRST_GROUP && from + len == end) {
                let run = Token { span: from..from + len, digits: true };
                let follows = self.follows(&run);
                self.shapes(&run, follows, |rule| rule.left == Edge::Glued && which(rule))?;
            }
            from += len + 1;
        }
        Ok(())
    }

    fn shapes(&mut self, token: &Token, follows: Follows, which: impl Fn(&Rule) -> bool) -> Result<(), Error> {
        let engine = self.engine;
        let next = self.text.get(token.span.end);
        for shape in engine.shapes(token, follows).iter().filter(|shape| shape.admits(next)) {
            let Some(start) = token.span.start.checked_sub(shape.offset as usize) else { continue };
            let rule = engine.rule(shape.rule);
            let Source::Pictures { pictures, verify, extend } = &rule.source else { continue };
            let fit = || pictures[shape.picture as usize].fit(self.text, start);
            let Some(mut end) = which(rule).then(fit).flatten() else { continue };
            self.spend(end - start)?;
            if verify.as_ref().is_some_and(|v| v.find(&self.text[start..end]).is_none_or(|m| m.end() != end - start)) {
                continue;
            }
            if let Some(extend) = extend {
                end += extend.find(self.window(end..end + rule.reach)?).map_or(0, |m| m.end());
            }
            let is_free = self.edge_is_free(rule, start) || self.is_glued(rule, &(start..end));
            if is_free && !self.number_goes_on(start, end) {
                self.propose(shape.rule, rule, start..end)?;
            }
        }
        Ok(())
    }

    /// Whether a long number stands between names, not within a hexadecimal string: each neighbour is no letter or
    /// digit, or a letter of a name.
    fn is_glued(&self, rule: &Rule, span: &Range<usize>) -> bool {
        const LONGEST_NAME: usize = 24;
        let digits = || self.text[span.clone()].iter().filter(|b| b.is_ascii_digit()).count();
        if rule.left != Edge::Glued || !(LONG_NUMBER..=LONG_NUMBER + 1).contains(&digits()) {
            return false;
        }
        let is_name = |name: &[u8]| {
            let says_more_than_hex = name.iter().any(|b| !b.is_ascii_hexdigit()) && !name.eq_ignore_ascii_case(b"x");
            says_more_than_hex || rule.words.as_ref().is_some_and(|words| words.contain(name))
        };
        let (before, after) = (&self.text[..span.start], &self.text[span.end..]);
        let letter = |b: &&u8| b.is_ascii_alphabetic();
        let left = before.iter().rev().take(LONGEST_NAME).take_while(letter).count();
        let right = after.iter().take(LONGEST_NAME).take_while(letter).count();
        let free = |neighbour: Option<&u8>| !neighbour.is_some_and(u8::is_ascii_digit);
        let left_is_free = if left > 0 { is_name(&before[before.len() - left..]) } else { free(before.last()) };
        let right_is_free = if right > 0 { is_name(&after[..right]) } else { free(after.first()) };
        left_is_free && right_is_free
    }

    fn address(&mut self, token: &Token) -> Result<(), Error> {
        let engine = self.engine;
        for &(index, kind) in engine.addresses() {
            let walk = match kind {
                Address::Ipv4 => extent::ipv4(self.text, token),
                Address::Ipv6 => extent::ipv6(self.text, token, &mut self.done.ipv6),
            };
            let rule = engine.rule(index);
            if let Some(span) = self.walked(walk)?.filter(|span| self.edge_is_free(rule, span.start)) {
                self.propose(index, rule, span)?;
            }
        }
        Ok(())
    }

    /// Reads a telephone number from its first digit; `second` is the second byte behind its first group.
    fn phone(&mut self, first: usize, second: Option<&u8>) -> Result<(), Error> {
        // `20 (7946)` and `415) 555` go on; `2021 we` does not.
        if second.is_some_and(u8::is_ascii_alphabetic) {
            return Ok(());
        }
        // The middle of a number was read from its start.
        if matches!(self.text[..first], [.., b'0'..=b'9', b'-' | b'.' | b'/']) {
            return Ok(());
        }
        self.spend(16)?;
        let Some(written) = Written::read(self.text, first) else { return Ok(()) };
        let start = written.start;
        let engine = self.engine;
        for &(index, plan) in engine.phones() {
            let Some(end) = written.may_be(plan).then(|| written.end(plan)).flatten() else { continue };
            if !self.number_goes_on(start, end) {
                self.propose(index, engine.rule(index), start..end)?;
            }
        }
        Ok(())
    }

    /// The checks that every candidate passes: right edge, validator, words.
    fn propose(&mut self, index: u32, rule: &Rule, span: Range<usize>) -> Result<(), Error> {
        let goes_on = self.text.get(span.end).is_some_and(|&b| rule.right.holds(b));
        if span.is_empty() || (goes_on && !self.is_glued(rule, &span)) {
            return Ok(());
        }
        self.spend(span.len())?;
        let verdict = rule.verdict(&self.text[span.clone()]);
        if verdict == Verdict::Reject {
            return Ok(());
        }
        let near = self.words_are_near(rule, &span)?;
        let enough = match rule.need {
            Need::Nothing => true,
            Need::Words => near,
            Need::Lone => near || span == self.lone,
        };
        if !enough {
            return Ok(());
        }
        if self.candidates.len() >= self.limit.candidates {
            return Err(Error::TooManyMatches { limit: self.limit.candidates, bytes: self.text.len() });
        }
        let confirmed = verdict == Verdict::Confirmed;
        let mut score = rule.confidence;
        score += if near { WORDS_BONUS } else { 0.0 };
        score += if confirmed { CONFIRMED_BONUS } else { 0.0 };
        let tier = match &rule.source {
            _ if rule.generic => Tier::Generic,
            _ if confirmed => Tier::Confirmed,
            Source::Pattern { .. } => Tier::Prefixed,
            _ => Tier::Shaped,
        };
        let severity = rule.meta.severity;
        self.candidates.push(Candidate { span, rule: index, tier, severity, score: score.min(1.0) });
        Ok(())
    }

    fn words_are_near(&mut self, rule: &Rule, span: &Range<usize>) -> Result<bool, Error> {
        let Some(words) = &rule.words else { return Ok(false) };
        let tokens = self.tokens.get_or_init(|| token::find(self.text));
        let (near, work) = self.context.has_any(self.text, tokens, span, words);
        self.spend(work)?;
        Ok(near)
    }

    /// Whether the byte before `end` is part of a token: its label (`[PASSWORD_k7q2m9xm]`) introduces no value.
    fn in_token(&self, end: usize) -> bool {
        let tokens = self.tokens.get_or_init(|| token::find(self.text));
        let next = tokens.partition_point(|token| token.end < end);
        tokens.get(next).is_some_and(|token| token.start < end)
    }

    /// The name that ends at `end`, but for quotes and the like, and what is between it and its value at `value`.
    fn name(&self, end: usize, value: usize) -> &'v [u8] {
        let joins = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
        let before = self.text[..end].iter().rev().take(NAME_BEFORE);
        let behind = before.clone().take_while(|b| !b.is_ascii_alphanumeric()).count();
        let name = before.skip(behind).take_while(joins).count();
        &self.text[end - behind - name..value]
    }

    /// Whether a value may start at `start`. `\n` and `\t` written as two characters do not glue it to what is before.
    fn edge_is_free(&self, rule: &Rule, start: usize) -> bool {
        let Some(previous) = start.checked_sub(1).map(|i| self.text[i]) else { return true };
        let escape = matches!(previous, b'n' | b't' | b'r') && start > 1 && self.text[start - 2] == b'\\';
        escape || !rule.left.holds(previous)
    }

    /// Whether digits before or after make `start..end` part of a longer number, of a fraction or of a UUID.
    fn number_goes_on(&self, start: usize, end: usize) -> bool {
        let joins = |i: Option<usize>| i.and_then(|i| self.text.get(i)).is_some_and(|b| matches!(b, b'.' | b'-'));
        let digit = |i: Option<usize>| i.and_then(|i| self.text.get(i)).is_some_and(u8::is_ascii_digit);
        (joins(start.checked_sub(1)) && digit(start.checked_sub(2))) || (joins(Some(end)) && digit(Some(end + 1)))
    }
}
