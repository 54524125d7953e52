//! Connections beyond the limit: told so in the provider's own words, as far as there is room for that.
//!
//! A client that is simply closed takes the endpoint for broken, and tries again at once. One that is answered waits as
//! long as it is told to. Answering costs a handshake, so few are answered at once, for a short time, and nobody is asked who
//! they are; the rest is closed without a word.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use super::first::{First, classify};
use super::linger;
use super::opening::Side;
use super::reply::{self, Refusal};
use super::worker::Worker;
use crate::capture::{Endpoint, Flow, Protocol};
use crate::http::{self, Reader, RequestHead};
use crate::sys::Stream;
use crate::tls::{self, Alpn};

/// From the first byte to the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the client reads.
const MESSAGE: &str = "the interceptor on this host has too many connections open; try again in a moment \
                       [rule limits.connections]";

/// Answers a connection for which there is no room, if its user and all together do not have too many of these too.
pub(super) async fn turn_away(worker: &Rc<Worker>, flow: &Flow, stream: Stream) {
    let Ok(_place) = worker.shared.budget.courtesy(flow.uid) else { return };
    let deadline = Instant::now() + PATIENCE;
    // Whoever does not speak in time, or to no endpoint, is closed as the others are.
    let _ = timeout_at(deadline, hear_and_tell(worker, flow, stream, deadline)).await;
}

/// None where there is nobody to tell.
async fn hear_and_tell(worker: &Worker, flow: &Flow, stream: Stream, deadline: Instant) -> Option<()> {
    let mut side = Side::new(stream);
    let first = loop {
        match classify(side.reader.buffered()) {
            Some(first) => break first,
            None if side.fill().await.ok()? == 0 => return None,
            None => {}
        }
    };
    match first {
        First::Tls => over_tls(worker, flow, side, deadline).await,
        First::Http => in_plain(worker, flow, side).await,
        First::Socks | First::Other => None,
    }
}

async fn over_tls(worker: &Worker, flow: &Flow, mut side: Side, deadline: Instant) -> Option<()> {
    let read = side.reader.take_all();
    let hello = tls::accept(side.stream, &read, deadline).await.ok()?;
    let name = hello.sni.clone()?;
    let endpoint = worker.shared.catalogue.find(name.as_ref().trim_end_matches('.'), flow.original.port())?;
    let (endpoint, leaf) = (Arc::clone(endpoint), worker.shared.leaves.server_config(&name, &[Alpn::Http11]).ok()?);
    let mut session = hello.intercept(leaf, deadline).await.ok()?;
    let head = Reader::default().request_head(&mut session, &worker.shared.settings.http).await.ok()??;
    tell(worker, &mut session, Some(&endpoint), &head).await
}

async fn in_plain(worker: &Worker, flow: &Flow, mut side: Side) -> Option<()> {
    let head = side.reader.request_head(&mut side.stream, &worker.shared.settings.http).await.ok()??;
    let catalogue = &worker.shared.catalogue;
    let found = catalogue.by_address(flow.original.ip(), flow.original.port());
    let endpoint = found.filter(|endpoint| endpoint.protocol == Protocol::Http).cloned();
    tell(worker, &mut side.stream, endpoint.as_deref(), &head).await
}

async fn tell<S>(worker: &Worker, stream: &mut S, endpoint: Option<&Endpoint>, head: &RequestHead) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut answer =
        reply::render(endpoint.map(|endpoint| endpoint.provider), Refusal::Overloaded, MESSAGE, None, true);
    if head.method() == "HEAD" {
        answer.body.clear();
    }
    http::write(stream, &answer.to_bytes(), worker.shared.settings.client.patience).await.ok()?;
    linger::close(stream).await;
    Some(())
}
