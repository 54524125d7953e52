//! From the end of a match to the value.

use std::ops::Range;

use super::Look;
use crate::mask::engine::Pattern;
use crate::mask::extent::{self, Uris};
use crate::mask::rules::dictionary::Dictionary;
use crate::mask::rules::{Locate, Rule, Source, Special};
use crate::mask::{Error, run};

impl Look<'_> {
    /// Finds the value of which a match ends at `end`.
    pub(super) fn hit(&mut self, pattern: Pattern, end: usize) -> Result<(), Error> {
        let rule = self.view.engine.rule(pattern.rule);
        let span = match &rule.source {
            Source::Pattern { locate: Locate::Special(Special::Uri), .. } if self.is_found(pattern.rule, end) => None,
            Source::Pattern { locate, .. } => self.locate(rule, locate, end),
            Source::Dictionary(_) => Some(end - pattern.width as usize..end)
                .filter(|literal| Dictionary::stands_alone(self.view.text, literal)),
            _ => None,
        };
        match span {
            Some(span) if pattern.has_run && !run::is_in(&self.view.text[span.clone()]) => Ok(()),
            Some(span) => self.propose(pattern.rule, span),
            None => Ok(()),
        }
    }

    /// Whether a value of `rule` holds what ends at `end`.
    fn is_found(&self, rule: u32, end: usize) -> bool {
        self.found.iter().any(|found| found.rule == rule && found.span.start < end && end <= found.span.end)
    }

    fn locate(&self, rule: &Rule, locate: &Locate, end: usize) -> Option<Range<usize>> {
        let text = self.view.text;
        let reached = |from: usize| text.len().min(from + rule.reach);
        match locate {
            Locate::Fixed { width, verify } => {
                let start = end - width;
                let to = match verify {
                    Some(verify) => start + verify.find(&text[start..reached(start)])?.end(),
                    None => end,
                };
                self.view.edge_is_free(rule, start).then_some(start..to)
            }
            Locate::Window { back, verify, .. } => {
                let from = end.saturating_sub(*back);
                let found = verify.find_iter(&text[from..reached(end)]).map(|m| from + m.start()..from + m.end());
                let span = found.into_iter().find(|span| span.start < end && end <= span.end)?;
                self.view.edge_is_free(rule, span.start).then_some(span)
            }
            Locate::After { after, unless, .. } => {
                let in_token = self.tokens.iter().any(|token| token.start < end && end <= token.end);
                let captures = after.expression().captures(&text[end..reached(end)]).filter(|_| !in_token)?;
                let value = captures.iter().skip(1).flatten().next().or_else(|| captures.get(0))?;
                let span = end + value.start()..end + value.end();
                let is_no_secret = unless.as_ref().is_some_and(|u| u.is_match(self.view.name(end, span.start)));
                let is_beyond_token = self.tokens.iter().any(|token| (end..span.start).contains(&token.start));
                (!is_no_secret && !is_beyond_token).then_some(span)
            }
            Locate::Special(Special::Email) => extent::email(text, end, &mut 0).span,
            Locate::Special(Special::Pem) => extent::pem(text, end, &mut 0).span,
            Locate::Special(Special::Uri) => {
                let span = extent::uri(text, end, &mut Uris::default()).span?;
                self.view.edge_is_free(rule, span.start).then_some(span)
            }
        }
    }
}
