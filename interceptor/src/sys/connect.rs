//! Outgoing connections, marked as the daemon's own.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
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
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if mark != 0 {
        setsockopt(&socket, sockopt::Mark, &mark)?;
    }
    // Given up on, the connect closes its socket: nothing is left in the kernel.
    let connected =
        tokio::time::timeout(timeout, socket.connect(addr)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    Stream::from_std(connected.into_std()?, transport)
}
