//! The two halves of a stream of HTTP/2 as one pipe, for what is spoken on it after an extended CONNECT (RFC 8441).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is given to the connection at once, at most.
const PIECE: usize = 16 << 10;

/// The pipe. Its end is said by [`AsyncWrite::poll_shutdown`]; dropped before that, it is reset.
pub(super) struct Duplex<'a> {
    receiving: &'a mut RecvStream,
    sending: SendStream<Bytes>,
    /// Read, not yet taken.
    held: Bytes,
    ended: bool,
}

impl<'a> Duplex<'a> {
    pub(super) fn new(receiving: &'a mut RecvStream, sending: SendStream<Bytes>) -> Self {
        Self { receiving, sending, held: Bytes::new(), ended: false }
    }
}

impl AsyncRead for Duplex<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            match ready!(self.receiving.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(piece) => self.held = piece.map_err(io::Error::other)?,
            }
        }
        let taken = self.held.len().min(out.remaining());
        out.put_slice(&self.held.split_to(taken));
        // It fails only when the stream is gone, and then so does the next read.
        let _ = self.receiving.flow_control().release_capacity(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Duplex<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.sending.reserve_capacity(bytes.len().min(PIECE));
        match ready!(self.sending.poll_capacity(cx)) {
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(granted) => {
                let taken = granted.map_err(io::Error::other)?.min(bytes.len()).min(PIECE);
                let piece = Bytes::copy_from_slice(&bytes[..taken]);
                self.sending.send_data(piece, false).map_err(io::Error::other)?;
                Poll::Ready(Ok(taken))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's own task does that.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.ended, true) {
            self.sending.send_data(Bytes::new(), true).map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Duplex<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.sending.send_reset(Reason::CANCEL);
        }
    }
}
