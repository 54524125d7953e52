//! The words around a candidate: `ssn`, `routing number`, `IMEI`.

use std::ops::Range;

use regex::bytes::Regex;

/// Bytes read before a candidate.
pub(super) const BEFORE: usize = 60;
/// Bytes read after it.
pub(super) const AFTER: usize = 32;

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

    /// Whether one of `words` is near `span`, outside of `tokens`: their labels say nothing of the value beside them.
    /// Gives the bytes looked at too.
    pub(super) fn has_any(
        &mut self,
        text: &[u8],
        tokens: &[Range<usize>],
        span: &Range<usize>,
        words: &Words,
    ) -> (bool, usize) {
        let mut work = BEFORE + AFTER;
        if self.of.as_ref() != Some(span) {
            work += BEFORE + AFTER;
            self.read(text, tokens, span);
            self.of = Some(span.clone());
        }
        (words.are_in(&self.flat) || (!self.split.is_empty() && words.are_in(&self.split)), work)
    }

    /// The one of `words` that [`has_any`](Self::has_any) found last.
    pub(super) fn word(&self, words: &Words) -> Option<String> {
        words.found_in(&self.flat).or_else(|| words.found_in(&self.split))
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

/// A rule's words, prepared once as one expression.
#[derive(Debug)]
pub(super) struct Words {
    words: Vec<String>,
    expression: Regex,
}

impl Words {
    /// From words in lower case, with blanks only. A word starts where no letter or digit stands before it and may go on
    /// by a plural `s` only (`ssn` in `ssns`); in scripts without blanks between words, anywhere.
    pub(super) fn new(words: &[String]) -> Result<Self, String> {
        let alternatives = |ascii: bool| {
            let words: Vec<String> =
                words.iter().filter(|word| word.is_ascii() == ascii).map(|word| regex::escape(word)).collect();
            (!words.is_empty()).then(|| words.join("|"))
        };
        let bounded = alternatives(true).map(|words| format!("(?:\\A|[^a-z0-9])(?:{words})s?(?:[^a-z]|\\z)"));
        let parts: Vec<String> = bounded.into_iter().chain(alternatives(false)).collect();
        let expression = parts.join("|");
        regex::bytes::RegexBuilder::new(&expression)
            .unicode(false)
            .build()
            .map(|expression| Self { words: words.to_vec(), expression })
            .map_err(|error| format!("words: {error}"))
    }

    /// Whether `name` is one of them, in either case.
    pub(super) fn contain(&self, name: &[u8]) -> bool {
        self.words.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
    }

    fn found_in(&self, text: &[u8]) -> Option<String> {
        let found = self.expression.find(text)?;
        let word = String::from_utf8_lossy(found.as_bytes());
        Some(word.trim_matches(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && c != '#').to_owned())
    }

    fn are_in(&self, text: &[u8]) -> bool {
        self.expression.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(text: &str, value: &str, word: &str) -> bool {
        let start = text.find(value).unwrap();
        let tokens = crate::mask::token::find(text.as_bytes());
        let words = Words::new(&[word.to_owned()]).unwrap();
        Context::default().has_any(text.as_bytes(), &tokens, &(start..start + value.len()), &words).0
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
