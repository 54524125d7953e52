//! A connection of HTTP/2 to an endpoint, and one request on it (RFC 9113).

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use tokio::time::timeout;

use super::{Failure, Outgoing, Piece, UpstreamStream, content};
use crate::http::{
    self, BodyFraming, Limits, ReadError, RequestHead, ResponseHead, send_bounded, trailers_from_h2, trailers_to_h2,
};

/// What an endpoint may send before any of it was passed on: of one stream, and of all together. As many streams that nobody
/// reads as fit the second hold up the others of the same client's connection, and nobody else's.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A connection that other requests use too.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    sender: SendRequest<Bytes>,
    state: Rc<State>,
    limits: Limits,
    /// How long the endpoint may give no window.
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    streams: Cell<usize>,
    /// It has ended, or the endpoint takes no more requests on it.
    ended: Cell<bool>,
}

/// The right to send one request.
#[derive(Debug)]
pub struct Connection {
    shared: Shared,
    stream: Stream,
}

/// One of the streams that are counted.
#[derive(Debug)]
struct Stream(Rc<State>);

/// A request that was sent.
#[derive(Debug)]
pub struct Answer {
    response: Response,
    shared: Shared,
    /// Kept, for dropping it would end the stream; elsewhere, while the request is still being passed on.
    sending: Option<SendStream<Bytes>>,
    method: String,
    /// Interim responses that came while the request was being sent.
    interims: VecDeque<::http::Response<()>>,
    /// No content may come: after HEAD, with 204 and 304.
    bodiless: bool,
    _stream: Stream,
}

/// The body of a request that is passed on as it comes.
#[derive(Debug)]
pub struct Sink(SendStream<Bytes>);

#[derive(Debug)]
enum Response {
    Awaited(ResponseFuture),
    Early(::http::Response<RecvStream>),
    Body(RecvStream),
    Gone,
}

impl Shared {
    /// Opens HTTP/2 over a session, and keeps it going on this thread.
    pub(super) async fn open(stream: UpstreamStream, limits: Limits, patience: Duration) -> Result<Self, h2::Error> {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
            .max_send_buffer_size(64 << 10);
        let (sender, connection) = builder.handshake(stream).await?;
        let state = Rc::new(State::default());
        let ended = Rc::clone(&state);
        tokio::task::spawn_local(async move {
            if let Err(e) = connection.await {
                log::debug!("a connection of HTTP/2 to an endpoint ended: {e}");
            }
            ended.ended.set(true);
        });
        Ok(Self { sender, state, limits: limits.streaming(), patience })
    }

    /// Whether nobody uses it.
    pub(super) fn is_idle(&self) -> bool {
        self.state.streams.get() == 0
    }

    /// Whether it can take no more requests, ever.
    pub(super) fn is_ended(&self) -> bool {
        self.state.ended.get()
    }

    /// A stream, if the endpoint allows one more.
    pub(super) async fn lease(&mut self) -> Option<Connection> {
        if self.is_ended() || self.state.streams.get() >= self.sender.current_max_send_streams() {
            return None;
        }
        match timeout(Duration::ZERO, poll_fn(|cx| self.sender.poll_ready(cx))).await {
            Ok(Ok(())) => {}
            // Full for the moment.
            Err(_) => return None,
            Ok(Err(_)) => {
                self.state.ended.set(true);
                return None;
            }
        }
        self.state.streams.set(self.state.streams.get() + 1);
        Some(Connection { shared: self.clone(), stream: Stream(Rc::clone(&self.state)) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
    }
}

impl Connection {
    pub(super) async fn send(mut self, outgoing: Outgoing<'_>) -> Result<Answer, Failure> {
        let content = content(&outgoing)?;
        let mut head = outgoing.head.to_h2().map_err(Failure::Untranslatable)?;
        if head.headers().contains_key("content-length") {
            head.headers_mut().insert("content-length", content.len().into());
        }
        let trailers = &outgoing.received.trailers;
        let trailers = (!trailers.is_empty()).then(|| trailers_to_h2(trailers)).transpose();
        let trailers = trailers.map_err(Failure::Untranslatable)?;
        let ended = content.is_empty() && trailers.is_none();
        let state = Rc::clone(&self.shared.state);
        let refused = |e| failure(e, &state);
        poll_fn(|cx| self.shared.sender.poll_ready(cx)).await.map_err(refused)?;
        let (response, mut sending) = self.shared.sender.send_request(head, ended).map_err(refused)?;
        let mut response = response;
        let mut interims = VecDeque::new();
        let last = trailers.is_none();
        let sent = if ended {
            Ok(())
        } else {
            tokio::select! {
                biased;
                sent = send_bounded(&mut sending, content, last, self.shared.patience) => sent,
                // An answer before the end of the request is the answer, and no more of the request is wanted.
                early = poll_fn(|cx| poll_early(&mut response, &mut interims, cx)) => {
                    let response = Response::Early(early.map_err(refused)?);
                    let method = outgoing.head.method();
                    let mut answer = Answer::new(response, self.shared, Some(sending), self.stream, method);
                    answer.interims = interims;
                    return Ok(answer);
                }
            }
        };
        match (sent, trailers) {
            // It gives no window; nothing else is to be heard of it either.
            (Err(e), _) if e.kind() == std::io::ErrorKind::TimedOut => return Err(Failure::Send(e)),
            // It called the rest off; its answer says why.
            (Err(e), _) => log::debug!("an endpoint took no more of a request: {e}"),
            (Ok(()), Some(trailers)) => sending.send_trailers(trailers).map_err(refused)?,
            (Ok(()), None) => {}
        }
        let response = Response::Awaited(response);
        let mut answer = Answer::new(response, self.shared, Some(sending), self.stream, outgoing.head.method());
        answer.interims = interims;
        Ok(answer)
    }

    pub(super) fn open(mut self, head: &RequestHead) -> Result<(Answer, Sink), Failure> {
        let request = head.to_h2().map_err(Failure::Untranslatable)?;
        let (response, sending) = self.shared.sender.send_request(request, false).map_err(Failure::Stream)?;
        let answer = Answer::new(Response::Awaited(response), self.shared, None, self.stream, head.method());
        Ok((answer, Sink(sending)))
    }
}

impl Answer {
    fn new(
        response: Response,
        shared: Shared,
        sending: Option<SendStream<Bytes>>,
        stream: Stream,
        method: &str,
    ) -> Self {
        Self {
            response,
            shared,
            sending,
            method: method.to_owned(),
            interims: VecDeque::new(),
            bodiless: false,
            _stream: stream,
        }
    }

    pub(super) async fn head(&mut self) -> Result<ResponseHead, Failure> {
        if let Some(interim) = self.interims.pop_front() {
            let head = ResponseHead::from_h2(interim.status(), interim.headers(), true, &self.shared.limits);
            return Ok(head.map_err(ReadError::Http)?);
        }
        let future = match std::mem::replace(&mut self.response, Response::Gone) {
            Response::Early(response) => return self.begun(response),
            Response::Awaited(future) => {
                self.response = Response::Awaited(future);
                let Response::Awaited(future) = &mut self.response else { unreachable!("put there just now") };
                future
            }
            other => {
                self.response = other;
                return Err(Failure::NoAnswer);
            }
        };
        let limits = &self.shared.limits;
        let next = poll_fn(|cx| {
            if let Poll::Ready(Some(interim)) = future.poll_informational(cx) {
                return Poll::Ready(interim.map(Err));
            }
            std::pin::Pin::new(&mut *future).poll(cx).map_ok(Ok)
        });
        match next.await {
            Err(e) => Err(failure(e, &self.shared.state)),
            Ok(Err(interim)) => {
                Ok(ResponseHead::from_h2(interim.status(), interim.headers(), true, limits).map_err(ReadError::Http)?)
            }
            Ok(Ok(response)) => self.begun(response),
        }
    }

    fn begun(&mut self, response: ::http::Response<RecvStream>) -> Result<ResponseHead, Failure> {
        let ended = response.body().is_end_stream();
        let head = ResponseHead::from_h2(response.status(), response.headers(), ended, &self.shared.limits);
        self.response = Response::Body(response.into_body());
        let head = head.map_err(ReadError::Http)?;
        self.bodiless = head.framing(&self.method) == BodyFraming::None;
        Ok(head)
    }

    pub(super) async fn piece(&mut self) -> Result<Piece, Failure> {
        let Response::Body(body) = &mut self.response else { return Err(Failure::NoAnswer) };
        match body.data().await {
            Some(Err(e)) => Err(Failure::Stream(e)),
            // Over HTTP/1 a client would take it for its next response.
            Some(Ok(content)) if self.bodiless && !content.is_empty() => {
                Err(ReadError::Http(http::Error::BodyForbidden).into())
            }
            Some(Ok(content)) => Ok(Piece { content, last: body.is_end_stream(), ..Piece::default() }),
            None => {
                let trailers = body.trailers().await.map_err(Failure::Stream)?;
                let trailers = trailers.map(|map| trailers_from_h2(&map)).transpose().map_err(ReadError::Http)?;
                Ok(Piece { trailers: trailers.unwrap_or_default().into(), last: true, ..Piece::default() })
            }
        }
    }

    pub(super) fn passed(&mut self, bytes: usize) {
        if let Response::Body(body) = &mut self.response {
            // It fails only when the stream is gone.
            let _ = body.flow_control().release_capacity(bytes);
        }
    }
}

impl Sink {
    /// Passes a piece on; an endpoint that gives no window for `patience` is given up.
    ///
    /// # Errors
    /// What the stream reports.
    pub async fn send(&mut self, piece: Bytes, patience: Duration) -> std::io::Result<()> {
        send_bounded(&mut self.0, piece, false, patience).await
    }

    /// Ends the request.
    ///
    /// # Errors
    /// What the stream reports.
    pub fn finish(&mut self, trailers: Option<::http::HeaderMap>) -> Result<(), h2::Error> {
        match trailers {
            Some(trailers) => self.0.send_trailers(trailers),
            None => self.0.send_data(Bytes::new(), true),
        }
    }

    /// Calls the request off.
    pub fn reset(&mut self, reason: Reason) {
        self.0.send_reset(reason);
    }
}

impl Drop for Answer {
    /// A response that nobody waits for any more is called off.
    fn drop(&mut self) {
        let done = matches!(&self.response, Response::Body(body) if body.is_end_stream());
        if let Some(sending) = self.sending.as_mut().filter(|_| !done) {
            sending.send_reset(Reason::CANCEL);
        }
    }
}

/// The final response, if it is there already; interim ones are kept on the way to it.
fn poll_early(
    response: &mut ResponseFuture,
    interims: &mut VecDeque<::http::Response<()>>,
    cx: &mut Context<'_>,
) -> Poll<Result<::http::Response<RecvStream>, h2::Error>> {
    while let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
        interims.push_back(interim?);
    }
    std::pin::Pin::new(response).poll(cx)
}

/// What an error says about the request (RFC 9113, 8.7): refused, or above the last stream that GOAWAY names, it was not
/// looked at.
fn failure(error: h2::Error, state: &State) -> Failure {
    if error.is_go_away() || error.is_io() {
        state.ended.set(true);
    }
    let unprocessed = error.reason() == Some(Reason::REFUSED_STREAM)
        || (error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR));
    if unprocessed { Failure::Unprocessed } else { Failure::Stream(error) }
}

impl From<http::Error> for Failure {
    fn from(error: http::Error) -> Self {
        Self::Response(error.into())
    }
}
