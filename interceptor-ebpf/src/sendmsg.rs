//! `sendmsg4`, `sendmsg6`: datagrams of unconnected sockets. QUIC to an enrolled destination is refused at once, so
//! that the client falls back to TCP instead of waiting.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use interceptor_ebpf::Peer;

use crate::context::{SockAddr, Transport};
use crate::verdict::{PROCEED, Verdict, judge, refuse};

#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    let ctx = SockAddr(ctx);
    decide(&ctx, ctx.peer_v4())
}

#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    let ctx = SockAddr(ctx);
    decide(&ctx, ctx.peer_v6())
}

#[inline(always)]
fn decide(ctx: &SockAddr, peer: Peer) -> i32 {
    match judge(ctx, peer, Transport::Datagram) {
        Verdict::Refuse(why) => refuse(ctx, peer, why),
        Verdict::Pass | Verdict::Capture(_) => PROCEED,
    }
}
