//! The way back: the response is recorded and forwarded as it comes.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connection::{ClientStream, Connection, Upstream};
use super::exchange::{self, Next, Progress, Rejection};
use super::record;
use crate::audit::{self, Completion};
use crate::flow::Provider;
use crate::http::{self, BodyDecoder, BodyFraming, Error, Reader, RequestHead, ResponseHead};
use crate::upstream::{self, Failure};
use crate::wire::Summary;

/// A client may pipeline this much while its response is still coming; more waits in its socket.
const PIPELINED: usize = 64 << 10;

/// In the record of a request whose client did not wait.
const CLIENT_GONE: &str = "the client closed the connection";

/// Why a response did not reach its end.
pub(super) enum Broken {
    /// Before anything of it was forwarded: the client can be told.
    Unanswered(Failure),
    /// Later, or the client is gone: all that is left is to say so in the record.
    Midway(String),
}

/// A response that is being forwarded.
struct Response {
    patience: Duration,
    decoder: BodyDecoder,
    /// None once it has been read out.
    summary: Option<Summary>,
    status: u16,
    first_byte: Instant,
}

/// Some bytes of a response, and the content among them.
struct Piece {
    raw: Bytes,
    content: Vec<u8>,
}

/// Forwards the response to a request that was sent, and completes its record.
pub(super) async fn run(
    connection: &mut Connection,
    mut progress: Progress,
    mut exchange: audit::Exchange,
    request: &RequestHead,
    overhead: Duration,
) -> Next {
    progress.record.timing.overhead_us = Some(record::micros(overhead));
    let stays = connection.stays(request);
    let Connection { client, reader, upstream, peer, worker, .. } = connection;
    let Upstream::Open(endpoint) = upstream else { unreachable!("the request was sent over it") };
    let patience = worker.shared.settings.patience;
    let mut head = match head(endpoint, client, reader, patience).await {
        Ok(head) => head,
        Err(Broken::Unanswered(failure)) => {
            let rejection = Rejection::upstream("upstream.response", &failure.to_string());
            let next = if stays { Next::KeepAlive } else { Next::Close };
            return exchange::fail(connection, progress, exchange, rejection, next).await;
        }
        Err(Broken::Midway(reason)) => return abort(connection, &progress, exchange, None, reason).await,
    };
    let framing = head.framing(request.method());
    let mut response = Response {
        patience,
        decoder: BodyDecoder::new(framing, &worker.shared.settings.http.streaming()),
        summary: Some(summary(peer.endpoint.provider, &head)),
        status: head.status(),
        first_byte: Instant::now(),
    };
    let reusable = framing != BodyFraming::UntilClose && head.keep_alive();
    let next = if reusable && stays { Next::KeepAlive } else { Next::Close };
    // It would lead the client to QUIC, around the interceptor.
    head.fields_mut().remove("alt-svc");
    // A client that would send another request here learns that it cannot.
    let head = if request.keep_alive() && !stays { head.render_last() } else { head.render() };
    let completed = body(endpoint, client, reader, head, &mut response, &mut exchange).await;
    if !reusable || completed.is_err() {
        *upstream = Upstream::None;
    }
    match completed {
        Ok(last) => finish(connection, &progress, exchange, &mut response, &last, next).await,
        Err(reason) => abort(connection, &progress, exchange, Some(&mut response), reason).await,
    }
}

/// An observer of the response's content. What is compressed tells it nothing.
fn summary(provider: Provider, head: &ResponseHead) -> Summary {
    let fields = head.fields();
    let readable = fields.all("content-encoding").all(|coding| coding.eq_ignore_ascii_case(b"identity"));
    let content_type = fields.get("content-type").filter(|_| readable).and_then(|kind| std::str::from_utf8(kind).ok());
    Summary::new(provider, content_type)
}

/// The final response head. Interim ones are forwarded, but for the `100 Continue` that the proxy has given itself.
async fn head(
    endpoint: &mut upstream::Connection,
    client: &mut ClientStream,
    reader: &mut Reader,
    patience: Duration,
) -> Result<ResponseHead, Broken> {
    loop {
        let head = unless_gone(client, reader, endpoint.response_head()).await?.map_err(Broken::Unanswered)?;
        match head.status() {
            101 => return Err(Broken::Midway("the endpoint switched protocols, which nobody asked for".into())),
            100 => {}
            102..200 => forward(client, &head.render(), patience).await.map_err(Broken::Midway)?,
            _ => return Ok(head),
        }
    }
}

/// Records and forwards everything but the last piece, which is returned: it is released with the completed record.
async fn body(
    endpoint: &mut upstream::Connection,
    client: &mut ClientStream,
    reader: &mut Reader,
    mut outgoing: Vec<u8>,
    response: &mut Response,
    exchange: &mut audit::Exchange,
) -> Result<Vec<u8>, String> {
    loop {
        let piece =
            response.take(endpoint.reader()).map_err(|e| format!("the endpoint's response is malformed: {e}"))?;
        if !piece.content.is_empty() {
            if let Some(summary) = &mut response.summary {
                summary.feed(&piece.content);
            }
            exchange.chunk(&piece.content).await.map_err(|e| format!("the response could not be recorded: {e}"))?;
        }
        outgoing.extend_from_slice(&piece.raw);
        if response.decoder.is_done() {
            return Ok(outgoing);
        }
        forward(client, &outgoing, response.patience).await?;
        outgoing.clear();
        let read = match unless_gone(client, reader, endpoint.fill()).await {
            Ok(read) => read.map_err(|failure| failure.to_string())?,
            Err(broken) => return Err(broken.reason()),
        };
        if read == 0 {
            // The end of the connection is the end of some bodies, and cuts off others.
            response.decoder.finish().map_err(|e| e.to_string())?;
            return Ok(outgoing);
        }
    }
}

/// Waits for the endpoint, but no longer than the client does.
pub(super) async fn unless_gone<T>(
    client: &mut ClientStream,
    reader: &mut Reader,
    wanted: impl Future<Output = T>,
) -> Result<T, Broken> {
    let mut wanted = pin!(wanted);
    while reader.buffered().len() < PIPELINED {
        tokio::select! {
            biased;
            value = &mut wanted => return Ok(value),
            read = reader.fill(client) => match read {
                Ok(1..) => {}
                // It has nothing more to say, and may well wait for the answer.
                Ok(0) => break,
                Err(_) => return Err(Broken::Midway(CLIENT_GONE.into())),
            },
        }
    }
    Ok(wanted.await)
}

async fn forward(client: &mut ClientStream, bytes: &[u8], patience: Duration) -> Result<(), String> {
    http::write(client, bytes, patience).await.map_err(|e| format!("the client took no more of the response: {e}"))
}

/// Ends an exchange whose client went away before its request was sent whole.
pub(super) async fn abandon(connection: &mut Connection, progress: &Progress, exchange: audit::Exchange) -> Next {
    abort(connection, progress, exchange, None, CLIENT_GONE.into()).await
}

/// Completes the record, then releases the last bytes: whoever has the whole response finds it in the log.
async fn finish(
    connection: &mut Connection,
    progress: &Progress,
    exchange: audit::Exchange,
    response: &mut Response,
    last: &[u8],
    next: Next,
) -> Next {
    let completion = response.completion(progress);
    let durable = match exchange.complete(&completion).await {
        Ok(durable) => durable,
        Err(e) => {
            log::error!("the end of {} is not in the audit log: {e}", progress.id);
            return Next::Abort;
        }
    };
    let forwarded = forward(&mut connection.client, last, response.patience).await;
    if let Err(e) = durable.await {
        log::error!("the end of {} is not in the audit log: {e}", progress.id);
        return Next::Abort;
    }
    if forwarded.is_ok() { next } else { Next::Abort }
}

async fn abort(
    connection: &mut Connection,
    progress: &Progress,
    exchange: audit::Exchange,
    response: Option<&mut Response>,
    reason: String,
) -> Next {
    connection.upstream = Upstream::None;
    let completion = response.map_or_else(|| record::unanswered(progress), |response| response.completion(progress));
    let completion = Completion { state: audit::State::Aborted, reason: Some(reason), ..completion };
    if let Err(e) = exchange::ended(exchange, &completion).await {
        log::error!("the end of {} is not in the audit log: {e}", progress.id);
    }
    Next::Abort
}

impl Response {
    /// Everything that has come of this response and was not taken yet.
    fn take(&mut self, reader: &mut Reader) -> Result<Piece, Error> {
        let (mut consumed, mut content) = (0, Vec::new());
        while consumed < reader.buffered().len() && !self.decoder.is_done() {
            let rest = &reader.buffered()[consumed..];
            let step = self.decoder.decode(rest)?;
            content.extend_from_slice(&rest[step.content]);
            consumed += step.consumed;
        }
        Ok(Piece { raw: reader.take(consumed), content })
    }

    fn completion(&mut self, progress: &Progress) -> Completion {
        let outcome = self.summary.take().map(Summary::finish).unwrap_or_default();
        let mut timing = progress.record.timing.clone();
        timing.first_byte_us = Some(record::micros(self.first_byte.duration_since(progress.started)));
        timing.total_us = Some(record::micros(progress.started.elapsed()));
        Completion {
            response: record::response(self.status, self.decoder.content_bytes(), &outcome),
            timing,
            ..Completion::default()
        }
    }
}

impl Broken {
    fn reason(self) -> String {
        match self {
            Self::Unanswered(failure) => failure.to_string(),
            Self::Midway(reason) => reason,
        }
    }
}
