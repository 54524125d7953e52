//! What every hook decides alike: enrolled or not, own or not, and how to refuse.

use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_set_retval};
use interceptor_ebpf::{Counter, EndpointV4, EndpointV6, PORT_BITS, Peer};

use crate::context::SockAddr;
use crate::maps::{ENDPOINTS_V4, ENDPOINTS_V6, SETTINGS, count};

/// The kernel goes on with the call.
pub(crate) const PROCEED: i32 = 1;

const ECONNREFUSED: i32 = 111;

/// Fails the call with ECONNREFUSED.
#[inline(always)]
pub(crate) fn refuse(why: Counter) -> i32 {
    count(why);
    // SAFETY: takes a plain number.
    unsafe { bpf_set_retval(-ECONNREFUSED) };
    0
}

/// Whether the destination is enrolled.
#[inline(always)]
pub(crate) fn is_enrolled(peer: Peer) -> bool {
    match peer.address.as_v4() {
        Some(address) => ENDPOINTS_V4.get(&Key::new(PORT_BITS + 32, EndpointV4::new(address, peer.port))).is_some(),
        None => ENDPOINTS_V6.get(&Key::new(PORT_BITS + 128, EndpointV6::new(peer.address.0, peer.port))).is_some(),
    }
}

/// Who opens a connection.
pub(crate) enum Opener {
    /// The daemon: both its cgroup and its mark.
    Daemon,
    /// Anyone else.
    Client,
    /// The daemon has not said who it is.
    Unknown,
}

/// Who the caller is.
#[inline(always)]
pub(crate) fn opener(ctx: &SockAddr) -> Opener {
    let Some(settings) = SETTINGS.get(0) else { return Opener::Unknown };
    if settings.own_cgroup == 0 || settings.own_mark == 0 {
        return Opener::Unknown;
    }
    // SAFETY: takes nothing.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    if cgroup == settings.own_cgroup && ctx.mark() == settings.own_mark { Opener::Daemon } else { Opener::Client }
}
