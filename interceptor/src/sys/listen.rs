//! One listening socket a worker; the kernel spreads connections over them (`SO_REUSEPORT`).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use super::{Stream, Transport};
use crate::flow::ClientAddr;

/// How long to wait for descriptors or memory to be freed before accepting again.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket of one worker thread.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    transport: Transport,
}

impl Listener {
    /// Listens on `addr`, ready to be given to a worker with [`Listener::from_std`]. Port 0 takes a free port. An IPv6
    /// listener takes IPv6 clients only: IPv4 ones, mapped or not, are redirected to 127.0.0.1.
    ///
    /// # Errors
    /// When the address is taken by a socket of another user or without `SO_REUSEPORT`, or is not this host's.
    pub fn bind_std(addr: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
        Self::listen(addr, backlog, false)
    }

    /// As [`Listener::bind_std`], also where the host does not have the address yet: a fresh network namespace has no
    /// loopback address before somebody sets `lo` up (`IP_FREEBIND`, ip(7)).
    ///
    /// # Errors
    /// When the address is taken, or its family is not there.
    pub fn bind_anywhere(addr: SocketAddr, backlog: u32) -> io::Result<std::net::TcpListener> {
        Self::listen(addr, backlog, true)
    }

    fn listen(addr: SocketAddr, backlog: u32, anywhere: bool) -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking().cloexec(), None)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        match addr {
            SocketAddr::V4(_) if anywhere => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) if anywhere => socket.set_freebind_v6(true)?,
            _ => {}
        }
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    }

    /// [`Listener::bind_std`] for the worker that runs on `transport`.
    ///
    /// # Errors
    /// Those of both steps.
    ///
    /// # Panics
    /// Outside of [`super::run_worker`].
    pub fn bind(addr: SocketAddr, backlog: u32, transport: Transport) -> io::Result<Self> {
        Self::from_std(Self::bind_std(addr, backlog)?, transport)
    }

    /// Takes over a socket that listens already: one opened in another network namespace, or handed over.
    ///
    /// # Errors
    /// When the socket cannot be made non-blocking.
    ///
    /// # Panics
    /// Outside of [`super::run_worker`].
    pub fn from_std(socket: std::net::TcpListener, transport: Transport) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: TcpListener::from_std(socket)?, transport })
    }

    /// The address and port that clients reach it at.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection. May be given up on at any time: what is not accepted stays in the backlog.
    ///
    /// Connections that ended while they were queued are passed over; when descriptors or memory run out, the next
    /// attempt waits until some may have been freed.
    ///
    /// # Errors
    /// When the listening socket itself no longer works.
    pub async fn accept(&self) -> io::Result<(Stream, ClientAddr)> {
        loop {
            let accepted = match self.socket.accept().await {
                Ok((socket, peer)) => socket
                    .into_std()
                    .and_then(|socket| Stream::from_std(socket, self.transport))
                    .map(|stream| (stream, ClientAddr(peer))),
                Err(error) => Err(error),
            };
            let error = match accepted {
                Ok(accepted) => return Ok(accepted),
                Err(error) => error,
            };
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                    log::warn!("cannot accept connections: {error}; raise LimitNOFILE or memory");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                Some(Errno::ECONNABORTED | Errno::ENOTCONN | Errno::EPROTO | Errno::EINTR) => {}
                _ => return Err(error),
            }
        }
    }
}
