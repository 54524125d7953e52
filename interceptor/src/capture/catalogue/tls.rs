//! What an `[[endpoint]]` says about TLS with it: files, which others read.

use std::path::PathBuf;

use super::EndpointError;

/// The files that TLS with one endpoint takes; none of them for most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    /// The daemon's certificate for it, and the private key.
    pub client: Option<ClientFiles>,
    /// The only roots that its certificate may chain to; empty: those of all endpoints.
    pub roots: Vec<PathBuf>,
}

/// A certificate with its chain, and its private key (PEM).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key: mode 0600, of the daemon's user.
    pub key: PathBuf,
}

impl TlsFiles {
    /// A certificate is nothing without its key, nor the key without it.
    pub(super) fn new(
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
        roots: Vec<PathBuf>,
    ) -> Result<Self, EndpointError> {
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(ClientFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(EndpointError::HalfIdentity { given: "client_certificate", missing: "client_key" });
            }
            (None, Some(_)) => {
                return Err(EndpointError::HalfIdentity { given: "client_key", missing: "client_certificate" });
            }
        };
        Ok(Self { client, roots })
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
