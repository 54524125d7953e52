//! `interceptor scan --explain`: what rules proposed, and what became of it.

use std::fmt;

use serde::Serialize;

use crate::mask::{Fate, Proposal};

/// A proposal as it is printed.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Explained {
    start: usize,
    end: usize,
    #[serde(rename = "type")]
    entity: String,
    rule: String,
    outcome: &'static str,
    /// The rule's validator, and whether it confirmed the value.
    validator: Option<String>,
    confirmed: bool,
    /// The word nearby that counted.
    word: Option<String>,
    /// Seen only once look-alike digits and separators were folded.
    folded: bool,
    /// Seen only once its bytes were decoded: percent, entity, escape, hex, base64.
    decoded: Option<&'static str>,
    /// The winner, where there is one, and what decided.
    by: Option<Winner>,
    because: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Winner {
    rule: String,
    start: usize,
    end: usize,
}

pub(super) fn explained(proposal: &Proposal) -> Explained {
    let Proposal { span, rule, checks, fate } = proposal;
    let (by, because) = match fate {
        Fate::Suppressed { by, span, because } => {
            (Some(Winner { rule: by.id.clone(), start: span.start, end: span.end }), Some(*because))
        }
        _ => (None, None),
    };
    Explained {
        start: span.start,
        end: span.end,
        entity: rule.entity.clone(),
        rule: rule.id.clone(),
        outcome: match fate {
            Fate::Reported => "reported",
            Fate::GoesOn => "goes-on",
            Fate::Allowed => "allowed",
            Fate::Rejected => "rejected",
            Fate::NoWords => "no-words",
            Fate::InToken => "in-token",
            Fate::Suppressed { .. } => "suppressed",
        },
        validator: checks.validator.clone(),
        confirmed: checks.confirmed,
        word: checks.word.clone(),
        folded: checks.folded,
        decoded: checks.decoded,
        by,
        because: because.filter(|because| !because.is_empty()),
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.rule)?;
        let validator = self.validator.as_deref().unwrap_or_default();
        match (self.outcome, &self.by) {
            ("rejected", _) => return write!(f, "rejected by its validator {validator}"),
            ("goes-on", _) => return f.write_str("only part of something longer"),
            ("allowed", _) => return f.write_str("on an allow-list"),
            ("in-token", _) => return f.write_str("part of a token that masking left"),
            ("no-words", _) => f.write_str("none of its words nearby")?,
            ("suppressed", Some(by)) => write!(f, "rule {} wins", by.rule)?,
            (outcome, _) => f.write_str(outcome)?,
        }
        if let Some(because) = self.because {
            write!(f, ": {because}")?;
        }
        if !validator.is_empty() {
            write!(f, "; validator {validator} {}", if self.confirmed { "confirms" } else { "does not object" })?;
        }
        if let Some(word) = &self.word {
            write!(f, "; word {word:?}")?;
        }
        if let Some(decoded) = self.decoded {
            write!(f, "; seen once its bytes were decoded ({decoded})")?;
        }
        if self.folded { f.write_str("; seen once its characters were folded") } else { Ok(()) }
    }
}
