//! What the daemon tells the programs about itself.

use crate::USER_BUCKETS;

/// The daemon's listener in one network namespace: 127.0.0.1 and ::1, one port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Stamped on every flow made for this listener; a new listener gets a new one.
    pub generation: u64,
    /// The loopback port, in host order.
    pub port: u16,
    /// Zero.
    pub reserved: [u16; 3],
}

/// The daemon itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// cgroup of the daemon. With `own_mark`, both must match, it tells own connections from captured ones.
    pub own_cgroup: u64,
    /// Nanoseconds without a heartbeat after which the daemon counts as dead; 0: none is kept.
    pub stale_after: u64,
    /// SO_MARK of the daemon's own sockets; never 0.
    pub own_mark: u32,
    /// Entries of the map of cgroup rules; 0 saves the search.
    pub cgroup_rules: u32,
    /// Flows of one user that may wait for accept in the daemon's own network namespace. A quarter of it holds for all
    /// of another one.
    pub max_waiting: u64,
    /// The daemon's own network namespace.
    pub own_netns: u64,
}

/// The bucket that a waiting flow is counted in: its user's; in network namespaces other than the daemon's, that
/// namespace's, for whoever owns one can make users and can keep connections from coming about.
#[inline(always)]
#[must_use]
pub const fn waiting_bucket(uid: u32, netns_cookie: u64, own_netns: u64) -> u32 {
    const HALF: u32 = USER_BUCKETS as u32 / 2;
    if netns_cookie == own_netns { uid % HALF } else { HALF + (netns_cookie % HALF as u64) as u32 }
}
