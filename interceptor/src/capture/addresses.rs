//! The addresses that are enrolled, remembered long after a resolver has stopped giving them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::EndpointAddr;

/// How long an address stays enrolled after it was last seen. Providers rotate addresses by the minute and clients cache
/// them by the hour; an address that is dropped too early is a way around the interceptor, one that is kept too long only
/// means that a foreign name behind it is denied.
const KEEP: Duration = Duration::from_secs(24 * 3600);

/// Enrolled destinations, and when each was last seen.
#[derive(Debug, Default)]
pub struct Addresses {
    seen: HashMap<EndpointAddr, Instant>,
}

impl Addresses {
    /// Begins with what an earlier process has left enrolled.
    #[must_use]
    pub fn new(enrolled: impl IntoIterator<Item = EndpointAddr>, now: Instant) -> Self {
        Self { seen: enrolled.into_iter().map(|address| (address, now)).collect() }
    }

    /// Takes in a round of lookups. A round in which a name did not resolve tells nothing about what is gone, so nothing
    /// grows older by it.
    pub fn learn(&mut self, found: &[SocketAddr], all_resolved: bool, now: Instant) {
        for address in found {
            self.seen.insert(EndpointAddr::single(address.ip(), address.port()), now);
        }
        if all_resolved {
            self.seen.retain(|_, seen| now.saturating_duration_since(*seen) < KEEP);
        } else {
            self.seen.values_mut().for_each(|seen| *seen = now);
        }
    }

    /// What is to be captured.
    #[must_use]
    pub fn current(&self) -> Vec<EndpointAddr> {
        self.seen.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, last], 443))
    }

    fn hours(n: u64) -> Duration {
        Duration::from_secs(n * 3600)
    }

    #[test]
    fn a_rotated_address_stays_for_a_day() {
        let start = Instant::now();
        let mut addresses = Addresses::default();
        addresses.learn(&[address(1)], true, start);
        addresses.learn(&[address(2)], true, start + hours(23));
        assert_eq!(addresses.current().len(), 2);
        addresses.learn(&[address(2)], true, start + hours(25));
        assert_eq!(addresses.current(), [EndpointAddr::single(address(2).ip(), 443)]);
    }

    #[test]
    fn nothing_is_forgotten_while_names_do_not_resolve() {
        let start = Instant::now();
        let mut addresses = Addresses::new([EndpointAddr::single(address(1).ip(), 443)], start);
        addresses.learn(&[], false, start + hours(100));
        addresses.learn(&[address(2)], true, start + hours(101));
        assert_eq!(addresses.current().len(), 2);
    }
}
