//! What is wrong with a rule file or a dictionary, and where.

use std::fmt;
use std::ops::Range;

use crate::mask::Error;

/// A place in a file, counted from 1; the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// Where the byte `offset` of `text` is.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

/// Where a rule was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, as it was named.
    pub file: String,
    /// Where in it.
    pub at: Position,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.at.line)
    }
}

/// One thing that is wrong, with its place: `rules.toml:12:14: rule corp.badge: <reason; remedy>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named.
    pub file: String,
    /// Where in it, when that is known.
    pub at: Option<Position>,
    /// The rule, when it is known.
    pub rule: Option<String>,
    /// The reason and the remedy.
    pub fault: Fault,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(Position { line, column }) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, ": rule {rule}")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// Mistakes told at once.
const TOLD: usize = 20;

/// All that is wrong with what was loaded: at least one thing. One a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// That there are none in `list`.
    ///
    /// # Errors
    /// [`Error::Rules`] with those that there are.
    pub fn none(list: Vec<Mistake>) -> Result<(), Error> {
        if list.is_empty() { Ok(()) } else { Err(Error::Rules(Self(list))) }
    }

    /// Each of them, in the order of the files.
    #[must_use]
    pub fn list(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mistake, number) in self.0.iter().take(TOLD).zip(0..) {
            write!(f, "{}{mistake}", if number > 0 { "\n" } else { "" })?;
        }
        match self.0.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more; `interceptor rules lint` tells all of them"),
        }
    }
}

impl Mistake {
    /// One of all that is loaded together.
    pub(in crate::mask) fn of_set(fault: Fault) -> Self {
        Self { file: "the rule set".to_owned(), at: None, rule: None, fault }
    }
}

impl From<Mistake> for Error {
    fn from(mistake: Mistake) -> Self {
        Self::Rules(Mistakes(vec![mistake]))
    }
}

/// A reason, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not TOML, an unknown key, a wrong type, an unknown name.
    #[error("{0}; docs/rules.md lists the keys and their values")]
    Toml(String),
    /// Bytes that are no text.
    #[error("not UTF-8; save the file as UTF-8 text")]
    NotUtf8,
    /// Larger than any file of rules.
    #[error("{bytes} bytes, and at most {limit} are read; divide it")]
    TooLarge {
        /// The file's length.
        bytes: usize,
        /// The cap.
        limit: usize,
    },
    /// No way to find candidates, or two.
    #[error("give exactly one of `pattern`, `pictures`, `phone` and `address`")]
    Source,
    /// Two ways to find a value's extent.
    #[error("give one of `locate` and `after`")]
    Extent,
    /// A key without effect in this kind of rule.
    #[error("`{key}` has no effect without `{needs}`; remove it")]
    Idle {
        /// The key.
        key: &'static str,
        /// The key that it belongs to.
        needs: &'static str,
    },
    /// A probability that is none.
    #[error(
        "confidence {0} is not between 0 and 1; the built-in rules have 0.3 (needs words) to 0.95 (a checksum holds)"
    )]
    Confidence(String),
    /// An empty or unprintable name.
    #[error("id {0:?} must be made of a-z, 0-9, `.`, `_` and `-`, such as \"corp.badge\"")]
    Id(String),
    /// A label that no token can have.
    #[error("label {0:?} must be made of A-Z, 0-9 and _, such as \"BADGE\"")]
    Label(String),
    /// A type that a policy rule could not name.
    #[error("entity {0:?} must be made of A-Z, 0-9 and _, such as \"EMPLOYEE_BADGE\"")]
    Entity(String),
    /// Words are asked for but not given.
    #[error("`need` asks for words, but `words` is empty; list the words that stand near such a value")]
    NoWords,
    /// A word that can never match.
    #[error("word {0:?} is never found; write it in lower case, with blanks for `_` and `-` and none at its ends")]
    Word(String),
    /// A picture that is none.
    #[error("{0}; docs/rules.md says how pictures are drawn")]
    Picture(String),
    /// A regular expression that does not compile.
    #[error("`{key}` is not a regular expression: {reason}")]
    Regex {
        /// The key.
        key: &'static str,
        /// What the library said.
        reason: String,
    },
    /// A pattern that Hyperscan does not compile.
    #[error(
        "Hyperscan cannot compile `pattern`: {0}; it takes PCRE without lookaround, back-references and possessive \
         repeats, and small repeat counts: move what is exact to `verify`"
    )]
    Hyperscan(String),
    /// A pattern for characters, where bytes are matched.
    #[error("`pattern` asks for {0}, but texts are matched as bytes; write characters beyond ASCII as they are")]
    Characters(&'static str),
    /// Longer than any pattern should be.
    #[error("`{key}` has {bytes} bytes, and at most {limit} are compiled; divide the rule")]
    Long {
        /// The key.
        key: &'static str,
        /// Its length.
        bytes: usize,
        /// The cap.
        limit: usize,
    },
    /// Nothing to look for.
    #[error("`{0}` is empty; leave it out or write what is to be found")]
    Empty(&'static str),
    /// A match of no bytes.
    #[error("`pattern` matches the empty text, so it is found everywhere; make a part of it obligatory")]
    MatchesEmpty,
    /// A start that cannot be found.
    #[error(
        "`pattern` matches up to {0} bytes, so finding its start has no bound; bound its repeats, end it at a fixed \
         width and let `verify` go on, or use `after`"
    )]
    Wide(Width),
    /// A pattern that is nearly everywhere.
    #[error(
        "too wide: it matches {matches} times in {bytes} bytes of ordinary text; begin the pattern with the letters that \
         every such value has, or find what introduces it and use `after`"
    )]
    Everywhere {
        /// Matches in the sample.
        matches: usize,
        /// The sample's length.
        bytes: usize,
    },
    /// Two rules of one name.
    #[error(
        "the id is taken by the rule in {0}; choose another (to replace a rule, disable it and name yours differently)"
    )]
    Duplicate(Origin),
    /// An example that is not found.
    #[error("example {text:?} {got}; mend the rule or the example: its value stands between {{{{ and }}}}")]
    Example {
        /// The example, its alphabets drawn.
        text: String,
        /// What happened instead.
        got: String,
    },
    /// A counter-example that is found.
    #[error("counter-example {text:?} is found as {value:?}; narrow the rule (a validator, words, `left` and `right`)")]
    Counter {
        /// The counter-example.
        text: String,
        /// What the rule found.
        value: String,
    },
    /// A text that cannot be scanned.
    #[error("scanning {text:?} failed: {reason}")]
    Unscannable {
        /// The example.
        text: String,
        /// Why.
        reason: String,
    },
    /// A value to be allowed that would allow nearly all.
    #[error("allowing {0:?} would allow too much; give at least three characters besides `*`")]
    Allow(String),
    /// A literal too short to mean anything.
    #[error("{0:?} is too short for a dictionary, it would be found everywhere; write a rule with `need = \"words\"`")]
    Short(String),
    /// More than is compiled.
    #[error("{count} {what}, and at most {limit} are loaded; {remedy}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The cap.
        limit: usize,
        /// What to do.
        remedy: &'static str,
    },
    /// A compiled set that no cache holds.
    #[error("the rules compile to {bytes} bytes, and at most {limit} are loaded; bound repeats, or leave rules out")]
    Database {
        /// Its size.
        bytes: usize,
        /// The cap.
        limit: usize,
    },
    /// Compiling takes too long.
    #[error("compiling takes more than {0} s; bound its repeats and shorten its alternatives")]
    CompileTime(u64),
    /// The set slows down too much.
    #[error(
        "slows the rule set by {cost} % (limit: {limit} %); begin its pattern with a literal and end it at a fixed width, \
         or accept that with `allow_slow = true`"
    )]
    Slow {
        /// The throughput lost, in per cent.
        cost: u32,
        /// The most that is accepted.
        limit: u32,
    },
}

/// A number of bytes, or none that can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width(pub usize);

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Hyperscan says so of what has no bound.
        if self.0 >= u32::MAX as usize { f.write_str("any number of") } else { self.0.fmt(f) }
    }
}

/// A fault of one key of a rule: of an element of its list where there is one.
#[derive(Debug)]
pub(super) struct KeyFault {
    pub(super) key: &'static str,
    pub(super) element: Option<usize>,
    pub(super) fault: Fault,
}

impl KeyFault {
    pub(super) fn new(key: &'static str, fault: Fault) -> Self {
        Self { key, element: None, fault }
    }

    pub(super) fn of_element(key: &'static str, element: usize, fault: Fault) -> Self {
        Self { key, element: Some(element), fault }
    }
}

/// The place of `span`, or of nothing.
pub(super) fn place(text: &str, span: Option<Range<usize>>) -> Option<Position> {
    span.map(|span| Position::of(text, span.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lines_and_columns_in_characters() {
        let text = "a\n\u{e9}b\n";
        assert_eq!(Position::of(text, 0), Position { line: 1, column: 1 });
        assert_eq!(Position::of(text, 4), Position { line: 2, column: 2 });
        assert_eq!(Position::of(text, 3), Position { line: 2, column: 1 }, "inside a character: its start");
        assert_eq!(Position::of(text, 6), Position { line: 3, column: 1 });
        assert_eq!(Position::of(text, 600), Position { line: 3, column: 1 });
    }
}
