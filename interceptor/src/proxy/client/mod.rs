//! The client's side of one exchange, over whichever version of HTTP it speaks.

mod duplex;
pub(super) mod h1;
pub(super) mod h2;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::exchange::Next;
use super::reply::Reply;
use super::socket::End;
use crate::http::{Limits, ReadError, ReceivedBody, RequestHead, ResponseHead};
use crate::upstream::Piece;

/// Whom a request came from, and who gets its response.
pub(super) enum Client<'a> {
    /// A connection of HTTP/1, which has one exchange at a time.
    H1(h1::Exchange<'a>),
    /// A stream of HTTP/2.
    H2(Box<h2::Exchange>),
}

/// What carries a session, whichever version of HTTP it was asked for over.
pub(super) trait Pipe: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Pipe for T {}

/// The client does not wait for its response any more.
#[derive(Debug)]
pub(super) struct Gone;

impl Client<'_> {
    /// The whole body of the request. `admit` is asked before more of it is held.
    pub(super) async fn body(
        &mut self,
        head: &RequestHead,
        limits: &Limits,
        patience: Duration,
        admit: impl FnMut(usize) -> bool,
    ) -> Result<ReceivedBody, ReadError> {
        match self {
            Self::H1(client) => client.body(head, limits, patience, admit).await,
            Self::H2(client) => client.body(head, limits, admit).await,
        }
    }

    /// The body of a request of HTTP/2, to be read elsewhere.
    pub(super) fn take_body(&mut self) -> Option<::h2::RecvStream> {
        match self {
            Self::H1(_) => None,
            Self::H2(client) => client.take_body(),
        }
    }

    /// Waits for something, but no longer than the client does.
    pub(super) async fn unless_gone<T>(&mut self, wanted: impl Future<Output = T>) -> Result<T, Gone> {
        match self {
            Self::H1(client) => client.unless_gone(wanted).await,
            Self::H2(client) => client.unless_gone(wanted).await,
        }
    }

    /// Passes an interim response (1xx) on.
    pub(super) async fn interim(&mut self, head: &ResponseHead, patience: Duration) -> io::Result<()> {
        match self {
            Self::H1(client) => client.interim(head, patience).await,
            Self::H2(client) => client.interim(head),
        }
    }

    /// Begins the response. It may be held until its first piece or [`Client::flush`]. `last`: the connection ends with it.
    pub(super) fn begin(&mut self, head: ResponseHead, request: &RequestHead, last: bool) -> io::Result<()> {
        match self {
            Self::H1(client) => client.begin(head, request, last),
            Self::H2(client) => client.begin(&head),
        }
    }

    /// Releases what is held.
    pub(super) async fn flush(&mut self, patience: Duration) -> io::Result<()> {
        match self {
            Self::H1(client) => client.flush(patience).await,
            Self::H2(client) => client.flush(),
        }
    }

    /// Passes a piece of the response's body on, and the end with the last one.
    pub(super) async fn pass(&mut self, piece: &Piece, patience: Duration) -> io::Result<()> {
        match self {
            Self::H1(client) => client.pass(piece, patience).await,
            Self::H2(client) => client.pass(piece, patience).await,
        }
    }

    /// Answers instead of the endpoint. What comes of the connection is returned.
    pub(super) async fn reply(&mut self, reply: Reply, next: Next, patience: Duration) -> Next {
        match self {
            Self::H1(client) => client.reply(reply, next, patience).await,
            Self::H2(client) => client.reply(reply, patience).await,
        }
    }

    /// Passes the endpoint's agreement to a session on, and gives out what the session runs over.
    pub(super) async fn switch(
        &mut self,
        head: &ResponseHead,
        patience: Duration,
    ) -> io::Result<End<Box<dyn Pipe + '_>>> {
        match self {
            Self::H1(client) => client.switch(head, patience).await,
            Self::H2(client) => Ok(End { stream: client.switch(head)?, buffered: Bytes::new() }),
        }
    }

    /// Lets the client see that the response it got is not the whole. Over HTTP/1 that is the end of its connection.
    pub(super) fn abort(&mut self) {
        if let Self::H2(client) = self {
            client.abort();
        }
    }
}
