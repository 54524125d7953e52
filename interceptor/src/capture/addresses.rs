//! The addresses that are enrolled: how they are learnt, and how long they are remembered.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use interceptor_ebpf::MAX_ENDPOINTS;

use super::dns::{self, Answer};
use super::{Catalogue, DnsPacket, Endpoint, EndpointAddr, Lookup, Resolvers, WhenDown};

/// How long an address stays enrolled after the resolver's word for it has run out. Providers rotate addresses by the
/// minute, and clients cache them for hours, whatever their TTL is; an address that is dropped too early is a way around
/// the interceptor, one that is kept too long only means that a foreign name behind it is denied.
const GRACE: Duration = Duration::from_secs(24 * 3600);

/// The longest TTL that is believed (RFC 8767, section 4, has the same cap for caches).
const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// Room for observed addresses: half of what the kernel's maps hold (two entries each), so that what others look up leaves
/// room for what the daemon looks up itself.
const MAX_OBSERVED: usize = MAX_ENDPOINTS / 4;

/// Enrolled destinations, and until when.
#[derive(Debug)]
pub struct Addresses {
    catalogue: Catalogue,
    /// The configured ones: they stay.
    fixed: HashMap<Destination, WhenDown>,
    learnt: HashMap<Destination, Learnt>,
    /// What came in since it was last asked for.
    fresh: Vec<Destination>,
    counts: DnsCounts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Destination {
    ip: IpAddr,
    prefix: u8,
    port: u16,
}

#[derive(Debug)]
struct Learnt {
    expires: Instant,
    when_down: WhenDown,
    /// Names that the daemon found it behind itself.
    names: Vec<Arc<str>>,
    origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Left enrolled by an earlier process.
    Inherited,
    /// Found by a lookup of the daemon's own.
    LookedUp,
    /// Seen in an answer to somebody else.
    Observed,
}

/// What came of the DNS packets seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DnsCounts {
    /// Answers of trusted resolvers.
    pub answers: u64,
    /// Of those, answers about a name of the catalogue.
    pub matching: u64,
    /// Answers that were cut off; their clients ask again over TCP, unseen.
    pub truncated: u64,
    /// Packets of trusted resolvers that were no answers.
    pub malformed: u64,
    /// Packets from anywhere else.
    pub untrusted: u64,
    /// Packets of which this kernel does not say in which network namespace they arrived: they are not trusted either.
    pub unplaced: u64,
    /// Addresses for which there was no room.
    pub overflow: u64,
}

impl Addresses {
    /// Begins with the configured addresses, and what an earlier process has left enrolled.
    #[must_use]
    pub fn new(catalogue: Catalogue, enrolled: impl IntoIterator<Item = EndpointAddr>, now: Instant) -> Self {
        let mut fixed = HashMap::new();
        for endpoint in catalogue.endpoints() {
            for (prefix, &port) in
                endpoint.addresses.iter().flat_map(|p| endpoint.ports.iter().map(move |port| (p, port)))
            {
                let destination = Destination { ip: prefix.ip(), prefix: prefix.len(), port };
                let when_down = fixed.entry(destination).or_insert(endpoint.when_down);
                *when_down = stricter(*when_down, endpoint.when_down);
            }
        }
        let fresh = fixed.keys().copied().collect();
        let mut addresses = Self { catalogue, fixed, learnt: HashMap::new(), fresh, counts: DnsCounts::default() };
        for EndpointAddr { ip, prefix, port, .. } in enrolled {
            let destination = Destination { ip, prefix, port };
            // A prefix was configured: it goes with its configuration.
            if !addresses.fixed.contains_key(&destination) && EndpointAddr::single(ip, port).prefix == prefix {
                addresses.insert(destination, WhenDown::Refuse, Origin::Inherited, now + GRACE);
            }
        }
        addresses
    }

    /// Adds destinations that are no endpoints of the catalogue and are captured for good.
    pub fn fix(&mut self, destinations: impl IntoIterator<Item = EndpointAddr>) {
        for EndpointAddr { ip, prefix, port, when_down } in destinations {
            let destination = Destination { ip, prefix, port };
            if self.fixed.insert(destination, when_down).is_none() {
                self.fresh.push(destination);
            }
        }
    }

    /// Takes in a round of lookups of the daemon's own; true when [`current`](Self::current) changed. Addresses of a
    /// name that did not resolve do not grow older, for that tells nothing about what is gone.
    pub fn learn(&mut self, lookups: &[Lookup], now: Instant) -> bool {
        let mut changed = false;
        for lookup in lookups {
            let Ok(found) = &lookup.result else { continue };
            for endpoint in self.endpoints(&lookup.name) {
                for &ip in found.iter().filter(|ip| is_unicast(**ip)) {
                    for &port in &endpoint.ports {
                        let destination = single(ip, port);
                        changed |= self.insert(destination, endpoint.when_down, Origin::LookedUp, now + GRACE);
                        if let Some(learnt) = self.learnt.get_mut(&destination)
                            && !learnt.names.contains(&lookup.name)
                        {
                            learnt.names.push(Arc::clone(&lookup.name));
                        }
                    }
                }
            }
        }
        self.hold(lookups, now);
        self.expire(now) || changed
    }

    /// Takes in what a resolver told a client; true when [`current`](Self::current) changed. The answer counts when the
    /// name that was asked for, or one it is an alias of, is in the catalogue.
    pub fn observe(&mut self, answer: &Answer, now: Instant) -> bool {
        let mut endpoints: Vec<_> = answer.names.iter().flat_map(|name| self.endpoints(name)).collect();
        endpoints.dedup_by(|a, b| Arc::ptr_eq(a, b));
        self.counts.matching += u64::from(!endpoints.is_empty());
        let mut changed = false;
        for endpoint in endpoints {
            for &(ip, ttl) in answer.addresses.iter().filter(|(ip, _)| is_unicast(*ip) && !is_local(*ip)) {
                let expires = now + ttl.min(MAX_TTL) + GRACE;
                for &port in &endpoint.ports {
                    changed |= self.insert(single(ip, port), endpoint.when_down, Origin::Observed, expires);
                }
            }
        }
        changed
    }

    /// Takes in a packet as the kernel programs saw it; true when [`current`](Self::current) changed. Whatever is wrong
    /// with it is counted: it is no fault of this host.
    pub fn observe_packet(&mut self, packet: &DnsPacket, resolvers: &Resolvers, now: Instant) -> bool {
        if !resolvers.trust(packet) {
            let reason = if packet.netns.is_some() { &mut self.counts.untrusted } else { &mut self.counts.unplaced };
            *reason += 1;
            return false;
        }
        match dns::parse(&packet.payload) {
            Ok(answer) => {
                self.counts.answers += 1;
                self.counts.truncated += u64::from(answer.truncated);
                self.observe(&answer, now)
            }
            Err(error) => {
                self.counts.malformed += 1;
                log::debug!("a packet of resolver {}: {error}", packet.resolver);
                false
            }
        }
    }

    /// What is to be captured.
    #[must_use]
    pub fn current(&self) -> Vec<EndpointAddr> {
        let fixed = self.fixed.iter().map(|(destination, when_down)| (destination, *when_down));
        let learnt = self.learnt.iter().filter(|(destination, _)| !self.fixed.contains_key(destination));
        fixed.chain(learnt.map(|(destination, learnt)| (destination, learnt.when_down))).map(enrolment).collect()
    }

    /// The destinations that came in since this was last called: connections that were made to them before go around
    /// the daemon, and are to be destroyed once the destinations are enrolled.
    pub fn take_fresh(&mut self) -> Vec<EndpointAddr> {
        let fresh = std::mem::take(&mut self.fresh);
        fresh.iter().map(|destination| enrolment((destination, WhenDown::Refuse))).collect()
    }

    /// What came of the DNS packets seen so far.
    #[must_use]
    pub fn dns_counts(&self) -> DnsCounts {
        self.counts
    }

    fn endpoints(&self, name: &str) -> Vec<Arc<Endpoint>> {
        self.catalogue.endpoints_named(name).into_iter().cloned().collect()
    }

    /// True when this destination is new, or treated differently from here on.
    fn insert(&mut self, destination: Destination, when_down: WhenDown, origin: Origin, expires: Instant) -> bool {
        let full = origin == Origin::Observed && self.learnt.len() >= MAX_OBSERVED;
        match self.learnt.entry(destination) {
            Slot::Occupied(mut slot) => {
                let learnt = slot.get_mut();
                learnt.expires = learnt.expires.max(expires);
                // What an earlier process left tells nothing about the endpoints behind it.
                let before = learnt.when_down;
                learnt.when_down = match learnt.origin {
                    Origin::Inherited => when_down,
                    Origin::LookedUp | Origin::Observed => stricter(before, when_down),
                };
                if learnt.origin != Origin::LookedUp {
                    learnt.origin = origin;
                }
                before != learnt.when_down
            }
            Slot::Vacant(_) if full => {
                if self.counts.overflow == 0 {
                    log::error!("more than {MAX_OBSERVED} addresses of endpoints: further ones are not captured");
                }
                self.counts.overflow += 1;
                false
            }
            Slot::Vacant(slot) => {
                slot.insert(Learnt { expires, when_down, names: Vec::new(), origin });
                self.fresh.push(destination);
                !self.fixed.contains_key(&destination)
            }
        }
    }

    /// Keeps what failed lookups would have renewed.
    fn hold(&mut self, lookups: &[Lookup], now: Instant) {
        let failed: Vec<_> =
            lookups.iter().filter(|lookup| lookup.result.is_err()).map(|lookup| &lookup.name).collect();
        // Without a resolver there is nothing to be learnt about what an earlier process has left, either.
        let no_resolver = !lookups.is_empty() && failed.len() == lookups.len();
        for learnt in self.learnt.values_mut() {
            let held = (no_resolver && learnt.origin == Origin::Inherited)
                || learnt.names.iter().any(|name| failed.contains(&name));
            if held {
                learnt.expires = learnt.expires.max(now + GRACE);
            }
        }
    }

    fn expire(&mut self, now: Instant) -> bool {
        let before = self.learnt.len();
        self.learnt.retain(|_, learnt| now < learnt.expires);
        self.learnt.len() != before
    }
}

fn enrolment((&Destination { ip, prefix, port }, when_down): (&Destination, WhenDown)) -> EndpointAddr {
    EndpointAddr { ip, prefix, port, when_down }
}

fn single(ip: IpAddr, port: u16) -> Destination {
    let EndpointAddr { ip, prefix, port, .. } = EndpointAddr::single(ip, port);
    Destination { ip, prefix, port }
}

/// Of two endpoints behind one address, the one that must not be reached directly decides.
fn stricter(a: WhenDown, b: WhenDown) -> WhenDown {
    if a == WhenDown::Open && b == WhenDown::Open { WhenDown::Open } else { WhenDown::Refuse }
}

/// Whether a connection to it can go anywhere. Resolvers that block a name answer with 0.0.0.0 or `::`, which Linux
/// takes for loopback.
fn is_unicast(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && ip.to_canonical() != IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Whether it stays on this host or link. The hosts file or the configuration may say so, the network may not: services
/// of this host would become unreachable.
fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
