//! The map of snapshots that wait for their connection's accept.

use std::os::fd::{AsFd, OwnedFd};

use aya::maps::{HashMap, Map, MapData, MapError};
use interceptor_ebpf::names;

use super::{Error, Snapshot, sys};

/// By socket cookie.
pub(super) struct Snapshots {
    map: HashMap<MapData, u64, interceptor_ebpf::Snapshot>,
    /// aya's typed map keeps its descriptor to itself.
    fd: OwnedFd,
}

impl Snapshots {
    pub(super) fn new(map: Map) -> Result<Self, Error> {
        let Map::HashMap(data) = &map else { return Err(Error::Object { what: names::SNAPSHOTS }) };
        let fd = data.fd().as_fd().try_clone_to_owned().map_err(Error::syscall("fcntl(F_DUPFD_CLOEXEC)"))?;
        let map = HashMap::try_from(map).map_err(Error::map(names::SNAPSHOTS))?;
        Ok(Self { map, fd })
    }

    /// The snapshot taken at this connect call of the socket. None when there is none, for whatever reason: a snapshot
    /// only ever adds to what a flow says.
    pub(super) fn take(&self, socket_cookie: u64, connected_at: u64) -> Option<Box<Snapshot>> {
        let raw: interceptor_ebpf::Snapshot = sys::take_element(self.fd.as_fd(), &socket_cookie)
            .inspect_err(|error| log::warn!("a caller's snapshot cannot be read: {error}"))
            .ok()??;
        // Another time is that of another connect call.
        (raw.connected_at == connected_at).then(|| Box::new(Snapshot::from(&raw)))
    }

    /// Removes snapshots of connect calls before `then`, in nanoseconds since boot.
    pub(super) fn sweep(&self, then: u64) -> Result<(), Error> {
        for entry in self.map.iter() {
            match entry {
                // One without a time is being written.
                Ok((cookie, snapshot)) if (1..then).contains(&snapshot.connected_at) => {
                    sys::take_element::<_, interceptor_ebpf::Snapshot>(self.fd.as_fd(), &cookie)
                        .map_err(Error::syscall("bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM)"))?;
                }
                Ok(_) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(Error::map(names::SNAPSHOTS)(error)),
            }
        }
        Ok(())
    }

    /// How many there are.
    pub(super) fn waiting(&self) -> Result<usize, Error> {
        self.map.keys().try_fold(0, |count, key| key.map(|_| count + 1)).map_err(Error::map(names::SNAPSHOTS))
    }
}
