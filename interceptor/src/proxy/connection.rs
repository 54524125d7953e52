//! A connection to an endpoint that is intercepted: request after request, each an exchange.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::arrival::Arrival;
use super::budget::Slot;
use super::exchange::{self, Next};
use super::worker::Worker;
use crate::audit;
use crate::capture::{Endpoint, Flow};
use crate::flow::ExchangeId;
use crate::http::{ReadError, Reader};
use crate::identity::Caller;
use crate::sys::Stream;
use crate::tls::{Alpn, Session};
use crate::upstream::{self, DialError, Route};

/// The client's side: after its handshake, or in plain for a plain endpoint.
pub(super) type ClientStream = Session<tokio_rustls::server::TlsStream<Stream>, Stream>;

/// Everything that stays the same from request to request.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) client: ClientStream,
    pub(super) reader: Reader,
    pub(super) peer: Peer,
    pub(super) upstream: Upstream,
    _slot: Slot,
}

/// Who called, and whom.
pub(super) struct Peer {
    pub(super) flow: Flow,
    pub(super) caller: Caller,
    /// The caller, as records name it.
    pub(super) recorded: audit::Caller,
    pub(super) endpoint: Arc<Endpoint>,
    /// What the endpoint is called on this connection.
    pub(super) name: Name,
    /// The way to it.
    pub(super) route: Route,
}

/// What an endpoint is called on a connection.
pub(super) enum Name {
    /// The name in the TLS hello, in lower case.
    Tls(String),
    /// The name in the first request of a connection with plain HTTP, in lower case.
    Plain(String),
    /// An endpoint with plain HTTP that is configured by its address, and called by any name.
    Address(String),
}

impl Name {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Tls(name) | Self::Plain(name) | Self::Address(name) => name,
        }
    }

    /// Whether a request for `host` belongs on this connection.
    pub(super) fn takes(&self, host: &str) -> bool {
        match self {
            Self::Tls(name) | Self::Plain(name) => host.trim_end_matches('.').eq_ignore_ascii_case(name),
            Self::Address(_) => true,
        }
    }
}

/// The connection to the endpoint. It is dialled while the client's handshake runs.
pub(super) enum Upstream {
    Dialling(JoinHandle<Result<upstream::Connection, DialError>>),
    Open(Box<upstream::Connection>),
    None,
}

impl Connection {
    pub(super) fn new(
        arrival: Arrival,
        client: ClientStream,
        reader: Reader,
        endpoint: Arc<Endpoint>,
        name: Name,
        route: Route,
        upstream: Upstream,
    ) -> Self {
        let Arrival { worker, flow, caller, recorded, slot, .. } = arrival;
        let peer = Peer { flow, caller, recorded, endpoint, name, route };
        Self { worker, client, reader, peer, upstream, _slot: slot }
    }

    pub(super) async fn run(&mut self) {
        while self.wait_for_request().await {
            let limits = self.worker.shared.settings.http;
            let deadline = self.worker.shared.settings.request_timeout;
            let started = Instant::now();
            let head = match timeout(deadline, self.reader.request_head(&mut self.client, &limits)).await {
                Ok(Ok(Some(head))) => Ok(head),
                Ok(Ok(None) | Err(ReadError::Io(_))) => return self.close().await,
                Ok(Err(e)) => Err(exchange::Rejection::unreadable(&e)),
                Err(_) => Err(exchange::Rejection::timeout()),
            };
            let id = ExchangeId::new();
            let next = match head {
                Ok(head) => exchange::run(self, id, started, head).await,
                Err(rejection) => exchange::reject_unparsed(self, id, started, rejection).await,
            };
            match next {
                Next::KeepAlive => {}
                Next::Close => return self.close().await,
                // The client must not take what it got for the whole: no close_notify.
                Next::Abort => return,
            }
        }
        self.close().await;
    }

    /// Waits for the first byte of a request; false when there will be none. Watches the endpoint meanwhile, so that a
    /// connection it has closed is not used again.
    async fn wait_for_request(&mut self) -> bool {
        let idle = tokio::time::sleep(self.worker.shared.settings.keep_alive);
        tokio::pin!(idle);
        while self.reader.buffered().is_empty() {
            let Upstream::Open(upstream) = &mut self.upstream else {
                return tokio::select! {
                    read = self.reader.fill(&mut self.client) => matches!(read, Ok(1..)),
                    () = &mut idle => false,
                };
            };
            tokio::select! {
                read = self.reader.fill(&mut self.client) => return matches!(read, Ok(1..)),
                // Closed, or talking out of turn: of no use any more either way.
                _ = upstream.fill() => self.upstream = Upstream::None,
                () = &mut idle => return false,
            }
        }
        true
    }

    async fn close(&mut self) {
        // The client may be gone already; nothing is lost then.
        let deadline = self.worker.shared.settings.request_timeout;
        if let Ok(Err(e)) = timeout(deadline, self.client.shutdown()).await {
            log::debug!("closing a client connection: {e}");
        }
    }
}

impl Upstream {
    /// Dials, or goes on with a `stream` that has come as far as the endpoint already.
    pub(super) fn dial(worker: &Rc<Worker>, route: &Route, stream: Option<Stream>) -> Self {
        let (worker, route) = (Rc::clone(worker), route.clone());
        Self::Dialling(tokio::task::spawn_local(async move {
            let session = match stream {
                Some(stream) => worker.dialer.secure(stream, &route, &[Alpn::Http11]).await?,
                None => worker.dialer.dial(&route, &[Alpn::Http11]).await?,
            };
            let settings = &worker.shared.settings;
            let timeouts = upstream::Timeouts { idle: settings.upstream_idle, patience: settings.patience };
            Ok(upstream::Connection::new(session, settings.http, timeouts))
        }))
    }

    /// The open connection, dialled (again) when there is none.
    pub(super) async fn open(
        &mut self,
        worker: &Rc<Worker>,
        route: &Route,
    ) -> Result<&mut upstream::Connection, DialError> {
        if let Self::Open(connection) = self
            && connection.is_stale().await
        {
            *self = Self::None;
        }
        if matches!(self, Self::None) {
            *self = Self::dial(worker, route, None);
        }
        if let Self::Dialling(task) = self {
            let dialled = task.await;
            *self = Self::None;
            match dialled {
                Ok(connection) => *self = Self::Open(Box::new(connection?)),
                Err(e) => std::panic::resume_unwind(e.into_panic()),
            }
        }
        match self {
            Self::Open(connection) => Ok(connection),
            Self::Dialling(_) | Self::None => unreachable!("dialled above"),
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Self::Dialling(task) = self {
            task.abort();
        }
    }
}
