//! What the programs tell the daemon at once, beside counting it.

use crate::Peer;

/// What happened; the values of [`Event::kind`].
pub mod kind {
    /// A process makes sockets in a network namespace that has no listener: make one.
    pub const NETNS_WANTED: u32 = 1;
    /// A connection or datagram was refused; [`Event::counter`](super::Event::counter) says why.
    pub const REFUSED: u32 = 2;
    /// The daemon is dead or hung and the endpoint is one that is open then: the connection went direct.
    pub const PASSED_OPEN: u32 = 3;
    /// A process of an exempt cgroup connected to an enrolled destination, direct.
    pub const EXEMPT: u32 = 4;
}

/// One event.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where the client meant to go; zeros when that is not what the event is about.
    pub destination: Peer,
    /// Boot time, in nanoseconds (`CLOCK_BOOTTIME`).
    pub at: u64,
    /// Network namespace of the socket.
    pub netns_cookie: u64,
    /// cgroup of the task.
    pub cgroup: u64,
    /// One of [`kind`].
    pub kind: u32,
    /// The [`Counter`](crate::Counter) of a refusal.
    pub counter: u32,
    /// Process of the caller.
    pub tgid: u32,
    /// Thread of the caller.
    pub tid: u32,
    /// Real user of the caller.
    pub uid: u32,
    /// Zero.
    pub reserved: u32,
}
