//! A request that streams: what policy lets pass unscanned need not be known whole before any of it leaves, and must not be
//! held where the endpoint answers in between (gRPC's streams of messages). Each piece is in the log before it is passed on.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use h2::{Reason, RecvStream};

use super::client::Client;
use super::connection::Connection;
use super::exchange::{self, Next, Progress, Rejection, Sent};
use super::inspect::{self, Body, Inspected};
use super::record::{self, StoredHead};
use super::restore::Restorable;
use super::{relay, safe};
use crate::audit::{self, Outgoing};
use crate::flow::ExchangeId;
use crate::http::{BodyFraming, Limits, RequestHead, ResponseHead, trailer_lines, trailers_from_h2};
use crate::upstream::{self, Answer, Sink};
use crate::wire::Operation;

/// Whether a request is to be passed on as it comes: nobody knows how its text would be found, nobody has said how long it
/// is, and both sides have a stream for it.
pub(super) fn is_one(connection: &Connection, client: &Client<'_>, head: &RequestHead, operation: Operation) -> bool {
    let streams = matches!(client, Client::H2(_)) && connection.endpoint_speaks_h2();
    streams && operation == Operation::Unknown && head.framing() == BodyFraming::UntilClose
}

/// Takes such a request through the stages.
pub(super) async fn run(
    connection: &Rc<Connection>,
    client: &mut Client<'_>,
    id: ExchangeId,
    started: Instant,
    head: RequestHead,
) -> Next {
    let mut progress = Progress::new(connection, id, started);
    let stored = StoredHead::of(&connection.worker, &head).await;
    stored.describe(&mut progress.record, Operation::Unknown);
    if let Err(rejection) = exchange::readable(connection, &head) {
        return exchange::reject(connection, client, progress, &stored, None, rejection, Next::KeepAlive).await;
    }
    let inspected = match inspect(connection, &mut progress, &head).await {
        Ok(inspected) => inspected,
        Err(rejection) => {
            return exchange::reject(connection, client, progress, &stored, None, rejection, Next::KeepAlive).await;
        }
    };
    if let Some(e) = connection.failed() {
        let rejection = Rejection::upstream(record::dial_rule(&e), &e.to_string());
        return exchange::reject(connection, client, progress, &stored, None, rejection, Next::KeepAlive).await;
    }
    progress.record.timing.overhead_us = Some(record::micros(started.elapsed()));
    let outgoing = Outgoing { head: &stored.masked(0), body: &[] };
    let begun = connection.worker.audit.begin((*progress.record).clone(), &stored.original(&[]), outgoing).await;
    let (exchange, committed) = match begun {
        Ok(begun) => begun,
        Err(e) => return exchange::without_record(connection, client, &progress, &e).await,
    };
    progress.recorded();
    let (answer, sink) = match open(connection, &head, &inspected, &committed).await {
        Ok(opened) => opened,
        Err(rejection) => {
            return exchange::fail(connection, client, progress, exchange, rejection, Next::KeepAlive).await;
        }
    };
    if head.expects_continue()
        && let Ok(Some((go_on, _))) = ResponseHead::parse(b"HTTP/1.1 100 Continue\r\n\r\n", &Limits::default())
        && client.interim(&go_on, connection.worker.shared.settings.client.patience).await.is_err()
    {
        return relay::abandon(&progress, exchange).await;
    }
    let uploaded = Rc::new(Cell::new(0));
    progress.uploaded = Some(Rc::clone(&uploaded));
    let Some(body) = client.take_body() else { unreachable!("it was not read yet") };
    let up = Upload { connection, kept: exchange.upload(), body, sink, uploaded };
    // Nothing of it was replaced.
    let sent = Sent { head: &head, upgrade: None, restorable: &Restorable::nothing() };
    let mut down = pin!(relay::run(connection, client, progress, exchange, sent, answer));
    tokio::select! {
        // An answer that is over ends the request, too.
        next = &mut down => return next,
        result = up.run() => if let Err(reason) = result {
            // The stream was reset, so the answer ends as well.
            log::debug!("the request {id} was not sent whole: {reason}");
        }
    }
    down.await
}

async fn inspect(connection: &Connection, progress: &mut Progress, head: &RequestHead) -> Result<Inspected, Rejection> {
    let findings = record::scan_head(&connection.worker, head, &[]).await?;
    let request = inspect::Request::of(connection, progress.id, Operation::Unknown, findings, Body::Streamed);
    inspect::run(&connection.worker, &mut progress.record, request).await
}

async fn open(
    connection: &Connection,
    head: &RequestHead,
    inspected: &Inspected,
    committed: &audit::Committed,
) -> Result<(Answer, Sink), Rejection> {
    let Inspected { masked, allowed } = inspected;
    let upstream = connection.lease().await;
    let upstream = upstream.map_err(|e| Rejection::upstream(record::dial_rule(&e), &e.to_string()))?;
    let opened = upstream::Opening { head, masked };
    upstream.open(opened, allowed, committed).map_err(|e| Rejection::upstream("upstream.send", &e.to_string()))
}

/// The way up.
struct Upload<'a> {
    connection: &'a Rc<Connection>,
    kept: audit::Upload,
    body: RecvStream,
    sink: Sink,
    /// Bytes so far.
    uploaded: Rc<Cell<u64>>,
}

impl Upload<'_> {
    async fn run(mut self) -> Result<(), String> {
        let result = self.pass().await;
        if result.is_err() {
            self.sink.reset(Reason::CANCEL);
        }
        result
    }

    async fn pass(&mut self) -> Result<(), String> {
        let patience = self.connection.worker.shared.settings.client.patience;
        while let Some(piece) = self.body.data().await {
            let piece = piece.map_err(|e| e.to_string())?;
            let length = piece.len();
            self.kept.chunk(&piece).await.map_err(|e| format!("it could not be recorded: {e}"))?;
            self.uploaded.set(self.uploaded.get() + length as u64);
            self.sink.send(piece, patience).await.map_err(|e| e.to_string())?;
            // It fails only when the stream is gone, and then so does the next read.
            let _ = self.body.flow_control().release_capacity(length);
        }
        let trailers = self.body.trailers().await.map_err(|e| e.to_string())?;
        let section = trailers.as_ref().map(trailers_from_h2).transpose().map_err(|e| e.to_string())?;
        let section = section.unwrap_or_default();
        if !section.is_ascii() {
            return Err("a trailer has bytes outside ASCII [rule http.field_value]".into());
        }
        self.kept.chunk(&section).await.map_err(|e| format!("it could not be recorded: {e}"))?;
        for (name, value) in trailer_lines(&section) {
            let line = format!("{name}: {}", String::from_utf8_lossy(value));
            if safe::finds_more_than_little(&self.connection.worker, &line).map_err(|e| e.to_string())? {
                return Err("a trailer holds a sensitive value [rule policy.head]".into());
            }
        }
        self.sink.finish(trailers).map_err(|e| e.to_string())
    }
}
