//! `GET /metrics`: text for Prometheus, in the format of OpenMetrics 1.0
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::family::openmetrics;
use super::{Source, Stop, stopping};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 16;
/// How long one may take, all in all.
const PATIENCE: Duration = Duration::from_secs(10);
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// An address that is taken, and does not accept connections yet: while a daemon is replaced, the old one does.
#[derive(Debug)]
pub(super) struct Bound {
    address: SocketAddr,
    socket: Socket,
}

impl Bound {
    pub(super) fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_reuse_address(true)?;
        // With the daemon that this one may replace; another user's process cannot.
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        Ok(Self { address, socket })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn serve(self, source: Source, mut stop: Stop) {
        let listening = self.socket.listen(128).and_then(|()| TcpListener::from_std(self.socket.into()));
        match listening {
            Ok(listener) => tokio::select! {
                () = accept(listener, source) => {}
                () = stopping(&mut stop) => {}
            },
            Err(error) => log::error!("metrics: {} cannot be listened on: {error}", self.address),
        }
    }
}

async fn accept(listener: TcpListener, source: Source) {
    let (room, source) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(source));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let source = Arc::clone(&source);
                tokio::spawn(async move {
                    let answer = service_fn(|request| answer(request, &source));
                    let mut server = http1::Builder::new();
                    // Whoever keeps connections open cannot keep others out.
                    let served = server.keep_alive(false).serve_connection(TokioIo::new(stream), answer);
                    if let Ok(Err(error)) = timeout(PATIENCE, served).await {
                        log::debug!("metrics: {error}");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                log::warn!("metrics: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(request: Request<Incoming>, source: &Source) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, format, text) = match request.uri().path() {
        "/metrics" if is_read => match openmetrics(source.families().await) {
            Ok(text) => (StatusCode::OK, FORMAT, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        },
        "/metrics" => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "only /metrics is here\n".to_owned()),
    };
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(format));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
    }
    Ok(answer)
}
