//! The words around a candidate: `ssn`, `routing number`, `IMEI`.

use std::ops::Range;

use memchr::memmem;

/// Bytes read before a candidate.
const BEFORE: usize = 60;
/// Bytes read after it.
const AFTER: usize = 20;
/// What looking for one word counts, in bytes looked at.
const WORK_PER_WORD: usize = 8;

/// A word to look for: lower case, blanks only. What searching needs is prepared once, with the rules.
#[derive(Debug)]
pub(super) struct Word {
    text: String,
    finder: memmem::Finder<'static>,
}

impl Word {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), finder: memmem::Finder::new(text.as_bytes()).into_owned() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A word starts where no letter or digit stands before it; it may go on (`ssn` in `ssns`) by a plural `s` only.
    fn is_in(&self, text: &[u8]) -> bool {
        let ascii = self.text.is_ascii();
        self.finder.find_iter(text).any(|at| {
            if !ascii {
                return true;
            }
            let left = at.checked_sub(1).and_then(|i| text.get(i));
            let tail = &text[at + self.text.len()..];
            let tail = tail.strip_prefix(b"s").unwrap_or(tail);
            !left.is_some_and(u8::is_ascii_alphanumeric) && !tail.first().is_some_and(u8::is_ascii_alphabetic)
        })
    }
}

/// The text around a candidate in the forms that words are compared in: lower case, a blank for `_` and `-`.
#[derive(Debug, Default)]
pub(super) struct Context {
    of: Option<Range<usize>>,
    flat: Vec<u8>,
    /// With a blank between a small letter and a capital too (`accountNumber`); empty where that changes nothing.
    split: Vec<u8>,
}

impl Context {
    /// Forgets the last candidate; a new text follows.
    pub(super) fn reset(&mut self) {
        self.of = None;
    }

    /// Whether one of `words` is near `span`, outside of `tokens`: their labels say nothing of
    /// the value beside them. Gives the bytes looked at too.
    pub(super) fn has_any(
        &mut self,
        text: &[u8],
        tokens: &[Range<usize>],
        span: &Range<usize>,
        words: &[Word],
    ) -> (bool, usize) {
        let mut work = words.len() * WORK_PER_WORD;
        if self.of.as_ref() != Some(span) {
            work += BEFORE + AFTER;
            self.read(text, tokens, span);
            self.of = Some(span.clone());
        }
        let found =
            words.iter().any(|word| word.is_in(&self.flat) || (!self.split.is_empty() && word.is_in(&self.split)));
        (found, work)
    }

    fn read(&mut self, text: &[u8], tokens: &[Range<usize>], span: &Range<usize>) {
        self.flat.clear();
        self.split.clear();
        let mut camel = false;
        for side in [span.start.saturating_sub(BEFORE)..span.start, span.end..text.len().min(span.end + AFTER)] {
            // No word reaches from one side of the value, or of a token, to the other.
            self.push(b'\n');
            let mut from = side.start;
            let first = tokens.partition_point(|token| token.end <= side.start);
            for token in tokens[first..].iter().take_while(|token| token.start < side.end) {
                camel |= self.side(&text[from.min(token.start)..token.start]);
                self.push(b'\n');
                from = token.end.min(side.end);
            }
            camel |= self.side(&text[from..side.end]);
        }
        if !camel {
            self.split.clear();
        }
    }

    /// Adds a stretch of text; says whether it has a capital after a small letter.
    fn side(&mut self, side: &[u8]) -> bool {
        let (mut camel, mut last_small) = (false, false);
        for &byte in side {
            if last_small && byte.is_ascii_uppercase() {
                camel = true;
                self.split.push(b' ');
            }
            last_small = byte.is_ascii_lowercase();
            self.push(if matches!(byte, b'_' | b'-') { b' ' } else { byte.to_ascii_lowercase() });
        }
        camel
    }

    fn push(&mut self, byte: u8) {
        self.flat.push(byte);
        self.split.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(text: &str, value: &str, word: &str) -> bool {
        let start = text.find(value).unwrap();
        let tokens = crate::mask::token::find(text.as_bytes());
        Context::default().has_any(text.as_bytes(), &tokens, &(start..start + value.len()), &[Word::new(word)]).0
    }

    #[test]
    fn words_are_found_in_prose_and_in_identifiers() {
        assert!(near("My SSN is 123", "123", "ssn"));
        assert!(near("my ssns: 123", "123", "ssn"));
        assert!(near(r#"{"account_number": "123"}"#, "123", "account number"));
        assert!(near("accountNumber=123", "123", "account number"));
        assert!(near("IdNr. 123", "123", "idnr"));
        assert!(near("123 is my IMEI", "123", "imei"));
        assert!(near("身份证号码 123", "123", "身份证"));
    }

    #[test]
    fn parts_of_other_words_and_far_words_do_not_count() {
        assert!(!near("lessness 123", "123", "ssn"));
        assert!(!near("ssnake 123", "123", "ssn"));
        assert!(!near(&format!("ssn {} 123", "x".repeat(60)), "123", "ssn"));
        assert!(!near("account 123 number", "123", "account number"));
    }

    #[test]
    fn labels_of_tokens_do_not_count() {
        assert!(!near("[SSN_k7q2m9xv] 123", "123", "ssn"));
        assert!(!near("123 by the way [SSN_k7q2m9xv]", "123", "ssn"));
        assert!(!near(&format!("[US_SSN_k7q2m9xy]{} 123", " ".repeat(46)), "123", "ssn"));
        assert!(near("ssn [SSN_k7q2m9xv] 123", "123", "ssn"));
    }
}
