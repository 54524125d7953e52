//! The model endpoints of this host: which names are intercepted, and whose protocol they speak.

mod bounds;
mod builtin;
mod endpoint;
mod index;
mod pattern;
mod tls;

use std::collections::BTreeSet;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use serde::Deserialize;

pub use bounds::Bounds;
pub use endpoint::{Endpoint, EndpointError, Prefix, PrefixError, Protocol};
pub use pattern::{NamePattern, PatternError};
pub use tls::{ClientFiles, TlsFiles};

use index::{Index, normal};

/// `capture.catalogue`: what there is besides the configured endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// The built-in catalogue. A configured endpoint wins over an entry of it that has the same name.
    Builtin,
    /// Nothing.
    None,
}

/// All endpoints, found by name or by address. Immutable; a clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct Catalogue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The configured ones first.
    list: Vec<Arc<Endpoint>>,
    configured: usize,
    by_name: Index,
}

/// What became of the lookup of one name.
#[derive(Debug)]
pub struct Lookup {
    /// The name.
    pub name: Arc<str>,
    /// Its addresses, or why there are none.
    pub result: Result<Vec<IpAddr>, String>,
}

impl Catalogue {
    /// The `configured` endpoints and the `base`. When that is not given, it is the built-in catalogue where nothing is
    /// configured, and nothing where something is.
    #[must_use]
    pub fn new(configured: &[Endpoint], base: Option<Base>) -> Self {
        let base = base.unwrap_or(if configured.is_empty() { Base::Builtin } else { Base::None });
        let mut list: Vec<_> = configured.iter().cloned().map(Arc::new).collect();
        if base == Base::Builtin {
            list.extend(builtin::endpoints().map(Arc::new));
        }
        let names = list.iter().enumerate();
        let by_name = Index::new(names.flat_map(|(at, endpoint)| endpoint.names.iter().map(move |name| (name, at))));
        Self(Arc::new(Inner { list, configured: configured.len(), by_name }))
    }

    /// The endpoint with this name and port. Of several, an exact name wins over a wildcard, a more literal wildcard
    /// over a less literal one, and a configured endpoint over a built-in one.
    #[must_use]
    pub fn find(&self, name: &str, port: u16) -> Option<&Arc<Endpoint>> {
        let name = normal(name);
        self.0.by_name.find(&name).map(|at| &self.0.list[at]).find(|endpoint| endpoint.ports.contains(&port))
    }

    /// Whether `name` is that of a TLS endpoint, on whatever port, or the address of one that has none: then, and only
    /// then, a leaf is minted for it.
    #[must_use]
    pub fn has_leaf(&self, name: &str) -> bool {
        if let Ok(ip) = name.parse() {
            return self.0.list.iter().any(|endpoint| endpoint.is_address() && endpoint.has_address(ip));
        }
        self.endpoints_named(name).iter().any(|endpoint| endpoint.protocol == Protocol::Https)
    }

    /// Every endpoint with this name, whatever its port.
    pub(super) fn endpoints_named(&self, name: &str) -> Vec<&Arc<Endpoint>> {
        self.0.by_name.find(&normal(name)).map(|at| &self.0.list[at]).collect()
    }

    /// The endpoint that is configured with this address and port: for plain HTTP, where no name need come. The first
    /// one configured wins.
    #[must_use]
    pub fn by_address(&self, ip: IpAddr, port: u16) -> Option<&Arc<Endpoint>> {
        self.0.list.iter().find(|endpoint| endpoint.ports.contains(&port) && endpoint.has_address(ip))
    }

    /// The endpoint without names that TLS to this address is for, when the hello names no server.
    #[must_use]
    pub fn addressed(&self, ip: IpAddr, port: u16) -> Option<&Arc<Endpoint>> {
        let mut there = self.0.list.iter().filter(|endpoint| endpoint.ports.contains(&port));
        there.find(|endpoint| endpoint.is_address() && endpoint.has_address(ip))
    }

    /// Whether any endpoint has this name, on whatever port.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        !self.endpoints_named(name).is_empty()
    }

    /// Whether `name` only hides another one: it stands in the readable part of a TLS hello with an encrypted server
    /// name (ECH).
    #[must_use]
    pub fn is_ech_public_name(&self, name: &str) -> bool {
        builtin::is_ech_public_name(&normal(name))
    }

    /// The DNS subtrees that leaves are needed for, for the CA's constraints: the names of all TLS endpoints, of a
    /// wildcard the labels behind it, and the addresses of those without names. A subtree holds more names than the wildcard; what is signed is checked against
    /// [`has_leaf`](Self::has_leaf) besides.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let tls = self.0.list.iter().filter(|endpoint| endpoint.protocol == Protocol::Https);
        let subtrees: BTreeSet<_> = tls.flat_map(|e| &e.names).map(NamePattern::literal_suffix).collect();
        let inside = |name: &str, base: &str| name.strip_suffix(base).is_some_and(|front| front.ends_with('.'));
        let widest = subtrees.iter().filter(|name| !subtrees.iter().any(|base| inside(name, base)));
        let by_address = self.0.list.iter().filter(|endpoint| endpoint.is_address());
        let prefixes: BTreeSet<_> = by_address.flat_map(|e| &e.addresses).map(ToString::to_string).collect();
        widest.map(ToString::to_string).chain(prefixes).collect()
    }

    /// How many names there are, wildcards counted as one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.list.iter().map(|endpoint| endpoint.names.len()).sum()
    }

    /// For people: the names when they are few, else how many there are.
    #[must_use]
    pub fn describe(&self) -> String {
        const FEW: usize = 8;
        match self.0.list.as_slice() {
            few if few.len() <= FEW => few.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            many => format!("{} endpoints with {} names", many.len(), self.len()),
        }
    }

    /// Whether nothing would ever be captured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.list.is_empty()
    }

    /// Whether a name that does not resolve is a fault: a configured one without addresses is. A built-in one may be gone
    /// for good, unless `nothing_resolves`.
    #[must_use]
    pub fn must_resolve(&self, name: &str, nothing_resolves: bool) -> bool {
        let mut named = self.0.by_name.find(name);
        named.any(|at| self.0.list[at].addresses.is_empty() && (at < self.0.configured || nothing_resolves))
    }

    /// All endpoints, the configured ones first.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.0.list.iter()
    }

    /// Looks every name up that is no wildcard, through the system's resolver: the hosts file, DNS, and whatever else
    /// nsswitch.conf says. Blocks, for seconds where a resolver does not answer.
    #[must_use]
    pub fn resolve(&self) -> Vec<Lookup> {
        let names: BTreeSet<_> = self.0.list.iter().flat_map(|e| &e.names).filter(|n| !n.is_wildcard()).collect();
        let names: Vec<_> = names.into_iter().map(NamePattern::as_str).collect();
        // Threads that wait cost little; one after the other, fifty names that time out would take minutes.
        const AT_ONCE: usize = 64;
        let share = names.len().div_ceil(AT_ONCE).max(1);
        std::thread::scope(|scope| {
            let threads: Vec<_> = names
                .chunks(share)
                .map(|names| scope.spawn(move || names.iter().map(|name| lookup(name)).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        })
    }
}

fn lookup(name: &str) -> Lookup {
    // The port is of no importance, but the interface wants one.
    let found = (name, 443).to_socket_addrs().map_err(|error| error.to_string());
    Lookup { name: name.into(), result: found.map(|found| found.map(|address| address.ip()).collect()) }
}

#[cfg(test)]
mod tests;
