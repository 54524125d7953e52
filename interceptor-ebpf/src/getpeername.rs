//! `getpeername4`, `getpeername6`: a redirected client is shown the peer it asked for.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use interceptor_ebpf::{Peer, stage};

use crate::context::SockAddr;
use crate::verdict::PROCEED;

#[cgroup_sock_addr(getpeername4)]
fn getpeername4(ctx: SockAddrContext) -> i32 {
    let ctx = SockAddr(ctx);
    if let Some(peer) = original(&ctx)
        && let Some(address) = peer.address.as_v4()
    {
        ctx.set_v4(address, peer.port);
    }
    PROCEED
}

#[cgroup_sock_addr(getpeername6)]
fn getpeername6(ctx: SockAddrContext) -> i32 {
    let ctx = SockAddr(ctx);
    if let Some(peer) = original(&ctx) {
        ctx.set_v6(peer.address, peer.port);
    }
    PROCEED
}

#[inline(always)]
fn original(ctx: &SockAddr) -> Option<Peer> {
    ctx.pending().filter(|pending| pending.stage != stage::NONE).map(|pending| pending.flow.original)
}
