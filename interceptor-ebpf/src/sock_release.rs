//! `sock_release`: a connection that never came about leaves no flow behind. One that was established keeps its flow:
//! it may wait in the listener's queue although its client is gone.

use aya_ebpf::macros::cgroup_sock;
use aya_ebpf::programs::SockContext;
use interceptor_ebpf::{Counter, stage};

use crate::context::is_unconnected;
use crate::maps::{FLOWS, add_waiting, count, pending_of_context};
use crate::task;

const ALLOW: i32 = 1;

#[cgroup_sock(sock_release)]
fn sock_release(ctx: SockContext) -> i32 {
    let Some(pending) = pending_of_context(&ctx, false) else { return ALLOW };
    if pending.stage == stage::NONE || !is_unconnected(&ctx) {
        return ALLOW;
    }
    task::forget(pending.flow.socket_cookie);
    if pending.stage != stage::RECORDED {
        return ALLOW;
    }
    // SAFETY: the map is preallocated; a concurrent reuse of the entry changes the cookie, and then it is not ours.
    let cookie = unsafe { FLOWS.get(&pending.key) }.map(|flow| flow.socket_cookie);
    if cookie == Some(pending.flow.socket_cookie) && FLOWS.remove(&pending.key).is_ok() {
        count(Counter::FlowAbandoned);
        add_waiting(&pending.flow, -1);
    }
    ALLOW
}
