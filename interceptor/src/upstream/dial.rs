//! To the endpoint: at the address the client meant, under the name the client asked for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use socket2::{Domain, Type};
use tokio_rustls::client::TlsStream;

use crate::capture::Netns;
use crate::flow::OriginalDst;
use crate::http::{self, Limits, ReadError, Reader, ResponseHead};
use crate::sys::{self, Stream, Transport};
use crate::tls::{AlertDescription, Alpn, ConnectError, EndpointTls, ServerName, Session, UpstreamTls};

/// Whose network connections are dialled from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DialFrom {
    /// The client's: a sandbox without a network does not get one through the daemon.
    #[default]
    Client,
    /// The daemon's own.
    Host,
}

/// A session with an endpoint: verified where it has TLS.
pub type UpstreamStream = Session<TlsStream<Stream>, Stream>;

/// The way to an endpoint.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where the client meant to connect.
    pub original: OriginalDst,
    /// Whose request it is: what one user makes an endpoint do to a connection, another does not suffer.
    pub uid: u32,
    /// The network namespace to connect from; none: the daemon's own.
    pub netns: Option<Arc<Netns>>,
    /// When there is an HTTP proxy at that address: the client's CONNECT request for the endpoint, as it came.
    pub tunnel: Option<Bytes>,
    /// The name or address the endpoint must have a certificate for; none: plain HTTP.
    pub name: Option<ServerName<'static>>,
    /// What the endpoint's configuration adds to TLS: a client certificate, roots of its own.
    pub tls: Option<Arc<EndpointTls>>,
}

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
    /// Ours, or of a client whose namespace is gone: nothing is dialled from where the client itself could not.
    #[error("cannot open a connection to {addr} from the client's network namespace: {source}")]
    Namespace {
        /// Where the client meant to connect.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The proxy's: it does not connect us.
    #[error("the proxy at {addr} refused the tunnel with status {status}")]
    TunnelRefused {
        /// The proxy.
        addr: SocketAddr,
        /// Its answer.
        status: u16,
    },
    /// The proxy's: what it says is no answer to CONNECT.
    #[error("the proxy at {addr} did not open the tunnel: {source}")]
    Tunnel {
        /// The proxy.
        addr: SocketAddr,
        /// What is wrong with its answer.
        source: ReadError,
    },
    /// The endpoint's: what it says is no HTTP/2, which it has agreed on.
    #[error("{addr} does not speak HTTP/2 as agreed: {source}")]
    Http2 {
        /// Where the client meant to connect.
        addr: SocketAddr,
        /// What is wrong.
        source: ::h2::Error,
    },
    /// The endpoint's: it allows no requests on a new connection.
    #[error("{addr} takes no request on a new connection of HTTP/2")]
    NoStreams {
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

impl DialError {
    /// Whether the endpoint speaks nothing of what it was offered (RFC 7301, 3.2).
    pub(super) fn wants_other_protocols(&self) -> bool {
        let Self::Tls { source: ConnectError::Alert { alert, .. }, .. } = self else { return false };
        *alert == AlertDescription::NoApplicationProtocol
    }
}

impl Dialer {
    /// Goes the whole way of `route`: connects, asks a proxy for its tunnel, opens TLS.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn dial(&self, route: &Route, alpn: &[Alpn]) -> Result<UpstreamStream, DialError> {
        let mut stream = self.connect(route).await?;
        if let Some(request) = &route.tunnel {
            self.open_tunnel(&mut stream, route.original, request).await?;
        }
        self.secure(stream, route, alpn).await
    }

    /// Opens the session over a connection that is there already: TLS verified for the route's name, or none.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn secure(&self, stream: Stream, route: &Route, alpn: &[Alpn]) -> Result<UpstreamStream, DialError> {
        let Some(name) = &route.name else { return Ok(Session::Plain(stream)) };
        let endpoint = route.tls.as_deref();
        match self.tls.connect(stream, name, alpn, endpoint, self.handshake_timeout).await {
            Ok(tls) => Ok(Session::Tls(Box::new(tls))),
            Err(source) => Err(DialError::Tls { addr: route.original.0, source }),
        }
    }

    /// Connects to the route's address, no more.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn connect(&self, route: &Route) -> Result<Stream, DialError> {
        let addr = route.original.0;
        if self.is_own(addr) {
            return Err(DialError::Loop { addr });
        }
        let connected = match &route.netns {
            None => sys::connect(addr, self.mark, self.connect_timeout, self.transport).await,
            Some(netns) => {
                let socket = socket_in(netns, addr).await.map_err(|source| DialError::Namespace { addr, source })?;
                sys::connect_from(socket, addr, self.mark, self.connect_timeout, self.transport).await
            }
        };
        let connected = connected.and_then(|stream| stream.keep_alive().map(|()| stream));
        connected.map_err(|source| match source.kind() {
            io::ErrorKind::ConnectionRefused => DialError::Refused { addr },
            io::ErrorKind::TimedOut => DialError::Timeout { addr },
            io::ErrorKind::PermissionDenied => DialError::Local { addr, source },
            _ if matches!(source.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE)) => {
                DialError::Local { addr, source }
            }
            _ => DialError::Unreachable { addr, source },
        })
    }

    async fn open_tunnel(&self, stream: &mut Stream, proxy: OriginalDst, request: &[u8]) -> Result<(), DialError> {
        let OriginalDst(addr) = proxy;
        let broken = |source| DialError::Tunnel { addr, source };
        let mut reader = Reader::default();
        let asked = async {
            http::write(stream, request, self.handshake_timeout).await?;
            loop {
                match reader.response_head(stream, &Limits::default()).await? {
                    None => return Err(ReadError::Truncated),
                    Some(head) if head.is_interim() => {}
                    Some(head) => return Ok(head),
                }
            }
        };
        let head: ResponseHead = match tokio::time::timeout(self.handshake_timeout, asked).await {
            Err(_) => return Err(DialError::Timeout { addr }),
            Ok(head) => head.map_err(broken)?,
        };
        match head.status() {
            // An endpoint does not speak before its client does.
            200..300 if reader.buffered().is_empty() => Ok(()),
            200..300 => Err(broken(ReadError::Http(http::Error::BodyForbidden))),
            status => Err(DialError::TunnelRefused { addr, status }),
        }
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

/// Entering a namespace takes a thread and blocks for some microseconds: not on a worker's own.
async fn socket_in(netns: &Arc<Netns>, addr: SocketAddr) -> io::Result<socket2::Socket> {
    let netns = Arc::clone(netns);
    let made = tokio::task::spawn_blocking(move || netns.socket(Domain::for_address(addr), Type::STREAM)).await;
    made.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;
    use crate::sys::{Listener, run_worker};
    use crate::tls::{Authority, CertificateFault, DnsName, LeafCache, Roots, accept};

    const NAME: &str = "api.example.com";
    const LIMIT: Duration = Duration::from_secs(10);

    /// A CA that endpoints have their certificates from, and a dialer that trusts it.
    fn world(transport: Transport) -> (LeafCache, Dialer) {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| Authority::load_or_create(&dir.path().join(name), &[NAME.into()], name).unwrap();
        let (public, internal) = (make("public"), make("internal"));
        let roots = Roots::system(&[dir.path().join("public/ca.pem")], internal.family()).unwrap();
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

    fn name(text: &str) -> DnsName<'static> {
        DnsName::try_from(text.to_owned()).unwrap()
    }

    fn route(addr: SocketAddr, to: &str) -> Route {
        Route {
            original: OriginalDst(addr),
            uid: 0,
            netns: None,
            tunnel: None,
            name: Some(ServerName::DnsName(name(to))),
            tls: None,
        }
    }

    /// One session: says back what it hears.
    async fn endpoint(listener: Listener, leaves: LeafCache) {
        let (stream, _) = listener.accept().await.unwrap();
        let hello = accept(stream, &[], Instant::now() + LIMIT).await.unwrap();
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
            let mut tls = dialer.dial(&route(addr, NAME), &[Alpn::Http11]).await.unwrap();
            assert!(matches!(&tls, Session::Tls(tls) if tls.get_ref().0.peer_addr() == addr));
            tls.write_all(b"ping").await.unwrap();
            tls.flush().await.unwrap();
            let mut heard = Vec::new();
            tls.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"ping");
        });
    }

    /// A proxy that answers every CONNECT with `answer`, and then is the endpoint itself.
    async fn proxy(listener: Listener, answer: &'static str, leaves: LeafCache) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = Reader::default().connect_head(&mut stream, &Limits::default()).await.unwrap().unwrap();
        assert_eq!((head.host.as_str(), head.port), (NAME, 443));
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        if let Ok(hello) = accept(stream, &[], Instant::now() + LIMIT).await {
            let config = leaves.server_config(&name(NAME), &[Alpn::Http11]).unwrap();
            let mut tls = hello.intercept(config, Instant::now() + LIMIT).await.unwrap();
            let mut heard = [0; 4];
            tls.read_exact(&mut heard).await.unwrap();
            tls.write_all(&heard).await.unwrap();
            tls.shutdown().await.unwrap();
        }
    }

    #[test]
    fn an_endpoint_behind_a_proxy_is_reached_and_verified_through_its_tunnel() {
        on_each_transport(|transport| async move {
            for (answer, status) in [
                ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\n\r\n", None),
                ("HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n", Some(407)),
            ] {
                let (leaves, dialer) = world(transport);
                let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 4, transport).unwrap();
                let addr = listener.local_addr().unwrap();
                tokio::task::spawn_local(proxy(listener, answer, leaves));
                let request = format!("CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\n\r\n");
                let route = Route { tunnel: Some(request.into()), ..route(addr, NAME) };
                match (dialer.dial(&route, &[Alpn::Http11]).await, status) {
                    (Ok(mut tls), None) => {
                        tls.write_all(b"ping").await.unwrap();
                        tls.flush().await.unwrap();
                        let mut heard = Vec::new();
                        tls.read_to_end(&mut heard).await.unwrap();
                        assert_eq!(heard, b"ping");
                    }
                    (Err(DialError::TunnelRefused { status, .. }), Some(expected)) => assert_eq!(status, expected),
                    (other, _) => panic!("{other:?}"),
                }
            }
        });
    }

    #[test]
    fn a_plain_endpoint_is_dialled_from_the_namespace_given() {
        if std::env::var("INTERCEPTOR_TEST_UNPRIVILEGED").is_ok_and(|value| value == "1") {
            return eprintln!("left out: a test with namespaces");
        }
        // Its loopback is down: what listens in the daemon's own namespace is not there.
        let made = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("tests with namespaces need root");
            Netns::own().unwrap()
        });
        let netns = Arc::new(made.join().unwrap());
        on_each_transport(|transport| {
            let netns = Arc::clone(&netns);
            async move {
                let (_, dialer) = world(transport);
                let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                let here = Route { name: None, ..route(listener.local_addr().unwrap(), NAME) };
                assert!(matches!(dialer.dial(&here, &[]).await, Ok(Session::Plain(_))));
                let there = Route { netns: Some(netns), ..here };
                assert!(dialer.dial(&there, &[]).await.is_err(), "a namespace without network stays without");
            }
        });
    }

    #[test]
    fn an_endpoint_with_a_certificate_for_another_name_is_refused() {
        on_each_transport(|transport| async move {
            let (leaves, dialer) = world(transport);
            let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 4, transport).unwrap();
            let addr = listener.local_addr().unwrap();
            tokio::task::spawn_local(endpoint(listener, leaves));
            let error = dialer.dial(&route(addr, "other.test"), &[]).await.unwrap_err();
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
                let error = dialer.connect(&route(addr, NAME)).await.unwrap_err();
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
            let error = dialer.dial(&route(addr, NAME), &[]).await.unwrap_err();
            assert!(matches!(error, DialError::Refused { .. }), "{error}");

            // Connects, then says nothing.
            let silent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            dialer.handshake_timeout = Duration::from_millis(30);
            let addr = silent.local_addr().unwrap();
            let error = dialer.dial(&route(addr, NAME), &[]).await.unwrap_err();
            assert!(matches!(error, DialError::Tls { source: ConnectError::Timeout { .. }, .. }), "{error}");

            // Its backlog full, it does not answer at all.
            let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
            full.listen(0).unwrap();
            let addr = full.local_addr().unwrap().as_socket().unwrap();
            let _queued = std::net::TcpStream::connect(addr).unwrap();
            dialer.connect_timeout = Duration::from_millis(30);
            let error = dialer.dial(&route(addr, NAME), &[]).await.unwrap_err();
            assert!(matches!(error, DialError::Timeout { .. }), "{error}");
        });
    }
}
