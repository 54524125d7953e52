//! Socket addresses by the role they play, so that one is never taken for the other.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where the client meant to connect, before the kernel program rewrote its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginalDst(pub SocketAddr);

/// The client's own end of the redirected connection, as the listener sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub SocketAddr);

impl OriginalDst {
    /// The address without the port.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }

    /// The TCP port.
    #[must_use]
    pub fn port(self) -> u16 {
        self.0.port()
    }
}

impl fmt::Display for OriginalDst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
