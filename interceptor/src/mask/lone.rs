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
    /// It may become several values and what joins them.
    open: bool,
}

impl Lone {
    /// Nothing in the text stands alone.
    pub(super) const NOWHERE: Self = Self { whole: 0..0, list: false, open: false };

    pub(super) fn of(text: &str) -> Self {
        let start = text.len() - text.trim_start_matches(is_dull).len();
        let end = text.trim_end_matches(is_dull).len().max(start);
        let list = end - start <= LONGEST_LIST && is_list(&text[start..end]);
        Self { whole: start..end, list, open: false }
    }

    /// What may stand alone in the beginning of a text; with more than `tail` bytes of blanks and the like behind it,
    /// nothing does.
    pub(super) fn of_beginning(text: &str, tail: usize) -> Self {
        let lone = Self::of(text);
        if text.len() - lone.whole.end > tail { Self::NOWHERE } else { Self { open: may_become_list(text), ..lone } }
    }

    /// Whether the value at `span` may turn out to be all that there is, or one of a list, as the text goes on.
    pub(super) fn may_hold(&self, span: &Range<usize>) -> bool {
        self.holds(span) || self.open
    }

    /// Whether any value of up to `bytes` may be.
    pub(super) fn may_hold_any(&self, bytes: usize) -> bool {
        self.list || self.open || (1..=bytes).contains(&self.whole.len())
    }

    /// Whether the value at `span` is all that there is, or one of a list.
    pub(super) fn holds(&self, span: &Range<usize>) -> bool {
        *span == self.whole || (self.list && self.whole.start <= span.start && span.end <= self.whole.end)
    }
}

/// Values with digits in them, joined by a conjunction or commas. Numbers with mere blanks between them are a table.
fn is_list(text: &str) -> bool {
    let joins = |word: &str| is_conjunction(word) || word.ends_with([',', ';']);
    text.split_whitespace().all(is_element) && text.split_whitespace().any(joins)
}

/// Whether more text may make a list of this one; its last word may go on.
pub(super) fn may_become_list(text: &str) -> bool {
    let text = text.trim_start_matches(is_dull);
    let complete = text.rfind(char::is_whitespace).map_or("", |end| &text[..end]);
    complete.trim_end_matches(is_dull).len() <= LONGEST_LIST && complete.split_whitespace().all(is_element)
}

fn is_element(word: &str) -> bool {
    let value = word.trim_end_matches([',', ';']).trim_matches(['"', '\'']);
    let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'.' | b'+'));
    is_conjunction(word) || (plain && value.bytes().any(|b| b.is_ascii_digit()))
}

fn is_conjunction(word: &str) -> bool {
    CONJUNCTIONS.contains(&word)
}

/// Whether `c` may stand around a lone value.
pub(super) fn is_dull(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '.')
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
