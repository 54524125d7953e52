//! One request through the stages: read, locate, scan, decide, mask, record, send.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use super::budget::Reserved;
use super::client::{Client, Gone};
use super::connection::Connection;
use super::inspect::{self, Body, Inspected};
use super::record::{self, StoredHead};
use super::relay;
use super::reply::{self, Refusal, Reply};
use super::restore::Restorable;
use super::upload;
use crate::audit::{self, Outgoing, Record};
use crate::flow::ExchangeId;
use crate::http::websocket::{self, Upgrade};
use crate::http::{self, BodyFraming, CodingError, Codings, ReadError, ReceivedBody, RequestHead};
use crate::mask::{self, Masked};
use crate::policy::Denial;
use crate::tls::Alpn;
use crate::upstream::{self, Answer, Failure};
use crate::wire::Operation;

/// A body is held as it came, as it is sealed, and as it leaves: what is reserved for it counts all three.
pub(super) const COPIES: usize = 3;

/// What happens to the client's connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    KeepAlive,
    Close,
    /// Without a farewell: the client must see that it was cut off.
    Abort,
}

/// A request that does not leave: what the client is told and the record says.
#[derive(Debug)]
pub(super) struct Rejection {
    refusal: Refusal,
    rule: String,
    reason: String,
}

/// Where an exchange stands.
pub(super) struct Progress {
    pub(super) id: ExchangeId,
    pub(super) started: Instant,
    /// Apart, for it is large and moves from stage to stage.
    pub(super) record: Box<Record>,
    /// Bytes of a body that is passed on as it comes.
    pub(super) uploaded: Option<Rc<Cell<u64>>>,
}

impl Progress {
    pub(super) fn new(connection: &Connection, id: ExchangeId, started: Instant) -> Self {
        Self { id, started, record: Box::new(record::opened(connection, id)), uploaded: None }
    }

    /// The record is in the log: what only it needed is given back.
    pub(super) fn recorded(&mut self) {
        self.record.caller = audit::Caller::default();
        self.record.findings = Vec::new();
        self.record.coverage = audit::Coverage::default();
    }
}

/// Takes a request whose head is read through the stages.
pub(super) async fn run(
    connection: &Rc<Connection>,
    client: &mut Client<'_>,
    id: ExchangeId,
    started: Instant,
    head: RequestHead,
) -> Next {
    let operation = Operation::of(connection.peer.endpoint.provider, head.method(), head.path());
    if upload::is_one(connection, client, &head, operation) {
        return Box::pin(upload::run(connection, client, id, started, head)).await;
    }
    // The answer may take hours: what was needed to begin is given back before it is waited for.
    match Box::pin(begin(connection, client, id, started, &head, operation)).await {
        Ok(Begun { progress, exchange, upgrade, answer, restorable }) => {
            let request = Sent { head: &head, upgrade: upgrade.as_ref(), restorable: &restorable };
            relay::run(connection, client, progress, exchange, request, answer).await
        }
        Err(next) => next,
    }
}

/// A request that was sent.
struct Begun {
    progress: Progress,
    exchange: audit::Exchange,
    upgrade: Option<Upgrade>,
    answer: Answer,
    restorable: Restorable,
}

/// Everything up to the sending; the error is what comes of the connection when it does not get there.
async fn begin(
    connection: &Rc<Connection>,
    client: &mut Client<'_>,
    id: ExchangeId,
    started: Instant,
    head: &RequestHead,
    operation: Operation,
) -> Result<Begun, Next> {
    let mut progress = Progress::new(connection, id, started);
    let mut stored = StoredHead::of(&connection.worker, head).await;
    stored.describe(&mut progress.record, operation);

    let upgrade = match Upgrade::of(head) {
        Ok(upgrade) => upgrade,
        Err(e) => {
            let rejection = Rejection::malformed("http.websocket", &e.to_string());
            return Err(reject(connection, client, progress, &stored, None, rejection, Next::Close).await);
        }
    };
    let mut reserved = connection.worker.shared.budget.reserve(connection.peer.flow.uid);
    let received = match receive(connection, client, head, &mut reserved).await {
        Ok(received) => received,
        // How much of the body is still to come is unknown: a connection of HTTP/1 cannot be used for another request.
        Err(rejection) => {
            return Err(reject(connection, client, progress, &stored, None, rejection, Next::Close).await);
        }
    };
    let next = if connection.stays(head) { Next::KeepAlive } else { Next::Close };
    let arrived = Instant::now();
    progress.record.request.bytes = Some(received.encoded.len() as u64);
    let (received, _reserved) = match decode(connection, head, operation, received, reserved).await {
        Ok(decoded) => decoded,
        Err(rejection) => return Err(reject(connection, client, progress, &stored, None, rejection, next).await),
    };
    stored.add_trailers(&connection.worker, &received.trailers);
    let inspected = match inspect(connection, &mut progress.record, id, head, operation, &received).await {
        Ok(inspected) => inspected,
        Err(rejection) => {
            return Err(reject(connection, client, progress, &stored, Some(&received), rejection, next).await);
        }
    };
    // Nothing can leave to an endpoint that could not be reached or is not who it should be.
    if let Some(e) = connection.failed() {
        let rejection = Rejection::upstream(record::dial_rule(&e), &e.to_string());
        return Err(reject(connection, client, progress, &stored, Some(&received), rejection, next).await);
    }
    let restorable = Restorable::of(inspected.masked.originals(), operation);
    let asking = restorable.asking(head);
    if asking.is_some() {
        stored.ask_for_identity();
    }
    progress.record.timing.overhead_us = Some(record::micros(arrived.elapsed()));
    let (exchange, committed) = match commit(connection, &progress, &stored, &received, &inspected.masked).await {
        Ok(begun) => begun,
        Err(e) => return Err(without_record(connection, client, &progress, &e).await),
    };
    progress.recorded();
    progress.record.timing.overhead_us = Some(record::micros(arrived.elapsed()));
    let request = Sent { head: asking.as_ref().unwrap_or(head), upgrade: upgrade.as_ref(), restorable: &restorable };
    match send(connection, client, request, &received, &inspected, &committed).await {
        Ok(answer) => Ok(Begun { progress, exchange, upgrade, answer, restorable }),
        Err(Unsent::ClientGone) => Err(relay::abandon(&progress, exchange).await),
        Err(Unsent::Rejected(rejection)) => Err(fail(connection, client, progress, exchange, rejection, next).await),
    }
}

/// A request whose head could not be read: nothing of it is known but that it came.
pub(super) async fn reject_unparsed(
    connection: &Rc<Connection>,
    client: &mut Client<'_>,
    id: ExchangeId,
    started: Instant,
    rejection: Rejection,
) -> Next {
    let progress = Progress::new(connection, id, started);
    reject(connection, client, progress, &StoredHead::unreadable(), None, rejection, Next::Close).await
}

/// Reads the body whole: nothing may leave before all of it was scanned.
async fn receive(
    connection: &Connection,
    client: &mut Client<'_>,
    head: &RequestHead,
    reserved: &mut Reserved,
) -> Result<ReceivedBody, Rejection> {
    let settings = &connection.worker.shared.settings;
    let limits = settings.http_of(&connection.peer.endpoint);
    readable(connection, head)?;
    if let BodyFraming::Length(length) = head.framing()
        && length > limits.body
    {
        return Err(Rejection::unreadable(&http::Error::BodyTooLarge { limit: limits.body }.into()));
    }
    let pacer = settings.client.body.start();
    let admit = |more| {
        pacer.came(more);
        reserved.grow(COPIES * more).is_ok()
    };
    tokio::select! {
        body = client.body(head, &limits, settings.client.patience, admit) => {
            body.map_err(|e| Rejection::unreadable(&e))
        }
        () = pacer.expired() => Err(Rejection::timeout("limits.body_idle_timeout_s")),
    }
}

/// Reads what a compressed body says. One whose text is not looked for stays as it is.
async fn decode(
    connection: &Connection,
    head: &RequestHead,
    operation: Operation,
    received: ReceivedBody,
    mut reserved: Reserved,
) -> Result<(ReceivedBody, Reserved), Rejection> {
    if matches!(operation, Operation::Unknown | Operation::Read) {
        return Ok((received, reserved));
    }
    let codings = Codings::of(head.fields()).map_err(|e| Rejection::coding(&e))?;
    if codings.is_identity() {
        return Ok((received, reserved));
    }
    let limit = connection.worker.shared.settings.http_of(&connection.peer.endpoint).body;
    let read = move || {
        let decoded = codings.decode(&received.encoded, limit, |more| reserved.grow(COPIES * more).is_ok());
        decoded.map(|decoded| (received.decoded(codings, decoded), reserved))
    };
    // Even a small body may unpack to a large one, and a worker's other connections must not wait for that.
    let decoded = tokio::task::spawn_blocking(read).await;
    decoded.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())).map_err(|e| Rejection::coding(&e))
}

/// What this version cannot read is refused by name, not passed unseen.
pub(super) fn readable(connection: &Connection, head: &RequestHead) -> Result<(), Rejection> {
    let host = head.host().unwrap_or_default();
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(n, _)| n);
    if !connection.peer.name.takes(name) {
        return Err(Rejection {
            refusal: Refusal::Misdirected,
            rule: "http.authority".into(),
            reason: format!(
                "the request names another host than {}, which the connection is for",
                connection.peer.name.as_str()
            ),
        });
    }
    if !record::is_known_method(head.method()) {
        return Err(Rejection::denied("http.method", "this method is not one that model endpoints use"));
    }
    if head.upgrade().is_some() && !websocket::switches(head) {
        return Err(Rejection::denied("http.upgrade", "the protocol that is asked for cannot be read"));
    }
    // Their meaning is not defined (RFC 9110, section 5.5), so they could neither be scanned nor recorded faithfully.
    if head.fields().iter().any(|(_, value)| !value.is_ascii()) {
        return Err(Rejection::malformed("http.field_value", "a header value has bytes outside ASCII"));
    }
    // It decides how text is located. Whoever reads the other one would see a body that nobody has scanned.
    if head.fields().all("content-type").nth(1).is_some() {
        return Err(Rejection::malformed("http.content_type", "the request has more than one Content-Type"));
    }
    Ok(())
}

/// The pure middle: findings in the head, then everything about the body.
async fn inspect(
    connection: &Connection,
    record: &mut Record,
    id: ExchangeId,
    head: &RequestHead,
    operation: Operation,
    received: &ReceivedBody,
) -> Result<Inspected, Rejection> {
    let worker = &connection.worker;
    let found = record::scan_head(worker, head, &received.trailers).await?;
    let body = Body::Whole(received.content.clone());
    let content_type = head.fields().get("content-type").map(|kind| String::from_utf8_lossy(kind).into_owned());
    let request = inspect::Request { content_type, ..inspect::Request::of(connection, id, operation, found, body) };
    inspect::run(worker, record, request).await
}

/// Makes the record durable. The plaintext copy that is sealed lives no longer than this.
async fn commit(
    connection: &Connection,
    progress: &Progress,
    stored: &StoredHead,
    received: &ReceivedBody,
    masked: &Masked,
) -> Result<(audit::Exchange, audit::Committed), audit::Error> {
    let original = stored.original(&received.content);
    let outgoing = Outgoing { head: &stored.masked(masked.body().len()), body: masked.body() };
    connection.worker.audit.begin((*progress.record).clone(), &original, outgoing).await
}

/// A request that is sent.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) head: &'a RequestHead,
    /// It asks for a session.
    pub(super) upgrade: Option<&'a Upgrade>,
    /// What its answer may get back.
    pub(super) restorable: &'a Restorable,
}

/// Why a recorded request was not sent.
enum Unsent {
    ClientGone,
    Rejected(Rejection),
}

async fn send(
    connection: &Connection,
    client: &mut Client<'_>,
    request: Sent<'_>,
    received: &ReceivedBody,
    inspected: &Inspected,
    committed: &audit::Committed,
) -> Result<Answer, Unsent> {
    let Inspected { masked, allowed } = inspected;
    let outgoing = upstream::Outgoing { head: request.head, received, masked };
    let sending = async {
        let mut again = true;
        loop {
            let upstream = match request.upgrade {
                None => connection.lease().await,
                Some(_) => connection.lease_for_session().await,
            };
            let upstream = upstream.map_err(|e| Rejection::upstream(record::dial_rule(&e), &e.to_string()))?;
            if request.upgrade.is_some() && upstream.alpn() == Some(Alpn::H2) {
                let reason = "the endpoint speaks HTTP/2 alone, over which no WebSocket is opened";
                return Err(Rejection::upstream("upstream.websocket", reason));
            }
            match upstream.send(outgoing, allowed, committed).await {
                // The one thing that may be sent again, once: the endpoint has said that it did not look at it.
                Err(Failure::Unprocessed) if again => again = false,
                sent => return sent.map_err(|e| Rejection::upstream("upstream.send", &e.to_string())),
            }
        }
    };
    match client.unless_gone(sending).await {
        Ok(sent) => sent.map_err(Unsent::Rejected),
        Err(Gone) => Err(Unsent::ClientGone),
    }
}

/// Records a request that never leaves and answers it.
pub(super) async fn reject(
    connection: &Connection,
    client: &mut Client<'_>,
    mut progress: Progress,
    stored: &StoredHead,
    received: Option<&ReceivedBody>,
    rejection: Rejection,
    next: Next,
) -> Next {
    let response = rejection.render(connection, &progress, next);
    rejection.describe(&mut progress.record);
    record::answered(&mut progress, &response);
    let original = stored.original(received.map_or(&[], |received| &received.content));
    let told = response.to_bytes();
    if let Err(e) = connection.worker.audit.refuse(*progress.record, Some(&original), &told).await {
        log::error!("the refusal of {} is not in the audit log: {e}", progress.id);
    }
    client.reply(response, next, connection.worker.shared.settings.client.patience).await
}

/// The record is durable but the request could not be delivered: the record is completed with that, and the client told.
pub(super) async fn fail(
    connection: &Connection,
    client: &mut Client<'_>,
    mut progress: Progress,
    exchange: audit::Exchange,
    rejection: Rejection,
    next: Next,
) -> Next {
    let response = rejection.render(connection, &progress, next);
    record::answered(&mut progress, &response);
    let completion = record::undelivered(*progress.record, &rejection.rule, &rejection.reason);
    if let Err(e) = ended(exchange, &completion).await {
        log::error!("the end of {} is not in the audit log: {e}", progress.id);
    }
    client.reply(response, next, connection.worker.shared.settings.client.patience).await
}

/// Completes a record after which nothing is released: appended and durable are one.
pub(super) async fn ended(exchange: audit::Exchange, completion: &audit::Completion) -> Result<(), audit::Error> {
    exchange.complete(completion).await?.await
}

/// Nothing leaves unrecorded.
pub(super) async fn without_record(
    connection: &Connection,
    client: &mut Client<'_>,
    progress: &Progress,
    error: &audit::Error,
) -> Next {
    log::error!("request {} is refused: the audit log cannot be written: {error}", progress.id);
    let rejection = Rejection {
        refusal: Refusal::AuditUnavailable,
        rule: "audit.durability".into(),
        reason: "the audit log cannot be made durable on this host, so nothing may leave; tell its administrator"
            .into(),
    };
    let response = rejection.render(connection, progress, Next::Close);
    client.reply(response, Next::Close, connection.worker.shared.settings.client.patience).await
}

impl Rejection {
    pub(super) fn denied(rule: &str, reason: &str) -> Self {
        Self { refusal: Refusal::Denied, rule: rule.into(), reason: reason.into() }
    }

    pub(super) fn malformed(rule: &str, reason: &str) -> Self {
        Self { refusal: Refusal::Malformed, rule: rule.into(), reason: reason.into() }
    }

    pub(super) fn upstream(rule: &str, reason: &str) -> Self {
        Self { refusal: Refusal::Upstream, rule: rule.into(), reason: reason.into() }
    }

    /// Whether it would help to try again is the one thing that the client cannot see for itself.
    pub(super) fn unanswered(failure: &Failure) -> Self {
        let refusal = if matches!(failure, Failure::Unprocessed) { Refusal::Unprocessed } else { Refusal::Upstream };
        Self { refusal, rule: "upstream.response".into(), reason: failure.to_string() }
    }

    pub(super) fn overloaded(rule: &str, reason: &str) -> Self {
        Self { refusal: Refusal::Overloaded, rule: rule.into(), reason: reason.into() }
    }

    pub(super) fn timeout(rule: &str) -> Self {
        Self { refusal: Refusal::Timeout, rule: rule.into(), reason: "the request did not arrive in time".into() }
    }

    fn coding(error: &CodingError) -> Self {
        let (refusal, rule) = match error {
            CodingError::TooLarge { .. } => (Refusal::TooLarge, "limits.body_bytes"),
            CodingError::NoRoom => (Refusal::Overloaded, "limits.buffered_bytes"),
            CodingError::Unknown { .. } | CodingError::TooMany { .. } => (Refusal::Denied, "http.content_encoding"),
            _ => (Refusal::Malformed, "http.content_encoding"),
        };
        Self { refusal, rule: rule.into(), reason: error.to_string() }
    }

    pub(super) fn unreadable(error: &ReadError) -> Self {
        let (refusal, rule) = match error {
            ReadError::Http(http::Error::BodyTooLarge { .. }) => (Refusal::TooLarge, "limits.body_bytes"),
            ReadError::NoRoom => (Refusal::Overloaded, "limits.buffered_bytes"),
            ReadError::Http(_) | ReadError::Io(_) | ReadError::Truncated => (Refusal::Malformed, "http.syntax"),
        };
        Self { refusal, rule: rule.into(), reason: error.to_string() }
    }

    fn render(&self, connection: &Connection, progress: &Progress, next: Next) -> Reply {
        let message = self.message();
        let provider = Some(connection.peer.endpoint.provider);
        let mut response = reply::render(provider, self.refusal, &message, Some(progress.id), next == Next::Close);
        if progress.record.request.method.as_deref() == Some("HEAD") {
            // The head alone, its Content-Length as it would be (RFC 9110, section 9.3.2).
            response.body.clear();
        }
        response
    }

    fn message(&self) -> String {
        format!("{} [rule {}]", self.reason, self.rule)
    }

    /// What a client is told where a few words are all there is room for.
    pub(super) fn told(&self, id: ExchangeId) -> String {
        format!("[rule {}] audit id {id}: {}", self.rule, self.reason)
    }

    pub(super) fn describe(&self, record: &mut Record) {
        record.decision.action = Some("deny".into());
        record.decision.rule = Some(self.rule.clone());
        record.decision.reason = Some(self.reason.clone());
    }
}

impl From<Denial> for Rejection {
    fn from(denial: Denial) -> Self {
        Self { refusal: Refusal::Denied, rule: denial.rule, reason: denial.reason }
    }
}

impl From<mask::Error> for Rejection {
    /// Whatever could not be scanned or rewritten does not leave.
    fn from(error: mask::Error) -> Self {
        Self::denied("mask.failed", &error.to_string())
    }
}
