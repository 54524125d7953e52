//! Why a text has the findings it has: what was tried, and what became of it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::engine::Engine;
use super::resolve::{Candidate, Tier, overlap};
use super::validate::Validator;
use crate::flow::{Finding, RuleMeta};

/// A value that some rule proposed.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// The rule.
    pub rule: Arc<RuleMeta>,
    /// The checks it ran through, as far as it came.
    pub checks: Checks,
    /// What became of it.
    pub fate: Fate,
}

/// What was looked at besides the shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// The validator, as rule files name it.
    pub validator: Option<String>,
    /// Whether the validator confirmed the value, rather than only not rejecting it.
    pub confirmed: bool,
    /// The word nearby that counted.
    pub word: Option<String>,
    /// It was seen only once separators, look-alike digits and the like were folded.
    pub folded: bool,
    /// It was seen only once this encoding was decoded; the outermost of several.
    pub decoded: Option<&'static str>,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is a finding, or parts of it are.
    Reported,
    /// What stands behind it makes it part of something longer.
    GoesOn,
    /// It is on an allow-list.
    Allowed,
    /// Its validator rejected it.
    Rejected,
    /// It needs one of the rule's words nearby.
    NoWords,
    /// Masking put a token there.
    InToken,
    /// Other findings name the bytes.
    Suppressed {
        /// The rule that won.
        by: Arc<RuleMeta>,
        /// Its bytes.
        span: Range<usize>,
        /// What decided.
        because: &'static str,
    },
}

/// Proposals as they are tried; the fate of those that passed every check is known once all are.
#[derive(Debug, Default)]
pub(super) struct Trace {
    tried: Vec<Tried>,
}

#[derive(Debug)]
pub(super) struct Tried {
    pub(super) span: Range<usize>,
    pub(super) rule: u32,
    pub(super) checks: Checks,
    /// Why it is no candidate; none: it is one.
    pub(super) failed: Option<Fate>,
}

impl Trace {
    pub(super) fn push(&mut self, tried: Tried) {
        self.tried.push(tried);
    }

    /// What became of everything that was tried: `candidates` are those that passed the checks, `winners` the findings.
    pub(super) fn finish(self, engine: &Engine, candidates: &[Candidate], winners: &[Finding]) -> Vec<Proposal> {
        let fate = |tried: &Tried| {
            let rule = &engine.rule(tried.rule).meta;
            let overlaps = |finding: &&Finding| overlap(&finding.span, &tried.span);
            if winners.iter().filter(overlaps).any(|finding| finding.rule.id == rule.id) {
                return Fate::Reported;
            }
            let Some(winner) = winners.iter().find(overlaps) else { return Fate::InToken };
            let of = |id: &str, span: &Range<usize>| {
                candidates.iter().find(|c| engine.rule(c.rule).meta.id == id && overlap(&c.span, span))
            };
            let because = of(&winner.rule.id, &winner.span).zip(of(&rule.id, &tried.span));
            let because = because.map_or("", |(winner, loser)| decided(winner, loser));
            Fate::Suppressed { by: Arc::clone(&winner.rule), span: winner.span.clone(), because }
        };
        let proposal = |tried: Tried| Proposal {
            fate: tried.failed.clone().unwrap_or_else(|| fate(&tried)),
            span: tried.span,
            rule: Arc::clone(&engine.rule(tried.rule).meta),
            checks: tried.checks,
        };
        let mut proposals: Vec<_> = self.tried.into_iter().map(proposal).collect();
        // What is seen without folding too, and first, needs no second line.
        proposals.sort_by_key(|p| (p.span.start, p.span.end, p.checks.folded));
        let mut seen = HashSet::new();
        proposals.retain(|p| {
            let fails = !matches!(p.fate, Fate::Reported | Fate::Suppressed { .. } | Fate::InToken);
            fails || seen.insert((p.span.clone(), p.rule.id.clone()))
        });
        proposals
    }
}

/// A validator as rule files name it: `CardRare` is `card-rare`.
pub(super) fn name(validator: Validator) -> String {
    let mut name = String::new();
    for c in format!("{validator:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// What made `winner` win over `loser`, in the order in which overlaps are resolved.
fn decided(winner: &Candidate, loser: &Candidate) -> &'static str {
    let contains = winner.span.start <= loser.span.start && loser.span.end <= winner.span.end;
    if contains && winner.span != loser.span && winner.tier >= Tier::Prefixed && winner.severity >= loser.severity {
        return "it contains this one";
    }
    if winner.tier != loser.tier {
        return match winner.tier {
            Tier::Confirmed => "its validator confirmed the value",
            Tier::Prefixed => "it has a specific prefix or delimiter",
            Tier::Shaped => "this rule is generic",
            Tier::Generic => "this rule only reports",
            Tier::Reported => "",
        };
    }
    if winner.severity != loser.severity {
        return "it is the worse leak";
    }
    if winner.span.len() != loser.span.len() {
        return "it is longer";
    }
    "its score is higher"
}
