//! The words around a candidate: `ssn`, `routing number`, `IMEI`.

use std::ops::Range;

use regex::bytes::Regex;

use super::vocabulary::{Listed, Occurrence, Vocabulary, flattened};

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
    /// Bytes looked at so far around candidates of this text.
    looked_at: usize,
    /// All words in the text, once so much was read that it pays to look for all of them at once.
    all: Option<Vec<Occurrence>>,
}

impl Context {
    /// Forgets the last candidate; a new text follows.
    pub(super) fn reset(&mut self) {
        self.of = None;
        self.looked_at = 0;
        self.all = None;
    }

    /// Whether one of `words` is near `span`, with none of `tokens` between. A token is seldom as long as what it stands
    /// for: words beyond it may have been too far away, and masking what is masked would find more. Gives the bytes
    /// looked at too; once all words are known, one.
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
        self.found.clear();
        let mut work = 1;
        if self.looked_at >= text.len() {
            work += self.look(text, vocabulary);
        }
        match &self.all {
            Some(all) => Around::of(text, tokens, span).find(text, all, vocabulary, &mut self.found),
            None => {
                work += BEFORE + AFTER;
                self.looked_at += BEFORE + AFTER;
                self.read(text, tokens, span);
                vocabulary.find(&self.flat, &mut self.found);
                vocabulary.find(&self.split, &mut self.found);
            }
        }
        (words.holds_any(&self.found), work)
    }

    /// Looks for the words of all of the text, unless they are known. Gives the bytes looked at.
    pub(super) fn look(&mut self, text: &[u8], vocabulary: &Vocabulary) -> usize {
        if self.all.is_some() {
            return 0;
        }
        self.all = Some(vocabulary.occurrences(text));
        text.len()
    }

    /// Whether surely no word at all is near any value within `span`; known of a text of many candidates only.
    pub(super) fn is_far(&self, span: &Range<usize>) -> bool {
        let near = span.start.saturating_sub(BEFORE)..span.end + AFTER;
        self.all.as_deref().is_some_and(|all| ending_in(all, &near).is_empty())
    }

    /// The one of `words` that is near `span`, as it is written there.
    pub(super) fn word(
        &mut self,
        text: &[u8],
        tokens: &[Range<usize>],
        span: &Range<usize>,
        words: &Words,
    ) -> Option<String> {
        self.read(text, tokens, span);
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
            self.push(flattened(byte));
        }
        camel
    }

    fn push(&mut self, byte: u8) {
        self.flat.push(byte);
        self.split.push(byte);
    }
}

/// Those of all words that end in `range`, behind its first byte.
fn ending_in<'w>(all: &'w [Occurrence], range: &Range<usize>) -> &'w [Occurrence] {
    let first = all.partition_point(|word| word.end as usize <= range.start);
    let len = all[first..].partition_point(|word| word.end as usize <= range.end);
    &all[first..first + len]
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

    /// Appends those of `all` words of the text that are on either side.
    fn find(self, text: &[u8], all: &[Occurrence], vocabulary: &Vocabulary, found: &mut Vec<u32>) {
        let before = Side { text, span: self.before, joined_before: self.behind_token, joined_behind: false };
        let after = Side { text, span: self.after, joined_before: false, joined_behind: self.before_token };
        for side in [before, after] {
            for &Occurrence { start, end, word } in ending_in(all, &side.span) {
                let at = start as usize..end as usize;
                let is_there = || vocabulary.bounded(word).is_none_or(|len| side.has_word(&at, len));
                if side.span.start <= at.start && is_there() {
                    found.push(word);
                }
            }
        }
    }
}

/// The text on one side of a value.
struct Side<'t> {
    text: &'t [u8],
    span: Range<usize>,
    /// It goes on a token, or a token goes on it: what was there may have been a part of a word.
    joined_before: bool,
    joined_behind: bool,
}

impl Side<'_> {
    /// Whether what is `at` there is a word of `len` bytes, or the plural of one, and no part of another.
    fn has_word(&self, at: &Range<usize>, len: usize) -> bool {
        // Of one form only: where a blank is put into the other, the word has none.
        let is_flat_only = || at.len() == len && (at.start + 1..at.end).any(|i| self.divides(i));
        self.stands_alone(at, false) || (self.stands_alone(at, true) && !is_flat_only())
    }

    /// The same of one form, in which words are `split` before capitals or not.
    fn stands_alone(&self, at: &Range<usize>, split: bool) -> bool {
        let begins = match at.start == self.span.start {
            true => !self.joined_before,
            false => !self.text[at.start - 1].is_ascii_alphanumeric() || (split && self.divides(at.start)),
        };
        let ends = |end: usize| match end == self.span.end {
            true => !self.joined_behind,
            false => !self.text[end].is_ascii_alphabetic() || (split && self.divides(end)),
        };
        let is_plural = || at.end < self.span.end && self.text[at.end].eq_ignore_ascii_case(&b's');
        begins && (ends(at.end) || (is_plural() && ends(at.end + 1)))
    }

    /// Whether a capital at `at` is behind a small letter.
    fn divides(&self, at: usize) -> bool {
        at > self.span.start && self.text[at - 1].is_ascii_lowercase() && self.text[at].is_ascii_uppercase()
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
    use proptest::prelude::*;

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
        let word = context.word(text.as_bytes(), &tokens, &span, &words);
        assert_eq!(near, word.is_some());
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

    proptest! {
        #[test]
        fn words_of_all_of_a_text_are_those_around_a_value(
            text in "(ssn|Ssn|SSN|iban|iBan|account|Account|number|Number|s|x|X|7|_| |\\.|身份证|\\[SSN_k7q2m9xv\\]){0,40}",
            at in 0usize..200,
            len in 0usize..12,
        ) {
            let words = ["ssn", "iban", "account number", "account", "number", "n", "身份证"];
            let words = Words::new(&words.map(str::to_owned)).unwrap();
            let (vocabulary, _) = Vocabulary::new([Some(&words)].into_iter()).unwrap();
            let text = text.as_bytes();
            let span = at.min(text.len())..(at + len).min(text.len());
            let tokens = crate::mask::token::find(text);
            let mut around = Context::default();
            around.read(text, &tokens, &span);
            let mut expected = Vec::new();
            vocabulary.find(&around.flat, &mut expected);
            vocabulary.find(&around.split, &mut expected);
            let mut found = Vec::new();
            Around::of(text, &tokens, &span).find(text, &vocabulary.occurrences(text), &vocabulary, &mut found);
            for words in [&mut expected, &mut found] {
                words.sort_unstable();
                words.dedup();
            }
            prop_assert_eq!(found, expected);
        }
    }
}
