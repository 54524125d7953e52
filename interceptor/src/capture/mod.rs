//! Loads the kernel programs and attaches them to one cgroup; hands out what they recorded of each connection.
//!
//! Links and maps are pinned below a directory of the instance, so they outlive the daemon: with every process of it
//! killed, connections to enrolled destinations are refused, because the programs still send them to a port where
//! nobody listens. The next start finds the pins and takes over without a moment in which no program is attached.
//!
//! ```text
//! PIN_DIR/v1/maps/NAME    maps, reused by the next start
//! PIN_DIR/v1/links/NAME   the attachment of each program
//! ```
//!
//! The programs are in the `interceptor-ebpf` crate; its library half holds the types of the maps.

mod addresses;
pub mod backstop;
mod catalogue;
mod cgroup;
mod endpoints;
mod error;
mod events;
mod flows;
mod programs;
mod stats;
mod sys;

use std::fs::File;
use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray};
use interceptor_ebpf::{EndpointRule, EndpointV4, EndpointV6, Listener, names};

pub use addresses::Addresses;
pub use backstop::Backstop;
pub use catalogue::{Catalogue, Endpoint};
pub use cgroup::Cgroups;
pub use endpoints::EndpointAddr;
pub use error::Error;
pub use events::EventLog;
pub use flows::{BootTime, Flow, Flows, Listening, NetnsCookie, TakeError};
pub use stats::Stats;

use programs::Pins;

/// What [`Capture::attach`] needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// cgroup2 directory; the programs see the sockets made by processes in it and below.
    pub cgroup: PathBuf,
    /// Directory of this instance on a BPF file system, made when absent: `/sys/fs/bpf/interceptor/NAME`.
    pub pin_dir: PathBuf,
    /// SO_MARK of the daemon's own upstream sockets. Not 0. With the daemon's cgroup it exempts them from capture.
    pub mark: u32,
    /// Port the daemon listens on, at 127.0.0.1 and ::1 of its own network namespace.
    pub listener_port: u16,
}

/// The attached programs. Dropping it leaves them in force; [`Capture::detach`] removes them.
pub struct Capture {
    pins: Pins,
    maps: Maps,
    listening: Listening,
    events: Option<EventLog>,
    /// Keeps a second daemon from taking the same pins.
    _lock: File,
}

struct Maps {
    endpoints_v4: LpmTrie<MapData, EndpointV4, EndpointRule>,
    endpoints_v6: LpmTrie<MapData, EndpointV6, EndpointRule>,
    listeners: HashMap<MapData, u64, Listener>,
    settings: Array<MapData, interceptor_ebpf::Settings>,
    counters: PerCpuArray<MapData, u64>,
    flows: Flows,
}

impl Capture {
    /// Loads the programs, announces the listener, and attaches; takes over what an earlier process left pinned.
    ///
    /// The listener should be bound before: connections are sent to it from here on.
    ///
    /// # Errors
    /// What is missing on this host, or another daemon with the same `pin_dir`. On a first start nothing stays
    /// attached after an error; when taking over, what was attached before stays in force.
    pub fn attach(settings: &Settings) -> Result<Self, Error> {
        let cgroup = cgroup::open(&settings.cgroup)?;
        let own_cgroup = Cgroups::find()?.own()?;
        let netns = NetnsCookie::own()?;
        let pins = Pins::open(&settings.pin_dir)?;
        let lock = pins.lock()?;
        let fresh = !pins.any_link();
        let result = Self::load_and_attach(settings, &cgroup, own_cgroup, netns, &pins);
        match result {
            Ok((maps, listening, events)) => Ok(Self { pins, maps, listening, events, _lock: lock }),
            Err(error) => {
                if fresh {
                    // The error at hand matters more than one of the clean-up.
                    let _ = pins.remove();
                }
                Err(error)
            }
        }
    }

    fn load_and_attach(
        settings: &Settings,
        cgroup: &File,
        own_cgroup: u64,
        netns: NetnsCookie,
        pins: &Pins,
    ) -> Result<(Maps, Listening, Option<EventLog>), Error> {
        let mut ebpf = programs::load(pins)?;
        // What this kernel does not take must not disturb what an earlier process left in force.
        programs::verify(&mut ebpf)?;
        let mut maps = Maps::take(&mut ebpf)?;
        let own = interceptor_ebpf::Settings { own_cgroup, heartbeat: 0, own_mark: settings.mark, reserved: 0 };
        maps.settings.set(0, own, 0).map_err(Error::map(names::SETTINGS))?;
        maps.forget_listeners()?;
        let listening = maps.announce(netns, settings.listener_port)?;
        let events = EventLog::start(&mut ebpf)?;
        pins.attach(&mut ebpf, cgroup)?;
        Ok((maps, listening, events))
    }

    /// The listener of the daemon's own network namespace, as announced by [`attach`](Self::attach).
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.listening
    }

    /// Announces a listener in another network namespace: its clients are sent to `port` at 127.0.0.1 or ::1 there.
    /// Replaces an earlier one; flows made for that one are refused from then on.
    ///
    /// # Errors
    /// When the map is full.
    pub fn announce(&mut self, netns: NetnsCookie, port: u16) -> Result<Listening, Error> {
        self.maps.announce(netns, port)
    }

    /// Withdraws a listener: from then on enrolled destinations are refused in that network namespace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn withdraw(&mut self, netns: NetnsCookie) -> Result<(), Error> {
        self.maps.withdraw(netns.0)
    }

    /// Makes the set of enrolled destinations exactly `endpoints`. New ones are added before others are removed.
    ///
    /// # Errors
    /// A prefix longer than its address, or a full map; then the new set is enrolled in part and the old one whole.
    pub fn enrol(&mut self, endpoints: &[EndpointAddr]) -> Result<(), Error> {
        endpoints::enrol(&mut self.maps.endpoints_v4, &mut self.maps.endpoints_v6, endpoints)
    }

    /// The destinations that are enrolled, by this process or by one before it.
    ///
    /// # Errors
    /// When the kernel refuses to read the maps.
    pub fn enrolled(&self) -> Result<Vec<EndpointAddr>, Error> {
        endpoints::enrolled(&self.maps.endpoints_v4, &self.maps.endpoints_v6)
    }

    /// A handle to look up flows, one for each worker.
    #[must_use]
    pub fn flows(&self) -> Flows {
        self.maps.flows.clone()
    }

    /// What the programs counted since the maps were made.
    ///
    /// # Errors
    /// When the kernel refuses to read the counters.
    pub fn stats(&self) -> Result<Stats, Error> {
        Stats::read(&self.maps.counters)
    }

    /// Detaches the programs at once and removes every pin. Connections go direct from here on.
    ///
    /// # Errors
    /// The first pin that could not be removed; the rest is removed all the same.
    pub fn detach(self) -> Result<(), Error> {
        drop(self.events);
        self.pins.remove()
    }
}

impl Maps {
    fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            endpoints_v4: take(ebpf, names::ENDPOINTS_V4)?,
            endpoints_v6: take(ebpf, names::ENDPOINTS_V6)?,
            listeners: take(ebpf, names::LISTENERS)?,
            settings: take(ebpf, names::SETTINGS)?,
            counters: take(ebpf, names::COUNTERS)?,
            flows: Flows::new(ebpf.take_map(names::FLOWS).ok_or(Error::Object { what: names::FLOWS })?)?,
        })
    }

    fn announce(&mut self, netns: NetnsCookie, port: u16) -> Result<Listening, Error> {
        let generation = BootTime::now().as_nanos();
        let listener = Listener { generation, port, reserved: [0; 3] };
        self.listeners.insert(netns.0, listener, 0).map_err(Error::map(names::LISTENERS))?;
        Ok(Listening { netns, generation })
    }

    fn withdraw(&mut self, netns_cookie: u64) -> Result<(), Error> {
        match self.listeners.remove(&netns_cookie) {
            Ok(()) | Err(aya::maps::MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(Error::map(names::LISTENERS)(error)),
        }
    }

    /// The listeners of the process that was here before are gone with it; their ports may be anyone's by now.
    fn forget_listeners(&mut self) -> Result<(), Error> {
        let stale = self.listeners.keys().collect::<Result<Vec<_>, _>>().map_err(Error::map(names::LISTENERS))?;
        stale.into_iter().try_for_each(|netns_cookie| self.withdraw(netns_cookie))
    }
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, Error>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).ok_or(Error::Object { what: name })?;
    M::try_from(map).map_err(Error::map(name))
}
