//! Destinations: what is enrolled, and where a client meant to go.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Bits of the port in an endpoint key. It stands before the address, so a prefix of `PORT_BITS + n` bits means one
/// port and `n` bits of address.
pub const PORT_BITS: u32 = 32;

/// An IP address: 16 bytes in network order, IPv4 as `::ffff:a.b.c.d`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub [u32; 4]);

/// An address and a port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address.
    pub address: Address,
    /// The port, in host order.
    pub port: u16,
    /// Zero.
    pub reserved: [u16; 3],
}

/// Key of the trie of enrolled IPv4 destinations.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointV4 {
    /// The port in network order, in the last two of four bytes.
    pub port: u32,
    /// The address, in network order.
    pub address: u32,
}

/// Key of the trie of enrolled IPv6 destinations.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointV6 {
    /// The port in network order, in the last two of four bytes.
    pub port: u32,
    /// The address, in network order.
    pub address: [u32; 4],
}

/// Bits of [`EndpointRule::flags`].
pub mod rule {
    /// Let connections go direct while the daemon is dead or hung. Without it they are refused.
    pub const OPEN_WHEN_DOWN: u32 = 1;
    /// The daemon's own self-test: never recorded.
    pub const CANARY: u32 = 2;
}

/// What is known of an enrolled destination.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointRule {
    /// Bits of [`rule`].
    pub flags: u32,
}

/// In place of a port: the address is enrolled on some port. Looked up for datagrams of strict cgroups.
pub const ANY_PORT: u16 = 0;

/// Destinations of the daemon's self-test. Should the programs not be in force, nobody listens there and nothing leaves.
pub const CANARY_V4: Address = Address::v4(0x7fff_fffe_u32.to_be());
/// See [`CANARY_V4`].
pub const CANARY_V6: Address = Address([0, 0, 0, 1_u32.to_be()]);
/// Port of both canaries.
pub const CANARY_PORT: u16 = 1;

/// Third word of a v4-mapped address, in memory order.
const MAPPED: u32 = 0xffff_u32.to_be();

impl Address {
    /// From an IPv4 address whose bytes are in network order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(address: u32) -> Self {
        Self([0, 0, MAPPED, address])
    }

    /// The IPv4 address, bytes in network order, when this is a v4-mapped one.
    #[inline(always)]
    #[must_use]
    pub const fn as_v4(self) -> Option<u32> {
        let Self([a, b, c, d]) = self;
        if a == 0 && b == 0 && c == MAPPED { Some(d) } else { None }
    }

    /// Whether a connection to it ends on this host for certain: loopback, or the unspecified address, which Linux
    /// takes for loopback.
    #[inline(always)]
    #[must_use]
    pub const fn is_loopback(self) -> bool {
        let Self([a, b, c, d]) = self;
        match self.as_v4() {
            Some(v4) => v4 == 0 || u32::from_be(v4) >> 24 == 127,
            None => a == 0 && b == 0 && c == 0 && (d == 0 || d == 1_u32.to_be()),
        }
    }
}

impl EndpointV4 {
    /// The key of one destination; `address` in network order, `port` in host order.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: u32, port: u16) -> Self {
        Self { port: (port as u32).to_be(), address }
    }
}

impl EndpointV6 {
    /// The key of one destination; `address` in network order, `port` in host order.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: [u32; 4], port: u16) -> Self {
        Self { port: (port as u32).to_be(), address }
    }
}

impl Peer {
    /// An address and a port in host order.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: Address, port: u16) -> Self {
        Self { address, port, reserved: [0; 3] }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        let mut words = [0; 4];
        let octets = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        }
        .octets();
        for (word, bytes) in words.iter_mut().zip(octets.chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Self(words)
    }
}

impl From<Address> for IpAddr {
    /// A v4-mapped address becomes an IPv4 one.
    fn from(Address(words): Address) -> Self {
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(octets).to_canonical()
    }
}

impl From<Peer> for SocketAddr {
    fn from(peer: Peer) -> Self {
        Self::new(peer.address.into(), peer.port)
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in ["203.0.113.10", "127.0.0.1", "0.0.0.0", "2001:db8::10", "::1", "::"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(ip)), ip);
        }
    }

    #[test]
    fn a_v4_mapped_address_is_its_v4_address() {
        let mapped: IpAddr = "::ffff:203.0.113.10".parse().unwrap();
        let v4 = Ipv4Addr::new(203, 0, 113, 10);
        assert_eq!(Address::from(mapped), Address::from(IpAddr::V4(v4)));
        assert_eq!(Address::from(mapped).as_v4(), Some(u32::from_ne_bytes(v4.octets())));
        assert_eq!(Address::from("::203.0.113.10".parse::<IpAddr>().unwrap()).as_v4(), None);
    }

    #[test]
    fn loopback_is_127_8_and_one_and_the_unspecified() {
        for (text, expected) in [
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", true),
            ("::1", true),
            ("::", true),
            ("128.0.0.1", false),
            ("::2", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(Address::from(text.parse::<IpAddr>().unwrap()).is_loopback(), expected, "{text}");
        }
    }
}
