//! What the internal CA may sign for, as it stands in its certificate (RFC 5280, section 4.2.1.10).

use std::net::IpAddr;

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
use rustls::pki_types::DnsName;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::AuthorityError;

/// DNS names with all below them, and addresses by prefix. There is always a name, or all names would be permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Constraints {
    /// Lower case.
    names: Vec<String>,
    subnets: Vec<Subnet>,
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subnet {
    ip: IpAddr,
    len: u8,
}

impl Constraints {
    /// Takes names as they are configured (`*.` in front is ignored, for the subtree is meant anyway), addresses, and
    /// prefixes such as `203.0.113.0/24`.
    pub(super) fn parse(permitted: &[String]) -> Result<Self, AuthorityError> {
        let (mut names, mut subnets) = (Vec::new(), Vec::new());
        for text in permitted {
            match Subnet::parse(text) {
                Some(subnet) => subnets.push(subnet),
                None => names.push(name(text)?),
            }
        }
        match (names.is_empty(), subnets.is_empty()) {
            (true, true) => return Err(AuthorityError::NoNames),
            // Constraints on addresses alone would permit all names; this one is nobody's (RFC 6761, section 6.4).
            (true, false) => names.push("invalid".into()),
            (false, _) => {}
        }
        Ok(Self { names, subnets })
    }

    /// Those of a CA's certificate; none when it may sign for any name.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let constraints = certificate.name_constraints().ok()??.value;
        let (mut names, mut subnets) = (Vec::new(), Vec::new());
        for subtree in constraints.permitted_subtrees.as_deref()? {
            match subtree.base {
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => subnets.extend(Subnet::from_bytes(bytes)),
                _ => {}
            }
        }
        Some(Self { names, subnets })
    }

    pub(super) fn extension(&self) -> NameConstraints {
        let names = self.names.iter().cloned().map(GeneralSubtree::DnsName);
        let subnets = self.subnets.iter().map(|subnet| CidrSubnet::from_addr_prefix(subnet.ip, subnet.len));
        // DNS constraints say nothing about addresses, and those of one family nothing everywhere about the other.
        let (v4, v6) = (CidrSubnet::V4([0; 4], [0; 4]), CidrSubnet::V6([0; 16], [0; 16]));
        let none = |v4: bool| !self.subnets.iter().any(|subnet| subnet.ip.is_ipv4() == v4);
        let excluded = [(none(true), v4), (none(false), v6)].into_iter().filter_map(|(none, all)| none.then_some(all));
        NameConstraints {
            permitted_subtrees: names.chain(subnets.map(GeneralSubtree::IpAddress)).collect(),
            excluded_subtrees: excluded.map(GeneralSubtree::IpAddress).collect(),
        }
    }

    /// What is `wanted` and they do not let a CA sign for.
    pub(super) fn lacking(&self, wanted: &Self) -> Vec<String> {
        wanted.list().into_iter().filter(|name| !self.cover(name)).collect()
    }

    /// Whether they let a CA sign for `name`, which may be an address.
    pub(super) fn cover(&self, name: &str) -> bool {
        if let Some(wanted) = Subnet::parse(name) {
            return self.subnets.iter().any(|subnet| subnet.contains(wanted));
        }
        let name = name.to_ascii_lowercase();
        self.names.iter().any(|base| {
            name.strip_suffix(base.as_str()).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        })
    }

    /// The names and prefixes, for people.
    pub(super) fn list(&self) -> Vec<String> {
        self.names.iter().cloned().chain(self.subnets.iter().map(ToString::to_string)).collect()
    }
}

impl Subnet {
    fn parse(text: &str) -> Option<Self> {
        let (ip, len) = text.split_once('/').map_or((text, None), |(ip, len)| (ip, Some(len)));
        let ip: IpAddr = ip.parse().ok()?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let len = len.map_or(Some(width), |len| len.parse().ok().filter(|len| *len <= width))?;
        Some(Self { ip, len })
    }

    /// An address and a mask of as many bytes.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (ip, mask) = bytes.split_at_checked(bytes.len() / 2)?;
        let ip = match ip.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
            16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
            _ => return None,
        };
        let len = mask.iter().map(|byte| byte.leading_ones()).sum::<u32>();
        let ones = mask.iter().map(|byte| byte.count_ones()).sum::<u32>();
        (len == ones).then_some(Self { ip, len: u8::try_from(len).ok()? })
    }

    fn contains(self, other: Self) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
            IpAddr::V6(ip) => u128::from(ip),
        };
        let differing = bits(self.ip) ^ bits(other.ip);
        self.ip.is_ipv4() == other.ip.is_ipv4()
            && self.len <= other.len
            && differing.leading_zeros() >= u32::from(self.len)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.ip, self.len)
    }
}

/// The form of a configured name in the constraints: lower case, subdomains implied.
fn name(name: &str) -> Result<String, AuthorityError> {
    let base = name.strip_prefix("*.").unwrap_or(name).trim_end_matches('.').to_ascii_lowercase();
    match DnsName::try_from(base.as_str()) {
        Ok(_) => Ok(base),
        Err(_) => Err(AuthorityError::BadName { name: name.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraints(permitted: &[&str]) -> Constraints {
        Constraints::parse(&permitted.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn an_address_is_covered_by_a_prefix_that_has_it() {
        let given = constraints(&["a.test", "203.0.113.0/24", "2001:db8::10"]);
        for covered in ["203.0.113.7", "203.0.113.0/25", "2001:db8::10", "b.a.test"] {
            assert!(given.cover(covered), "{covered}");
        }
        for foreign in ["203.0.114.7", "203.0.112.0/23", "2001:db8::11", "::ffff:203.0.113.7", "test"] {
            assert!(!given.cover(foreign), "{foreign}");
        }
    }

    #[test]
    fn they_are_read_back_from_a_certificate() {
        use x509_parser::prelude::FromDer as _;
        for permitted in [&["a.test", "b.test"][..], &["a.test", "203.0.113.0/24", "2001:db8::/32"], &["a.test", "::1"]]
        {
            let given = constraints(permitted);
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.name_constraints = Some(given.extension());
            let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
            assert_eq!(Constraints::of(&X509Certificate::from_der(certificate.der()).unwrap().1), Some(given));
        }
    }
}
