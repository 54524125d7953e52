//! With which bytes an expression can begin to match.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;

/// Bytes with which an expression can begin to match.
#[derive(Clone, Copy, Debug)]
pub(in crate::mask) struct FirstBytes([bool; 256]);

impl FirstBytes {
    /// Of an expression over bytes; any byte where that is not known.
    pub(super) fn of(expression: &str) -> Self {
        let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(expression);
        let beginnings = parsed.ok().and_then(|hir| {
            let mut beginnings = Extractor::new().limit_class(256).limit_literal_len(1).limit_total(4096).extract(&hir);
            beginnings.keep_first_bytes(1);
            beginnings.dedup();
            Some(beginnings.literals()?.iter().map(|literal| literal.as_bytes().first().copied()).collect::<Vec<_>>())
        });
        let mut first = Self([false; 256]);
        match beginnings.and_then(|beginnings| beginnings.into_iter().collect::<Option<Vec<u8>>>()) {
            Some(bytes) => bytes.into_iter().for_each(|byte| first.0[usize::from(byte)] = true),
            // One that may match nothing, or begins with too much.
            None => first.0.fill(true),
        }
        first
    }

    #[inline]
    pub(in crate::mask) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::engine::Engine;
    use crate::mask::rules::{Locate, Source};

    fn first(expression: &str) -> String {
        let first = FirstBytes::of(expression);
        (0..=255).filter(|byte| first.has(*byte)).map(char::from).collect()
    }

    #[test]
    fn beginnings_are_told() {
        assert_eq!(first("(?i:https?|ftp)://[a-z]+"), "FHfh");
        assert_eq!(first("[a-c]{2,9}x|z?y"), "abcyz");
        assert_eq!(first("\\bkey"), "k");
        assert_eq!(first("a*").len(), first("(?s:.)x").len());
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
                prop_assert!(first.has(found.as_bytes()[0]), "{verify} in {text}");
            }
        }
    }
}
