//! What is enrolled while the daemon runs: lookups of its own, DNS answers to others, and connections from before.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Failure;
use crate::capture::{
    self, Addresses, Capture, Catalogue, CgroupMode, Destroyed, DnsPackets, EndpointAddr, HttpProxy, Lookup,
    NetnsCookie, Resolvers, Scope, destroy_direct, destroy_leaving,
};
use crate::config::Config;
use crate::daemon::Endpoints;

/// How often endpoint names are resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// Packets taken in before other things have their turn.
const BATCH: usize = 256;

/// Names of the catalogue become enrolled addresses.
pub(super) struct Names {
    catalogue: Catalogue,
    addresses: Addresses,
    /// Where clients are configured to ask for tunnels.
    proxies: Vec<EndpointAddr>,
    /// `capture.resolvers`.
    configured: Vec<IpAddr>,
    resolvers: Resolvers,
    netns: NetnsCookie,
    /// Names that did not resolve the last time, so that each is complained about once.
    failing: HashSet<Arc<str>>,
    /// Whether no name resolved the last time.
    no_resolver: bool,
    /// Whether what is known was not enrolled, because that failed.
    behind: bool,
    cgroup: PathBuf,
    modes: Vec<CgroupMode>,
    mark: u32,
    /// Destinations of the last round: a connect(2) that was under way then is found now.
    again: Vec<EndpointAddr>,
    packets: Option<DnsPackets>,
    work: Option<Work>,
}

/// What goes on in the background, once there is a runtime.
struct Work {
    tick: Interval,
    packets: Option<AsyncFd<DnsPackets>>,
    lookups: Option<JoinHandle<Vec<Lookup>>>,
}

impl Names {
    /// Resolves every name once and enrols what is found; blocks for as long as the resolver takes. Connections from
    /// before are reset as the `modes` of cgroups demand.
    pub(super) fn start(
        capture: &mut Capture,
        catalogue: Catalogue,
        settings: &capture::Settings,
        config: &Config,
        modes: &[CgroupMode],
    ) -> Result<Self, Failure> {
        let netns = capture.listening().netns;
        // A port that no endpoint has was a proxy's, or of an endpoint that is not configured any more.
        let served = |address: &EndpointAddr| catalogue.endpoints().any(|e| e.ports.contains(&address.port));
        let enrolled = capture.enrolled()?.into_iter().filter(served);
        let addresses = Addresses::new(catalogue.clone(), enrolled, Instant::now());
        let mut names = Self {
            catalogue,
            addresses,
            proxies: config.proxies.iter().flat_map(HttpProxy::destinations).collect(),
            configured: config.capture.resolvers.clone(),
            resolvers: Resolvers::system(&config.capture.resolvers, netns),
            netns,
            failing: HashSet::new(),
            no_resolver: false,
            behind: false,
            cgroup: settings.cgroup.clone(),
            modes: modes.to_vec(),
            mark: settings.mark,
            again: Vec::new(),
            packets: capture.take_dns(),
            work: None,
        };
        // What is known without the resolver is captured before it is asked.
        names.enrol(capture)?;
        complain(destroy_leaving(&names.scope()));
        let lookups = names.catalogue.resolve();
        names.learn(&lookups);
        names.enrol(capture)?;
        Ok(names)
    }

    /// Waits until there is something to [`enrol`](Self::enrol). Only within a runtime; may be dropped at any time.
    pub(super) async fn changed(&mut self) -> Result<(), Failure> {
        loop {
            let work = match &mut self.work {
                Some(work) => work,
                empty => empty.insert(Work::new(self.packets.take())?),
            };
            tokio::select! {
                _ = work.tick.tick() => {
                    self.resolvers = Resolvers::system(&self.configured, self.netns);
                    if work.lookups.is_none() {
                        let catalogue = self.catalogue.clone();
                        // A resolver may take seconds.
                        work.lookups = Some(tokio::task::spawn_blocking(move || catalogue.resolve()));
                    }
                    if self.behind || !self.again.is_empty() {
                        return Ok(());
                    }
                }
                lookups = finished(&mut work.lookups) => {
                    if self.learn(&lookups?) {
                        return Ok(());
                    }
                }
                packets = received(&mut work.packets) => {
                    if self.observe(packets?) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Captures what is known now, and resets connections that were made before it was.
    pub(super) fn enrol(&mut self, capture: &mut Capture) -> Result<(), Failure> {
        let mut endpoints = self.addresses.current();
        endpoints.extend(&self.proxies);
        self.behind = true;
        capture.enrol(&endpoints)?;
        self.behind = false;
        log::debug!("{} endpoint addresses enrolled", endpoints.len());
        let fresh = self.addresses.take_fresh();
        let mut suspects = std::mem::replace(&mut self.again, fresh.clone());
        suspects.extend(fresh);
        complain(destroy_direct(&suspects, &self.scope()));
        Ok(())
    }

    /// What the status says of them.
    pub(super) fn facts(&self) -> Endpoints {
        let telling = self.failing.iter().filter(|name| self.catalogue.must_resolve(name, self.no_resolver));
        let mut unresolved: Vec<_> = telling.map(ToString::to_string).collect();
        unresolved.sort_unstable();
        Endpoints { names: self.catalogue.len(), addresses: self.addresses.current().len(), unresolved }
    }

    fn scope(&self) -> Scope<'_> {
        Scope { cgroup: &self.cgroup, modes: &self.modes, own_mark: self.mark }
    }

    fn learn(&mut self, lookups: &[Lookup]) -> bool {
        self.no_resolver = !lookups.is_empty() && lookups.iter().all(|lookup| lookup.result.is_err());
        for Lookup { name, result } in lookups {
            match result {
                Ok(_) => {
                    self.failing.remove(name);
                }
                Err(error) if self.failing.insert(Arc::clone(name)) && self.catalogue.must_resolve(name, true) => {
                    log::warn!(
                        "endpoint {name}: {error}; until it resolves, only addresses known from before or seen in DNS \
                         answers are captured"
                    );
                }
                Err(error) => log::debug!("endpoint {name}: {error}"),
            }
        }
        self.addresses.learn(lookups, Instant::now())
    }

    fn observe(&mut self, packets: Vec<capture::DnsPacket>) -> bool {
        let now = Instant::now();
        let before = self.addresses.dns_counts();
        let mut changed = false;
        for packet in packets {
            changed |= self.addresses.observe_packet(&packet, &self.resolvers, now);
        }
        if before.unplaced == 0 && self.addresses.dns_counts().unplaced > 0 {
            log::warn!(
                "this kernel does not tell where DNS answers arrive, so none is learnt from: addresses of wildcard names \
                 are only captured as far as they are configured; use strict mode"
            );
        }
        changed
    }
}

impl Work {
    fn new(packets: Option<DnsPackets>) -> std::io::Result<Self> {
        let mut tick = interval(RESOLVE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first round was at the start.
        tick.reset();
        Ok(Self { tick, packets: packets.map(DnsPackets::watch).transpose()?, lookups: None })
    }
}

/// Nothing more can be done about connections that cannot be reset.
fn complain(result: Result<Destroyed, capture::Error>) {
    if let Err(error) = result {
        log::error!("connections made before their destination was enrolled may stay direct: {error}");
    }
}

/// The result of the lookups under way; never when there are none.
async fn finished(lookups: &mut Option<JoinHandle<Vec<Lookup>>>) -> Result<Vec<Lookup>, Failure> {
    let Some(task) = lookups else { return std::future::pending().await };
    let found = task.await;
    *lookups = None;
    Ok(found?)
}

/// The next packets; never when nobody sends any.
async fn received(packets: &mut Option<AsyncFd<DnsPackets>>) -> Result<Vec<capture::DnsPacket>, Failure> {
    let Some(packets) = packets else { return std::future::pending().await };
    let mut ready = packets.readable_mut().await?;
    let taken: Vec<_> = std::iter::from_fn(|| ready.get_inner_mut().take()).take(BATCH).collect();
    if taken.len() < BATCH {
        ready.clear_ready();
    }
    Ok(taken)
}
