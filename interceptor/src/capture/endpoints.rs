//! The enrolled destinations.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr};

use aya::Pod;
use aya::maps::MapData;
use aya::maps::lpm_trie::{Key, LpmTrie};
use serde::Deserialize;
use interceptor_ebpf::{Address, EndpointRule, EndpointV4, EndpointV6, PORT_BITS, names};

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
}

/// What happens to connections to an endpoint while no daemon takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenDown {
    /// They are refused.
    #[default]
    Refuse,
    /// They go direct, unmasked and unrecorded.
    Open,
}

impl EndpointAddr {
    /// One address.
    #[must_use]
    pub fn single(ip: IpAddr, port: u16) -> Self {
        let ip = ip.to_canonical();
        Self { ip, prefix: if ip.is_ipv4() { 32 } else { 128 }, port }
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
    for key in v4.keys() {
        let key = key.map_err(Error::map(names::ENDPOINTS_V4))?;
        let EndpointV4 { port, address } = key.data();
        let ip = Ipv4Addr::from(u32::from_be(address)).into();
        endpoints.push(EndpointAddr { ip, prefix: bits(key.prefix_len()), port: port_of(port) });
    }
    for key in v6.keys() {
        let key = key.map_err(Error::map(names::ENDPOINTS_V6))?;
        let EndpointV6 { port, address } = key.data();
        endpoints.push(EndpointAddr {
            ip: Address(address).into(),
            prefix: bits(key.prefix_len()),
            port: port_of(port),
        });
    }
    Ok(endpoints)
}

fn bits(prefix_len: u32) -> u8 {
    u8::try_from(prefix_len.saturating_sub(PORT_BITS)).unwrap_or(u8::MAX)
}

fn port_of(port: u32) -> u16 {
    u16::try_from(u32::from_be(port)).unwrap_or_default()
}

type Keys = (HashSet<Entry<EndpointV4>>, HashSet<Entry<EndpointV6>>);

fn keys(endpoints: &[EndpointAddr]) -> Result<Keys, Error> {
    let (mut v4, mut v6) = Keys::default();
    for endpoint in endpoints {
        let EndpointAddr { ip, prefix, port } = *endpoint;
        let invalid = Error::Prefix { ip, prefix };
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let host_bits = width - u32::from(prefix).min(width);
        if u32::from(prefix) > width {
            return Err(invalid);
        }
        match ip {
            IpAddr::V4(ip) => {
                let masked = u32::from(ip).checked_shr(host_bits).map_or(0, |bits| bits << host_bits);
                v4.insert((PORT_BITS + u32::from(prefix), EndpointV4::new(masked.to_be(), port)));
            }
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
                // The programs look a v4-mapped destination up among the IPv4 ones.
                let prefix = prefix.checked_sub(96).ok_or(invalid)?;
                let inner = [EndpointAddr { ip: IpAddr::V6(ip).to_canonical(), prefix, port }];
                v4.extend(keys(&inner)?.0);
            }
            IpAddr::V6(ip) => {
                let masked = u128::from(ip).checked_shr(host_bits).map_or(0, |bits| bits << host_bits);
                let Address(words) = IpAddr::from(masked.to_be_bytes()).into();
                v6.insert((PORT_BITS + u32::from(prefix), EndpointV6::new(words, port)));
            }
        }
    }
    Ok((v4, v6))
}

fn add<K: Pod>(trie: &mut Trie<K>, name: &'static str, wanted: &HashSet<Entry<K>>) -> Result<(), Error> {
    for &(prefix, data) in wanted {
        trie.insert(&Key::new(prefix, data), EndpointRule { flags: 0 }, 0).map_err(Error::map(name))?;
    }
    Ok(())
}

fn remove_others<K: Pod + Eq + Hash>(
    trie: &mut Trie<K>,
    name: &'static str,
    wanted: &HashSet<Entry<K>>,
) -> Result<(), Error> {
    let present = trie.keys().collect::<Result<Vec<_>, _>>().map_err(Error::map(name))?;
    for key in present.iter().filter(|key| !wanted.contains(&(key.prefix_len(), key.data()))) {
        trie.remove(key).map_err(Error::map(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(ip: &str, prefix: u8, port: u16) -> EndpointAddr {
        EndpointAddr { ip: ip.parse().unwrap(), prefix, port }
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
        assert_eq!(v4.into_iter().collect::<Vec<_>>(), [(56, EndpointV4::new(network, 443))]);
        assert_eq!(v6.len(), 1);
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
        assert!(v4.contains(&(PORT_BITS, EndpointV4::new(0, 443))));
        assert!(v6.contains(&(PORT_BITS, EndpointV6::new([0; 4], 443))));
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
