//! `sock_ops`: when the SYN is about to leave, the local port is known and the listener cannot have accepted yet.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use aya_log_ebpf::debug;
use interceptor_ebpf::{Counter, FlowKey, stage};

use crate::context::SockOps;
use crate::maps::{FLOWS, add_waiting, count};

/// `BPF_SOCK_OPS_TCP_CONNECT_CB`: an active connection sends its SYN.
const TCP_CONNECT: u32 = 3;

#[sock_ops]
fn sock_ops(ctx: SockOpsContext) -> u32 {
    let ops = SockOps(&ctx);
    if ops.event() == TCP_CONNECT {
        record(&ops);
    }
    1
}

#[inline(always)]
fn record(ops: &SockOps<'_>) {
    let Some(pending) = ops.pending() else { return };
    if pending.stage != stage::REDIRECTED {
        return;
    }
    // Both are read before the choice: merged branches would read the context at a variable offset, which the verifier
    // refuses.
    let (v4, v6) = (ops.local_v4(), ops.local_v6());
    let local = if pending.flow.original.address.as_v4().is_some() { v4 } else { v6 };
    pending.key = FlowKey::new(pending.flow.netns_cookie, local, ops.local_port());
    // SAFETY: the map is preallocated; should the entry be taken meanwhile, a count is one too low for a moment.
    if let Some(stale) = unsafe { FLOWS.get(&pending.key) } {
        add_waiting(stale, -1);
    }
    // Not NOEXIST: a stale flow of an earlier connection with the same tuple must give way.
    if FLOWS.insert(&pending.key, &pending.flow, u64::from(BPF_ANY)).is_err() {
        count(Counter::FlowLost);
        debug!(ops.0, "no room for the flow of tgid {}", pending.flow.tgid);
        return;
    }
    add_waiting(&pending.flow, 1);
    pending.stage = stage::RECORDED;
}
