//! What the masking engine found, and what is to happen to it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ByteSpan;

/// How bad it is when a value of this kind leaves the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Seldom harmful on its own: an IP address, a date.
    Low,
    /// Personal, but often public: an e-mail address, a phone number.
    Medium,
    /// Regulated or a credential: a card, a national id, a key.
    High,
}

impl Severity {
    /// The word for it in rule files and in what is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What a record says of the rule that fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleMeta {
    /// The rule's name, unique in the loaded set: `card.pan`.
    pub id: String,
    /// The kind of value: `CREDIT_CARD`.
    pub entity: String,
    /// The kind as it stands in a token: `CARD` in `[CARD_k7q2m9xn]`.
    pub label: String,
    /// How bad a leak is.
    pub severity: Severity,
    /// Ordinary text is full of such values (dates, links): they are reported, and replaced only where policy names the
    /// kind.
    pub report_only: bool,
}

/// One value found in a text.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Bytes of the scanned (decoded) text.
    pub span: ByteSpan,
    /// The rule that fired.
    pub rule: Arc<RuleMeta>,
    /// 0 to 1: how sure the rule and its validator are.
    pub score: f32,
}

/// A finding and the field of the body it is in.
#[derive(Clone, Debug)]
pub struct Located {
    /// Index into the fields that were scanned.
    pub field: usize,
    /// The finding; its span is relative to that field's decoded text.
    pub finding: Finding,
}

/// What is done with a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Leaves as it is; recorded.
    Allow,
    /// Leaves as it is; recorded, and told in the journal.
    Alert,
    /// Replaced by a token, equal ones for equal values: `[CARD_k7q2m9xn]`.
    Mask,
    /// Replaced by another number of the same format, which no rule finds; what has no such number becomes a token.
    Surrogate,
    /// Replaced by its kind: `[CARD]`.
    Label,
    /// Stars, but for the last four characters at most: `**** **** **** 1234`.
    Partial,
    /// Taken out.
    Drop,
    /// The whole request is refused.
    Deny,
}

impl Action {
    /// Whether something else leaves in place of the value.
    #[must_use]
    pub fn replaces(self) -> bool {
        match self {
            Self::Mask | Self::Surrogate | Self::Label | Self::Partial | Self::Drop => true,
            Self::Allow | Self::Alert | Self::Deny => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Alert => "alert",
            Self::Mask => "mask",
            Self::Surrogate => "surrogate",
            Self::Label => "label",
            Self::Partial => "partial",
            Self::Drop => "drop",
            Self::Deny => "deny",
        })
    }
}
