//! The ring buffer of events.

use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use aya_ebpf::programs::SockContext;
use interceptor_ebpf::{Address, Counter, Event, Peer, kind};

use crate::context::{SockAddr, netns_cookie_of_context};
use crate::maps::{EVENTS, LISTENERS, WANTED, count};

/// A namespace asks for a listener at most this often, in nanoseconds.
const ASK_AGAIN: u64 = 50_000_000;

/// Reports what became of a connection or datagram.
#[inline(always)]
pub(crate) fn tell(kind: u32, counter: Counter, ctx: &SockAddr, destination: Peer) {
    report(kind, counter, ctx.netns_cookie(), destination);
}

/// Reports that a namespace without a listener is about to need one; not again within a moment.
#[inline(always)]
pub(crate) fn want_listener(ctx: &SockContext) {
    let netns_cookie = netns_cookie_of_context(ctx);
    // SAFETY: only whether there is one counts.
    if unsafe { LISTENERS.get(netns_cookie) }.is_none() {
        ask(netns_cookie);
    }
}

/// As [`want_listener`], for a connection that is being refused for want of one.
#[inline(always)]
pub(crate) fn ask(netns_cookie: u64) {
    // SAFETY: takes nothing.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: a plain number, written whole; a stale read means one event more or less.
    let asked = unsafe { WANTED.get(netns_cookie) }.copied().unwrap_or(0);
    if now.saturating_sub(asked) < ASK_AGAIN {
        return;
    }
    // Without memory for it the event is sent again, no more.
    let _ = WANTED.insert(&netns_cookie, &now, 0);
    report(kind::NETNS_WANTED, Counter::RefusedNoListener, netns_cookie, Peer::new(Address([0; 4]), 0));
}

#[inline(always)]
fn report(kind: u32, counter: Counter, netns_cookie: u64, destination: Peer) {
    let Some(mut entry) = EVENTS.reserve(0) else { return count(Counter::EventLost) };
    let task = bpf_get_current_pid_tgid();
    entry.write(Event {
        destination,
        // SAFETY: takes nothing.
        at: unsafe { bpf_ktime_get_boot_ns() },
        netns_cookie,
        // SAFETY: takes nothing.
        cgroup: unsafe { bpf_get_current_cgroup_id() },
        kind,
        counter: counter as u32,
        tgid: (task >> 32) as u32,
        tid: task as u32,
        uid: bpf_get_current_uid_gid() as u32,
        reserved: 0,
    });
    entry.submit(0);
}
