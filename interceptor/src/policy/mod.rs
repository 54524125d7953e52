//! Decides what happens to a request, from facts and findings alone: no sockets, no clock, no body.
//!
//! [`Policy::decide`] answers with a [`Plan`] (what to do with each finding) or a [`Denial`]. A plan becomes
//! [`Allowed`], one of the three proofs without which nothing is sent upstream, only together with the digest of the
//! body that masking produced.

mod settings;

pub use settings::{Matcher, OnOpaque, Rule, Settings};

use crate::flow::{Access, Action, BodyDigest, ExchangeId, Field, Finding, Located, Provider, RuleMeta, Severity};

/// What the decision may depend on besides the findings.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whose protocol the endpoint speaks.
    pub provider: Provider,
    /// The endpoint's name, as the client asked for it.
    pub host: &'a str,
    /// The calling user's name, when known.
    pub user: Option<&'a str>,
    /// All groups of the calling process.
    pub groups: &'a [String],
    /// Whether the request is one whose text can be located.
    pub known_operation: bool,
    /// Whether the request has a body.
    pub has_body: bool,
    /// Parts of the body that hold images or sound.
    pub opaque_media: bool,
    /// Parts of the body that hold text which was not located: files, token ids.
    pub opaque_documents: bool,
}

/// What was found, and where.
#[derive(Clone, Copy, Debug)]
pub struct Findings<'a> {
    /// In the request target and in header values: places that cannot be rewritten without changing the request.
    pub head: &'a [Finding],
    /// In the body's fields.
    pub body: &'a [Located],
    /// The fields that `body` points into.
    pub fields: &'a [Field<'a>],
}

/// The rules of this host. Cheap to share; immutable.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    settings: Settings,
}

/// The answer.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// May leave, once every finding has been dealt with as the plan says.
    Proceed(Plan),
    /// Must not leave.
    Deny(Denial),
}

/// What to do with each finding of a request that may leave.
#[derive(Clone, Debug)]
pub struct Plan {
    actions: Vec<Action>,
    rule: String,
}

/// Why a request must not leave. The texts go to the client and into the record: they never contain a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The rule that acted.
    pub rule: String,
    /// What it objects to and what the caller can do.
    pub reason: String,
}

/// Proof that policy lets this body out for this exchange.
#[derive(Debug)]
pub struct Allowed {
    exchange: ExchangeId,
    digest: BodyDigest,
}

impl Policy {
    /// A policy with these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// The verdict on one request.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>, findings: &Findings<'_>) -> Verdict {
        match self.objection(facts, findings) {
            Some(denial) => Verdict::Deny(denial),
            None => Verdict::Proceed(self.plan(facts, findings)),
        }
    }

    /// The first reason not to let the request out, if there is one.
    fn objection(&self, facts: &Facts<'_>, findings: &Findings<'_>) -> Option<Denial> {
        self.unreadable(facts)
            .or_else(|| Self::in_head(findings))
            .or_else(|| findings.body.iter().find_map(|found| self.in_body(facts, findings, found)))
    }

    fn unreadable(&self, facts: &Facts<'_>) -> Option<Denial> {
        let on = &self.settings;
        if !facts.known_operation && facts.has_body && on.unknown_operations == OnOpaque::Deny {
            return Some(Denial::new(
                "policy.unknown_operations",
                "the text of this operation cannot be located, so it was not scanned; \
                 ask for `policy.unknown_operations = \"record\"` if it must pass",
            ));
        }
        if facts.opaque_documents && on.documents == OnOpaque::Deny {
            return Some(Denial::new(
                "policy.documents",
                "the request carries a document whose text cannot be read here; send it as text, \
                 or ask for `policy.documents = \"record\"`",
            ));
        }
        if facts.opaque_media && on.media == OnOpaque::Deny {
            return Some(Denial::new("policy.media", "the request carries images or sound, which cannot be scanned"));
        }
        None
    }

    /// A path, query or header cannot be rewritten without changing what is asked: what is grave there is refused,
    /// what is not is recorded.
    fn in_head(findings: &Findings<'_>) -> Option<Denial> {
        let grave = findings.head.iter().find(|finding| finding.rule.severity == Severity::High)?;
        Some(Denial::new(
            "policy.head",
            &format!("the path, query or a header contains {}; move it into the body", grave.rule.entity),
        ))
    }

    fn in_body(&self, facts: &Facts<'_>, findings: &Findings<'_>, found: &Located) -> Option<Denial> {
        let meta = &found.finding.rule;
        let (action, rule) = self.action(facts, meta);
        let field = &findings.fields[found.field];
        match action {
            Action::Deny => Some(Denial::new(rule, &format!("{} contains {}", field.path, meta.entity))),
            Action::Mask if field.access == Access::ReadOnly => Some(Denial::new(
                "policy.signed_text",
                &format!(
                    "{} contains {} and is signed by the provider, so it cannot be masked; leave it out",
                    field.path, meta.entity
                ),
            )),
            Action::Mask | Action::Allow => None,
        }
    }

    fn plan(&self, facts: &Facts<'_>, findings: &Findings<'_>) -> Plan {
        let decided: Vec<_> = findings.body.iter().map(|found| self.action(facts, &found.finding.rule)).collect();
        let rule = decided.iter().find(|(action, _)| *action == Action::Mask).map_or(DEFAULT_RULE, |(_, rule)| *rule);
        Plan { rule: rule.to_owned(), actions: decided.iter().map(|(action, _)| *action).collect() }
    }

    /// The first rule that matches decides; none: the default.
    fn action(&self, facts: &Facts<'_>, meta: &RuleMeta) -> (Action, &str) {
        self.settings
            .rules
            .iter()
            .find(|rule| rule.applies(facts, meta))
            .map_or((self.settings.findings, DEFAULT_RULE), |rule| (rule.action, rule.name.as_str()))
    }
}

const DEFAULT_RULE: &str = "policy.findings";

impl Plan {
    /// One action for each located finding, in order.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// The rule that decided.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The strongest thing that is done to the request: `mask` when anything is replaced, else `allow`.
    #[must_use]
    pub fn action(&self) -> Action {
        if self.actions.contains(&Action::Mask) { Action::Mask } else { Action::Allow }
    }

    /// Consents to this body, the result of carrying the plan out.
    #[must_use]
    pub fn allow(self, exchange: ExchangeId, digest: BodyDigest) -> Allowed {
        Allowed { exchange, digest }
    }
}

impl Denial {
    /// A denial by `rule`.
    #[must_use]
    pub fn new(rule: &str, reason: &str) -> Self {
        Self { rule: rule.to_owned(), reason: reason.to_owned() }
    }
}

impl Allowed {
    /// The exchange that may proceed.
    #[must_use]
    pub fn exchange(&self) -> ExchangeId {
        self.exchange
    }

    /// The body it may proceed with.
    #[must_use]
    pub fn digest(&self) -> BodyDigest {
        self.digest
    }
}

#[cfg(test)]
mod tests;
