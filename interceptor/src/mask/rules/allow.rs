//! Values that are never reported: the company's own addresses, the test card of a payment provider.

use regex::bytes::Regex;

use super::mistake::{Fault, KeyFault};

/// Characters besides `*` that an entry must have.
const FEWEST: usize = 3;

/// A list of values: whole values, in either case, `*` for any text.
#[derive(Clone, Debug)]
pub(crate) struct Allow(Regex);

impl Allow {
    /// Of an `allow` list; none of an empty one.
    pub(super) fn new(entries: &[String]) -> Result<Option<Self>, KeyFault> {
        if entries.is_empty() {
            return Ok(None);
        }
        let mut alternatives = Vec::with_capacity(entries.len());
        for (entry, number) in entries.iter().zip(0..) {
            if entry.chars().filter(|&c| c != '*').count() < FEWEST {
                return Err(KeyFault::of_element("allow", number, Fault::Allow(entry.clone())));
            }
            alternatives.push(entry.split('*').map(regex::escape).collect::<Vec<_>>().join("(?s-u:.*)"));
        }
        let expression = format!(r"(?i)\A(?:{})\z", alternatives.join("|"));
        let built = regex::bytes::Regex::new(&expression);
        let reason =
            |error: regex::Error| KeyFault::new("allow", Fault::Regex { key: "allow", reason: error.to_string() });
        built.map(Self).map(Some).map_err(reason)
    }

    /// Whether `value` is one of them.
    pub(crate) fn has(&self, value: &[u8]) -> bool {
        self.0.is_match(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_whole_in_either_case_and_a_star_is_any_text() {
        let list = ["4111 1111 1111 1111", "*@corp.example", "a.c?"].map(str::to_owned);
        let allow = Allow::new(&list).unwrap().unwrap();
        for value in ["4111 1111 1111 1111", "Jane@CORP.example", "a.c?"] {
            assert!(allow.has(value.as_bytes()), "{value}");
        }
        for value in ["4111 1111 1111 1111 1", "jane@corp.example.org", "abc?", "a.c"] {
            assert!(!allow.has(value.as_bytes()), "{value}");
        }
        assert!(Allow::new(&[]).unwrap().is_none());
    }

    #[test]
    fn an_entry_for_nearly_everything_is_refused() {
        for entry in ["*", "", "a*b", "**"] {
            let fault = Allow::new(&["fine value".to_owned(), entry.to_owned()]).unwrap_err();
            assert_eq!((fault.key, fault.element), ("allow", Some(1)), "{entry}");
        }
    }
}
