//! The endpoint's HTTP: routes requests, and sends answers whole or as server-sent events.

use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::Wishes;
use super::{anthropic, openai};

/// How often a held answer looks for the file it waits for.
const LOOK: Duration = Duration::from_millis(5);

/// How long an answer is held at most: a client that died never makes the file.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Answers the requests of one connection.
pub(crate) async fn answer<S>(stream: S) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(exchange))
        .await
        .context("HTTP")
}

async fn exchange(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    static EXCHANGES: AtomicU64 = AtomicU64::new(1);
    let number = EXCHANGES.fetch_add(1, Ordering::Relaxed);
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let anthropic = host.starts_with("api.anthropic.com") || head.headers.contains_key("anthropic-version");
    let error = if anthropic { anthropic::error } else { openai::error };
    let wishes = match Wishes::read(&head.headers) {
        Ok(wishes) => wishes,
        Err(name) => return Ok(send(error(400, &format!("{name} is not a number")), Wishes::default()).await),
    };
    let reply = match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/chat/completions") => openai::chat(&body, &wishes, number),
        (&Method::POST, "/v1/messages") => anthropic::messages(&body, &wishes, number),
        (&Method::GET, "/v1/models") if anthropic => anthropic::models(),
        (&Method::GET, "/v1/models") => openai::models(),
        (method, path) => error(404, &format!("Invalid URL ({method} {path})")),
    };
    Ok(send(reply, wishes).await)
}

async fn send(reply: Reply, wishes: Wishes) -> Response<BoxBody<Bytes, Infallible>> {
    let (status, kind, body) = match reply {
        Reply::Json(status, document) => {
            if let Some(pause) = wishes.pause {
                tokio::time::sleep(pause).await;
            }
            (status, "application/json", Full::from(document.to_string()).boxed())
        }
        Reply::Events(events) => (200, "text/event-stream; charset=utf-8", stream(events, wishes)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

/// A body that sends one event at a time. The wish to hold counts from the first event with a piece of the text.
fn stream(events: Vec<Event>, wishes: Wishes) -> BoxBody<Bytes, Infallible> {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
    tokio::task::spawn_local(async move {
        let mut hold = wishes.hold.clone();
        for event in events {
            // Nobody listens any more: there is no one left to answer.
            if sender.send_data(Bytes::from(event.lines)).await.is_err() {
                return;
            }
            if event.speaks {
                tokio::time::sleep(wishes.between()).await;
                if let Some(path) = hold.take() {
                    wait_for(&path).await;
                }
            }
        }
    });
    body.boxed()
}

async fn wait_for(path: &Path) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !path.exists() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
}
