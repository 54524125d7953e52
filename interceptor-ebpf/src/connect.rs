//! `connect4`, `connect6`: an enrolled destination becomes the listener's address.

use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use aya_log_ebpf::debug;
use interceptor_ebpf::{Address, Counter, Flow, Listener, Peer, Pending, reason, stage, waiting_bucket};

use crate::context::{SockAddr, Transport};
use crate::events::ask;
use crate::maps::{LISTENERS, SETTINGS, count, waiting};
use crate::task;
use crate::verdict::{PROCEED, Verdict, judge, refuse};

const LOCALHOST_V4: u32 = 0x7f00_0001_u32.to_be();
const LOCALHOST_V6: Address = Address([0, 0, 0, 1_u32.to_be()]);

#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    let ctx = SockAddr(ctx);
    match decide(&ctx, ctx.peer_v4()) {
        Ok(listener) => {
            ctx.set_v4(LOCALHOST_V4, listener.port);
            PROCEED
        }
        Err(verdict) => verdict,
    }
}

#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    let ctx = SockAddr(ctx);
    let peer = ctx.peer_v6();
    match decide(&ctx, peer) {
        Ok(listener) => {
            // A socket with IPV6_V6ONLY can reach ::1 alone, one that asked for a v4-mapped address has IPv4.
            let to = if peer.address.as_v4().is_some() { Address::v4(LOCALHOST_V4) } else { LOCALHOST_V6 };
            ctx.set_v6(to, listener.port);
            PROCEED
        }
        Err(verdict) => verdict,
    }
}

/// The listener to go to, or the program's return value.
#[inline(always)]
fn decide(ctx: &SockAddr, original: Peer) -> Result<&'static Listener, i32> {
    let transport = ctx.transport();
    match judge(ctx, original, transport) {
        Verdict::Capture(reason) => redirect(ctx, original, reason).map_err(|why| refuse(ctx, original, why)),
        Verdict::Refuse(why) => Err(refuse(ctx, original, why)),
        Verdict::Pass => Err(pass(ctx, original, transport)),
    }
}

/// Everything else goes where it wants, but not to the listener: what arrives there must have a flow.
#[inline(always)]
fn pass(ctx: &SockAddr, original: Peer, transport: Transport) -> i32 {
    if transport != Transport::Tcp {
        return PROCEED;
    }
    if original.address.is_loopback()
        && let Some(listener) = listener(ctx.netns_cookie())
        && listener.port == original.port
    {
        return refuse(ctx, original, Counter::RefusedListener);
    }
    // A second connect of a socket whose redirected connection failed.
    if let Some(pending) = ctx.pending() {
        pending.stage = stage::NONE;
    }
    PROCEED
}

#[inline(always)]
fn redirect(ctx: &SockAddr, original: Peer, reason: u32) -> Result<&'static Listener, Counter> {
    let netns_cookie = ctx.netns_cookie();
    let Some(listener) = listener(netns_cookie) else {
        ask(netns_cookie);
        return Err(Counter::RefusedNoListener);
    };
    if original.address.is_loopback() && original.port == listener.port {
        return Err(Counter::RefusedListener);
    }
    if is_over_quota(bpf_get_current_uid_gid() as u32, netns_cookie) {
        return Err(Counter::RefusedQuota);
    }
    if ctx.is_bound_to_device() && ctx.unbind_device().is_err() {
        return Err(Counter::RefusedDevice);
    }
    let pending = ctx.pending_or_new().ok_or(Counter::RefusedNoStorage)?;
    note(pending, ctx, original, netns_cookie, listener.generation, reason);
    task::keep(&pending.flow);
    count(Counter::Redirected);
    if reason == reason::STRICT {
        count(Counter::Strict);
    }
    debug!(&ctx.0, "redirected port {} of tgid {} to port {}", original.port, pending.flow.tgid, listener.port);
    Ok(listener)
}

/// Writes down who called; the socket's cgroup stands there since its creation.
#[inline(always)]
fn note(pending: &mut Pending, ctx: &SockAddr, original: Peer, netns_cookie: u64, generation: u64, reason: u32) {
    let mut socket_cgroup = pending.flow.socket_cgroup;
    if let Some(whole) = ctx.mptcp() {
        // The client holds the MPTCP socket, this is its first subflow, which the kernel made.
        socket_cgroup = whole.flow.socket_cgroup;
        whole.flow.original = original;
        whole.stage = stage::SHOWN;
    }
    let task = bpf_get_current_pid_tgid();
    let user = bpf_get_current_uid_gid();
    pending.flow = Flow {
        original,
        netns_cookie,
        socket_cookie: ctx.socket_cookie(),
        // SAFETY: takes nothing.
        task_cgroup: unsafe { bpf_get_current_cgroup_id() },
        socket_cgroup,
        // SAFETY: takes nothing.
        connected_at: unsafe { bpf_ktime_get_boot_ns() },
        generation,
        tgid: (task >> 32) as u32,
        tid: task as u32,
        uid: user as u32,
        gid: (user >> 32) as u32,
        reason,
        reserved: 0,
    };
    pending.stage = stage::REDIRECTED;
}

/// Nobody may fill the map that everyone's flows go through.
#[inline(always)]
fn is_over_quota(uid: u32, netns_cookie: u64) -> bool {
    let Some(settings) = SETTINGS.get(0) else { return true };
    let is_own = netns_cookie == settings.own_netns;
    let limit = if is_own { settings.max_waiting } else { settings.max_waiting / 4 };
    waiting(waiting_bucket(uid, netns_cookie, settings.own_netns)) >= limit as i64
}

#[inline(always)]
fn listener(netns_cookie: u64) -> Option<&'static Listener> {
    // SAFETY: the map is preallocated and written by the daemon alone, whole entries at a time; a stale read costs one
    // refused connection.
    unsafe { LISTENERS.get(netns_cookie) }
}
