//! One `[[endpoint]]`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::bounds::Bounds;
use super::pattern::NamePattern;
use super::tls::TlsFiles;
use crate::capture::WhenDown;
use crate::flow::Provider;

/// The port of HTTPS, which an endpoint has when it names none.
const HTTPS: u16 = 443;

/// A model endpoint: which connections are intercepted, and what is spoken on them. Always whole: what configuration
/// gets wrong is refused when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Endpoint {
    /// Whose protocol it speaks.
    pub provider: Provider,
    /// DNS names, as clients ask for them in SNI or the Host header. Without, it is reached by address, over TLS too.
    pub names: Vec<NamePattern>,
    /// TCP ports, at least one.
    pub ports: Vec<u16>,
    /// Addresses besides those that the names resolve to.
    pub addresses: Vec<Prefix>,
    /// What carries the requests.
    pub protocol: Protocol,
    /// What happens to its connections while no daemon takes them.
    pub when_down: WhenDown,
    /// Limits of its own.
    pub bounds: Bounds,
    /// What TLS with it takes besides.
    pub tls: TlsFiles,
}

/// What carries the requests of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TLS; the name in its hello says which endpoint is meant.
    #[default]
    Https,
    /// Plain HTTP, as local servers speak it.
    Http,
}

/// An address, or all that share its first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix {
    ip: IpAddr,
    len: u8,
}

/// As the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    provider: Provider,
    #[serde(default)]
    names: Vec<NamePattern>,
    ports: Option<Vec<u16>>,
    #[serde(default)]
    addresses: Vec<Prefix>,
    #[serde(default)]
    protocol: Protocol,
    #[serde(default)]
    when_down: WhenDown,
    body_bytes: Option<usize>,
    response_timeout_s: Option<u64>,
    idle_timeout_s: Option<u64>,
    total_timeout_s: Option<u64>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    #[serde(default)]
    roots: Vec<PathBuf>,
}

/// Why an `[[endpoint]]` cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Neither a name nor an address.
    #[error("an endpoint of provider {0} has neither names nor addresses; add `names` or `addresses`")]
    Nowhere(Provider),
    /// There is no usual port of a local model server.
    #[error("an endpoint with protocol = \"http\" needs `ports`: [11434] for Ollama, [8000] for vLLM")]
    NoPorts,
    /// Port 0, or an empty list.
    #[error("endpoint {0} needs ports from 1 to 65535")]
    BadPorts(String),
    /// A certificate without its key, or the reverse.
    #[error("an endpoint with `{given}` needs `{missing}` too")]
    HalfIdentity {
        /// The key that is there.
        given: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// There is no TLS to use them in.
    #[error("endpoint {0} speaks plain HTTP, which has no use for client_certificate, client_key and roots")]
    NoTls(String),
}

/// Why a text is no [`Prefix`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Neither an address nor a prefix.
    #[error("{0:?} is neither an IP address nor a prefix such as 203.0.113.0/24")]
    NotAnAddress(String),
    /// More bits than the address has.
    #[error("{0:?}: the prefix is longer than the address")]
    TooLong(String),
    /// Bits behind the prefix are set: one of the two is a slip.
    #[error("{text:?} has bits set behind its prefix; did you mean {meant}?")]
    HostBits {
        /// As written.
        text: String,
        /// With these bits cleared.
        meant: Prefix,
    },
}

impl Raw {
    fn bounds(&self) -> Bounds {
        Bounds {
            body_bytes: self.body_bytes,
            response_timeout_s: self.response_timeout_s,
            idle_timeout_s: self.idle_timeout_s,
            total_timeout_s: self.total_timeout_s,
        }
    }

    fn tls(&mut self) -> Result<TlsFiles, EndpointError> {
        TlsFiles::new(self.client_certificate.take(), self.client_key.take(), std::mem::take(&mut self.roots))
    }
}

impl TryFrom<Raw> for Endpoint {
    type Error = EndpointError;

    fn try_from(mut raw: Raw) -> Result<Self, EndpointError> {
        let bounds = raw.bounds();
        let tls = raw.tls()?;
        let Raw { provider, names, ports, addresses, protocol, when_down, .. } = raw;
        let ports = match (ports, protocol) {
            (Some(ports), _) => ports,
            (None, Protocol::Https) => vec![HTTPS],
            (None, Protocol::Http) => return Err(EndpointError::NoPorts),
        };
        if names.is_empty() && addresses.is_empty() {
            return Err(EndpointError::Nowhere(provider));
        }
        let endpoint = Self { provider, names, ports, addresses, protocol, when_down, bounds, tls };
        if protocol == Protocol::Http && !endpoint.tls.is_empty() {
            return Err(EndpointError::NoTls(endpoint.to_string()));
        }
        if endpoint.ports.is_empty() || endpoint.ports.contains(&0) {
            return Err(EndpointError::BadPorts(endpoint.to_string()));
        }
        Ok(endpoint)
    }
}

impl Endpoint {
    /// Whether TLS with it names an address, as in `https://203.0.113.10/`: a hello for it has no server name.
    #[must_use]
    pub fn is_address(&self) -> bool {
        self.protocol == Protocol::Https && self.names.is_empty()
    }

    pub(super) fn has_address(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|prefix| prefix.contains(ip))
    }
}

impl fmt::Display for Endpoint {
    /// Its first name or address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.names.first(), self.addresses.first()) {
            (Some(name), _) => name.fmt(f),
            (None, Some(address)) => address.fmt(f),
            (None, None) => self.provider.fmt(f),
        }
    }
}

impl Prefix {
    /// One address.
    #[must_use]
    pub fn single(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        Self { ip, len: width(ip) }
    }

    /// The address; bits behind the prefix are zero.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.ip
    }

    /// How many bits count: 32 or 128 for one address.
    #[expect(clippy::len_without_is_empty, reason = "the length of a prefix; it holds nothing")]
    #[must_use]
    pub fn len(self) -> u8 {
        self.len
    }

    /// Whether `ip` is one of its addresses; a v4-mapped address is the IPv4 one.
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.ip.is_ipv4() && masked(ip, self.len) == self.ip
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// `ip` with the bits behind the first `len` cleared.
fn masked(ip: IpAddr, len: u8) -> IpAddr {
    let clear = u32::from(width(ip) - len);
    match ip {
        IpAddr::V4(ip) => {
            IpAddr::from((u32::from(ip).checked_shr(clear).map_or(0, |bits| bits << clear)).to_be_bytes())
        }
        IpAddr::V6(ip) => {
            IpAddr::from((u128::from(ip).checked_shr(clear).map_or(0, |bits| bits << clear)).to_be_bytes())
        }
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let not_an_address = || PrefixError::NotAnAddress(text.into());
        let (ip, len) = text.split_once('/').map_or((text, None), |(ip, len)| (ip, Some(len)));
        let ip: IpAddr = ip.parse().map_err(|_| not_an_address())?;
        let Some(len) = len else { return Ok(Self::single(ip)) };
        let len: u8 = len.parse().map_err(|_| not_an_address())?;
        if len > width(ip) {
            return Err(PrefixError::TooLong(text.into()));
        }
        // A v4-mapped prefix means the IPv4 one, as a v4-mapped address does.
        let (ip, len) = match (ip.to_canonical(), len.checked_sub(96)) {
            (v4 @ IpAddr::V4(_), Some(len)) if ip.is_ipv6() => (v4, len),
            _ => (ip, len),
        };
        let meant = Self { ip: masked(ip, len), len };
        if meant.ip != ip {
            return Err(PrefixError::HostBits { text: text.into(), meant });
        }
        Ok(meant)
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        text.parse()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len == width(self.ip) { self.ip.fmt(f) } else { write!(f, "{}/{}", self.ip, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Endpoint, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn https_on_443_is_what_an_endpoint_is_unless_it_says_otherwise() {
        let endpoint = read("provider = 'openai'\nnames = ['llm.corp.example']").unwrap();
        assert_eq!((endpoint.ports, endpoint.protocol), (vec![443], Protocol::Https));
        assert_eq!(endpoint.when_down, WhenDown::Refuse);
    }

    #[test]
    fn a_plain_http_endpoint_can_do_without_names_but_not_without_ports() {
        let ollama = "provider = 'ollama'\nprotocol = 'http'\naddresses = ['127.0.0.1', '::1']\n";
        assert!(read(ollama).unwrap_err().contains("11434"));
        let endpoint = read(&format!("{ollama}ports = [11434]\nwhen_down = 'open'")).unwrap();
        assert_eq!((endpoint.protocol, endpoint.when_down), (Protocol::Http, WhenDown::Open));
        assert!(read("provider = 'ollama'\nprotocol = 'http'\nports = [1]").unwrap_err().contains("neither names nor"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("provider = 'openai'", "neither names nor"),
            ("provider = 'openai'\nnames = ['a.b']\nports = [0]", "1 to 65535"),
            ("provider = 'openai'\nnames = ['a.b']\nports = []", "1 to 65535"),
            ("provider = 'openai'\nnames = ['A.b']", "lower-case"),
            ("provider = 'opnai'\nnames = ['a.b']", "opnai"),
            ("provider = 'openai'\nnames = ['a.b']\nwhen_down = 'closed'", "closed"),
            ("provider = 'openai'\nnames = ['a.b']\nport = 443", "port"),
            ("provider = 'openai'\nnames = ['a.b']\naddresses = ['203.0.113.1/24']", "203.0.113.0/24"),
            ("provider = 'openai'\nnames = ['a.b']\naddresses = ['203.0.113.0/33']", "longer"),
            ("provider = 'openai'\nnames = ['a.b']\naddresses = ['llm']", "neither an IP address"),
            ("provider = 'openai'\nnames = ['a.b']\nclient_certificate = 'c.pem'", "client_key"),
            ("provider = 'openai'\nnames = ['a.b']\nclient_key = 'c.key'", "client_certificate"),
            ("provider = 'openai'\nprotocol = 'http'\nports = [1]\nnames = ['a.b']\nroots = ['r.pem']", "plain HTTP"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_prefix_has_the_addresses_that_share_its_bits() {
        for (prefix, inside, outside) in [
            ("203.0.113.0/24", "203.0.113.255", "203.0.112.255"),
            ("203.0.113.0/24", "::ffff:203.0.113.7", "2001:db8::1"),
            ("203.0.113.10", "203.0.113.10", "203.0.113.11"),
            ("::ffff:203.0.113.0/120", "203.0.113.9", "203.0.112.9"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("0.0.0.0/0", "198.51.100.1", "::1"),
        ] {
            let prefix: Prefix = prefix.parse().unwrap();
            assert!(prefix.contains(inside.parse().unwrap()), "{prefix} {inside}");
            assert!(!prefix.contains(outside.parse().unwrap()), "{prefix} {outside}");
        }
    }
}
