//! How much of a cgroup's traffic is captured.

/// The values of [`CgroupRule::mode`].
pub mod mode {
    /// Connections to enrolled destinations: what holds where no rule says otherwise.
    pub const NAMES: u32 = 0;
    /// Every TCP connection that leaves the host, every datagram to port 443 or to an enrolled address.
    pub const STRICT: u32 = 1;
    /// Nothing.
    pub const EXEMPT: u32 = 2;
}

/// Levels of the cgroup tree that are searched for a rule. A rule further down has no effect, so the daemon refuses it.
pub const MAX_DEPTH: u32 = 24;

/// What holds in a cgroup and below it, as far as no rule of a nearer one says otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupRule {
    /// One of [`mode`].
    pub mode: u32,
}
