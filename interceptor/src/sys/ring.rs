//! One socket on the ring: at most one read and one write in flight, each owning its buffer and a handle to the socket.
//!
//! `tokio-uring` 0.5 never cancels. Dropping an operation's future parks it in the driver, so a read that was given up
//! on would still eat the bytes that arrive next. Here an operation, once posted, belongs to the connection: whoever
//! polls next finds it, and what it read is kept until taken.

#![expect(unsafe_code, reason = "tokio-uring lends its descriptors only raw")]

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use tokio::io::ReadBuf;
use tokio_uring::net::TcpStream;

/// What an idle connection costs: the buffer of the read that waits for its next byte.
const IDLE_READ: usize = 1024;

/// The most that one write copies and keeps in flight.
pub(super) const MAX_WRITE: usize = 64 * 1024;

/// Direct reads between two turns of the ring, so that one fast sender cannot hold the thread.
const DRAIN_TURNS: u8 = 8;

/// How long the last write of a dropped stream waits for a peer that takes nothing: milliseconds.
const LAST_WRITE_MS: u32 = 2000;

type Operation<T> = Pin<Box<dyn Future<Output = T>>>;

/// A connected socket and its operations.
pub(super) struct RingSocket {
    socket: Rc<TcpStream>,
    read: Read,
    write: Write,
}

enum Read {
    Idle,
    Posted(Operation<(io::Result<usize>, Vec<u8>)>),
    /// Read, not yet taken: `buffer[taken..]`.
    Held {
        buffer: Vec<u8>,
        taken: usize,
    },
    /// The last read filled its buffer, so more has probably arrived: take it straight into the caller's buffer,
    /// rather than post a large buffer that would lie idle when it has not.
    Draining {
        turns: u8,
    },
}

enum Write {
    Idle,
    Posted(Operation<io::Result<()>>),
    Failed(io::ErrorKind),
}

impl RingSocket {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket: Rc::new(socket), read: Read::Idle, write: Write::Idle }
    }

    pub(super) fn socket(&self) -> &Rc<TcpStream> {
        &self.socket
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match &mut self.read {
                Read::Idle => self.read = Read::Posted(read_owned(Rc::clone(&self.socket))),
                Read::Posted(operation) => {
                    let (result, buffer) = ready!(operation.as_mut().poll(cx));
                    self.read = Read::Idle;
                    if result? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    self.read = Read::Held { buffer, taken: 0 };
                }
                Read::Held { buffer, taken } => {
                    let rest = &buffer[*taken..];
                    let len = rest.len().min(out.remaining());
                    out.put_slice(&rest[..len]);
                    *taken += len;
                    if *taken == buffer.len() {
                        let filled = buffer.len() == buffer.capacity();
                        self.read = if filled { Read::Draining { turns: DRAIN_TURNS } } else { Read::Idle };
                    }
                    return Poll::Ready(Ok(()));
                }
                Read::Draining { turns: 0 } => self.read = Read::Idle,
                Read::Draining { turns } => {
                    let turns = *turns - 1;
                    self.read = Read::Idle;
                    let free = out.initialize_unfilled();
                    match recv(self.socket.as_raw_fd(), free, MsgFlags::MSG_DONTWAIT) {
                        Ok(len) => {
                            if len == free.len() {
                                self.read = Read::Draining { turns };
                            }
                            out.advance(len);
                            return Poll::Ready(Ok(()));
                        }
                        Err(Errno::EAGAIN | Errno::EINTR) => {}
                        Err(errno) => return Poll::Ready(Err(errno.into())),
                    }
                }
            }
        }
    }

    /// Takes up to [`MAX_WRITE`] bytes off `slices` once the previous write is done. An error of a write shows at the
    /// next call.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_written(cx))?;
        let buffer = gather(slices);
        let len = buffer.len();
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        let socket = Rc::clone(&self.socket);
        let mut operation: Operation<_> = Box::pin(async move { socket.write_all(buffer).await.0 });
        // An operation is posted by its first poll.
        self.write = match operation.as_mut().poll(cx) {
            Poll::Pending => Write::Posted(operation),
            Poll::Ready(Ok(())) => Write::Idle,
            Poll::Ready(Err(error)) => Write::Failed(error.kind()),
        };
        Poll::Ready(Ok(len))
    }

    /// Ready when no write is in flight.
    pub(super) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.write {
            Write::Idle => Poll::Ready(Ok(())),
            Write::Failed(kind) => Poll::Ready(Err((*kind).into())),
            Write::Posted(operation) => {
                let result = ready!(operation.as_mut().poll(cx));
                self.write = match &result {
                    Ok(()) => Write::Idle,
                    Err(error) => Write::Failed(error.kind()),
                };
                Poll::Ready(result)
            }
        }
    }
}

impl Drop for RingSocket {
    /// Ends what is in flight: an operation that nobody polls any more keeps the descriptor open until it completes.
    /// A write that was accepted still goes out, as it would from a socket's own buffer, but not for ever.
    fn drop(&mut self) {
        // Failures mean that the connection has ended, and its operations with it.
        if matches!(self.write, Write::Posted(_)) {
            // SAFETY: the descriptor is open, as `self.socket` owns it and outlives the borrow.
            let socket = unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) };
            let _ = setsockopt(&socket, sockopt::TcpUserTimeout, &LAST_WRITE_MS);
            let _ = self.socket.shutdown(Shutdown::Read);
        } else if matches!(self.read, Read::Posted(_)) {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }
}

fn read_owned(socket: Rc<TcpStream>) -> Operation<(io::Result<usize>, Vec<u8>)> {
    Box::pin(async move { socket.read(Vec::with_capacity(IDLE_READ)).await })
}

fn gather(slices: &[io::IoSlice<'_>]) -> Vec<u8> {
    let total: usize = slices.iter().map(|slice| slice.len()).sum();
    let mut buffer = Vec::with_capacity(total.min(MAX_WRITE));
    for slice in slices {
        let room = MAX_WRITE - buffer.len();
        buffer.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    buffer
}
