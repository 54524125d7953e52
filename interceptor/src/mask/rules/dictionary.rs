//! Dictionaries: literals, one a line, such as the names of customers and projects.
//!
//! They are compiled into the same Hyperscan database as the patterns, where tens of thousands cost next to nothing:
//! measured with 50,000 names, an automaton of their own (Aho-Corasick) takes three quarters of the set's throughput.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;

use serde::Deserialize;

use super::mistake::{Fault, Mistake, Origin, Position, place};
use super::{Edge, Need, Rule, Source};
use crate::flow::{RuleMeta, Severity};

/// Bytes and characters of a literal.
const LONGEST: usize = 512;
const SHORTEST: usize = 3;
/// Of an exact literal; it has no other evidence.
const CONFIDENCE: f32 = 0.9;

/// What a dictionary's header says, or the configuration, which wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DictionaryHead {
    /// The rule's name; none: `dictionary.` and the file's.
    pub id: Option<String>,
    /// Kind of value, as in records; none: `DICTIONARY`.
    pub entity: Option<String>,
    /// Kind of value, as in tokens; none: `TERM`.
    pub label: Option<String>,
    /// How bad a leak is; none: medium.
    pub severity: Option<Severity>,
    /// Whether `ACME` is found for `Acme`; none: it is.
    pub case: Option<Case>,
    /// Whether it is loaded although it slows the set down.
    pub allow_slow: Option<bool>,
}

/// What becomes of upper and lower case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// Either is found; letters beyond ASCII as written, all small or all capital.
    #[default]
    Ignore,
    /// As written.
    Match,
}

impl DictionaryHead {
    fn or(self, other: Self) -> Self {
        Self {
            id: self.id.or(other.id),
            entity: self.entity.or(other.entity),
            label: self.label.or(other.label),
            severity: self.severity.or(other.severity),
            case: self.case.or(other.case),
            allow_slow: self.allow_slow.or(other.allow_slow),
        }
    }
}

/// The literals, each as an expression and the bytes it matches.
#[derive(Debug)]
pub(in crate::mask) struct Dictionary {
    pub(in crate::mask) expressions: Vec<(String, u32)>,
}

impl Dictionary {
    /// Whether what is at `span` is no part of a longer word.
    pub(in crate::mask) fn stands_alone(text: &[u8], span: &Range<usize>) -> bool {
        let inside = &text[span.clone()];
        let joined = |a: Option<char>, b: Option<char>| a.zip(b).is_some_and(|(a, b)| joins(a) && joins(b));
        !joined(last(&text[..span.start]), first(inside)) && !joined(last(inside), first(&text[span.end..]))
    }
}

/// Whether `c` goes on a word; in scripts without blanks between words nothing does.
fn joins(c: char) -> bool {
    let without_blanks = matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..);
    (c.is_alphanumeric() && !without_blanks) || c == '_'
}

fn first(text: &[u8]) -> Option<char> {
    let end = (1..=text.len().min(4)).find(|&end| std::str::from_utf8(&text[..end]).is_ok())?;
    std::str::from_utf8(&text[..end]).ok()?.chars().next()
}

fn last(text: &[u8]) -> Option<char> {
    let start =
        (1..=text.len().min(4)).map(|n| text.len() - n).find(|&start| std::str::from_utf8(&text[start..]).is_ok())?;
    std::str::from_utf8(&text[start..]).ok()?.chars().next()
}

/// Reads the dictionary `name`; what `given` says wins over its header. What is wrong goes to `mistakes`.
pub(in crate::mask) fn read(
    name: &str,
    text: &str,
    given: &DictionaryHead,
    mistakes: &mut Vec<Mistake>,
) -> Option<Rule> {
    let before = mistakes.len();
    let mut mistake = |at, fault| mistakes.push(Mistake { file: name.to_owned(), at, rule: None, fault });
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let header = header(text);
    let head = toml::from_str::<DictionaryHead>(&header)
        .map_err(|error| mistake(place(&header, error.span()), Fault::Toml(error.message().to_owned())));
    let head = given.clone().or(head.unwrap_or_default());
    let mut is_bad = false;
    let mut literals = Literals::new(head.case.unwrap_or_default());
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        let literal = match line {
            comment if comment.starts_with('#') => continue,
            escaped if escaped.starts_with("\\#") => &escaped[1..],
            literal => literal,
        };
        if let Err(fault) = literals.add(literal) {
            is_bad = true;
            mistake(Some(Position { line: number, column: 1 }), fault);
        }
    }
    let meta = meta(name, &head);
    if let Some(fault) = unfit(&meta) {
        mistake(None, fault);
    }
    if literals.expressions.is_empty() && !is_bad {
        mistake(None, Fault::Empty("dictionary"));
    }
    (mistakes.len() == before).then(|| Rule {
        meta: meta.into(),
        origin: Origin { file: name.to_owned(), at: Position { line: 1, column: 1 } },
        source: Source::Dictionary(Dictionary { expressions: literals.expressions }),
        confidence: CONFIDENCE,
        reach: 0,
        left: Edge::Any,
        right: Edge::Any,
        validator: None,
        words: None,
        need: Need::Nothing,
        generic: false,
        allow: None,
        allow_slow: head.allow_slow.unwrap_or(false),
        examples: Vec::new(),
        counter: Vec::new(),
    })
}

/// The lines that begin with `#:`, at their places.
fn header(text: &str) -> String {
    text.lines()
        .map(|line| line.strip_prefix("#:").map_or_else(String::new, |line| format!("  {line}")) + "\n")
        .collect()
}

fn meta(name: &str, head: &DictionaryHead) -> RuleMeta {
    let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
    let stem = std::path::Path::new(name).file_stem().map(|stem| stem.to_string_lossy().to_ascii_lowercase());
    let stem = stem.unwrap_or_default().replace(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_'), "-");
    RuleMeta {
        id: or(&head.id, &format!("dictionary.{stem}")),
        entity: or(&head.entity, "DICTIONARY"),
        label: or(&head.label, "TERM"),
        severity: head.severity.unwrap_or(Severity::Medium),
        report_only: false,
    }
}

fn unfit(meta: &RuleMeta) -> Option<Fault> {
    super::compile::names(&meta.id, &meta.entity, &meta.label).err().map(|fault| fault.fault)
}

struct Literals {
    case: Case,
    seen: HashSet<String>,
    expressions: Vec<(String, u32)>,
}

impl Literals {
    fn new(case: Case) -> Self {
        Self { case, seen: HashSet::new(), expressions: Vec::new() }
    }

    fn add(&mut self, literal: &str) -> Result<(), Fault> {
        if literal.is_empty() {
            return Ok(());
        }
        if literal.chars().count() < SHORTEST || !literal.chars().any(char::is_alphanumeric) {
            return Err(Fault::Short(literal.to_owned()));
        }
        if literal.len() > LONGEST {
            return Err(Fault::Long { key: "literal", bytes: literal.len(), limit: LONGEST });
        }
        match self.case {
            Case::Match => self.push("", literal.to_owned(), literal),
            Case::Ignore => {
                for form in [literal.to_owned(), literal.to_lowercase(), literal.to_uppercase()] {
                    self.push("(?i)", form.to_ascii_lowercase(), &form);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, flags: &str, key: String, literal: &str) {
        if self.seen.insert(key) {
            let mut expression = flags.to_owned();
            for byte in literal.bytes() {
                if byte.is_ascii_alphanumeric() || byte == b' ' {
                    expression.push(char::from(byte));
                } else {
                    // Writing to a string does not fail.
                    let _ = write!(expression, "\\x{byte:02x}");
                }
            }
            self.expressions.push((expression, u32::try_from(literal.len()).unwrap_or(u32::MAX)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(text: &str, literal: &str) -> bool {
        let start = text.find(literal).unwrap();
        Dictionary::stands_alone(text.as_bytes(), &(start..start + literal.len()))
    }

    #[test]
    fn a_literal_is_no_part_of_a_word() {
        for text in ["Acme", "an Acme.", "(Acme)", "Acme's", "an-Acme-x", "\u{4e2d}Acme\u{6587}"] {
            assert!(alone(text, "Acme"), "{text}");
        }
        for text in ["Acmes", "xAcme", "Acme_1", "Acme7", "\u{e9}Acme", "Acme\u{e9}"] {
            assert!(!alone(text, "Acme"), "{text}");
        }
        assert!(alone("\u{6211}\u{7231}\u{5317}\u{4eac}\u{5e02}", "\u{5317}\u{4eac}"));
        assert!(alone("xC++y", "C++") != alone("x C++y", "C++"), "only letters and digits join");
    }

    #[test]
    fn the_header_names_the_rule_and_what_is_given_wins() {
        let text = "# customers\n#: entity = \"CUSTOMER\"\n#: severity = \"high\"\nAcme Ltd\n\\#hash\n\nacme ltd\n";
        let mut mistakes = Vec::new();
        let given = DictionaryHead { severity: Some(Severity::Low), ..DictionaryHead::default() };
        let rule = read("/etc/x/Our Customers.txt", text, &given, &mut mistakes).unwrap();
        assert_eq!((rule.meta.id.as_str(), rule.meta.entity.as_str()), ("dictionary.our-customers", "CUSTOMER"));
        assert_eq!(rule.meta.severity, Severity::Low);
        let Source::Dictionary(dictionary) = rule.source else { panic!("a dictionary") };
        assert_eq!(dictionary.expressions, [("(?i)Acme Ltd".to_owned(), 8), ("(?i)\\x23hash".to_owned(), 5)]);
    }

    #[test]
    fn mistakes_are_told_with_their_lines() {
        let text = "#: severty = \"high\"\nab\n--- ---\nfine\n";
        let mut mistakes = Vec::new();
        assert!(read("x.txt", text, &DictionaryHead::default(), &mut mistakes).is_none());
        let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("x.txt:1:4: unknown field `severty`"), "{told:?}");
        assert!(
            told[1].starts_with("x.txt:2:1: \"ab\" is too short") && told[2].starts_with("x.txt:3:1: "),
            "{told:?}"
        );
        assert_eq!(told.len(), 3);
    }
}
