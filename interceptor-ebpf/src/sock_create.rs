//! `sock_create`: a socket's cgroup is that of its maker, for good, and may differ from the caller's at connect. Also the
//! first sign of a network namespace that needs a listener.

use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use aya_ebpf::macros::cgroup_sock;
use aya_ebpf::programs::SockContext;

use crate::context::is_stream;
use crate::events::want_listener;
use crate::maps::pending_of_context;

const ALLOW: i32 = 1;

#[cgroup_sock(sock_create)]
fn sock_create(ctx: SockContext) -> i32 {
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
