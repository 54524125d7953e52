//! Texts that are nothing but values: the answer to "what is your ...?".

use std::ops::Range;

/// Longest text that is taken for a list of values.
const LONGEST_LIST: usize = 120;
/// What joins the last value to those before it.
const CONJUNCTIONS: &[&str] = &["and", "or", "und", "oder", "et", "ou", "y", "o", "e", "ve", "&"];

/// Where in a text a value stands alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lone {
    /// The text without blanks, quotes and a full stop around it.
    whole: Range<usize>,
    /// It is several values and what joins them.
    list: bool,
}

impl Lone {
    /// Nothing in the text stands alone.
    pub(super) const NOWHERE: Self = Self { whole: 0..0, list: false };

    pub(super) fn of(text: &str) -> Self {
        let dull = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '.');
        let start = text.len() - text.trim_start_matches(dull).len();
        let end = text.trim_end_matches(dull).len().max(start);
        Self { whole: start..end, list: end - start <= LONGEST_LIST && is_list(&text[start..end]) }
    }

    /// Whether the value at `span` is all that there is, or one of a list.
    pub(super) fn holds(&self, span: &Range<usize>) -> bool {
        *span == self.whole || (self.list && self.whole.start <= span.start && span.end <= self.whole.end)
    }
}

/// Values with digits in them, joined by a conjunction or commas. Numbers with mere blanks between them are a table.
fn is_list(text: &str) -> bool {
    let mut joined = false;
    let all = text.split_whitespace().all(|word| {
        let conjunction = CONJUNCTIONS.contains(&word);
        let value = word.trim_end_matches([',', ';']).trim_matches(['"', '\'']);
        joined |= conjunction || word.ends_with([',', ';']);
        let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'.' | b'+'));
        conjunction || (plain && value.bytes().any(|b| b.is_ascii_digit()))
    });
    all && joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_alone_whatever_blanks_and_quotes_are_around_it() {
        assert!(Lone::of(" \"123 456\".\n").holds(&(2..9)));
        assert!(!Lone::of("order 123").holds(&(6..9)));
        assert!(!Lone::of("").holds(&(0..1)));
    }

    #[test]
    fn values_in_a_list_are_alone_and_numbers_in_a_table_are_not() {
        assert!(Lone::of("123 and 456").holds(&(8..11)));
        assert!(Lone::of("A123, B456.").holds(&(6..10)));
        assert!(!Lone::of("123 456 789").holds(&(4..7)));
        assert!(!Lone::of("123 and then 456").holds(&(0..3)));
        assert!(!Lone::of("f(1), 456").holds(&(6..9)));
    }
}
