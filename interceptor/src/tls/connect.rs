//! The endpoint's side: we are the client, and as strict as it would have been.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{DnsName, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Alpn, Roots};

/// Names whose sessions are kept for resumption.
const SESSIONS: usize = 256;

/// The longest detail kept for a record: a certificate may carry thousands of names.
const MAX_DETAIL: usize = 300;

/// Opens TLS sessions to endpoints. Shared by all workers; sessions are resumed across connections of one name.
pub struct UpstreamTls {
    base: ClientConfig,
    /// One for each list of protocols asked for so far: a handful at most.
    configs: Mutex<Vec<(Vec<Alpn>, Arc<ClientConfig>)>>,
}

/// What is wrong with an endpoint's certificate, in a word for the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateFault {
    /// Its time is over.
    Expired,
    /// Its time has not come, or our clock is behind.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// It does not chain to a trusted root; self-signed ones too.
    UnknownIssuer,
    /// A signature does not verify, or uses an algorithm or key that is too weak.
    BadSignature,
    /// It is not for servers, or a CA's certificate stands where a server's must.
    WrongPurpose,
    /// It was revoked.
    Revoked,
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
            Self::UnknownIssuer => "unknown-issuer",
            Self::BadSignature => "bad-signature",
            Self::WrongPurpose => "wrong-purpose",
            Self::Revoked => "revoked",
            Self::Malformed => "malformed",
            Self::Other => "other",
        }
    }
}

impl std::fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no TLS session with an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The certificate does not prove that this is the endpoint.
    #[error("the certificate of '{name}' is refused ({fault}): {detail}")]
    Certificate {
        /// The name that was asked for.
        name: String,
        /// Why, in a word.
        fault: CertificateFault,
        /// Why, in a sentence.
        detail: String,
    },
    /// The endpoint ended the handshake.
    #[error("'{name}' ended the handshake with alert {alert:?}")]
    Alert {
        /// The name that was asked for.
        name: String,
        /// The alert it sent.
        alert: AlertDescription,
    },
    /// The endpoint broke the protocol, or shares no version, cipher suite or application protocol with us.
    #[error("TLS with '{name}' failed: {source}")]
    Protocol {
        /// The name that was asked for.
        name: String,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The handshake took too long.
    #[error("'{name}' did not finish the handshake in time")]
    Timeout {
        /// The name that was asked for.
        name: String,
    },
    /// The connection broke during the handshake.
    #[error("the connection to '{name}' broke during the handshake: {source}")]
    Io {
        /// The name that was asked for.
        name: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl UpstreamTls {
    /// Verifies endpoints against `roots`.
    ///
    /// # Errors
    /// Never with the cipher suites built in; rustls demands the check.
    pub fn new(roots: Roots) -> Result<Self, rustls::Error> {
        let mut base = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(roots.into_store())
            .with_no_client_auth();
        base.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self { base, configs: Mutex::new(Vec::new()) })
    }

    /// Opens a session over `io` with the endpoint called `name`, offering `alpn` in order of preference (none when
    /// empty), within `limit`.
    ///
    /// # Errors
    /// See [`ConnectError`]: whatever cannot be verified is refused.
    pub async fn connect<IO>(
        &self,
        io: IO,
        name: &DnsName<'_>,
        alpn: &[Alpn],
        limit: Duration,
    ) -> Result<TlsStream<IO>, ConnectError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(self.config(alpn));
        let handshake = connector.connect(ServerName::DnsName(name.to_owned()), io);
        match timeout(limit, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(connect_error(name.as_ref(), error)),
            Err(_) => Err(ConnectError::Timeout { name: name.as_ref().into() }),
        }
    }

    fn config(&self, alpn: &[Alpn]) -> Arc<ClientConfig> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = configs.iter().find(|(list, _)| list == alpn) {
            return Arc::clone(config);
        }
        let mut config = self.base.clone();
        config.alpn_protocols = Alpn::wire(alpn);
        // A session resumed with other protocols than it was made with would be odd; keep them apart.
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        let config = Arc::new(config);
        configs.push((alpn.to_vec(), Arc::clone(&config)));
        config
    }
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UpstreamTls")
    }
}

fn connect_error(name: &str, error: io::Error) -> ConnectError {
    let name = name.to_owned();
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return ConnectError::Io { name, source: error };
    };
    match inner {
        rustls::Error::InvalidCertificate(reason) => {
            ConnectError::Certificate { name, fault: fault(reason), detail: printable(&reason.to_string()) }
        }
        rustls::Error::NoCertificatesPresented => ConnectError::Certificate {
            name,
            fault: CertificateFault::Malformed,
            detail: "the endpoint sent no certificate".into(),
        },
        &rustls::Error::AlertReceived(alert) => ConnectError::Alert { name, alert },
        other => ConnectError::Protocol { name, source: other.clone() },
    }
}

fn fault(reason: &CertificateError) -> CertificateFault {
    use CertificateError as E;
    match reason {
        E::Expired | E::ExpiredContext { .. } => CertificateFault::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => CertificateFault::NotYetValid,
        E::NotValidForName | E::NotValidForNameContext { .. } => CertificateFault::WrongName,
        E::UnknownIssuer => CertificateFault::UnknownIssuer,
        E::Revoked => CertificateFault::Revoked,
        E::BadSignature
        | E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => CertificateFault::BadSignature,
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => CertificateFault::WrongPurpose,
        E::BadEncoding | E::UnhandledCriticalExtension => CertificateFault::Malformed,
        _ => CertificateFault::Other,
    }
}

/// The names in a certificate are the endpoint's to choose: nothing of them may steer a terminal or flood a record.
fn printable(text: &str) -> String {
    text.chars().take(MAX_DETAIL).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
