//! `sock_create`: a socket's cgroup is that of its maker, for good, and may differ from the caller's at connect.

use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use aya_ebpf::macros::cgroup_sock;
use aya_ebpf::programs::SockContext;

use crate::context::is_stream;
use crate::maps::pending_of_context;

const ALLOW: i32 = 1;

#[cgroup_sock(sock_create)]
fn sock_create(ctx: SockContext) -> i32 {
    if is_stream(&ctx)
        && let Some(pending) = pending_of_context(&ctx, true)
    {
        // SAFETY: takes nothing.
        pending.flow.socket_cgroup = unsafe { bpf_get_current_cgroup_id() };
    }
    ALLOW
}
