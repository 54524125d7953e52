//! The words around a value, each looked for by itself.

use std::ops::Range;

use crate::mask::context::{AFTER, BEFORE, Words};

/// Whether one of `words` is near `span`, with none of `tokens` between.
pub(super) fn are_near(text: &[u8], tokens: &[Range<usize>], span: &Range<usize>, words: &Words) -> bool {
    let is_of_token = |at: &usize| tokens.iter().any(|token| token.contains(at));
    let before = (span.start.saturating_sub(BEFORE)..span.start).rev().take_while(|at| !is_of_token(at)).count();
    let after = (span.end..text.len().min(span.end + AFTER)).take_while(|at| !is_of_token(at)).count();
    // A word that touches a token may have gone on there.
    let first = (before < BEFORE.min(span.start)).then_some(b'0');
    let last = (after < AFTER.min(text.len() - span.end)).then_some(b'a');
    let before: Vec<u8> = first.into_iter().chain(text[span.start - before..span.start].iter().copied()).collect();
    let after: Vec<u8> = text[span.end..span.end + after].iter().copied().chain(last).collect();
    [before, after]
        .iter()
        .any(|side| words.iter().any(|word| is_in(&flat(side, false), word) || is_in(&flat(side, true), word)))
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
