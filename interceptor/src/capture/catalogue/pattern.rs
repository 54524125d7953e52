//! Names of endpoints, with or without wildcards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name, in octets without the final dot (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

/// Longest label.
const MAX_LABEL: usize = 63;

/// Labels at the end that a wildcard name must spell out: what is left of the `*` is anybody's.
const LITERAL_LABELS: usize = 2;

/// A lower-case DNS name in which a `*` stands for one or more characters of one label: `*.openai.azure.com`,
/// `*-aiplatform.googleapis.com`, `bedrock-runtime.*.amazonaws.com`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(Box<str>);

/// Why a text is no [`NamePattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Upper case, an empty or overlong label, a character that host names do not have.
    #[error("endpoint name {0:?} is not a lower-case DNS name (with or without `*`)")]
    NotAName(String),
    /// More than one `*` in a label.
    #[error("endpoint name {0:?}: a label can have one `*`, which stands for any characters of that label")]
    TwoWildcards(String),
    /// `*.com`: too much to sign for.
    #[error("endpoint name {0:?}: the last two labels must be spelled out, for the internal CA is constrained to them")]
    TooWide(String),
}

impl NamePattern {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for many names.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.contains('*')
    }

    /// The labels behind the last one with a `*`; the whole name when there is none. It is the narrowest subtree that
    /// a name constraint can express (RFC 5280, section 4.2.1.10): labels can be added at the left, but no part of one.
    #[must_use]
    pub fn literal_suffix(&self) -> &str {
        let after_wildcard = self.0.rfind('*').map(|at| &self.0[at..]);
        after_wildcard.map_or(&*self.0, |rest| rest.split_once('.').map_or("", |(_, suffix)| suffix))
    }

    /// Whether `name`, in lower case and without a final dot, is one of those it stands for.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut labels) = (self.0.split('.'), name.split('.'));
        loop {
            match (pattern.next(), labels.next()) {
                (Some(pattern), Some(label)) if label_matches(pattern, label) => {}
                (None, None) => return true,
                _ => return false,
            }
        }
    }

    /// Of two patterns for a name, the one that spells out more is meant.
    pub(super) fn literals(&self) -> usize {
        self.0.bytes().filter(|&byte| byte != b'*').count()
    }
}

fn label_matches(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == label,
        Some((before, after)) => {
            label.len() > before.len() + after.len() && label.starts_with(before) && label.ends_with(after)
        }
    }
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'*'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_NAME || !text.split('.').all(is_label) {
            return Err(PatternError::NotAName(text.into()));
        }
        if text.split('.').any(|label| label.matches('*').count() > 1) {
            return Err(PatternError::TwoWildcards(text.into()));
        }
        let mut literal = text.rsplit('.').take_while(|label| !label.contains('*'));
        if text.contains('*') && literal.by_ref().count() < LITERAL_LABELS {
            return Err(PatternError::TooWide(text.into()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for NamePattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.0.into()
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> NamePattern {
        text.parse().unwrap()
    }

    #[test]
    fn names_that_are_not_dns_names_are_refused() {
        let long = "a".repeat(64) + ".example";
        for bad in ["LLM.corp.example", "", "a..b", "-a.example", "a-.example", "a b.example", "a.example.", &long] {
            assert_eq!(bad.parse::<NamePattern>(), Err(PatternError::NotAName(bad.into())));
        }
        assert!("localhost".parse::<NamePattern>().is_ok());
    }

    #[test]
    fn wildcards_that_are_too_wide_or_ambiguous_are_refused() {
        for bad in ["*", "*.com", "a.*", "*.example.*", "a.*.com", "api-*"] {
            assert_eq!(bad.parse::<NamePattern>(), Err(PatternError::TooWide(bad.into())));
        }
        assert_eq!(
            "*a*.corp.example".parse::<NamePattern>(),
            Err(PatternError::TwoWildcards("*a*.corp.example".into()))
        );
    }

    #[test]
    fn a_star_is_one_label_or_a_part_of_one_and_never_empty() {
        for (text, yes, no) in [
            (
                "*.openai.azure.com",
                &["acme.openai.azure.com"][..],
                &["openai.azure.com", "a.b.openai.azure.com", "acme.openai.azure.com.evil.example"][..],
            ),
            (
                "*-aiplatform.googleapis.com",
                &["us-central1-aiplatform.googleapis.com"],
                &["-aiplatform.googleapis.com", "aiplatform.googleapis.com", "a.b-aiplatform.googleapis.com"],
            ),
            (
                "bedrock-runtime.*.amazonaws.com",
                &["bedrock-runtime.eu-west-1.amazonaws.com"],
                &["bedrock-runtime.amazonaws.com", "bedrock-runtime.a.b.amazonaws.com"],
            ),
            ("api.openai.com", &["api.openai.com"], &["xapi.openai.com", "openai.com"]),
        ] {
            let pattern = pattern(text);
            for name in yes {
                assert!(pattern.matches(name), "{text} {name}");
            }
            for name in no {
                assert!(!pattern.matches(name), "{text} {name}");
            }
        }
    }

    #[test]
    fn the_literal_suffix_is_what_stands_behind_the_last_wildcard_label() {
        for (text, suffix) in [
            ("api.openai.com", "api.openai.com"),
            ("*.openai.azure.com", "openai.azure.com"),
            ("*-aiplatform.googleapis.com", "googleapis.com"),
            ("*.bedrock-runtime.*.vpce.amazonaws.com", "vpce.amazonaws.com"),
        ] {
            assert_eq!(pattern(text).literal_suffix(), suffix);
        }
    }
}
