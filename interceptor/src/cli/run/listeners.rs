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

/// Worker threads.
pub(super) fn workers(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    if config.listen.workers == 0 { cores } else { config.listen.workers }
}

/// Sockets of this network namespace, at least one a worker and address family, listening before the first connection
/// is redirected to them. What an earlier daemon left comes first: connections may be waiting there.
pub(super) fn complete(config: &Config, inherited: &[TcpListener]) -> Result<Vec<TcpListener>, Failure> {
    let mut fresh = Vec::new();
    for addr in listener_addresses(config) {
        let is_there = |socket: &&TcpListener| socket.local_addr().is_ok_and(|local| local == addr);
        let there = inherited.iter().filter(is_there).count();
        if there == 0 {
            // SO_REUSEPORT would let a second daemon share the port and take half of this one's connections.
            TcpListener::bind(addr).map_err(|e| {
                format!("cannot listen on {addr}: {e}; is another daemon running here? Else choose another listen.port")
            })?;
        }
        for _ in there..workers(config) {
            let socket = Listener::bind_std(addr, BACKLOG);
            fresh.push(socket.map_err(|e| format!("cannot listen on {addr}: {e}; choose another listen.port"))?);
        }
    }
    Ok(fresh)
}
