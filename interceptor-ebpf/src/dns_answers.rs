//! `dns_answers`: what resolvers tell enrolled processes is copied to the daemon, which learns endpoints' addresses from
//! it. Every packet that reaches an enrolled socket passes here, so the common case is two short loads.

use core::arch::asm;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_skb_load_bytes};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use interceptor_ebpf::{Address, Counter, DnsPacket, MAX_DNS_PAYLOAD};

use crate::features;
use crate::maps::{DNS, count};

const ALLOW: i32 = 1;

const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
const ETH_P_IPV6: u32 = 0x86dd_u16.to_be() as u32;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const IPV6_HEADER: u32 = 40;
const UDP_HEADER: u32 = 8;
const DNS_PORT: u16 = 53;

/// Where the transport header of a packet begins, which it is, and who sent it.
struct Packet {
    source: Address,
    protocol: u8,
    transport: u32,
}

#[cgroup_skb(ingress)]
fn dns_answers(ctx: SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    if let Some(packet) = parse(skb) {
        let is_dns = load::<u16>(skb, packet.transport).is_some_and(|port| u16::from_be(port) == DNS_PORT);
        match packet.protocol {
            IPPROTO_UDP if is_dns => copy(skb, &packet),
            IPPROTO_TCP if is_dns => count(Counter::DnsTcp),
            _ => {}
        }
    }
    ALLOW
}

#[inline(always)]
fn parse(skb: *mut __sk_buff) -> Option<Packet> {
    // SAFETY: the context, a field of four bytes.
    match unsafe { (&raw const (*skb).protocol).read_volatile() } {
        ETH_P_IP => {
            let protocol = load::<u8>(skb, 9)?;
            if protocol != IPPROTO_UDP && protocol != IPPROTO_TCP {
                return None;
            }
            let words = u32::from(load::<u8>(skb, 0)? & 0x0f);
            Some(Packet { source: Address::v4(load(skb, 12)?), protocol, transport: words * 4 })
        }
        // Behind extension headers no resolver answers.
        ETH_P_IPV6 => {
            let protocol = load::<u8>(skb, 6)?;
            if protocol != IPPROTO_UDP && protocol != IPPROTO_TCP {
                return None;
            }
            Some(Packet { source: Address(load(skb, 8)?), protocol, transport: IPV6_HEADER })
        }
        _ => None,
    }
}

#[inline(always)]
fn copy(skb: *mut __sk_buff, packet: &Packet) {
    let Some(length) = load::<u16>(skb, packet.transport + 4) else { return };
    let Some(length) = payload_length(u16::from_be(length)) else { return count(Counter::DnsLong) };
    let Some(mut entry) = DNS.reserve(0) else { return count(Counter::DnsLost) };
    let at: *mut DnsPacket = entry.as_mut_ptr();
    // SAFETY: the entry is as large as the type; the fields are plain and all are written, but for the payload's end,
    // which the length leaves out.
    let status = unsafe {
        (&raw mut (*at).resolver).write(packet.source);
        (&raw mut (*at).netns_cookie).write(netns_cookie(skb));
        (&raw mut (*at).length).write(length);
        (&raw mut (*at).reserved).write(0);
        bpf_skb_load_bytes(skb.cast(), packet.transport + UDP_HEADER, (&raw mut (*at).payload).cast(), length)
    };
    if status == 0 {
        count(Counter::DnsSeen);
        entry.submit(0);
    } else {
        // Cut off underway.
        entry.discard(0);
    }
}

/// What follows the header of a datagram of that length, if it is something and fits.
#[inline(always)]
fn payload_length(datagram: u16) -> Option<u32> {
    let mut last = u64::from(datagram).wrapping_sub(u64::from(UDP_HEADER) + 1);
    // SAFETY: a register is moved to itself (with no instruction at all, line information would stand twice at the next,
    // which the kernel refuses). The compiler, which no longer knows the value, has to compare it and add to it in this
    // order; so the verifier sees that the sum is not 0, which on older kernels (6.1 for one) it does not learn from a
    // comparison with 0.
    unsafe { asm!("{last} = {last}", last = inout(reg) last) };
    if last >= MAX_DNS_PAYLOAD as u64 { None } else { Some(last as u32 + 1) }
}

#[inline(always)]
fn netns_cookie(skb: *mut __sk_buff) -> u64 {
    if !features::netns_of_packet() {
        return 0;
    }
    // SAFETY: takes the context.
    unsafe { bpf_get_netns_cookie(skb.cast()) }
}

/// Bytes of the packet, counted from its network header.
#[inline(always)]
fn load<T: Default>(skb: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the buffer is on the stack and of the size given; every type it is used for is plain.
    let status = unsafe { bpf_skb_load_bytes(skb.cast(), offset, (&raw mut value).cast(), size_of::<T>() as u32) };
    (status == 0).then_some(value)
}
