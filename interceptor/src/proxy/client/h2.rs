//! A client that speaks HTTP/2: many exchanges at once on one connection (RFC 9113).

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::duplex::Duplex;
use super::{Client, Gone, Pipe};
use crate::flow::ExchangeId;
use crate::http::{
    self, BodyFraming, Codings, Limits, ReadError, ReceivedBody, RequestHead, ResponseHead, send_bounded,
    trailers_from_h2, trailers_to_h2,
};
use crate::proxy::connection::{ClientStream, Connection};
use crate::proxy::drain::Phase;
use crate::proxy::exchange::{self, Next, Rejection};
use crate::proxy::linger::LINGER;
use crate::proxy::reply::Reply;
use crate::upstream::Piece;

/// What a client may send of one request, and of all together, before any of it was admitted.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Streams that a client may reset before they were looked at, and that may fail by its fault, until its connection is
/// ended (CVE-2023-44487, CVE-2025-8671).
const RESETS: usize = 20;

/// What of a response waits in memory for a client that gives no window.
const SEND_BUFFER: usize = 64 << 10;

/// One exchange.
pub(in crate::proxy) struct Exchange {
    /// None once it was taken to be read elsewhere.
    body: Option<RecvStream>,
    respond: SendResponse<Bytes>,
    /// The head of the response until the first of its body goes along with it.
    held: Option<::http::Response<()>>,
    sending: Option<SendStream<Bytes>>,
    ended: bool,
}

/// Serves a client to its end.
pub(in crate::proxy) async fn serve(connection: Rc<Connection>, stream: ClientStream) {
    let settings = &connection.worker.shared.settings;
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(settings.streams_per_connection)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(settings.http.head).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(Some(RESETS))
        .max_concurrent_reset_streams(RESETS)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    let mut session = match timeout(settings.client.handshake, builder.handshake(stream)).await {
        Ok(Ok(session)) => session,
        Ok(Err(e)) => return log::debug!("a client does not speak HTTP/2 as agreed: {e}"),
        Err(_) => return,
    };
    let mut exchanges = JoinSet::new();
    let mut leaving = false;
    loop {
        let busy = !exchanges.is_empty();
        let draining = connection.worker.shared.drain.reaches(Phase::Draining);
        tokio::select! {
            accepted = session.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    exchanges.spawn_local(exchange(Rc::clone(&connection), request, respond));
                }
                Some(Err(e)) => break log::debug!("a connection of HTTP/2 with a client ended: {e}"),
                None => break,
            },
            Some(_) = exchanges.join_next() => {}
            () = draining, if !leaving => {
                session.graceful_shutdown();
                leaving = true;
            }
            () = connection.worker.shared.drain.reaches(Phase::Stopping), if !busy => {
                session.abrupt_shutdown(Reason::NO_ERROR);
                // Says so, as far as it is heard.
                let _ = timeout(Duration::from_secs(1), session.accept()).await;
                break;
            }
            () = tokio::time::sleep(settings.client.keep_alive), if !busy => {
                // Told once already and still there: it does not listen.
                if leaving {
                    break;
                }
                session.graceful_shutdown();
                leaving = true;
            }
        }
    }
    // What is under way has lost its client; it ends by itself, recorded.
    while exchanges.join_next().await.is_some() {}
}

async fn exchange(connection: Rc<Connection>, request: ::http::Request<RecvStream>, respond: SendResponse<Bytes>) {
    let (started, id) = (Instant::now(), ExchangeId::new());
    let (parts, body) = request.into_parts();
    let head = RequestHead::from_h2(&parts, body.is_end_stream(), &connection.worker.shared.settings.http);
    drop(parts);
    let exchange = Exchange { body: Some(body), respond, held: None, sending: None, ended: false };
    let mut client = Client::H2(Box::new(exchange));
    let slot = connection.worker.shared.budget.stream(connection.peer.flow.uid);
    let next = match head {
        Ok(_) if slot.is_err() => {
            let rejection = Rejection::overloaded("limits.streams", "too many requests are under way on this host");
            exchange::reject_unparsed(&connection, &mut client, id, started, rejection).await
        }
        Ok(head) => Box::pin(exchange::run(&connection, &mut client, id, started, head)).await,
        Err(e) => {
            let rejection = Rejection::unreadable(&ReadError::Http(e));
            exchange::reject_unparsed(&connection, &mut client, id, started, rejection).await
        }
    };
    if next == Next::Abort {
        client.abort();
    }
}

impl Exchange {
    pub(super) async fn body(
        &mut self,
        head: &RequestHead,
        limits: &Limits,
        mut admit: impl FnMut(usize) -> bool,
    ) -> Result<ReceivedBody, ReadError> {
        if head.expects_continue() && head.framing() != BodyFraming::None {
            let go_on = ::http::Response::builder().status(100).body(()).expect("a status alone is a response");
            self.respond.send_informational(go_on).map_err(broken)?;
        }
        if head.framing() == BodyFraming::None {
            // What follows an extended CONNECT is the session's.
            return Ok(ReceivedBody::default());
        }
        let Some(body) = &mut self.body else { return Err(ReadError::Truncated) };
        let mut content = BytesMut::new();
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(broken)?;
            if (content.len() + piece.len()) as u64 > limits.body {
                return Err(http::Error::BodyTooLarge { limit: limits.body }.into());
            }
            if !admit(piece.len()) {
                return Err(ReadError::NoRoom);
            }
            content.extend_from_slice(&piece);
            // It fails only when the stream is gone, and then so does the next read.
            let _ = body.flow_control().release_capacity(piece.len());
        }
        let trailers = body.trailers().await.map_err(broken)?;
        let trailers = trailers.map(|map| trailers_from_h2(&map)).transpose()?.unwrap_or_default();
        let content = content.freeze();
        Ok(ReceivedBody {
            raw: content.clone(),
            encoded: content.clone(),
            content,
            codings: Codings::default(),
            trailers: trailers.into(),
            extended: false,
            padded: false,
        })
    }

    pub(super) fn take_body(&mut self) -> Option<RecvStream> {
        self.body.take()
    }

    pub(super) async fn unless_gone<T>(&mut self, wanted: impl Future<Output = T>) -> Result<T, Gone> {
        let mut wanted = pin!(wanted);
        let Self { respond, sending, .. } = self;
        let reset = poll_fn(|cx| match sending {
            Some(sending) => sending.poll_reset(cx),
            None => respond.poll_reset(cx),
        });
        tokio::select! {
            biased;
            value = &mut wanted => Ok(value),
            _ = reset => Err(Gone),
        }
    }

    pub(super) fn interim(&mut self, head: &ResponseHead) -> io::Result<()> {
        let head = head.to_h2().map_err(io::Error::other)?;
        self.respond.send_informational(head).map_err(broken)
    }

    pub(super) fn begin(&mut self, head: &ResponseHead) -> io::Result<()> {
        self.held = Some(head.to_h2().map_err(io::Error::other)?);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.open(false)
    }

    fn open(&mut self, ended: bool) -> io::Result<()> {
        if let Some(head) = self.held.take() {
            self.sending = Some(self.respond.send_response(head, ended).map_err(broken)?);
            self.ended = ended;
        }
        Ok(())
    }

    pub(super) async fn pass(&mut self, piece: &Piece, patience: Duration) -> io::Result<()> {
        let bodiless = piece.content.is_empty() && piece.trailers.is_empty();
        self.open(piece.last && bodiless)?;
        let Some(sending) = self.sending.as_mut().filter(|_| !self.ended) else { return Ok(()) };
        let last = piece.last && piece.trailers.is_empty();
        send_bounded(sending, piece.content.clone(), last, patience).await?;
        if piece.last && !last {
            let trailers = trailers_to_h2(&piece.trailers).map_err(io::Error::other)?;
            sending.send_trailers(trailers).map_err(broken)?;
        }
        self.ended = piece.last;
        Ok(())
    }

    pub(super) fn switch(&mut self, head: &ResponseHead) -> io::Result<Box<dyn Pipe + '_>> {
        let head = head.to_h2_session().map_err(io::Error::other)?;
        let Some(body) = &mut self.body else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let sending = self.respond.send_response(head, false).map_err(broken)?;
        self.ended = true;
        Ok(Box::new(Duplex::new(body, sending)))
    }

    pub(super) async fn reply(&mut self, reply: Reply, patience: Duration) -> Next {
        let mut head = ::http::Response::builder().status(reply.status);
        for (name, value) in reply.fields {
            head = head.header(name, value);
        }
        self.held = Some(head.body(()).expect("the fields are of our own making"));
        let piece = Piece { content: reply.body.into(), last: true, ..Piece::default() };
        let sent = self.pass(&piece, patience);
        if sent.await.is_err() {
            return Next::Abort;
        }
        // What is still to come of the request is thrown away for a moment. Then it is called off (RFC 9113, 8.1), but there
        // are clients that take that for the end of the response too.
        let _gone_or_done = timeout(LINGER, self.discard()).await;
        Next::KeepAlive
    }

    async fn discard(&mut self) {
        let Some(body) = &mut self.body else { return };
        while let Some(Ok(piece)) = body.data().await {
            // It fails only when the stream is gone.
            let _ = body.flow_control().release_capacity(piece.len());
        }
    }

    pub(super) fn abort(&mut self) {
        if !self.ended {
            self.respond.send_reset(Reason::INTERNAL_ERROR);
            self.ended = true;
        }
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::other(error)
}
