//! What a connection turns out to be: its first bytes are read, nothing is answered, and policy decides.
//!
//! A client that says nothing may be waiting for the server, or for the interceptor to lose patience. The server is
//! dialled then, and whoever speaks first settles it: only a connection on which the server did is passed on unread.

use std::rc::Rc;

use tokio::time::{Instant, timeout, timeout_at};

use super::arrival::Arrival;
use super::connection::{ClientStream, Connection, Name};
use super::drain::Phase;
use super::first::{First, classify};
use super::passage::{self, Passage};
use super::worker::Worker;
use super::{plain, record};
use crate::http::{ConnectHead, Reader};
use crate::policy::{self, Known, Said, Sentence, Treatment};
use crate::sys::Stream;
use crate::tls::{self, AcceptError, AlertDescription, Alpn, Hello, ServerName, Session};
use crate::upstream::{ClientId, DialError, Route};

/// One side of a connection, and what it has said that nobody has taken yet.
pub(super) struct Side {
    pub(super) stream: Stream,
    pub(super) reader: Reader,
}

/// A tunnel that a proxy has opened.
pub(super) struct Tunnel {
    pub(super) head: ConnectHead,
    pub(super) known: Known,
    /// The record of what goes through it, for a host that is no endpoint.
    pub(super) passage: Option<Passage>,
}

/// A connection whose first bytes are awaited.
pub(super) struct Incoming {
    pub(super) arrival: Arrival,
    pub(super) near: Side,
    /// The other side, when it had to be dialled already.
    pub(super) far: Option<Side>,
    pub(super) tunnel: Option<Tunnel>,
}

/// Why there are no first bytes to go by.
enum Unclear {
    /// The client waits for the server.
    Quiet,
    /// It went away.
    Gone,
    /// It stopped in the middle of what might become anything.
    Undecided,
}

/// A connection that is intercepted, before its first request. It may live for hours, so it is given out: what was needed
/// to get here is given back first.
pub(super) struct Ready {
    pub(super) connection: Rc<Connection>,
    pub(super) client: ClientStream,
    pub(super) reader: Reader,
}

impl Ready {
    /// Takes it to its end.
    pub(super) async fn serve(self) {
        self.connection.serve(self.client, self.reader).await;
    }
}

/// Takes a connection to its end, or to where its requests begin.
pub(super) async fn run(arrival: Arrival, near: Side) -> Option<Ready> {
    Incoming { arrival, near, far: None, tunnel: None }.run().await
}

impl Side {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, reader: Reader::default() }
    }

    pub(super) async fn fill(&mut self) -> std::io::Result<usize> {
        self.reader.fill(&mut self.stream).await
    }
}

impl Incoming {
    pub(super) async fn run(mut self) -> Option<Ready> {
        match self.first().await {
            Ok(First::Tls) => return self.tls().await,
            Ok(First::Http) => return plain::run(self).await,
            Err(Unclear::Quiet) => return self.quiet().await,
            Ok(First::Socks) => self.unreadable(Said::Socks).await,
            Ok(First::Other) => self.unreadable(Said::Other).await,
            Err(Unclear::Gone) => {
                self.refuse(None, "connection.empty", "the client closed without sending anything").await;
            }
            Err(Unclear::Undecided) => {
                let reason = "the client did not finish its first line or TLS hello in time";
                self.refuse(None, "limits.handshake_timeout_s", reason).await;
            }
        }
        None
    }

    async fn first(&mut self) -> Result<First, Unclear> {
        let deadline = Instant::now() + self.arrival.worker.shared.settings.client.handshake;
        if self.near.reader.buffered().is_empty()
            && let Some(patience) = self.arrival.patience()
        {
            match timeout(patience, self.near.fill()).await {
                Err(_) => return Err(Unclear::Quiet),
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return Err(Unclear::Gone),
            }
        }
        loop {
            if let Some(first) = classify(self.near.reader.buffered()) {
                return Ok(first);
            }
            match timeout_at(deadline, self.near.fill()).await {
                Err(_) => return Err(Unclear::Undecided),
                Ok(Ok(1..)) => {}
                // A word and no more: no request, and no hello.
                Ok(Ok(0)) if !self.near.reader.buffered().is_empty() => return Ok(First::Other),
                Ok(Ok(0) | Err(_)) => return Err(Unclear::Gone),
            }
        }
    }

    /// Waits for the server's first word, or for the client's after all.
    async fn quiet(mut self) -> Option<Ready> {
        let sentence = self.decide(Said::Nothing);
        if sentence.treatment != Treatment::Splice {
            self.refuse(None, &sentence.rule, &sentence.reason).await;
            return None;
        }
        let mut far = match self.far.take() {
            Some(far) => far,
            None => match self.arrival.worker.dialer.connect(&self.arrival.route()).await {
                Ok(stream) => Side::new(stream),
                Err(e) => {
                    self.near.stream.abort();
                    self.refuse(None, record::dial_rule(&e), &e.to_string()).await;
                    return None;
                }
            },
        };
        let server_first = far.reader.buffered().is_empty() && {
            let keeping = self.near.stream.keep_alive().and_then(|()| far.stream.keep_alive());
            keeping.unwrap_or_else(|e| log::debug!("no keep-alive: {e}"));
            tokio::select! {
                biased;
                // What the client says decides, unless the rule did not depend on it.
                said = self.near.fill() => sentence.for_all || !matches!(said, Ok(1..)),
                _ = far.fill() => true,
            }
        } || !far.reader.buffered().is_empty();
        self.far = Some(far);
        if !server_first {
            return Box::pin(self.run()).await;
        }
        self.splice(&sentence, None).await;
        None
    }

    async fn unreadable(self, said: Said<'_>) {
        let sentence = self.decide(said);
        match sentence.treatment {
            Treatment::Splice => self.splice(&sentence, None).await,
            Treatment::Intercept | Treatment::Deny => self.refuse(None, &sentence.rule, &sentence.reason).await,
        }
    }

    async fn tls(mut self) -> Option<Ready> {
        let deadline = Instant::now() + self.arrival.worker.shared.settings.client.handshake;
        let read = self.near.reader.take_all();
        let hello = match tls::accept(self.near.stream, &read, deadline).await {
            Ok(hello) => hello,
            Err(e) => {
                end(&self.arrival, self.tunnel, None, "tls.hello", &e.to_string()).await;
                return None;
            }
        };
        // The root's dot at the end changes nothing about a name (RFC 1034, 3.1), so it must not hide one.
        let name = hello.sni.as_ref().map(|name| name.as_ref().trim_end_matches('.').to_owned());
        let port = self.tunnel.as_ref().map_or(self.arrival.flow.original.port(), |tunnel| tunnel.head.port);
        let name = name.or_else(|| address(&self.arrival, self.tunnel.as_ref(), port));
        let known = name.as_deref().map_or(Known::Foreign, |name| self.arrival.known(name, port));
        let said = Said::Tls { name: name.as_deref(), known, ech: hello.ech };
        let sentence = self.arrival.decide(said, port, self.tunnel.as_ref().map(Tunnel::facts));
        match sentence.treatment {
            Treatment::Intercept => {
                let name = name.expect("only a name is intercepted");
                return intercept(self.arrival, hello, self.far, self.tunnel, name, port, deadline).await;
            }
            Treatment::Splice => {
                let (stream, bytes) = hello.splice();
                let near = Side { stream, reader: Reader::holding(&bytes) };
                let incoming = Self { arrival: self.arrival, near, far: self.far, tunnel: self.tunnel };
                incoming.splice(&sentence, name.as_deref()).await;
            }
            Treatment::Deny => {
                end(&self.arrival, self.tunnel, name.as_deref(), &sentence.rule, &sentence.reason).await;
                hello.deny(alert(&sentence)).await;
            }
        }
        None
    }

    /// Passes everything on, unread and recorded as that.
    pub(super) async fn splice(self, sentence: &Sentence, host: Option<&str>) {
        let passage = match self.tunnel.and_then(|tunnel| tunnel.passage) {
            Some(passage) => passage,
            None => match Passage::open(&self.arrival, host, sentence).await {
                Ok(passage) => passage,
                // Nothing leaves unrecorded.
                Err(e) => return log::error!("a connection is closed: the audit log cannot be written: {e}"),
            },
        };
        let far = match self.far {
            Some(far) => far,
            None => match self.arrival.worker.dialer.connect(&self.arrival.route()).await {
                Ok(stream) => Side::new(stream),
                Err(e) => {
                    self.near.stream.abort();
                    return passage.end(None, Some(&e.to_string())).await;
                }
            },
        };
        passage::run(self.near, far, passage).await;
    }

    fn decide(&self, said: Said<'_>) -> Sentence {
        let port = self.tunnel.as_ref().map_or(self.arrival.flow.original.port(), |tunnel| tunnel.head.port);
        self.arrival.decide(said, port, self.tunnel.as_ref().map(Tunnel::facts))
    }

    async fn refuse(self, host: Option<&str>, rule: &str, reason: &str) {
        end(&self.arrival, self.tunnel, host, rule, reason).await;
    }
}

impl Tunnel {
    pub(super) fn facts(&self) -> policy::Tunnel<'_> {
        policy::Tunnel { host: &self.head.host, known: self.known }
    }
}

/// What a client asked for that named no server: an address, where an endpoint is known by that alone.
fn address(arrival: &Arrival, tunnel: Option<&Tunnel>, port: u16) -> Option<String> {
    let ip = match tunnel {
        Some(tunnel) => tunnel.head.host.parse().ok()?,
        None => arrival.flow.original.ip(),
    };
    let ip = ip.to_canonical();
    arrival.worker.shared.catalogue.addressed(ip, port).map(|_| ip.to_string())
}

/// Records the end of a connection, and of the tunnel it was in.
async fn end(arrival: &Arrival, tunnel: Option<Tunnel>, host: Option<&str>, rule: &str, reason: &str) {
    let asked = tunnel.as_ref().map(|tunnel| tunnel.head.host.clone());
    if let Some(passage) = tunnel.and_then(|tunnel| tunnel.passage) {
        passage.end(None, Some(&format!("{reason} [rule {rule}]"))).await;
    }
    arrival.refuse(host.or(asked.as_deref()), rule, reason).await;
}

/// `unrecognized_name` where another name would help, `access_denied` elsewhere (RFC 8446, 6.2; RFC 6066, 3).
fn alert(sentence: &Sentence) -> AlertDescription {
    match sentence.rule.as_str() {
        "connection.foreign_name" | "connection.no_name" | "strict.no_name" => AlertDescription::UnrecognisedName,
        _ => AlertDescription::AccessDenied,
    }
}

/// Becomes the endpoint: the handshake with the client, while the real endpoint is dialled.
async fn intercept(
    arrival: Arrival,
    hello: Hello<Stream>,
    far: Option<Side>,
    tunnel: Option<Tunnel>,
    host: String,
    port: u16,
    deadline: Instant,
) -> Option<Ready> {
    let Some(endpoint) = arrival.endpoint(&host, port).cloned() else {
        let reason = "the endpoint is not in the catalogue any more";
        arrival.refuse(Some(&host), "connection.endpoint", reason).await;
        return None;
    };
    let name = match ServerName::try_from(host.clone()) {
        Ok(name) => name,
        Err(e) => {
            arrival.refuse(Some(&host), "tls.name", &e.to_string()).await;
            return None;
        }
    };
    let mut route = arrival.route();
    route.tunnel = tunnel.map(|tunnel| tunnel.head.raw);
    route.name = Some(name.clone());
    route.tls = arrival.worker.shared.endpoint_tls.of(&endpoint);
    arrival.worker.shared.leaves.prepare(&hello).await;
    let offered = Alpn::offered(&hello.alpn);
    let client_id = arrival.worker.pool.client();
    let (spoken, failed) =
        match Box::pin(agree(&arrival.worker, &route, &offered, (client_id, far.map(|far| far.stream)))).await {
            Ok(spoken) => (spoken, None),
            // The client is told in its own protocol, and the record has the reason.
            Err(e) => (offered.last().copied(), Some(e)),
        };
    // What the endpoint took is not the client's fault.
    let deadline = deadline.max(Instant::now() + arrival.worker.shared.settings.client.handshake);
    let mirrored = mirror(spoken, &hello.alpn);
    let leaf = match arrival.worker.shared.leaves.server_config_for(&name, &mirrored) {
        Ok(leaf) => leaf,
        Err(e) => {
            arrival.refuse(Some(&host), "tls.leaf", &e.to_string()).await;
            hello.deny(AlertDescription::InternalError).await;
            return None;
        }
    };
    match Box::pin(hello.intercept(leaf, deadline)).await {
        Ok(mut client) => {
            if let Some((rule, refusal)) = unheard(&arrival, &mut client).await {
                arrival.refuse(Some(&host), rule, &refusal).await;
                return None;
            }
            let client = Session::Tls(Box::new(client));
            let connection =
                Connection::new(arrival, endpoint, Name::Tls(host), route, (offered, client_id)).unreached(failed);
            Some(Ready { connection: Rc::new(connection), client, reader: Reader::default() })
        }
        Err(e) => {
            arrival.refuse(Some(&host), "tls.handshake", &e.to_string()).await;
            None
        }
    }
}

/// Waits for the first byte of a request, which stays to be read. A client that sends none may have refused the
/// certificate after its handshake; the rule and the reason are for the record.
async fn unheard(arrival: &Arrival, client: &mut tls::ServerStream<Stream>) -> Option<(&'static str, String)> {
    let shared = &arrival.worker.shared;
    let refusal = tokio::select! {
        heard = tls::first_word(client) => heard.err()?,
        // One that is silent is not refused here.
        () = tokio::time::sleep(shared.settings.client.keep_alive) => return None,
        () = shared.drain.reaches(Phase::Stopping) => return None,
    };
    let silent = matches!(refusal, AcceptError::ClosedAfterHandshake);
    Some((if silent { "connection.empty" } else { "tls.handshake" }, refusal.to_string()))
}

/// What the endpoint speaks of what it is `offered`: known from a short time ago, or asked now. The connection that was
/// asked over waits for the first request.
async fn agree(
    worker: &Worker,
    route: &Route,
    offered: &[Alpn],
    (client, stream): (ClientId, Option<Stream>),
) -> Result<Option<Alpn>, DialError> {
    match worker.pool.spoken(route, offered) {
        Some(spoken) if stream.is_none() => Ok(spoken),
        _ => worker.pool.prepare(&worker.dialer, route, offered, (client, stream)).await,
    }
}

/// What the client is answered: what the endpoint speaks, if the client offered it, else what of HTTP it did offer.
fn mirror(spoken: Option<Alpn>, offered: &[Vec<u8>]) -> Vec<Alpn> {
    let has = |alpn: Alpn| offered.iter().any(|protocol| protocol == alpn.as_bytes());
    match spoken {
        Some(spoken) if has(spoken) => vec![spoken],
        // It would take no answer for HTTP/1.1, which is what an endpoint without ALPN speaks, if it may.
        None if offered.is_empty() || has(Alpn::Http11) => Vec::new(),
        _ if has(Alpn::Http11) => vec![Alpn::Http11],
        _ => vec![Alpn::H2],
    }
}
