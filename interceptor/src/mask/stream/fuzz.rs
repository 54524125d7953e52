//! The fuzz entry: what holds for any text.

use std::cell::RefCell;

use super::{LONE_TAIL, Stream};
use crate::mask::lone::is_dull;
use crate::mask::{Engine, Error, Scanner};

/// Where something was found, and by which rule.
type Found = Vec<(usize, usize, String)>;

thread_local! {
    static SCANNER: RefCell<Scanner> = RefCell::new(
        Engine::builtin().and_then(|engine| engine.scanner()).expect("the rules that come along compile"),
    );
}

/// Fuzz entry: however a text is cut, the same is found in it, and what comes out is what went in. The first byte says
/// how long the pieces are.
///
/// # Panics
/// When that does not hold, or the rules cannot be compiled.
#[doc(hidden)]
pub fn fuzz_mask_stream(data: &[u8]) {
    let Some((&step, data)) = data.split_first() else { return };
    SCANNER.with_borrow_mut(|scanner| compare(scanner, &String::from_utf8_lossy(data), usize::from(step) % 61 + 1));
}

fn compare(scanner: &mut Scanner, text: &str, step: usize) {
    let mut findings = Vec::new();
    let whole = scanner
        .scan_plain(text, &mut findings)
        .map(|()| findings.drain(..).map(|f| (f.span.start, f.span.end, f.rule.id.clone())).collect::<Found>());
    let uncut = streamed(scanner, text, text.len().max(1));
    for (expected, found) in
        [(&whole, &uncut), (&uncut, &streamed(scanner, text, step)), (&uncut, &streamed(scanner, text, 1))]
    {
        // A stream may cost too much in one way of cutting and not in another.
        let (Ok(expected), Ok(found)) = (expected, found) else { continue };
        let ends_in_blanks = text.len() - text.trim_end_matches(is_dull).len() > LONE_TAIL;
        assert!(expected == found || ends_in_blanks, "{text:?}, {step}: expected {expected:?}, got {found:?}");
    }
}

fn streamed(scanner: &mut Scanner, text: &str, step: usize) -> Result<Found, Error> {
    let (mut stream, mut out, mut found) = (Stream::default(), String::new(), Found::new());
    let mut add = |released: super::Released| {
        assert_eq!(released.at, out.len());
        let at = |i: usize| released.at + i;
        found.extend(released.findings.iter().map(|f| (at(f.span.start), at(f.span.end), f.rule.id.clone())));
        out.push_str(&released.text);
    };
    let mut from = 0;
    while from < text.len() {
        let until = text.ceil_char_boundary(text.len().min(from + step));
        add(stream.push(scanner, &text[from..until])?);
        from = until;
    }
    add(stream.finish(scanner)?);
    assert_eq!(out, text);
    Ok(found)
}
