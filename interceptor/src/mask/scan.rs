//! Scanning one text: candidates from Hyperscan and from the digit gate, each verified in a bounded window.

use std::ops::Range;
use std::sync::Arc;

use super::Error;
use super::classes::Classes;
use super::context::Context;
use super::encoded::{self, Unveiled};
use super::engine::Engine;
use super::explain::{Checks, Fate, Proposal, Trace};
use super::hyperscan::Workspace;
use super::lone::Lone;
use super::resolve::{Candidate, resolve};
use super::run;
use super::stream::{Ahead, Growth};
use super::verify::View;
use crate::flow::{Field, Finding, Located};

/// Candidates that any text may have, and one more for so many bytes.
const CANDIDATES: usize = 4096;
const BYTES_PER_CANDIDATE: usize = 4;
/// Bytes that verifying may look at in any text, and so many more for each byte of it: about what a list of nothing but
/// secrets of the longest kinds takes, and 0.2 to 0.5 seconds a megabyte. Lists of cards or addresses take a tenth.
const WORK: usize = 4 << 20;
const WORK_PER_BYTE: usize = 256;
/// Hits and candidates for which an idle scanner keeps memory.
const SPARE: usize = 4096;
/// Between the name of a field and its text when they are scanned together, as in JSON.
pub(super) const INTRODUCES: &str = "\": \"";

/// Finds sensitive values. One for each thread: it owns Hyperscan's scratch memory and its own buffers.
#[derive(Debug)]
pub struct Scanner {
    engine: Arc<Engine>,
    workspace: Workspace,
    /// That of the patterns for what is around long runs.
    of_runs: Option<Workspace>,
    /// That of all patterns, once somebody measures them.
    of_whole: Option<Workspace>,
    /// (pattern, end) of what Hyperscan reported.
    hits: Vec<(u32, u32)>,
    candidates: Vec<Candidate>,
    /// Of the last text.
    classes: Classes,
    context: Context,
    work: usize,
    /// Bytes that the last round of decoding left encoded.
    undecoded: usize,
    /// What was found in decoded forms, while somebody wants to know.
    unveiled: Vec<Unveiled>,
    /// For texts that are to be continued.
    ahead: Ahead,
    /// What is tried, while somebody wants to know.
    trace: Option<Trace>,
}

/// What is known of a stream: its end, and some of what was before.
#[derive(Debug)]
pub(super) struct Part<'t> {
    pub(super) text: &'t str,
    /// What begins before was reported.
    pub(super) settled: usize,
    /// The value that nothing but blanks and the like is around, if there may be one.
    pub(super) lone: Lone,
    /// Nothing follows.
    pub(super) is_last: bool,
    pub(super) limit: Limit,
}

/// What became of a part.
#[derive(Debug)]
pub(super) struct Settled {
    /// What begins before is reported.
    pub(super) until: usize,
    /// Text from here on will be read again.
    pub(super) keep: usize,
}

impl Scanner {
    pub(super) fn new(engine: Arc<Engine>) -> Result<Self, Error> {
        let workspace = engine.anywhere().workspace()?;
        let of_runs = engine.runs().map(|(database, _)| database.workspace()).transpose()?;
        Ok(Self {
            engine,
            workspace,
            of_runs,
            of_whole: None,
            hits: Vec::new(),
            candidates: Vec::new(),
            classes: Classes::default(),
            context: Context::default(),
            work: 0,
            undecoded: 0,
            unveiled: Vec::new(),
            ahead: Ahead::default(),
            trace: None,
        })
    }

    /// Appends the findings in `text` to `out`: sorted, without overlaps, on character boundaries. Tokens that masking
    /// left in the text are not findings. What is encoded in the text is scanned too, and found as the raw bytes of
    /// the text; see [`Scanner::undecoded`].
    ///
    /// # Errors
    /// When the text would cost more than its length allows, or Hyperscan fails. `out` is then unchanged.
    pub fn scan(&mut self, text: &str, out: &mut Vec<Finding>) -> Result<(), Error> {
        self.scan_value(text, 0..text.len(), out)
    }

    /// As [`scan`](Self::scan), and why: all that rules proposed, in the order of the text, with what became of it.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn explain(&mut self, text: &str, out: &mut Vec<Finding>) -> Result<Vec<Proposal>, Error> {
        let before = out.len();
        self.trace = Some(Trace::default());
        self.unveiled.clear();
        let scanned = self.scan(text, out);
        let trace = self.trace.take().unwrap_or_default();
        scanned?;
        let found = &out[before..];
        let mut proposals = trace.finish(&self.engine, &self.candidates, found);
        for Unveiled { finding: Finding { span, rule, .. }, how } in self.unveiled.drain(..) {
            let is_plain = |p: &Proposal| p.span == span && p.rule.id == rule.id && p.fate == Fate::Reported;
            let covers = |f: &Finding| f.span.start <= span.start && span.end <= f.span.end && f.rule.id == rule.id;
            if found.iter().any(covers) && !proposals.iter().any(is_plain) {
                let checks = Checks { decoded: Some(how.as_str()), ..Checks::default() };
                proposals.push(Proposal { span, rule, checks, fate: Fate::Reported });
            }
        }
        proposals.sort_by_key(|proposal| proposal.span.start);
        Ok(proposals)
    }

    /// As [`Scanner::scan`], of what is plain alone: what a [`Stream`](super::Stream) finds.
    ///
    /// # Errors
    /// As [`Scanner::scan`].
    pub(super) fn scan_plain(&mut self, text: &str, out: &mut Vec<Finding>) -> Result<(), Error> {
        self.scan_as(text, 0..text.len(), None, Limit::of(text.len()), out)
    }

    /// As [`Scanner::scan`], and for each finding what else its bytes may be: a number of nine digits can pass the checks
    /// of several countries. Readings of the same bytes follow each other, the likeliest first.
    ///
    /// # Errors
    /// As [`Scanner::scan`].
    pub fn readings(&mut self, text: &str, out: &mut Vec<Finding>) -> Result<(), Error> {
        let first = out.len();
        self.scan(text, out)?;
        let mut all = out.split_off(first);
        all.extend(self.candidates.drain(..).map(|other| {
            let rule = Arc::clone(&self.engine.rule(other.rule).meta);
            Finding { span: other.span, rule, score: other.score }
        }));
        all.sort_by_key(|finding| finding.span.start);
        for finding in all {
            let mut before = out[first..].iter().rev().take_while(|before| before.span == finding.span);
            if !before.any(|before| before.rule.entity == finding.rule.entity) {
                out.push(finding);
            }
        }
        Ok(())
    }

    /// Appends the findings in the part `value` of `text`; the rest introduces it. Spans are of `text`.
    fn scan_value(&mut self, text: &str, value: Range<usize>, out: &mut Vec<Finding>) -> Result<(), Error> {
        let first = out.len();
        // What has a name is told by it: `"order": "130692544"` is no answer to a question.
        let lone = (value.len() < text.len()).then_some(Lone::NOWHERE);
        self.scan_as(text, value.clone(), lone, Limit::of(text.len()), out)?;
        let (candidates, trace) = (std::mem::take(&mut self.candidates), self.trace.take());
        let decoded = self.unveil(text, value);
        (self.candidates, self.trace) = (candidates, trace);
        let decoded = decoded.inspect_err(|_| out.truncate(first))?;
        self.undecoded = decoded.left;
        if self.trace.is_some() {
            self.unveiled.extend(decoded.found.iter().cloned());
        }
        encoded::merge(out, first, decoded.found.into_iter().map(|unveiled| unveiled.finding).collect());
        Ok(())
    }

    /// What the decoded forms of `value` show, within what the whole text may cost.
    fn unveil(&mut self, text: &str, value: Range<usize>) -> Result<encoded::Decoded, Error> {
        let limit = Limit::of(text.len());
        let mut spent = self.work;
        let classes = std::mem::take(&mut self.classes);
        let decoded = encoded::unveil(text, &classes, value, &mut |copy, is_whole| {
            spent += copy.len();
            let left = Limit { work: limit.work.saturating_sub(spent), ..limit };
            let lone = (!is_whole).then_some(Lone::NOWHERE);
            let mut found = Vec::new();
            let scanned = self.scan_as(copy, 0..copy.len(), lone, left, &mut found);
            spent += self.work;
            match scanned {
                Err(Error::TooMuchWork { .. }) => Err(Error::TooMuchWork { limit: limit.work, bytes: text.len() }),
                Err(Error::TooManyMatches { limit, .. }) => Err(Error::TooManyMatches { limit, bytes: text.len() }),
                scanned => scanned.map(|()| found),
            }
        });
        self.classes = classes;
        self.work = spent;
        decoded
    }

    fn scan_as(
        &mut self,
        text: &str,
        value: Range<usize>,
        lone: Option<Lone>,
        limit: Limit,
        out: &mut Vec<Finding>,
    ) -> Result<(), Error> {
        self.match_patterns(text.as_bytes(), limit.candidates, false)?;
        let engine = &*self.engine;
        let mut view =
            View::new(engine, text.as_bytes(), &self.classes, lone, limit, &mut self.context, &mut self.candidates);
        view.trace(self.trace.as_mut());
        let verified = view.verify(&self.hits, text);
        self.work = view.work();
        verified?;
        if value.len() < text.len() {
            view.keep_within(&value);
        }
        if !view.is_empty() {
            let tokens = view.into_tokens();
            let kept = self.trace.as_ref().map(|_| self.candidates.clone());
            report(engine, &mut self.candidates, &tokens, text, out);
            self.candidates.extend(kept.into_iter().flatten());
        }
        Ok(())
    }

    /// Appends those findings in a part of a stream that no text behind it can change.
    pub(super) fn scan_part(&mut self, part: &Part<'_>, out: &mut Vec<Finding>) -> Result<Settled, Error> {
        let text = part.text;
        self.match_patterns(text.as_bytes(), Limit::of(text.len()).candidates, true)?;
        let engine = Arc::clone(&self.engine);
        let growth = engine.growth()?;
        self.ahead.begin(text.as_bytes());
        let lone = Some(part.lone.clone());
        let mut view = View::new(
            &engine,
            text.as_bytes(),
            &self.classes,
            lone,
            part.limit,
            &mut self.context,
            &mut self.candidates,
        );
        view.continues(part.settled);
        if !part.is_last {
            view.awaits_more(growth, &mut self.ahead);
        }
        let verified = view.verify(&self.hits, text);
        self.work = view.work();
        verified?;
        let tokens = view.into_tokens();
        self.candidates.retain(|candidate| candidate.span.start >= part.settled);
        let until = if part.is_last { text.len() } else { self.settles_until(growth, text, part.settled) };
        self.candidates.retain(|candidate| candidate.span.start < until);
        report(&engine, &mut self.candidates, &tokens, text, out);
        let keep = until.saturating_sub(growth.lookback(text, until)).min(self.ahead.needed_from(until));
        Ok(Settled { until, keep: text.floor_char_boundary(keep) })
    }

    /// Up to where nothing can change any more, without dividing what overlaps.
    fn settles_until(&mut self, growth: &Growth, text: &str, from: usize) -> usize {
        let mut until = text.floor_char_boundary(self.ahead.settles_until(growth, text, from));
        self.candidates.sort_by_key(|candidate| candidate.span.start);
        for candidate in self.candidates.iter().rev() {
            if candidate.span.start < until && until < candidate.span.end {
                until = text.floor_char_boundary(candidate.span.start);
            }
        }
        until
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
        let mut undecoded = 0;
        for (field, at) in fields.iter().zip(0..) {
            match &field.name {
                None => self.scan(&field.text, &mut found)?,
                Some(name) => {
                    named.clear();
                    named.extend([name, INTRODUCES, &field.text, "\""]);
                    let start = named.len() - 1 - field.text.len();
                    self.scan_value(&named, start..named.len() - 1, &mut found)?;
                    for finding in &mut found {
                        finding.span = finding.span.start - start..finding.span.end - start;
                    }
                }
            }
            undecoded += self.undecoded;
            located.extend(found.drain(..).map(|finding| Located { field: at, finding }));
        }
        self.undecoded = undecoded;
        Ok(located)
    }

    /// Gives back the memory that a long text took.
    pub fn shrink(&mut self) {
        self.hits.clear();
        self.hits.shrink_to(SPARE);
        self.candidates.clear();
        self.candidates.shrink_to(SPARE);
        self.classes = Classes::default();
        self.context = Context::default();
    }

    /// Bytes that were still encoded after all rounds of decoding in the last scan, of all its fields: what they stand
    /// for was not scanned.
    #[must_use]
    pub fn undecoded(&self) -> usize {
        self.undecoded
    }

    /// Bytes that verifying looked at in the last scan: what the cap on work counts.
    #[must_use]
    pub fn work(&self) -> usize {
        self.work
    }

    /// Runs Hyperscan alone over all patterns and counts the matches: the ceiling that benchmarks measure
    /// [`Scanner::scan`] against.
    ///
    /// # Errors
    /// As [`Scanner::scan`].
    pub fn match_only(&mut self, text: &str) -> Result<usize, Error> {
        let whole = self.engine.whole()?;
        let workspace = match &mut self.of_whole {
            Some(workspace) => workspace,
            none => none.insert(whole.workspace()?),
        };
        let mut matches = 0;
        whole.scan(text.as_bytes(), workspace, |_, _| {
            matches += 1;
            true
        })?;
        Ok(matches)
    }

    /// Begins with a new text: what Hyperscan finds in it, as long as that is no more than `limit`. One that is `cut` is
    /// part of a longer one.
    fn match_patterns(&mut self, text: &[u8], limit: usize, cut: bool) -> Result<(), Error> {
        self.work = 0;
        self.undecoded = 0;
        self.hits.clear();
        self.candidates.clear();
        self.context.reset();
        self.classes.read(text);
        let (engine, hits) = (&self.engine, &mut self.hits);
        let mut over = false;
        let mut hit = |pattern: usize, end: usize| {
            over = hits.len() >= limit;
            // The text is shorter than 4 GiB: the database refuses others.
            hits.push((pattern as u32, end as u32));
            !over
        };
        engine.anywhere().scan(text, &mut self.workspace, &mut hit)?;
        if let (Some((database, first)), Some(workspace)) = (engine.runs(), &mut self.of_runs) {
            let mut scanned = Ok(());
            run::parts(text, &self.classes, cut, |part| {
                let mut goes_on = true;
                scanned = database.scan(&text[part.clone()], workspace, |pattern, end| {
                    goes_on = hit(first + pattern, part.start + end);
                    goes_on
                });
                goes_on && scanned.is_ok()
            });
            scanned?;
        }
        if over { Err(Error::TooManyMatches { limit, bytes: text.len() }) } else { Ok(()) }
    }
}

/// Appends the winners among `candidates` as findings.
fn report(
    engine: &Engine,
    candidates: &mut Vec<Candidate>,
    tokens: &[Range<usize>],
    text: &str,
    out: &mut Vec<Finding>,
) {
    resolve(candidates, tokens, text.as_bytes(), |candidate| {
        let start = text.floor_char_boundary(candidate.span.start);
        let end = text.ceil_char_boundary(candidate.span.end);
        let rule = Arc::clone(&engine.rule(candidate.rule).meta);
        out.push(Finding { span: start..end, rule, score: candidate.score });
    });
}

/// What one text may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) candidates: usize,
    pub(super) work: usize,
}

impl Limit {
    pub(super) fn of(bytes: usize) -> Self {
        Self {
            candidates: CANDIDATES + bytes / BYTES_PER_CANDIDATE,
            work: WORK.saturating_add(bytes.saturating_mul(WORK_PER_BYTE)),
        }
    }
}
