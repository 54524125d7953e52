//! Whether an endpoint is who it says: what rustls verifies (chain, name, time, purpose, constraints, algorithms), and
//! besides what a stapled OCSP response says, which browsers look at too.
//!
//! A staple that says *revoked* is believed. One that cannot be used counts for nothing, for the endpoint was free to send
//! none; unless the certificate promises one (RFC 7633, "must-staple"). Nobody is asked over the network.

mod der;
mod ocsp;

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, VerifierBuilderError};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey as KnownKey;

use super::CertificateFault;
use der::{INTEGER, PublicKey, Reader, SEQUENCE, Signed};
use ocsp::{Status, Subject};

/// The least bits of an RSA key, as the CA/Browser Forum demands.
const MIN_RSA_BITS: usize = 2048;

/// 1.3.6.1.5.5.7.1.24, the extension of RFC 7633.
const TLS_FEATURE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 24];

/// `status_request` (RFC 6066, section 8), the feature that promises a staple.
const STATUS_REQUEST: u8 = 5;

/// A certificate whose key is too short, or signed by one.
#[derive(Debug, thiserror::Error)]
#[error("an RSA key of {bits} bits is too weak; {MIN_RSA_BITS} are the least")]
pub(super) struct WeakKey {
    bits: usize,
}

/// Verifies endpoints.
#[derive(Debug)]
pub(super) struct Verifier {
    chain: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Self, VerifierBuilderError> {
        let roots = Arc::new(roots);
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        Ok(Self { chain: builder.build()?, roots, algorithms: provider.signature_verification_algorithms })
    }

    /// What the staple says, for a chain that is verified.
    fn staple(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        staple: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        let (_, leaf) = X509Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let promised = promises_staple(&leaf);
        if staple.is_empty() {
            return if promised { Err(CertificateError::InvalidOcspResponse.into()) } else { Ok(()) };
        }
        let issuer = leaf.issuer().as_raw();
        let status = match self.issuer_key(end_entity, issuer, intermediates, now) {
            Some(issuer_key) => {
                let subject = Subject { serial: leaf.raw_serial(), issuer, issuer_key };
                ocsp::judge(staple, &subject, &self.algorithms, now).map_err(|unusable| unusable.to_string())
            }
            None => Err("its issuer cannot be told".to_owned()),
        };
        match status {
            Ok(Status::Good) => Ok(()),
            Ok(Status::Revoked) => Err(CertificateError::Revoked.into()),
            Err(reason) => {
                log::debug!("a stapled OCSP response is of no use: {reason}");
                if promised { Err(CertificateError::InvalidOcspResponse.into()) } else { Ok(()) }
            }
        }
    }

    /// The key of the certificate that the verified chain goes on with from `end_entity`.
    fn issuer_key<'a>(
        &'a self,
        end_entity: &CertificateDer<'_>,
        issuer: &[u8],
        intermediates: &'a [CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<PublicKey<'a>> {
        let signed = Signed::read(end_entity)?;
        let signs = |key: &PublicKey<'_>| signed.is_by(*key, &self.algorithms);
        // Roots are kept without the tags of their fields.
        let name = Reader::new(issuer).only(SEQUENCE)?.content;
        let roots = self.roots.roots.iter().filter(|root| root.subject.as_ref() == name);
        let mut keys = roots.filter_map(|root| PublicKey::read(Reader::new(&root.subject_public_key_info)));
        if let Some(key) = keys.find(signs) {
            return Some(key);
        }
        let named: Vec<_> = intermediates.iter().filter(|certificate| subject(certificate) == Some(issuer)).collect();
        // Only one of that name: the chain must go through it. Of several, the others are left out to see.
        let leads = |candidate: &CertificateDer<'_>| {
            let others = intermediates.iter().filter(|other| *other == candidate || !named.contains(other));
            named.len() == 1 || self.chains(end_entity, &others.cloned().collect::<Vec<_>>(), now)
        };
        named.iter().find_map(|certificate| {
            let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
            let key = PublicKey::read(Reader::new(parsed.tbs_certificate.subject_pki.raw).only(SEQUENCE)?.inside())?;
            (signs(&key) && leads(certificate)).then_some(key)
        })
    }

    fn chains(&self, end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let parsed = ParsedCertificate::try_from(end_entity);
        parsed.is_ok_and(|leaf| {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, algorithms).is_ok()
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let verified = verified.map_err(|error| match error {
            // AWS-LC takes no shorter key, but does not say so.
            Error::InvalidCertificate(ref reason) if CertificateFault::of(reason) == CertificateFault::BadSignature => {
                intermediates.iter().find_map(weak_key).unwrap_or(error)
            }
            other => other,
        })?;
        // The chain says nothing about the key of the endpoint itself.
        if let Some(weak) = weak_key(end_entity) {
            return Err(weak);
        }
        self.staple(end_entity, intermediates, ocsp_response, now)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The subject of a certificate, in DER.
fn subject<'a>(certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    Some(X509Certificate::from_der(certificate).ok()?.1.tbs_certificate.subject.as_raw())
}

/// Whether a certificate is only good with a staple (RFC 7633). One whose promise cannot be read is taken to be.
fn promises_staple(leaf: &X509Certificate<'_>) -> bool {
    let mut features = leaf.extensions().iter().filter(|extension| extension.oid.as_bytes() == TLS_FEATURE);
    features.any(|extension| reads_status_request(extension.value).unwrap_or(true))
}

fn reads_status_request(features: &[u8]) -> Option<bool> {
    let mut features = Reader::new(features).only(SEQUENCE)?.inside();
    let mut found = false;
    while !features.is_empty() {
        found |= features.take(INTEGER)?.content == [STATUS_REQUEST];
    }
    Some(found)
}

fn weak_key(certificate: &CertificateDer<'_>) -> Option<Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let Ok(KnownKey::RSA(key)) = parsed.public_key().parsed() else { return None };
    // The modulus is a number without sign: a leading zero is no bit of it.
    let bits = key.modulus.iter().skip_while(|byte| **byte == 0).count() * 8;
    let weak = || Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(WeakKey { bits }))));
    (bits < MIN_RSA_BITS).then(weak)
}

/// Fuzzing entry: any bytes as the staple of a certificate. Nothing unsigned may ever be believed.
///
/// # Panics
/// When it is.
#[doc(hidden)]
pub fn fuzz_ocsp(bytes: &[u8]) {
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let issuer_key = PublicKey::read(Reader::new(&[SEQUENCE, 0, 3, 1, 0])).expect("an empty key");
    let subject = Subject { serial: &[1], issuer: &[SEQUENCE, 0], issuer_key };
    assert!(ocsp::judge(bytes, &subject, &algorithms, UnixTime::now()).is_err(), "nobody signed it");
}
