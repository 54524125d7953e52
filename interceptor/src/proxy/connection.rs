//! A client's connection: who called, which endpoint, the handshake, then request after request.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::budget::Slot;
use super::canary;
use super::exchange::{self, Next};
use super::record;
use super::worker::Worker;
use crate::audit;
use crate::capture::{Endpoint, Flow, Listening, Reason};
use crate::flow::{ClientAddr, ExchangeId};
use crate::http::{ReadError, Reader};
use crate::identity::Caller;
use crate::sys::Stream;
use crate::tls::{self, AlertDescription, Alpn, DnsName};
use crate::upstream::{self, DialError};

/// The client's side after the handshake.
pub(super) type ClientStream = tokio_rustls::server::TlsStream<Stream>;

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
    /// The name in the TLS hello.
    pub(super) name: DnsName<'static>,
}

/// The connection to the endpoint. It is dialled while the client's handshake runs.
pub(super) enum Upstream {
    Dialling(JoinHandle<Result<upstream::Connection, DialError>>),
    Open(Box<upstream::Connection>),
    None,
}

/// Takes a connection that this listener accepted to its end.
pub(super) async fn serve(worker: Rc<Worker>, stream: Stream, client: ClientAddr, listening: Listening) {
    let flow = match worker.shared.flows.take(client, listening) {
        Ok(flow) => flow,
        // Nobody was redirected here: a direct dial of the listener, or a record that was swept. Never guess.
        Err(e) => return log::warn!("closing a connection from {client}: {e}"),
    };
    if flow.reason == Reason::Canary {
        return canary::answer(stream).await;
    }
    let Ok(slot) = worker.shared.budget.connection(flow.uid) else {
        return log::warn!("closing a connection of uid {}: too many are open", flow.uid);
    };
    let caller = worker.shared.callers.resolve(&flow);
    if let Some(mut connection) = handshake(worker, stream, flow, caller, slot).await {
        connection.run().await;
    }
}

/// The TLS hello decides which endpoint this is. What fails here is recorded: the client only sees an alert.
async fn handshake(worker: Rc<Worker>, stream: Stream, flow: Flow, caller: Caller, slot: Slot) -> Option<Connection> {
    let deadline = tokio::time::Instant::now() + worker.shared.settings.request_timeout;
    let hello = match tls::accept(stream, deadline).await {
        Ok(hello) => hello,
        Err(e) => {
            record::tls_failure(&worker, &flow, &caller, None, "tls.hello", &e.to_string()).await;
            return None;
        }
    };
    let Some(name) = hello.sni.clone() else {
        let reason = "the TLS hello names no server; a model endpoint is only reached by name";
        record::tls_failure(&worker, &flow, &caller, None, "tls.name", reason).await;
        hello.deny(AlertDescription::UnrecognisedName).await;
        return None;
    };
    let host = name.as_ref();
    let Some(endpoint) = worker.shared.catalogue.find(host, flow.original.port()).cloned() else {
        let reason = format!("{host} is not an enrolled endpoint, but {} belongs to one", flow.original);
        record::tls_failure(&worker, &flow, &caller, Some(host), "tls.name", &reason).await;
        hello.deny(AlertDescription::UnrecognisedName).await;
        return None;
    };
    let upstream = Upstream::dial(&worker, &flow, &name);
    let leaf = match worker.shared.leaves.server_config(&name, &[Alpn::Http11]) {
        Ok(leaf) => leaf,
        Err(e) => {
            record::tls_failure(&worker, &flow, &caller, Some(host), "tls.leaf", &e.to_string()).await;
            hello.deny(AlertDescription::InternalError).await;
            return None;
        }
    };
    match hello.intercept(leaf, deadline).await {
        Ok(client) => {
            let recorded = record::caller(&worker, &caller);
            let peer = Peer { flow, caller, recorded, endpoint, name };
            Some(Connection { worker, client, reader: Reader::default(), peer, upstream, _slot: slot })
        }
        Err(e) => {
            record::tls_failure(&worker, &flow, &caller, Some(host), "tls.handshake", &e.to_string()).await;
            None
        }
    }
}

impl Connection {
    async fn run(&mut self) {
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
    fn dial(worker: &Rc<Worker>, flow: &Flow, name: &DnsName<'static>) -> Self {
        let (worker, original, name) = (Rc::clone(worker), flow.original, name.clone());
        Self::Dialling(tokio::task::spawn_local(async move {
            let stream = worker.dialer.dial(original, &name, &[Alpn::Http11]).await?;
            let settings = &worker.shared.settings;
            let timeouts = upstream::Timeouts { idle: settings.upstream_idle, patience: settings.patience };
            Ok(upstream::Connection::new(stream, settings.http, timeouts))
        }))
    }

    /// The open connection, dialled (again) when there is none.
    pub(super) async fn open(
        &mut self,
        worker: &Rc<Worker>,
        flow: &Flow,
        name: &DnsName<'static>,
    ) -> Result<&mut upstream::Connection, DialError> {
        if let Self::Open(connection) = self
            && connection.is_stale().await
        {
            *self = Self::None;
        }
        if matches!(self, Self::None) {
            *self = Self::dial(worker, flow, name);
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
