//! The resolvers this host trusts: whose answers say where an endpoint is.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::{DnsPacket, NetnsCookie};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// systemd-resolved's stub listeners (systemd-resolved.service(8)).
const STUBS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];

/// Whose answers count. Without this, a program that answers itself could have any address enrolled, and so break other
/// people's connections to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolvers {
    trusted: HashSet<IpAddr>,
    netns: NetnsCookie,
}

impl Resolvers {
    /// The name servers of `/etc/resolv.conf` as it is now, systemd-resolved's stubs, and the `configured` ones, each
    /// as far as it is reached from the network namespace `netns`. A file that cannot be read has no name servers.
    #[must_use]
    pub fn system(configured: &[IpAddr], netns: NetnsCookie) -> Self {
        let file = read(Path::new(RESOLV_CONF));
        let trusted = file.into_iter().chain(STUBS).chain(configured.iter().copied());
        Self { trusted: trusted.map(|ip| ip.to_canonical()).collect(), netns }
    }

    /// Whether what `packet` says counts: it came from a trusted resolver, in the daemon's own network namespace. In
    /// another one a resolver's address may be anybody's, and where the kernel cannot tell which one it was, it might
    /// have been another.
    #[must_use]
    pub fn trust(&self, packet: &DnsPacket) -> bool {
        packet.netns == Some(self.netns) && self.trusted.contains(&packet.resolver.to_canonical())
    }
}

fn read(path: &Path) -> Vec<IpAddr> {
    match std::fs::read_to_string(path) {
        Ok(text) => name_servers(&text),
        Err(error) => {
            log::warn!("{}: {error}; answers of the resolvers named there do not count", path.display());
            Vec::new()
        }
    }
}

/// The `nameserver` lines of resolv.conf(5); without one, the local machine's.
fn name_servers(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|&key| key == "nameserver").and_then(|_| words.next())?;
        // `fe80::1%eth0`: the interface is not part of what the kernel programs see.
        address.split('%').next()?.parse().ok()
    });
    let servers: Vec<_> = servers.collect();
    if servers.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { servers }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(resolver: &str, netns: Option<u64>) -> DnsPacket {
        DnsPacket { resolver: resolver.parse().unwrap(), netns: netns.map(NetnsCookie), payload: Vec::new() }
    }

    #[test]
    fn reads_what_resolv_conf_allows() {
        let text = "# nameserver 192.0.2.9\n; nameserver 192.0.2.8\nsearch corp.example\nnameserver 192.0.2.1\n\
                    nameserver\t2001:db8::53\nnameserver fe80::1%eth0\nnameserver nonsense\noptions edns0\n";
        let expected: Vec<IpAddr> =
            ["192.0.2.1", "2001:db8::53", "fe80::1"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(name_servers(text), expected);
        assert_eq!(name_servers("options edns0\n"), [IpAddr::from([127, 0, 0, 1])]);
    }

    #[test]
    fn only_trusted_resolvers_of_the_own_namespace_count() {
        let resolvers = Resolvers::system(&["192.0.2.1".parse().unwrap()], NetnsCookie(1));
        assert!(resolvers.trust(&packet("192.0.2.1", Some(1))));
        assert!(resolvers.trust(&packet("::ffff:192.0.2.1", Some(1))));
        assert!(resolvers.trust(&packet("127.0.0.53", Some(1))));
        assert!(!resolvers.trust(&packet("198.51.100.66", Some(1))), "a resolver of the user's own");
        assert!(!resolvers.trust(&packet("192.0.2.1", Some(2))), "the same address in another namespace");
        assert!(!resolvers.trust(&packet("192.0.2.1", None)), "nobody knows where");
    }
}
