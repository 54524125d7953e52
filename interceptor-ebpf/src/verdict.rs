//! What every hook decides alike: what is captured and why, own or not, alive or not, and how to refuse.

use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns, bpf_set_retval,
};
use interceptor_ebpf::{
    ANY_PORT, Address, Counter, EndpointRule, EndpointV4, EndpointV6, MAX_DEPTH, PORT_BITS, Peer, Settings, kind, mode,
    reason, rule,
};

use crate::context::{SockAddr, Transport};
use crate::events::tell;
use crate::features;
use crate::maps::{CGROUPS, ENDPOINTS_V4, ENDPOINTS_V6, HEARTBEAT, SETTINGS, count};

/// The kernel goes on with the call.
pub(crate) const PROCEED: i32 = 1;

const ECONNREFUSED: i32 = 111;
const HTTPS: u16 = 443;

/// What is to become of a connection or datagram.
pub(crate) enum Verdict {
    /// The daemon's: for one of [`reason`].
    Capture(u32),
    /// It goes where it wants.
    Pass,
    /// It fails.
    Refuse(Counter),
}

/// Fails the call with ECONNREFUSED, or with EPERM where the kernel leaves no choice.
#[inline(always)]
pub(crate) fn refuse(ctx: &SockAddr, destination: Peer, why: Counter) -> i32 {
    count(why);
    tell(kind::REFUSED, why, ctx, destination);
    if features::set_retval() {
        // SAFETY: takes a plain number.
        unsafe { bpf_set_retval(-ECONNREFUSED) };
    }
    0
}

/// The verdict on a socket that wants to reach `destination`.
#[inline(always)]
pub(crate) fn judge(ctx: &SockAddr, destination: Peer, transport: Transport) -> Verdict {
    let found = enrolled(destination);
    let Some(settings) = SETTINGS.get(0).filter(|settings| settings.own_cgroup != 0 && settings.own_mark != 0) else {
        // The daemon has not said who it is.
        return if found.is_some() { Verdict::Refuse(Counter::RefusedNoSettings) } else { Verdict::Pass };
    };
    let mode = if settings.cgroup_rules == 0 { mode::NAMES } else { mode_of_task() };
    let why = match found {
        Some(rule) if rule.flags & rule::CANARY != 0 => reason::CANARY,
        Some(_) => reason::ENROLLED,
        None if mode == mode::STRICT && is_strict_about(ctx, settings, destination, transport) => {
            strict_reason(destination)
        }
        None => return Verdict::Pass,
    };
    if is_own(ctx, settings) {
        count(Counter::Own);
        return Verdict::Pass;
    }
    if mode == mode::EXEMPT {
        count(Counter::Exempt);
        tell(kind::EXEMPT, Counter::Exempt, ctx, destination);
        return Verdict::Pass;
    }
    match transport {
        Transport::Tcp => {}
        Transport::Datagram => return Verdict::Refuse(Counter::RefusedDatagram),
        Transport::Other => return Verdict::Refuse(Counter::RefusedProtocol),
    }
    if is_alive(settings) {
        return Verdict::Capture(why);
    }
    if found.is_some_and(|found| found.flags & rule::OPEN_WHEN_DOWN != 0) {
        count(Counter::PassedOpen);
        tell(kind::PASSED_OPEN, Counter::PassedOpen, ctx, destination);
        return Verdict::Pass;
    }
    Verdict::Refuse(Counter::RefusedStale)
}

/// The destination's entry, if it is enrolled.
#[inline(always)]
fn enrolled(peer: Peer) -> Option<&'static EndpointRule> {
    match peer.address.as_v4() {
        Some(address) => ENDPOINTS_V4.get(&Key::new(PORT_BITS + 32, EndpointV4::new(address, peer.port))),
        None => ENDPOINTS_V6.get(&Key::new(PORT_BITS + 128, EndpointV6::new(peer.address.0, peer.port))),
    }
}

/// What strict captures beside enrolled destinations: whatever leaves the host over TCP, QUIC, and datagrams to any port
/// of an enrolled address. Local connections end at processes that are captured themselves when they go further; but
/// only where loopback is the host's: whoever owns a network namespace can send its loopback elsewhere.
#[inline(always)]
fn is_strict_about(ctx: &SockAddr, settings: &Settings, destination: Peer, transport: Transport) -> bool {
    if destination.address.is_loopback() && ctx.netns_cookie() == settings.own_netns {
        return false;
    }
    match transport {
        Transport::Tcp | Transport::Other => true,
        Transport::Datagram => destination.port == HTTPS || is_endpoints_address(destination.address),
    }
}

/// An endpoint's address belongs to the endpoint on every port: what is not for it has no business there either.
#[inline(always)]
fn strict_reason(destination: Peer) -> u32 {
    if is_endpoints_address(destination.address) { reason::ENROLLED } else { reason::STRICT }
}

/// Whether any port of the address is enrolled.
#[inline(always)]
fn is_endpoints_address(address: Address) -> bool {
    enrolled(Peer::new(address, ANY_PORT)).is_some()
}

/// The mode of the nearest cgroup that has one.
#[inline(always)]
fn mode_of_task() -> u32 {
    let mut found = mode::NAMES;
    for level in 0..MAX_DEPTH {
        // SAFETY: takes a plain number; 0 where the task's cgroup is not that deep.
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) };
        if id == 0 {
            break;
        }
        // SAFETY: preallocated, whole values of four bytes; a stale read is one connection judged by the old rules.
        if let Some(rule) = unsafe { CGROUPS.get(id) } {
            found = rule.mode;
        }
    }
    found
}

/// Both the daemon's cgroup and its mark; either alone could be had by others.
#[inline(always)]
fn is_own(ctx: &SockAddr, settings: &Settings) -> bool {
    // SAFETY: takes nothing.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    cgroup == settings.own_cgroup && ctx.mark() == settings.own_mark
}

#[inline(always)]
fn is_alive(settings: &Settings) -> bool {
    if settings.stale_after == 0 {
        return true;
    }
    let beat = HEARTBEAT.get(0).copied().unwrap_or(0);
    // SAFETY: takes nothing.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    now.saturating_sub(beat) < settings.stale_after
}
