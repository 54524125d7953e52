//! Decides what happens to a request, from facts and findings alone: no sockets, no clock, no body.
//!
//! [`Policy::decide`] says what to do with each finding, and answers with a [`Plan`] or a [`Denial`]. A plan becomes
//! [`Allowed`], one of the three proofs without which nothing is sent upstream, only together with the digest of the
//! body that masking produced.

mod connection;
mod settings;

pub use connection::{
    Captured, ConnectionRule, Connections, Known, NoName, Opening, Said, Sentence, Strict, Treatment, Tunnel, Who,
};
pub use settings::{Contradiction, Matcher, OnOpaque, Rule, Settings};

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
pub struct Decision {
    /// What is done with each finding; recorded also when the request is denied.
    pub actions: Actions,
    /// Whether the request may leave.
    pub verdict: Verdict,
}

/// Whether a request may leave.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It may, once every finding has been dealt with as decided.
    Proceed(Plan),
    /// It must not.
    Deny(Denial),
}

/// What is done with each finding, in the order of [`Findings`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// For those in the head, where nothing is replaced.
    pub head: Vec<Action>,
    /// For those in the body.
    pub body: Vec<Action>,
    /// For the same: whether the answer may get back what leaves as a token.
    pub restore: Vec<bool>,
}

/// Consent to a request, before its body was masked.
#[derive(Clone, Debug)]
pub struct Plan {
    action: Action,
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

    /// What happens to one request and to each finding in it.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>, findings: &Findings<'_>) -> Decision {
        let head: Vec<_> = findings.head.iter().map(|finding| self.in_head(facts, &finding.rule)).collect();
        let body: Vec<_> = findings.body.iter().map(|found| self.in_body(facts, findings, found)).collect();
        let of = |ruled: &[Ruled<'_>]| ruled.iter().map(|ruled| ruled.action).collect::<Vec<_>>();
        let restore = body.iter().map(|ruled| ruled.restore && ruled.action == Action::Mask).collect();
        let actions = Actions { head: of(&head), body: of(&body), restore };
        let objection = self.unreadable(facts).or_else(|| {
            let heads = head.iter().zip(findings.head).map(|(ruled, finding)| (ruled, HEAD, &finding.rule));
            let fields = body
                .iter()
                .zip(findings.body)
                .map(|(ruled, found)| (ruled, findings.fields[found.field].path.as_str(), &found.finding.rule));
            heads.chain(fields).find(|(ruled, ..)| ruled.action == Action::Deny).map(|(ruled, place, meta)| {
                Denial::new(ruled.rule, &format!("{place} contains {}{}", meta.entity, ruled.remedy))
            })
        });
        let verdict = match objection {
            Some(denial) => Verdict::Deny(denial),
            None => {
                let masking = body.iter().find(|ruled| ruled.action.replaces());
                let rule = masking.map_or(DEFAULT_RULE, |ruled| ruled.rule).to_owned();
                Verdict::Proceed(Plan { action: masking.map_or(Action::Allow, |_| Action::Mask), rule })
            }
        };
        Decision { actions, verdict }
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

    /// A path, query or header cannot be rewritten without changing what is asked: what would be masked in a body is
    /// refused there, unless it is of little harm (an address in a user agent, say).
    fn in_head(&self, facts: &Facts<'_>, meta: &RuleMeta) -> Ruled<'_> {
        match self.action(facts, meta) {
            Ruled { action, .. } if action.replaces() && meta.severity == Severity::Low => {
                Ruled::new(Action::Allow, DEFAULT_RULE)
            }
            Ruled { action, .. } if action.replaces() => {
                Ruled { remedy: "; move it into the body", ..Ruled::new(Action::Deny, "policy.head") }
            }
            ruled => ruled,
        }
    }

    fn in_body(&self, facts: &Facts<'_>, findings: &Findings<'_>, found: &Located) -> Ruled<'_> {
        match self.action(facts, &found.finding.rule) {
            Ruled { action, .. } if action.replaces() && findings.fields[found.field].access == Access::ReadOnly => {
                Ruled {
                    remedy: " and is signed by the provider, so it cannot be masked; leave it out",
                    ..Ruled::new(Action::Deny, "policy.signed_text")
                }
            }
            ruled => ruled,
        }
    }

    /// The first rule that matches decides; none: the default, which lets pass what is only reported.
    fn action(&self, facts: &Facts<'_>, meta: &RuleMeta) -> Ruled<'_> {
        let default = if meta.report_only { Action::Allow } else { self.settings.findings };
        let Settings { rules, restore, .. } = &self.settings;
        match rules.iter().find(|rule| rule.applies(facts, meta)) {
            None => Ruled { restore: *restore, ..Ruled::new(default, DEFAULT_RULE) },
            Some(rule) => {
                Ruled { restore: rule.restore.unwrap_or(*restore), ..Ruled::new(rule.action, rule.name.as_str()) }
            }
        }
    }
}

const DEFAULT_RULE: &str = "policy.findings";

/// Where a finding in the head is, in words.
const HEAD: &str = "the path, query or a header";

/// An action and the rule that asked for it.
struct Ruled<'a> {
    action: Action,
    rule: &'a str,
    /// What the caller can do about a denial.
    remedy: &'static str,
    /// Whether the answer may get the value back.
    restore: bool,
}

impl<'a> Ruled<'a> {
    fn new(action: Action, rule: &'a str) -> Self {
        Self { action, rule, remedy: "", restore: false }
    }
}

impl Plan {
    /// The rule that decided.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The strongest thing that is done to the request: `mask` when anything is replaced, else `allow`.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
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
