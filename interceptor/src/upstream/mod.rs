//! The real endpoint: dialled at the original destination, verified, and sent only what may be sent.
//!
//! [`Connection::send`] is the one place where a request leaves. It demands three proofs that agree on the exchange and
//! on the body: [`Masked`], [`Allowed`] and [`Committed`]. A connection comes from the [`Pool`] of its worker, which never
//! gives one to a request that it was not opened for.

mod dial;
mod h1;
mod h2;
mod pool;

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::audit::Committed;
use crate::flow::{BodyDigest, ExchangeId};
use crate::http::{self, CodingError, ReadError, ReceivedBody, RequestHead, ResponseHead};
use crate::mask::Masked;
use crate::policy::Allowed;
use crate::tls::Alpn;

pub use dial::{DialError, DialFrom, Dialer, Route, UpstreamStream};
pub use h2::Sink;
pub use pool::{ClientId, Pool, PoolSettings};

/// A way to send one request: a connection of HTTP/1 of its own, or a stream of HTTP/2.
#[derive(Debug)]
pub enum Connection {
    /// HTTP/1.1.
    H1(h1::Connection),
    /// HTTP/2.
    H2(h2::Connection),
}

/// A request that was sent, and its response as far as it has come.
#[derive(Debug)]
pub enum Answer {
    /// Over HTTP/1.1.
    H1(Box<h1::Answer>),
    /// Over HTTP/2.
    H2(Box<h2::Answer>),
}

/// Some of a response's body.
#[derive(Debug, Default)]
pub struct Piece {
    /// As it came over HTTP/1.1, framing included. None over HTTP/2.
    pub raw: Option<Bytes>,
    /// The content among it.
    pub content: Bytes,
    /// Raw trailer lines, with the last piece.
    pub trailers: Bytes,
    /// Nothing follows.
    pub last: bool,
}

/// Why a request was not sent, or its response could not be read.
#[derive(Debug, Error)]
pub enum Failure {
    /// The three proofs are not of one exchange and one body. Nothing was sent.
    #[error("the masked body, the verdict and the record are not of the same request; nothing was sent")]
    ProofMismatch,
    /// The masked body could not be compressed again. Nothing was sent.
    #[error("the masked body cannot be encoded as it came: {0}; nothing was sent")]
    Coding(#[from] CodingError),
    /// The head cannot be written in the endpoint's version of HTTP. Nothing was sent.
    #[error("the request cannot be written in HTTP/2: {0}; nothing was sent")]
    Untranslatable(http::Error),
    /// The endpoint has only one way at a time. Nothing was sent.
    #[error("the endpoint speaks HTTP/1.1 now, where nothing can be passed on both ways at once; nothing was sent")]
    NoStream,
    /// The connection broke while sending: the endpoint may or may not have the request.
    #[error("the endpoint closed the connection while the request was being sent: {0}")]
    Send(std::io::Error),
    /// The endpoint says that it has not looked at the request (RFC 9113, 8.7): it can be sent again.
    #[error("the endpoint refused the request unprocessed")]
    Unprocessed,
    /// The endpoint closed the connection instead of answering.
    #[error("the endpoint closed the connection without an answer")]
    NoAnswer,
    /// The response is not HTTP, or broke off.
    #[error("the endpoint's response cannot be read: {0}")]
    Response(#[from] ReadError),
    /// The endpoint ended the stream.
    #[error("the endpoint ended the stream: {0}")]
    Stream(::h2::Error),
    /// No byte for too long.
    #[error("the endpoint sent nothing for {} s", .0.as_secs())]
    Idle(Duration),
    /// Not at its end in time.
    #[error("the response took more than {} s in all", .0.as_secs())]
    Total(Duration),
}

/// What a request is made of that may be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// As it came.
    pub head: &'a RequestHead,
    /// As it came.
    pub received: &'a ReceivedBody,
    /// As it leaves.
    pub masked: &'a Masked,
}

/// The head of a request whose body is passed on as it comes.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// As it came.
    pub head: &'a RequestHead,
    /// What of the body there is: nothing, and why.
    pub masked: &'a Masked,
}

/// The content of a message that may leave over a session which was opened by [`Connection::send`]: the other place, and
/// the same three proofs.
///
/// # Errors
/// [`Failure::ProofMismatch`].
pub fn cleared(masked: &Masked, allowed: &Allowed, committed: &Committed) -> Result<Bytes, Failure> {
    agree(masked, allowed, committed)?;
    Ok(masked.body().clone())
}

fn agree(masked: &Masked, allowed: &Allowed, committed: &Committed) -> Result<(), Failure> {
    let proofs: [(ExchangeId, BodyDigest); 3] = [
        (masked.exchange(), masked.digest()),
        (allowed.exchange(), allowed.digest()),
        (committed.exchange(), committed.digest()),
    ];
    if proofs.iter().any(|proof| *proof != proofs[0]) { Err(Failure::ProofMismatch) } else { Ok(()) }
}

impl Connection {
    /// Sends one request: the head as it came, but for the length of a body that was changed, and for what the endpoint's
    /// version of HTTP writes in another way.
    ///
    /// # Errors
    /// [`Failure::ProofMismatch`], [`Failure::Coding`] and [`Failure::Untranslatable`] before anything is sent,
    /// [`Failure::Unprocessed`] when it certainly was not looked at, [`Failure::Send`] otherwise.
    pub async fn send(
        self,
        outgoing: Outgoing<'_>,
        allowed: &Allowed,
        committed: &Committed,
    ) -> Result<Answer, Failure> {
        agree(outgoing.masked, allowed, committed)?;
        match self {
            Self::H1(connection) => connection.send(outgoing).await.map(|answer| Answer::H1(Box::new(answer))),
            Self::H2(connection) => connection.send(outgoing).await.map(|answer| Answer::H2(Box::new(answer))),
        }
    }

    /// Sends the head of a request, whose body is to be passed on piece by piece.
    ///
    /// # Errors
    /// Those of [`Connection::send`], and [`Failure::NoStream`] over HTTP/1.
    pub fn open(
        self,
        opening: Opening<'_>,
        allowed: &Allowed,
        committed: &Committed,
    ) -> Result<(Answer, Sink), Failure> {
        agree(opening.masked, allowed, committed)?;
        match self {
            Self::H1(_) => Err(Failure::NoStream),
            Self::H2(connection) => {
                connection.open(opening.head).map(|(answer, sink)| (Answer::H2(Box::new(answer)), sink))
            }
        }
    }

    /// What is spoken on it.
    #[must_use]
    pub fn alpn(&self) -> Option<Alpn> {
        match self {
            Self::H1(connection) => connection.alpn(),
            Self::H2(_) => Some(Alpn::H2),
        }
    }
}

impl Answer {
    /// The next response head, interim ones (1xx) included.
    ///
    /// # Errors
    /// [`Failure::NoAnswer`], [`Failure::Response`] or [`Failure::Stream`].
    pub async fn head(&mut self) -> Result<ResponseHead, Failure> {
        match self {
            Self::H1(answer) => answer.head().await,
            Self::H2(answer) => answer.head().await,
        }
    }

    /// The next piece of the body, after the final head. May be given up on without losing a byte.
    ///
    /// # Errors
    /// [`Failure::Response`] or [`Failure::Stream`].
    pub async fn piece(&mut self) -> Result<Piece, Failure> {
        match self {
            Self::H1(answer) => answer.piece().await,
            Self::H2(answer) => answer.piece().await,
        }
    }

    /// A piece with so many bytes of content was dealt with, so that as much may follow.
    pub fn passed(&mut self, content: usize) {
        if let Self::H2(answer) = self {
            answer.passed(content);
        }
    }

    /// The connection, if it can carry another request: the response must have come to its end.
    #[must_use]
    pub fn reusable(self) -> Option<Connection> {
        match self {
            Self::H1(answer) => answer.reusable().map(Connection::H1),
            // The connection is the pool's; this was one stream.
            Self::H2(_) => None,
        }
    }

    /// The bare connection, with what the endpoint has said already: after it has switched protocols.
    #[must_use]
    pub fn into_upgraded(self) -> Option<(UpstreamStream, Bytes)> {
        match self {
            Self::H1(answer) => Some(answer.into_upgraded()),
            Self::H2(_) => None,
        }
    }
}

/// The content that leaves, in the coding that the head names.
fn content(outgoing: &Outgoing<'_>) -> Result<Bytes, CodingError> {
    let Outgoing { received, masked, .. } = outgoing;
    let edited = masked.changed() || received.padded;
    if edited { received.codings.encode(masked.body()) } else { Ok(received.encoded.clone()) }
}
