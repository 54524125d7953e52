//! `sock_create`: a socket's cgroup is that of its maker, for good, and may differ from the caller's at connect. Also the
//! first sign of a network namespace that needs a listener; and where a protocol without hooks is refused.

use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use aya_ebpf::macros::cgroup_sock;
use aya_ebpf::programs::SockContext;
use interceptor_ebpf::Counter;

use crate::context::{is_stream, is_udp_lite};
use crate::events::want_listener;
use crate::maps::{count, pending_of_context};

const ALLOW: i32 = 1;
/// EPERM.
const DENY: i32 = 0;

#[cgroup_sock(sock_create)]
fn sock_create(ctx: SockContext) -> i32 {
    // The kernel calls no connect hook for it, so that it would pass wherever UDP is refused.
    if is_udp_lite(&ctx) {
        count(Counter::RefusedProtocol);
        return DENY;
    }
    // Most clients ask a resolver before they connect, so the listener stands when they do.
    want_listener(&ctx);
    if is_stream(&ctx)
        && let Some(pending) = pending_of_context(&ctx, true)
    {
        // SAFETY: takes nothing.
        pending.flow.socket_cgroup = unsafe { bpf_get_current_cgroup_id() };
    }
    ALLOW
}
