//! The model endpoints of this host: which names are intercepted, and whose protocol they speak.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use serde::Deserialize;

use crate::flow::Provider;

/// One `[[endpoint]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Whose protocol it speaks.
    pub provider: Provider,
    /// DNS names, as clients ask for them in SNI.
    pub names: Vec<String>,
    /// TCP ports.
    #[serde(default = "https")]
    pub ports: Vec<u16>,
    /// Addresses besides those that the names resolve to.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// What carries the requests.
    #[serde(default)]
    pub protocol: Protocol,
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

fn https() -> Vec<u16> {
    vec![443]
}

impl Endpoint {
    fn catalogue() -> Vec<Self> {
        let entry = |provider, name: &str| Self {
            provider,
            names: vec![name.to_owned()],
            ports: https(),
            addresses: Vec::new(),
            protocol: Protocol::Https,
        };
        vec![entry(Provider::OpenAi, "api.openai.com"), entry(Provider::Anthropic, "api.anthropic.com")]
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.names.is_empty() {
            return Err(format!("an endpoint of provider {} has no names; add `names = [\"...\"]`", self.provider));
        }
        if let Some(name) = self.names.iter().find(|name| !is_dns_name(name)) {
            return Err(format!("endpoint name {name:?} is not a lower-case DNS name"));
        }
        if self.ports.is_empty() || self.ports.contains(&0) {
            return Err(format!("endpoint {} needs ports from 1 to 65535", self.names[0]));
        }
        Ok(())
    }
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// All endpoints, found by name. Immutable; shared by the workers.
#[derive(Clone, Debug)]
pub struct Catalogue {
    list: Vec<Arc<Endpoint>>,
    by_name: HashMap<String, Arc<Endpoint>>,
}

impl Catalogue {
    /// The configured endpoints, or the built-in catalogue when none are.
    #[must_use]
    pub fn new(configured: &[Endpoint]) -> Self {
        let list = if configured.is_empty() { Endpoint::catalogue() } else { configured.to_vec() };
        let list: Vec<_> = list.into_iter().map(Arc::new).collect();
        let by_name = list
            .iter()
            .flat_map(|endpoint| endpoint.names.iter().map(|name| (name.clone(), Arc::clone(endpoint))))
            .collect();
        Self { list, by_name }
    }

    /// The endpoint with this name and port.
    #[must_use]
    pub fn find(&self, name: &str, port: u16) -> Option<&Arc<Endpoint>> {
        self.by_name.get(name).filter(|endpoint| endpoint.ports.contains(&port))
    }

    /// Whether any endpoint has this name, on whatever port.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The endpoint that was configured with this address and port.
    #[must_use]
    pub fn by_address(&self, ip: IpAddr, port: u16) -> Option<&Arc<Endpoint>> {
        let ip = ip.to_canonical();
        let at = |endpoint: &&Arc<Endpoint>| endpoint.ports.contains(&port) && endpoint.addresses.contains(&ip);
        self.list.iter().find(at)
    }

    /// All names, for the CA's constraints.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.by_name.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// Every address to capture: the configured ones, and what the names resolve to now. A name that does not
    /// resolve is left out and reported; resolution blocks.
    #[must_use]
    pub fn resolve(&self) -> (Vec<SocketAddr>, Vec<String>) {
        let mut addresses = Vec::new();
        let mut unresolved = Vec::new();
        for endpoint in &self.list {
            let mut ips = endpoint.addresses.clone();
            for name in &endpoint.names {
                match (name.as_str(), endpoint.ports[0]).to_socket_addrs() {
                    Ok(found) => ips.extend(found.map(|address| address.ip())),
                    Err(_) if !endpoint.addresses.is_empty() => {}
                    Err(e) => unresolved.push(format!("{name}: {e}")),
                }
            }
            for &port in &endpoint.ports {
                addresses.extend(ips.iter().map(|&ip| SocketAddr::new(ip, port)));
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        (addresses, unresolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_found_by_name_and_port() {
        let endpoints = Catalogue::new(&[]);
        assert_eq!(endpoints.find("api.anthropic.com", 443).unwrap().provider, Provider::Anthropic);
        assert!(endpoints.find("api.anthropic.com", 80).is_none());
        assert!(endpoints.find("example.com", 443).is_none());
    }

    #[test]
    fn names_that_are_not_dns_names_are_refused() {
        let endpoint = |name: &str| Endpoint {
            provider: Provider::OpenAi,
            names: vec![name.into()],
            ports: vec![443],
            addresses: Vec::new(),
            protocol: Protocol::Https,
        };
        assert!(endpoint("llm.corp.example").check().is_ok());
        for bad in ["LLM.corp.example", "", "a..b", "-a.example", "a b.example"] {
            assert!(endpoint(bad).check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn configured_addresses_are_captured_on_every_port() {
        let endpoint = Endpoint {
            provider: Provider::OpenAi,
            names: vec!["llm.invalid".into()],
            ports: vec![443, 8443],
            addresses: vec!["203.0.113.10".parse().unwrap()],
            protocol: Protocol::Https,
        };
        let (addresses, unresolved) = Catalogue::new(&[endpoint]).resolve();
        let expected: Vec<SocketAddr> = vec!["203.0.113.10:443".parse().unwrap(), "203.0.113.10:8443".parse().unwrap()];
        assert_eq!((addresses, unresolved), (expected, Vec::new()));
    }
}
