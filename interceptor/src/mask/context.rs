//! The words around a candidate: `ssn`, `routing number`, `IMEI`.

use std::ops::Range;

use regex::bytes::Regex;

use super::vocabulary::{Listed, Vocabulary};

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
    /// The words of any rule that are there.
    found: Vec<u32>,
    /// Bytes read so far around candidates of this text.
    read: usize,
    /// Where words of any rule end in the text, once so much was read that it pays to look for all of them at once.
    ends: Option<Vec<usize>>,
}

impl Context {
    /// Forgets the last candidate; a new text follows.
    pub(super) fn reset(&mut self) {
        self.of = None;
        self.read = 0;
        self.ends = None;
    }

    /// Whether one of `words` is near `span`, with none of `tokens` between. A token is seldom as long as what it stands
    /// for: words beyond it may have been too far away, and masking what is masked would find more. Gives the bytes
    /// looked at too.
    pub(super) fn has_any(
        &mut self,
        text: &[u8],
        tokens: &[Range<usize>],
        span: &Range<usize>,
        (vocabulary, words): (&Vocabulary, &Listed),
    ) -> (bool, usize) {
        if self.of.as_ref() == Some(span) {
            return (words.holds_any(&self.found), 1);
        }
        self.of = Some(span.clone());
        let before = self.read;
        if self.may_be_near(text, span, vocabulary) {
            self.read += BEFORE + AFTER;
            self.read(text, tokens, span);
            self.found.clear();
            vocabulary.find(&self.flat, &mut self.found);
            vocabulary.find(&self.split, &mut self.found);
        } else {
            self.flat.clear();
            self.split.clear();
            self.found.clear();
        }
        (words.holds_any(&self.found), 1 + self.read - before)
    }

    /// Whether any word at all ends near `span`. In a text of many candidates that spares most of them.
    fn may_be_near(&mut self, text: &[u8], span: &Range<usize>, vocabulary: &Vocabulary) -> bool {
        if self.ends.is_none() {
            if self.read < text.len() {
                return true;
            }
            self.look(text, vocabulary);
        }
        ends_near(self.ends.as_deref().unwrap_or_default(), span)
    }

    /// Looks for the words of all of the text, unless they are known. Gives the bytes looked at.
    pub(super) fn look(&mut self, text: &[u8], vocabulary: &Vocabulary) -> usize {
        if self.ends.is_some() {
            return 0;
        }
        self.ends = Some(vocabulary.ends(text));
        self.read += text.len();
        text.len()
    }

    /// Whether surely no word at all is near any value within `span`; known of a text of many candidates only.
    pub(super) fn is_far(&self, span: &Range<usize>) -> bool {
        self.ends.as_deref().is_some_and(|ends| !ends_near(ends, span))
    }

    /// The one of `words` that [`has_any`](Self::has_any) found last.
    pub(super) fn word(&self, words: &Words) -> Option<String> {
        words.found_in(&self.flat).or_else(|| words.found_in(&self.split))
    }

    fn read(&mut self, text: &[u8], tokens: &[Range<usize>], span: &Range<usize>) {
        self.flat.clear();
        self.split.clear();
        let around = Around::of(text, tokens, span);
        // No word reaches from one side of the value to the other, and none begins or ends with a token: what was there
        // may have been a part of it.
        self.push(if around.behind_token { b'0' } else { b'\n' });
        let mut camel = self.side(&text[around.before]);
        self.push(b'\n');
        camel |= self.side(&text[around.after]);
        self.push(if around.before_token { b'a' } else { b'\n' });
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

/// Whether one of the `ends` of words is near `span`.
fn ends_near(ends: &[usize], span: &Range<usize>) -> bool {
    let next = ends.partition_point(|&end| end <= span.start.saturating_sub(BEFORE));
    ends.get(next).is_some_and(|&end| end <= span.end + AFTER)
}

/// What is read around a value: up to the nearest token on either side.
#[derive(Debug, PartialEq, Eq)]
struct Around {
    before: Range<usize>,
    after: Range<usize>,
    /// It is a token that ends it.
    behind_token: bool,
    before_token: bool,
}

impl Around {
    fn of(text: &[u8], tokens: &[Range<usize>], span: &Range<usize>) -> Self {
        let (from, until) = (span.start.saturating_sub(BEFORE), text.len().min(span.end + AFTER));
        let next = tokens.partition_point(|token| token.start < span.start);
        let last = next.checked_sub(1).map(|last| &tokens[last]).filter(|last| last.end > from);
        // The value itself may lie in a token, or reach into one.
        let next = last.into_iter().chain(&tokens[next..]).find(|token| token.end > span.end);
        let next = next.filter(|next| next.start < until);
        Self {
            before: last.map_or(from, |last| last.end.min(span.start))..span.start,
            after: span.end..next.map_or(until, |next| next.start.max(span.end)),
            behind_token: last.is_some(),
            before_token: next.is_some(),
        }
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

    /// As they are written in the rule.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(text: &str, value: &str, word: &str) -> bool {
        let start = text.find(value).unwrap();
        let tokens = crate::mask::token::find(text.as_bytes());
        let words = Words::new(&[word.to_owned()]).unwrap();
        let (vocabulary, listed) = Vocabulary::new([Some(&words)].into_iter()).unwrap();
        let span = start..start + value.len();
        let mut context = Context::default();
        let near = context.has_any(text.as_bytes(), &tokens, &span, (&vocabulary, &listed[0])).0;
        // What all rules' words at once say is what the rule's own expression says.
        assert_eq!(near, context.word(&words).is_some());
        near
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
    }

    #[test]
    fn words_beyond_a_token_do_not_count() {
        assert!(!near("ssn [SSN_k7q2m9xv] 123", "123", "ssn"));
        assert!(!near("123 [SSN_k7q2m9xv] ssn", "123", "ssn"));
        assert!(near("[SSN_k7q2m9xv] ssn 123 [SSN_k7q2m9xv]", "123", "ssn"));
        assert!(near("[SSN_k7q2m9xv] 123 ssn [SSN_k7q2m9xv]", "123", "ssn"));
        assert!(!near("[SSN_k7q2m9xv]ssn 123", "123", "ssn") && !near("123 ssn[SSN_k7q2m9xv]", "123", "ssn"));
    }
}
