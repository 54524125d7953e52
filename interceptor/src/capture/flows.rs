//! Redirected connections, from the kernel's record to the worker that accepted one.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aya::maps::{HashMap, Map, MapData, MapError};
use interceptor_ebpf::{FlowKey, names, reason};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::time::{ClockId, clock_gettime};

use super::snapshots::Snapshots;
use super::sys::WaitingCounts;
use super::{Error, Snapshot, sys};
use crate::flow::{ClientAddr, OriginalDst};

/// The kernel's number of a network namespace; never reused while the host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NetnsCookie(pub u64);

impl NetnsCookie {
    /// The network namespace of the calling thread.
    ///
    /// # Errors
    /// On kernels before 5.14.
    pub fn own() -> Result<Self, Error> {
        let probe = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
            .map_err(|errno| Error::syscall("socket")(errno.into()))?;
        Self::of(probe)
    }

    /// The network namespace a socket is in.
    ///
    /// # Errors
    /// On kernels before 5.14.
    pub fn of(socket: impl AsFd) -> Result<Self, Error> {
        sys::netns_cookie(socket).map(Self).map_err(Error::syscall("getsockopt(SO_NETNS_COOKIE)"))
    }
}

/// A point in time since boot, suspend included (`CLOCK_BOOTTIME`): the clock of process start times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self(clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default())
    }

    /// From nanoseconds since boot.
    #[must_use]
    pub fn from_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }

    /// Nanoseconds since boot.
    #[must_use]
    pub fn as_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// By the system's clock, as far as that has not been set since.
    #[must_use]
    pub fn to_system_time(self) -> Option<SystemTime> {
        let ago = Self::now().0.checked_sub(self.0)?;
        SystemTime::now().checked_sub(ago)
    }

    /// Time since boot.
    #[must_use]
    pub fn since_boot(self) -> Duration {
        self.0
    }
}

/// One listener of the daemon, as announced to the programs. Flows are bound to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The network namespace it is in.
    pub netns: NetnsCookie,
    /// Which announcement this is.
    pub generation: u64,
}

/// A redirected connection: where it was going, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where the client meant to connect.
    pub original: OriginalDst,
    /// Process of the caller, as the initial PID namespace numbers it.
    pub tgid: u32,
    /// Thread of the caller; an io_uring worker has its own.
    pub tid: u32,
    /// Real user of the caller, as the initial user namespace numbers it.
    pub uid: u32,
    /// Real group of the caller, as the initial user namespace numbers it.
    pub gid: u32,
    /// Id of the cgroup of the task that called connect.
    pub task_cgroup: u64,
    /// Id of the cgroup the socket was made in; none when it was made before capture began.
    pub socket_cgroup: Option<u64>,
    /// The client's network namespace.
    pub netns: NetnsCookie,
    /// The client's socket.
    pub socket_cookie: u64,
    /// When it called connect.
    pub connected_at: BootTime,
    /// Why it was redirected.
    pub reason: Reason,
    /// The caller as it was then; none where the kernel cannot tell, or had no room.
    pub snapshot: Option<Box<Snapshot>>,
}

/// Why a connection was redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its destination is enrolled.
    Enrolled,
    /// Its caller's cgroup is strict; the destination may be anything.
    Strict,
    /// It is the daemon's self-test.
    Canary,
}

/// Why an accepted connection has no flow. It must be closed: where it was going is not known.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Someone dialled the listener itself, or the record was lost.
    #[error("{client} was not redirected here")]
    Missing {
        /// The client's end.
        client: ClientAddr,
    },
    /// The record was made for an earlier listener.
    #[error("{client} was redirected to an earlier listener")]
    Stale {
        /// The client's end.
        client: ClientAddr,
    },
    /// The kernel refused.
    #[error("bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM): {0}")]
    Syscall(#[from] io::Error),
}

/// A handle to the map of flows. Cheap to clone; one for each worker.
#[derive(Clone)]
pub struct Flows {
    inner: Arc<Inner>,
}

struct Inner {
    map: HashMap<MapData, FlowKey, interceptor_ebpf::Flow>,
    /// aya's typed map keeps its descriptor to itself.
    fd: OwnedFd,
    snapshots: Snapshots,
    waiting: WaitingCounts,
}

impl Flows {
    /// Flows nobody asked for within this time belong to connections that never reached the listener.
    pub const MAX_AGE: Duration = Duration::from_secs(30);

    pub(super) fn new(map: Map, waiting: &Map, snapshots: Map, own_netns: u64) -> Result<Self, Error> {
        let error = Error::map(names::FLOWS);
        let Map::HashMap(data) = &map else { return Err(Error::Object { what: names::FLOWS }) };
        let fd = data.fd().as_fd().try_clone_to_owned().map_err(Error::syscall("fcntl(F_DUPFD_CLOEXEC)"))?;
        let map = HashMap::try_from(map).map_err(error)?;
        let Map::Array(counts) = waiting else { return Err(Error::Object { what: names::WAITING }) };
        let waiting = WaitingCounts::open(counts.fd().as_fd(), own_netns).map_err(Error::syscall("mmap"))?;
        Ok(Self { inner: Arc::new(Inner { map, fd, waiting, snapshots: Snapshots::new(snapshots)? }) })
    }

    /// Counts anew what waits. A process that was killed between taking a flow and counting it left the count too high.
    pub(super) fn recount(&self) -> Result<(), Error> {
        self.inner.waiting.clear();
        for entry in self.inner.map.iter() {
            match entry {
                Ok((_, flow)) => self.inner.waiting.add(&flow),
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(Error::map(names::FLOWS)(error)),
            }
        }
        Ok(())
    }

    fn take_element(&self, key: &FlowKey) -> io::Result<Option<interceptor_ebpf::Flow>> {
        let taken: Option<interceptor_ebpf::Flow> = sys::take_element(self.inner.fd.as_fd(), key)?;
        if let Some(flow) = &taken {
            self.inner.waiting.subtract(flow);
        }
        Ok(taken)
    }

    /// The flow of an accepted connection. A second call for the same connection finds nothing.
    ///
    /// # Errors
    /// When there is none for this listener: close the connection.
    pub fn take(&self, client: ClientAddr, listening: Listening) -> Result<Flow, TakeError> {
        let ClientAddr(at) = client;
        let key = FlowKey::new(listening.netns.0, at.ip().into(), at.port());
        let flow = self.take_element(&key)?.ok_or(TakeError::Missing { client })?;
        let snapshot = self.inner.snapshots.take(flow.socket_cookie, flow.connected_at);
        if flow.generation == listening.generation {
            Ok(Flow { snapshot, ..flow.into() })
        } else {
            Err(TakeError::Stale { client })
        }
    }

    /// Removes flows and snapshots older than `max_age`, [`MAX_AGE`](Self::MAX_AGE) as a rule; call it every few
    /// seconds. Returns how many flows there were.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn sweep(&self, max_age: Duration) -> Result<usize, Error> {
        let now = BootTime::now().as_nanos();
        self.inner.snapshots.sweep(now.saturating_sub(max_age.as_nanos() as u64))?;
        let mut removed = 0;
        for entry in self.inner.map.iter() {
            let (key, flow) = match entry {
                Ok(entry) => entry,
                // Taken while we looked.
                Err(MapError::KeyNotFound) => continue,
                Err(error) => return Err(Error::map(names::FLOWS)(error)),
            };
            if now.saturating_sub(flow.connected_at) > max_age.as_nanos() as u64 {
                let taken = self.take_element(&key);
                removed += usize::from(taken.map_err(Error::syscall("bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM)"))?.is_some());
            }
        }
        Ok(removed)
    }

    /// Flows that wait to be taken.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn waiting(&self) -> Result<usize, Error> {
        self.inner.map.keys().try_fold(0, |count, key| key.map(|_| count + 1)).map_err(Error::map(names::FLOWS))
    }

    /// Snapshots of callers that wait to be taken with their flows.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn snapshots_waiting(&self) -> Result<usize, Error> {
        self.inner.snapshots.waiting()
    }
}

impl fmt::Debug for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flows").finish_non_exhaustive()
    }
}

impl From<interceptor_ebpf::Flow> for Flow {
    fn from(flow: interceptor_ebpf::Flow) -> Self {
        Self {
            original: OriginalDst(flow.original.into()),
            tgid: flow.tgid,
            tid: flow.tid,
            uid: flow.uid,
            gid: flow.gid,
            task_cgroup: flow.task_cgroup,
            socket_cgroup: (flow.socket_cgroup != 0).then_some(flow.socket_cgroup),
            netns: NetnsCookie(flow.netns_cookie),
            socket_cookie: flow.socket_cookie,
            connected_at: BootTime::from_nanos(flow.connected_at),
            snapshot: None,
            reason: match flow.reason {
                reason::CANARY => Reason::Canary,
                reason::STRICT => Reason::Strict,
                _ => Reason::Enrolled,
            },
        }
    }
}
