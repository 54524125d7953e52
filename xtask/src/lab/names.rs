//! The names that resolve inside the lab, and their addresses.
//!
//! The addresses are those reserved for documentation: 203.0.113.0/24 (RFC 5737) and 2001:db8::/32 (RFC 3849), so a
//! packet that gets out of the lab goes nowhere.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The prefix lengths of the lab's two networks.
pub(crate) const PREFIX_V4: u8 = 24;
/// See [`PREFIX_V4`].
pub(crate) const PREFIX_V6: u8 = 64;

/// The client's own addresses.
pub(crate) const CLIENT: (Ipv4Addr, Ipv6Addr) = (v4(2), v6(0x2));

/// The port every name serves TLS on.
pub(crate) const PORT: u16 = 443;

/// Where the endpoint listens too, though nobody is told: what is enrolled is [`PORT`].
pub(crate) const OTHER_PORTS: [u16; 2] = [80, 8443];

/// A name whose certificate is good but for another name.
pub(crate) const WRONG_CERTIFICATE: &str = "wrong-cert.lab.example";

/// A name whose certificate comes from a CA that nobody knows.
pub(crate) const UNTRUSTED_CA: &str = "untrusted.lab.example";

/// A name of the lab that is enrolled as a model endpoint.
#[derive(Debug)]
pub(crate) struct Enrolled {
    /// The provider, as the daemon's configuration spells it.
    pub(crate) provider: &'static str,
    pub(crate) name: &'static str,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

/// Every name of the lab; each has addresses of its own, so that an address tells which name was meant.
pub(crate) const ENROLLED: [Enrolled; 4] = [
    Enrolled { provider: "openai", name: "api.openai.com", v4: v4(10), v6: v6(0x10) },
    Enrolled { provider: "anthropic", name: "api.anthropic.com", v4: v4(11), v6: v6(0x11) },
    Enrolled { provider: "openai", name: WRONG_CERTIFICATE, v4: v4(90), v6: v6(0x90) },
    Enrolled { provider: "openai", name: UNTRUSTED_CA, v4: v4(91), v6: v6(0x91) },
];

const fn v4(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, host)
}

const fn v6(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host)
}

/// The hosts file of the lab. It replaces the host's: an entry there for one of our names would win or add addresses.
pub(crate) fn hosts_file(hostname: &str) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    if !hostname.is_empty() && hostname != "localhost" {
        let _ = writeln!(text, "127.0.1.1 {hostname}");
    }
    for Enrolled { name, v4, v6, .. } in &ENROLLED {
        let _ = writeln!(text, "{v4} {name}\n{v6} {name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_stands_for_two_names() {
        for (index, one) in ENROLLED.iter().enumerate() {
            assert_ne!(one.v4, CLIENT.0);
            assert_ne!(one.v6, CLIENT.1);
            for other in &ENROLLED[index + 1..] {
                assert_ne!(one.v4, other.v4, "{} and {}", one.name, other.name);
                assert_ne!(one.v6, other.v6, "{} and {}", one.name, other.name);
            }
        }
    }

    #[test]
    fn the_hosts_file_has_both_families_of_every_name() {
        let text = hosts_file("build-host");
        assert!(text.contains("203.0.113.10 api.openai.com\n2001:db8::10 api.openai.com\n"), "{text}");
        assert_eq!(text.matches("lab.example").count(), 4);
        assert!(text.contains("127.0.1.1 build-host\n"));
    }
}
