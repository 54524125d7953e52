//! DER by hand, for what no library makes: OCSP responses and certificates with something wrong about them.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rcgen::{KeyPair, SigningKey};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// One value.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = content.len();
    let length = match u8::try_from(len) {
        Ok(short @ 0..0x80) => vec![short],
        Ok(len) => vec![0x81, len],
        Err(_) => [&[0x82][..], &u16::try_from(len).unwrap().to_be_bytes()].concat(),
    };
    [&[tag][..], &length, &content].concat()
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], bytes])
}

/// `ecdsa-with-SHA256`.
const ECDSA_SHA256: &[u8] = &[0x30, 0x0a, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// `ecdsa-with-SHA1`.
const ECDSA_SHA1: &[u8] = &[0x30, 9, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];

/// `message` with an ECDSA signature by `key`, which has the curve P-256.
fn signed(message: &[u8], key: &KeyPair, more: &[u8]) -> Vec<u8> {
    sequence(&[message, ECDSA_SHA256, &bit_string(&key.sign(message).unwrap()), more])
}

/// The public key of an RSA key pair of so many bits. Whoever has the private half does not matter: nothing is signed.
pub(super) fn rsa_public_key(bits: usize) -> rcgen::SubjectPublicKeyInfo {
    const RSA: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    let modulus = tlv(0x02, &[&[0], &vec![0xc5; bits / 8]]);
    let key = sequence(&[&modulus, &[2, 3, 1, 0, 1]]);
    rcgen::SubjectPublicKeyInfo::from_der(&sequence(&[RSA, &bit_string(&key)])).unwrap()
}

/// The same certificate, as if it had been signed with SHA-1.
pub(super) fn with_sha1(certificate: &CertificateDer<'_>) -> CertificateDer<'static> {
    let position = |bytes: &[u8]| bytes.windows(ECDSA_SHA256.len()).position(|window| window == ECDSA_SHA256);
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    let message = parsed.tbs_certificate.as_ref();
    let at = position(message).unwrap();
    // The content of the sequence, without its tag and its two bytes of length behind 0x82 or one behind 0x81.
    let header = if message[1] == 0x82 { 4 } else { 3 };
    let message = sequence(&[&message[header..at], ECDSA_SHA1, &message[at + ECDSA_SHA256.len()..]]);
    sequence(&[&message, ECDSA_SHA1, &bit_string(&parsed.signature_value.data)]).into()
}

/// One answer of OCSP about one certificate.
#[derive(Clone, Copy)]
pub(super) enum Says {
    Good,
    Revoked,
    Unknown,
}

/// An OCSP response to be.
#[derive(Clone)]
pub(super) struct Staple<'a> {
    pub(super) about: &'a CertificateDer<'a>,
    pub(super) issuer: &'a CertificateDer<'a>,
    pub(super) says: Says,
    /// Seconds from now.
    pub(super) this_update: i64,
    pub(super) next_update: Option<i64>,
    pub(super) key: &'a KeyPair,
    /// A responder that is not the issuer itself.
    pub(super) responder: Option<&'a CertificateDer<'a>>,
    /// Whether the responder is named by its key.
    pub(super) by_key: bool,
}

impl<'a> Staple<'a> {
    /// What the issuer says today.
    pub(super) fn new(
        about: &'a CertificateDer<'a>,
        issuer: &'a CertificateDer<'a>,
        key: &'a KeyPair,
        says: Says,
    ) -> Self {
        let next_update = Some(3 * 86_400);
        Self { about, issuer, says, this_update: -3600, next_update, key, responder: None, by_key: false }
    }

    /// As it is stapled.
    pub(super) fn der(&self) -> Vec<u8> {
        let (_, responder) = X509Certificate::from_der(self.responder.unwrap_or(self.issuer)).unwrap();
        let responder = if self.by_key {
            tlv(0xa2, &[&tlv(0x04, &[sha1(&responder.public_key().subject_public_key.data).as_ref()])])
        } else {
            tlv(0xa1, &[responder.subject().as_raw()])
        };
        let data = sequence(&[&responder, &time(self.this_update), &sequence(&[&self.answer()])]);
        let certificates = self.responder.map(|responder| tlv(0xa0, &[&sequence(&[responder.as_ref()])]));
        response(&signed(&data, self.key, &certificates.unwrap_or_default()))
    }

    fn answer(&self) -> Vec<u8> {
        let (_, about) = X509Certificate::from_der(self.about).unwrap();
        let (_, issuer) = X509Certificate::from_der(self.issuer).unwrap();
        const SHA1: &[u8] = &[0x30, 9, 6, 5, 0x2b, 14, 3, 2, 26, 5, 0];
        let name = tlv(0x04, &[sha1(about.issuer().as_raw()).as_ref()]);
        let key = tlv(0x04, &[sha1(&issuer.public_key().subject_public_key.data).as_ref()]);
        let id = sequence(&[SHA1, &name, &key, &tlv(0x02, &[about.raw_serial()])]);
        let status = match self.says {
            Says::Good => vec![0x80, 0],
            Says::Revoked => tlv(0xa1, &[&time(-7200)]),
            Says::Unknown => vec![0x82, 0],
        };
        let next = self.next_update.map(|next| tlv(0xa0, &[&time(next)]));
        sequence(&[&id, &status, &time(self.this_update), &next.unwrap_or_default()])
    }
}

/// A response that succeeded.
fn response(basic: &[u8]) -> Vec<u8> {
    const BASIC: &[u8] = &[6, 9, 0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
    let bytes = sequence(&[BASIC, &tlv(0x04, &[basic])]);
    sequence(&[&[10, 1, 0], &tlv(0xa0, &[&bytes])])
}

/// A responder's error: *try later*.
pub(super) fn try_later() -> Vec<u8> {
    sequence(&[&[10, 1, 3]])
}

fn sha1(bytes: &[u8]) -> impl AsRef<[u8]> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes)
}

fn time(seconds: i64) -> Vec<u8> {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    tlv(0x18, &[at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()])
}
