//! The ways to connect: what each needs of the kernel, how `capture-client` does it, and what has to come of it.
//!
//! In scripts `{v4}`, `{v6}` and `{mapped}` are the enrolled destination, `{a4}` and `{a6}` addresses of the client's
//! host, `{port}` the daemon's listener, `{other}` another cgroup below the one that the programs are attached to,
//! `{copy}` a copy of `capture-client`.

/// What is specified for a way to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Reaches the listener; the flow record has this destination and the exact caller.
    Captured(Destination),
    /// The hooks refuse it: ECONNREFUSED.
    Refused,
    /// The kernel itself refuses, with one of these.
    Fails(&'static [&'static str]),
}

/// One of the enrolled destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    V4,
    V6,
}

/// Who runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    /// Nobody in particular, in the client's cgroup.
    User,
    /// root, in the client's cgroup.
    Root,
    /// root; ends in the cgroup `{other}`, where it connects.
    Mover,
}

/// A way to connect.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) way: &'static str,
    /// The kernel's feature, with the release that brought it where that is younger than Linux 5.15's ancestors of 2011.
    pub(crate) needs: &'static str,
    pub(crate) who: As,
    pub(crate) script: &'static str,
    pub(crate) expect: Expect,
}

const fn row(way: &'static str, needs: &'static str, who: As, script: &'static str, expect: Expect) -> Row {
    Row { way, needs, who, script, expect }
}

use As::{Mover, Root, User};
use Expect::{Captured, Fails, Refused};

const V4: Expect = Captured(Destination::V4);
const V6: Expect = Captured(Destination::V6);

/// No such protocol in this kernel, or none of ours to use.
const NO_PROTOCOL: Expect = Fails(&["EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "ECONNREFUSED"]);
/// The hooks refuse the socket itself.
const NO_SOCKET: Expect = Fails(&["EPERM", "EPROTONOSUPPORT"]);
const NOT_ALLOWED: Expect = Fails(&["EPERM", "EACCES"]);

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    // The system call, by family and kind of socket.
    row("IPv4", "connect4", User, "socket tcp4; connect {v4}; read", V4),
    row("IPv6", "connect6", User, "socket tcp6; connect {v6}; read", V6),
    row("v4-mapped IPv6", "connect6", User, "socket tcp6; connect {mapped}; read", V4),
    row("IPV6_V6ONLY", "connect6", User, "socket tcp6; set v6only; connect {v6}; read", V6),
    row("non-blocking, IPv4", "connect4", User, "socket tcp4; poll-connect {v4}; read", V4),
    row("non-blocking, IPv6", "connect6", User, "socket tcp6; poll-connect {v6}; read", V6),
    row("non-blocking, v4-mapped", "connect6", User, "socket tcp6; poll-connect {mapped}; read", V4),
    row("Multipath TCP, IPv4", "MPTCP (5.6)", User, "socket mptcp4; connect {v4}; read", V4),
    row("Multipath TCP, IPv6", "MPTCP (5.6)", User, "socket mptcp6; connect {v6}; read", V6),
    row("Multipath TCP, v4-mapped", "MPTCP (5.6)", User, "socket mptcp6; connect {mapped}; read", V4),
    row("Fast Open by sendto, IPv4", "MSG_FASTOPEN (3.6)", User, "socket tcp4; fastopen {v4}; read", V4),
    row("Fast Open by sendto, IPv6", "MSG_FASTOPEN (3.16)", User, "socket tcp6; fastopen {v6}; read", V6),
    row("Fast Open by option, IPv4", "TCP_FASTOPEN_CONNECT (4.11)", User, "socket tcp4; set fastopen-connect; connect {v4}; say hello; read", V4),
    row("Fast Open by option, IPv6", "TCP_FASTOPEN_CONNECT (4.11)", User, "socket tcp6; set fastopen-connect; connect {v6}; say hello; read", V6),
    row("io_uring, IPv4", "IORING_OP_CONNECT (5.5)", User, "socket tcp4; uring-connect {v4} inline; read", V4),
    row("io_uring, IPv6", "IORING_OP_CONNECT (5.5)", User, "socket tcp6; uring-connect {v6} inline; read", V6),
    row("io_uring worker, IPv4", "IOSQE_ASYNC (5.6)", User, "socket tcp4; uring-connect {v4} async; read", V4),
    row("io_uring worker, IPv6", "IOSQE_ASYNC (5.6)", User, "socket tcp6; uring-connect {v6} async; read", V6),
    row("io_uring poller, IPv4", "SQPOLL without root (5.11)", User, "socket tcp4; uring-connect {v4} sqpoll; read", V4),
    row("io_uring poller, IPv6", "SQPOLL without root (5.11)", User, "socket tcp6; uring-connect {v6} sqpoll; read", V6),

    // What was done to the socket before.
    row("bound source, IPv4", "bind", User, "socket tcp4; bind {a4}:0; connect {v4}; read", V4),
    row("bound source, IPv6", "bind", User, "socket tcp6; bind [{a6}]:0; connect {v6}; read", V6),
    row("bound source port below 1024", "bind", Root, "socket tcp4; bind {a4}:800; connect {v4}; read", V4),
    row("SO_BINDTODEVICE as root, IPv4", "without root: 5.7", Root, "socket tcp4; set device outside; connect {v4}; read", V4),
    row("SO_BINDTODEVICE as a user, IPv4", "without root: 5.7", User, "socket tcp4; set device outside; connect {v4}; read", Refused),
    row("SO_BINDTODEVICE as root, IPv6", "without root: 5.7", Root, "socket tcp6; set device outside; connect {v6}; read", V6),
    row("SO_BINDTODEVICE as a user, IPv6", "without root: 5.7", User, "socket tcp6; set device outside; connect {v6}; read", Refused),
    row("SO_BINDTOIFINDEX as root, IPv4", "SO_BINDTOIFINDEX (5.1)", Root, "socket tcp4; set ifindex outside; connect {v4}; read", V4),
    row("SO_BINDTOIFINDEX as a user, IPv4", "SO_BINDTOIFINDEX (5.1)", User, "socket tcp4; set ifindex outside; connect {v4}; read", Refused),
    row("SO_BINDTOIFINDEX as root, IPv6", "SO_BINDTOIFINDEX (5.1)", Root, "socket tcp6; set ifindex outside; connect {v6}; read", V6),
    row("SO_BINDTOIFINDEX as a user, IPv6", "SO_BINDTOIFINDEX (5.1)", User, "socket tcp6; set ifindex outside; connect {v6}; read", Refused),
    row("IP_UNICAST_IF", "IP_UNICAST_IF", User, "socket tcp4; set unicast-if outside; connect {v4}; read", V4),
    row("IPV6_UNICAST_IF", "IPV6_UNICAST_IF", User, "socket tcp6; set unicast-if outside; connect {v6}; read", V6),
    row("IP_FREEBIND", "IP_FREEBIND", User, "socket tcp4; set freebind; bind {a4}:0; connect {v4}; read", V4),
    row("IPV6_FREEBIND", "IPV6_FREEBIND (4.15)", User, "socket tcp6; set freebind; bind [{a6}]:0; connect {v6}; read", V6),
    row("IP_TRANSPARENT", "IP_TRANSPARENT", Root, "socket tcp4; set transparent; bind {a4}:0; connect {v4}; read", V4),
    row("IPV6_TRANSPARENT", "IPV6_TRANSPARENT", Root, "socket tcp6; set transparent; bind [{a6}]:0; connect {v6}; read", V6),
    row("the daemon's mark, as root", "SO_MARK", Root, "socket tcp4; set mark 455; connect {v4}; read", V4),
    row("the daemon's mark, set later", "SO_MARK", Root, "socket tcp6; connect {v6}; set mark 455; read", V6),
    row("the daemon's mark, as a user", "SO_MARK", User, "socket tcp4; set mark 455; connect {v4}; read", NOT_ALLOWED),
    row("TCP_DEFER_ACCEPT", "TCP_DEFER_ACCEPT", User, "socket tcp4; set defer-accept; connect {v4}; say hello; read", V4),

    // Which task connects.
    row("another thread", "connect4", User, "socket tcp4; thread; connect {v4}; read", V4),
    row("two threads at once", "connect4", User, "socket tcp4; race {v4}; read", V4),
    row("fork before connect", "connect4", User, "socket tcp4; fork; connect {v4}; read", V4),
    row("fork before connect, IPv6", "connect6", User, "socket tcp6; fork; connect {v6}; read", V6),
    row("fork after connect", "connect4", User, "socket tcp4; connect {v4}; fork; read", V4),
    row("vfork", "CLONE_VM", User, "socket tcp4; vfork; connect {v4}; read", V4),
    row("exec with an inherited socket", "connect4", User, "socket tcp4; exec {copy}; connect {v4}; read", V4),
    row("exec after connect", "connect6", User, "socket tcp6; connect {v6}; exec {copy}; read", V6),
    row("socket passed on, then connected", "SCM_RIGHTS", User, "socket tcp4; pass; connect {v4}; read", V4),
    row("socket passed on, IPv6", "SCM_RIGHTS", User, "socket tcp6; pass; connect {v6}; read", V6),
    row("connected socket passed on", "SCM_RIGHTS", User, "socket tcp4; connect {v4}; pass; read", V4),
    row("socket made in one cgroup, used in another", "cgroup2", Mover, "socket tcp4; cgroup {other}; connect {v4}; read", V4),
    row("the same, IPv6", "cgroup2", Mover, "socket tcp6; cgroup {other}; connect {v6}; read", V6),
    row("in a user namespace of its own", "user namespaces", User, "unshare user; socket tcp4; connect {v4}; read", V4),
    row("the daemon's mark, in a user namespace", "user namespaces", User, "unshare user; socket tcp4; set mark 455; connect {v4}; read", NOT_ALLOWED),

    // What the socket did before.
    row("after a refused connect", "connect4", User, "socket tcp4; try connect {a4}:1; connect {v4}; read", V4),
    row("after a refused connect, IPv6", "connect6", User, "socket tcp6; try connect [{a6}]:1; connect {v6}; read", V6),
    row("after disconnecting", "AF_UNSPEC", User, "socket tcp4; connect {v4}; disconnect; connect {v4}; read", V4),
    row("disconnected from elsewhere", "AF_UNSPEC", User, "socket tcp6; connect {direct6}; disconnect; connect {v6}; read", V6),
    row("the same source port at once again", "SO_LINGER", User, "socket tcp4; set reuse; set reset; bind {a4}:45700; connect {v4}; read; close; \
         socket tcp4; set reuse; bind {a4}:45700; connect {v4}; read", V4),
    row("the same source port, IPv6", "SO_LINGER", User, "socket tcp6; set reuse; set reset; bind [{a6}]:45701; connect {v6}; read; close; \
         socket tcp6; set reuse; bind [{a6}]:45701; connect {v6}; read", V6),

    // QUIC, and datagrams in general.
    row("UDP connect, IPv4", "connect4", User, "socket udp4; connect {v4}", Refused),
    row("UDP connect, IPv6", "connect6", User, "socket udp6; connect {v6}", Refused),
    row("UDP connect, v4-mapped", "connect6", User, "socket udp6; connect {mapped}", Refused),
    row("UDP connect by io_uring", "IORING_OP_CONNECT (5.5)", User, "socket udp4; uring-connect {v4} async", Refused),
    row("UDP sendto, IPv4", "sendmsg4 (4.18)", User, "socket udp4; sendto {v4}", Refused),
    row("UDP sendto, IPv6", "sendmsg6 (4.18)", User, "socket udp6; sendto {v6}", Refused),
    row("UDP sendto, v4-mapped", "sendmsg6 (4.18)", User, "socket udp6; sendto {mapped}", Refused),
    row("UDP sendmsg, IPv4", "sendmsg4 (4.18)", User, "socket udp4; sendmsg {v4}", Refused),
    row("UDP sendmsg, IPv6", "sendmsg6 (4.18)", User, "socket udp6; sendmsg {v6}", Refused),
    row("UDP sendmmsg, IPv4", "sendmsg4 (4.18)", User, "socket udp4; sendmmsg {v4}", Refused),
    row("UDP sendmmsg, IPv6", "sendmsg6 (4.18)", User, "socket udp6; sendmmsg {v6}", Refused),
    row("UDP by io_uring, IPv4", "IORING_OP_SENDMSG (5.3)", User, "socket udp4; uring-send {v4}", Refused),
    row("UDP by io_uring, IPv6", "IORING_OP_SENDMSG (5.3)", User, "socket udp6; uring-send {v6}", Refused),
    row("UDP with MSG_CONFIRM", "sendmsg4 (4.18)", User, "socket udp4; sendto {v4} confirm", Refused),
    row("UDP with MSG_DONTROUTE", "sendmsg4 (4.18)", User, "socket udp4; sendto {v4} dontroute", Refused),
    row("UDP with MSG_MORE", "sendmsg4 (4.18)", User, "socket udp4; sendto {v4} more", Refused),
    row("UDP with UDP_SEGMENT", "UDP_SEGMENT (4.18)", User, "socket udp4; set segment 1000; sendto {v4}", Refused),
    row("UDP corked", "UDP_CORK", User, "socket udp6; set cork; sendto {v6}", Refused),
    row("UDP connected elsewhere, sendto", "sendmsg4 (4.18)", User, "socket udp4; connect {a4}:9; sendto {v4}", Refused),
    row("UDP connected elsewhere, sendto, IPv6", "sendmsg6 (4.18)", User, "socket udp6; connect [{a6}]:9; sendto {v6}", Refused),
    row("UDP-Lite connect, IPv4", "CONFIG_IP_UDPLITE", User, "socket udplite4; connect {v4}; send", NO_SOCKET),
    row("UDP-Lite connect, IPv6", "CONFIG_IP_UDPLITE", User, "socket udplite6; connect {v6}; send", NO_SOCKET),
    row("UDP-Lite sendto, IPv4", "CONFIG_IP_UDPLITE", User, "socket udplite4; sendto {v4}", NO_SOCKET),
    row("UDP-Lite sendto, IPv6", "CONFIG_IP_UDPLITE", User, "socket udplite6; sendto {v6}", NO_SOCKET),

    // Other protocols.
    row("SCTP, IPv4", "CONFIG_IP_SCTP", User, "socket sctp4; connect {v4}", NO_PROTOCOL),
    row("SCTP, IPv6", "CONFIG_IP_SCTP", User, "socket sctp6; connect {v6}", NO_PROTOCOL),
    row("DCCP", "CONFIG_IP_DCCP (to 6.15)", User, "socket dccp4; connect {v4}", NO_PROTOCOL),
    row("raw socket, IPv4", "CAP_NET_RAW", User, "socket raw4; sendto {v4}", NOT_ALLOWED),
    row("raw socket, IPv6", "CAP_NET_RAW", User, "socket raw6; sendto {v6}", NOT_ALLOWED),
    row("packet socket", "CAP_NET_RAW", User, "socket packet; sendto {v4}", NOT_ALLOWED),

    // The daemon's listener, dialled by a client.
    row("the listener at 127.0.0.1", "connect4", User, "socket tcp4; connect 127.0.0.1:{port}", Refused),
    row("the listener at 127.0.0.9", "connect4", User, "socket tcp4; connect 127.0.0.9:{port}", Refused),
    row("the listener at 0.0.0.0", "connect4", User, "socket tcp4; connect 0.0.0.0:{port}", Refused),
    row("the listener at ::1", "connect6", User, "socket tcp6; connect [::1]:{port}", Refused),
    row("the listener at ::", "connect6", User, "socket tcp6; connect [::]:{port}", Refused),
    row("the listener at ::ffff:127.0.0.1", "connect6", User, "socket tcp6; connect [::ffff:127.0.0.1]:{port}", Refused),
    row("the listener at ::ffff:0.0.0.0", "connect6", User, "socket tcp6; connect [::ffff:0.0.0.0]:{port}", Refused),
    row("the listener over Multipath TCP", "MPTCP (5.6)", User, "socket mptcp4; connect 127.0.0.1:{port}", Refused),
    row("the listener by io_uring", "IORING_OP_CONNECT (5.5)", User, "socket tcp4; uring-connect 127.0.0.1:{port} async", Refused),
    row("the listener by Fast Open", "MSG_FASTOPEN (3.6)", User, "socket tcp4; fastopen 127.0.0.1:{port}", Refused),
];
