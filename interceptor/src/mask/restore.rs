//! The way back: the tokens that one request's values left as, found again in the text of its answer.
//!
//! Nothing is looked up anywhere else. A client sends its conversation along with each request, so whatever token a
//! model may repeat was made for this very exchange, and the values are in memory for as long as that lasts. A token that
//! the model made up, or saw in another session, is not among them and stays what it is.
//!
//! Models do not repeat exactly. `[EMAIL_k7q2m9xd]` is also found in other letter case, with the backslashes that Markdown
//! wants (`\[EMAIL\_k7q2m9xd\]`), and with characters written as JSON writes them (`\u005bEMAIL_...`).

use std::ops::Range;
use std::sync::Arc;

use memchr::memchr2;
use zeroize::Zeroizing;

/// The values of a request that may be put back into its answer. They are wiped from memory with the last copy.
#[derive(Clone, Default)]
pub struct Originals {
    /// In the order of their tokens.
    kept: Arc<Vec<Original>>,
}

/// A value and the token that it left as.
pub(super) struct Original {
    /// In lower case: tokens of one request differ in more than that.
    token: String,
    entity: String,
    value: Zeroizing<String>,
}

impl Original {
    pub(super) fn new(token: &str, entity: &str, value: &str) -> Self {
        Self { token: token.to_ascii_lowercase(), entity: entity.to_owned(), value: Zeroizing::new(value.to_owned()) }
    }
}

impl Originals {
    /// Of two for one token, the first is kept: the form in which a value was written first.
    pub(super) fn of(mut kept: Vec<Original>) -> Self {
        kept.sort_by(|a, b| a.token.cmp(&b.token));
        kept.dedup_by(|later, first| later.token == first.token);
        Self { kept: Arc::new(kept) }
    }

    /// From tokens, kinds and values, for tests that mask nothing.
    #[doc(hidden)]
    #[must_use]
    pub fn known(tokens: &[(&str, &str, &str)]) -> Self {
        Self::of(tokens.iter().map(|(token, entity, value)| Original::new(token, entity, value)).collect())
    }

    /// Whether there is nothing to put back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Kind and value of one that was [`Found`].
    #[must_use]
    pub fn get(&self, index: usize) -> Option<(&str, &str)> {
        self.kept.get(index).map(|original| (original.entity.as_str(), original.value.as_str()))
    }

    /// Whether a token begins with `folded`; which one, if it is all of it.
    fn look_up(&self, folded: &str) -> Option<Progress> {
        let at = self.kept.partition_point(|original| original.token.as_str() < folded);
        let token = &self.kept.get(at)?.token;
        if !token.starts_with(folded) {
            return None;
        }
        Some(if token.len() == folded.len() { Progress::Whole(at) } else { Progress::Begun })
    }
}

impl std::fmt::Debug for Originals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Originals({})", self.len())
    }
}

enum Progress {
    Begun,
    Whole(usize),
}

/// A token in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Bytes of the text, from its beginning on, with the escapes that belong to the token.
    pub span: Range<u64>,
    /// Which of the [`Originals`] it stands for.
    pub original: usize,
}

/// Looks for tokens in one text that comes in pieces. What is found does not depend on how it is cut.
#[derive(Debug)]
pub struct Matcher {
    originals: Originals,
    /// The text is JSON: a backslash in front of a value would escape its first character.
    is_json: bool,
    /// Bytes read.
    at: u64,
    /// Backslashes directly before `at`.
    slashes: u64,
    /// What has come of `\u005b` behind its backslashes.
    escape: Option<Escape>,
    token: Option<Token>,
}

/// A token that may be coming.
#[derive(Debug)]
struct Token {
    /// What has come of it, in lower case, without escapes.
    folded: String,
    /// Where its bracket stands, or the escape for it without backslashes.
    bracket: u64,
    /// Backslashes before that.
    slashes: u64,
    /// Whether the last of them belongs to an escape.
    is_escape: bool,
}

#[derive(Clone, Copy, Debug)]
struct Escape {
    digits: u8,
    code: u32,
}

/// Backslashes in a row that may belong to a token: Markdown in JSON in JSON has four. Of more, the last ones count.
const MOST_SLASHES: u64 = 8;

impl Matcher {
    /// For a new text; `is_json` when it is the source of a JSON document.
    #[must_use]
    pub fn new(originals: Originals, is_json: bool) -> Self {
        Self { originals, is_json, at: 0, slashes: 0, escape: None, token: None }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Where a token begins that may yet be completed by what follows.
    #[must_use]
    pub fn pending(&self) -> Option<u64> {
        match &self.token {
            Some(token) => Some(token.bracket - token.slashes),
            None if self.slashes > 0 => Some(self.at - u64::from(self.pending_escape()) - self.slashes),
            None => None,
        }
    }

    /// What may have begun counts no more: it was given up.
    pub fn forget(&mut self) {
        self.slashes = 0;
        self.escape = None;
        self.token = None;
    }

    /// Reads the next piece.
    pub fn feed(&mut self, piece: &str, found: &mut Vec<Found>) {
        let mut rest = piece.as_bytes();
        while !rest.is_empty() {
            if self.token.is_none() && self.slashes == 0 {
                // Nothing has begun: on to where something may.
                let skip = memchr2(b'[', b'\\', rest).unwrap_or(rest.len());
                self.at += skip as u64;
                rest = &rest[skip..];
            }
            let Some((&byte, tail)) = rest.split_first() else { return };
            rest = tail;
            self.byte(byte, found);
            self.at += 1;
        }
    }

    /// Bytes of an escape behind its backslashes.
    fn pending_escape(&self) -> u8 {
        self.escape.map_or(0, |escape| escape.digits + 1)
    }

    /// `at` is where the byte stands.
    fn byte(&mut self, byte: u8, found: &mut Vec<Found>) {
        if let Some(Escape { digits, code }) = self.escape {
            match char::from(byte).to_digit(16) {
                Some(digit) if digits < 3 => {
                    self.escape = Some(Escape { digits: digits + 1, code: code << 4 | digit });
                }
                Some(digit) => {
                    self.escape = None;
                    let code = code << 4 | digit;
                    self.character(u8::try_from(code).unwrap_or(b'\0'), Some(self.at - 4), found);
                    self.slashes = 0;
                }
                None => {
                    self.forget();
                    self.byte(byte, found);
                }
            }
            return;
        }
        match byte {
            b'\\' => {
                self.slashes += 1;
                if self.slashes > MOST_SLASHES {
                    self.token = None;
                    // An odd number stays odd.
                    self.slashes -= 2;
                }
            }
            b'u' if self.slashes > 0 => self.escape = Some(Escape { digits: 0, code: 0 }),
            byte => {
                self.character(byte, None, found);
                self.slashes = 0;
            }
        }
    }

    /// A character, with `slashes` before it; `escape` is where the `u` of its escape stands.
    fn character(&mut self, character: u8, escape: Option<u64>, found: &mut Vec<Found>) {
        if character == b'[' {
            let bracket = escape.unwrap_or(self.at);
            self.token =
                Some(Token { folded: "[".to_owned(), bracket, slashes: self.slashes, is_escape: escape.is_some() });
            return;
        }
        let Some(mut token) = self.token.take() else { return };
        let is_word = character.is_ascii_alphanumeric();
        // Only punctuation is escaped with a backslash alone.
        let is_plain = self.slashes == 0 || escape.is_some() || !is_word;
        if !is_plain || !(is_word || matches!(character, b'_' | b']')) {
            return;
        }
        token.folded.push(char::from(character.to_ascii_lowercase()));
        match self.originals.look_up(&token.folded) {
            None => {}
            Some(Progress::Begun) => self.token = Some(token),
            Some(Progress::Whole(original)) => {
                let markdown = self.slashes.saturating_sub(u64::from(escape.is_some()));
                let start = token.bracket - token.own_slashes(markdown, self.is_json);
                found.push(Found { span: start..self.at + 1, original });
            }
        }
    }
}

impl Token {
    /// The backslashes before it that go with it: that of its own escape, and as many as its closing bracket has. The one
    /// in `C:\[EMAIL_...]` is the text's.
    fn own_slashes(&self, closing: u64, is_json: bool) -> u64 {
        let own = (u64::from(self.is_escape) + closing).min(self.slashes);
        // A backslash alone would escape what comes in place of the bracket.
        if is_json && (self.slashes - own) % 2 == 1 { own + 1 } else { own }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn originals() -> Originals {
        Originals::of(vec![
            Original::new("[EMAIL_k7q2m9xd]", "EMAIL_ADDRESS", "jane@corp.example"),
            Original::new("[US_SSN_0123456g]", "US_SSN", "536-90-4399"),
            Original::new("[EMAIL_k7q2m9xd]", "EMAIL_ADDRESS", "JANE@corp.example"),
        ])
    }

    fn restored<'a>(pieces: impl IntoIterator<Item = &'a str>, is_json: bool) -> String {
        let originals = originals();
        let mut matcher = Matcher::new(originals.clone(), is_json);
        let (mut text, mut found) = (String::new(), Vec::new());
        for piece in pieces {
            text.push_str(piece);
            matcher.feed(piece, &mut found);
            assert_eq!(matcher.at(), text.len() as u64);
        }
        let (mut out, mut from) = (String::new(), 0);
        for Found { span, original } in found {
            out.push_str(&text[from..usize::try_from(span.start).unwrap()]);
            out.push_str(originals.get(original).unwrap().1);
            from = usize::try_from(span.end).unwrap();
        }
        out + &text[from..]
    }

    #[test]
    fn tokens_are_found_however_a_model_writes_them() {
        for text in [
            "[EMAIL_k7q2m9xd]",
            "[email_K7Q2M9XD]",
            r"\[EMAIL\_k7q2m9xd\]",
            r"[EMAIL\_k7q2m9xd]",
            r"\u005bEMAIL_k7q2m9xd\u005D",
            r"\u005bEMAIL\u005fk7q2m9xd]",
            r"\\[EMAIL\\_k7q2m9xd\\]",
        ] {
            assert_eq!(restored([text], false), "jane@corp.example", "{text}");
            assert_eq!(restored([&*format!("x [{text}], {text}")], false), "x [jane@corp.example], jane@corp.example");
        }
        assert_eq!(restored([r"\[\u0055S_SSN_0123456g\]"], false), "536-90-4399");
    }

    #[test]
    fn the_first_written_form_of_a_value_is_kept() {
        assert_eq!(originals().len(), 2);
        assert_eq!(originals().get(0), Some(("EMAIL_ADDRESS", "jane@corp.example")));
    }

    #[test]
    fn what_is_no_token_of_the_request_stays() {
        for text in [
            "[EMAIL_k7q2m9xe]",
            "[EMAIL_k7q2m9xd",
            "EMAIL_k7q2m9xd]",
            "[EMAIL k7q2m9xd]",
            r"[EMA\IL_k7q2m9xd]",
            "[EMAIL_k7q2m9xd ]",
            r"[EMAIL_k7q2m9xd\n]",
            r"\u005",
            r"\u005zEMAIL_k7q2m9xd]",
            "[EMAIL_é7q2m9xd]",
            r"\\\\\\\\\\\\",
        ] {
            assert_eq!(restored([text], false), text);
        }
    }

    #[test]
    fn backslashes_of_the_text_stay_unless_they_would_change_the_value() {
        assert_eq!(restored([r"C:\[EMAIL_k7q2m9xd]"], false), r"C:\jane@corp.example");
        assert_eq!(restored([r"C:\\[EMAIL_k7q2m9xd\]"], false), r"C:\jane@corp.example");
        assert_eq!(restored([r#""C:\\[EMAIL_k7q2m9xd]""#], true), r#""C:\\jane@corp.example""#);
        assert_eq!(restored([r#""\\u005bEMAIL_k7q2m9xd]""#], true), r#""jane@corp.example""#);
    }

    #[test]
    fn nothing_is_pending_where_no_token_of_the_request_may_be_coming() {
        let pending = |text: &str| {
            let mut matcher = Matcher::new(originals(), false);
            matcher.feed(text, &mut Vec::new());
            matcher.pending()
        };
        for text in ["", "a", "a [", "[CARD", "[EMAIL_k7q2m9xd]", "[]", r"\n", r"\u0041", "[x", "[EMAIL_k8"] {
            let expected = text.ends_with('[').then_some(2);
            assert_eq!(pending(text), expected, "{text}");
        }
        assert_eq!(pending("ab [EMA"), Some(3));
        assert_eq!(pending(r"ab \[EMA"), Some(3));
        assert_eq!(pending(r"ab \"), Some(3));
        assert_eq!(pending(r"ab \u00"), Some(3));
        assert_eq!(pending(r"ab \u005bE\u00"), Some(3));
        assert_eq!(pending(r"ab [EMAIL\"), Some(3));
    }

    proptest! {
        #[test]
        fn tokens_are_the_same_at_every_cut(
            parts in prop::collection::vec(
                prop_oneof![
                    Just(r"\[EMAIL\_k7q2m9xd\]".to_owned()),
                    Just("[us_ssn_0123456g]".to_owned()),
                    Just(r"\u005bEMAIL_k7q2m9xd]".to_owned()),
                    Just("[EMAIL_k7".to_owned()),
                    r"[\\u05bBE\[\]_é]{0,5}",
                ],
                0..6,
            ),
            is_json: bool,
        ) {
            let text = parts.concat();
            let whole = restored([&*text], is_json);
            let characters: Vec<String> = text.chars().map(String::from).collect();
            prop_assert_eq!(&restored(characters.iter().map(String::as_str), is_json), &whole);
            for cut in (0..text.len()).filter(|&at| text.is_char_boundary(at)) {
                prop_assert_eq!(&restored([&text[..cut], &text[cut..]], is_json), &whole, "cut at {}", cut);
            }
        }

        #[test]
        fn what_is_pending_never_begins_behind_what_is_found(text in r"([\\u05b]{0,4}\[?(EMAIL|email)\\?_k7q2m9xd\]?){0,3}") {
            let mut matcher = Matcher::new(originals(), false);
            let mut from = 0;
            for character in text.chars() {
                let pending = matcher.pending();
                let mut found = Vec::new();
                matcher.feed(character.encode_utf8(&mut [0; 4]), &mut found);
                for Found { span, .. } in found {
                    prop_assert!(pending.is_some_and(|pending| pending <= span.start));
                    prop_assert!(from <= span.start && span.start < span.end);
                    from = span.end;
                }
            }
        }
    }
}
