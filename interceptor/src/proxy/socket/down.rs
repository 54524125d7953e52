//! From the endpoint to the client: bytes as they come, once their content is recorded.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::Record;
use super::lines::{Lines, Stop};
use crate::http::websocket::{ControlKind, Deflate, Peer, Pieces, Seen, Stretch};
use crate::http::{self, Reader};

const ENDPOINT: Peer = Peer::Endpoint;

/// Bytes that may be written at once.
const ENOUGH: usize = 64 << 10;

/// Passes on what the endpoint says until there is no more.
pub(super) async fn run(
    lines: &Lines,
    deflate: Option<&Deflate>,
    from: &mut (impl AsyncRead + Unpin),
    reader: &mut Reader,
    to: &mut (impl AsyncWrite + Unpin),
    record: &mut impl Record,
) -> Stop {
    let mut way =
        Way { lines, pieces: Pieces::new(deflate, lines.settings.limits), to, ready: BytesMut::new(), messages: 0 };
    match way.pieces(from, reader, record).await {
        Stop::Ended => match way.to.shutdown().await {
            Ok(()) => Stop::Ended,
            Err(error) => Stop::broken_by(Peer::Client, &error),
        },
        stop => stop,
    }
}

struct Way<'a, W> {
    lines: &'a Lines,
    pieces: Pieces,
    to: &'a mut W,
    /// Recorded, and not yet passed on.
    ready: BytesMut,
    /// How many messages end in it.
    messages: u64,
}

impl<W: AsyncWrite + Unpin> Way<'_, W> {
    async fn pieces(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        reader: &mut Reader,
        record: &mut impl Record,
    ) -> Stop {
        loop {
            let step = match self.next(reader, record).await {
                Ok(true) => Ok(()),
                Ok(false) => match self.release().await {
                    Ok(()) => self.lines.fill(ENDPOINT, reader, from, !self.lines.at_boundary.get()).await,
                    Err(stop) => Err(stop),
                },
                // What came before was said properly.
                Err(stop) => Err(self.release().await.err().unwrap_or(stop)),
            };
            if let Err(stop) = step {
                return stop;
            }
        }
    }

    /// One step of what has been read; false when more must be read.
    async fn next(&mut self, reader: &mut Reader, record: &mut impl Record) -> Result<bool, Stop> {
        if self.lines.is_stopping(ENDPOINT) && self.lines.at_boundary.get() {
            return Err(Stop::Told);
        }
        let Stretch { consumed, seen } =
            self.pieces.decode(reader.buffered()).map_err(|error| Stop::violation(ENDPOINT, error))?;
        let some = consumed > 0 || seen.is_some();
        if let Some(Seen::Piece(piece)) = &seen {
            record.response(piece).await.map_err(Stop::internal)?;
            self.messages += u64::from(piece.last);
        }
        self.ready.extend_from_slice(&reader.take(consumed));
        self.lines.at_boundary.set(self.pieces.at_boundary());
        if let Some(Seen::Control(control)) = seen
            && let ControlKind::Close(close) = control.kind
        {
            self.release().await?;
            self.lines.closed(ENDPOINT, close);
            return Err(Stop::Closed);
        }
        if self.ready.len() >= ENOUGH {
            self.release().await?;
        }
        Ok(some)
    }

    async fn release(&mut self) -> Result<(), Stop> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let written = http::write(self.to, &self.ready, self.lines.settings.patience).await;
        written.map_err(|error| Stop::broken_by(Peer::Client, &error))?;
        self.lines.passed(ENDPOINT, std::mem::take(&mut self.messages), self.ready.len());
        self.ready.clear();
        Ok(())
    }
}
