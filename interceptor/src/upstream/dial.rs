//! To the endpoint: at the address the client meant, under the name the client asked for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::client::TlsStream;

use crate::flow::OriginalDst;
use crate::sys::{self, Stream, Transport};
use crate::tls::{Alpn, ConnectError, DnsName, UpstreamTls};

/// A verified session with an endpoint.
pub type UpstreamStream = TlsStream<Stream>;

/// How endpoints are dialled. One for each worker, or shared.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// `SO_MARK` of the daemon's own traffic; 0 for none.
    pub mark: u32,
    /// Limit for the TCP handshake.
    pub connect_timeout: Duration,
    /// Limit for the TLS handshake.
    pub handshake_timeout: Duration,
    /// Verifies the endpoint.
    pub tls: Arc<UpstreamTls>,
    /// The daemon's own listeners, which are never dialled.
    pub listeners: Vec<SocketAddr>,
    /// The transport of the worker.
    pub transport: Transport,
}

/// Why there is no session with the endpoint, and so whose fault it is.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Ours, or of a client that connected to the listener itself.
    #[error("{addr} is the daemon's own listener: the connection would come back to it")]
    Loop {
        /// Where the client meant to connect.
        addr: SocketAddr,
    },
    /// Ours: the mark may not be set, or descriptors ran out.
    #[error("cannot open a connection to {addr}: {source}; the daemon needs CAP_NET_ADMIN and free descriptors")]
    Local {
        /// Where the client meant to connect.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The endpoint's: nothing listens there.
    #[error("{addr} refused the connection")]
    Refused {
        /// Where the client meant to connect.
        addr: SocketAddr,
    },
    /// The network's.
    #[error("cannot reach {addr}: {source}")]
    Unreachable {
        /// Where the client meant to connect.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The network's or the endpoint's.
    #[error("{addr} did not answer in time")]
    Timeout {
        /// Where the client meant to connect.
        addr: SocketAddr,
    },
    /// The endpoint's, or whoever's answers in its place.
    #[error("{addr}: {source}")]
    Tls {
        /// Where the client meant to connect.
        addr: SocketAddr,
        /// What happened; a certificate's fault too.
        source: ConnectError,
    },
}

impl Dialer {
    /// Connects to `original` and opens a TLS session verified for `name`.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn dial(
        &self,
        original: OriginalDst,
        name: &DnsName<'_>,
        alpn: &[Alpn],
    ) -> Result<UpstreamStream, DialError> {
        let stream = self.connect(original).await?;
        self.tls
            .connect(stream, name, alpn, self.handshake_timeout)
            .await
            .map_err(|source| DialError::Tls { addr: original.0, source })
    }

    /// Connects to `original`, without TLS.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn connect(&self, original: OriginalDst) -> Result<Stream, DialError> {
        let addr = original.0;
        if self.is_own(addr) {
            return Err(DialError::Loop { addr });
        }
        sys::connect(addr, self.mark, self.connect_timeout, self.transport).await.map_err(|source| {
            match source.kind() {
                io::ErrorKind::ConnectionRefused => DialError::Refused { addr },
                io::ErrorKind::TimedOut => DialError::Timeout { addr },
                io::ErrorKind::PermissionDenied => DialError::Local { addr, source },
                _ if matches!(source.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE)) => {
                    DialError::Local { addr, source }
                }
                _ => DialError::Unreachable { addr, source },
            }
        })
    }

    /// Whether dialling `addr` would reach one of our listeners: same port, and their address or any loopback or
    /// unspecified one.
    fn is_own(&self, addr: SocketAddr) -> bool {
        let ip = addr.ip().to_canonical();
        self.listeners.iter().any(|own| {
            own.port() == addr.port() && (ip.is_loopback() || ip.is_unspecified() || own.ip().to_canonical() == ip)
        })
    }
}
