//! One request through the stages: read, locate, scan, decide, mask, record, send.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::connection::{Connection, Upstream};
use super::record::{self, StoredHead};
use super::relay;
use super::reply::{self, Refusal};
use super::worker::Worker;
use crate::audit::{self, Outgoing, Record};
use crate::flow::{Action, ExchangeId, Located};
use crate::http::{self, BodyFraming, ReadError, ReceivedBody, RequestHead};
use crate::mask::{self, Exemption, Masked};
use crate::policy::{Allowed, Denial, Facts, Findings, Verdict};
use crate::wire::{self, Kind, Operation};

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

/// A request that may leave, with everything that is sent and recorded of it.
struct Prepared {
    masked: Masked,
    allowed: Allowed,
}

/// Where an exchange stands.
pub(super) struct Progress {
    pub(super) id: ExchangeId,
    pub(super) started: Instant,
    pub(super) record: Record,
}

/// Takes a request whose head is read through the stages.
pub(super) async fn run(connection: &mut Connection, id: ExchangeId, started: Instant, head: RequestHead) -> Next {
    let operation = Operation::of(connection.peer.endpoint.provider, head.method(), head.path());
    let mut progress = Progress { id, started, record: record::opened(connection, id) };
    let stored = StoredHead::of(&connection.worker, &head);
    stored.describe(&mut progress.record, operation);

    let mut reserved = connection.worker.shared.budget.reserve();
    let received = match receive(connection, &head, |more| reserved.grow(more).is_ok()).await {
        Ok(received) => received,
        // How much of the body is still to come is unknown: the connection cannot be used for another request.
        Err(rejection) => return reject(connection, progress, &stored, None, rejection, Next::Close).await,
    };
    let arrived = Instant::now();
    progress.record.request.bytes = Some(received.content.len() as u64);
    let next = if head.keep_alive() { Next::KeepAlive } else { Next::Close };

    let prepared = match prepare(&connection.worker, connection, &mut progress, &head, operation, &received) {
        Ok(prepared) => prepared,
        Err(rejection) => return reject(connection, progress, &stored, Some(&received), rejection, next).await,
    };
    let Prepared { masked, allowed } = prepared;
    progress.record.timing.overhead_us = Some(record::micros(arrived.elapsed()));

    let outgoing = Outgoing { head: &stored.masked(masked.body().len()), body: masked.body() };
    let original = stored.original(&received.content);
    let begun = connection.worker.audit.begin(progress.record.clone(), &original, outgoing).await;
    let (exchange, committed) = match begun {
        Ok(begun) => begun,
        Err(e) => return without_record(connection, &progress, &e).await,
    };
    let overhead = arrived.elapsed();
    let sent = send(connection, head.clone(), &received, &masked, &allowed, &committed).await;
    drop((received, reserved));
    match sent {
        Ok(()) => relay::run(connection, progress, exchange, &head, overhead).await,
        Err(rejection) => fail(connection, progress, exchange, rejection, next).await,
    }
}

/// A request whose head could not be read: nothing of it is known but that it came.
pub(super) async fn reject_unparsed(
    connection: &mut Connection,
    id: ExchangeId,
    started: Instant,
    rejection: Rejection,
) -> Next {
    let progress = Progress { id, started, record: record::opened(connection, id) };
    reject(connection, progress, &StoredHead::unreadable(), None, rejection, Next::Close).await
}

/// Reads the body whole: nothing may leave before all of it was scanned.
async fn receive(
    connection: &mut Connection,
    head: &RequestHead,
    admit: impl FnMut(usize) -> bool,
) -> Result<ReceivedBody, Rejection> {
    let settings = &connection.worker.shared.settings;
    let (limits, deadline) = (settings.http, settings.request_timeout);
    readable(connection, head)?;
    if let BodyFraming::Length(length) = head.framing()
        && length > limits.body
    {
        return Err(Rejection::unreadable(&http::Error::BodyTooLarge { limit: limits.body }.into()));
    }
    if head.expects_continue() && head.framing() != BodyFraming::None && connection.reader.buffered().is_empty() {
        let interim = connection.client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        interim.and(connection.client.flush().await).map_err(|e| Rejection::unreadable(&e.into()))?;
    }
    let body = connection.reader.body(&mut connection.client, head.framing(), &limits, admit);
    match timeout(deadline, body).await {
        Err(_) => Err(Rejection::timeout()),
        Ok(body) => body.map_err(|e| Rejection::unreadable(&e)),
    }
}

/// What this version cannot read is refused by name, not passed unseen.
fn readable(connection: &Connection, head: &RequestHead) -> Result<(), Rejection> {
    let host = head.host().unwrap_or_default();
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(n, _)| n);
    if !name.eq_ignore_ascii_case(connection.peer.name.as_ref()) {
        return Err(Rejection {
            refusal: Refusal::Misdirected,
            rule: "http.authority".into(),
            reason: format!(
                "the Host header does not name {}, which the TLS connection is for",
                connection.peer.name.as_ref()
            ),
        });
    }
    if head.upgrade().is_some() {
        return Err(Rejection::denied("http.upgrade", "protocol upgrades (WebSocket) are not supported yet"));
    }
    let coded = head.fields().all("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    if coded {
        return Err(Rejection::denied(
            "http.content_encoding",
            "compressed requests cannot be read yet; send the body without Content-Encoding",
        ));
    }
    Ok(())
}

/// The pure middle: where is the text, what is in it, may it leave, and as what.
fn prepare(
    worker: &Worker,
    connection: &Connection,
    progress: &mut Progress,
    head: &RequestHead,
    operation: Operation,
    received: &ReceivedBody,
) -> Result<Prepared, Rejection> {
    let body = &received.content;
    let known = !matches!(operation, Operation::Unknown);
    let document = match operation {
        Operation::Unknown | Operation::Read => None,
        _ => Some(wire::locate(operation, body).map_err(|e| Rejection::malformed("wire.format", &e.to_string()))?),
    };
    let fields = document.as_ref().map_or(&[][..], |document| &document.fields);
    let mut scanner = worker.scanner.borrow_mut();
    let found = scanner.scan_fields(fields)?;
    let in_head = record::scan_head(&mut scanner, head, &received.trailers)?;
    drop(scanner);

    let has = |kind| document.iter().flat_map(|document| &document.parts).any(|part| part.kind == kind);
    let caller = &connection.peer.caller;
    let facts = Facts {
        provider: connection.peer.endpoint.provider,
        host: connection.peer.name.as_ref(),
        user: caller.user.as_deref(),
        groups: caller.groups.as_deref().unwrap_or_default(),
        // A body where none is expected was not looked at either.
        known_operation: known && (document.is_some() || body.is_empty()),
        has_body: !body.is_empty(),
        opaque_media: has(Kind::Media),
        opaque_documents: has(Kind::Document),
    };
    match &document {
        Some(document) => record::cover(&mut progress.record, document, worker),
        None => record::cover_unread(&mut progress.record, body.len()),
    }
    let plan = match worker.shared.policy.decide(&facts, &Findings { head: &in_head, body: &found, fields }) {
        Verdict::Deny(denial) => {
            record::count(&mut progress.record, &found, &in_head, |_| Action::Deny);
            return Err(denial.into());
        }
        Verdict::Proceed(plan) => plan,
    };
    record::count(&mut progress.record, &found, &in_head, |index| plan.actions()[index]);
    record::decided(&mut progress.record, &plan);
    let masked = if document.is_some() {
        apply(worker, progress.id, body.clone(), fields, &found, plan.actions())?
    } else {
        let exemption = if body.is_empty() { Exemption::NoBody } else { Exemption::OpaqueByPolicy };
        Masked::exempt(progress.id, body.clone(), exemption)
    };
    let allowed = plan.allow(progress.id, masked.digest());
    Ok(Prepared { masked, allowed })
}

fn apply(
    worker: &Worker,
    id: ExchangeId,
    body: bytes::Bytes,
    fields: &[crate::flow::Field<'_>],
    found: &[Located],
    actions: &[Action],
) -> Result<Masked, Rejection> {
    Ok(mask::rewrite(id, body, fields, found, actions, &worker.shared.tokens.current())?)
}

async fn send(
    connection: &mut Connection,
    head: RequestHead,
    received: &ReceivedBody,
    masked: &Masked,
    allowed: &Allowed,
    committed: &audit::Committed,
) -> Result<(), Rejection> {
    let Connection { worker, upstream, peer, .. } = connection;
    let endpoint = upstream
        .open(worker, &peer.flow, &peer.name)
        .await
        .map_err(|e| Rejection::upstream(record::dial_rule(&e), &e.to_string()))?;
    endpoint
        .send(head, received, masked, allowed, committed)
        .await
        .map_err(|e| Rejection::upstream("upstream.send", &e.to_string()))
}

/// Records a request that never leaves and answers it.
async fn reject(
    connection: &mut Connection,
    mut progress: Progress,
    stored: &StoredHead,
    received: Option<&ReceivedBody>,
    rejection: Rejection,
    next: Next,
) -> Next {
    let response = rejection.render(connection, progress.id, next);
    rejection.describe(&mut progress.record);
    record::answered(&mut progress, rejection.refusal, response.len());
    let original = stored.original(received.map_or(&[], |received| &received.content));
    let refused = connection.worker.audit.refuse(progress.record, Some(&original), &response);
    if let Err(e) = refused.await {
        log::error!("the refusal of {} is not in the audit log: {e}", progress.id);
    }
    answer(connection, &response, next).await
}

/// The record is durable but the request could not be delivered: the record is completed with that, and the client told.
pub(super) async fn fail(
    connection: &mut Connection,
    mut progress: Progress,
    exchange: audit::Exchange,
    rejection: Rejection,
    next: Next,
) -> Next {
    connection.upstream = Upstream::None;
    let response = rejection.render(connection, progress.id, next);
    record::answered(&mut progress, rejection.refusal, response.len());
    let completion = record::undelivered(progress.record, &rejection.rule, &rejection.reason);
    if let Err(e) = ended(exchange, &completion).await {
        log::error!("the end of {} is not in the audit log: {e}", progress.id);
    }
    answer(connection, &response, next).await
}

/// Completes a record after which nothing is released: appended and durable are one.
pub(super) async fn ended(exchange: audit::Exchange, completion: &audit::Completion) -> Result<(), audit::Error> {
    exchange.complete(completion)?.await
}

/// Nothing leaves unrecorded.
async fn without_record(connection: &mut Connection, progress: &Progress, error: &audit::Error) -> Next {
    log::error!("request {} is refused: the audit log cannot be written: {error}", progress.id);
    let rejection = Rejection {
        refusal: Refusal::AuditUnavailable,
        rule: "audit.durability".into(),
        reason: "the audit log cannot be made durable on this host, so nothing may leave; tell its administrator"
            .into(),
    };
    let response = rejection.render(connection, progress.id, Next::Close);
    answer(connection, &response, Next::Close).await
}

async fn answer(connection: &mut Connection, response: &[u8], next: Next) -> Next {
    let sent = async {
        connection.client.write_all(response).await?;
        connection.client.flush().await
    };
    match sent.await {
        Ok(()) if next == Next::KeepAlive => Next::KeepAlive,
        Ok(()) => {
            drain(connection).await;
            Next::Close
        }
        Err(_) => Next::Close,
    }
}

/// A client that is still sending would see a reset instead of the answer if the connection were closed at once
/// (RFC 9112, 9.6). What it sends is thrown away, for a moment.
async fn drain(connection: &mut Connection) {
    const LINGER: Duration = Duration::from_secs(2);
    const MOST: usize = 256 << 20;
    let client = &mut connection.client;
    let discard = async {
        client.shutdown().await?;
        let mut taken = connection.reader.buffered().len();
        loop {
            let buffered = connection.reader.buffered().len();
            drop(connection.reader.take(buffered));
            let read = connection.reader.fill(client).await?;
            taken += read;
            if read == 0 || taken > MOST {
                return std::io::Result::Ok(());
            }
        }
    };
    let _gone_or_done = timeout(LINGER, discard).await;
}

impl Rejection {
    fn denied(rule: &str, reason: &str) -> Self {
        Self { refusal: Refusal::Denied, rule: rule.into(), reason: reason.into() }
    }

    fn malformed(rule: &str, reason: &str) -> Self {
        Self { refusal: Refusal::Malformed, rule: rule.into(), reason: reason.into() }
    }

    pub(super) fn upstream(rule: &str, reason: &str) -> Self {
        Self { refusal: Refusal::Upstream, rule: rule.into(), reason: reason.into() }
    }

    pub(super) fn timeout() -> Self {
        Self {
            refusal: Refusal::Timeout,
            rule: "limits.request_timeout_s".into(),
            reason: "the request did not arrive in time".into(),
        }
    }

    pub(super) fn unreadable(error: &ReadError) -> Self {
        let (refusal, rule) = match error {
            ReadError::Http(http::Error::BodyTooLarge { .. }) => (Refusal::TooLarge, "limits.body_bytes"),
            ReadError::NoRoom => (Refusal::Overloaded, "limits.buffered_bytes"),
            ReadError::Http(_) | ReadError::Io(_) | ReadError::Truncated => (Refusal::Malformed, "http.syntax"),
        };
        Self { refusal, rule: rule.into(), reason: error.to_string() }
    }

    fn render(&self, connection: &Connection, id: ExchangeId, next: Next) -> Vec<u8> {
        let message = format!("{} [rule {}]", self.reason, self.rule);
        reply::render(connection.peer.endpoint.provider, self.refusal, &message, id, next == Next::Close)
    }

    fn describe(&self, record: &mut Record) {
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
