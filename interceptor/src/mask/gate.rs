//! The digit gate: walks a text from one digit-bearing token to the next.
//!
//! Digit automata stack badly in Hyperscan (each more costs all the others), while most text has few digits: one pass
//! looks for them sixteen or more bytes at a time, and only the tokens found are compared with the rules' shapes.

use crate::flow::ByteSpan;

/// Bytes tested at once; a multiple of the vector width, so that the compiler vectorises the test.
const BLOCK: usize = 64;

/// A run of ASCII letters and digits with at least one digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) span: ByteSpan,
    /// It has no letters.
    pub(super) digits: bool,
}

/// The digit-bearing tokens of `text`, in order.
pub(super) struct Tokens<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Tokens<'t> {
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self { text, at: 0 }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    #[inline]
    fn next(&mut self) -> Option<Token> {
        let digit = next_digit(self.text, self.at)?;
        let before = self.text[self.at..digit].iter().rev().take_while(|b| b.is_ascii_alphanumeric()).count();
        let start = digit - before;
        let mut digits = before == 0;
        let mut end = digit + 1;
        while let Some(&byte) = self.text.get(end) {
            if !byte.is_ascii_digit() {
                if !byte.is_ascii_alphabetic() {
                    break;
                }
                digits = false;
            }
            end += 1;
        }
        self.at = end;
        Some(Token { span: start..end, digits })
    }
}

/// The first ASCII digit at or after `from`.
#[inline]
fn next_digit(text: &[u8], from: usize) -> Option<usize> {
    let rest = &text[from..];
    let is_digit = |byte: &u8| byte.wrapping_sub(b'0') < 10;
    // Digits come in clumps: look a few bytes ahead before testing blocks.
    let near = rest.len().min(16);
    if let Some(at) = rest[..near].iter().position(is_digit) {
        return Some(from + at);
    }
    let mut at = near;
    let mut blocks = rest[near..].chunks_exact(BLOCK);
    for block in &mut blocks {
        // A fold without branches: vectorised to a handful of instructions for each vector.
        if block.iter().fold(0u8, |any, byte| any | u8::from(byte.wrapping_sub(b'0') < 10)) != 0 {
            return block.iter().position(is_digit).map(|i| from + at + i);
        }
        at += BLOCK;
    }
    blocks.remainder().iter().position(is_digit).map(|i| from + at + i)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(text: &str) -> Vec<&str> {
        Tokens::new(text.as_bytes()).map(|t| &text[t.span]).collect()
    }

    #[test]
    fn tokens_are_runs_of_letters_and_digits_with_a_digit() {
        assert_eq!(tokens("pay 4111-1111 to DE89x now 7."), ["4111", "1111", "DE89x", "7"]);
        assert_eq!(tokens("no digits here"), [""; 0]);
        assert_eq!(tokens(""), [""; 0]);
    }

    proptest! {
        #[test]
        fn tokens_equal_a_simple_reference(text in "[a-z0-9 .-]{0,300}") {
            let reference: Vec<&str> = text
                .split(|c: char| !c.is_ascii_alphanumeric())
                .filter(|t| t.bytes().any(|b| b.is_ascii_digit()))
                .collect();
            prop_assert_eq!(tokens(&text), reference);
        }
    }
}
