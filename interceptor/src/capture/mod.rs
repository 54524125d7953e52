//! Loads the kernel programs and attaches them to one cgroup; hands out what they recorded of each connection.
//!
//! Links and maps are pinned below a directory of the instance, so they outlive the daemon: with every process of it
//! killed, connections to enrolled destinations are refused, because the programs still send them to a port where
//! nobody listens. The next start finds the pins and takes over without a moment in which no program is attached.
//!
//! ```text
//! PIN_DIR/v2/maps/NAME    maps, reused by the next start
//! PIN_DIR/v2/links/NAME   the attachment of each program
//! ```
//!
//! The programs are in the `interceptor-ebpf` crate; its library half holds the types of the maps.

mod addresses;
mod btf;
mod catalogue;
mod cgroup;
pub mod dns;
mod effective;
mod endpoints;
mod error;
mod events;
mod flows;
mod heartbeat;
mod http_proxy;
mod modes;
mod namespaces;
mod netns;
mod offsets;
mod pinned;
mod programs;
mod resolvers;
mod ring;
mod snapshot;
mod snapshots;
mod sock_diag;
mod stats;
mod sys;

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, PerCpuArray};
use interceptor_ebpf::{CgroupRule, EndpointRule, EndpointV4, EndpointV6, Listener, MAX_FLOWS, names};

pub use addresses::{Addresses, DnsCounts};
pub use btf::BtfError;
#[doc(hidden)]
pub use btf::fuzz_btf;
pub use catalogue::{
    Base, Catalogue, Endpoint, EndpointError, Lookup, NamePattern, PatternError, Prefix, PrefixError, Protocol,
};
pub use cgroup::Cgroups;
pub use effective::{Effective, Fault, Foreign};
pub use endpoints::{EndpointAddr, WhenDown};
pub use error::Error;
pub use events::EventLog;
pub use flows::{BootTime, Flow, Flows, Listening, NetnsCookie, Reason, TakeError};
pub use heartbeat::Heartbeat;
pub use http_proxy::HttpProxy;
pub use modes::{CgroupMode, Mode};
pub use namespaces::Namespaces;
pub use netns::Netns;
pub use offsets::SnapshotUnsupported;
pub use pinned::Pinned;
pub use resolvers::Resolvers;
pub use ring::{DnsPacket, DnsPackets, Event, Events, What};
pub use snapshot::{Ancestor, Arguments, ExeFile, Groups, Image, KernelPath, Snapshot};
pub use sock_diag::{Destroyed, Scope, destroy_direct, destroy_leaving};
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
    /// Without a [`Heartbeat`] for this long, connections are refused (or go direct, where an endpoint is open then).
    /// None: no heartbeat is asked for.
    pub stale_after: Option<Duration>,
    /// Connections of one user that may wait for accept at once.
    pub waiting_per_user: u64,
}

impl Settings {
    /// A quarter of the map of flows.
    pub const WAITING_PER_USER: u64 = MAX_FLOWS as u64 / 4;
}

/// The attached programs. Dropping it leaves them in force; [`Capture::detach`] removes them.
pub struct Capture {
    pins: Pins,
    maps: Maps,
    listening: Listening,
    log: Option<EventLog>,
    snapshot_support: Result<(), SnapshotUnsupported>,
    /// Keeps a second daemon from taking the same pins.
    _lock: File,
}

/// What [`Capture::load_and_attach`] has put in force.
struct Attached {
    maps: Maps,
    listening: Listening,
    log: Option<EventLog>,
    snapshot_support: Result<(), SnapshotUnsupported>,
}

struct Maps {
    endpoints_v4: LpmTrie<MapData, EndpointV4, EndpointRule>,
    endpoints_v6: LpmTrie<MapData, EndpointV6, EndpointRule>,
    listeners: HashMap<MapData, u64, Listener>,
    settings: Array<MapData, interceptor_ebpf::Settings>,
    own: interceptor_ebpf::Settings,
    cgroup_rules: HashMap<MapData, u64, CgroupRule>,
    counters: PerCpuArray<MapData, u64>,
    flows: Flows,
    heartbeat: Option<Heartbeat>,
    events: Option<Events>,
    dns: Option<DnsPackets>,
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
            Ok(Attached { maps, listening, log, snapshot_support }) => {
                Ok(Self { pins, maps, listening, log, snapshot_support, _lock: lock })
            }
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
    ) -> Result<Attached, Error> {
        // What this kernel does not take must not disturb what an earlier process left in force.
        let (mut ebpf, snapshot_support) = programs::verified(pins)?;
        let own = interceptor_ebpf::Settings {
            own_cgroup,
            stale_after: settings.stale_after.map_or(0, |age| age.as_nanos() as u64),
            own_mark: settings.mark,
            cgroup_rules: 0,
            max_waiting: settings.waiting_per_user,
        };
        if let Err(why) = &snapshot_support {
            log::warn!("callers that exit before they are accepted will be known by their ids alone: {why}");
        }
        let mut maps = Maps::take(&mut ebpf, own)?;
        maps.take_over()?;
        let listening = maps.announce(netns, settings.listener_port)?;
        let log = EventLog::start(&mut ebpf)?;
        pins.attach(&mut ebpf, cgroup)?;
        Ok(Attached { maps, listening, log, snapshot_support })
    }

    /// The listener of the daemon's own network namespace, as announced by [`attach`](Self::attach).
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.listening
    }

    /// Whether callers are named as they were at the connect call, or why they are named by what `/proc` says at accept.
    ///
    /// # Errors
    /// What this kernel lacks. Capture is in force all the same.
    pub fn snapshot_support(&self) -> Result<(), SnapshotUnsupported> {
        self.snapshot_support.clone()
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

    /// How many network namespaces have a listener, the daemon's own included.
    ///
    /// # Errors
    /// When the kernel refuses to read the map.
    pub fn announced(&self) -> Result<usize, Error> {
        self.maps
            .listeners
            .keys()
            .try_fold(0, |count, key| key.map(|_| count + 1))
            .map_err(Error::map(names::LISTENERS))
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

    /// Gives cgroups modes of their own: exactly `modes`, everything else is captured by names.
    ///
    /// # Errors
    /// A path that is no cgroup2 directory or too deep in the tree, or a full map.
    pub fn set_modes(&mut self, modes: &[CgroupMode]) -> Result<(), Error> {
        let count = modes::set(&mut self.maps.cgroup_rules, &Cgroups::find()?, modes)?;
        self.maps.own.cgroup_rules = count;
        self.maps.write_settings()
    }

    /// The heart, once: for the thread that keeps it beating. It has beaten once at [`attach`](Self::attach).
    pub fn take_heartbeat(&mut self) -> Option<Heartbeat> {
        self.maps.heartbeat.take()
    }

    /// The programs' events, once.
    pub fn take_events(&mut self) -> Option<Events> {
        self.maps.events.take()
    }

    /// The DNS answers that enrolled processes receive, once.
    pub fn take_dns(&mut self) -> Option<DnsPackets> {
        self.maps.dns.take()
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
        drop(self.log);
        self.pins.remove()
    }
}

impl Maps {
    fn take(ebpf: &mut Ebpf, own: interceptor_ebpf::Settings) -> Result<Self, Error> {
        let waiting = take_map(ebpf, names::WAITING)?;
        Ok(Self {
            endpoints_v4: take(ebpf, names::ENDPOINTS_V4)?,
            endpoints_v6: take(ebpf, names::ENDPOINTS_V6)?,
            listeners: take(ebpf, names::LISTENERS)?,
            settings: take(ebpf, names::SETTINGS)?,
            counters: take(ebpf, names::COUNTERS)?,
            own,
            cgroup_rules: take(ebpf, names::CGROUPS)?,
            flows: Flows::new(take_map(ebpf, names::FLOWS)?, &waiting, take_map(ebpf, names::SNAPSHOTS)?)?,
            heartbeat: Some(Heartbeat(take(ebpf, names::HEARTBEAT)?)),
            events: Some(Events(take(ebpf, names::EVENTS)?)),
            dns: Some(DnsPackets(take(ebpf, names::DNS)?)),
        })
    }

    /// Makes the maps this process's, whatever an earlier one left in them.
    fn take_over(&mut self) -> Result<(), Error> {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.beat(BootTime::now())?;
        }
        self.forget_listeners()?;
        self.flows.recount()?;
        self.own.cgroup_rules = modes::count(&self.cgroup_rules)?;
        self.write_settings()
    }

    fn write_settings(&mut self) -> Result<(), Error> {
        self.settings.set(0, self.own, 0).map_err(Error::map(names::SETTINGS))
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
    M: TryFrom<Map, Error = aya::maps::MapError>,
{
    M::try_from(take_map(ebpf, name)?).map_err(Error::map(name))
}

fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or(Error::Object { what: name })
}
