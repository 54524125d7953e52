//! The HTTP proxies that clients of this host are configured to use.

use std::net::IpAddr;

use serde::Deserialize;

use super::EndpointAddr;
use crate::flow::OriginalDst;

/// One `[[proxy]]`: its address is enrolled, so that what clients ask it for can be read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpProxy {
    /// Where it is.
    pub addresses: Vec<IpAddr>,
    /// Its TCP port.
    #[serde(default = "squid")]
    pub port: u16,
}

fn squid() -> u16 {
    3128
}

impl HttpProxy {
    /// Whether a connection was meant for it.
    #[must_use]
    pub fn is_at(&self, original: OriginalDst) -> bool {
        let ip = original.ip().to_canonical();
        self.port == original.port() && self.addresses.iter().any(|address| address.to_canonical() == ip)
    }

    /// What to enrol.
    pub fn destinations(&self) -> impl Iterator<Item = EndpointAddr> {
        self.addresses.iter().map(|&ip| EndpointAddr::single(ip, self.port))
    }

    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        match (self.addresses.is_empty(), self.port) {
            (true, _) => Err("a [[proxy]] has no addresses; add `addresses = [\"...\"]`".into()),
            (_, 0) => Err("a [[proxy]] has port 0; give it the port that clients connect to".into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_known_by_address_and_port_in_either_family() {
        let proxy: HttpProxy = toml::from_str("addresses = ['203.0.113.5', '2001:db8::5']").unwrap();
        let at = |text: &str| proxy.is_at(OriginalDst(text.parse().unwrap()));
        assert!(at("203.0.113.5:3128") && at("[::ffff:203.0.113.5]:3128") && at("[2001:db8::5]:3128"));
        assert!(!at("203.0.113.5:8080") && !at("203.0.113.6:3128"));
        assert_eq!(proxy.destinations().count(), 2);
    }

    #[test]
    fn a_proxy_that_is_nowhere_is_refused() {
        let check = |text: &str| toml::from_str::<HttpProxy>(text).unwrap().check();
        assert!(check("addresses = []").unwrap_err().contains("no addresses"));
        assert!(check("addresses = ['203.0.113.5']\nport = 0").unwrap_err().contains("port 0"));
    }
}
