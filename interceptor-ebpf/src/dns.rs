//! DNS answers as the enrolled processes receive them, copied for the daemon, which learns addresses from them.

use crate::Address;

/// Longest answer that is copied; RFC 9715 keeps answers over UDP below 1,400 bytes. A longer one is counted.
pub const MAX_DNS_PAYLOAD: usize = 1_472;

/// A datagram from port 53.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsPacket {
    /// Where it came from.
    pub resolver: Address,
    /// The receiver's network namespace; 0 where this kernel does not tell.
    pub netns_cookie: u64,
    /// Bytes of the payload that count.
    pub length: u32,
    /// Zero.
    pub reserved: u32,
    /// The DNS message (RFC 1035, 4.1).
    pub payload: [u8; MAX_DNS_PAYLOAD],
}
