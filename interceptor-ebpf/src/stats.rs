//! What is counted, per CPU.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Index into the map of counters.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $($(#[$doc])* $name,)*
        }

        impl Counter {
            /// Every counter, in the order of the map.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$name,)*];

            /// Entries of the map.
            pub const COUNT: usize = [$(stringify!($name),)*].len();
        }
    };
}

counters! {
    /// Connections sent to the listener.
    Redirected,
    /// The daemon's own connections to enrolled destinations, left alone.
    Own,
    /// Refused: the network namespace has no listener.
    RefusedNoListener,
    /// Refused: no memory to keep the original destination.
    RefusedNoStorage,
    /// Refused: the daemon has not said who it is.
    RefusedNoSettings,
    /// Refused: datagrams (QUIC) to an enrolled destination.
    RefusedDatagram,
    /// Refused: neither TCP nor UDP; UDP-Lite sockets, when they are made.
    RefusedProtocol,
    /// Refused: a client dialled the listener itself.
    RefusedListener,
    /// Refused: the socket is bound to an interface that does not lead to the listener and could not be freed.
    RefusedDevice,
    /// Connections sent to the listener because of a strict cgroup; also counted as redirected.
    Strict,
    /// Went direct from an exempt cgroup, although the destination is enrolled.
    Exempt,
    /// Went direct because the daemon is dead or hung and the endpoint is one that is open then.
    PassedOpen,
    /// Refused: the daemon is dead or hung.
    RefusedStale,
    /// Refused: too many connections of this user wait for accept.
    RefusedQuota,
    /// The map of flows was full or out of memory: the daemon closes such a connection at accept.
    FlowLost,
    /// Flows removed because the connection never came about.
    FlowAbandoned,
    /// No room for the snapshot of a caller: it is known by what `/proc` says at accept.
    SnapshotLost,
    /// Events that found the ring buffer full.
    EventLost,
    /// DNS answers handed to the daemon.
    DnsSeen,
    /// DNS answers that found the ring buffer full.
    DnsLost,
    /// DNS answers too long to be copied.
    DnsLong,
    /// DNS answers over TCP, segments: they are not read.
    DnsTcp,
}
