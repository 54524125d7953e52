//! The narrow seam every other room sees: a connected TCP socket as [`AsyncRead`] and [`AsyncWrite`].

#![expect(unsafe_code, reason = "tokio-uring lends its descriptors only raw")]

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Transport;
use super::ring::RingSocket;

/// Silence after which a peer is asked whether it is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);

/// How often it is asked again.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);

/// A connected TCP socket of one worker thread.
///
/// A read or write that is given up on (a timeout, a lost `select!`) loses nothing: the next one finds its bytes. A
/// write is accepted when it is copied, at most 64 KiB at a time; its failure shows at the next write, flush or
/// shutdown. What was accepted goes out even if the stream is dropped, unless the peer takes nothing for two seconds;
/// only a flush tells. One task may read while another writes
/// ([`tokio::io::split`]).
pub struct Stream {
    io: Io,
    peer: SocketAddr,
    local: SocketAddr,
}

enum Io {
    Ring(RingSocket),
    Epoll(Rc<tokio::net::TcpStream>),
}

/// Ends a stream from elsewhere on its thread, a timer for one: its reads see the end, its writes fail. Does not keep
/// the socket open.
#[derive(Clone, Debug)]
pub struct Closer(Handle);

#[derive(Clone)]
enum Handle {
    Ring(Weak<tokio_uring::net::TcpStream>),
    Epoll(Weak<tokio::net::TcpStream>),
}

impl Stream {
    /// Takes over a connected socket for the worker that runs on `transport`, with `TCP_NODELAY` set.
    ///
    /// # Errors
    /// When the socket is not connected (any more) or its flags cannot be set.
    ///
    /// # Panics
    /// Outside of [`super::run_worker`].
    pub fn from_std(socket: std::net::TcpStream, transport: Transport) -> io::Result<Self> {
        let peer = socket.peer_addr()?;
        let local = socket.local_addr()?;
        socket.set_nodelay(true)?;
        let io = match transport {
            Transport::IoUring => {
                // The ring would answer a read on a non-blocking descriptor with EAGAIN instead of waiting.
                socket.set_nonblocking(false)?;
                Io::Ring(RingSocket::new(tokio_uring::net::TcpStream::from_std(socket)))
            }
            Transport::Epoll => {
                socket.set_nonblocking(true)?;
                Io::Epoll(Rc::new(tokio::net::TcpStream::from_std(socket)?))
            }
        };
        Ok(Self { io, peer, local })
    }

    /// The other end.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// This end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// A handle that can end this stream.
    #[must_use]
    pub fn closer(&self) -> Closer {
        Closer(match &self.io {
            Io::Ring(ring) => Handle::Ring(Rc::downgrade(ring.socket())),
            Io::Epoll(socket) => Handle::Epoll(Rc::downgrade(socket)),
        })
    }

    /// Lets the kernel find out that the peer is gone, for a connection that may be silent for as long as it likes: asked
    /// after two minutes of silence, given up after about two more.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn keep_alive(&self) -> io::Result<()> {
        let probes = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY).with_retries(4);
        SockRef::from(self).set_tcp_keepalive(&probes)
    }

    /// Makes the peer see a reset when this is dropped: what it got is not the whole.
    pub fn abort(&self) {
        // On failure the peer sees an ordinary end.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let result = match &self.io {
            Io::Ring(ring) => ring.socket().shutdown(how),
            Io::Epoll(socket) => SockRef::from(&**socket).shutdown(how),
        };
        match result {
            // The peer was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }
}

impl AsFd for Stream {
    /// To ask the socket about itself. Reading or writing through it would take what the stream is owed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.io {
            // SAFETY: the ring socket that `self` owns keeps the descriptor open at least as long as the borrow.
            Io::Ring(ring) => unsafe { BorrowedFd::borrow_raw(ring.socket().as_raw_fd()) },
            Io::Epoll(socket) => socket.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Ring(ring) => ring.poll_read(cx, out),
            Io::Epoll(socket) => loop {
                ready!(socket.poll_read_ready(cx))?;
                match socket.try_read(out.initialize_unfilled()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => {
                        out.advance(result?);
                        return Poll::Ready(Ok(()));
                    }
                }
            },
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Ring(ring) => ring.poll_write(cx, slices),
            Io::Epoll(socket) => loop {
                ready!(socket.poll_write_ready(cx))?;
                match socket.try_write_vectored(slices) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            },
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Ring(ring) => ring.poll_written(cx),
            Io::Epoll(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(self.shutdown(Shutdown::Write))
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({} -> {})", self.local, self.peer)
    }
}

impl Closer {
    /// Shuts both directions down. Nothing happens when the stream is gone.
    pub fn close(&self) {
        // A failure means that the connection has ended already.
        let _ = match &self.0 {
            Handle::Ring(socket) => socket.upgrade().map(|socket| socket.shutdown(Shutdown::Both)),
            Handle::Epoll(socket) => socket.upgrade().map(|socket| SockRef::from(&*socket).shutdown(Shutdown::Both)),
        };
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ring(_) => "Ring",
            Self::Epoll(_) => "Epoll",
        })
    }
}
