//! UTF-8 that arrives in pieces, refused with its first byte that cannot be.

use super::Error;

/// The state between two pieces of text.
#[derive(Clone, Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character whose end has not arrived.
    pending: [u8; 4],
    len: usize,
}

impl Utf8 {
    /// Takes the next piece.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), Error> {
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            self.pending[self.len] = byte;
            self.len += 1;
            piece = rest;
            match std::str::from_utf8(&self.pending[..self.len]) {
                Ok(_) => self.len = 0,
                Err(e) if e.error_len().is_some() => return Err(Error::Utf8),
                Err(_) => {}
            }
        }
        match std::str::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(e) if e.error_len().is_some() => Err(Error::Utf8),
            Err(e) => {
                let begun = &piece[e.valid_up_to()..];
                self.pending[..begun.len()].copy_from_slice(begun);
                self.len = begun.len();
                Ok(())
            }
        }
    }

    /// The text has ended, in the middle of a character or not.
    pub(super) fn finish(&self) -> Result<(), Error> {
        if self.len == 0 { Ok(()) } else { Err(Error::Utf8) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many bytes are taken before the first that is refused, piece by piece.
    fn taken(bytes: &[u8]) -> (usize, bool) {
        let mut text = Utf8::default();
        for (at, byte) in bytes.iter().enumerate() {
            if text.push(&[*byte]).is_err() {
                return (at, false);
            }
        }
        (bytes.len(), text.finish().is_ok())
    }

    #[test]
    fn the_first_byte_that_cannot_be_is_refused() {
        for (bytes, at) in [
            (&b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80edited"[..], 6),
            (b"\xf4\x90\x80\x80", 1),
            (b"\xc0\xaf", 0),
            (b"\xe0\x80\xaf", 1),
            (b"\xf0\x80\x80\xaf", 1),
            (b"\xed\xb0\x80", 1),
            (b"\xf8\x88\x80\x80\x80", 0),
            (b"a\x80", 1),
            (b"\xe2\x82a", 2),
        ] {
            assert_eq!(taken(bytes), (at, false), "{bytes:x?}");
        }
        assert_eq!(taken(b"\xe2\x82"), (2, false), "half of a character is no end");
        assert_eq!(taken("κόσμε \u{10ffff}".as_bytes()), (15, true));
    }

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..12), text in "\\PC{0,8}", cut in any::<prop::sample::Index>()) {
            for bytes in [bytes.as_slice(), text.as_bytes(), &[text.as_bytes(), &bytes].concat()] {
                let (a, b) = bytes.split_at(cut.index(bytes.len() + 1));
                let mut whole = Utf8::default();
                let mut pieces = Utf8::default();
                let judged = whole.push(bytes).and_then(|()| whole.finish());
                let in_pieces = pieces.push(a).and_then(|()| pieces.push(b)).and_then(|()| pieces.finish());
                prop_assert_eq!(judged.is_ok(), std::str::from_utf8(bytes).is_ok());
                prop_assert_eq!(in_pieces, judged);
            }
        }
    }
}
