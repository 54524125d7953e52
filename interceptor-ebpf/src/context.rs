//! Typed access to the program contexts. Contexts are not memory: the verifier rewrites each load and store, and takes
//! only those of a whole field, so every access is volatile (never merged, split or moved).

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{bpf_sock, bpf_sock_ops};
use aya_ebpf::helpers::generated::{
    bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_setsockopt, bpf_skc_to_mptcp_sock,
};
use aya_ebpf::programs::{SockAddrContext, SockContext, SockOpsContext};
use interceptor_ebpf::{Address, Peer, Pending};

use crate::features;
use crate::maps::{PENDING, pending_of};

macro_rules! load {
    ($base:expr, $($field:tt)+) => {
        // SAFETY: the pointer is the program's context or a socket from it; the verifier checks field and width.
        unsafe { (&raw const (*$base).$($field)+).read_volatile() }
    };
}

macro_rules! store {
    ($base:expr, $value:expr, $($field:tt)+) => {
        // SAFETY: as for loads; the verifier knows which fields may be written.
        unsafe { (&raw mut (*$base).$($field)+).write_volatile($value) }
    };
}

const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;
/// Interface index of `lo` in every network namespace.
const LOOPBACK_INTERFACE: u32 = 1;

/// Transport of a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP, and MPTCP, whose first subflow is TCP.
    Tcp,
    /// UDP, UDP-Lite, ping: anything with datagrams.
    Datagram,
    /// SCTP and other streams.
    Other,
}

/// Context of `connect`, `sendmsg` and `getpeername` programs.
pub(crate) struct SockAddr(pub(crate) SockAddrContext);

impl SockAddr {
    /// The IPv4 destination and port.
    #[inline(always)]
    pub(crate) fn peer_v4(&self) -> Peer {
        Peer::new(Address::v4(load!(self.0.sock_addr, user_ip4)), self.port())
    }

    /// The IPv6 destination and port.
    #[inline(always)]
    pub(crate) fn peer_v6(&self) -> Peer {
        let at = self.0.sock_addr;
        let words = [load!(at, user_ip6[0]), load!(at, user_ip6[1]), load!(at, user_ip6[2]), load!(at, user_ip6[3])];
        Peer::new(Address(words), self.port())
    }

    #[inline(always)]
    fn port(&self) -> u16 {
        // The field's first two bytes are the port in network order.
        u16::from_be(load!(self.0.sock_addr, user_port) as u16)
    }

    /// Rewrites the destination, or what `getpeername` tells, of an IPv4 socket. `address` in network order.
    #[inline(always)]
    pub(crate) fn set_v4(&self, address: u32, port: u16) {
        store!(self.0.sock_addr, address, user_ip4);
        self.set_port(port);
    }

    /// Rewrites the destination, or what `getpeername` tells, of an IPv6 socket.
    #[inline(always)]
    pub(crate) fn set_v6(&self, Address(words): Address, port: u16) {
        let at = self.0.sock_addr;
        store!(at, words[0], user_ip6[0]);
        store!(at, words[1], user_ip6[1]);
        store!(at, words[2], user_ip6[2]);
        store!(at, words[3], user_ip6[3]);
        self.set_port(port);
    }

    #[inline(always)]
    fn set_port(&self, port: u16) {
        store!(self.0.sock_addr, u32::from(port.to_be()), user_port);
    }

    /// What the socket speaks.
    #[inline(always)]
    pub(crate) fn transport(&self) -> Transport {
        const SOCK_STREAM: u32 = 1;
        const SOCK_DGRAM: u32 = 2;
        const IPPROTO_TCP: u32 = 6;
        const IPPROTO_MPTCP: u32 = 262;
        let kind = load!(self.0.sock_addr, type_);
        let protocol = load!(self.0.sock_addr, protocol);
        match kind {
            SOCK_STREAM if protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP => Transport::Tcp,
            SOCK_DGRAM => Transport::Datagram,
            _ => Transport::Other,
        }
    }

    /// SO_MARK of the socket.
    #[inline(always)]
    pub(crate) fn mark(&self) -> u32 {
        load!(self.socket(), mark)
    }

    /// Whether the socket is bound to an interface other than `lo`.
    #[inline(always)]
    pub(crate) fn is_bound_to_device(&self) -> bool {
        let interface = load!(self.socket(), bound_dev_if);
        interface != 0 && interface != LOOPBACK_INTERFACE
    }

    /// Undoes SO_BINDTODEVICE: a socket bound to an interface cannot reach the listener on `lo`.
    #[inline(always)]
    pub(crate) fn unbind_device(&self) -> Result<(), ()> {
        let mut none = [0_u8; 4];
        // SAFETY: the buffer is on the stack and as long as said; the connect hook holds the socket's lock.
        let status = unsafe {
            bpf_setsockopt(self.0.as_ptr(), SOL_SOCKET, SO_BINDTODEVICE, none.as_mut_ptr().cast(), none.len() as i32)
        };
        if status == 0 { Ok(()) } else { Err(()) }
    }

    /// The network namespace's cookie.
    #[inline(always)]
    pub(crate) fn netns_cookie(&self) -> u64 {
        // SAFETY: takes the context.
        unsafe { bpf_get_netns_cookie(self.0.as_ptr()) }
    }

    /// The socket's cookie.
    #[inline(always)]
    pub(crate) fn socket_cookie(&self) -> u64 {
        // SAFETY: takes the context.
        unsafe { bpf_get_socket_cookie(self.0.as_ptr()) }
    }

    /// What the socket carries, if anything.
    #[inline(always)]
    pub(crate) fn pending(&self) -> Option<&mut Pending> {
        // SAFETY: a `bpf_sock_addr` always has its socket.
        unsafe { pending_of(self.socket()) }
    }

    /// What the socket carries, zeroed when new; none without memory.
    #[inline(always)]
    pub(crate) fn pending_or_new(&self) -> Option<&mut Pending> {
        // SAFETY: null or the socket's own storage; see `pending_of`.
        unsafe { PENDING.get_or_insert_ptr_mut(&self.0, None).as_mut() }
    }

    /// What the MPTCP socket carries whose subflow this is, noted at its creation.
    #[inline(always)]
    pub(crate) fn mptcp(&self) -> Option<&mut Pending> {
        if !features::mptcp_socket() {
            return None;
        }
        // SAFETY: takes a socket; null for one that is no subflow.
        let whole = unsafe { bpf_skc_to_mptcp_sock(self.socket().cast()) };
        if whole.is_null() {
            return None;
        }
        // SAFETY: not null, a socket that lives as long as its subflow.
        unsafe { pending_of(whole.cast()) }
    }

    #[inline(always)]
    fn socket(&self) -> *mut bpf_sock {
        load!(self.0.sock_addr, __bindgen_anon_1.sk)
    }
}

/// Context of `sockops` programs.
pub(crate) struct SockOps<'a>(pub(crate) &'a SockOpsContext);

impl<'a> SockOps<'a> {
    /// Which event this is.
    #[inline(always)]
    pub(crate) fn event(&self) -> u32 {
        load!(self.at(), op)
    }

    /// The socket's own IPv4 address, in network order.
    #[inline(always)]
    pub(crate) fn local_v4(&self) -> Address {
        Address::v4(load!(self.at(), local_ip4))
    }

    /// The socket's own IPv6 address.
    #[inline(always)]
    pub(crate) fn local_v6(&self) -> Address {
        let at = self.at();
        Address([load!(at, local_ip6[0]), load!(at, local_ip6[1]), load!(at, local_ip6[2]), load!(at, local_ip6[3])])
    }

    /// The socket's own port.
    #[inline(always)]
    pub(crate) fn local_port(&self) -> u16 {
        load!(self.at(), local_port) as u16
    }

    /// What the socket carries, if anything.
    #[inline(always)]
    pub(crate) fn pending(&self) -> Option<&'a mut Pending> {
        let socket = load!(self.at(), __bindgen_anon_2.sk);
        if socket.is_null() {
            return None;
        }
        // SAFETY: not null, from the context.
        unsafe { pending_of(socket) }
    }

    #[inline(always)]
    fn at(&self) -> *mut bpf_sock_ops {
        self.0.ops
    }
}

/// The network namespace of the socket of a `sock_create` program.
#[inline(always)]
pub(crate) fn netns_cookie_of_context(ctx: &SockContext) -> u64 {
    // SAFETY: takes the context.
    unsafe { bpf_get_netns_cookie(ctx.sock.cast()) }
}

/// Whether the socket of a `sock_create` program is a stream.
#[inline(always)]
pub(crate) fn is_stream(ctx: &SockContext) -> bool {
    const SOCK_STREAM: u32 = 1;
    load!(ctx.sock, type_) == SOCK_STREAM
}

/// Whether the socket of a `sock_create` program is UDP-Lite's (RFC 3828).
#[inline(always)]
pub(crate) fn is_udp_lite(ctx: &SockContext) -> bool {
    const IPPROTO_UDPLITE: u32 = 136;
    load!(ctx.sock, protocol) == IPPROTO_UDPLITE
}

/// Whether the socket of a `sock_release` program never got past its SYN, or has been reset.
#[inline(always)]
pub(crate) fn is_unconnected(ctx: &SockContext) -> bool {
    const TCP_SYN_SENT: u32 = 2;
    const TCP_CLOSE: u32 = 7;
    let state = load!(ctx.sock, state);
    state == TCP_SYN_SENT || state == TCP_CLOSE
}
