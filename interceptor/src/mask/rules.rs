//! Rules as data: what a rule file says, checked and compiled.
//!
//! A rule finds its candidates in one of four ways: `pattern` (Hyperscan), `pictures` (shapes of digit-bearing
//! tokens, see [`super::picture`]), `phone` (numbering plans) or `address`. What a pattern found is then located exactly by one of
//! the [`Locate`] ways, checked by `validator`, and weighed with the words around it.

use std::sync::Arc;

use regex::bytes::Regex;
use serde::Deserialize;

use super::Error;
use super::context::Words;
use super::phone::Plan;
use super::picture::Picture;
use super::validate::{self, Validator};
use crate::flow::{RuleMeta, Severity};

/// Longest value that `verify` and `after` look at, unless the rule says more.
const DEFAULT_REACH: usize = 256;
/// Widest match whose start is searched for.
const WIDEST: usize = 512;
/// What `{=}` in `after` stands for: the rest of a name, a type, and what may stand between a name and its value in
/// code, configuration, Terraform, JSON (also in a string), YAML, XML and prose.
const ASSIGNMENT: &str = concat!(
    r#"[\w .-]{0,40}[\\"'`\]\)]{0,4}(?:\s{0,4}:?\s?&?(?:'static\s)?(?:string|str|String)\b)?(?:\s?\{\s{0,16}(?:default|value))?"#,
    r#"\s{0,20}(?:[:?+.|!]{0,3}(?:={1,3}>?|:)|,|>|\()\s{0,20}[\\"'`(<]{0,4}\s{0,4}"#,
);
/// How much of a name `unless` sees before what `pattern` matched.
pub(super) const NAME_BEFORE: usize = 64;

/// The families that come with the program: file name and text.
pub(super) const BUILTIN: &[(&str, &str)] = &[
    ("payment.toml", include_str!("../../rules/payment.toml")),
    ("contact.toml", include_str!("../../rules/contact.toml")),
    ("national.toml", include_str!("../../rules/national.toml")),
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

/// A rule file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Raw>,
}

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    /// Unique name: family, then kind.
    id: String,
    /// Kind of value, as in records and in the output of `scan`.
    entity: String,
    /// Kind of value, as in tokens.
    label: String,
    /// How bad a leak is.
    severity: Severity,
    /// 0 to 1, before words and checksums add to it.
    confidence: f32,
    /// Source: a Hyperscan pattern. Fast ones begin with a literal or end at a fixed width; a class or a boundary at the
    /// head costs every other rule.
    #[serde(default)]
    pattern: Option<String>,
    /// Source: shapes of digit-bearing tokens.
    #[serde(default)]
    pictures: Vec<String>,
    /// What `-` in a picture stands for; blank and hyphen unless said.
    #[serde(default)]
    separators: Option<String>,
    /// Source: a numbering plan.
    #[serde(default)]
    phone: Option<Plan>,
    /// Source: an Internet address.
    #[serde(default)]
    address: Option<Address>,
    /// How far before the match of `pattern` the value may begin.
    #[serde(default)]
    lookbehind: usize,
    /// Matched behind a picture, to lengthen the value.
    #[serde(default)]
    extend: Option<String>,
    /// What the value is, to its end; the pattern itself unless said.
    #[serde(default)]
    verify: Option<String>,
    /// What stands behind the match of `pattern`; its first group that took part is the value. `{=}`: an assignment.
    #[serde(default)]
    after: Option<String>,
    /// A name in which this is found introduces no value: matched from the beginning of the name to that of the value.
    #[serde(default)]
    unless: Option<String>,
    /// Code that finds the extent.
    #[serde(default)]
    locate: Option<Special>,
    /// How many bytes `verify`, `after` and `extend` may look at.
    #[serde(default)]
    reach: Option<usize>,
    /// What must not stand before the value.
    #[serde(default)]
    left: Edge,
    /// What must not stand behind it.
    #[serde(default)]
    right: Edge,
    /// Checksum, structure or randomness.
    #[serde(default)]
    validator: Option<Validator>,
    /// Words nearby that raise the score: lower case, blanks for `_` and `-`.
    #[serde(default)]
    words: Vec<String>,
    /// Whether the words are needed.
    #[serde(default)]
    need: Need,
    /// Any other rule wins over this one.
    #[serde(default)]
    generic: bool,
    /// Texts with the value between `{{` and `}}`.
    #[serde(default)]
    examples: Vec<String>,
    /// Texts in which the rule finds nothing.
    #[serde(default)]
    counter: Vec<String>,
}

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
}

/// Internet addresses, found by their digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Address {
    /// A dotted quad.
    Ipv4,
    /// Hexadecimal groups around `:`.
    Ipv6,
}

/// How the exact span is found from where Hyperscan says a match ends.
#[derive(Debug)]
pub(super) enum Locate {
    /// The pattern has one width: the value starts that far back, and `verify` says how far it goes.
    Fixed { width: usize, verify: Option<Regex> },
    /// The value begins at most `back` bytes before the end of the match: `verify` is searched from there on, and what it finds reaches the end.
    Window { back: usize, verify: Regex },
    /// The pattern is what introduces the value: `after` matches right behind it; its first group is the value. No name
    /// in which `unless` is found introduces one.
    After { after: Regex, unless: Option<Regex> },
    /// Code.
    Special(Special),
}

/// Where candidates come from.
#[derive(Debug)]
pub(super) enum Source {
    Pattern { pattern: String, locate: Locate },
    Pictures { pictures: Vec<Picture>, verify: Option<Regex>, extend: Option<Regex> },
    Phone(Plan),
    Address(Address),
}

/// A rule, ready to use.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) meta: Arc<RuleMeta>,
    pub(super) source: Source,
    pub(super) confidence: f32,
    pub(super) reach: usize,
    pub(super) left: Edge,
    pub(super) right: Edge,
    pub(super) validator: Option<Validator>,
    pub(super) words: Option<Words>,
    pub(super) need: Need,
    pub(super) generic: bool,
    #[cfg_attr(not(test), expect(dead_code, reason = "the examples are tests"))]
    pub(super) examples: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "the examples are tests"))]
    pub(super) counter: Vec<String>,
}

/// Reads one rule file. `width` gives the smallest and largest match of a pattern, as Hyperscan sees it.
pub(super) fn parse(
    file: &str,
    text: &str,
    width: impl Fn(&str) -> Result<(usize, usize), Error>,
) -> Result<Vec<Rule>, Error> {
    let fail = |reason: String| Error::Rules { file: file.to_owned(), reason };
    let parsed: File = toml::from_str(text).map_err(|error| fail(error.to_string()))?;
    parsed
        .rule
        .into_iter()
        .map(|raw| {
            let id = raw.id.clone();
            compile(raw, &width).map_err(|reason| fail(format!("rule {id}: {reason}")))
        })
        .collect()
}

fn compile(raw: Raw, width: impl Fn(&str) -> Result<(usize, usize), Error>) -> Result<Rule, String> {
    let source = match (&raw.pattern, raw.pictures.is_empty(), raw.phone, raw.address) {
        (Some(pattern), true, None, None) => {
            let locate = locate(&raw, pattern, width)?;
            Source::Pattern { pattern: pattern.clone(), locate }
        }
        (None, false, None, None) => {
            let separators = raw.separators.as_deref().unwrap_or(" -");
            let pictures = raw.pictures.iter().map(|p| Picture::parse(p, separators)).collect::<Result<_, _>>()?;
            let verify = raw.verify.as_deref().map(anchored).transpose()?;
            let extend = raw.extend.as_deref().map(anchored).transpose()?;
            Source::Pictures { pictures, verify, extend }
        }
        (None, true, None, Some(address)) => Source::Address(address),
        (None, true, Some(plan), None) => Source::Phone(plan),
        _ => return Err("give exactly one of `pattern`, `pictures`, `phone` and `address`".into()),
    };
    if !(0.0..=1.0).contains(&raw.confidence) {
        return Err(format!("confidence {} is not between 0 and 1", raw.confidence));
    }
    if raw.need != Need::Nothing && raw.words.is_empty() {
        return Err("`need` asks for words, but `words` is empty".into());
    }
    if raw.label.is_empty() || !raw.label.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
        return Err(format!("label {:?} must be made of A-Z, 0-9 and _", raw.label));
    }
    Ok(Rule {
        meta: Arc::new(RuleMeta { id: raw.id, entity: raw.entity, label: raw.label, severity: raw.severity }),
        source,
        confidence: raw.confidence,
        reach: raw.reach.unwrap_or(DEFAULT_REACH),
        left: raw.left,
        right: raw.right,
        validator: raw.validator,
        words: if raw.words.is_empty() { None } else { Some(Words::new(&raw.words)?) },
        need: raw.need,
        generic: raw.generic,
        examples: raw.examples,
        counter: raw.counter,
    })
}

fn locate(raw: &Raw, pattern: &str, width: impl Fn(&str) -> Result<(usize, usize), Error>) -> Result<Locate, String> {
    match (raw.locate, &raw.after) {
        (Some(special), None) => Ok(Locate::Special(special)),
        (None, Some(after)) => {
            Ok(Locate::After { after: anchored(after)?, unless: raw.unless.as_deref().map(build).transpose()? })
        }
        (None, None) => {
            let (min, max) = width(pattern).map_err(|error| error.to_string())?;
            if min == max && raw.lookbehind == 0 {
                return Ok(Locate::Fixed { width: min, verify: raw.verify.as_deref().map(anchored).transpose()? });
            }
            let back = max.saturating_add(raw.lookbehind);
            if back > WIDEST {
                return Err(format!(
                    "the pattern matches up to {back} bytes, so finding its start has no bound: bound its repeats, end it \
                     at a fixed width and let `verify` go on, or use `after`"
                ));
            }
            let verify = build(raw.verify.as_deref().unwrap_or(pattern))?;
            Ok(Locate::Window { back, verify })
        }
        (Some(_), Some(_)) => Err("give one of `locate` and `after`".into()),
    }
}

fn anchored(pattern: &str) -> Result<Regex, String> {
    build(&format!(r"\A(?:{})", pattern.replace("{=}", ASSIGNMENT)))
}

/// Bytes, not characters: windows are cut at any byte.
fn build(pattern: &str) -> Result<Regex, String> {
    regex::bytes::RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(4 << 20)
        .build()
        .map_err(|error| error.to_string())
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
    /// Runs the validator on the located value.
    pub(super) fn verdict(&self, value: &[u8]) -> validate::Verdict {
        self.validator.map_or(validate::Verdict::Plausible, |validator| validator.check(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(rule: &str) -> String {
        let text = format!("[[rule]]\nid = \"x\"\nentity = \"X\"\nseverity = \"low\"\n{rule}");
        match parse("my.toml", &text, crate::mask::hyperscan::width) {
            Err(error) => error.to_string(),
            Ok(rules) => panic!("{rules:?} was accepted"),
        }
    }

    #[test]
    fn mistakes_are_named_with_file_and_rule() {
        let label = "label = \"X\"\nconfidence = 0.5\n";
        for (rule, expected) in [
            ("label = \"X\"\nconfidence = 2\npattern = 'a'", "rule x: confidence 2"),
            ("label = \"x-y\"\nconfidence = 1\npattern = 'a'", "rule x: label \"x-y\""),
            (&format!("{label}pattern = 'a'\nphone = \"e164\""), "rule x: give exactly one of"),
            (&format!("{label}pattern = 'a+'"), "rule x: the pattern matches up to"),
            (&format!("{label}pattern = '(a'"), "rule x: Hyperscan"),
            (&format!("{label}pictures = [\"AAA\"]"), "rule x: picture \"AAA\""),
            (&format!("{label}pattern = 'a'\nneed = \"words\""), "rule x: `need` asks for words"),
            (&format!("{label}pattern = 'a'\nvalidator = \"no-such\""), "unknown variant `no-such`"),
            (&format!("{label}patern = 'a'"), "unknown field `patern`"),
        ] {
            let reason = reason(rule);
            assert!(reason.starts_with("rule file my.toml: ") && reason.contains(expected), "{reason}");
        }
    }
}
