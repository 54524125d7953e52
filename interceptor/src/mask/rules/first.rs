//! With which bytes an expression can begin to match.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;

/// Literals of an expression's beginnings that are told apart; with more, any may be.
const MOST_BEGINNINGS: usize = 4096;

/// The bytes that an expression can begin to match with: the first, and the second.
#[derive(Debug)]
pub(in crate::mask) struct FirstBytes([[bool; 256]; 2]);

impl FirstBytes {
    /// Of an expression over bytes; any byte where that is not known.
    pub(super) fn of(expression: &str) -> Self {
        let mut first = Self([[false; 256]; 2]);
        for (at, bytes) in first.0.iter_mut().enumerate() {
            match beginnings(expression, at + 1) {
                Some(beginnings) => {
                    beginnings.iter().for_each(|beginning| bytes[usize::from(beginning[at])] = true);
                }
                None => bytes.fill(true),
            }
        }
        first
    }

    /// Whether a match can begin where `text` does.
    #[inline]
    pub(in crate::mask) fn may_begin(&self, text: &[u8]) -> bool {
        self.0.iter().zip(text).all(|(bytes, byte)| bytes[usize::from(*byte)])
    }
}

/// The first `len` bytes of all that an expression matches, where it is known that there are so many.
fn beginnings(expression: &str, len: usize) -> Option<Vec<Vec<u8>>> {
    let hir = ParserBuilder::new().unicode(false).utf8(false).build().parse(expression).ok()?;
    let mut extractor = Extractor::new();
    extractor.limit_class(256).limit_literal_len(len).limit_total(MOST_BEGINNINGS);
    let beginnings = extractor.extract(&hir);
    let beginnings: Vec<Vec<u8>> = beginnings.literals()?.iter().map(|literal| literal.as_bytes().to_vec()).collect();
    beginnings.iter().all(|beginning| beginning.len() >= len).then_some(beginnings)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::engine::Engine;
    use crate::mask::rules::{Locate, Source};

    fn first(expression: &str) -> [String; 2] {
        FirstBytes::of(expression).0.map(|bytes| (0..=255).filter(|b| bytes[usize::from(*b)]).map(char::from).collect())
    }

    #[test]
    fn beginnings_are_told() {
        assert_eq!(first("(?i:https?|ftp)://[a-z]+"), ["FHfh", "Tt"]);
        assert_eq!(first("[a-c]{2,9}x|z?y[0-9]"), ["abcyz", "0123456789abcy"]);
        assert_eq!(first("\\bkey"), ["k", "e"]);
        assert_eq!(first("a|bc")[0], "ab");
        assert_eq!(first("a|bc")[1].chars().count(), 256);
        assert_eq!(first("a*").map(|bytes| bytes.chars().count()), [256, 256]);
    }

    proptest! {
        #[test]
        fn what_an_expression_of_the_rules_finds_begins_so(at in 0usize..64, text in "[A-Za-z0-9:/@._=-]{0,60}") {
            let engine = Engine::builtin().unwrap();
            let verifies: Vec<_> = engine.all().iter().filter_map(|rule| match &rule.source {
                Source::Pattern { locate: Locate::Window { first, verify, .. }, .. } => Some((first, verify)),
                _ => None,
            }).collect();
            let (first, verify) = verifies[at % verifies.len()];
            for found in verify.find_iter(text.as_bytes()) {
                prop_assert!(first.may_begin(&text.as_bytes()[found.start()..]), "{verify} in {text}");
            }
        }
    }
}
