//! The fuzz entry of whole texts: what is found does not depend on text far away.

use std::cell::RefCell;

use super::{Engine, Scanner};

thread_local! {
    static SCANNER: RefCell<Scanner> = RefCell::new(
        Engine::builtin().and_then(|engine| engine.scanner()).expect("the rules that come along compile"),
    );
}

/// More than any rule looks at, with nothing in it that is a value, introduces one or is encoded.
const FILLER: &str = "the lake is calm and so is the wind\n";

/// Fuzz entry: a text among others has the findings that it has between a few lines, whatever their number. The first
/// byte says how much is before it, so that it falls on all places of blocks and words.
///
/// # Panics
/// When that does not hold, or the rules cannot be compiled.
#[doc(hidden)]
pub fn fuzz_scan_embedded(data: &[u8]) {
    let Some((&shift, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data);
    let around = FILLER.repeat(40);
    let pad = "x ".repeat(usize::from(shift) % 80);
    SCANNER.with_borrow_mut(|scanner| {
        let near = found(scanner, &around, &text);
        let far = found(scanner, &[&around, &*pad, &FILLER.repeat(30)].concat(), &text);
        // What one may cost too much depends on its length.
        let (Some(near), Some(far)) = (near, far) else { return };
        assert!(near == far, "{text:?}, {shift}: {near:?} and {far:?}");
    });
}

/// Where in `text` something is found when it stands between `before` and some filler, and by which rule.
fn found(scanner: &mut Scanner, before: &str, text: &str) -> Option<Vec<(usize, usize, String)>> {
    let mut findings = Vec::new();
    scanner.scan(&[before, text, "\n", &FILLER.repeat(40)].concat(), &mut findings).ok()?;
    let at = |i: usize| i.saturating_sub(before.len());
    Some(findings.iter().map(|f| (at(f.span.start), at(f.span.end), f.rule.id.clone())).collect())
}
