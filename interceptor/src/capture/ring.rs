//! The two ring buffers through which the programs speak at once: events, and DNS answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use interceptor_ebpf::{Counter, kind};
use tokio::io::unix::AsyncFd;

use super::{BootTime, NetnsCookie, sys};
use crate::flow::OriginalDst;

/// Something the programs report, beside counting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is.
    pub what: What,
    /// When.
    pub at: BootTime,
    /// Process of the task that caused it.
    pub tgid: u32,
    /// Its real user.
    pub uid: u32,
    /// Id of its cgroup.
    pub cgroup: u64,
    /// Network namespace of its socket.
    pub netns: NetnsCookie,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A process makes sockets in a network namespace that has no listener.
    NetnsWanted,
    /// A connection or datagram was refused.
    Refused {
        /// Where it was going.
        to: OriginalDst,
        /// Why.
        why: Counter,
    },
    /// A connection went direct because the daemon was dead or hung and the endpoint is open then.
    PassedOpen {
        /// Where it went.
        to: OriginalDst,
    },
    /// A process of an exempt cgroup went direct.
    Exempt {
        /// Where it went.
        to: OriginalDst,
    },
}

/// The events, in order. Poll it for reading, then take until there is none.
pub struct Events(pub(super) RingBuf<MapData>);

/// An answer of a DNS resolver to a process below the enrolled cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsPacket {
    /// Where it came from; the port was 53.
    pub resolver: IpAddr,
    /// The receiver's network namespace; none where the kernel does not tell.
    pub netns: Option<NetnsCookie>,
    /// The DNS message. Hostile until proven otherwise.
    pub payload: Vec<u8>,
}

/// The DNS answers, in order. Poll it for reading, then take until there is none.
pub struct DnsPackets(pub(super) RingBuf<MapData>);

impl Events {
    /// Makes it awaitable on the current runtime.
    ///
    /// # Errors
    /// When it cannot be registered there.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn watch(self) -> io::Result<AsyncFd<Self>> {
        sys::watch(self)
    }

    /// The next one, if there is one now.
    pub fn take(&mut self) -> Option<Event> {
        loop {
            let item = self.0.next()?;
            // What a newer program says is passed over.
            if let Some(event) = interceptor_ebpf::Event::from_bytes(&item).and_then(|raw| Event::read(&raw)) {
                return Some(event);
            }
        }
    }
}

impl Event {
    fn read(raw: &interceptor_ebpf::Event) -> Option<Self> {
        let to = OriginalDst(SocketAddr::from(raw.destination));
        let what = match raw.kind {
            kind::NETNS_WANTED => What::NetnsWanted,
            kind::REFUSED => What::Refused { to, why: *Counter::ALL.get(raw.counter as usize)? },
            kind::PASSED_OPEN => What::PassedOpen { to },
            kind::EXEMPT => What::Exempt { to },
            _ => return None,
        };
        Some(Self {
            what,
            at: BootTime::from_nanos(raw.at),
            tgid: raw.tgid,
            uid: raw.uid,
            cgroup: raw.cgroup,
            netns: NetnsCookie(raw.netns_cookie),
        })
    }
}

impl DnsPackets {
    /// Makes it awaitable on the current runtime.
    ///
    /// # Errors
    /// When it cannot be registered there.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn watch(self) -> io::Result<AsyncFd<Self>> {
        sys::watch(self)
    }

    /// The next one, if there is one now.
    pub fn take(&mut self) -> Option<DnsPacket> {
        loop {
            let item = self.0.next()?;
            if let Some((header, payload)) = interceptor_ebpf::DnsPacket::split(&item) {
                return Some(DnsPacket {
                    resolver: header.resolver.into(),
                    netns: (header.netns_cookie != 0).then_some(NetnsCookie(header.netns_cookie)),
                    payload: payload.to_vec(),
                });
            }
        }
    }
}

/// Owns a ring buffer, whose descriptor it neither replaces nor closes before it is dropped.
pub(super) trait Ring: AsRawFd {}

impl Ring for Events {}

impl Ring for DnsPackets {}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for DnsPackets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

// `tokio::io::unix::AsyncFd` asks for this one.
impl AsRawFd for Events {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

impl AsRawFd for DnsPackets {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use interceptor_ebpf::Peer;

    use super::*;

    fn raw(kind: u32, counter: u32) -> interceptor_ebpf::Event {
        let to: IpAddr = "203.0.113.10".parse().unwrap();
        interceptor_ebpf::Event {
            destination: Peer::new(to.into(), 443),
            at: 7,
            netns_cookie: 1,
            cgroup: 2,
            kind,
            counter,
            tgid: 3,
            tid: 4,
            uid: 5,
            reserved: 0,
        }
    }

    #[test]
    fn a_refusal_says_where_to_and_why() {
        let event = Event::read(&raw(kind::REFUSED, Counter::RefusedDatagram as u32)).unwrap();
        let to = OriginalDst("203.0.113.10:443".parse().unwrap());
        assert_eq!(event.what, What::Refused { to, why: Counter::RefusedDatagram });
        assert_eq!((event.tgid, event.uid, event.netns), (3, 5, NetnsCookie(1)));
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        assert_eq!(Event::read(&raw(99, 0)), None);
        assert_eq!(Event::read(&raw(kind::REFUSED, 9_999)), None);
    }
}
