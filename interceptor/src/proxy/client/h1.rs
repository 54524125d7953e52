//! A client that speaks HTTP/1: request after request on one connection.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{Client, Gone, Pipe};
use crate::flow::ExchangeId;
use crate::http::{
    self, BodyFraming, Limits, ReadError, Reader, ReceivedBody, RequestHead, ResponseHead, Version, encode_chunk,
    encode_last_chunk,
};
use crate::proxy::connection::{ClientStream, Connection};
use crate::proxy::drain::Phase;
use crate::proxy::exchange::{self, Next, Rejection};
use crate::proxy::linger;
use crate::proxy::reply::Reply;
use crate::proxy::socket::End;
use crate::tls::Session;
use crate::upstream::Piece;

/// A client may pipeline this much while its response is still coming; more waits in its socket.
const PIPELINED: usize = 64 << 10;

/// The client's connection.
pub(in crate::proxy) struct Conversation {
    pub(in crate::proxy) stream: ClientStream,
    pub(in crate::proxy) reader: Reader,
}

/// One exchange on it.
pub(in crate::proxy) struct Exchange<'a> {
    pub(in crate::proxy) on: &'a mut Conversation,
    /// The head of the response until the first of its body goes along with it.
    held: Vec<u8>,
    /// How the body is framed, where its endpoint did not frame it for HTTP/1.
    framing: Framing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// As the endpoint did it, or not at all.
    AsIs,
    /// In chunks of ours.
    Chunks,
}

/// Serves a client to its end.
pub(in crate::proxy) async fn serve(connection: Rc<Connection>, stream: ClientStream, reader: Reader) {
    let mut conversation = Conversation { stream, reader };
    while conversation.wait_for_request(&connection).await {
        let settings = &connection.worker.shared.settings;
        let (limits, deadline) = (settings.http, settings.client.head);
        let started = Instant::now();
        let read = timeout(deadline, conversation.reader.request_head(&mut conversation.stream, &limits)).await;
        let head = match read {
            Ok(Ok(Some(head))) => Ok(head),
            Ok(Ok(None) | Err(ReadError::Io(_))) => return conversation.close(&connection).await,
            Ok(Err(e)) => Err(Rejection::unreadable(&e)),
            Err(_) => Err(Rejection::timeout("limits.header_timeout_s")),
        };
        let id = ExchangeId::new();
        let mut client = Client::H1(Exchange::on(&mut conversation));
        let next = match head {
            // Its future is large, and the wait for the next one long.
            Ok(head) => Box::pin(exchange::run(&connection, &mut client, id, started, head)).await,
            Err(rejection) => {
                Box::pin(exchange::reject_unparsed(&connection, &mut client, id, started, rejection)).await
            }
        };
        match next {
            Next::KeepAlive => {}
            Next::Close => return conversation.close(&connection).await,
            // The client must not take what it got for the whole: no close_notify.
            Next::Abort => return,
        }
    }
    conversation.close(&connection).await;
}

impl Conversation {
    /// Waits for the first byte of a request; false when there will be none.
    async fn wait_for_request(&mut self, connection: &Connection) -> bool {
        let shared = &connection.worker.shared;
        if !self.reader.buffered().is_empty() {
            return true;
        }
        tokio::select! {
            read = self.reader.fill(&mut self.stream) => matches!(read, Ok(1..)),
            () = tokio::time::sleep(shared.settings.client.keep_alive) => false,
            () = shared.drain.reaches(Phase::Stopping) => false,
        }
    }

    async fn close(&mut self, connection: &Connection) {
        // The client may be gone already; nothing is lost then.
        let deadline = connection.worker.shared.settings.client.patience;
        if let Ok(Err(e)) = timeout(deadline, self.stream.shutdown()).await {
            log::debug!("closing a client connection: {e}");
        }
    }
}

impl<'a> Exchange<'a> {
    fn on(conversation: &'a mut Conversation) -> Self {
        Self { on: conversation, held: Vec::new(), framing: Framing::AsIs }
    }

    pub(super) async fn body(
        &mut self,
        head: &RequestHead,
        limits: &Limits,
        patience: Duration,
        admit: impl FnMut(usize) -> bool,
    ) -> Result<ReceivedBody, ReadError> {
        let Conversation { stream, reader } = &mut *self.on;
        if head.expects_continue() && head.framing() != BodyFraming::None && reader.buffered().is_empty() {
            http::write(stream, b"HTTP/1.1 100 Continue\r\n\r\n", patience).await?;
        }
        reader.body(stream, head.framing(), limits, admit).await
    }

    pub(super) async fn unless_gone<T>(&mut self, wanted: impl Future<Output = T>) -> Result<T, Gone> {
        let Conversation { stream, reader } = &mut *self.on;
        let is_plain = matches!(stream, Session::Plain(_));
        let mut wanted = pin!(wanted);
        while reader.buffered().len() < PIPELINED {
            tokio::select! {
                biased;
                value = &mut wanted => return Ok(value),
                read = reader.fill(stream) => match read {
                    Ok(1..) => {}
                    // Without TLS, the end of what it says is not the end of it: it may well wait for the answer. Under TLS
                    // it is what every client says when it leaves, and what servers take for that.
                    Ok(0) if is_plain => break,
                    Ok(0) | Err(_) => return Err(Gone),
                },
            }
        }
        Ok(wanted.await)
    }

    pub(super) async fn interim(&mut self, head: &ResponseHead, patience: Duration) -> io::Result<()> {
        http::write(&mut self.on.stream, &head.render(), patience).await
    }

    pub(super) fn begin(&mut self, mut head: ResponseHead, request: &RequestHead, last: bool) -> io::Result<()> {
        let unframed = head.is_unframed() && head.framing(request.method()) == BodyFraming::UntilClose;
        // HTTP/1.0 has no chunks: the end of the connection is that of the body.
        if unframed && request.version() == Version::Http11 && head.version() != Version::Http10 {
            head.fields_mut().push("transfer-encoding", b"chunked");
            self.framing = Framing::Chunks;
        }
        // A client that would send another request here learns that it cannot.
        self.held = if request.keep_alive() && last { head.render_last() } else { head.render() };
        Ok(())
    }

    pub(super) async fn flush(&mut self, patience: Duration) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        http::write(&mut self.on.stream, &held, patience).await
    }

    pub(super) async fn pass(&mut self, piece: &Piece, patience: Duration) -> io::Result<()> {
        let mut out = std::mem::take(&mut self.held);
        match (&piece.raw, self.framing) {
            (Some(raw), _) => out.extend_from_slice(raw),
            (None, Framing::AsIs) => out.extend_from_slice(&piece.content),
            (None, Framing::Chunks) => {
                encode_chunk(&mut out, &piece.content);
                if piece.last {
                    encode_last_chunk(&mut out, &piece.trailers);
                }
            }
        }
        if out.is_empty() { Ok(()) } else { http::write(&mut self.on.stream, &out, patience).await }
    }

    pub(super) async fn switch(
        &mut self,
        head: &ResponseHead,
        patience: Duration,
    ) -> io::Result<End<Box<dyn Pipe + '_>>> {
        let Conversation { stream, reader } = &mut *self.on;
        http::write(stream, &head.render(), patience).await?;
        Ok(End { stream: Box::new(stream), buffered: reader.take_all() })
    }

    pub(super) async fn reply(&mut self, reply: Reply, next: Next, patience: Duration) -> Next {
        match http::write(&mut self.on.stream, &reply.to_bytes(), patience).await {
            Ok(()) if next == Next::KeepAlive => Next::KeepAlive,
            Ok(()) => {
                linger::close(&mut self.on.stream).await;
                Next::Close
            }
            Err(_) => Next::Close,
        }
    }
}
