//! The fuzz entry: what holds for any text.

use super::pieces::{Pieces, Plain, windows};
use super::reference;
use crate::mask::classes::Classes;

/// Fuzz entry: pieces are those that the simplest decoder finds, lie in the text, apart from each other and between
/// characters, and become shorter; every copy leads
/// back to where it is from; copies hold little more than the text.
///
/// # Panics
/// When that does not hold.
#[doc(hidden)]
pub fn fuzz_encoded(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let classes = Classes::of(text.as_bytes());
    let mut pieces = Pieces::new(&text, &classes, 0..text.len());
    let (mut raw, mut found) = (Vec::new(), Vec::new());
    while let Some(piece) = pieces.next() {
        assert!(
            raw.last().is_none_or(|last: &std::ops::Range<usize>| last.end <= piece.raw.start),
            "{text:?}: {piece:?}"
        );
        assert!(text.get(piece.raw.clone()).is_some_and(|raw| !raw.is_empty()), "{text:?}: {piece:?}");
        raw.push(piece.raw.clone());
        let plain = match piece.plain {
            Plain::Character(character) => character.to_string(),
            Plain::Text(text) => text,
        };
        found.push((piece.raw, plain, piece.how));
    }
    let expected = reference::pieces(&text);
    assert!(found == expected, "{text:?}: expected {expected:?}, got {found:?}");
    let mut copied = 0;
    windows(&text, &classes, 0..text.len(), |window| {
        assert!(window.text.len() < window.raw.len(), "{text:?}: {window:?}");
        copied += window.raw.len();
        check(&text, window);
        Ok(())
    })
    .expect("nothing fails here");
    // Where there are very many pieces, a copy begins with the end of the one before.
    assert!(copied <= text.len() + text.len() / 64, "{copied} bytes of {}", text.len());
}

/// Every character of a copy is the one it leads back to, or is of a piece.
fn check(text: &str, window: &super::Window) {
    let mut last = window.raw.start;
    for (at, c) in window.text.char_indices() {
        let span = at..at + c.len_utf8();
        let raw = window.to_raw(&span);
        assert!(text.get(raw.clone()).is_some() && raw.end >= last, "{text:?}: {window:?} at {at}");
        assert!(window.raw.start <= raw.start && raw.end <= window.raw.end, "{text:?}: {window:?} at {at}");
        let is_plain = text[raw.clone()].chars().eq([c]);
        assert!(is_plain || window.near(&span).is_some(), "{text:?}: {window:?} at {at}");
        last = raw.end;
    }
}
