//! Scanning one text: candidates from Hyperscan and from the digit gate, each verified in a bounded window.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use super::context::Context;
use super::engine::Engine;
use super::fold::{Folded, is_wide_gap, may_hide_a_number};
use super::gate::{Token, Tokens};
use super::hyperscan::Workspace;
use super::phone::Written;
use super::resolve::{Candidate, Tier, resolve};
use super::rules::{Address, Edge, Locate, Need, Rule, Source, Special};
use super::validate::Verdict;
use super::{Error, token};
use crate::flow::{Field, Finding, Located, Severity};

/// Candidates that any text may have, and one more for so many bytes.
const CANDIDATES: usize = 4096;
const BYTES_PER_CANDIDATE: usize = 4;
/// Bytes that verifying may look at in any text, and so many more for each byte of it.
const WORK: usize = 4 << 20;
const WORK_PER_BYTE: usize = 32;
/// Digits of the shortest number to which a name may be glued, and of its first group.
const LONG_NUMBER: usize = 15;
const FIRST_GROUP: usize = 4;
/// How far a private key may reach.
const LONGEST_PEM: usize = 16 << 10;
/// What context and a checksum add to a rule's confidence.
const WORDS_BONUS: f32 = 0.2;
const CONFIRMED_BONUS: f32 = 0.1;

/// Finds sensitive values. One for each thread: it owns Hyperscan's scratch memory and its own buffers.
#[derive(Debug)]
pub struct Scanner {
    engine: Arc<Engine>,
    workspace: Workspace,
    /// (rule, end) of what Hyperscan reported.
    hits: Vec<(u32, u32)>,
    candidates: Vec<Candidate>,
    context: Context,
    work: usize,
}

impl Scanner {
    pub(super) fn new(engine: Arc<Engine>) -> Result<Self, Error> {
        let workspace = engine.database().workspace()?;
        Ok(Self { engine, workspace, hits: Vec::new(), candidates: Vec::new(), context: Context::default(), work: 0 })
    }

    /// Appends the findings in `text` to `out`: sorted, without overlaps, on character boundaries. Tokens that masking
    /// left in the text are not findings.
    ///
    /// # Errors
    /// When the text would cost more than its length allows, or Hyperscan fails. `out` is then unchanged.
    pub fn scan(&mut self, text: &str, out: &mut Vec<Finding>) -> Result<(), Error> {
        self.scan_value(text, 0..text.len(), out)
    }

    /// Appends the findings in the part `value` of `text`; the rest introduces it. Spans are of `text`.
    fn scan_value(&mut self, text: &str, value: Range<usize>, out: &mut Vec<Finding>) -> Result<(), Error> {
        self.work = 0;
        self.hits.clear();
        self.candidates.clear();
        self.context.reset();
        self.match_patterns(text.as_bytes())?;
        let engine = Arc::clone(&self.engine);
        let mut view = View {
            text: text.as_bytes(),
            tokens: OnceCell::new(),
            lone: lone(text, &value),
            limit: Limit::of(text.len()),
            context: &mut self.context,
            candidates: &mut self.candidates,
            work: &mut self.work,
        };
        let mut done = Done::default();
        for &(rule, end) in &self.hits {
            view.verify_hit(&engine, rule, end as usize, &mut done)?;
        }
        let mut is_wide = false;
        for token in Tokens::new(text.as_bytes()) {
            view.verify_token(&engine, &token, &mut done)?;
            is_wide = is_wide || is_wide_gap(text.as_bytes(), token.span.end);
        }
        if is_wide || may_hide_a_number(text) {
            view.verify_folded(&engine, text)?;
        }
        if value.len() < text.len() {
            within(view.candidates, &engine, text.as_bytes(), &value);
        }
        if !view.candidates.is_empty() {
            let tokens = view.tokens.into_inner().unwrap_or_else(|| token::find(text.as_bytes()));
            resolve(&mut self.candidates, &tokens, text.as_bytes(), |candidate| {
                let start = text.floor_char_boundary(candidate.span.start);
                let end = text.ceil_char_boundary(candidate.span.end);
                let rule = Arc::clone(&engine.rule(candidate.rule).meta);
                out.push(Finding { span: start..end, rule, score: candidate.score });
            });
        }
        Ok(())
    }

    /// Scans the text of every field, with its name before it: as `name": "text"`, so that rules see what they would
    /// in the document itself.
    ///
    /// # Errors
    /// As [`Scanner::scan`].
    pub fn scan_fields(&mut self, fields: &[Field<'_>]) -> Result<Vec<Located>, Error> {
        let mut found = Vec::new();
        let mut located = Vec::new();
        let mut named = String::new();
        for (field, at) in fields.iter().zip(0..) {
            match &field.name {
                None => self.scan(&field.text, &mut found)?,
                Some(name) => {
                    named.clear();
                    named.extend([name, "\": \"", &field.text, "\""]);
                    let start = named.len() - 1 - field.text.len();
                    self.scan_value(&named, start..named.len() - 1, &mut found)?;
                    for finding in &mut found {
                        finding.span = finding.span.start - start..finding.span.end - start;
                    }
                }
            }
            located.extend(found.drain(..).map(|finding| Located { field: at, finding }));
        }
        Ok(located)
    }

    /// Bytes that verifying looked at in the last scan: what the cap on work counts.
    #[must_use]
    pub fn work(&self) -> usize {
        self.work
    }

    /// Runs Hyperscan alone and counts the matches: the ceiling that benchmarks measure [`Scanner::scan`] against.
    ///
    /// # Errors
    /// As [`Scanner::scan`].
    pub fn match_only(&mut self, text: &str) -> Result<usize, Error> {
        let mut matches = 0;
        self.engine.database().scan(text.as_bytes(), &mut self.workspace, |_, _| {
            matches += 1;
            true
        })?;
        Ok(matches)
    }

    fn match_patterns(&mut self, text: &[u8]) -> Result<(), Error> {
        let limit = Limit::of(text.len()).candidates;
        let (engine, hits) = (&self.engine, &mut self.hits);
        let mut over = false;
        engine.database().scan(text, &mut self.workspace, |pattern, end| {
            over = hits.len() >= limit;
            // The text is shorter than 4 GiB: the database refuses others.
            hits.push((engine.rule_of_pattern(pattern), end as u32));
            !over
        })?;
        if over { Err(Error::TooManyMatches { limit, bytes: text.len() }) } else { Ok(()) }
    }
}

/// What one text may cost.
#[derive(Clone, Copy, Debug)]
struct Limit {
    candidates: usize,
    work: usize,
}

impl Limit {
    fn of(bytes: usize) -> Self {
        Self {
            candidates: CANDIDATES + bytes / BYTES_PER_CANDIDATE,
            work: WORK.saturating_add(bytes.saturating_mul(WORK_PER_BYTE)),
        }
    }
}

/// How far the last value of each special kind reached, so that none is walked twice.
#[derive(Debug, Default)]
struct Done {
    email: usize,
    ipv6: usize,
    pem: usize,
}

/// One text being verified.
struct View<'v> {
    text: &'v [u8],
    /// What masking left in the text; looked for once something needs to know.
    tokens: OnceCell<Vec<Range<usize>>>,
    lone: Range<usize>,
    limit: Limit,
    context: &'v mut Context,
    candidates: &'v mut Vec<Candidate>,
    work: &'v mut usize,
}

impl View<'_> {
    fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        *self.work += bytes;
        if *self.work > self.limit.work {
            return Err(Error::TooMuchWork { limit: self.limit.work, bytes: self.text.len() });
        }
        Ok(())
    }

    /// Finds the value whose match ends at `end`.
    fn verify_hit(&mut self, engine: &Engine, index: u32, end: usize, done: &mut Done) -> Result<(), Error> {
        let rule = engine.rule(index);
        let Source::Pattern { locate, .. } = &rule.source else { return Ok(()) };
        let span = match locate {
            Locate::Fixed { width, verify } => {
                let start = end - width;
                match verify {
                    None => Some(start..end),
                    Some(_) if !self.edge_is_free(rule, start) => None,
                    Some(verify) => {
                        let window = &self.text[start..self.text.len().min(start + rule.reach)];
                        self.spend(window.len())?;
                        verify.find(window).map(|m| start..start + m.end())
                    }
                }
            }
            Locate::Window { back, verify } => {
                let from = end.saturating_sub(*back);
                let window = &self.text[from..self.text.len().min(end + rule.reach)];
                self.spend(window.len())?;
                let reaches = |m: &regex::bytes::Match<'_>| from + m.end() >= end && from + m.start() < end;
                verify.find_iter(window).find(reaches).map(|m| from + m.start()..from + m.end())
            }
            Locate::After(_) if self.in_token(end) => None,
            Locate::After(after) => {
                let window = &self.text[end..self.text.len().min(end + rule.reach)];
                self.spend(window.len())?;
                after.captures(window).and_then(|c| {
                    let value = c.iter().skip(1).flatten().next().or_else(|| c.get(0))?;
                    Some(end + value.start()..end + value.end())
                })
            }
            Locate::Special(Special::Email) => self.email(end, &mut done.email)?,
            Locate::Special(Special::Pem) => self.pem(end, &mut done.pem)?,
        };
        match span {
            Some(span) if matches!(locate, Locate::After(_)) || self.edge_is_free(rule, span.start) => {
                self.propose(index, rule, span)
            }
            _ => Ok(()),
        }
    }

    /// Looks for the numbers that would do most harm in the folded text.
    fn verify_folded(&mut self, engine: &Engine, original: &str) -> Result<(), Error> {
        let folded = Folded::new(original);
        let mut candidates = Vec::new();
        let mut view = View {
            text: folded.text.as_bytes(),
            tokens: OnceCell::new(),
            lone: 0..0,
            limit: self.limit,
            context: &mut Context::default(),
            candidates: &mut candidates,
            work: self.work,
        };
        for token in Tokens::new(view.text) {
            view.pictures(engine, &token, |rule| rule.meta.severity == Severity::High)?;
        }
        for mut candidate in candidates {
            candidate.span = folded.to_original(&candidate.span, original);
            // Numbers one a line are many, a number that a line break divides is one.
            let breaks = memchr::memchr_iter(b'\n', &self.text[candidate.span.clone()]).count();
            if breaks <= 1 {
                self.candidates.push(candidate);
            }
        }
        Ok(())
    }

    /// Compares the shapes around a digit-bearing token with the rules' pictures and number plans.
    fn verify_token(&mut self, engine: &Engine, token: &Token, done: &mut Done) -> Result<(), Error> {
        self.pictures(engine, token, |_| true)?;
        if token.digits {
            self.phone(engine, token)?;
        }
        for &(index, kind) in engine.addresses() {
            let span = match kind {
                Address::Ipv4 => self.ipv4(token)?,
                Address::Ipv6 => self.ipv6(token, &mut done.ipv6)?,
            };
            let rule = engine.rule(index);
            if let Some(span) = span.filter(|span| self.edge_is_free(rule, span.start)) {
                self.propose(index, rule, span)?;
            }
        }
        Ok(())
    }

    /// The pictures that fit at `token`; in a mixed token, those of its digits to which a name may be glued.
    fn pictures(&mut self, engine: &Engine, token: &Token, which: impl Fn(&Rule) -> bool) -> Result<(), Error> {
        self.shapes(engine, token, &which)?;
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
                self.shapes(engine, &run, &|rule| rule.left == Edge::Glued && which(rule))?;
            }
            from += len + 1;
        }
        Ok(())
    }

    fn shapes(&mut self, engine: &Engine, token: &Token, which: &dyn Fn(&Rule) -> bool) -> Result<(), Error> {
        for shape in engine.shapes(token.span.len()) {
            if shape.digits != token.digits {
                continue;
            }
            let Some(start) = token.span.start.checked_sub(shape.offset as usize) else { continue };
            let rule = engine.rule(shape.rule);
            if !which(rule) {
                continue;
            }
            let Source::Pictures { pictures, verify, extend } = &rule.source else { continue };
            let Some(mut end) = pictures[shape.picture as usize].fit(self.text, start) else { continue };
            self.spend(end - start)?;
            if verify.as_ref().is_some_and(|v| v.find(&self.text[start..end]).is_none_or(|m| m.end() != end - start)) {
                continue;
            }
            if let Some(extend) = extend {
                let window = &self.text[end..self.text.len().min(end + rule.reach)];
                end += extend.find(window).map_or(0, |m| m.end());
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
        let digits = self.text[span.clone()].iter().filter(|b| b.is_ascii_digit()).count();
        if !matches!(rule.left, Edge::Glued) || !(LONG_NUMBER..=LONG_NUMBER + 1).contains(&digits) {
            return false;
        }
        let is_name = |name: &[u8]| {
            let says_more_than_hex = name.iter().any(|b| !b.is_ascii_hexdigit()) && !name.eq_ignore_ascii_case(b"x");
            says_more_than_hex || rule.words.iter().any(|word| name.eq_ignore_ascii_case(word.text().as_bytes()))
        };
        let (before, after) = (&self.text[..span.start], &self.text[span.end..]);
        let letters = |b: &&u8| b.is_ascii_alphabetic();
        let left = before.iter().rev().take(LONGEST_NAME).take_while(letters).count();
        let right = after.iter().take(LONGEST_NAME).take_while(letters).count();
        (if left > 0 {
            is_name(&before[before.len() - left..])
        } else {
            !before.last().is_some_and(u8::is_ascii_digit)
        }) && (if right > 0 { is_name(&after[..right]) } else { !after.first().is_some_and(u8::is_ascii_digit) })
    }

    /// The dotted quad that begins with `token`.
    fn ipv4(&mut self, token: &Token) -> Result<Option<Range<usize>>, Error> {
        const LONGEST: usize = 15;
        let start = token.span.start;
        let before = start.checked_sub(1).map(|i| self.text[i]);
        let dotted = token.digits && token.span.len() <= 3 && self.text.get(token.span.end) == Some(&b'.');
        if !dotted || before.is_some_and(|b| matches!(b, b'.' | b'-')) {
            return Ok(None);
        }
        let until = self.text.len().min(start + LONGEST + 1);
        let mut end = start + self.text[start..until].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        self.spend(end - start)?;
        if self.text[end - 1] == b'.' {
            end -= 1;
        }
        let introduced = self.text[start.saturating_sub(9)..start].to_ascii_lowercase();
        if end - start < 7 || memchr::memmem::find(&introduced, b"version").is_some() {
            return Ok(None);
        }
        Ok(Some(start..self.with_prefix_length(end, 32)))
    }

    /// Where an address that ends at `end` ends with its `/24`.
    fn with_prefix_length(&self, end: usize, most: u32) -> usize {
        let Some(rest) = self.text[end..].strip_prefix(b"/") else { return end };
        let digits = rest.iter().take(4).take_while(|b| b.is_ascii_digit()).count();
        let length = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse::<u32>().ok());
        let ends = !rest.get(digits).is_some_and(u8::is_ascii_alphanumeric);
        if ends && digits <= 3 && length.is_some_and(|length| length <= most) { end + 1 + digits } else { end }
    }

    fn phone(&mut self, engine: &Engine, token: &Token) -> Result<(), Error> {
        let start = token.span.start;
        // Most numbers in a text are years and counts: a telephone number is longer, or goes on, or has a plus.
        let before = start.checked_sub(1).map(|i| self.text[i]);
        let goes_on = matches!(self.text.get(token.span.end), Some(b' ' | b'-' | b'.' | b'/' | b')' | b'('));
        if token.span.len() < 7 && !goes_on {
            return Ok(());
        }
        // The middle of a number was read from its start.
        if before.is_some_and(|b| matches!(b, b'-' | b'.' | b'/')) && start > 1 && self.text[start - 2].is_ascii_digit()
        {
            return Ok(());
        }
        self.spend(16)?;
        let Some(written) = Written::read(self.text, start) else { return Ok(()) };
        let start = written.span.start;
        for &(index, plan) in engine.phones() {
            if !written.may_be(plan) {
                continue;
            }
            let Some(end) = written.clone().end(plan) else { continue };
            if !self.number_goes_on(start, end) {
                self.propose(index, engine.rule(index), start..end)?;
            }
        }
        Ok(())
    }

    /// The checks that every candidate passes: edges, validator, words.
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
        let mut near = false;
        if !rule.words.is_empty() {
            let tokens = self.tokens.get_or_init(|| token::find(self.text));
            let (found, work) = self.context.has_any(self.text, tokens, &span, &rule.words);
            self.spend(work)?;
            near = found;
        }
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
        self.candidates.push(Candidate { span, rule: index, tier, score: score.min(1.0) });
        Ok(())
    }

    /// Whether the byte before `end` is part of a token: its label (`[PASSWORD_k7q2m9xm]`) introduces no value.
    fn in_token(&self, end: usize) -> bool {
        let tokens = self.tokens.get_or_init(|| token::find(self.text));
        let next = tokens.partition_point(|token| token.end < end);
        tokens.get(next).is_some_and(|token| token.start < end)
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

    /// Walks from the last `@` before `end` to both sides.
    fn email(&mut self, end: usize, done: &mut usize) -> Result<Option<Range<usize>>, Error> {
        const LONGEST_LOCAL: usize = 64;
        const LONGEST_DOMAIN: usize = 253;
        let local = |b: u8| b.is_ascii_alphanumeric() || b"._%+-'!#$&*/=?^`{|}~".contains(&b) && b"._%+-".contains(&b);
        let domain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
        if end <= *done {
            return Ok(None);
        }
        let floor = (*done).max(end.saturating_sub(LONGEST_DOMAIN));
        let Some(at) = memchr::memrchr(b'@', &self.text[floor..end]).map(|i| floor + i) else { return Ok(None) };
        let from = (*done).max(at.saturating_sub(LONGEST_LOCAL));
        let before = self.text[from..at].iter().rev().take_while(|&&b| local(b)).count();
        let until = self.text.len().min(at + 1 + LONGEST_DOMAIN);
        let after = self.text[at + 1..until].iter().take_while(|&&b| domain(b)).count();
        self.spend(end - at + before + after)?;
        let mut span = at - before..at + 1 + after;
        *done = span.end;
        // A full stop ends the sentence; a dot or hyphen before the name belongs to what is before.
        while matches!(self.text[span.end - 1], b'.' | b'-') {
            span.end -= 1;
        }
        while matches!(self.text[span.start], b'.' | b'-' | b'+' | b'%') {
            span.start += 1;
        }
        Ok((span.start < at && span.end > at + 1).then_some(span))
    }

    /// Widens to all hexadecimal digits, colons and dots around `token`.
    fn ipv6(&mut self, token: &Token, done: &mut usize) -> Result<Option<Range<usize>>, Error> {
        const LONGEST: usize = 45;
        let part = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
        let (start, end) = (token.span.start, token.span.end);
        let colon = |i: Option<usize>| i.and_then(|i| self.text.get(i)) == Some(&b':');
        if token.span.len() > 4 || end <= *done || !(colon(start.checked_sub(1)) || colon(Some(end))) {
            return Ok(None);
        }
        let before = self.text[start.saturating_sub(LONGEST)..start].iter().rev().take_while(|b| part(b)).count();
        let until = self.text.len().min(start + LONGEST);
        let after = self.text[start..until].iter().take_while(|b| part(b)).count();
        self.spend(before + after)?;
        let mut span = start - before..start + after;
        *done = span.end;
        while span.end > span.start && self.text[span.end - 1] == b'.' {
            span.end -= 1;
        }
        let colons = self.text[span.clone()].iter().filter(|b| **b == b':').count();
        if span.len() > LONGEST || colons < 2 {
            return Ok(None);
        }
        // A sentence's colon after the address.
        let text = &self.text[span.clone()];
        if text.ends_with(b":") && !text.ends_with(b"::") {
            span.end -= 1;
        }
        span.end = self.with_prefix_length(span.end, 128);
        Ok(Some(span))
    }

    /// From the BEGIN line before `end` to the END line; without one, as far as it looks like a key.
    fn pem(&mut self, end: usize, done: &mut usize) -> Result<Option<Range<usize>>, Error> {
        const LONGEST_LABEL: usize = 80;
        if end <= *done {
            return Ok(None);
        }
        let floor = end.saturating_sub(LONGEST_LABEL);
        let Some(start) = memchr::memmem::rfind(&self.text[floor..end], b"-----BEGIN").map(|i| floor + i) else {
            return Ok(None);
        };
        let body = &self.text[end..self.text.len().min(end + LONGEST_PEM)];
        let dashes = memchr::memmem::find(body, b"-----");
        let closes = dashes.filter(|&i| body[i..].starts_with(b"-----END"));
        let length = match closes {
            Some(i) => {
                let line = &body[i + 8..body.len().min(i + 8 + LONGEST_LABEL)];
                i + 8 + memchr::memmem::find(line, b"-----").map_or(0, |i| i + 5)
            }
            None => body[..dashes.unwrap_or(body.len())].iter().take_while(|&&b| in_pem(b)).count(),
        };
        self.spend(end - start + length)?;
        *done = end + length;
        // A mention of the BEGIN line alone is no key.
        let letters = body[..length].iter().filter(|b| b.is_ascii_alphanumeric()).take(64).count();
        Ok((letters >= 40).then_some(start..end + length))
    }
}

/// Base64, its line breaks (also written as `\n`), quotes and concatenation of source code, and PEM headers.
fn in_pem(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=\r\n\\ \t\"',:-".contains(&byte)
}

/// Cuts the candidates to `value`; the name before it is scanned as a text of its own. A secret that the name
/// introduces (`password": "`) is all of a value without blanks, whatever quotes and commas are in it.
fn within(candidates: &mut Vec<Candidate>, engine: &Engine, text: &[u8], value: &Range<usize>) {
    let is_one_word = !text[value.clone()].iter().any(u8::is_ascii_whitespace);
    candidates.retain_mut(|candidate| {
        let span = &mut candidate.span;
        let introduced = matches!(engine.rule(candidate.rule).source, Source::Pattern { locate: Locate::After(_), .. });
        if introduced && is_one_word && span.start == value.start {
            span.end = value.end;
        }
        *span = span.start.max(value.start)..span.end.min(value.end);
        span.start < span.end
    });
}

/// What is left of a text's part `value` without blanks, quotes and a full stop around it.
fn lone(text: &str, value: &Range<usize>) -> Range<usize> {
    let dull = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '.');
    let start = value.end - text[value.clone()].trim_start_matches(dull).len();
    let end = value.start + text[value.clone()].trim_end_matches(dull).len();
    start..end.max(start)
}
