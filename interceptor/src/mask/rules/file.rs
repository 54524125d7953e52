//! A rule file: TOML, read rule by rule, so that each mistake is told with its line.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer, Error, ValueDeserializer};

use super::allow::Allow;
use super::compile::compile;
use super::mistake::{Fault, KeyFault, Mistake, Origin, Position};
use super::{Address, Edge, Need, Rule, Special};
use crate::flow::Severity;
use crate::mask::phone::Plan;
use crate::mask::validate::Validator;

/// A rule file's keys besides its rules.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Head {
    /// Values that no rule reports, of whatever file.
    allow: Vec<String>,
}

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// Unique name: family, then kind.
    pub(super) id: String,
    /// Kind of value, as in records and in the output of `scan`.
    pub(super) entity: String,
    /// Kind of value, as in tokens.
    pub(super) label: String,
    /// How bad a leak is.
    pub(super) severity: Severity,
    /// 0 to 1, before words and checksums add to it.
    pub(super) confidence: f32,
    /// What is done with the value unless policy says otherwise.
    #[serde(default)]
    pub(super) action: Treatment,
    /// Source: a Hyperscan pattern. Fast ones begin with a literal or end at a fixed width; a class or a boundary at the
    /// head costs every other rule.
    #[serde(default)]
    pub(super) pattern: Option<String>,
    /// Source: shapes of digit-bearing tokens.
    #[serde(default)]
    pub(super) pictures: Vec<String>,
    /// What `-` in a picture stands for; blank and hyphen unless said.
    #[serde(default)]
    pub(super) separators: Option<String>,
    /// Source: a numbering plan.
    #[serde(default)]
    pub(super) phone: Option<Plan>,
    /// Source: an Internet address.
    #[serde(default)]
    pub(super) address: Option<Address>,
    /// How far before the match of `pattern` the value may begin.
    #[serde(default)]
    pub(super) lookbehind: usize,
    /// Matched behind a picture, to lengthen the value.
    #[serde(default)]
    pub(super) extend: Option<String>,
    /// What the value is, to its end; the pattern itself unless said.
    #[serde(default)]
    pub(super) verify: Option<String>,
    /// What stands behind the match of `pattern`; its first group that took part is the value. `{=}`: an assignment.
    #[serde(default)]
    pub(super) after: Option<String>,
    /// A name in which this is found introduces no value: matched from the beginning of the name to that of the value.
    #[serde(default)]
    pub(super) unless: Option<String>,
    /// Code that finds the extent.
    #[serde(default)]
    pub(super) locate: Option<Special>,
    /// How many bytes `verify`, `after` and `extend` may look at.
    #[serde(default)]
    pub(super) reach: Option<usize>,
    /// What must not stand before the value.
    #[serde(default)]
    pub(super) left: Edge,
    /// What must not stand behind it.
    #[serde(default)]
    pub(super) right: Edge,
    /// Checksum, structure or randomness.
    #[serde(default)]
    pub(super) validator: Option<Validator>,
    /// Words nearby that raise the score: lower case, blanks for `_` and `-`.
    #[serde(default)]
    pub(super) words: Vec<String>,
    /// Whether the words are needed.
    #[serde(default)]
    pub(super) need: Need,
    /// Any other rule wins over this one.
    #[serde(default)]
    pub(super) generic: bool,
    /// Values that are none of this rule's: whole, in either case, `*` for any text.
    #[serde(default)]
    pub(super) allow: Vec<String>,
    /// Whether it is loaded although it slows the set down.
    #[serde(default)]
    pub(super) allow_slow: bool,
    /// Texts with the value between `{{` and `}}`.
    #[serde(default)]
    pub(super) examples: Vec<String>,
    /// Texts in which the rule finds nothing.
    #[serde(default)]
    pub(super) counter: Vec<String>,
}

/// What is done with a value by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Treatment {
    /// It is replaced.
    #[default]
    Mask,
    /// It is only reported, and gives way to any other finding.
    Report,
}

/// What a rule file holds.
#[derive(Debug, Default)]
pub(in crate::mask) struct File {
    pub(in crate::mask) rules: Vec<Rule>,
    /// Values that no rule reports, of whatever file.
    pub(in crate::mask) allow: Option<Allow>,
}

/// Reads the rule file `name`. A rule with a mistake is left out, and told in `mistakes`; `begun` hears of each rule
/// before it is compiled.
pub(in crate::mask) fn read(
    name: &str,
    text: &str,
    mistakes: &mut Vec<Mistake>,
    mut begun: impl FnMut(&Origin, Option<&str>),
) -> File {
    let mut reader = Reader { name, text, mistakes };
    let mut table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            reader.toml(0, None, &error);
            return File::default();
        }
    };
    let rules = table.remove("rule").map_or_else(DeArray::new, |rules| reader.array(rules));
    let allow = reader.head(table);
    let rules = rules.into_iter().filter_map(|rule| {
        let id = rule.get_ref().get("id").and_then(|id| id.get_ref().as_str());
        let origin = Origin { file: name.to_owned(), at: Position::of(text, rule.span().start) };
        begun(&origin, id);
        reader.rule(&rule, origin, id)
    });
    File { rules: rules.collect(), allow }
}

struct Reader<'f> {
    name: &'f str,
    text: &'f str,
    mistakes: &'f mut Vec<Mistake>,
}

impl Reader<'_> {
    /// The `[[rule]]` tables.
    fn array<'i>(&mut self, rules: Spanned<DeValue<'i>>) -> DeArray<'i> {
        let start = rules.span().start;
        match rules.into_inner() {
            DeValue::Array(rules) => rules,
            _ => {
                let fault = Fault::Toml("each rule is a table that begins with [[rule]]".to_owned());
                self.mistake(start, None, fault);
                DeArray::new()
            }
        }
    }

    fn head(&mut self, table: DeTable<'_>) -> Option<Allow> {
        let place = Places { table: table.clone() };
        match Head::deserialize(Deserializer::from(Spanned::new(0..self.text.len(), table))) {
            Ok(head) => match Allow::new(&head.allow) {
                Ok(allow) => return allow,
                Err(KeyFault { key, element, fault }) => self.mistake(place.of(key, element).unwrap_or(0), None, fault),
            },
            Err(error) => self.toml(0, None, &error),
        }
        None
    }

    fn rule(&mut self, rule: &Spanned<DeValue<'_>>, origin: Origin, id: Option<&str>) -> Option<Rule> {
        let start = rule.span().start;
        let raw = match Raw::deserialize(ValueDeserializer::from(rule.clone())) {
            Ok(raw) => raw,
            Err(error) => {
                self.toml(start, id, &error);
                return None;
            }
        };
        let place = Places { table: rule.get_ref().as_table().cloned().unwrap_or_default() };
        let place = |key: &str, element| place.of(key, element).unwrap_or(start);
        let text = self.text;
        match compile(raw, origin, |key, element| Position::of(text, place(key, Some(element)))) {
            Ok(rule) => Some(rule),
            Err(KeyFault { key, element, fault }) => {
                self.mistake(place(key, element), id, fault);
                None
            }
        }
    }

    fn toml(&mut self, start: usize, rule: Option<&str>, error: &Error) {
        let at = error.span().map_or(start, |span| span.start);
        self.mistake(at, rule, Fault::Toml(error.message().to_owned()));
    }

    fn mistake(&mut self, offset: usize, rule: Option<&str>, fault: Fault) {
        let at = Some(Position::of(self.text, offset));
        self.mistakes.push(Mistake { file: self.name.to_owned(), at, rule: rule.map(str::to_owned), fault });
    }
}

/// Where the keys of a table stand.
struct Places<'i> {
    table: DeTable<'i>,
}

impl Places<'_> {
    /// Where `key` is written, or an element of its list.
    fn of(&self, key: &str, element: Option<usize>) -> Option<usize> {
        let (name, value) = self.table.get_key_value(key)?;
        let element = element.and_then(|element| value.get_ref().as_array()?.get(element));
        Some(element.map_or(name.span().start, |element| element.span().start))
    }
}
