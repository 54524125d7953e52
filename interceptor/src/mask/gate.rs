//! The digit gate: walks a text from one digit-bearing token to the next.
//!
//! Digit automata stack badly in Hyperscan (each more costs all the others), while most text has few digits: one pass
//! looks for them sixteen or more bytes at a time, and only the tokens found are compared with the rules' shapes.

use crate::flow::ByteSpan;

/// Bytes tested at once: some vectors.
const BLOCK: usize = 64;
/// Bytes looked at word by word before whole blocks are.
const NEAR: usize = 32;
/// Bytes of a machine word.
const WORD: usize = 8;

/// A run of ASCII letters and digits with at least one digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) span: ByteSpan,
    /// It has no letters.
    pub(super) digits: bool,
}

/// The digit-bearing tokens of `text`, in order.
#[derive(Clone)]
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
    let in_words = |rest: &[u8]| {
        let (words, tail) = rest.as_chunks::<WORD>();
        for (word, i) in words.iter().zip(0..) {
            let found = digits(*word);
            if found != 0 {
                return Some(i * WORD + found.trailing_zeros() as usize / 8);
            }
        }
        tail.iter().position(u8::is_ascii_digit).map(|i| words.len() * WORD + i)
    };
    let rest = &text[from..];
    // Digits come in clumps: the next one is near, or far.
    let (near, far) = rest.split_at(rest.len().min(NEAR));
    if let Some(i) = in_words(near) {
        return Some(from + i);
    }
    let (blocks, _) = far.as_chunks::<BLOCK>();
    // Without branches within a block, so that it becomes vector instructions.
    let any = |block: &[u8; BLOCK]| block.as_chunks::<WORD>().0.iter().fold(0, |any, word| any | digits(*word)) != 0;
    let skipped = blocks.iter().take_while(|block| !any(block)).count() * BLOCK;
    in_words(&far[skipped..]).map(|i| from + near.len() + skipped + i)
}

/// The top bit of each byte of `word` that is an ASCII digit, first byte lowest; exact, as no addition carries over.
#[inline]
fn digits(word: [u8; WORD]) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const TOP: u64 = ONES * 0x80;
    // A digit becomes 0 to 9, whatever else 10 to 255.
    let value = u64::from_le_bytes(word) ^ (ONES * 0x30);
    let ten_or_more = (value & !TOP) + ONES * (0x80 - 10);
    !(ten_or_more | value) & TOP
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

    #[test]
    fn digits_are_told_from_all_other_bytes() {
        for byte in 0..=255u8 {
            for at in 0..WORD {
                let mut word = *b"/:azAZ\xff\0";
                word[at] = byte;
                let expected = if byte.is_ascii_digit() { 0x80 << (at * 8) } else { 0 };
                assert_eq!(digits(word), expected, "{byte:#x} at {at}");
            }
        }
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
