//! The scan once more, with nothing that makes it fast: the fuzz entry compares a scan with it.
//!
//! Bytes are looked at one by one, every picture is tried at every byte, every token of digits as a telephone number, and
//! Hyperscan looks for all patterns in all of the text. Shared are the checks that a candidate passes by itself (edges,
//! allow-lists, validators, whether a number is in another dress), and what becomes of candidates that overlap.

mod fuzz;
mod locate;
mod made;
mod numbers;
#[cfg(test)]
mod tests;
mod words;

use std::ops::Range;
use std::sync::Arc;

pub use self::fuzz::fuzz_scan_reference;
use super::{View, WORDS_BONUS, candidate};
use crate::flow::{Finding, Severity};
use crate::mask::classes::Classes;
use crate::mask::context::Context;
use crate::mask::engine::{Engine, Pattern};
use crate::mask::fold::{Folded, is_dressed};
use crate::mask::hyperscan::Workspace;
use crate::mask::lone::Lone;
use crate::mask::resolve::{Candidate, resolve};
use crate::mask::rules::{Need, Rule};
use crate::mask::scan::Limit;
use crate::mask::{Error, token};

/// What one text may cost is no matter here.
const UNLIMITED: Limit = Limit { candidates: usize::MAX, work: usize::MAX };

/// Finds what a [`Scanner`](crate::mask::Scanner) finds.
struct Reference {
    engine: Arc<Engine>,
    workspace: Workspace,
    /// What each expression of the database of all stands for.
    patterns: Vec<Pattern>,
}

/// A text, and what was found in it so far.
struct Look<'v> {
    view: View<'v>,
    /// What masking left in the text.
    tokens: Vec<Range<usize>>,
    found: Vec<Candidate>,
}

impl Reference {
    fn new(engine: Arc<Engine>) -> Result<Self, Error> {
        let workspace = engine.whole()?.workspace()?;
        let mut patterns: Vec<Pattern> = (0u32..).zip(engine.expressions()).map(|(at, _)| engine.pattern(at)).collect();
        // There they stand in the order of the rules.
        patterns.sort_by_key(|pattern| pattern.rule);
        Ok(Self { engine, workspace, patterns })
    }

    /// The findings in `text`, of what is plain alone.
    fn scan(&mut self, text: &str) -> Result<Vec<Finding>, Error> {
        let (classes, mut context, mut unused) = (Classes::of(text.as_bytes()), Context::default(), Vec::new());
        let view = View::new(&self.engine, text.as_bytes(), &classes, None, UNLIMITED, &mut context, &mut unused);
        let mut look = Look { view, tokens: token::find(text.as_bytes()), found: Vec::new() };
        let mut hits = Vec::new();
        self.engine.whole()?.scan(text.as_bytes(), &mut self.workspace, |pattern, end| {
            hits.push((pattern, end));
            true
        })?;
        for (pattern, end) in hits {
            look.hit(self.patterns[pattern], end)?;
        }
        look.numbers()?;
        look.dressed(text)?;
        let Look { tokens, mut found, .. } = look;
        let mut findings = Vec::new();
        resolve(&mut found, &tokens, text.as_bytes(), |winner| {
            let span = text.floor_char_boundary(winner.span.start)..text.ceil_char_boundary(winner.span.end);
            let rule = Arc::clone(&self.engine.rule(winner.rule).meta);
            findings.push(Finding { span, rule, score: winner.score });
        });
        Ok(findings)
    }
}

impl Look<'_> {
    /// The numbers that would do most harm, as the text shows them when all of it is folded.
    fn dressed(&mut self, text: &str) -> Result<(), Error> {
        let folded = Folded::new(text);
        let (classes, mut context, mut unused) = (Classes::of(folded.text.as_bytes()), Context::default(), Vec::new());
        let engine = self.view.engine;
        let copy = folded.text.as_bytes();
        let mut view = View::new(engine, copy, &classes, Some(Lone::NOWHERE), UNLIMITED, &mut context, &mut unused);
        view.copy = true;
        let mut look = Look { view, tokens: Vec::new(), found: Vec::new() };
        for start in 0..copy.len() {
            look.pictures(start, |rule| rule.meta.severity == Severity::High)?;
        }
        for candidate in look.found {
            let span = folded.to_original(&candidate.span, text);
            let number = &text[span.clone()];
            let breaks = number.bytes().filter(|b| *b == b'\n').count();
            if breaks <= 1 && is_dressed(number) {
                self.weigh(self.view.engine.rule(candidate.rule), Candidate { span, ..candidate });
            }
        }
        Ok(())
    }

    fn propose(&mut self, index: u32, span: Range<usize>) -> Result<(), Error> {
        let rule = self.view.engine.rule(index);
        if !span.is_empty()
            && let Ok(verdict) = self.view.judge(rule, &span)?
        {
            self.weigh(rule, candidate(rule, index, span, verdict));
        }
        Ok(())
    }

    fn weigh(&mut self, rule: &Rule, mut candidate: Candidate) {
        if !self.view.copy {
            let words = rule.words.as_ref();
            let near = words.is_some_and(|words| words::are_near(self.view.text, &self.tokens, &candidate.span, words));
            let enough = match rule.need {
                Need::Nothing => near || !self.view.is_one_of_many(rule, &candidate.span),
                Need::Words => near,
                Need::Lone => near || self.view.lone().holds(&candidate.span),
            };
            if !enough {
                return;
            }
            candidate.score = (candidate.score + if near { WORDS_BONUS } else { 0.0 }).min(1.0);
        }
        self.found.push(candidate);
    }
}
