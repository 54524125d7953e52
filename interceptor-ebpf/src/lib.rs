//! Plain types shared by the kernel programs and the daemon, and the names of what the object file holds.
//!
//! Everything here is `repr(C)` without implicit padding and valid for every bit pattern; the layouts are asserted in
//! `layout.rs`, which both halves compile. A change of any layout needs a new [`ABI`]: maps and links are pinned below
//! a directory of that number, so two versions never read each other's memory.
//!
//! Addresses are 16 bytes in network order, IPv4 as v4-mapped IPv6 (RFC 4291, 2.5.5.2). Ports are in host order
//! unless a field says otherwise.
#![no_std]

mod endpoint;
mod flow;
mod layout;
mod listener;
pub mod names;
mod snapshot;
mod stats;
#[cfg(feature = "user")]
mod user;

pub use endpoint::{Address, EndpointRule, EndpointV4, EndpointV6, PORT_BITS, Peer};
pub use flow::{Flow, FlowKey, Pending, stage};
pub use listener::{Listener, Settings};
pub use snapshot::{
    Ancestor, At, MAX_ANCESTORS, MAX_GROUPS, MAX_SNAPSHOTS, MAX_TEXT, MEMBER_COUNT, MEMBERS, Member, Offsets, Snapshot,
    flag,
};
pub use stats::Counter;

/// Version of the layouts, map names and program names below. Pins of another version are left alone.
pub const ABI: u32 = 1;

/// Destinations (address or prefix, and port) that can be enrolled, for each family.
pub const MAX_ENDPOINTS: usize = 16_384;

/// Redirected connections that wait for the daemon's accept.
pub const MAX_FLOWS: usize = 32_768;

/// Network namespaces with a listener.
pub const MAX_LISTENERS: usize = 1_024;
