//! Plain types shared by the kernel programs and the daemon, and the names of what the object file holds.
//!
//! Everything here is `repr(C)` without implicit padding and valid for every bit pattern; the layouts are asserted in
//! `layout.rs`, which both halves compile. A change of any layout needs a new [`ABI`]: maps and links are pinned below
//! a directory of that number, so two versions never read each other's memory.
//!
//! Addresses are 16 bytes in network order, IPv4 as v4-mapped IPv6 (RFC 4291, 2.5.5.2). Ports are in host order
//! unless a field says otherwise.
#![no_std]

mod cgroup;
mod dns;
mod endpoint;
mod event;
mod flow;
mod layout;
mod listener;

pub mod names;
mod snapshot;
mod stats;
#[cfg(feature = "user")]
mod user;

pub use cgroup::{CgroupRule, MAX_DEPTH, mode};
pub use dns::{DnsPacket, MAX_DNS_PAYLOAD};
pub use endpoint::{
    ANY_PORT, Address, CANARY_PORT, CANARY_V4, CANARY_V6, EndpointRule, EndpointV4, EndpointV6, PORT_BITS, Peer, rule,
};
pub use event::{Event, kind};
pub use flow::{Flow, FlowKey, Pending, reason, stage};
pub use listener::{Listener, Settings, waiting_bucket};
pub use snapshot::{
    Ancestor, At, MAX_ANCESTORS, MAX_CGROUP_DEPTH, MAX_CGROUP_NAME, MAX_GROUPS, MAX_SNAPSHOTS, MAX_TEXT, MEMBER_COUNT,
    MEMBERS, Member, Offsets, Snapshot, flag,
};
pub use stats::Counter;

/// Version of the layouts, map names and program names below. Pins of another version are left alone.
pub const ABI: u32 = 2;

/// Destinations (address or prefix, and port) that can be enrolled, for each family.
pub const MAX_ENDPOINTS: usize = 65_536;

/// Redirected connections that wait for the daemon's accept.
pub const MAX_FLOWS: usize = 65_536;

/// Network namespaces with a listener.
pub const MAX_LISTENERS: usize = 1_024;

/// cgroups with a mode of their own.
pub const MAX_CGROUP_RULES: usize = 1_024;

/// Buckets in which waiting flows are counted; see [`waiting_bucket`].
pub const USER_BUCKETS: usize = 4_096;

/// Bytes of the ring buffer of events.
pub const EVENT_BYTES: usize = 256 * 1024;

/// Bytes of the ring buffer of DNS answers.
pub const DNS_BYTES: usize = 1024 * 1024;
