//! Connections to receivers: marked as the daemon's own, so that its own programs do not capture them, and verified.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::sys::unacknowledged;
use crate::tls::{Alpn, CertificateDer, Roots, RootsError, ServerName, UpstreamTls};

/// How long a connection, and a handshake, may take each.
const CONNECT: Duration = Duration::from_secs(10);
/// An idle connection is tried after so long, and again so often, before its peer's host counts as gone: within
/// [`GONE`] in all.
const IDLE: Duration = Duration::from_secs(1);
const TRIES: u32 = 2;
/// After what time the death of a peer's host is noticed at the latest, on a connection where all is acknowledged.
pub(super) const GONE: Duration = Duration::from_secs(4);

/// What makes connections the daemon's own.
#[derive(Clone, Debug, Default)]
pub struct Net {
    /// SO_MARK of every socket; 0 sets none.
    pub mark: u32,
    /// The internal CA's certificates: a receiver that shows one of its leaves is none.
    pub own: Vec<CertificateDer<'static>>,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// There are no roots.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The library refuses its settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// A connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {
    /// Whether the peer's host has acknowledged all that was written.
    fn is_acknowledged(&self) -> bool;
}

impl Io for TcpStream {
    fn is_acknowledged(&self) -> bool {
        unacknowledged(self).is_ok_and(|bytes| bytes == 0)
    }
}

impl Io for TlsStream<TcpStream> {
    fn is_acknowledged(&self) -> bool {
        self.get_ref().0.is_acknowledged()
    }
}

/// One place that can be connected to.
pub(super) struct Peer {
    host: String,
    port: u16,
    tls: Option<(UpstreamTls, ServerName<'static>, &'static [Alpn])>,
    mark: u32,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Peer {
    /// In the clear.
    pub(super) fn plain(net: &Net, host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, tls: None, mark: net.mark }
    }

    /// Over TLS, verified against the roots in `ca_file` alone, or else against the system's.
    pub(super) fn verified(
        net: &Net,
        (host, port): (&str, u16),
        alpn: &'static [Alpn],
        ca_file: Option<&PathBuf>,
    ) -> Result<Self, NetError> {
        let roots = match ca_file {
            Some(file) => Roots::only(std::slice::from_ref(file), &net.own)?,
            None => Roots::system(&[], &net.own)?,
        };
        let tls = UpstreamTls::new(roots).map_err(|e| NetError::Tls(e.to_string()))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| NetError::Tls(format!("{host:?} is neither a name nor an address")))?;
        Ok(Self { tls: Some((tls, name, alpn)), ..Self::plain(net, host, port) })
    }

    pub(super) async fn connect(&self) -> io::Result<Box<dyn Io>> {
        let stream = self.tcp().await?;
        let Some((tls, name, alpn)) = &self.tls else { return Ok(Box::new(stream)) };
        let session = tls.connect(stream, name, alpn, None, CONNECT).await.map_err(io::Error::other)?;
        Ok(Box::new(session))
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", self.host));
        for address in tokio::net::lookup_host((self.host.as_str(), self.port)).await? {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
            if self.mark != 0 {
                setsockopt(&socket, sockopt::Mark, &self.mark)?;
            }
            socket.set_tcp_nodelay(true)?;
            // No TCP_USER_TIMEOUT: it also ends the connection to a receiver that is alive and does not read for a while.
            let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(IDLE).with_retries(TRIES);
            socket.set_tcp_keepalive(&keepalive)?;
            // A socket that is not connected yet is a stream to the standard library only by name.
            let socket = TcpSocket::from_std_stream(socket.into());
            match timeout(CONNECT, socket.connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address}: no answer")),
            }
        }
        Err(last)
    }
}
