//! The compiled rule set, made once and shared by all threads.

use std::sync::{Arc, OnceLock};

use super::gate::Token;
use super::hyperscan::{self, Database};
use super::phone::Plan;
use super::rules::{self, Address, Rule, Source};
use super::{Error, Scanner};
use crate::flow::RuleMeta;

/// Longest token that a picture's anchor may have.
pub(super) const LONGEST_ANCHOR: usize = 40;

/// Compiled rules. Cheap to share; a [`Scanner`] for each thread does the work.
#[derive(Debug)]
pub struct Engine {
    rules: Vec<Rule>,
    database: Database,
    /// The rule of each pattern of the database.
    patterns: Vec<u32>,
    /// Pictures by what the gate sees of their anchor token.
    pictures: Vec<Vec<Shape>>,
    phones: Vec<(u32, Plan)>,
    addresses: Vec<(u32, Address)>,
}

/// A picture of a rule, and what the gate can tell of it at a glance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) rule: u32,
    pub(super) picture: u32,
    pub(super) offset: u32,
    next: u128,
}

impl Shape {
    /// Whether a token of this shape may be followed by `next`.
    #[inline]
    pub(super) fn admits(&self, next: Option<&u8>) -> bool {
        self.next == u128::MAX || next.is_some_and(|&b| b.is_ascii() && self.next >> b & 1 == 1)
    }
}

/// What stands behind the one byte that follows a token. Most numbers in a text are followed by a word or by nothing
/// that a picture could go on with: those pictures need not be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Follows {
    Nothing,
    Letter,
    Digit,
}

/// Where in `pictures` the shapes for such a token are.
fn slot(len: usize, digits: bool, follows: Follows) -> usize {
    (len * 2 + usize::from(digits)) * 3 + follows as usize
}

impl Engine {
    /// The rules that come with the program, compiled at the first call (about a second) and shared after that.
    ///
    /// # Errors
    /// When the linked Hyperscan fails its self-test or cannot compile the rules.
    pub fn builtin() -> Result<Arc<Self>, Error> {
        static BUILTIN: OnceLock<Result<Arc<Engine>, Error>> = OnceLock::new();
        BUILTIN
            .get_or_init(|| {
                hyperscan::self_test()?;
                let mut rules = Vec::new();
                for (file, text) in rules::BUILTIN {
                    rules.extend(rules::parse(file, text, hyperscan::width)?);
                }
                Self::new(rules).map(Arc::new)
            })
            .clone()
    }

    fn new(rules: Vec<Rule>) -> Result<Self, Error> {
        let mut patterns = Vec::new();
        let mut expressions = Vec::new();
        let mut pictures = vec![Vec::new(); slot(LONGEST_ANCHOR + 1, false, Follows::Nothing)];
        let mut phones = Vec::new();
        let mut addresses = Vec::new();
        for (index, rule) in (0u32..).zip(&rules) {
            match &rule.source {
                Source::Pattern { pattern, .. } => {
                    patterns.push(index);
                    expressions.push(pattern.as_str());
                }
                Source::Pictures { pictures: drawn, .. } => {
                    for (picture, anchor) in (0u32..).zip(drawn.iter().map(super::picture::Picture::anchor)) {
                        if *anchor.lengths.end() > LONGEST_ANCHOR {
                            let reason = format!("a token of a picture is longer than {LONGEST_ANCHOR}");
                            return Err(Error::Rules { file: rule.meta.id.clone(), reason });
                        }
                        let offset = u32::try_from(anchor.offset).unwrap_or(u32::MAX);
                        let shape = Shape { rule: index, picture, offset, next: anchor.next };
                        for follows in [Follows::Nothing, Follows::Letter, Follows::Digit] {
                            if anchor.goes_on.is_none_or(|letter| follows >= letter) {
                                for length in anchor.lengths.clone() {
                                    pictures[slot(length, anchor.digits, follows)].push(shape);
                                }
                            }
                        }
                    }
                }
                Source::Phone(plan) => phones.push((index, *plan)),
                Source::Address(kind) => addresses.push((index, *kind)),
            }
        }
        let database = Database::compile(expressions)?;
        Ok(Self { rules, database, patterns, pictures, phones, addresses })
    }

    /// The loaded rules, in the order of their files.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Arc<RuleMeta>> {
        self.rules.iter().map(|rule| &rule.meta)
    }

    /// A scanner for one thread.
    ///
    /// # Errors
    /// When Hyperscan cannot allocate its scratch memory.
    pub fn scanner(self: &Arc<Self>) -> Result<Scanner, Error> {
        Scanner::new(Arc::clone(self))
    }

    pub(super) fn rule(&self, index: u32) -> &Rule {
        &self.rules[index as usize]
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn rule_of_pattern(&self, pattern: usize) -> u32 {
        self.patterns[pattern]
    }

    /// The pictures that may fit around `token`.
    pub(super) fn shapes(&self, token: &Token, follows: Follows) -> &[Shape] {
        self.pictures.get(slot(token.span.len(), token.digits, follows)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn phones(&self) -> &[(u32, Plan)] {
        &self.phones
    }

    pub(super) fn addresses(&self) -> &[(u32, Address)] {
        &self.addresses
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> &[Rule] {
        &self.rules
    }
}
