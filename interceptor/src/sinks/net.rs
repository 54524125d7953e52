//! Connections to receivers: marked as the daemon's own, so that its own programs do not capture them, and verified.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::settings::Tls;
use crate::sys::unacknowledged;
use crate::tls::{
    Alpn, CertificateDer, EndpointFiles, EndpointTls, EndpointTlsError, Roots, RootsError, ServerName, UpstreamTls,
};

/// How long a look-up, a connection and a handshake may take each.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection may take to an address that is not the last one: some of a name's may be out of reach for good.
const NEXT: Duration = Duration::from_secs(3);
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
    /// The certificate that the receiver would be shown, or its key, cannot be used.
    #[error("{0}")]
    Identity(String),
    /// The library refuses its settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// A connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {
    /// Bytes that were written and that the peer's host has not acknowledged, as far as can be told.
    fn unacknowledged(&self) -> u64;
}

impl Io for TcpStream {
    fn unacknowledged(&self) -> u64 {
        unacknowledged(self).map_or(u64::MAX, |bytes| bytes as u64)
    }
}

impl Io for TlsStream<TcpStream> {
    fn unacknowledged(&self) -> u64 {
        self.get_ref().0.unacknowledged()
    }
}

/// One place that can be connected to.
pub(super) struct Peer {
    host: String,
    port: u16,
    tls: Option<Verified>,
    mark: u32,
}

struct Verified {
    tls: UpstreamTls,
    name: ServerName<'static>,
    alpn: &'static [Alpn],
    /// What the receiver is shown.
    identity: Option<EndpointTls>,
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

    /// Over TLS, verified as `settings` say.
    pub(super) fn verified(
        net: &Net,
        (host, port): (&str, u16),
        alpn: &'static [Alpn],
        settings: &Tls,
    ) -> Result<Self, NetError> {
        let roots = match &settings.ca_file {
            Some(file) => Roots::only(std::slice::from_ref(file), &net.own)?,
            None => Roots::system(&[], &net.own)?,
        };
        let tls = UpstreamTls::new(roots).map_err(|e| NetError::Tls(e.to_string()))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| NetError::Tls(format!("{host:?} is neither a name nor an address")))?;
        let identity = match (&settings.client_cert_file, &settings.client_key_file) {
            (Some(certificate), Some(key)) => Some(identity(certificate, key)?),
            (None, None) => None,
            _ => {
                let why = "client_cert_file and client_key_file are of use together only; name both, or none";
                return Err(NetError::Identity(why.into()));
            }
        };
        Ok(Self { tls: Some(Verified { tls, name, alpn, identity }), ..Self::plain(net, host, port) })
    }

    pub(super) async fn connect(&self) -> io::Result<Box<dyn Io>> {
        let stream = self.tcp().await?;
        let Some(Verified { tls, name, alpn, identity }) = &self.tls else { return Ok(Box::new(stream)) };
        let session = tls.connect(stream, name, alpn, identity.as_ref(), CONNECT).await.map_err(io::Error::other)?;
        Ok(Box::new(session))
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", self.host));
        let found = timeout(CONNECT, tokio::net::lookup_host((self.host.as_str(), self.port))).await;
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("{}: no answer from the resolver", self.host));
        let mut addresses = found.map_err(|_| late())??.peekable();
        while let Some(address) = addresses.next() {
            let patience = if addresses.peek().is_some() { NEXT } else { CONNECT };
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
            match timeout(patience, socket.connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
                Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address}: no answer")),
            }
        }
        Err(last)
    }
}

fn identity(certificate: &Path, key: &Path) -> Result<EndpointTls, NetError> {
    let files = EndpointFiles { client_certificate: Some((certificate, key)), roots: &[] };
    EndpointTls::load(&files, &[]).map_err(|error| {
        NetError::Identity(match error {
            EndpointTlsError::Certificate { path, reason } => {
                format!("client_cert_file: {}: {reason}", path.display())
            }
            EndpointTlsError::Key { path, reason } => format!("client_key_file: {}: {reason}", path.display()),
            EndpointTlsError::KeyFile(error) => format!("client_key_file: {error}"),
            EndpointTlsError::Roots(error) => error.to_string(),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_client_certificate_needs_its_own_key_that_others_cannot_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let [own, other] = [(); 2].map(|()| rcgen::generate_simple_self_signed(["client.test".into()]).unwrap());
        let certificate = write("cert.pem", &own.cert.pem(), 0o644);
        let key = write("key.pem", &own.signing_key.serialize_pem(), 0o600);
        let open = write("open.pem", &own.signing_key.serialize_pem(), 0o644);
        let others = write("others.pem", &other.signing_key.serialize_pem(), 0o600);
        let made = |client_cert_file: Option<&Path>, client_key_file: Option<&Path>| {
            let settings = Tls {
                ca_file: Some(certificate.clone()),
                client_cert_file: client_cert_file.map(Path::to_owned),
                client_key_file: client_key_file.map(Path::to_owned),
            };
            Peer::verified(&Net::default(), ("h.example", 1), &[], &settings).map(drop).map_err(|e| e.to_string())
        };
        assert_eq!(made(Some(&certificate), Some(&key)), Ok(()));
        for (cert, key, expected) in [
            (Some(&*certificate), None, "name both, or none"),
            (None, Some(&*key), "name both, or none"),
            (Some(&*key), Some(&*key), "client_cert_file: "),
            (Some(&*certificate), Some(&*open), "chmod 0600"),
            (Some(&*certificate), Some(&*others), "client_key_file: "),
            (Some(&*certificate), Some(&*certificate), "client_key_file: "),
        ] {
            let error = made(cert, key).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
