//! Sends the body of a message of HTTP/2 no faster than its receiver takes it.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use tokio::time::timeout;

/// What is given to the connection at once, at most.
const PIECE: usize = 64 << 10;

/// Sends `bytes`, and the end of the stream if it is the `last` of it. Nothing is queued for which the receiver has given
/// no window; one that gives none for `patience` is given up.
///
/// # Errors
/// What the stream reports, or [`io::ErrorKind::TimedOut`].
pub async fn send_bounded(
    stream: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    last: bool,
    patience: Duration,
) -> io::Result<()> {
    if bytes.is_empty() {
        return if last { stream.send_data(bytes, true).map_err(error) } else { Ok(()) };
    }
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len().min(PIECE));
        let granted = timeout(patience, poll_fn(|cx| stream.poll_capacity(cx))).await;
        let granted = granted.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the peer gives no window"))?;
        let Some(granted) = granted else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let piece = bytes.split_to(granted.map_err(error)?.min(bytes.len()).min(PIECE));
        if !piece.is_empty() {
            stream.send_data(piece, last && bytes.is_empty()).map_err(error)?;
        }
    }
    Ok(())
}

fn error(error: h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    } else {
        io::Error::other(error)
    }
}
