//! A WebSocket session behind its handshake: both directions at once, until both are over.
//!
//! Each message of the client is held until the [`Gate`] has decided about it, and the next is not read before the last has
//! been written: a client that says more than the endpoint takes waits in its socket. What the endpoint says is given to the
//! [`Record`] and then passed on, frame or not. A control frame is passed on by itself, so a flood of them runs no faster
//! than the other side reads.

mod down;
mod lines;
#[cfg(test)]
mod tests;
mod up;

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf, split};

use super::linger;
use crate::http::websocket::{Close, Control, Failure, Limits, Message, Negotiated, Peer, Piece};
use crate::http::{self, Reader};
use lines::{Lines, Stop};

/// What decides about everything of the client before it leaves.
pub(super) trait Gate {
    /// `bytes` more are about to be held of the message that is arriving. All are given back when [`Self::message`] has
    /// returned.
    fn hold(&mut self, bytes: usize) -> Result<(), Refused>;

    /// The content to send in place of the message's, or why it does not leave. Text must stay UTF-8. May be given up on.
    async fn message(&mut self, message: &Message) -> Result<Bytes, Refused>;

    /// Whether a control frame may leave. It carries up to 125 bytes of whatever the client likes, and cannot be edited: a
    /// pong must repeat its ping.
    async fn control(&mut self, control: &Control) -> Result<(), Refused>;
}

/// What keeps the endpoint's words.
pub(super) trait Record {
    /// Some content of a message, recorded before the client gets it; or why that failed.
    async fn response(&mut self, piece: &Piece) -> Result<(), String>;
}

/// Something of the client that does not leave; it ends the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Of the close frame: 1008 where a policy says so, 1013 where there is no room.
    pub(super) code: u16,
    /// With the rule and the record's id; of more than 123 bytes the end is left out.
    pub(super) reason: String,
}

/// Bounds on one session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Of its messages.
    pub(super) limits: Limits,
    /// Until a peer that takes no more bytes is given up.
    pub(super) patience: Duration,
    /// Until a peer that does not answer the other's goodbye, or does not finish its frame, is given up.
    pub(super) closing: Duration,
    /// Until a session in which neither side says anything is ended.
    pub(super) idle: Option<Duration>,
}

/// One side's connection.
#[derive(Debug)]
pub(super) struct End<S> {
    pub(super) stream: S,
    /// What was read of it behind the handshake.
    pub(super) buffered: Bytes,
}

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) cause: Cause,
    /// The client's close frame, where one was passed on.
    pub(super) client: Option<Close>,
    /// The endpoint's.
    pub(super) endpoint: Option<Close>,
    /// Messages and bytes that the endpoint was sent.
    pub(super) sent: Count,
    /// Messages and bytes that the client was sent.
    pub(super) received: Count,
}

/// What passed in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Whole messages.
    pub(super) messages: u64,
    /// Bytes of frames.
    pub(super) bytes: u64,
}

/// Why a session ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Both sides said goodbye.
    Closed,
    /// One side's connection ended, or went silent after the other's goodbye, before it had said its own.
    Ended(Peer),
    /// The proxy ended it.
    Failed(Failure),
    /// One side's connection broke.
    Broken { of: Peer, reason: String },
}

/// Passes messages both ways until the session is over or `leave` is; then ends both connections.
///
/// A stream that broke, and the one opposite, are left without a farewell: neither peer must take what it got for the whole.
pub(super) async fn run<C, E>(
    client: End<C>,
    endpoint: End<E>,
    negotiated: &Negotiated,
    settings: Settings,
    gate: &mut impl Gate,
    record: &mut impl Record,
    leave: impl Future<Output = ()>,
) -> Ended
where
    C: AsyncRead + AsyncWrite + Unpin,
    E: AsyncRead + AsyncWrite + Unpin,
{
    let lines = Lines::new(settings);
    let (mut client_reads, mut client_writes) = split(client.stream);
    let (mut endpoint_reads, mut endpoint_writes) = split(endpoint.stream);
    let stops = {
        let deflate = negotiated.deflate.as_ref();
        let (mut from_client, mut from_endpoint) =
            (Reader::holding(&client.buffered), Reader::holding(&endpoint.buffered));
        let up = up::run(&lines, deflate, &mut client_reads, &mut from_client, &mut endpoint_writes, gate);
        let down = down::run(&lines, deflate, &mut endpoint_reads, &mut from_endpoint, &mut client_writes, record);
        both(&lines, up, down, leave).await
    };
    let cause = stops.cause();
    let client = Halves { reads: client_reads, writes: client_writes };
    let endpoint = Halves { reads: endpoint_reads, writes: endpoint_writes };
    part(&lines, &cause, &stops, client, endpoint).await;
    lines.ended(cause)
}

/// How both directions came to their end.
struct Stops {
    up: Stop,
    down: Stop,
    /// The sender whose direction ended first.
    first: Peer,
    leaving: bool,
}

impl Stops {
    fn broke(&self, peer: Peer) -> bool {
        [&self.up, &self.down].iter().any(|stop| stop.broken().is_some_and(|(of, _)| of == peer))
    }

    fn cause(&self) -> Cause {
        let stops = [(&self.up, Peer::Client), (&self.down, Peer::Endpoint)];
        if let Some(failure) = stops.iter().find_map(|(stop, _)| stop.failure()) {
            return Cause::Failed(failure.clone());
        }
        if let Some((of, reason)) = stops.iter().find_map(|(stop, _)| stop.broken()) {
            return Cause::Broken { of, reason: reason.to_owned() };
        }
        if self.leaving {
            return Cause::Failed(Failure::Leaving);
        }
        let mut ended = stops.iter().filter(|(stop, _)| matches!(stop, Stop::Ended)).map(|(_, peer)| *peer);
        match (ended.next(), ended.next()) {
            (None, _) => Cause::Closed,
            (Some(peer), None) => Cause::Ended(peer),
            (Some(_), Some(_)) => Cause::Ended(self.first),
        }
    }
}

/// Runs both directions to their ends: each tells the other of its own.
async fn both(
    lines: &Lines,
    up: impl Future<Output = Stop>,
    down: impl Future<Output = Stop>,
    leave: impl Future<Output = ()>,
) -> Stops {
    let (mut up, mut down, mut leave) = (pin!(up), pin!(down), pin!(leave));
    let (mut ups, mut downs, mut leaving, mut first) = (None, None, false, None);
    loop {
        tokio::select! {
            stop = &mut up, if ups.is_none() => {
                lines.tell(Peer::Endpoint, &stop);
                first.get_or_insert(Peer::Client);
                ups = Some(stop);
            }
            stop = &mut down, if downs.is_none() => {
                lines.tell(Peer::Client, &stop);
                first.get_or_insert(Peer::Endpoint);
                downs = Some(stop);
            }
            () = &mut leave, if !leaving => {
                leaving = true;
                lines.stop();
            }
        }
        match (ups, downs, first) {
            (Some(up), Some(down), Some(first)) => return Stops { up, down, first, leaving },
            (up, down, _) => (ups, downs) = (up, down),
        }
    }
}

struct Halves<S> {
    reads: ReadHalf<S>,
    writes: WriteHalf<S>,
}

/// Says what is left to say to each side and ends its connection.
async fn part<C, E>(lines: &Lines, cause: &Cause, stops: &Stops, client: Halves<C>, endpoint: Halves<E>)
where
    C: AsyncRead + AsyncWrite + Unpin,
    E: AsyncRead + AsyncWrite + Unpin,
{
    let farewell = match cause {
        Cause::Broken { .. } => return,
        Cause::Failed(failure) => lines.farewell(failure),
        Cause::Closed | Cause::Ended(_) => Default::default(),
    };
    // Within a frame there is no place for another one: the connection just ends.
    let to_client = farewell.to_client.filter(|_| lines.at_boundary.get() && !stops.broke(Peer::Client));
    let to_endpoint = farewell.to_endpoint.filter(|_| !stops.broke(Peer::Endpoint));
    let patience = lines.settings.patience;
    tokio::join!(finish(client, to_client, patience), finish(endpoint, to_endpoint, patience));
}

async fn finish<S: AsyncRead + AsyncWrite + Unpin>(mut halves: Halves<S>, last: Option<Bytes>, patience: Duration) {
    let said = match last {
        Some(frame) => http::write(&mut halves.writes, &frame, patience).await,
        None => Ok(()),
    };
    // Whoever takes no last word needs no time to read it.
    if said.is_ok() {
        linger::close(&mut halves.reads.unsplit(halves.writes)).await;
    }
}
