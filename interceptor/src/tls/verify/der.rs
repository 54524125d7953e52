//! Just enough of DER (X.690) to take signed structures apart without losing their bytes: a signature is over them.

use rustls::crypto::WebPkiSupportedAlgorithms;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// A tag of the context, constructed.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Values, one after another. Whatever is not DER ends in `None`.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

/// One value.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    /// With tag and length.
    pub(super) raw: &'a [u8],
    pub(super) content: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next value, whatever its tag.
    pub(super) fn any(&mut self) -> Option<Value<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        // Tags with several bytes do not occur in what is read here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => long_length(rest, usize::from(first & 0x7f))?,
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        let raw = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Value { tag, raw, content })
    }

    /// The next value, which has this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<Value<'a>> {
        let mut ahead = *self;
        let value = ahead.any().filter(|value| value.tag == tag)?;
        *self = ahead;
        Some(value)
    }

    /// The value that has this tag and is all there is.
    pub(super) fn only(mut self, tag: u8) -> Option<Value<'a>> {
        self.take(tag).filter(|_| self.is_empty())
    }
}

impl<'a> Value<'a> {
    /// The values inside.
    pub(super) fn inside(self) -> Reader<'a> {
        Reader(self.content)
    }

    /// The bytes of a bit string that has whole bytes.
    pub(super) fn bits(self) -> Option<&'a [u8]> {
        match self.content {
            [0, bytes @ ..] => Some(bytes),
            _ => None,
        }
    }
}

/// A length in the next `bytes` bytes, which needs as many.
fn long_length(rest: &[u8], bytes: usize) -> Option<(usize, &[u8])> {
    let (length, rest) = rest.split_at_checked(bytes)?;
    let len = length.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    let least = if bytes == 1 { 0x80 } else { 1 << (8 * (bytes - 1)) };
    (len >= least).then_some((len, rest))
}

/// `SIGNED` (RFC 5280, section 4.1; RFC 6960, section 4.2.1): a certificate, or the basic response of OCSP.
pub(super) struct Signed<'a> {
    /// What is signed.
    pub(super) message: Value<'a>,
    /// The algorithm's identifier, without its tag.
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// What comes behind the signature.
    pub(super) rest: Reader<'a>,
}

/// A public key: the two parts of a SubjectPublicKeyInfo.
#[derive(Clone, Copy)]
pub(super) struct PublicKey<'a> {
    /// The algorithm's identifier, without its tag.
    algorithm: &'a [u8],
    /// The key itself.
    pub(super) bits: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut inside = Reader::new(bytes).only(SEQUENCE)?.inside();
        let message = inside.take(SEQUENCE)?;
        let algorithm = inside.take(SEQUENCE)?.content;
        let signature = inside.take(BIT_STRING)?.bits()?;
        Some(Self { message, algorithm, signature, rest: inside })
    }

    /// Whether the signature is by `key`, with an algorithm and a key that a chain may have too.
    pub(super) fn is_by(&self, key: PublicKey<'_>, algorithms: &WebPkiSupportedAlgorithms) -> bool {
        algorithms.all.iter().any(|algorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm
                && algorithm.public_key_alg_id().as_ref() == key.algorithm
                && algorithm.verify_signature(key.bits, self.message.raw, self.signature).is_ok()
        })
    }
}

impl<'a> PublicKey<'a> {
    /// Takes the content of a SubjectPublicKeyInfo.
    pub(super) fn read(mut info: Reader<'a>) -> Option<Self> {
        let algorithm = info.take(SEQUENCE)?.content;
        let bits = info.take(BIT_STRING)?.bits()?;
        info.is_empty().then_some(Self { algorithm, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_in_their_shortest_form_only() {
        let long = [&[OCTET_STRING, 0x81, 0x80][..], &[7; 0x80]].concat();
        assert_eq!(Reader::new(&long).only(OCTET_STRING).unwrap().content, [7; 0x80]);
        for bad in [
            &[OCTET_STRING, 0x81, 1, 7][..],
            &[OCTET_STRING, 0x82, 0, 1, 7],
            &[OCTET_STRING, 0x80, 7, 0, 0],
            &[OCTET_STRING, 2, 7],
            &[OCTET_STRING],
            &[0x1f, 0x81, 1, 7],
        ] {
            assert!(Reader::new(bad).any().is_none(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_taken() {
        let mut two = Reader::new(&[INTEGER, 1, 5, OCTET_STRING, 0]);
        assert!(two.take(OCTET_STRING).is_none());
        assert_eq!(two.take(INTEGER).unwrap().content, [5]);
        assert!(Reader::new(&[INTEGER, 1, 5, OCTET_STRING, 0]).only(INTEGER).is_none());
        assert_eq!(two.take(OCTET_STRING).unwrap().raw, [OCTET_STRING, 0]);
        assert!(two.is_empty());
    }
}
