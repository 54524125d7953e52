//! The endpoint's side: we are the client, and as strict as it would have been.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::verify::Verifier;
use super::{Alpn, CertificateFault, EndpointTls, Roots};

/// Sessions that are kept for resumption, eight for a name: those of 64 names.
const SESSIONS: usize = 8 * 64;

/// The longest detail kept for a record: a certificate may carry thousands of names.
const MAX_DETAIL: usize = 300;

/// Opens TLS sessions to endpoints. Shared by all workers; sessions are resumed across connections of one name, one list
/// of protocols and one [`EndpointTls`].
pub struct UpstreamTls {
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
    /// As many as there are configured endpoints with TLS of their own, times a handful of lists of protocols.
    configs: Mutex<HashMap<Kind, Arc<ClientConfig>>>,
}

/// What sessions are kept apart by: none with a client certificate may be resumed for whoever shows another, none that
/// was verified by other roots, and none with other protocols.
#[derive(PartialEq, Eq, Hash)]
struct Kind {
    endpoint: Option<[u8; 32]>,
    alpn: Vec<Alpn>,
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
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = verifier(roots, &provider)?;
        Ok(Self { provider, verifier, configs: Mutex::default() })
    }

    /// Opens a session over `io` with the endpoint called `name`, offering `alpn` in order of preference (none when
    /// empty), within `limit`. `endpoint` is what the endpoint's configuration adds.
    ///
    /// # Errors
    /// See [`ConnectError`]: whatever cannot be verified is refused.
    pub async fn connect<IO>(
        &self,
        io: IO,
        name: &ServerName<'_>,
        alpn: &[Alpn],
        endpoint: Option<&EndpointTls>,
        limit: Duration,
    ) -> Result<TlsStream<IO>, ConnectError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let protocol = |source| ConnectError::Protocol { name: name.to_str().into(), source };
        let connector = TlsConnector::from(self.config(alpn, endpoint).map_err(protocol)?);
        let handshake = connector.connect(name.to_owned(), io);
        match timeout(limit, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(connect_error(&name.to_str(), error)),
            Err(_) => Err(ConnectError::Timeout { name: name.to_str().into() }),
        }
    }

    fn config(&self, alpn: &[Alpn], endpoint: Option<&EndpointTls>) -> Result<Arc<ClientConfig>, rustls::Error> {
        let kind = Kind { endpoint: endpoint.map(EndpointTls::id), alpn: alpn.to_vec() };
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(&kind) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.configure(alpn, endpoint)?);
        configs.insert(kind, Arc::clone(&config));
        Ok(config)
    }

    fn configure(&self, alpn: &[Alpn], endpoint: Option<&EndpointTls>) -> Result<ClientConfig, rustls::Error> {
        let verifier = match endpoint.and_then(EndpointTls::roots) {
            Some(roots) => verifier(roots.clone(), &self.provider)?,
            None => Arc::clone(&self.verifier),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match endpoint.and_then(EndpointTls::identity) {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity)))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = Alpn::wire(alpn);
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(config)
    }
}

/// `Roots` are never empty, which is the only thing a verifier refuses.
fn verifier(roots: Roots, provider: &Arc<CryptoProvider>) -> Result<Arc<Verifier>, rustls::Error> {
    let verifier = Verifier::new(roots.into_store(), provider);
    verifier.map(Arc::new).map_err(|error| rustls::Error::General(error.to_string()))
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
            ConnectError::Certificate { name, fault: CertificateFault::of(reason), detail: detail(reason) }
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

fn detail(reason: &CertificateError) -> String {
    match reason {
        CertificateError::InvalidOcspResponse => {
            "it promises a stapled OCSP response, and none came that can be used".into()
        }
        CertificateError::UnknownIssuer => "it does not chain to a root that is trusted for this endpoint".into(),
        CertificateError::Revoked => "the stapled OCSP response of its issuer says that it was revoked".into(),
        CertificateError::Other(other) => printable(&other.0.to_string()),
        other => printable(&other.to_string()),
    }
}

/// The names in a certificate are the endpoint's to choose: nothing of them may steer a terminal or flood a record.
fn printable(text: &str) -> String {
    text.chars().take(MAX_DETAIL).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
