//! The real endpoint: dialled at the original destination, verified, and sent only what may be sent.
//!
//! [`Connection::send`] is the one place where a request leaves. It demands three proofs that agree on the exchange and
//! on the body: [`Masked`], [`Allowed`] and [`Committed`].

mod dial;

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::audit::Committed;
use crate::flow::{BodyDigest, ExchangeId};
use crate::http::{
    self, BodyFraming, Limits, ReadError, Reader, ReceivedBody, RequestHead, ResponseHead, encode_single_chunk,
};
use crate::mask::Masked;
use crate::policy::Allowed;

pub use dial::{DialError, DialFrom, Dialer, Route, UpstreamStream};

/// One verified connection to an endpoint, used for one request at a time.
#[derive(Debug)]
pub struct Connection {
    stream: UpstreamStream,
    reader: Reader,
    limits: Limits,
    timeouts: Timeouts,
}

/// How long an endpoint is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Without a byte of the response.
    pub idle: Duration,
    /// Without taking a byte of the request.
    pub patience: Duration,
}

/// Why a request was not sent, or its response could not be read.
#[derive(Debug, Error)]
pub enum Failure {
    /// The three proofs are not of one exchange and one body. Nothing was sent.
    #[error("the masked body, the verdict and the record are not of the same request; nothing was sent")]
    ProofMismatch,
    /// The connection broke while sending: the endpoint may or may not have the request.
    #[error("the endpoint closed the connection while the request was being sent: {0}")]
    Send(std::io::Error),
    /// The endpoint closed the connection instead of answering.
    #[error("the endpoint closed the connection without an answer")]
    NoAnswer,
    /// The response is not HTTP, or broke off.
    #[error("the endpoint's response cannot be read: {0}")]
    Response(#[from] ReadError),
    /// No byte for too long.
    #[error("the endpoint sent nothing for {} s", .0.as_secs())]
    Idle(Duration),
}

impl Connection {
    /// A connection for requests, over a stream that was dialled and verified.
    #[must_use]
    pub fn new(stream: UpstreamStream, limits: Limits, timeouts: Timeouts) -> Self {
        Self { stream, reader: Reader::default(), limits: limits.streaming(), timeouts }
    }

    /// Sends one request: the head as it came, but for the length of a body that was changed.
    ///
    /// # Errors
    /// [`Failure::ProofMismatch`] before anything is sent, [`Failure::Send`] after.
    pub async fn send(
        &mut self,
        head: RequestHead,
        received: &ReceivedBody,
        masked: &Masked,
        allowed: &Allowed,
        committed: &Committed,
    ) -> Result<(), Failure> {
        let proofs: [(ExchangeId, BodyDigest); 3] = [
            (masked.exchange(), masked.digest()),
            (allowed.exchange(), allowed.digest()),
            (committed.exchange(), committed.digest()),
        ];
        if proofs.iter().any(|proof| *proof != proofs[0]) {
            return Err(Failure::ProofMismatch);
        }
        let (head, body) = frame(head, received, masked);
        self.write(&head, &body).await.map_err(Failure::Send)
    }

    async fn write(&mut self, head: &[u8], body: &[u8]) -> std::io::Result<()> {
        // One write for a small request: one TLS record, one segment.
        if head.len() + body.len() <= 16 << 10 {
            return http::write(&mut self.stream, &[head, body].concat(), self.timeouts.patience).await;
        }
        http::write(&mut self.stream, head, self.timeouts.patience).await?;
        http::write(&mut self.stream, body, self.timeouts.patience).await
    }

    /// The next response head, interim ones (1xx) included.
    ///
    /// # Errors
    /// [`Failure::NoAnswer`], [`Failure::Response`] or [`Failure::Idle`].
    pub async fn response_head(&mut self) -> Result<ResponseHead, Failure> {
        let head = self.reader.response_head(&mut self.stream, &self.limits);
        match tokio::time::timeout(self.timeouts.idle, head).await {
            Err(_) => Err(Failure::Idle(self.timeouts.idle)),
            Ok(head) => head?.ok_or(Failure::NoAnswer),
        }
    }

    /// Waits for more of the response; 0 is the end. What has come stands in [`Connection::reader`].
    ///
    /// # Errors
    /// [`Failure::Response`] or [`Failure::Idle`].
    pub async fn fill(&mut self) -> Result<usize, Failure> {
        match tokio::time::timeout(self.timeouts.idle, self.reader.fill(&mut self.stream)).await {
            Err(_) => Err(Failure::Idle(self.timeouts.idle)),
            Ok(read) => Ok(read.map_err(ReadError::Io)?),
        }
    }

    /// Bytes of the response that have come.
    pub fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// The limits a response is read under: framing is bounded, content is not, because none of it is kept.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the endpoint has closed the connection, or sent bytes nobody asked for, since the last response.
    pub async fn is_stale(&mut self) -> bool {
        if !self.reader.buffered().is_empty() {
            return true;
        }
        // Anything but "nothing to read yet" on an idle connection means that it must not be used again.
        tokio::time::timeout(Duration::ZERO, self.reader.fill(&mut self.stream)).await.is_ok()
    }
}

/// The bytes that leave. An untouched body leaves in the framing it came in, unless that framing carries extensions.
fn frame(mut head: RequestHead, received: &ReceivedBody, masked: &Masked) -> (Vec<u8>, Bytes) {
    let chunked = head.framing() == BodyFraming::Chunked;
    let body = if masked.changed() || received.extended {
        if chunked {
            encode_single_chunk(masked.body(), &received.trailers).into()
        } else {
            head.fields_mut().set_content_length(masked.body().len() as u64);
            masked.body().clone()
        }
    } else {
        received.raw.clone()
    };
    (head.render(), body)
}
