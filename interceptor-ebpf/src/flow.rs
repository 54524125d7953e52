//! Redirected connections: what the connect hook saw, and how the daemon finds it at accept.

use crate::{Address, Peer};

/// How far a socket has come; the values of [`Pending::stage`].
pub mod stage {
    /// Not redirected.
    pub const NONE: u32 = 0;
    /// The destination was rewritten; the SYN has not left yet.
    pub const REDIRECTED: u32 = 1;
    /// The flow stands in the map under [`Pending::key`](super::Pending::key).
    pub const RECORDED: u32 = 2;
    /// An MPTCP socket whose first subflow was redirected: it only knows the peer to show.
    pub const SHOWN: u32 = 3;
}

/// Why a connection was redirected; the values of [`Flow::reason`].
pub mod reason {
    /// Its destination is enrolled.
    pub const ENROLLED: u32 = 0;
    /// Its caller's cgroup is strict.
    pub const STRICT: u32 = 1;
    /// It is the daemon's self-test.
    pub const CANARY: u32 = 2;
}

/// The client's end of a redirected connection, as the listener sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// The network namespace both ends are in.
    pub netns_cookie: u64,
    /// The client's own address and port.
    pub client: Peer,
}

/// One redirected connection and who made it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where the client meant to connect.
    pub original: Peer,
    /// The client's network namespace.
    pub netns_cookie: u64,
    /// The client's socket.
    pub socket_cookie: u64,
    /// cgroup of the task that called connect.
    pub task_cgroup: u64,
    /// cgroup the socket was made in; 0: made before the programs were attached.
    pub socket_cgroup: u64,
    /// Boot time of the connect call, in nanoseconds (`CLOCK_BOOTTIME`).
    pub connected_at: u64,
    /// [`Listener::generation`](crate::Listener::generation) at the connect call.
    pub generation: u64,
    /// Thread group (what userspace calls a process) of the caller.
    pub tgid: u32,
    /// Thread of the caller; an io_uring worker has its own.
    pub tid: u32,
    /// Real user of the caller, in the initial user namespace.
    pub uid: u32,
    /// Real group of the caller, in the initial user namespace.
    pub gid: u32,
    /// One of [`reason`].
    pub reason: u32,
    /// Zero.
    pub reserved: u32,
}

/// What a socket carries from one hook to the next.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The connection.
    pub flow: Flow,
    /// Where it stands in the map, once `stage` is `RECORDED`.
    pub key: FlowKey,
    /// One of [`stage`].
    pub stage: u32,
    /// Zero.
    pub reserved: u32,
}

impl FlowKey {
    /// The key of a client's end.
    #[inline(always)]
    #[must_use]
    pub const fn new(netns_cookie: u64, address: Address, port: u16) -> Self {
        Self { netns_cookie, client: Peer::new(address, port) }
    }
}
