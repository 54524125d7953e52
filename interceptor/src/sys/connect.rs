//! Outgoing connections, marked as the daemon's own.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpSocket;

use super::{Stream, Transport};

/// Connects to `addr` with `SO_MARK` set to `mark` before the first packet, so that the kernel programs let it pass.
/// Mark 0 sets none; any other needs `CAP_NET_ADMIN`.
///
/// # Errors
/// Those of connect(2); [`io::ErrorKind::TimedOut`] when `timeout` has passed; [`io::ErrorKind::PermissionDenied`] when
/// the mark may not be set.
///
/// # Panics
/// Outside of [`super::run_worker`].
pub async fn connect(addr: SocketAddr, mark: u32, timeout: Duration, transport: Transport) -> io::Result<Stream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking().cloexec(), None)?;
    connect_from(socket, addr, mark, timeout, transport).await
}

/// [`connect`] with a TCP socket of `addr`'s family that was made elsewhere: in another network namespace, where it
/// stays.
///
/// # Errors
/// Those of [`connect`].
///
/// # Panics
/// Outside of [`super::run_worker`].
pub async fn connect_from(
    socket: Socket,
    addr: SocketAddr,
    mark: u32,
    timeout: Duration,
    transport: Transport,
) -> io::Result<Stream> {
    socket.set_nonblocking(true)?;
    if mark != 0 {
        setsockopt(&socket, sockopt::Mark, &mark)?;
    }
    // A socket that is not connected yet is a stream to the standard library only by name.
    let socket = TcpSocket::from_std_stream(socket.into());
    // Given up on, the connect closes its socket: nothing is left in the kernel.
    let connected =
        tokio::time::timeout(timeout, socket.connect(addr)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    Stream::from_std(connected.into_std()?, transport)
}
