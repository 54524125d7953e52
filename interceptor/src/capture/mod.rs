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
pub mod backstop;
mod btf;
mod catalogue;
mod cgroup;
pub mod dns;
mod effective;
mod endpoints;
mod error;
mod events;
pub mod features;
mod flows;
mod heartbeat;
mod http_proxy;
mod modes;
mod namespaces;
mod netns;
mod offsets;
mod pinned;
mod prepare;
mod programs;
mod resolvers;
mod ring;
mod snapshot;
mod snapshots;
mod sock_diag;
mod stats;
mod sys;
mod sys_probe;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, PerCpuArray};
use interceptor_ebpf::{CgroupRule, EndpointRule, EndpointV4, EndpointV6, Listener, MAX_FLOWS, names};

pub use addresses::{Addresses, DnsCounts};
pub use backstop::Backstop;
pub use btf::BtfError;
#[doc(hidden)]
pub use btf::fuzz_btf;
pub use catalogue::{
    Base, Bounds, Catalogue, ClientFiles, Endpoint, EndpointError, Lookup, NamePattern, PatternError, Prefix,
    PrefixError, Protocol, TlsFiles,
};
pub use cgroup::Cgroups;
pub use effective::{Effective, Fault, Foreign};
pub use endpoints::{EndpointAddr, WhenDown};
pub use error::Error;
pub use events::EventLog;
pub use features::Features;
pub use flows::{BootTime, Flow, Flows, Listening, NetnsCookie, Reason, TakeError};
pub use heartbeat::Heartbeat;
pub use http_proxy::HttpProxy;
pub use modes::{CgroupMode, Mode};
pub use namespaces::Namespaces;
pub use netns::Netns;
pub use offsets::SnapshotUnsupported;
pub use pinned::Pinned;
pub use prepare::Prepared;
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
    /// Connections of one user that may wait for accept at once, in this network namespace; a quarter of it holds for all
    /// of another network namespace.
    pub waiting_per_user: u64,
    /// What is to be otherwise than found or built in. Empty as a rule.
    pub overrides: Overrides,
}

/// Other circumstances than this host's: for seeing what becomes of capture in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Features taken for absent.
    pub absent: Vec<features::Name>,
    /// Entries of the map of flows, when it is made.
    pub flows: Option<u32>,
    /// Entries of each of the two maps of enrolled destinations, when they are made.
    pub endpoints: Option<u32>,
}

impl Settings {
    /// Many times what waits when all is well, and few enough that the map of flows holds those of many.
    pub const WAITING_PER_USER: u64 = MAX_FLOWS as u64 / 64;
}

/// The attached programs. Dropping it leaves them in force; [`Capture::detach`] removes them.
pub struct Capture {
    pins: Pins,
    maps: Maps,
    listening: Listening,
    log: Option<EventLog>,
    features: Features,
    snapshot_support: Result<(), SnapshotUnsupported>,
    /// Keeps a second daemon from taking the same pins.
    lock: File,
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
        Prepared::new(settings, None)?.attach()
    }

    /// The hold on the pins, for a successor: see [`Prepared::new`].
    ///
    /// # Errors
    /// When descriptors run out.
    pub fn share_lock(&self) -> Result<OwnedFd, Error> {
        self.lock.try_clone().map(OwnedFd::from).map_err(Error::syscall("fcntl(F_DUPFD_CLOEXEC)"))
    }

    /// Makes the maps this process's again, after a successor that failed may have written to them.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn reassert(&mut self) -> Result<(), Error> {
        self.maps.write_settings()
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

    /// What this kernel can do.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
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
            flows: Flows::new(
                take_map(ebpf, names::FLOWS)?,
                &waiting,
                take_map(ebpf, names::SNAPSHOTS)?,
                own.own_netns,
            )?,
            heartbeat: Some(Heartbeat(take(ebpf, names::HEARTBEAT)?)),
            events: Some(Events(take(ebpf, names::EVENTS)?)),
            dns: Some(DnsPackets(take(ebpf, names::DNS)?)),
        })
    }

    /// Makes the maps this process's, whatever an earlier one left in them.
    fn take_over(&mut self, kept: &[Listening]) -> Result<(), Error> {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.beat(BootTime::now())?;
        }
        self.forget_listeners(kept)?;
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

    /// Whether this announcement is the present one, for this port.
    fn stands(&self, listening: Listening, port: u16) -> Result<bool, Error> {
        match self.listeners.get(&listening.netns.0, 0) {
            Ok(present) => Ok(present.generation == listening.generation && present.port == port),
            Err(aya::maps::MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(Error::map(names::LISTENERS)(error)),
        }
    }

    fn withdraw(&mut self, netns_cookie: u64) -> Result<(), Error> {
        match self.listeners.remove(&netns_cookie) {
            Ok(()) | Err(aya::maps::MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(Error::map(names::LISTENERS)(error)),
        }
    }

    /// The listeners of the process that was here before are gone with it, but for those that were kept; their ports may
    /// be anyone's by now.
    fn forget_listeners(&mut self, kept: &[Listening]) -> Result<(), Error> {
        let stale = self.listeners.keys().collect::<Result<Vec<_>, _>>().map_err(Error::map(names::LISTENERS))?;
        let mut stale = stale.into_iter().filter(|cookie| !kept.iter().any(|kept| kept.netns.0 == *cookie));
        stale.try_for_each(|netns_cookie| self.withdraw(netns_cookie))
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
