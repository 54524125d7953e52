//! Stapled OCSP responses (RFC 6960): what the issuer of a certificate, or whom it has named for that, says about it.

use std::time::Duration;

use aws_lc_rs::digest::{self, Algorithm, digest};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::UnixTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::der::{
    ENUMERATED, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, PublicKey, Reader, SEQUENCE, Signed, Value,
    context,
};

/// How far our clock and the responder's may be apart.
const SKEW: Duration = Duration::from_secs(3600);

/// How long a response is good that does not say when the next one comes.
const WITHOUT_NEXT: Duration = Duration::from_secs(86_400);

/// Certificates of responders that are looked at; each costs a verification.
const MAX_RESPONDERS: usize = 4;

/// 1.3.6.1.5.5.7.48.1.1
const ID_PKIX_OCSP_BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1];

/// A certificate that was asked about.
pub(super) struct Subject<'a> {
    /// The content of its serial number.
    pub(super) serial: &'a [u8],
    /// The name of its issuer, in DER.
    pub(super) issuer: &'a [u8],
    /// The key that it is signed with.
    pub(super) issuer_key: PublicKey<'a>,
}

/// What a response says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Good,
    Revoked,
}

/// Why a response says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it cannot be parsed")]
    Malformed,
    #[error("the responder reports an error")]
    ResponderFailed,
    #[error("it is about other certificates")]
    Foreign,
    #[error("it is not signed by the issuer, or by a responder that the issuer has named")]
    BadSignature,
    #[error("the responder does not know the certificate")]
    Unknown,
    #[error("its time has not come, or is over")]
    Stale,
}

/// A response that succeeded.
struct Response<'a> {
    signed: Signed<'a>,
    responder: Value<'a>,
    answers: Reader<'a>,
    certificates: Option<Reader<'a>>,
}

/// One certificate's part of a response.
struct Answer<'a> {
    status: Value<'a>,
    this_update: i64,
    next_update: Option<i64>,
}

/// What `response` says about `subject`. A revocation stands however old it is; the rest is good for its time only.
pub(super) fn judge(
    response: &[u8],
    subject: &Subject<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Result<Status, Unusable> {
    let response = Response::read(response)?;
    let answer = response.about(subject)?;
    if !response.is_authentic(subject, algorithms, now) {
        return Err(Unusable::BadSignature);
    }
    match answer.status.tag & 0x1f {
        0 if answer.is_current(now) => Ok(Status::Good),
        0 => Err(Unusable::Stale),
        1 => Ok(Status::Revoked),
        2 => Err(Unusable::Unknown),
        _ => Err(Unusable::Malformed),
    }
}

impl<'a> Response<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Unusable> {
        let mut outer = Reader::new(bytes).only(SEQUENCE).ok_or(Unusable::Malformed)?.inside();
        match outer.take(ENUMERATED).ok_or(Unusable::Malformed)?.content {
            [0] => Self::successful(outer).ok_or(Unusable::Malformed),
            _ => Err(Unusable::ResponderFailed),
        }
    }

    fn successful(outer: Reader<'a>) -> Option<Self> {
        let mut bytes = outer.only(context(0))?.inside().only(SEQUENCE)?.inside();
        if bytes.take(OBJECT_IDENTIFIER)?.content != ID_PKIX_OCSP_BASIC {
            return None;
        }
        let mut signed = Signed::read(bytes.only(OCTET_STRING)?.content)?;
        let certificates = match signed.rest.take(context(0)) {
            Some(list) => Some(list.inside().only(SEQUENCE)?.inside()),
            None => None,
        };
        if !signed.rest.is_empty() {
            return None;
        }
        let mut data = signed.message.inside();
        // Version 1 is the default, and the only one there is.
        if data.take(context(0)).is_some_and(|version| version.content != [INTEGER, 1, 0]) {
            return None;
        }
        let responder = data.any()?;
        time(data.take(GENERALIZED_TIME)?)?;
        let answers = data.take(SEQUENCE)?.inside();
        Some(Self { signed, responder, answers, certificates })
    }

    /// The part about `subject`; a revocation, where several contradict each other.
    fn about(&self, subject: &Subject<'_>) -> Result<Answer<'a>, Unusable> {
        let mut answers = self.answers;
        let mut found: Option<Answer<'a>> = None;
        while !answers.is_empty() {
            let (id, answer) = answers.take(SEQUENCE).and_then(Answer::read).ok_or(Unusable::Malformed)?;
            let worse = found.is_none() || answer.status.tag & 0x1f == 1;
            if worse && identifies(id, subject).ok_or(Unusable::Malformed)? {
                found = Some(answer);
            }
        }
        found.ok_or(Unusable::Foreign)
    }

    /// RFC 6960, section 4.2.2.2: the issuer itself, or a responder with a certificate by the issuer for that purpose.
    fn is_authentic(&self, subject: &Subject<'_>, algorithms: &WebPkiSupportedAlgorithms, now: UnixTime) -> bool {
        if self.responder_is(subject.issuer, subject.issuer_key) && self.signed.is_by(subject.issuer_key, algorithms) {
            return true;
        }
        let mut certificates = self.certificates.unwrap_or(Reader::new(&[]));
        let certificates = std::iter::from_fn(move || certificates.take(SEQUENCE));
        certificates
            .take(MAX_RESPONDERS)
            .any(|value| self.is_by_delegate(value.raw, subject, algorithms, now).is_some())
    }

    fn is_by_delegate(
        &self,
        certificate: &[u8],
        subject: &Subject<'_>,
        algorithms: &WebPkiSupportedAlgorithms,
        now: UnixTime,
    ) -> Option<()> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let key = PublicKey::read(Reader::new(parsed.public_key().raw).only(SEQUENCE)?.inside())?;
        let may = parsed.extended_key_usage().ok()??.value.ocsp_signing;
        let now = ASN1Time::from_timestamp(i64::try_from(now.as_secs()).ok()?).ok()?;
        let named = parsed.issuer().as_raw() == subject.issuer && parsed.validity().is_valid_at(now);
        let answers = self.responder_is(parsed.subject().as_raw(), key) && self.signed.is_by(key, algorithms);
        let delegated = may && named && answers;
        (delegated && Signed::read(certificate)?.is_by(subject.issuer_key, algorithms)).then_some(())
    }

    /// Whether the response says that it is by whoever has this name and key.
    fn responder_is(&self, name: &[u8], key: PublicKey<'_>) -> bool {
        const BY_NAME: u8 = context(1);
        const BY_KEY: u8 = context(2);
        match self.responder.tag {
            BY_NAME => self.responder.content == name,
            BY_KEY => {
                let hash = self.responder.inside().only(OCTET_STRING);
                hash.is_some_and(|hash| hash.content == digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.bits).as_ref())
            }
            _ => false,
        }
    }
}

impl<'a> Answer<'a> {
    /// The identifier of the certificate, and the answer.
    fn read(single: Value<'a>) -> Option<(Value<'a>, Self)> {
        let mut fields = single.inside();
        let id = fields.take(SEQUENCE)?;
        let status = fields.any()?;
        let this_update = time(fields.take(GENERALIZED_TIME)?)?;
        let next_update = match fields.take(context(0)) {
            Some(next) => Some(time(next.inside().only(GENERALIZED_TIME)?)?),
            None => None,
        };
        Some((id, Self { status, this_update, next_update }))
    }

    fn is_current(&self, now: UnixTime) -> bool {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let until = self.next_update.unwrap_or(self.this_update.saturating_add(seconds(WITHOUT_NEXT)));
        self.this_update <= now.saturating_add(seconds(SKEW)) && now <= until.saturating_add(seconds(SKEW))
    }
}

/// Whether a CertID is that of `subject`. False for hashes that are not known.
fn identifies(id: Value<'_>, subject: &Subject<'_>) -> Option<bool> {
    let mut fields = id.inside();
    let algorithm = fields.take(SEQUENCE)?.inside().take(OBJECT_IDENTIFIER)?;
    let name = fields.take(OCTET_STRING)?.content;
    let key = fields.take(OCTET_STRING)?.content;
    let serial = fields.take(INTEGER)?.content;
    let Some(algorithm) = hash(algorithm.content) else { return Some(false) };
    let is = |hash: &[u8], of: &[u8]| hash == digest(algorithm, of).as_ref();
    Some(serial == subject.serial && is(name, subject.issuer) && is(key, subject.issuer_key.bits))
}

/// The hashes that CertIDs are made with: SHA-1 nearly always, as RFC 5019 asks for. Nobody gains by a collision here.
fn hash(oid: &[u8]) -> Option<&'static Algorithm> {
    match oid {
        [0x2b, 14, 3, 2, 26] => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => Some(&digest::SHA256),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => Some(&digest::SHA384),
        [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => Some(&digest::SHA512),
        _ => None,
    }
}

fn time(value: Value<'_>) -> Option<i64> {
    Some(ASN1Time::from_der(value.raw).ok()?.1.timestamp())
}
