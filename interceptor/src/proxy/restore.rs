//! Restoration of one answer: what `mask` remembers of the request, `wire` puts back into the text of the answer.

mod fuzz;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;

pub use fuzz::fuzz_restore;

use super::budget::Reserved;
use crate::audit;
use crate::http::{BodyFraming, Codings, RequestHead, ResponseHead, trailer_lines};
use crate::mask::{Found, Matcher, Originals};
use crate::upstream::Piece;
use crate::wire::{self, Operation, Restoration, Restorer, Unrestored};

impl wire::Tokens for Originals {
    type Search = Matcher;

    fn search(&self, is_json: bool) -> Matcher {
        Matcher::new(self.clone(), is_json)
    }

    fn get(&self, token: usize) -> Option<(&str, &str)> {
        Originals::get(self, token)
    }
}

impl wire::Search for Matcher {
    fn at(&self) -> u64 {
        Matcher::at(self)
    }

    fn feed(&mut self, piece: &str, found: &mut Vec<(Range<u64>, usize)>) {
        let mut here: Vec<Found> = Vec::new();
        Matcher::feed(self, piece, &mut here);
        found.extend(here.into_iter().map(|found| (found.span, found.original)));
    }

    fn pending(&self) -> Option<u64> {
        Matcher::pending(self)
    }

    fn forget(&mut self) {
        Matcher::forget(self);
    }
}

/// What the answer to a request may get back. Empty where policy allows nothing, or nothing was replaced.
#[derive(Clone, Debug)]
pub(super) struct Restorable {
    originals: Originals,
    operation: Operation,
}

impl Restorable {
    pub(super) fn of(originals: &Originals, operation: Operation) -> Self {
        Self { originals: originals.clone(), operation }
    }

    pub(super) fn nothing() -> Self {
        Self { originals: Originals::default(), operation: Operation::Unknown }
    }

    /// The request with which its answer can be read: none when it may leave as it came.
    pub(super) fn asking(&self, head: &RequestHead) -> Option<RequestHead> {
        if self.originals.is_empty() || !wire::restorable(self.operation) {
            return None;
        }
        let mut head = head.clone();
        head.fields_mut().remove("accept-encoding");
        // Without the field, any coding would be welcome (RFC 9110, 12.5.3).
        head.fields_mut().push("accept-encoding", b"identity");
        Some(head)
    }

    /// Begins with an answer, whose head is changed to allow for another length.
    pub(super) fn begin(&self, method: &str, head: &mut ResponseHead, reserved: Reserved) -> Restoring {
        let none = head.framing(method) == BodyFraming::None;
        if self.originals.is_empty() || none {
            return Restoring::Not(None);
        }
        let kind = head.fields().get("content-type").and_then(|kind| std::str::from_utf8(kind).ok());
        let compressed = !Codings::of(head.fields()).is_ok_and(|codings| codings.is_identity());
        match Restorer::new(self.originals.clone(), self.operation, kind) {
            Err(reason) => Restoring::Not(Some(reason)),
            Ok(_) if compressed => Restoring::Not(Some(Unrestored::Compressed)),
            Ok(restorer) => {
                head.unframe();
                VALIDATORS.into_iter().for_each(|name| {
                    head.fields_mut().remove(name);
                });
                Restoring::Under(Box::new(Under { restorer, reserved }))
            }
        }
    }
}

/// What vouches for the bytes that the endpoint sent.
const VALIDATORS: [&str; 5] = ["content-md5", "digest", "content-digest", "repr-digest", "etag"];

/// The restoration of one answer.
pub(super) enum Restoring {
    /// It passes as it comes; the reason, if something could have been restored.
    Not(Option<Unrestored>),
    Under(Box<Under>),
}

pub(super) struct Under {
    restorer: Restorer<Originals>,
    /// What is held of the answer.
    reserved: Reserved,
}

impl Restoring {
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Self::Under(_))
    }

    /// What may go on to the client with the next piece of the endpoint's; none: nothing yet.
    pub(super) fn pass(&mut self, piece: Piece) -> Option<Piece> {
        let Self::Under(under) = self else { return Some(piece) };
        let Under { restorer, reserved } = &mut **under;
        let mut out = Vec::with_capacity(piece.content.len());
        // Twice: as it came, and with the values in it.
        if restorer.holds_all() && reserved.grow(2 * piece.content.len()).is_err() {
            restorer.give_up(Unrestored::NoRoom, &mut out);
        }
        restorer.feed(&piece.content, &mut out);
        if piece.last {
            restorer.finish(&mut out);
        }
        if out.is_empty() && !piece.last {
            return None;
        }
        Some(Piece { raw: None, content: out.into(), trailers: trailers(&piece.trailers), last: piece.last })
    }

    /// The answer broke off: what is held of it, as it came.
    pub(super) fn cut_off(&mut self) -> Option<Piece> {
        let Self::Under(under) = self else { return None };
        let mut out = Vec::new();
        under.restorer.cut_off(&mut out);
        (!out.is_empty()).then(|| Piece { content: out.into(), ..Piece::default() })
    }

    /// Says in the record what became of it.
    pub(super) fn describe(&self, response: &mut audit::Response) {
        let (restored, unrestored) = match self {
            Self::Not(reason) => (None, *reason),
            Self::Under(under) => {
                let Restoration { restored, unrestored } = under.restorer.outcome();
                (Some(restored.clone()), *unrestored)
            }
        };
        response.restored = restored;
        response.not_restored = unrestored.map(|reason| reason.to_string());
    }
}

/// The trailers without those that vouch for other bytes.
fn trailers(section: &Bytes) -> Bytes {
    let vouches = |name: &str| VALIDATORS.into_iter().any(|validator| name.eq_ignore_ascii_case(validator));
    if !trailer_lines(section).any(|(name, _)| vouches(name)) {
        return section.clone();
    }
    let mut kept = Vec::with_capacity(section.len());
    for (name, value) in trailer_lines(section).filter(|(name, _)| !vouches(name)) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            kept.extend_from_slice(part);
        }
    }
    kept.into()
}
