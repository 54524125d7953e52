//! The endpoint's HTTP: routes requests, and sends answers whole or as server-sent events.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, TRAILER};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::answer::Wishes;
use super::hold::Holds;
use super::pieces::Pieces;
use super::record::Recorder;
use super::transcript::Transcript;
use super::{anthropic, openai};

/// What a provider's half answers with.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A status and a document.
    Json(u16, Value),
    /// Server-sent events.
    Events(Vec<Event>),
}

/// One server-sent event.
#[derive(Debug)]
pub(crate) struct Event {
    /// Its lines, and the empty line that ends it.
    pub(crate) lines: String,
    /// Whether it carries a piece of the answer's text.
    pub(crate) speaks: bool,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Answers requests.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    recorder: Recorder,
    holds: Holds,
}

/// Runs what hyper wants to run beside a connection: on this thread, like everything here.
#[derive(Clone, Copy, Debug)]
struct ThisThread;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for ThisThread {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

impl Service {
    /// Requests over HTTP/2 are kept by `recorder`; those over HTTP/1.1 were, as bytes, before they come here.
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self { recorder, holds: Holds::default() }
    }

    /// Answers the requests of one connection with HTTP/1.1.
    pub(crate) async fn http_1<S>(&self, stream: S) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(|request| self.clone().exchange(request)))
            .with_upgrades()
            .await
            .context("HTTP/1.1")
    }

    /// Answers the requests of one connection with HTTP/2.
    pub(crate) async fn http_2<S>(&self, stream: S) -> Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        hyper::server::conn::http2::Builder::new(ThisThread)
            .enable_connect_protocol()
            .serve_connection(TokioIo::new(stream), service_fn(|request| self.clone().exchange(request)))
            .await
            .context("HTTP/2")
    }

    async fn exchange(self, request: Request<Incoming>) -> Result<Answer, hyper::Error> {
        static EXCHANGES: AtomicU64 = AtomicU64::new(1);
        let number = EXCHANGES.fetch_add(1, Ordering::Relaxed);
        let (head, body) = request.into_parts();
        let body = self.receive(&head, body).await?;
        let anthropic = host(&head).starts_with("api.anthropic.com") || head.headers.contains_key("anthropic-version");
        let error = if anthropic { anthropic::error } else { openai::error };
        let wishes = match Wishes::read(&head.headers) {
            Ok(wishes) => wishes,
            Err(name) => {
                let reply = error(400, &format!("the value of {name} makes no sense"));
                return Ok(self.send(reply, Wishes::default()).await);
            }
        };
        let reply = match (&head.method, head.uri.path()) {
            (&Method::POST, "/v1/chat/completions") => openai::chat(&body, &wishes, number),
            (&Method::POST, "/v1/messages") => anthropic::messages(&body, &wishes, number),
            (&Method::GET, "/v1/models") if anthropic => anthropic::models(),
            (&Method::GET, "/v1/models") => openai::models(),
            (method, path) => error(404, &format!("Invalid URL ({method} {path})")),
        };
        let answer = self.send(reply, wishes).await;
        // hyper leaves the body out over HTTP/1.1 only.
        let silent = head.method == Method::HEAD && head.version == Version::HTTP_2;
        Ok(if silent { answer.map(|_| Full::default().boxed()) } else { answer })
    }

    /// Reads a body to its end.
    async fn receive(&self, head: &Parts, mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
        let is_text = head.version != Version::HTTP_2;
        let mut transcript = (!is_text).then(|| Transcript::new(head, self.recorder.clone()));
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            if let Some(bytes) = frame.data_ref() {
                whole.extend_from_slice(bytes);
                transcript.iter_mut().for_each(|transcript| transcript.body(bytes));
            } else if let Some(trailers) = frame.trailers_ref() {
                transcript.iter_mut().for_each(|transcript| transcript.trailers(trailers));
            }
        }
        if let Some(transcript) = transcript {
            transcript.finish();
        }
        Ok(whole)
    }

    async fn send(self, reply: Reply, wishes: Wishes) -> Answer {
        let trailers = wishes.trailers.clone();
        let (status, kind, body) = match reply {
            Reply::Json(status, document) => {
                if let Some(pause) = wishes.pause {
                    tokio::time::sleep(pause).await;
                }
                let text = Bytes::from(document.to_string());
                let body = if trailers.is_empty() { Full::from(text).boxed() } else { trailed(text, wishes.trailers) };
                (status, "application/json", body)
            }
            Reply::Events(events) => (200, "text/event-stream; charset=utf-8", self.stream(events, wishes)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        // HTTP/1.1 sends only what was announced (RFC 9110, section 6.6.2), and only where `TE: trailers` allows it.
        for name in trailers.keys() {
            response.headers_mut().append(TRAILER, name.clone().into());
        }
        response
    }

    /// A body that sends one event at a time.
    fn stream(self, events: Vec<Event>, wishes: Wishes) -> BoxBody<Bytes, Infallible> {
        let (sender, body) = Pieces::new();
        tokio::task::spawn_local(async move {
            let count = events.len();
            let mut sent = 0;
            tokio::select! {
                () = self.speak(events, wishes, &sender, &mut sent) => {}
                // Nobody listens any more: there is no one left to answer.
                () = sender.closed() => eprintln!("endpoint: an answer was cancelled after {sent} of {count} events"),
            }
        });
        body.boxed()
    }

    /// The wish to hold counts from the first event with a piece of the text.
    async fn speak(&self, events: Vec<Event>, wishes: Wishes, sender: &mpsc::Sender<Frame<Bytes>>, sent: &mut usize) {
        let mut hold = wishes.hold.as_deref();
        for event in events {
            if sender.send(Frame::data(Bytes::from(event.lines))).await.is_err() {
                // Whoever waits for this sees it too.
                return std::future::pending().await;
            }
            *sent += 1;
            if event.speaks {
                tokio::time::sleep(wishes.between()).await;
                let Some(path) = hold.take() else { continue };
                if tokio::time::timeout(wishes.patience(), self.holds.wait(path)).await.is_err() {
                    // The answer stays unfinished, so that whoever held back its first piece is found out.
                    eprintln!("endpoint: nobody made {}", path.display());
                    return;
                }
            }
        }
        if !wishes.trailers.is_empty() {
            let _ = sender.send(Frame::trailers(wishes.trailers)).await;
        }
    }
}

fn host(head: &Parts) -> &str {
    let authority = head.uri.authority().map(Authority::as_str);
    authority.or_else(|| head.headers.get(HOST)?.to_str().ok()).unwrap_or_default()
}

fn trailed(text: Bytes, trailers: HeaderMap) -> BoxBody<Bytes, Infallible> {
    let (sender, body) = Pieces::new();
    tokio::task::spawn_local(async move {
        for frame in [Frame::data(text), Frame::trailers(trailers)] {
            let _ = sender.send(frame).await;
        }
    });
    body.boxed()
}
