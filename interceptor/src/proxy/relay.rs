//! The way back: the response is recorded and forwarded as it comes.

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::client::{Client, Gone};
use super::connection::Connection;
use super::exchange::{self, Next, Progress, Rejection, Sent};
use super::record;
use super::restore::Restoring;
use super::session::{self, Agreed};
use super::settings::EndpointTimeouts;
use crate::audit::{self, Completion};
use crate::flow::Provider;
use crate::http::coding::Decoder;
use crate::http::{BodyFraming, Codings, ResponseHead, Version};
use crate::upstream::{Answer, Failure, Piece};
use crate::wire::{Outcome, Summary};

/// In the record of a request whose client did not wait.
pub(super) const CLIENT_GONE: &str = "the client closed the connection";

/// Why a response did not reach its end.
enum Broken {
    /// Before anything of it was forwarded: the client can be told.
    Unanswered(Failure),
    /// Later, or the client is gone: all that is left is to say so in the record.
    Midway(String),
}

/// How long either side is waited for.
struct Wait {
    /// For the client to take something.
    patience: Duration,
    timeouts: EndpointTimeouts,
    /// When the request had been sent.
    began: tokio::time::Instant,
}

/// A response that is being forwarded.
struct Response {
    wait: Wait,
    observer: Observer,
    restoring: Restoring,
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
    sent: Sent<'_>,
    mut answer: Answer,
) -> Next {
    let request = sent.head;
    let stays = connection.stays(request);
    let settings = &connection.worker.shared.settings;
    let timeouts = settings.timeouts_of(&connection.peer.endpoint);
    let wait = Wait { patience: settings.client.patience, timeouts, began: tokio::time::Instant::now() };
    let mut head = match Box::pin(head(&mut answer, client, &wait)).await {
        Ok(head) => head,
        Err(Broken::Unanswered(failure)) => {
            let rejection = Rejection::unanswered(&failure);
            let next = if stays { Next::KeepAlive } else { Next::Close };
            return Box::pin(exchange::fail(connection, client, progress, exchange, rejection, next)).await;
        }
        Err(Broken::Midway(reason)) => return Box::pin(abort(&progress, exchange, None, reason)).await,
    };
    if head.status() == 101 {
        return match sent.upgrade {
            Some(upgrade) => {
                let agreed = Agreed { progress, exchange, answer, head };
                Box::pin(session::run(connection, client, upgrade, agreed)).await
            }
            None => {
                let reason = "the endpoint switched protocols, which nobody asked for".into();
                Box::pin(abort(&progress, exchange, None, reason)).await
            }
        };
    }
    if sent.upgrade.is_some() && matches!(client, Client::H2(_)) && (200..300).contains(&head.status()) {
        // Over HTTP/2 that would mean a session (RFC 8441, 5), which the endpoint did not agree to.
        let rejection =
            Rejection::upstream("upstream.websocket", "the endpoint answers, and does not switch protocols");
        return Box::pin(exchange::fail(connection, client, progress, exchange, rejection, Next::KeepAlive)).await;
    }
    let reserved = connection.worker.shared.budget.reserve(connection.peer.flow.uid);
    // A body of HTTP/1 that ends with its connection ends the client's too.
    let unframed = head.framing(request.method()) == BodyFraming::UntilClose;
    let mut response = Response {
        wait,
        observer: Observer::of(connection.peer.endpoint.provider, &head),
        restoring: sent.restorable.begin(request.method(), &mut head, reserved),
        status: head.status(),
        bytes: 0,
        first_byte: Instant::now(),
    };
    let reframed = response.restoring.is_under_way();
    // HTTP/1.0 has no chunks to frame a body with whose length nobody says.
    let chunks = head.version() != Version::Http10 && request.version() != Version::Http10;
    let ends = match head.version() {
        _ if (reframed || unframed) && !chunks => true,
        Version::Http2 => false,
        Version::Http10 | Version::Http11 => (unframed && !reframed) || !head.keep_alive(),
    };
    let next = if stays && !ends { Next::KeepAlive } else { Next::Close };
    // It would lead the client to QUIC, around the interceptor.
    head.fields_mut().remove("alt-svc");
    let completed = match client.begin(head, request, !stays || (reframed && ends)) {
        Ok(()) => body(&mut answer, client, &mut response, &mut exchange).await,
        Err(e) => Err(format!("the response cannot be written in the client's version of HTTP: {e}")),
    };
    match completed {
        Ok(last) => {
            let next = Box::pin(finish(client, &progress, exchange, &mut response, &last, next)).await;
            // A connection that was asked for a session was opened for that alone.
            if let Some(reusable) = answer.reusable().filter(|_| sent.upgrade.is_none()) {
                connection.give_back(reusable);
            }
            next
        }
        Err(reason) => {
            if let Some(held) = response.restoring.cut_off()
                && let Err(e) = client.pass(&held, response.wait.patience).await
            {
                log::debug!("what was held of the answer to {} is lost: {e}", progress.id);
            }
            Box::pin(abort(&progress, exchange, Some(&mut response), reason)).await
        }
    }
}

/// Reads what a response says about itself, compressed or not. What cannot be read tells it nothing, and changes nothing
/// about what the client gets.
struct Observer {
    /// None once it has been read out.
    summary: Option<Summary>,
    /// None when the content cannot be read, or not any further.
    decoder: Option<Decoder>,
}

impl Observer {
    /// Bytes of content that are looked at.
    const MOST: u64 = 64 << 20;

    fn of(provider: Provider, head: &ResponseHead) -> Self {
        let fields = head.fields();
        let decoder = Codings::of(fields).ok().map(|codings| codings.decoder(Self::MOST));
        let kind = fields.get("content-type").filter(|_| decoder.is_some());
        let summary = Summary::new(provider, kind.and_then(|kind| std::str::from_utf8(kind).ok()));
        Self { summary: Some(summary), decoder }
    }

    fn see(&mut self, content: &[u8]) {
        let (Some(summary), Some(decoder)) = (&mut self.summary, &mut self.decoder) else { return };
        let seen = decoder.each(content, &mut |piece| {
            summary.feed(piece);
            Ok(())
        });
        if seen.is_err() {
            self.decoder = None;
        }
    }

    fn outcome(&mut self) -> Outcome {
        self.summary.take().map(Summary::finish).unwrap_or_default()
    }
}

/// The final response head. Interim ones are forwarded, but for the `100 Continue` that the proxy has given itself.
async fn head(answer: &mut Answer, client: &mut Client<'_>, wait: &Wait) -> Result<ResponseHead, Broken> {
    loop {
        let head = client.unless_gone(wait.within(wait.timeouts.response, answer.head())).await?;
        let head = head.map_err(Broken::Unanswered)?;
        match head.status() {
            100 => {}
            101 => return Ok(head),
            102..200 => client.interim(&head, wait.patience).await.map_err(took_no_more).map_err(Broken::Midway)?,
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
        let piece = next_piece(answer, client, &response.wait).await?;
        if !piece.content.is_empty() {
            response.bytes += piece.content.len() as u64;
            response.observer.see(&piece.content);
            exchange.chunk(&piece.content).await.map_err(|e| format!("the response could not be recorded: {e}"))?;
        }
        let (last, length) = (piece.last, piece.content.len());
        if let Some(piece) = response.restoring.pass(piece) {
            if last {
                return Ok(piece);
            }
            client.pass(&piece, response.wait.patience).await.map_err(took_no_more)?;
        }
        answer.passed(length);
    }
}

/// The next piece. What is held of the response is released before anything is waited for.
async fn next_piece(answer: &mut Answer, client: &mut Client<'_>, wait: &Wait) -> Result<Piece, String> {
    let mut piece = pin!(wait.within(wait.timeouts.idle, answer.piece()));
    let ready = std::future::poll_fn(|cx| match piece.as_mut().poll(cx) {
        Poll::Ready(piece) => Poll::Ready(Some(piece)),
        Poll::Pending => Poll::Ready(None),
    });
    let piece = match ready.await {
        Some(piece) => piece,
        None => {
            client.flush(wait.patience).await.map_err(took_no_more)?;
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
    let forwarded = client.pass(last, response.wait.patience).await;
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

impl Wait {
    /// What is awaited of the endpoint, if it comes in time.
    async fn within<T>(&self, limit: Duration, wanted: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let (soon, total) = (tokio::time::Instant::now() + limit, self.began + self.timeouts.total);
        match tokio::time::timeout_at(soon.min(total), wanted).await {
            Ok(result) => result,
            Err(_) if total < soon => Err(Failure::Total(self.timeouts.total)),
            Err(_) => Err(Failure::Idle(limit)),
        }
    }
}

impl Response {
    fn completion(&mut self, progress: &Progress) -> Completion {
        let outcome = self.observer.outcome();
        let mut completion = record::unanswered(progress);
        completion.timing.first_byte_us = Some(record::micros(self.first_byte.duration_since(progress.started)));
        completion.response = record::response(self.status, self.bytes, &outcome);
        self.restoring.describe(&mut completion.response);
        completion
    }
}

impl From<Gone> for Broken {
    fn from(_: Gone) -> Self {
        Self::Midway(CLIENT_GONE.into())
    }
}
