//! The fuzz entry: a scan finds what the simple one does.

use std::cell::RefCell;
use std::sync::Arc;

use super::{Reference, made};
use crate::flow::Finding;
use crate::mask::{Engine, Error, Scanner};

/// Where something was found, by which rule, and how sure that is.
type Found = Vec<(usize, usize, String, f32)>;

/// The first byte of an input that says how a text is made: no text begins with it.
const RECIPE: u8 = 0xff;

thread_local! {
    static BOTH: RefCell<Both> =
        RefCell::new(Engine::builtin().and_then(Both::new).expect("the rules that come along compile"));
}

/// Both scans of one rule set.
pub(super) struct Both {
    scanner: Scanner,
    reference: Reference,
}

/// Fuzz entry: a text has the findings that a scan has which does everything in the simplest way. Behind a byte 255 is
/// not a text, but of which examples and joints to make one.
///
/// # Panics
/// When that does not hold, or the rules cannot be compiled.
#[doc(hidden)]
pub fn fuzz_scan_reference(data: &[u8]) {
    match data {
        [RECIPE, recipe @ ..] => compare(&made::text(recipe)),
        text => compare(&String::from_utf8_lossy(text)),
    }
}

/// Compares them with the rules that come along.
pub(super) fn compare(text: &str) {
    BOTH.with_borrow_mut(|both| both.compare(text));
}

impl Both {
    pub(super) fn new(engine: Arc<Engine>) -> Result<Self, Error> {
        Ok(Self { scanner: engine.scanner()?, reference: Reference::new(engine)? })
    }

    pub(super) fn compare(&mut self, text: &str) {
        let mut findings = Vec::new();
        // What one may cost too much is not scanned.
        let Ok(()) = self.scanner.scan_plain(text, &mut findings) else { return };
        let (found, expected) = (list(findings), list(self.reference.scan(text).expect("nothing is limited here")));
        assert!(found == expected, "{text:?}: expected {expected:?}, got {found:?}");
    }
}

fn list(findings: Vec<Finding>) -> Found {
    findings.into_iter().map(|f| (f.span.start, f.span.end, f.rule.id.clone(), f.score)).collect()
}
