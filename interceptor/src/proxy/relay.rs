//! The way back: the response is recorded and forwarded as it comes.

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::client::{Client, Gone};
use super::connection::Connection;
use super::exchange::{self, Next, Progress, Rejection};
use super::record;
use crate::audit::{self, Completion};
use crate::flow::Provider;
use crate::http::{BodyFraming, RequestHead, ResponseHead, Version};
use crate::upstream::{Answer, Failure, Piece};
use crate::wire::Summary;

/// In the record of a request whose client did not wait.
pub(super) const CLIENT_GONE: &str = "the client closed the connection";

/// Why a response did not reach its end.
enum Broken {
    /// Before anything of it was forwarded: the client can be told.
    Unanswered(Failure),
    /// Later, or the client is gone: all that is left is to say so in the record.
    Midway(String),
}

/// A response that is being forwarded.
struct Response {
    patience: Duration,
    /// None once it has been read out.
    summary: Option<Summary>,
    status: u16,
    bytes: u64,
    first_byte: Instant,
}

/// Forwards the response to a request that was sent, and completes its record.
pub(super) async fn run(
    connection: &Rc<Connection>,
    client: &mut Client<'_>,
    progress: Progress,
    mut exchange: audit::Exchange,
    request: &RequestHead,
    mut answer: Answer,
) -> Next {
    let stays = connection.stays(request);
    let patience = connection.worker.shared.settings.patience;
    let mut head = match head(&mut answer, client, patience).await {
        Ok(head) => head,
        Err(Broken::Unanswered(failure)) => {
            let rejection = Rejection::upstream("upstream.response", &failure.to_string());
            let next = if stays { Next::KeepAlive } else { Next::Close };
            return exchange::fail(connection, client, progress, exchange, rejection, next).await;
        }
        Err(Broken::Midway(reason)) => return abort(&progress, exchange, None, reason).await,
    };
    let mut response = Response {
        patience,
        summary: Some(summary(connection.peer.endpoint.provider, &head)),
        status: head.status(),
        bytes: 0,
        first_byte: Instant::now(),
    };
    // A body of HTTP/1 that ends with its connection ends the client's too.
    let ends = head.version() != Version::Http2
        && (head.framing(request.method()) == BodyFraming::UntilClose || !head.keep_alive());
    let next = if stays && !ends { Next::KeepAlive } else { Next::Close };
    // It would lead the client to QUIC, around the interceptor.
    head.fields_mut().remove("alt-svc");
    let completed = match client.begin(head, request, !stays) {
        Ok(()) => body(&mut answer, client, &mut response, &mut exchange).await,
        Err(e) => Err(format!("the response cannot be written in the client's version of HTTP: {e}")),
    };
    match completed {
        Ok(last) => {
            let next = finish(client, &progress, exchange, &mut response, &last, next).await;
            if let Some(reusable) = answer.reusable() {
                connection.give_back(reusable);
            }
            next
        }
        Err(reason) => abort(&progress, exchange, Some(&mut response), reason).await,
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
async fn head(answer: &mut Answer, client: &mut Client<'_>, patience: Duration) -> Result<ResponseHead, Broken> {
    loop {
        let head = client.unless_gone(answer.head()).await?.map_err(Broken::Unanswered)?;
        match head.status() {
            101 => return Err(Broken::Midway("the endpoint switched protocols, which nobody asked for".into())),
            100 => {}
            102..200 => client.interim(&head, patience).await.map_err(took_no_more).map_err(Broken::Midway)?,
            _ => return Ok(head),
        }
    }
}

/// Records and forwards everything but the last piece, which is returned: it is released with the completed record.
async fn body(
    answer: &mut Answer,
    client: &mut Client<'_>,
    response: &mut Response,
    exchange: &mut audit::Exchange,
) -> Result<Piece, String> {
    loop {
        let piece = next_piece(answer, client, response.patience).await?;
        if !piece.content.is_empty() {
            response.bytes += piece.content.len() as u64;
            if let Some(summary) = &mut response.summary {
                summary.feed(&piece.content);
            }
            exchange.chunk(&piece.content).await.map_err(|e| format!("the response could not be recorded: {e}"))?;
        }
        if piece.last {
            return Ok(piece);
        }
        client.pass(&piece, response.patience).await.map_err(took_no_more)?;
        answer.passed(&piece);
    }
}

/// The next piece. What is held of the response is released before anything is waited for.
async fn next_piece(answer: &mut Answer, client: &mut Client<'_>, patience: Duration) -> Result<Piece, String> {
    let mut piece = pin!(answer.piece());
    let ready = std::future::poll_fn(|cx| match piece.as_mut().poll(cx) {
        Poll::Ready(piece) => Poll::Ready(Some(piece)),
        Poll::Pending => Poll::Ready(None),
    });
    let piece = match ready.await {
        Some(piece) => piece,
        None => {
            client.flush(patience).await.map_err(took_no_more)?;
            client.unless_gone(piece).await.map_err(|Gone| CLIENT_GONE.to_owned())?
        }
    };
    piece.map_err(|failure| failure.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn took_no_more(error: std::io::Error) -> String {
    format!("the client took no more of the response: {error}")
}

/// Ends an exchange whose client went away before its request was sent whole.
pub(super) async fn abandon(progress: &Progress, exchange: audit::Exchange) -> Next {
    abort(progress, exchange, None, CLIENT_GONE.into()).await
}

/// Completes the record, then releases the last bytes: whoever has the whole response finds it in the log.
async fn finish(
    client: &mut Client<'_>,
    progress: &Progress,
    exchange: audit::Exchange,
    response: &mut Response,
    last: &Piece,
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
    let forwarded = client.pass(last, response.patience).await;
    if let Err(e) = durable.await {
        log::error!("the end of {} is not in the audit log: {e}", progress.id);
        return Next::Abort;
    }
    if forwarded.is_ok() { next } else { Next::Abort }
}

async fn abort(
    progress: &Progress,
    exchange: audit::Exchange,
    response: Option<&mut Response>,
    reason: String,
) -> Next {
    let completion = response.map_or_else(|| record::unanswered(progress), |response| response.completion(progress));
    let completion = Completion { state: audit::State::Aborted, reason: Some(reason), ..completion };
    if let Err(e) = exchange::ended(exchange, &completion).await {
        log::error!("the end of {} is not in the audit log: {e}", progress.id);
    }
    Next::Abort
}

impl Response {
    fn completion(&mut self, progress: &Progress) -> Completion {
        let outcome = self.summary.take().map(Summary::finish).unwrap_or_default();
        let mut timing = progress.record.timing.clone();
        timing.first_byte_us = Some(record::micros(self.first_byte.duration_since(progress.started)));
        timing.total_us = Some(record::micros(progress.started.elapsed()));
        Completion {
            response: record::response(self.status, self.bytes, &outcome),
            timing,
            ..Completion::default()
        }
    }
}

impl From<Gone> for Broken {
    fn from(_: Gone) -> Self {
        Self::Midway(CLIENT_GONE.into())
    }
}
