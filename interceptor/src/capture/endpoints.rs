//! The enrolled destinations.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};

use aya::Pod;
use aya::maps::MapData;
use aya::maps::lpm_trie::{self, LpmTrie};
use interceptor_ebpf::{
    ANY_PORT, Address, CANARY_PORT, CANARY_V4, CANARY_V6, EndpointRule, EndpointV4, EndpointV6, PORT_BITS, names, rule,
};

use super::Error;

/// A destination to capture: a port of one address, or of every address with a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointAddr {
    /// The address; bits beyond the prefix do not count. A v4-mapped one means the IPv4 address.
    pub ip: IpAddr,
    /// Bits of the address that must match: 32 or 128 for one address.
    pub prefix: u8,
    /// The TCP port.
    pub port: u16,
    /// What becomes of connections while the daemon is dead or hung.
    pub when_down: WhenDown,
}

/// What becomes of connections to an endpoint while the daemon is dead or hung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenDown {
    /// They are refused.
    #[default]
    Refuse,
    /// They go direct, unmasked and unrecorded but for a count.
    Open,
}

impl EndpointAddr {
    /// One address.
    #[must_use]
    pub fn single(ip: IpAddr, port: u16) -> Self {
        let ip = ip.to_canonical();
        Self { ip, prefix: if ip.is_ipv4() { 32 } else { 128 }, port, when_down: WhenDown::Refuse }
    }
}

impl fmt::Display for EndpointAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} port {}", self.ip, self.prefix, self.port)
    }
}

/// A trie key that can be compared: the kernel keeps the bits beyond the prefix as they were written.
type Entry<K> = (u32, K);

type Trie<K> = LpmTrie<MapData, K, EndpointRule>;

/// Makes the two tries hold exactly `endpoints`, adding before removing.
pub(super) fn enrol(
    v4: &mut Trie<EndpointV4>,
    v6: &mut Trie<EndpointV6>,
    endpoints: &[EndpointAddr],
) -> Result<(), Error> {
    let (wanted_v4, wanted_v6) = keys(endpoints)?;
    add(v4, names::ENDPOINTS_V4, &wanted_v4)?;
    add(v6, names::ENDPOINTS_V6, &wanted_v6)?;
    remove_others(v4, names::ENDPOINTS_V4, &wanted_v4)?;
    remove_others(v6, names::ENDPOINTS_V6, &wanted_v6)
}

/// What the two tries hold.
pub(super) fn enrolled(v4: &Trie<EndpointV4>, v6: &Trie<EndpointV6>) -> Result<Vec<EndpointAddr>, Error> {
    let mut endpoints = Vec::new();
    for entry in v4.iter() {
        let (key, rule) = entry.map_err(Error::map(names::ENDPOINTS_V4))?;
        let EndpointV4 { port, address } = key.data();
        let ip = Ipv4Addr::from(u32::from_be(address)).into();
        endpoints.extend(endpoint(ip, key.prefix_len(), port, rule));
    }
    for entry in v6.iter() {
        let (key, rule) = entry.map_err(Error::map(names::ENDPOINTS_V6))?;
        let EndpointV6 { port, address } = key.data();
        endpoints.extend(endpoint(Address(address).into(), key.prefix_len(), port, rule));
    }
    Ok(endpoints)
}

/// None for entries that are the programs' own affair.
fn endpoint(ip: IpAddr, prefix_len: u32, port: u32, rule: EndpointRule) -> Option<EndpointAddr> {
    let port = port_of(port);
    let when_down = if rule.flags & rule::OPEN_WHEN_DOWN == 0 { WhenDown::Refuse } else { WhenDown::Open };
    let own = port == ANY_PORT || rule.flags & rule::CANARY != 0;
    (!own).then_some(EndpointAddr { ip, prefix: bits(prefix_len), port, when_down })
}

fn bits(prefix_len: u32) -> u8 {
    u8::try_from(prefix_len.saturating_sub(PORT_BITS)).unwrap_or(u8::MAX)
}

fn port_of(port: u32) -> u16 {
    u16::try_from(u32::from_be(port)).unwrap_or_default()
}

/// Entries of the two tries and their rules.
type Keys = (HashMap<Entry<EndpointV4>, EndpointRule>, HashMap<Entry<EndpointV6>, EndpointRule>);

/// What the tries hold for `endpoints`: themselves, their addresses without a port, and the canaries.
fn keys(endpoints: &[EndpointAddr]) -> Result<Keys, Error> {
    let (mut v4, mut v6) = Keys::default();
    let canary = EndpointRule { flags: rule::CANARY };
    if let Some(address) = CANARY_V4.as_v4() {
        v4.insert((PORT_BITS + 32, EndpointV4::new(address, CANARY_PORT)), canary);
    }
    v6.insert((PORT_BITS + 128, EndpointV6::new(CANARY_V6.0, CANARY_PORT)), canary);
    for &endpoint in endpoints {
        let flags = if endpoint.when_down == WhenDown::Open { rule::OPEN_WHEN_DOWN } else { 0 };
        for port in [endpoint.port, ANY_PORT] {
            match key(EndpointAddr { port, ..endpoint })? {
                Key::V4(prefix, data) => enter(&mut v4, (prefix, data), flags),
                Key::V6(prefix, data) => enter(&mut v6, (prefix, data), flags),
            }
        }
    }
    Ok((v4, v6))
}

/// Of two wishes for one destination the stricter holds.
fn enter<K: Eq + Hash>(entries: &mut HashMap<Entry<K>, EndpointRule>, entry: Entry<K>, flags: u32) {
    entries.entry(entry).and_modify(|rule| rule.flags &= flags | rule::CANARY).or_insert(EndpointRule { flags });
}

enum Key {
    V4(u32, EndpointV4),
    V6(u32, EndpointV6),
}

fn key(endpoint: EndpointAddr) -> Result<Key, Error> {
    let EndpointAddr { ip, prefix, port, .. } = endpoint;
    let invalid = Error::Prefix { ip, prefix };
    let width = if ip.is_ipv4() { 32 } else { 128 };
    let host_bits = width - u32::from(prefix).min(width);
    if u32::from(prefix) > width {
        return Err(invalid);
    }
    match ip {
        IpAddr::V4(ip) => {
            let masked = u32::from(ip).checked_shr(host_bits).map_or(0, |bits| bits << host_bits);
            Ok(Key::V4(PORT_BITS + u32::from(prefix), EndpointV4::new(masked.to_be(), port)))
        }
        // The programs look a v4-mapped destination up among the IPv4 ones.
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            let prefix = prefix.checked_sub(96).ok_or(invalid)?;
            key(EndpointAddr { ip: IpAddr::V6(ip).to_canonical(), prefix, ..endpoint })
        }
        IpAddr::V6(ip) => {
            let masked = u128::from(ip).checked_shr(host_bits).map_or(0, |bits| bits << host_bits);
            let Address(words) = IpAddr::from(masked.to_be_bytes()).into();
            Ok(Key::V6(PORT_BITS + u32::from(prefix), EndpointV6::new(words, port)))
        }
    }
}

fn add<K: Pod>(trie: &mut Trie<K>, name: &'static str, wanted: &HashMap<Entry<K>, EndpointRule>) -> Result<(), Error> {
    for (&(prefix, data), &rule) in wanted {
        trie.insert(&lpm_trie::Key::new(prefix, data), rule, 0).map_err(Error::map(name))?;
    }
    Ok(())
}

fn remove_others<K: Pod + Eq + Hash>(
    trie: &mut Trie<K>,
    name: &'static str,
    wanted: &HashMap<Entry<K>, EndpointRule>,
) -> Result<(), Error> {
    let present = trie.keys().collect::<Result<Vec<_>, _>>().map_err(Error::map(name))?;
    for key in present.iter().filter(|key| !wanted.contains_key(&(key.prefix_len(), key.data()))) {
        trie.remove(key).map_err(Error::map(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(ip: &str, prefix: u8, port: u16) -> EndpointAddr {
        EndpointAddr { ip: ip.parse().unwrap(), prefix, port, when_down: WhenDown::Refuse }
    }

    /// Without the canaries.
    fn keys(endpoints: &[EndpointAddr]) -> Result<Keys, Error> {
        let (mut v4, mut v6) = super::keys(endpoints)?;
        v4.retain(|_, rule| rule.flags & rule::CANARY == 0);
        v6.retain(|_, rule| rule.flags & rule::CANARY == 0);
        Ok((v4, v6))
    }

    #[test]
    fn bits_beyond_the_prefix_do_not_make_two_keys() {
        let (v4, v6) = keys(&[
            endpoint("203.0.113.77", 24, 443),
            endpoint("203.0.113.1", 24, 443),
            endpoint("2001:db8::1", 32, 443),
            endpoint("2001:db8:ffff::2", 32, 443),
        ])
        .unwrap();
        let network = u32::from_ne_bytes([203, 0, 113, 0]);
        assert_eq!(v4.len(), 2);
        assert!(v4.contains_key(&(56, EndpointV4::new(network, 443))));
        assert!(v4.contains_key(&(56, EndpointV4::new(network, ANY_PORT))));
        assert_eq!(v6.len(), 2);
    }

    #[test]
    fn a_v4_mapped_endpoint_is_enrolled_as_ipv4() {
        let (mapped, v6) = keys(&[endpoint("::ffff:203.0.113.10", 128, 443)]).unwrap();
        let (plain, _) = keys(&[endpoint("203.0.113.10", 32, 443)]).unwrap();
        assert_eq!(mapped, plain);
        assert!(v6.is_empty());
    }

    #[test]
    fn the_whole_address_space_is_prefix_zero() {
        let (v4, v6) = keys(&[endpoint("203.0.113.10", 0, 443), endpoint("2001:db8::1", 0, 443)]).unwrap();
        assert!(v4.contains_key(&(PORT_BITS, EndpointV4::new(0, 443))));
        assert!(v6.contains_key(&(PORT_BITS, EndpointV6::new([0; 4], 443))));
    }

    #[test]
    fn a_destination_is_open_only_when_everyone_wants_it_open() {
        let closed = endpoint("203.0.113.10", 32, 443);
        let open = EndpointAddr { when_down: WhenDown::Open, ..closed };
        let flags = |endpoints: &[EndpointAddr]| {
            keys(endpoints).unwrap().0.into_values().map(|rule| rule.flags).collect::<Vec<_>>()
        };
        assert_eq!(flags(&[open]), [rule::OPEN_WHEN_DOWN; 2]);
        assert_eq!(flags(&[open, closed]), [0; 2]);
        assert_eq!(flags(&[closed, open]), [0; 2]);
    }

    #[test]
    fn refuses_a_prefix_longer_than_the_address() {
        for bad in
            [endpoint("203.0.113.10", 33, 443), endpoint("2001:db8::1", 129, 443), endpoint("::ffff:1.2.3.4", 95, 1)]
        {
            assert!(matches!(keys(&[bad]), Err(Error::Prefix { .. })), "{bad}");
        }
    }
}
