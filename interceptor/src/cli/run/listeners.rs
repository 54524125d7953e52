//! The sockets that connections are redirected to.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::num::NonZero;

use super::Failure;
use crate::config::Config;
use crate::sys::Listener;

/// Connections waiting to be accepted by one worker.
const BACKLOG: u32 = 4096;

pub(super) fn listener_addresses(config: &Config) -> [SocketAddr; 2] {
    let port = config.listen.port;
    [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

/// Worker threads to start.
pub(super) fn workers(config: &Config) -> usize {
    match config.listen.workers {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        workers => workers,
    }
}

/// The sockets of every worker, listening before the first connection is redirected to them.
pub(super) fn bind(config: &Config) -> Result<Vec<TcpListener>, Failure> {
    // SO_REUSEPORT would let a second daemon share the port and take half of this one's connections.
    for addr in listener_addresses(config) {
        TcpListener::bind(addr).map_err(|e| {
            format!("cannot listen on {addr}: {e}; is another daemon running here? Else choose another listen.port")
        })?;
    }
    let listen = |addr: SocketAddr| {
        Listener::bind_std(addr, BACKLOG)
            .map_err(|e| Failure::from(format!("cannot listen on {addr}: {e}; choose another listen.port")))
    };
    (0..workers(config)).flat_map(|_| listener_addresses(config)).map(listen).collect()
}
