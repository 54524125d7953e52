//! A rule as it is written becomes a rule that can be used.

use std::sync::Arc;

use regex::bytes::Regex;

use super::allow::Allow;
use super::file::{Raw, Treatment};
use super::first::FirstBytes;
use super::following::Following;
use super::mistake::{Fault, KeyFault, Origin, Position, Width};
use super::{DEFAULT_REACH, Example, Locate, Need, Rule, Source};
use crate::flow::RuleMeta;
use crate::mask::Error;
use crate::mask::context::Words;
use crate::mask::engine::LONGEST_ANCHOR;
use crate::mask::hyperscan;
use crate::mask::picture::Picture;
use crate::mask::run;
use crate::mask::validate::Validator;

/// Bytes before the end of a match in which it is asked first whether any value begins.
const NARROW: usize = 64;
/// Widest match whose start is searched for.
const WIDEST: usize = 512;
/// Longest pattern that is compiled, in bytes.
const LONGEST_PATTERN: usize = 4 << 10;
/// What `{=}` in `after` stands for: the rest of a name, a type, and what may stand between a name and its value in
/// code, configuration, Terraform, JSON (also in a string), YAML, XML and prose.
const ASSIGNMENT: &str = concat!(
    r#"[\w .-]{0,40}[\\"'`\]\)]{0,4}(?:\s{0,4}:?\s?&?(?:'static\s)?(?:string|str|String)\b)?(?:\s?\{\s{0,16}(?:default|value))?"#,
    r#"\s{0,20}(?:[:?+.|!]{0,3}(?:={1,3}>?|:)|,|>|\()\s{0,20}[\\"'`(<]{0,4}\s{0,4}"#,
);

/// Checks and compiles `raw`, which stands at `origin`; `at` says where an element of a key's list stands.
pub(super) fn compile(
    raw: Raw,
    origin: Origin,
    at: impl Fn(&'static str, usize) -> Position,
) -> Result<Rule, KeyFault> {
    let source = source(&raw)?;
    check(&raw)?;
    let words = if raw.words.is_empty() { None } else { Some(words(&raw.words)?) };
    let examples = |key: &'static str, texts: Vec<String>| -> Vec<Example> {
        texts.into_iter().enumerate().map(|(number, text)| Example { text, at: at(key, number) }).collect()
    };
    Ok(Rule {
        allow: Allow::new(&raw.allow)?,
        meta: Arc::new(RuleMeta {
            id: raw.id,
            entity: raw.entity,
            label: raw.label,
            severity: raw.severity,
            report_only: raw.action == Treatment::Report,
        }),
        origin,
        source,
        confidence: raw.confidence,
        reach: raw.reach.unwrap_or(DEFAULT_REACH),
        left: raw.left,
        right: raw.right,
        validator: raw.validator,
        words,
        need: raw.need,
        generic: raw.generic,
        allow_slow: raw.allow_slow,
        examples: examples("examples", raw.examples),
        counter: examples("counter", raw.counter),
    })
}

fn source(raw: &Raw) -> Result<Source, KeyFault> {
    let source = match (&raw.pattern, raw.pictures.is_empty(), raw.phone, raw.address) {
        (Some(pattern), true, None, None) => Source::Pattern {
            locate: locate(raw, pattern)?,
            pattern: pattern.clone(),
            has_run: has_run(raw, pattern).unwrap_or(false),
        },
        (None, false, None, None) => Source::Pictures {
            pictures: pictures(raw)?,
            verify: raw.verify.as_deref().map(|verify| anchored("verify", verify)).transpose()?,
            extend: raw.extend.as_deref().map(|extend| anchored("extend", extend)).transpose()?,
        },
        (None, true, None, Some(address)) => Source::Address(address),
        (None, true, Some(plan), None) => Source::Phone(plan),
        _ => return Err(KeyFault::new("id", Fault::Source)),
    };
    let has_pattern = matches!(source, Source::Pattern { .. });
    let has_pictures = matches!(source, Source::Pictures { .. });
    let idle = [
        ("after", "pattern", raw.after.is_some() && !has_pattern),
        ("unless", "after", raw.unless.is_some() && raw.after.is_none()),
        ("locate", "pattern", raw.locate.is_some() && !has_pattern),
        ("lookbehind", "pattern", raw.lookbehind > 0 && !has_pattern),
        ("verify", "pattern", raw.verify.is_some() && !has_pattern && !has_pictures),
        ("extend", "pictures", raw.extend.is_some() && !has_pictures),
        ("separators", "pictures", raw.separators.is_some() && !has_pictures),
    ];
    match idle.into_iter().find(|(_, _, is_idle)| *is_idle) {
        Some((key, needs, _)) => Err(KeyFault::new(key, Fault::Idle { key, needs })),
        None => Ok(source),
    }
}

/// The names of a rule, of its kind of value, and of that in tokens.
pub(super) fn names(id: &str, entity: &str, label: &str) -> Result<(), KeyFault> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let is_id = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    if id.is_empty() || !id.bytes().all(is_id) {
        return Err(KeyFault::new("id", Fault::Id(id.to_owned())));
    }
    if !is_name(entity) {
        return Err(KeyFault::new("entity", Fault::Entity(entity.to_owned())));
    }
    if !is_name(label) {
        return Err(KeyFault::new("label", Fault::Label(label.to_owned())));
    }
    Ok(())
}

/// What can be told from the keys alone.
fn check(raw: &Raw) -> Result<(), KeyFault> {
    names(&raw.id, &raw.entity, &raw.label)?;
    if !(0.0..=1.0).contains(&raw.confidence) {
        return Err(KeyFault::new("confidence", Fault::Confidence(raw.confidence.to_string())));
    }
    if raw.need != Need::Nothing && raw.words.is_empty() {
        return Err(KeyFault::new("need", Fault::NoWords));
    }
    Ok(())
}

fn words(words: &[String]) -> Result<Words, KeyFault> {
    let never_found = |word: &&String| {
        word.is_empty()
            || word.trim() != **word
            || word.contains(|c: char| c.is_ascii_uppercase() || c == '_' || c == '-')
    };
    match words.iter().position(|word| never_found(&word)) {
        Some(number) => Err(KeyFault::of_element("words", number, Fault::Word(words[number].clone()))),
        None => Words::new(words).map_err(|reason| KeyFault::new("words", Fault::Regex { key: "words", reason })),
    }
}

fn pictures(raw: &Raw) -> Result<Vec<Picture>, KeyFault> {
    let separators = raw.separators.as_deref().unwrap_or(" -");
    let picture = |(number, text): (usize, &String)| {
        let fault = |reason| KeyFault::of_element("pictures", number, Fault::Picture(reason));
        let picture = Picture::parse(text, separators).map_err(fault)?;
        match *picture.anchor().lengths.end() {
            len if len > LONGEST_ANCHOR => Err(fault(format!(
                "picture {text:?} has a token of {len}, and {LONGEST_ANCHOR} characters are the most"
            ))),
            _ => Ok(picture),
        }
    };
    raw.pictures.iter().enumerate().map(picture).collect()
}

fn locate(raw: &Raw, pattern: &str) -> Result<Locate, KeyFault> {
    let (min, max) = width(pattern)?;
    match (raw.locate, &raw.after) {
        (Some(_), Some(_)) => Err(KeyFault::new("locate", Fault::Extent)),
        (Some(special), None) => Ok(Locate::Special(special)),
        (None, Some(after)) => {
            let unless = raw.unless.as_deref().map(|unless| build("unless", unless)).transpose()?;
            Ok(Locate::After { after: Following::new(anchored("after", after)?), unless })
        }
        (None, None) if min == max && raw.lookbehind == 0 => {
            let verify = raw.verify.as_deref().map(|verify| anchored("verify", verify)).transpose()?;
            Ok(Locate::Fixed { width: min, verify })
        }
        (None, None) => {
            let back = max.saturating_add(raw.lookbehind);
            if back > WIDEST {
                return Err(KeyFault::new("pattern", Fault::Wide(Width(back))));
            }
            let (key, verify) = raw.verify.as_deref().map_or(("pattern", pattern), |verify| ("verify", verify));
            let first = Box::new(FirstBytes::of(verify));
            let anywhere = format!(r"\A(?s:.{{0,{}}}?)(?:{verify})", back - 1);
            let verify = build(key, verify)?;
            // A shortcut, which a very long pattern does without.
            let begins = (back <= NARROW).then(|| build(key, &anywhere).ok()).flatten();
            Ok(Locate::Window { back, first, begins, verify })
        }
    }
}

/// Whether the values of a pattern surely hold a long run, with all that is matched to find them around it. None where
/// that cannot be told.
fn has_run(raw: &Raw, pattern: &str) -> Option<bool> {
    let own = run::Shape::of(pattern, false)?;
    let verify = raw.verify.as_deref().map(|verify| run::Shape::of(verify, false));
    Some(match (&raw.after, verify) {
        _ if raw.locate.is_some() => false,
        (Some(after), _) => {
            let value = run::Shape::of(&after.replace("{=}", ASSIGNMENT), true)?;
            let asks_for_digits = matches!(raw.validator, Some(Validator::Entropy | Validator::Drawn));
            value.is_behind(own.widest()?, if asks_for_digits { run::FEWEST_ASKED_FOR } else { run::FEWEST_DIGITS })
        }
        (None, None) => own.is_around(),
        (None, Some(verify)) => own.is_around() && verify?.is_behind(0, run::FEWEST_DIGITS),
    })
}

/// The fewest and the most bytes that `pattern` matches, if it is one that may be compiled.
fn width(pattern: &str) -> Result<(usize, usize), KeyFault> {
    let fail = |fault| Err(KeyFault::new("pattern", fault));
    if pattern.is_empty() {
        return fail(Fault::Empty("pattern"));
    }
    if pattern.len() > LONGEST_PATTERN {
        return fail(Fault::Long { key: "pattern", bytes: pattern.len(), limit: LONGEST_PATTERN });
    }
    if let Some(verb) = ["(*UTF8)", "(*UTF)", "(*UCP)"].into_iter().find(|verb| pattern.contains(verb)) {
        return fail(Fault::Characters(verb));
    }
    match hyperscan::width(pattern) {
        Ok((0, _)) => fail(Fault::MatchesEmpty),
        Ok(width) => Ok(width),
        Err(Error::Hyperscan(reason)) => fail(Fault::Hyperscan(reason)),
        Err(error) => fail(Fault::Hyperscan(error.to_string())),
    }
}

fn anchored(key: &'static str, pattern: &str) -> Result<Regex, KeyFault> {
    if pattern.is_empty() {
        return Err(KeyFault::new(key, Fault::Empty(key)));
    }
    build(key, &format!(r"\A(?:{})", pattern.replace("{=}", ASSIGNMENT)))
}

/// Bytes, not characters: windows are cut at any byte.
fn build(key: &'static str, pattern: &str) -> Result<Regex, KeyFault> {
    if pattern.len() > LONGEST_PATTERN {
        return Err(KeyFault::new(key, Fault::Long { key, bytes: pattern.len(), limit: LONGEST_PATTERN }));
    }
    regex::bytes::RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(4 << 20)
        .build()
        .map_err(|error| KeyFault::new(key, Fault::Regex { key, reason: error.to_string() }))
}
