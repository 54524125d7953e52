//! Names of the maps and programs in the object file, and of their pins.

/// Array of one [`Settings`](crate::Settings).
pub const SETTINGS: &str = "SETTINGS";
/// Trie of [`EndpointV4`](crate::EndpointV4).
pub const ENDPOINTS_V4: &str = "ENDPOINTS_V4";
/// Trie of [`EndpointV6`](crate::EndpointV6).
pub const ENDPOINTS_V6: &str = "ENDPOINTS_V6";
/// Network namespace cookie to [`Listener`](crate::Listener).
pub const LISTENERS: &str = "LISTENERS";
/// [`FlowKey`](crate::FlowKey) to [`Flow`](crate::Flow).
pub const FLOWS: &str = "FLOWS";
/// Socket cookie to [`Snapshot`](crate::Snapshot).
pub const SNAPSHOTS: &str = "SNAPSHOTS";
/// [`Pending`](crate::Pending) of each redirected socket.
pub const PENDING: &str = "PENDING";
/// Per-CPU `u64` of each [`Counter`](crate::Counter).
pub const COUNTERS: &str = "COUNTERS";

/// cgroup id to [`CgroupRule`](crate::CgroupRule).
pub const CGROUPS: &str = "CGROUPS";
/// Boot time of the daemon's last sign of life, in nanoseconds.
pub const HEARTBEAT: &str = "HEARTBEAT";
/// Memory-mapped array of the flows that wait for accept, by bucket of users.
pub const WAITING: &str = "WAITING";
/// When a network namespace last asked for a listener.
pub const WANTED: &str = "WANTED";
/// Ring buffer of [`Event`](crate::Event).
pub const EVENTS: &str = "EVENTS";
/// Ring buffer of [`DnsPacket`](crate::DnsPacket).
pub const DNS: &str = "DNS";

/// Global: whether the kernel tells a packet's network namespace.
pub const NETNS_OF_PACKET: &str = "NETNS_OF_PACKET";

/// Every map that outlives the daemon.
pub const MAPS: [&str; 14] = [
    SETTINGS,
    ENDPOINTS_V4,
    ENDPOINTS_V6,
    LISTENERS,
    FLOWS,
    SNAPSHOTS,
    PENDING,
    COUNTERS,
    CGROUPS,
    HEARTBEAT,
    WAITING,
    WANTED,
    EVENTS,
    DNS,
];

/// Global variable that holds [`Offsets`](crate::Offsets).
pub const SNAPSHOT_OFFSETS: &str = "SNAPSHOT_OFFSETS";

/// Every program, in the order to attach them: what cleans up and what records stands before what redirects.
pub const PROGRAMS: [&str; 10] = [
    "dns_answers",
    "sock_create",
    "sock_release",
    "getpeername4",
    "getpeername6",
    "sock_ops",
    "sendmsg4",
    "sendmsg6",
    "connect4",
    "connect6",
];
