//! A connection to an endpoint that is intercepted: what stays the same from request to request.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::arrival::Arrival;
use super::budget::Slot;
use super::client;
use super::worker::Worker;
use crate::audit;
use crate::capture::{Endpoint, Flow};
use crate::http::{Reader, RequestHead};
use crate::identity::Caller;
use crate::sys::Stream;
use crate::tls::{Alpn, Session};
use crate::upstream::{self, ClientId, DialError, Route};

/// The client's side: after its handshake, or in plain for a plain endpoint.
pub(super) type ClientStream = Session<tokio_rustls::server::TlsStream<Stream>, Stream>;

/// Everything that the exchanges of a connection share.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) peer: Peer,
    /// What the endpoint is offered to speak.
    offered: Vec<Alpn>,
    /// Whose the connections to the endpoint are.
    client: ClientId,
    /// Why the endpoint could not be reached when the connection began: the first request is answered with it.
    failed: RefCell<Option<DialError>>,
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
            Self::Tls(name) | Self::Plain(name) => {
                let host = host.trim_end_matches('.');
                // An IPv6 address stands in brackets, and can be spelled in several ways.
                let ip = |host: &str| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().ok();
                host.eq_ignore_ascii_case(name) || ip(name).is_some_and(|name| ip(host) == Some(name))
            }
            Self::Address(_) => true,
        }
    }
}

impl Connection {
    pub(super) fn new(
        arrival: Arrival,
        endpoint: Arc<Endpoint>,
        name: Name,
        route: Route,
        (offered, client): (Vec<Alpn>, ClientId),
    ) -> Self {
        let Arrival { worker, flow, caller, recorded, slot, .. } = arrival;
        let peer = Peer { flow, caller, recorded, endpoint, name, route };
        Self { worker, peer, offered, client, failed: RefCell::default(), _slot: slot }
    }

    /// The endpoint could not be reached.
    pub(super) fn unreached(self, error: Option<DialError>) -> Self {
        Self { failed: RefCell::new(error), ..self }
    }

    /// Why it could not; asked for once, for then it is tried again.
    pub(super) fn failed(&self) -> Option<DialError> {
        self.failed.take()
    }

    /// Serves the client to its end.
    pub(super) async fn serve(self: Rc<Self>, client: ClientStream, reader: Reader) {
        // Each in a future of its own size.
        match spoken(&client) {
            Some(Alpn::H2) => Box::pin(client::h2::serve(self, client)).await,
            Some(Alpn::Http11) | None => Box::pin(client::h1::serve(self, client, reader)).await,
        }
    }

    /// Whether the client may send another request after this one.
    pub(super) fn stays(&self, request: &RequestHead) -> bool {
        request.keep_alive() && self.worker.shared.drain.is_serving()
    }

    /// The way to send one request to the endpoint.
    pub(super) async fn lease(&self) -> Result<upstream::Connection, DialError> {
        let Worker { pool, dialer, .. } = &*self.worker;
        pool.lease(dialer, &self.peer.route, &self.offered, self.client).await
    }

    /// Whether a request would go out over HTTP/2.
    pub(super) fn endpoint_speaks_h2(&self) -> bool {
        self.worker.pool.spoken(&self.peer.route, &self.offered) == Some(Some(Alpn::H2))
    }

    /// The way to ask the endpoint for a session, which HTTP/1.1 alone carries.
    pub(super) async fn lease_for_session(&self) -> Result<upstream::Connection, DialError> {
        let Worker { pool, dialer, .. } = &*self.worker;
        let offered: &[Alpn] = if self.offered.is_empty() { &[] } else { &[Alpn::Http11] };
        pool.lease(dialer, &self.peer.route, offered, self.client).await
    }

    /// Another request may use it.
    pub(super) fn give_back(&self, connection: upstream::Connection) {
        self.worker.pool.give_back(&self.peer.route, &self.offered, connection);
    }
}

/// What the client has agreed to speak.
fn spoken(client: &ClientStream) -> Option<Alpn> {
    match client {
        Session::Tls(tls) => tls.get_ref().1.alpn_protocol().and_then(Alpn::from_bytes),
        Session::Plain(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{arrival, exchange};
    use super::*;

    fn of_four<A, B, C, D, F>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    fn of_three<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    fn of_five<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// A future is as large as the largest of what it ever waits for. These three are what an idle stream consists of, and
    /// there are thousands: what is over before a long wait, and what seldom happens, belongs into a box.
    #[test]
    fn what_may_wait_for_hours_is_small() {
        let (task, requests, exchange) = (of_four(arrival::serve), of_three(client::h1::serve), of_five(exchange::run));
        assert!(task <= 2 << 10, "the task: {task}");
        assert!(requests <= 2 << 10, "between requests: {requests}");
        assert!(exchange <= 4 << 10, "an exchange: {exchange}");
    }

    #[test]
    fn a_request_belongs_where_its_host_says() {
        for (name, host) in [
            ("a.example", "A.example"),
            ("a.example", "a.example."),
            ("203.0.113.10", "203.0.113.10"),
            ("2001:db8::10", "[2001:db8::10]"),
            ("2001:db8::10", "[2001:DB8:0::10]"),
        ] {
            assert!(Name::Tls(name.into()).takes(host), "{name} {host}");
        }
        for (name, host) in [
            ("a.example", "b.example"),
            ("a.example", "[a.example]"),
            ("203.0.113.10", "203.0.113.1"),
            ("203.0.113.10", "a.example"),
            ("2001:db8::10", "[2001:db8::11]"),
            ("2001:db8::10", ""),
        ] {
            assert!(!Name::Tls(name.into()).takes(host), "{name} {host}");
        }
    }
}
