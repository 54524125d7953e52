//! From the client to the endpoint: whole messages, each decided about before it leaves.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::lines::{Lines, Stop};
use super::{Gate, Refused};
use crate::http::websocket::{Control, ControlKind, Deflate, Event, Failure, Message, Messages, Outbound, Peer};
use crate::http::{self, Reader};

const CLIENT: Peer = Peer::Client;

/// Passes the client's messages on until there are no more.
pub(super) async fn run(
    lines: &Lines,
    deflate: Option<&Deflate>,
    from: &mut (impl AsyncRead + Unpin),
    reader: &mut Reader,
    to: &mut (impl AsyncWrite + Unpin),
    gate: &mut impl Gate,
) -> Stop {
    let mut way = Way { lines, outbound: Outbound::new(deflate), to };
    match way.messages(Messages::new(deflate, lines.settings.limits), from, reader, gate).await {
        Stop::Ended => match way.to.shutdown().await {
            Ok(()) => Stop::Ended,
            Err(error) => Stop::broken_by(Peer::Endpoint, &error),
        },
        stop => stop,
    }
}

struct Way<'a, W> {
    lines: &'a Lines,
    outbound: Outbound,
    to: &'a mut W,
}

impl<W: AsyncWrite + Unpin> Way<'_, W> {
    async fn messages(
        &mut self,
        mut messages: Messages,
        from: &mut (impl AsyncRead + Unpin),
        reader: &mut Reader,
        gate: &mut impl Gate,
    ) -> Stop {
        let mut held = 0;
        loop {
            let decoded = match messages.decode(reader.buffered()) {
                Ok(decoded) => decoded,
                Err(error) => return Stop::violation(CLIENT, error),
            };
            drop(reader.take(decoded.consumed));
            let passed = match decoded.event {
                Some(Event::Message(message)) => {
                    let all = message.raw.len() + message.content.len();
                    let counted = std::mem::take(&mut held);
                    self.message(message, all.saturating_sub(counted), gate).await
                }
                Some(Event::Control(control)) => self.control(control, gate).await,
                None => {
                    let more = messages.held().saturating_sub(held);
                    held += more;
                    match gate.hold(more) {
                        Err(refused) => Err(refused.into()),
                        Ok(()) if decoded.consumed == 0 => self.lines.fill(CLIENT, reader, from, false).await,
                        Ok(()) => Ok(()),
                    }
                }
            };
            if let Err(stop) = passed {
                return stop;
            }
        }
    }

    async fn message(&mut self, message: Message, more: usize, gate: &mut impl Gate) -> Result<(), Stop> {
        gate.hold(more)?;
        let decided = tokio::select! {
            biased;
            // Whoever waits for a decision need not when the session is over.
            () = self.lines.stopped(CLIENT) => return Err(Stop::Told),
            decided = gate.message(&message) => decided?,
        };
        let key = key().ok_or_else(|| Stop::internal("no random numbers to mask a frame with"))?;
        let sent = self.outbound.message(&message, &decided, key);
        let bytes = sent.map_err(|error| Stop::internal(error.to_string()))?;
        drop((message, decided));
        self.write(&bytes, 1).await
    }

    async fn control(&mut self, control: Control, gate: &mut impl Gate) -> Result<(), Stop> {
        gate.control(&control).await?;
        self.write(&control.raw, 0).await?;
        match control.kind {
            ControlKind::Close(close) => {
                self.lines.closed(CLIENT, close);
                Err(Stop::Closed)
            }
            ControlKind::Ping | ControlKind::Pong => Ok(()),
        }
    }

    async fn write(&mut self, bytes: &Bytes, messages: u64) -> Result<(), Stop> {
        let written = http::write(self.to, bytes, self.lines.settings.patience).await;
        written.map_err(|error| Stop::broken_by(Peer::Endpoint, &error))?;
        self.lines.passed(CLIENT, messages, bytes.len());
        Ok(())
    }
}

impl From<Refused> for Stop {
    fn from(Refused { code, reason }: Refused) -> Self {
        Self::Failed(Failure::Refused { code, reason })
    }
}

/// A fresh key for one frame.
pub(super) fn key() -> Option<[u8; 4]> {
    let mut key = [0; 4];
    aws_lc_rs::rand::fill(&mut key).ok()?;
    Some(key)
}
