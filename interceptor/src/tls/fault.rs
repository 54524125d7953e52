//! What is wrong with an endpoint's certificate, in a word.

use rustls::CertificateError;

use super::verify::WeakKey;

/// What is wrong with an endpoint's certificate, in a word for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateFault {
    /// Its time is over.
    Expired,
    /// Its time has not come, or our clock is behind.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// A certificate of the chain may not sign for this name.
    NameConstraint,
    /// It does not chain to a trusted root; self-signed ones too.
    UnknownIssuer,
    /// A signature does not verify.
    BadSignature,
    /// A signature uses an algorithm that is too weak, or is not known.
    WeakAlgorithm,
    /// A key is too short.
    WeakKey,
    /// It is not for servers, or a CA's certificate stands where a server's must.
    WrongPurpose,
    /// It was revoked: the stapled OCSP response says so.
    Revoked,
    /// It promises a stapled OCSP response, and none came that can be used.
    NotStapled,
    /// It cannot be parsed, or the endpoint sent none.
    Malformed,
    /// Any other reason; the detail says which.
    Other,
}

impl CertificateFault {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::WrongName => "wrong-name",
            Self::NameConstraint => "name-constraint",
            Self::UnknownIssuer => "unknown-issuer",
            Self::BadSignature => "bad-signature",
            Self::WeakAlgorithm => "weak-algorithm",
            Self::WeakKey => "weak-key",
            Self::WrongPurpose => "wrong-purpose",
            Self::Revoked => "revoked",
            Self::NotStapled => "not-stapled",
            Self::Malformed => "malformed",
            Self::Other => "other",
        }
    }

    pub(super) fn of(reason: &CertificateError) -> Self {
        use CertificateError as E;
        match reason {
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::WrongName,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::Revoked => Self::Revoked,
            E::InvalidOcspResponse => Self::NotStapled,
            E::BadSignature | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::BadSignature,
            E::UnsupportedSignatureAlgorithmContext { .. } => Self::WeakAlgorithm,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::WrongPurpose,
            E::BadEncoding => Self::Malformed,
            E::Other(other) if other.0.is::<WeakKey>() => Self::WeakKey,
            // rustls hands on what webpki says, which is no type of its interface.
            E::Other(other) => match format!("{:?}", other.0).as_str() {
                "NameConstraintViolation" => Self::NameConstraint,
                "CaUsedAsEndEntity" | "EndEntityUsedAsCa" | "PathLenConstraintViolated" => Self::WrongPurpose,
                "UnsupportedCriticalExtension" => Self::Malformed,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

impl std::fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
