//! A WebSocket session: its handshake is one exchange, to which everything the endpoint says belongs, and each message of
//! the client is an exchange of its own, inspected, decided and durable before it leaves.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::budget::Reserved;
use super::client::Client;
use super::connection::Connection;
use super::drain::Phase;
use super::exchange::{self, COPIES, Next, Progress, Rejection};
use super::inspect::{self, Body, Inspected};
use super::settings::NEVER;
use super::socket::{self, Cause, End, Ended, Gate, Refused};
use super::{record, safe};
use crate::audit::{self, Completion, Outgoing};
use crate::flow::ExchangeId;
use crate::http::ResponseHead;
use crate::http::websocket::{Control, Kind, Limits, Message, Negotiated, Piece, Upgrade};
use crate::mask::Masked;
use crate::upstream::{self, Answer};
use crate::wire::Operation;

/// How long a side may take to answer the other's goodbye.
const CLOSING: Duration = Duration::from_secs(10);

/// Close codes (RFC 6455, 7.4.1, and the registry it opens).
const POLICY: u16 = 1008;
const INTERNAL: u16 = 1011;
const TRY_AGAIN: u16 = 1013;

/// An exchange whose client asked for a session, and whose endpoint has agreed.
pub(super) struct Agreed {
    pub(super) progress: Progress,
    pub(super) exchange: audit::Exchange,
    pub(super) answer: Answer,
    /// The endpoint's `101`.
    pub(super) head: ResponseHead,
}

/// Passes the endpoint's agreement on, and then what both sides say, to the end of the session.
pub(super) async fn run(
    connection: &Rc<Connection>,
    client: &mut Client<'_>,
    upgrade: &Upgrade,
    agreed: Agreed,
) -> Next {
    let Agreed { progress, exchange, answer, head } = agreed;
    let negotiated = match upgrade.accepted(head.fields()) {
        Ok(negotiated) => negotiated,
        Err(e) => {
            let rejection = Rejection::upstream("upstream.websocket", &e.to_string());
            return exchange::fail(connection, client, progress, exchange, rejection, Next::Close).await;
        }
    };
    let settings = &connection.worker.shared.settings;
    let first_byte = Instant::now();
    let near = match client.switch(&head, settings.client.patience).await {
        Ok(near) => near,
        Err(e) => {
            let completion = Completion::aborted(format!("the client did not take the handshake: {e}"));
            return end(&progress, exchange, completion).await;
        }
    };
    let Some((stream, buffered)) = answer.into_upgraded() else {
        unreachable!("a session is asked for over HTTP/1.1 only")
    };
    let asides = exchange.upload();
    let mut words = Words { exchange };
    let ended = relay(connection, near, End { stream, buffered }, &negotiated, &progress, (&mut words, asides)).await;
    let completion = completion(&progress, first_byte, &ended);
    end(&progress, words.exchange, completion).await
}

async fn relay(
    connection: &Rc<Connection>,
    near: End<Box<dyn super::client::Pipe + '_>>,
    far: End<upstream::UpstreamStream>,
    negotiated: &Negotiated,
    progress: &Progress,
    (words, asides): (&mut Words, audit::Upload),
) -> Ended {
    let shared = &connection.worker.shared;
    let settings = &shared.settings;
    let endpoint = &connection.peer.endpoint;
    let most = usize::try_from(settings.http_of(endpoint).body).unwrap_or(usize::MAX);
    let idle = settings.timeouts_of(endpoint).idle;
    let settings = socket::Settings {
        limits: Limits { message: most, raw: most.saturating_add(most / 8), ..Limits::default() },
        patience: settings.client.patience,
        closing: CLOSING,
        idle: (idle < NEVER).then_some(idle),
    };
    let reserved = shared.budget.reserve(connection.peer.flow.uid);
    let mut messages = Messages { connection, path: progress.record.request.path.clone(), reserved, asides };
    let leave = shared.drain.reaches(Phase::Stopping);
    socket::run(near, far, negotiated, settings, &mut messages, words, leave).await
}

/// What the endpoint says.
struct Words {
    exchange: audit::Exchange,
}

impl socket::Record for Words {
    async fn response(&mut self, piece: &Piece) -> Result<(), String> {
        self.exchange.chunk(&piece.content).await.map_err(|e| format!("it could not be recorded: {e}"))
    }
}

/// What the client says.
struct Messages<'a> {
    connection: &'a Rc<Connection>,
    /// Of the session's request, as it is recorded.
    path: Option<String>,
    reserved: Reserved,
    /// What leaves in control frames, which belongs to the session's record.
    asides: audit::Upload,
}

impl Gate for Messages<'_> {
    fn hold(&mut self, bytes: usize) -> Result<(), Refused> {
        let held = self.reserved.grow(COPIES * bytes);
        held.map_err(|_| Refused {
            code: TRY_AGAIN,
            reason: "too much is being held [rule limits.buffered_bytes]".into(),
        })
    }

    async fn message(&mut self, message: &Message) -> Result<Bytes, Refused> {
        let id = ExchangeId::new();
        let mut progress = self.opened(id, message.content.len());
        let inspected = self.inspect(&mut progress, message).await;
        let shared = &self.connection.worker.shared;
        self.reserved = shared.budget.reserve(self.connection.peer.flow.uid);
        match inspected {
            Ok(inspected) => self.release(progress, message, &inspected).await,
            Err(rejection) => Err(self.refuse(progress, &message.content, &rejection).await),
        }
    }

    async fn control(&mut self, control: &Control) -> Result<(), Refused> {
        if control.payload.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&control.payload);
        let found = safe::finds_more_than_little(&self.connection.worker, &text);
        let rejection = match found {
            Ok(false) => return self.aside(control).await,
            Ok(true) => Rejection::denied("websocket.control", "a control frame holds a sensitive value"),
            Err(e) => e.into(),
        };
        let progress = self.opened(ExchangeId::new(), control.payload.len());
        Err(self.refuse(progress, &control.payload, &rejection).await)
    }
}

impl Messages<'_> {
    /// Records a control frame's payload before it leaves.
    async fn aside(&mut self, control: &Control) -> Result<(), Refused> {
        self.asides.chunk(&control.payload).await.map_err(|e| {
            log::error!("a control frame is refused: {e}");
            Refused { code: INTERNAL, reason: "nothing may leave unrecorded [rule audit.durability]".into() }
        })
    }

    fn opened(&self, id: ExchangeId, bytes: usize) -> Progress {
        let mut progress = Progress::new(self.connection, id, Instant::now());
        let request = &mut progress.record.request;
        request.path.clone_from(&self.path);
        request.operation = Some(Operation::Message.as_str().to_owned());
        request.bytes = Some(bytes as u64);
        progress
    }

    async fn inspect(&self, progress: &mut Progress, message: &Message) -> Result<Inspected, Rejection> {
        let operation = match message.kind {
            Kind::Text => Operation::Message,
            Kind::Binary => Operation::Unknown,
        };
        let body = Body::Whole(message.content.clone());
        let request = inspect::Request::of(self.connection, progress.id, operation, Vec::new(), body);
        inspect::run(&self.connection.worker, &mut progress.record, request).await
    }

    /// Makes the record durable; the content may leave then.
    async fn release(
        &self,
        mut progress: Progress,
        message: &Message,
        inspected: &Inspected,
    ) -> Result<Bytes, Refused> {
        let Inspected { masked, allowed } = inspected;
        progress.record.timing.overhead_us = Some(record::micros(progress.started.elapsed()));
        let begun = self.commit(&progress, &message.content, masked).await;
        let cleared = begun.map_err(|e| e.to_string()).and_then(|(exchange, committed)| {
            let content = upstream::cleared(masked, allowed, &committed).map_err(|e| e.to_string())?;
            Ok((exchange, content))
        });
        let (exchange, content) = match cleared {
            Ok(cleared) => cleared,
            Err(reason) => {
                log::error!("message {} is refused: {reason}", progress.id);
                return Err(Refused {
                    code: INTERNAL,
                    reason: "nothing may leave unrecorded [rule audit.durability]".into(),
                });
            }
        };
        let mut completion = record::unanswered(&progress);
        completion.request_bytes = Some(message.content.len() as u64);
        if let Err(e) = exchange.complete(&completion).await.map(drop) {
            log::error!("the end of {} is not in the audit log: {e}", progress.id);
        }
        Ok(content)
    }

    async fn commit(
        &self,
        progress: &Progress,
        original: &[u8],
        masked: &Masked,
    ) -> Result<(audit::Exchange, audit::Committed), audit::Error> {
        let outgoing = Outgoing { head: &[], body: masked.body() };
        self.connection.worker.audit.begin((*progress.record).clone(), original, outgoing).await
    }

    /// Records what does not leave.
    async fn refuse(&self, mut progress: Progress, original: &[u8], rejection: &Rejection) -> Refused {
        let reason = rejection.told(progress.id);
        rejection.describe(&mut progress.record);
        let refused = self.connection.worker.audit.refuse(*progress.record, Some(original), reason.as_bytes());
        if let Err(e) = refused.await {
            log::error!("the refusal of {} is not in the audit log: {e}", progress.id);
        }
        Refused { code: POLICY, reason }
    }
}

/// What is known when a session ends.
fn completion(progress: &Progress, first_byte: Instant, ended: &Ended) -> Completion {
    let mut completion = record::unanswered(progress);
    completion.timing.first_byte_us = Some(record::micros(first_byte.duration_since(progress.started)));
    completion.response.status = Some(101);
    completion.response.bytes = Some(ended.received.bytes);
    completion.request_bytes = Some(ended.sent.bytes);
    let reason = match &ended.cause {
        Cause::Closed => return completion,
        Cause::Ended(peer) => format!("the {} ended its connection without a close frame", who(*peer)),
        Cause::Failed(failure) => failure.to_string(),
        Cause::Broken { of, reason } => format!("the connection of the {} broke: {reason}", who(*of)),
    };
    Completion { state: audit::State::Aborted, reason: Some(reason), ..completion }
}

fn who(peer: crate::http::websocket::Peer) -> &'static str {
    match peer {
        crate::http::websocket::Peer::Client => "client",
        crate::http::websocket::Peer::Endpoint => "endpoint",
    }
}

async fn end(progress: &Progress, exchange: audit::Exchange, completion: Completion) -> Next {
    if let Err(e) = exchange::ended(exchange, &completion).await {
        log::error!("the end of {} is not in the audit log: {e}", progress.id);
    }
    Next::Abort
}
