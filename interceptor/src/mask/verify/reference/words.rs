//! The words around a value, each looked for by itself.

use std::ops::Range;

use crate::mask::context::{AFTER, BEFORE, Words};

/// Whether one of `words` is near `span`, outside of `tokens`.
pub(super) fn are_near(text: &[u8], tokens: &[Range<usize>], span: &Range<usize>, words: &Words) -> bool {
    let before = span.start.saturating_sub(BEFORE)..span.start;
    let after = span.end..text.len().min(span.end + AFTER);
    let is_of_token = |at: usize| tokens.iter().any(|token| token.contains(&at));
    [before, after].into_iter().any(|side| {
        // What is of a token divides what is around it.
        let side: Vec<u8> = side.map(|at| if is_of_token(at) { b'\n' } else { text[at] }).collect();
        words.iter().any(|word| is_in(&flat(&side, false), word) || is_in(&flat(&side, true), word))
    })
}

/// In lower case, a blank for `_` and `-`; and where a small letter is before a capital, if words are `split` there.
fn flat(text: &[u8], split: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        if split && byte.is_ascii_uppercase() && at > 0 && text[at - 1].is_ascii_lowercase() {
            out.push(b' ');
        }
        out.push(if matches!(byte, b'_' | b'-') { b' ' } else { byte.to_ascii_lowercase() });
    }
    out
}

/// Whether `word` is in `text`: in scripts with blanks between words no part of another, but for a plural's `s`.
fn is_in(text: &[u8], word: &str) -> bool {
    let is_letter = |b: Option<&u8>| b.is_some_and(u8::is_ascii_lowercase);
    (0..text.len()).filter(|&start| text[start..].starts_with(word.as_bytes())).any(|start| {
        let (before, behind) = (&text[..start], &text[start + word.len()..]);
        let begins = !is_letter(before.last()) && !before.last().is_some_and(u8::is_ascii_digit);
        let ends = !is_letter(behind.first()) || (behind[0] == b's' && !is_letter(behind.get(1)));
        !word.is_ascii() || (begins && ends)
    })
}
