//! Addresses of mailboxes, hosts and network cards.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::checksum::all_same;

/// A mailbox (RFC 5321, without quoted local parts): dots separate non-empty atoms, the domain has a plausible last
/// label.
pub(super) fn email(value: &[u8]) -> bool {
    let Some(at) = value.iter().position(|&b| b == b'@') else { return false };
    let (local, domain) = (&value[..at], &value[at + 1..]);
    let atoms = |part: &[u8]| part.split(|&b| b == b'.').all(|atom| !atom.is_empty());
    if local.is_empty() || local.len() > 64 || domain.len() > 253 || !atoms(local) || !atoms(domain) {
        return false;
    }
    let labels: Vec<&[u8]> = domain.split(|&b| b == b'.').collect();
    let hyphens = labels.iter().any(|l| l.starts_with(b"-") || l.ends_with(b"-") || l.len() > 63);
    let Some(last) = labels.last() else { return false };
    let top = last.iter().all(u8::is_ascii_alphabetic) || last.to_ascii_lowercase().starts_with(b"xn--");
    // logo@2x.png is a file, not a mailbox.
    let file = matches!(
        last.to_ascii_lowercase().as_slice(),
        b"png" | b"jpg" | b"jpeg" | b"gif" | b"svg" | b"webp" | b"js" | b"css"
    );
    labels.len() > 1 && last.len() > 1 && top && !hyphens && !file
}

/// A dotted quad that can name a host: no leading zeros; not this host (0/8, 127/8), not a broadcast or a netmask.
pub(super) fn ipv4(value: &[u8]) -> bool {
    let Some(address) = address(value).and_then(|text| text.parse::<Ipv4Addr>().ok()) else {
        return false;
    };
    let [a, b, c, d] = address.octets();
    let mask = a == 255;
    // 120.0.0.0 and the like are versions far more often than networks; private networks stay.
    let version = b == 0 && c == 0 && (d == 0 || d == 1) && a != 10;
    a != 0 && a != 127 && !mask && !version
}

/// The other dotted quads: this host, netmasks, broadcasts, versions.
pub(super) fn ipv4_local(value: &[u8]) -> bool {
    address(value).is_some_and(|text| text.parse::<Ipv4Addr>().is_ok()) && !ipv4(value)
}

/// An IPv6 address (RFC 4291) that is not `::` or `::1`. All of its groups are there, one of them has three digits or it
/// ends in a dotted quad: `1::2` is a slice in a programming language.
pub(super) fn ipv6(value: &[u8]) -> bool {
    let Some(text) = address(value) else { return false };
    let telling = text.contains('.') || !text.contains("::") || text.split(':').any(|group| group.len() > 2);
    telling && text.parse::<Ipv6Addr>().is_ok_and(|address| !address.is_unspecified() && !address.is_loopback())
}

/// `::1`, and `::` with a prefix length.
pub(super) fn ipv6_local(value: &[u8]) -> bool {
    let Some(address) = address(value).and_then(|text| text.parse::<Ipv6Addr>().ok()) else { return false };
    address.is_unspecified() || address.is_loopback()
}

/// Without a prefix length.
fn address(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()?.split('/').next()
}

/// A hardware address that is not all zeros or all ones.
pub(super) fn mac(value: &[u8]) -> bool {
    let nibbles: Vec<u8> = value.iter().filter(|b| b.is_ascii_hexdigit()).map(u8::to_ascii_lowercase).collect();
    nibbles.len() == 12 && !(all_same(&nibbles) && matches!(nibbles[0], b'0' | b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_have_full_domains() {
        assert!(email(b"jane.doe+tag@mail.example.com"));
        assert!(email(b"a@xn--d9acufc.xn--p1ai"));
        for bad in ["a@b", "a..b@example.com", ".a@example.com", "a@-x.com", "logo@2x.png", "a@example.c0m"] {
            assert!(!email(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn addresses_that_name_no_host_are_not_reported() {
        assert!(ipv4(b"203.0.113.7") && ipv4(b"10.0.0.0"));
        for bad in ["0.0.0.0", "127.0.0.1", "255.255.255.0", "120.0.0.0", "192.0.2.256", "01.2.3.4"] {
            assert!(!ipv4(bad.as_bytes()), "{bad}");
        }
        assert!(ipv6(b"2001:db8::1"));
        assert!(ipv4_local(b"127.0.0.1") && !ipv4_local(b"203.0.113.7") && !ipv4_local(b"256.0.0.1"));
        assert!(ipv6_local(b"::1") && !ipv6_local(b"2001:db8::1"));
        assert!(!ipv6(b"::1") && !ipv6(b"::") && !ipv6(b"2001::db9::1"));
    }
}
