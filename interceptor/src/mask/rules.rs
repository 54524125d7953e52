//! Rules as data: what a rule file says, checked and compiled.
//!
//! A rule finds its candidates in one of four ways: `pattern` (Hyperscan), `pictures` (shapes of digit-bearing
//! tokens, see [`super::picture`]), `phone` (numbering plans) or `address`; a dictionary is a rule with a list of
//! literals. What a pattern found is then located exactly by one of the [`Locate`] ways, checked by `validator`, and
//! weighed with the words around it.
//!
//! ```text
//! file, dictionary   what is written                -> Rule
//! compile            keys checked, expressions built
//! mistake            what is wrong, and where
//! set                all of them together, caps      -> Engine
//! ```

mod allow;
mod compile;
pub(super) mod dictionary;
pub(super) mod examples;
pub(super) mod file;
mod first;
mod following;
pub(super) mod fuzz;
pub(super) mod mistake;
pub(super) mod set;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use regex::bytes::Regex;
use serde::Deserialize;

pub(super) use self::allow::Allow;
use self::dictionary::Dictionary;
use self::first::FirstBytes;
use self::following::Following;
use self::mistake::{Fault, Mistake, Origin, Position};
use super::context::Words;
use super::phone::Plan;
use super::picture::Picture;
use super::validate::{self, Validator};
use crate::flow::RuleMeta;

/// Longest value that `verify` and `after` look at, unless the rule says more.
const DEFAULT_REACH: usize = 256;
/// How much of a name `unless` sees before what `pattern` matched.
pub(super) const NAME_BEFORE: usize = 64;

/// The families that come with the program: file name and text.
pub(super) const BUILTIN: &[(&str, &str)] = &[
    ("payment.toml", include_str!("../../rules/payment.toml")),
    ("contact.toml", include_str!("../../rules/contact.toml")),
    ("america.toml", include_str!("../../rules/america.toml")),
    ("britain.toml", include_str!("../../rules/britain.toml")),
    ("germany.toml", include_str!("../../rules/germany.toml")),
    ("europe.toml", include_str!("../../rules/europe.toml")),
    ("asia.toml", include_str!("../../rules/asia.toml")),
    ("south.toml", include_str!("../../rules/south.toml")),
    ("network.toml", include_str!("../../rules/network.toml")),
    ("secrets.toml", include_str!("../../rules/secrets.toml")),
    ("cloud.toml", include_str!("../../rules/cloud.toml")),
    ("developer.toml", include_str!("../../rules/developer.toml")),
    ("commerce.toml", include_str!("../../rules/commerce.toml")),
    ("messaging.toml", include_str!("../../rules/messaging.toml")),
    ("ai.toml", include_str!("../../rules/ai.toml")),
    ("monitoring.toml", include_str!("../../rules/monitoring.toml")),
    ("vendors.toml", include_str!("../../rules/vendors.toml")),
    ("generic.toml", include_str!("../../rules/generic.toml")),
];

/// What must not stand next to a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Edge {
    /// A letter, digit or underscore.
    #[default]
    Word,
    /// Those and `-`: tokens whose alphabet is base64url.
    Url,
    /// Those and `+ / =`: tokens whose alphabet is base64.
    Base64,
    /// A letter, digit, underscore or full stop: what also occurs in names of files and hosts.
    Dotted,
    /// Letters, digits and what joins them in addresses: `_ . : -`.
    Address,
    /// An opening parenthesis: what looks like a value is a function.
    Call,
    /// As `word`, but a name may be glued to a long number: `card_4111..`, `pan4111..`, not `9f4111..c3`.
    Glued,
    /// Anything may.
    Any,
}

/// What a rule needs beside its shape before it is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Need {
    /// Nothing; words raise the score.
    #[default]
    Nothing,
    /// One of the words nearby.
    Words,
    /// One of the words nearby, or nothing else in the field: an answer to "what is your ...?".
    Lone,
}

/// Values whose extent a regular expression does not describe well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Special {
    /// Both sides of an `@`.
    Email,
    /// From BEGIN to its END line.
    Pem,
    /// From the scheme before a name and a password, at whose `@` the pattern ends, to a blank or quote.
    Uri,
}

/// Addresses of hosts, found by their digits, and of network cards, found by their groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Address {
    /// A dotted quad.
    Ipv4,
    /// Hexadecimal groups around `:`.
    Ipv6,
    /// Six pairs of hexadecimal digits between `:` or `-`.
    Mac,
    /// Three groups of four between full stops.
    MacDotted,
}

/// How the exact span is found from where Hyperscan says a match ends.
#[derive(Debug)]
pub(super) enum Locate {
    /// The pattern has one width: the value starts that far back, and `verify` says how far it goes.
    Fixed { width: usize, verify: Option<Regex> },
    /// The value begins at most `back` bytes before the end of the match: `verify` is searched from there on, and what it finds reaches the end.
    /// A value begins with bytes that `first` allows.
    /// `begins` matches from `back` bytes before the end if any value does: it gives up where no value can begin any more.
    Window { back: usize, first: Box<FirstBytes>, begins: Option<Regex>, verify: Regex },
    /// The pattern is what introduces the value: `after` matches right behind it; its first group is the value. No name
    /// in which `unless` is found introduces one.
    After { after: Following, unless: Option<Regex> },
    /// Code.
    Special(Special),
}

/// Where candidates come from.
#[derive(Debug)]
pub(super) enum Source {
    /// With `has_run`, values hold a long run, and pattern and value are around it.
    Pattern {
        pattern: String,
        locate: Locate,
        has_run: bool,
    },
    Pictures {
        pictures: Vec<Picture>,
        verify: Option<Regex>,
        extend: Option<Regex>,
    },
    Phone(Plan),
    Address(Address),
    Dictionary(Dictionary),
}

impl Source {
    /// Its part in the database.
    pub(super) fn expressions(&self) -> impl Iterator<Item = &str> {
        let (pattern, literals) = match self {
            Self::Pattern { pattern, .. } => (Some(pattern.as_str()), &[][..]),
            Self::Dictionary(dictionary) => (None, &dictionary.expressions[..]),
            Self::Pictures { .. } | Self::Phone(_) | Self::Address(_) => (None, &[][..]),
        };
        pattern.into_iter().chain(literals.iter().map(|(expression, _width)| expression.as_str()))
    }
}

/// A rule, ready to use.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) meta: Arc<RuleMeta>,
    pub(super) origin: Origin,
    pub(super) source: Source,
    pub(super) confidence: f32,
    pub(super) reach: usize,
    pub(super) left: Edge,
    pub(super) right: Edge,
    pub(super) validator: Option<Validator>,
    pub(super) words: Option<Words>,
    pub(super) need: Need,
    pub(super) generic: bool,
    /// Values that are none of this rule's.
    pub(super) allow: Option<Allow>,
    /// Whether it is loaded although it slows the set down.
    pub(super) allow_slow: bool,
    pub(super) examples: Vec<Example>,
    pub(super) counter: Vec<Example>,
}

/// A text that tests a rule.
#[derive(Debug)]
pub(super) struct Example {
    pub(super) text: String,
    pub(super) at: Position,
}

impl Edge {
    /// Whether `byte` next to a value means that the value is only part of something longer.
    pub(super) fn holds(self, byte: u8) -> bool {
        match self {
            Self::Any => false,
            Self::Call => byte == b'(',
            Self::Word | Self::Glued => byte.is_ascii_alphanumeric() || byte == b'_',
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Address => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-'),
            Self::Base64 => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'='),
        }
    }
}

impl Rule {
    /// Something that is wrong with it.
    pub(super) fn mistake(&self, fault: Fault) -> Mistake {
        let Origin { file, at } = self.origin.clone();
        Mistake { file, at: Some(at), rule: Some(self.meta.id.clone()), fault }
    }

    /// Whether its values hold a long run: they are only looked for around one.
    pub(super) fn has_run(&self) -> bool {
        matches!(self.source, Source::Pattern { has_run: true, .. })
    }

    /// Runs the validator on the located value.
    pub(super) fn verdict(&self, value: &[u8]) -> validate::Verdict {
        self.validator.map_or(validate::Verdict::Plausible, |validator| validator.check(value))
    }
}
