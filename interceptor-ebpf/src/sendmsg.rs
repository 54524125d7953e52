//! `sendmsg4`, `sendmsg6`: datagrams of unconnected sockets. QUIC to an enrolled destination is refused at once, so
//! that the client falls back to TCP instead of waiting.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use interceptor_ebpf::{Counter, Peer};

use crate::context::SockAddr;
use crate::maps::count;
use crate::verdict::{Opener, PROCEED, is_enrolled, opener, refuse};

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
    if !is_enrolled(peer) {
        return PROCEED;
    }
    match opener(ctx) {
        Opener::Daemon => {
            count(Counter::Own);
            PROCEED
        }
        Opener::Client => refuse(Counter::RefusedDatagram),
        Opener::Unknown => refuse(Counter::RefusedNoSettings),
    }
}
