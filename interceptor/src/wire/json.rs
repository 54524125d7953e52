//! A strict JSON tokenizer (RFC 8259): iterative, without copies, every token with its place.
//!
//! It exists because what is needed is not the value but where its text stands, in raw bytes that go out unchanged.

use std::ops::Range;

use memchr::memchr2;

use super::Error;

/// Objects and arrays within one another.
pub(super) const MAX_DEPTH: usize = 128;

/// One token. Commas and colons are consumed silently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    Key(Text),
    String(Text),
    Number(Number),
    Bool(bool),
    Null,
}

/// A string, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) inside: Range<usize>,
    pub(super) escaped: bool,
    /// Escapes, and stretches between them.
    pub(super) runs: usize,
}

/// A number literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) literal: Range<usize>,
    /// Before the exponent.
    pub(super) digits: usize,
    /// Without fraction and exponent.
    pub(super) integer: bool,
}

/// Reads one document from the start of `text` to its end.
pub(super) struct Tokenizer<'a> {
    bytes: &'a [u8],
    at: usize,
    expect: Expect,
    /// The open brackets: true for an object.
    open: Vec<bool>,
}

#[derive(Clone, Copy)]
enum Expect {
    Value,
    /// A value or the end of the array just begun.
    FirstElement,
    /// A key or the end of the object just begun.
    FirstKey,
    Key,
    /// A comma or the end of what is open, or the end of the document.
    Next,
}

impl<'a> Tokenizer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0, expect: Expect::Value, open: Vec::new() }
    }

    /// The offset behind the last token.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The next token; `None` at the end of a complete document.
    pub(super) fn next(&mut self) -> Result<Option<Token>, Error> {
        self.skip_whitespace();
        if let Expect::Next = self.expect {
            match (self.open.last(), self.peek()) {
                (None, None) => return Ok(None),
                (None, Some(_)) => return Err(self.expected("the end of the body")),
                (Some(true), Some(b'}')) => return Ok(Some(self.close(Token::ObjectEnd))),
                (Some(false), Some(b']')) => return Ok(Some(self.close(Token::ArrayEnd))),
                (Some(object), Some(b',')) => self.expect = if *object { Expect::Key } else { Expect::Value },
                (Some(true), _) => return Err(self.expected("',' or '}'")),
                (Some(false), _) => return Err(self.expected("',' or ']'")),
            }
            self.at += 1;
            self.skip_whitespace();
        }
        match (self.expect, self.peek()) {
            (Expect::FirstKey, Some(b'}')) => Ok(Some(self.close(Token::ObjectEnd))),
            (Expect::FirstElement, Some(b']')) => Ok(Some(self.close(Token::ArrayEnd))),
            (Expect::FirstKey | Expect::Key, Some(b'"')) => self.key().map(Some),
            (Expect::FirstKey, _) => Err(self.expected("a key or '}'")),
            (Expect::Key, _) => Err(self.expected("a key")),
            _ => self.value().map(Some),
        }
    }

    fn value(&mut self) -> Result<Token, Error> {
        let token = match self.peek() {
            Some(b'"') => Token::String(self.string()?),
            Some(b'{') => return self.start(Token::ObjectStart, Expect::FirstKey),
            Some(b'[') => return self.start(Token::ArrayStart, Expect::FirstElement),
            Some(b'-' | b'0'..=b'9') => Token::Number(self.number()?),
            Some(b't') => self.literal("true", Token::Bool(true))?,
            Some(b'f') => self.literal("false", Token::Bool(false))?,
            Some(b'n') => self.literal("null", Token::Null)?,
            _ => return Err(self.expected("a value")),
        };
        self.expect = Expect::Next;
        Ok(token)
    }

    fn start(&mut self, token: Token, expect: Expect) -> Result<Token, Error> {
        if self.open.len() == MAX_DEPTH {
            return Err(Error::TooDeep { offset: self.at, limit: MAX_DEPTH });
        }
        self.open.push(matches!(token, Token::ObjectStart));
        self.at += 1;
        self.expect = expect;
        Ok(token)
    }

    fn close(&mut self, token: Token) -> Token {
        self.open.pop();
        self.at += 1;
        self.expect = Expect::Next;
        token
    }

    fn key(&mut self) -> Result<Token, Error> {
        let key = self.string()?;
        self.skip_whitespace();
        if self.peek() != Some(b':') {
            return Err(self.expected("':'"));
        }
        self.at += 1;
        self.expect = Expect::Value;
        Ok(Token::Key(key))
    }

    /// Stands on the opening quote.
    fn string(&mut self) -> Result<Text, Error> {
        self.at += 1;
        let (start, mut escaped, mut runs) = (self.at, false, 0);
        loop {
            // Escapes often follow one another, as in text that is all \u; then there is nothing to search.
            if self.peek() != Some(b'\\') {
                self.stretch()?;
                runs += 1;
            }
            match self.peek() {
                None => return Err(self.expected("'\"'")),
                Some(b'"') => break,
                Some(_) => self.escape()?,
            }
            escaped = true;
            runs += 1;
        }
        self.at += 1;
        Ok(Text { inside: start..self.at - 1, escaped, runs })
    }

    /// Skips to the next quote or backslash.
    fn stretch(&mut self) -> Result<(), Error> {
        let rest = &self.bytes[self.at..];
        let stretch = &rest[..memchr2(b'"', b'\\', rest).unwrap_or(rest.len())];
        // Without an early exit this compiles to vector code.
        if stretch.iter().fold(false, |found, &b| found | (b < 0x20)) {
            self.at += stretch.iter().position(|&b| b < 0x20).unwrap_or_default();
            return Err(self.expected("an escape instead of a control character"));
        }
        self.at += stretch.len();
        Ok(())
    }

    /// Stands on the backslash; checks and skips the escape.
    fn escape(&mut self) -> Result<(), Error> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(self.expected("four hexadecimal digits in \\u"));
                }
                self.at += 6;
            }
            _ => return Err(self.expected("a valid escape")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Number, Error> {
        let start = self.at;
        self.skip_if(b"-");
        let leading_zero = self.peek() == Some(b'0');
        let mut digits = self.digits()?;
        if leading_zero && digits > 1 {
            self.at = start;
            return Err(self.expected("a number without leading zeros"));
        }
        let mut integer = true;
        if self.skip_if(b".") {
            integer = false;
            digits += self.digits()?;
        }
        if self.skip_if(b"eE") {
            integer = false;
            self.skip_if(b"+-");
            self.digits()?;
        }
        Ok(Number { literal: start..self.at, digits, integer })
    }

    fn digits(&mut self) -> Result<usize, Error> {
        let count = self.bytes[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.expected("a digit")) } else { Ok(count) }
    }

    fn literal(&mut self, word: &'static str, token: Token) -> Result<Token, Error> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(token)
    }

    fn skip_if(&mut self, any_of: &[u8]) -> bool {
        let found = self.peek().is_some_and(|b| any_of.contains(&b));
        self.at += usize::from(found);
        found
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expected(&self, expected: &'static str) -> Error {
        Error::Malformed { offset: self.at, expected }
    }
}
