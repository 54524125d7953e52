//! The words around a candidate: `ssn`, `routing number`, `IMEI`.

use std::ops::Range;

use super::token;

/// Bytes read before a candidate.
const BEFORE: usize = 60;
/// Bytes read after it.
const AFTER: usize = 20;

/// The text around a candidate in the form that words are compared in: lower case, one space for `_`, `-` and between
/// a small letter and a capital (`accountNumber`).
#[derive(Debug, Default)]
pub(super) struct Context {
    of: Option<Range<usize>>,
    words: Vec<u8>,
}

impl Context {
    /// Forgets the last candidate; a new text follows.
    pub(super) fn reset(&mut self) {
        self.of = None;
    }

    /// Whether one of `words` (lower case, spaces only) is near `span`. Gives the bytes looked at.
    pub(super) fn has_any(&mut self, text: &[u8], span: &Range<usize>, words: &[String]) -> (bool, usize) {
        let mut work = 0;
        if self.of.as_ref() != Some(span) {
            work = BEFORE + AFTER;
            self.read(text, span);
            self.of = Some(span.clone());
        }
        (words.iter().any(|word| contains_word(&self.words, word.as_bytes())), work)
    }

    fn read(&mut self, text: &[u8], span: &Range<usize>) {
        self.words.clear();
        self.words.push(b' ');
        self.push(&text[span.start.saturating_sub(BEFORE)..span.start]);
        // No word reaches from one side of the value to the other.
        self.words.push(b'\n');
        self.push(&text[span.end..text.len().min(span.end + AFTER)]);
        self.words.push(b' ');
    }

    fn push(&mut self, side: &[u8]) {
        let mut last_small = false;
        let mut at = 0;
        while at < side.len() {
            // The label of a token already in the text says nothing of the value beside it.
            if side[at] == b'['
                && let Some(len) = token::length(&side[at..])
            {
                self.words.push(b'\n');
                at += len;
                last_small = false;
                continue;
            }
            let byte = side[at];
            if last_small && byte.is_ascii_uppercase() {
                self.words.push(b' ');
            }
            last_small = byte.is_ascii_lowercase();
            self.words.push(match byte {
                b'_' | b'-' => b' ',
                _ => byte.to_ascii_lowercase(),
            });
            at += 1;
        }
    }
}

/// A word starts where no letter or digit stands before it; it may go on (`ssn` in `ssns`) by a plural `s` only.
fn contains_word(text: &[u8], word: &[u8]) -> bool {
    let ascii = word.is_ascii();
    memchr::memmem::find_iter(text, word).any(|at| {
        if !ascii {
            return true;
        }
        let left = at.checked_sub(1).and_then(|i| text.get(i));
        let tail = &text[at + word.len()..];
        let tail = tail.strip_prefix(b"s").unwrap_or(tail);
        !left.is_some_and(u8::is_ascii_alphanumeric) && !tail.first().is_some_and(u8::is_ascii_alphabetic)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(text: &str, value: &str, word: &str) -> bool {
        let start = text.find(value).unwrap();
        Context::default().has_any(text.as_bytes(), &(start..start + value.len()), &[word.to_owned()]).0
    }

    #[test]
    fn words_are_found_in_prose_and_in_identifiers() {
        assert!(near("My SSN is 123", "123", "ssn"));
        assert!(near("my ssns: 123", "123", "ssn"));
        assert!(near(r#"{"account_number": "123"}"#, "123", "account number"));
        assert!(near("accountNumber=123", "123", "account number"));
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
        assert!(!near("[SSN_k7q2m9xd] 123", "123", "ssn"));
    }
}
