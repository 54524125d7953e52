//! Verifying candidates: exact span, edges, validator, words around it; and what all of that may cost.

mod numbers;
mod reference;
mod series;

use std::cell::OnceCell;
use std::ops::Range;

pub use self::reference::fuzz_scan_reference;
use super::classes::Classes;
use super::context::{AFTER, Context};
use super::engine::{Engine, Pattern};
use super::explain::{Checks, Fate, Trace, Tried};
use super::extent::{self, Uris, Walk};
use super::fold::{APART, Folded, Stretches, WIDEST_GAP, is_dressed, may_hide_a_number};
use super::lone::Lone;
use super::resolve::{Candidate, Tier};
use super::rules::dictionary::Dictionary;
use super::rules::{Edge, Locate, NAME_BEFORE, Need, Rule, Source, Special};
use super::run;
use super::scan::Limit;
use super::stream::{Ahead, Growth};
use super::validate::Verdict;
use super::{Error, token};
use crate::flow::Severity;

/// Longest name that may be glued to a number.
const LONGEST_NAME: usize = 24;
/// Bytes of a stretch with numbers in another dress for which it pays to look for all words of a text at once.
const MANY_DRESSED: usize = 4096;
/// What context and a checksum add to a rule's confidence.
const WORDS_BONUS: f32 = 0.2;
const CONFIRMED_BONUS: f32 = 0.1;

/// One text being verified.
pub(super) struct View<'v> {
    engine: &'v Engine,
    text: &'v [u8],
    classes: &'v Classes,
    /// The text is a folded copy: what stands around a value is read in the text itself.
    copy: bool,
    /// What masking left in the text; looked for once something needs to know.
    tokens: OnceCell<Vec<Range<usize>>>,
    /// Of all of the text, unless it is known already; looked for once something needs to know.
    lone: OnceCell<Lone>,
    /// What begins before was reported.
    settled: usize,
    /// What depends on text that is still to come; for a text that is whole, nothing does.
    ahead: Option<(&'v Growth, &'v mut Ahead)>,
    limit: Limit,
    context: &'v mut Context,
    candidates: &'v mut Vec<Candidate>,
    work: usize,
    done: Done,
    /// What is tried, while somebody wants to know.
    trace: Option<&'v mut Trace>,
}

/// How far the last value of each special kind reached, so that none is walked twice.
#[derive(Debug, Default)]
struct Done {
    email: usize,
    ipv6: usize,
    pem: usize,
    uris: Uris,
    /// The last value that was judged, and for which rule.
    judged: (u32, Range<usize>),
}

impl<'v> View<'v> {
    pub(super) fn new(
        engine: &'v Engine,
        text: &'v [u8],
        classes: &'v Classes,
        lone: Option<Lone>,
        limit: Limit,
        context: &'v mut Context,
        candidates: &'v mut Vec<Candidate>,
    ) -> Self {
        Self {
            engine,
            text,
            classes,
            copy: false,
            tokens: OnceCell::new(),
            lone: lone.map_or_else(OnceCell::new, OnceCell::from),
            settled: 0,
            ahead: None,
            limit,
            context,
            candidates,
            work: 0,
            done: Done::default(),
            trace: None,
        }
    }

    /// The text goes on one of which all that begins before `settled` was reported.
    pub(super) fn continues(&mut self, settled: usize) {
        self.settled = settled;
    }

    /// More text may follow: notes in `ahead` from where on this one settles nothing.
    pub(super) fn awaits_more(&mut self, growth: &'v Growth, ahead: &'v mut Ahead) {
        self.ahead = Some((growth, ahead));
    }

    /// Tells `trace` of all that is tried from here on.
    pub(super) fn trace(&mut self, trace: Option<&'v mut Trace>) {
        self.trace = trace;
    }

    /// Verifies what Hyperscan found in `text` (`hits`: pattern and end), and what the gate finds in it.
    pub(super) fn verify(&mut self, hits: &[(u32, u32)], text: &str) -> Result<(), Error> {
        for &(pattern, end) in hits {
            self.hit(pattern, end as usize)?;
        }
        let mut stretches = Stretches::default();
        self.numbers(&mut stretches)?;
        self.network_cards()?;
        if may_hide_a_number(text, self.classes) {
            return self.folded(text, 0..text.len());
        }
        for stretch in stretches.finish(text) {
            self.folded(text, stretch)?;
        }
        Ok(())
    }

    /// Looks for the numbers that would do most harm in the folded text of `part`.
    fn folded(&mut self, text: &str, part: Range<usize>) -> Result<(), Error> {
        let original = &text[part.clone()];
        self.spend(original.len())?;
        let folded = Folded::new(original);
        let (mut context, mut candidates) = (Context::default(), Vec::new());
        let copy = folded.text.as_bytes();
        let classes = Classes::of(copy);
        let mut view =
            View::new(self.engine, copy, &classes, Some(Lone::NOWHERE), self.limit, &mut context, &mut candidates);
        view.copy = true;
        view.work = self.work;
        let mut of_copy = Ahead::default();
        let unaided = self.is_unaided_when_dressed(&part)?;
        // A gap that divides numbers ends the last of them.
        let is_last = part.end == text.len() && folded.endings != [APART];
        if let Some((growth, _)) = self.ahead.as_ref().filter(|_| is_last) {
            view.awaits_more(growth, &mut of_copy);
        }
        classes.each_token(|token| {
            let rest = view.behind_break(&token);
            for token in [Some(token), rest].into_iter().flatten() {
                if let Some(start) = self.engine.shapes().at(copy, &token) {
                    let around = classes.around(token.span.start);
                    view.pictures(start, unaided, &around, &token, |rule| rule.meta.severity == Severity::High)?;
                }
            }
            Ok::<_, Error>(())
        })?;
        self.work = view.work;
        if let Some(held) = of_copy.held_from() {
            self.hold(part.start + folded.original(held));
        }
        for candidate in candidates {
            let span = folded.to_original(&candidate.span, original);
            let span = part.start + span.start..part.start + span.end;
            // Numbers one a line are many, a number that a line break divides is one.
            let breaks = memchr::memchr_iter(b'\n', &self.text[span.clone()]).count();
            if breaks <= 1 && is_dressed(&text[span.clone()]) {
                self.weigh(self.engine.rule(candidate.rule), Candidate { span, ..candidate }, true)?;
            }
        }
        Ok(())
    }

    /// As [`is_unaided`](Self::is_unaided), of all that is in the folded copy of `part`.
    fn is_unaided_when_dressed(&mut self, part: &Range<usize>) -> Result<bool, Error> {
        if self.trace.is_some() || self.ahead.is_some() {
            return Ok(false);
        }
        if part.len() >= MANY_DRESSED && part.len() >= self.text.len() / 8 {
            let work = self.context.look(self.text, self.engine.vocabulary());
            self.spend(work)?;
        }
        // Each byte of the copy is a character and a gap of some at most.
        let longest = self.engine.shapes().longest() * (WIDEST_GAP + 1) * 4;
        Ok(self.context.is_far(part) && !self.lone().may_hold_any(longest))
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

    fn lone(&self) -> &Lone {
        self.lone.get_or_init(|| std::str::from_utf8(self.text).map_or(Lone::NOWHERE, Lone::of))
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
    fn hit(&mut self, pattern: u32, end: usize) -> Result<(), Error> {
        let Pattern { rule: index, width, has_run } = self.engine.pattern(pattern);
        let rule = self.engine.rule(index);
        let (latest, dictionary) = match &rule.source {
            Source::Pattern { locate: Locate::After { .. }, .. } => (end + rule.reach, false),
            Source::Pattern { .. } => (end, false),
            Source::Dictionary(_) => (end, true),
            _ => return Ok(()),
        };
        if latest <= self.settled {
            return Ok(());
        }
        if dictionary {
            return self.literal(index, rule, end - width as usize..end);
        }
        let Source::Pattern { locate, .. } = &rule.source else { return Ok(()) };
        let span = match locate {
            Locate::Fixed { width, .. } if !self.edge_is_free(rule, end - width) => None,
            Locate::Fixed { width, verify: None } => Some(end - width..end),
            Locate::Fixed { width, verify: Some(verify) } => {
                let start = end - width;
                self.awaits_rest(index, start..start + 1, start + rule.reach);
                verify.find(self.window(start..start + rule.reach)?).map(|m| start..start + m.end())
            }
            Locate::Window { back, first, begins, verify } => {
                let from = end.saturating_sub(*back);
                self.awaits_rest(index, from..end, end + rule.reach);
                let may_begin = |at: usize| first.may_begin(&self.text[at..]) && self.edge_is_free(rule, at);
                let begins_somewhere = (from..end).any(may_begin);
                self.spend(end - from)?;
                if !begins_somewhere {
                    return Ok(());
                }
                let window = self.window(from..end + rule.reach)?;
                if begins.as_ref().is_some_and(|begins| !begins.is_match(window)) {
                    return Ok(());
                }
                let reaches = |m: &regex::bytes::Match<'_>| from + m.end() >= end && from + m.start() < end;
                let span = verify.find_iter(window).find(reaches).map(|m| from + m.start()..from + m.end());
                span.filter(|span| self.edge_is_free(rule, span.start))
            }
            Locate::After { after, unless } => {
                let window = self.window(end..end + rule.reach)?;
                // Nearly all words such as `token` introduce nothing: find that out without more ado.
                let introduces = after.is_match(window);
                if (introduces || self.ahead.is_some()) && self.in_token(end) {
                    return Ok(());
                }
                self.awaits_rest(index, end..end + 1, end + rule.reach);
                let captures = if introduces { after.expression().captures(window) } else { None };
                let value = captures.and_then(|captures| {
                    let value = captures.iter().skip(1).flatten().next().or_else(|| captures.get(0))?;
                    Some(end + value.start()..end + value.end())
                });
                if let Some((growth, ahead)) = &mut self.ahead {
                    let start = value.as_ref().map_or(end, |value| value.start);
                    ahead.is_introduced(start, end.saturating_sub(growth.widest()));
                }
                let is_no_secret =
                    |span: &Range<usize>| unless.as_ref().is_some_and(|u| u.is_match(self.name(end, span.start)));
                value.filter(|span| !is_no_secret(span) && !self.has_token(end..span.start))
            }
            Locate::Special(Special::Email) => {
                let walk = extent::email(self.text, end, &mut self.done.email);
                self.walked(walk)?
            }
            Locate::Special(Special::Pem) => {
                let walk = extent::pem(self.text, end, &mut self.done.pem);
                walk.cut.into_iter().for_each(|start| self.hold(start));
                self.walked(walk)?
            }
            Locate::Special(Special::Uri) => return self.uri(index, rule, end),
        };
        match span {
            // That is all that was looked for.
            Some(span) if has_run && !run::is_in(&self.text[span.clone()]) => Ok(()),
            Some(span) => self.propose(index, rule, span),
            None => Ok(()),
        }
    }

    /// A URI with a password, at whose `@` a match ends. What one has behind that may hold others, which are part of it.
    fn uri(&mut self, index: u32, rule: &Rule, end: usize) -> Result<(), Error> {
        let (of, last) = &self.done.uris.found;
        if *of == index && last.start < end && end <= last.end {
            return Ok(());
        }
        let walk = extent::uri(self.text, end, &mut self.done.uris);
        walk.cut.into_iter().for_each(|start| self.hold(start));
        let Some(span) = self.walked(walk)?.filter(|span| self.edge_is_free(rule, span.start)) else { return Ok(()) };
        let known = self.candidates.len();
        self.propose(index, rule, span.clone())?;
        if self.candidates.len() > known {
            self.done.uris.found = (index, span);
        }
        Ok(())
    }

    /// A literal of a dictionary.
    fn literal(&mut self, index: u32, rule: &Rule, span: Range<usize>) -> Result<(), Error> {
        // A character has up to four bytes.
        self.awaits(span.start, span.end + 4);
        if Dictionary::stands_alone(self.text, &span) { self.propose(index, rule, span) } else { Ok(()) }
    }

    /// The checks that every candidate passes: right edge, allow-lists, validator, words.
    fn propose(&mut self, index: u32, rule: &Rule, span: Range<usize>) -> Result<(), Error> {
        // Of a run of letters each end may be a match, and all of them one value.
        if span.is_empty() || self.done.judged == (index, span.clone()) {
            return Ok(());
        }
        self.done.judged = (index, span.clone());
        self.awaits_edge(rule, &span);
        let mut tried = Tried { span: span.clone(), rule: index, checks: Checks::default(), failed: None };
        let verdict = match self.judge(rule, &span)? {
            Ok(verdict) => verdict,
            Err(fate) => {
                tried.failed = Some(fate);
                self.tell(rule, tried);
                return Ok(());
            }
        };
        self.weigh(rule, candidate(rule, index, span, verdict), false)
    }

    /// What the value at `span` is by itself; or the first check that it fails, cheapest first.
    fn judge(&mut self, rule: &Rule, span: &Range<usize>) -> Result<Result<Verdict, Fate>, Error> {
        let mut behind = self.text[span.end..].iter();
        let goes_on = behind.next().is_some_and(|&b| {
            // A full stop ends the sentence.
            rule.right.holds(b) && (b != b'.' || behind.next().is_some_and(u8::is_ascii_alphanumeric))
        });
        if goes_on && !self.is_glued(rule, span) {
            return Ok(Err(Fate::GoesOn));
        }
        self.spend(span.len())?;
        let value = &self.text[span.clone()];
        if rule.allow.as_ref().is_some_and(|allow| allow.has(value)) || self.engine.allows(value) {
            return Ok(Err(Fate::Allowed));
        }
        Ok(match rule.verdict(value) {
            Verdict::Reject => Err(Fate::Rejected),
            verdict => Ok(verdict),
        })
    }

    /// Keeps a candidate when there is enough around it to believe it.
    fn weigh(&mut self, rule: &Rule, mut candidate: Candidate, folded: bool) -> Result<(), Error> {
        if !self.copy {
            self.awaits_words(rule, &candidate.span);
            let near = self.words_are_near(rule, candidate.rule, &candidate.span)?;
            let enough = match rule.need {
                Need::Nothing => near || !self.is_one_of_many(rule, &candidate.span),
                Need::Words => near,
                Need::Lone => near || self.lone().holds(&candidate.span),
            };
            if self.trace.is_some() {
                let word = rule.words.as_ref().filter(|_| near).and_then(|words| {
                    let tokens = self.tokens.get_or_init(|| token::find(self.text));
                    self.context.word(self.text, tokens, &candidate.span, words)
                });
                let checks = Checks { confirmed: candidate.tier == Tier::Confirmed, word, folded, ..Checks::default() };
                let failed = (!enough).then_some(Fate::NoWords);
                self.tell(rule, Tried { span: candidate.span.clone(), rule: candidate.rule, checks, failed });
            }
            if !enough {
                return Ok(());
            }
            candidate.score = (candidate.score + if near { WORDS_BONUS } else { 0.0 }).min(1.0);
        }
        if self.candidates.len() >= self.limit.candidates {
            return Err(Error::TooManyMatches { limit: self.limit.candidates, bytes: self.text.len() });
        }
        self.candidates.push(candidate);
        Ok(())
    }

    /// Whether a number with no word near stands among many others.
    fn is_one_of_many(&self, rule: &Rule, span: &Range<usize>) -> bool {
        let is_number = matches!(rule.source, Source::Pictures { .. }) && rule.words.is_some();
        let is_valid = |value: &[u8]| rule.verdict(value) != Verdict::Reject;
        is_number && series::is_one_of_many(self.text, span, is_valid)
    }

    fn tell(&mut self, rule: &Rule, mut tried: Tried) {
        if let Some(trace) = &mut self.trace {
            tried.checks.validator = rule.validator.map(super::explain::name);
            trace.push(tried);
        }
    }

    fn words_are_near(&mut self, rule: &Rule, index: u32, span: &Range<usize>) -> Result<bool, Error> {
        if rule.words.is_none() {
            return Ok(false);
        }
        let tokens = self.tokens.get_or_init(|| token::find(self.text));
        let (near, work) = self.context.has_any(self.text, tokens, span, self.engine.words(index));
        self.spend(work)?;
        Ok(near)
    }

    /// Settles nothing from `start` on.
    fn hold(&mut self, start: usize) {
        if let Some((_, ahead)) = &mut self.ahead {
            ahead.hold(start);
        }
    }

    /// What is found at `start` is known once the text is known up to `until`.
    fn awaits(&mut self, start: usize, until: usize) {
        if until > self.text.len() {
            self.hold(start);
        }
    }

    /// What is found at `span` depends on what stands right behind it.
    fn awaits_edge(&mut self, rule: &Rule, span: &Range<usize>) {
        if self.ahead.is_none() {
            return;
        }
        let letters = self.text[span.end..].iter().take(LONGEST_NAME).take_while(|b| b.is_ascii_alphabetic()).count();
        let name = if rule.left == Edge::Glued { letters } else { 0 };
        self.awaits(span.start, span.end + name.max(1) + 1);
    }

    /// What is found at `span` depends on the words behind it, and those on whether they are in a token.
    fn awaits_words(&mut self, rule: &Rule, span: &Range<usize>) {
        let may_be_alone = rule.need == Need::Lone && self.ahead.is_some() && self.lone().may_hold(span);
        if let Some((_, ahead)) = &mut self.ahead
            && rule.words.is_some()
            && (may_be_alone || span.end + AFTER > self.text.len().min(ahead.token()))
        {
            ahead.hold(span.start);
        }
    }

    /// What is found from one of `starts` on may go on up to `until`.
    fn awaits_rest(&mut self, index: u32, starts: Range<usize>, until: usize) {
        let text = self.text;
        if until > text.len()
            && let Some((growth, ahead)) = &mut self.ahead
        {
            ahead.hold_living(growth, index, text, starts);
        }
    }

    /// Whether the byte before `end` is part of a token: its label (`[PASSWORD_k7q2m9xm]`) introduces no value.
    fn in_token(&self, end: usize) -> bool {
        let tokens = self.tokens.get_or_init(|| token::find(self.text));
        let next = tokens.partition_point(|token| token.end < end);
        tokens.get(next).is_some_and(|token| token.start < end)
    }

    /// Whether a token begins in `span`: a name introduces nothing beyond one, as words beyond it count for nothing.
    fn has_token(&self, span: Range<usize>) -> bool {
        if !self.text[span.clone()].contains(&b'[') {
            return false;
        }
        let tokens = self.tokens.get_or_init(|| token::find(self.text));
        let next = tokens.partition_point(|token| token.start < span.start);
        tokens.get(next).is_some_and(|token| token.start < span.end)
    }

    /// The name that ends at `end`, but for quotes and the like, and what is between it and its value at `value`.
    fn name(&self, end: usize, value: usize) -> &'v [u8] {
        let joins = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
        let before = self.text[..end].iter().rev().take(NAME_BEFORE);
        let behind = before.clone().take_while(|b| !b.is_ascii_alphanumeric()).count();
        let name = before.skip(behind).take_while(joins).count();
        &self.text[end - behind - name..value]
    }

    /// Whether a value may start at `start`. A break written as two characters does not glue it to what is before.
    fn edge_is_free(&self, rule: &Rule, start: usize) -> bool {
        let may_be_name = matches!(rule.source, Source::Pictures { .. }) && self.text[start].is_ascii_lowercase();
        let is_behind_break = !may_be_name && extent::ends_in_break(&self.text[..start]);
        is_behind_break || !start.checked_sub(1).is_some_and(|i| rule.left.holds(self.text[i]))
    }

    /// Whether digits before or after make `start..end` part of a longer number, of a fraction or of a UUID.
    fn number_goes_on(&self, start: usize, end: usize) -> bool {
        let joins = |i: Option<usize>| i.and_then(|i| self.text.get(i)).is_some_and(|b| matches!(b, b'.' | b'-'));
        let digit = |i: Option<usize>| i.and_then(|i| self.text.get(i)).is_some_and(u8::is_ascii_digit);
        (joins(start.checked_sub(1)) && digit(start.checked_sub(2))) || (joins(Some(end)) && digit(Some(end + 1)))
    }
}

/// A value that passed the checks of `rule`, before anything is known of what is around it.
fn candidate(rule: &Rule, index: u32, span: Range<usize>, verdict: Verdict) -> Candidate {
    let confirmed = verdict == Verdict::Confirmed;
    let tier = match &rule.source {
        _ if rule.meta.report_only => Tier::Reported,
        _ if rule.generic => Tier::Generic,
        _ if confirmed => Tier::Confirmed,
        Source::Pattern { .. } | Source::Dictionary(_) => Tier::Prefixed,
        _ => Tier::Shaped,
    };
    let score = rule.confidence + if confirmed { CONFIRMED_BONUS } else { 0.0 };
    Candidate { span, rule: index, tier, severity: rule.meta.severity, score, later: false }
}
