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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;
    use crate::sys::{Listener, run_worker};
    use crate::tls::{Authority, CertificateFault, LeafCache, Roots, accept};

    const NAME: &str = "api.example.com";
    const LIMIT: Duration = Duration::from_secs(10);

    /// A CA that endpoints have their certificates from, and a dialer that trusts it.
    fn world(transport: Transport) -> (LeafCache, Dialer) {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| Authority::load_or_create(&dir.path().join(name), &[NAME.into()], name).unwrap();
        let (public, internal) = (make("public"), make("internal"));
        let roots = Roots::system(&[dir.path().join("public/ca.pem")], internal.certificate_der()).unwrap();
        let dialer = Dialer {
            mark: 0,
            connect_timeout: LIMIT,
            handshake_timeout: LIMIT,
            tls: Arc::new(UpstreamTls::new(roots).unwrap()),
            listeners: vec![],
            transport,
        };
        (LeafCache::new(Arc::new(public), 4).unwrap(), dialer)
    }

    fn on_each_transport<F: Future<Output = ()>>(claim: impl Fn(Transport) -> F) {
        for transport in [Transport::IoUring, Transport::Epoll] {
            run_worker(transport, claim(transport)).unwrap();
        }
    }

    fn name(text: &str) -> DnsName<'_> {
        DnsName::try_from(text).unwrap()
    }

    /// One session: says back what it hears.
    async fn endpoint(listener: Listener, leaves: LeafCache) {
        let (stream, _) = listener.accept().await.unwrap();
        let hello = accept(stream, Instant::now() + LIMIT).await.unwrap();
        let config = leaves.server_config(&name(NAME), &[Alpn::Http11]).unwrap();
        // A refused certificate ends it here.
        if let Ok(mut tls) = hello.intercept(config, Instant::now() + LIMIT).await {
            let mut heard = [0; 4];
            tls.read_exact(&mut heard).await.unwrap();
            tls.write_all(&heard).await.unwrap();
            tls.shutdown().await.unwrap();
        }
    }

    #[test]
    fn the_endpoint_is_reached_at_the_original_address_and_verified_by_name() {
        on_each_transport(|transport| async move {
            let (leaves, dialer) = world(transport);
            let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 4, transport).unwrap();
            let addr = listener.local_addr().unwrap();
            tokio::task::spawn_local(endpoint(listener, leaves));
            let mut tls = dialer.dial(OriginalDst(addr), &name(NAME), &[Alpn::Http11]).await.unwrap();
            assert_eq!(tls.get_ref().0.peer_addr(), addr);
            tls.write_all(b"ping").await.unwrap();
            tls.flush().await.unwrap();
            let mut heard = Vec::new();
            tls.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"ping");
        });
    }

    #[test]
    fn an_endpoint_with_a_certificate_for_another_name_is_refused() {
        on_each_transport(|transport| async move {
            let (leaves, dialer) = world(transport);
            let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 4, transport).unwrap();
            let addr = listener.local_addr().unwrap();
            tokio::task::spawn_local(endpoint(listener, leaves));
            let error = dialer.dial(OriginalDst(addr), &name("other.test"), &[]).await.unwrap_err();
            let DialError::Tls { source: ConnectError::Certificate { fault, .. }, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(*fault, CertificateFault::WrongName);
            assert!(error.to_string().contains(&addr.to_string()), "{error}");
        });
    }

    #[test]
    fn own_listeners_are_never_dialled() {
        on_each_transport(|transport| async move {
            let (_, mut dialer) = world(transport);
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            dialer.listeners = vec![listener.local_addr().unwrap()];
            for host in ["127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"] {
                let addr = format!("{host}:{port}").parse().unwrap();
                let error = dialer.connect(OriginalDst(addr)).await.unwrap_err();
                assert!(matches!(error, DialError::Loop { .. }), "{error}");
            }
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "nothing reached it");
        });
    }

    #[test]
    fn who_is_at_fault_is_said() {
        on_each_transport(|transport| async move {
            let (_, mut dialer) = world(transport);
            let closed = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let addr = closed.local_addr().unwrap();
            drop(closed);
            let error = dialer.dial(OriginalDst(addr), &name(NAME), &[]).await.unwrap_err();
            assert!(matches!(error, DialError::Refused { .. }), "{error}");

            // Connects, then says nothing.
            let silent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            dialer.handshake_timeout = Duration::from_millis(30);
            let addr = silent.local_addr().unwrap();
            let error = dialer.dial(OriginalDst(addr), &name(NAME), &[]).await.unwrap_err();
            assert!(matches!(error, DialError::Tls { source: ConnectError::Timeout { .. }, .. }), "{error}");

            // Its backlog full, it does not answer at all.
            let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
            full.listen(0).unwrap();
            let addr = full.local_addr().unwrap().as_socket().unwrap();
            let _queued = std::net::TcpStream::connect(addr).unwrap();
            dialer.connect_timeout = Duration::from_millis(30);
            let error = dialer.dial(OriginalDst(addr), &name(NAME), &[]).await.unwrap_err();
            assert!(matches!(error, DialError::Timeout { .. }), "{error}");
        });
    }
}
