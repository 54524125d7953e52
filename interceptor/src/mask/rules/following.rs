//! What follows a name: two bytes tell that nearly all words such as `password` introduce nothing.

use std::sync::OnceLock;

use regex::bytes::Regex;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::alphabet::Unit;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

/// An expression that is matched at the beginning of a text.
#[derive(Debug)]
pub(in crate::mask) struct Following {
    expression: Regex,
    /// Made when the expression is first asked for: most never are.
    pairs: OnceLock<Option<Box<Pairs>>>,
}

/// The pairs of bytes with which an expression can begin to match.
#[derive(Debug)]
struct Pairs {
    /// Bytes that the expression does not tell apart are of one class.
    class: [u8; 256],
    /// For each class, the classes that may follow it.
    next: Vec<[bool; 256]>,
}

impl Following {
    /// Of an expression that is anchored at the beginning of a text.
    pub(super) fn new(expression: Regex) -> Self {
        Self { expression, pairs: OnceLock::new() }
    }

    pub(in crate::mask) fn expression(&self) -> &Regex {
        &self.expression
    }

    /// Whether it matches; told without groups, which takes memory.
    pub(in crate::mask) fn is_match(&self, text: &[u8]) -> bool {
        self.may_match(text) && self.expression.is_match(text)
    }

    #[inline]
    fn may_match(&self, text: &[u8]) -> bool {
        let pairs = self.pairs.get_or_init(|| Pairs::of(self.expression.as_str()));
        let ([first, second, ..], Some(pairs)) = (text, pairs) else { return true };
        let class = |byte: &u8| usize::from(pairs.class[usize::from(*byte)]);
        pairs.next[class(first)][class(second)]
    }
}

impl Pairs {
    /// None where it cannot be told.
    fn of(expression: &str) -> Option<Box<Self>> {
        let dfa = DFA::builder()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(thompson::Config::new().utf8(false))
            .build(expression)
            .ok()?;
        let classes = dfa.byte_classes();
        let bytes: Vec<u8> = classes.representatives(..).filter_map(Unit::as_u8).collect();
        let mut cache = dfa.create_cache();
        let mut pairs = Self { class: std::array::from_fn(|byte| classes.get(byte as u8)), next: Vec::new() };
        for first in &bytes {
            let mut next = [false; 256];
            for second in &bytes {
                next[usize::from(classes.get(*second))] = can_begin(&dfa, &mut cache, [*first, *second])?;
            }
            pairs.next.push(next);
        }
        Some(Box::new(pairs))
    }
}

/// Whether some text that begins with `bytes` matches.
fn can_begin(dfa: &DFA, cache: &mut Cache, bytes: [u8; 2]) -> Option<bool> {
    let mut state = dfa.start_state_forward(cache, &Input::new("").anchored(Anchored::Yes)).ok()?;
    for byte in bytes {
        state = dfa.next_state(cache, state, byte).ok()?;
        // Of a match is told a byte late.
        if state.is_match() {
            return Some(true);
        }
    }
    Some(!state.is_dead())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_matches_is_allowed(text in "[a-z=: \"]{0,4}") {
            for expression in ["\\A(?:)", "\\A[a-z]?(?:=|: ?)[a-z]", "\\A(?:[=:]|is )", "\\A\"", "\\A(?i:[A-C]{2,3}=)"] {
                let following = Following::new(Regex::new(expression).unwrap());
                let matches = following.expression().is_match(text.as_bytes());
                prop_assert!(!matches || following.may_match(text.as_bytes()), "{} {}", expression, text);
            }
        }
    }

    #[test]
    fn what_cannot_begin_to_match_is_told() {
        let following = Following::new(Regex::new("\\A(?:[a-z]?=| is )").unwrap());
        let may_match = |text: &str| following.may_match(text.as_bytes());
        assert!(may_match(" is x") && may_match("s=") && may_match("=x") && may_match(" "));
        assert!(!may_match(" dialog") && !may_match("ss") && !may_match("1="));
    }
}
