//! The built-in catalogue: `catalogue.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

use super::bounds::Bounds;
use super::endpoint::{Endpoint, Protocol};
use super::pattern::NamePattern;
use super::tls::TlsFiles;
use crate::capture::WhenDown;
use crate::flow::Provider;

const TEXT: &str = include_str!("../../../catalogue.toml");

static BUILTIN: LazyLock<Builtin> = LazyLock::new(|| toml::from_str(TEXT).expect("a test reads this file"));

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Builtin {
    ech_public_names: Vec<String>,
    #[serde(rename = "endpoint")]
    endpoints: Vec<Entry>,
}

/// One `[[endpoint]]` of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "vendor and source are for the people who read the file"))]
struct Entry {
    vendor: String,
    provider: Provider,
    names: Vec<NamePattern>,
    #[serde(default = "https")]
    ports: Vec<u16>,
    source: String,
}

fn https() -> Vec<u16> {
    vec![443]
}

/// The endpoints everybody can reach.
pub(super) fn endpoints() -> impl Iterator<Item = Endpoint> {
    BUILTIN.endpoints.iter().map(|entry| Endpoint {
        provider: entry.provider,
        names: entry.names.clone(),
        ports: entry.ports.clone(),
        addresses: Vec::new(),
        protocol: Protocol::Https,
        when_down: WhenDown::Refuse,
        bounds: Bounds::default(),
        tls: TlsFiles::default(),
    })
}

/// Whether `name` stands in the readable part of hellos whose real server name is encrypted.
pub(super) fn is_ech_public_name(name: &str) -> bool {
    BUILTIN.ech_public_names.iter().any(|public| public == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_entry_is_whole_and_names_are_unique() {
        let mut names = HashSet::new();
        for entry in &BUILTIN.endpoints {
            assert!(!entry.names.is_empty(), "{}", entry.vendor);
            assert!(entry.source.starts_with("https://"), "{}", entry.vendor);
            assert!(!entry.ports.is_empty() && !entry.ports.contains(&0), "{}", entry.vendor);
            for name in &entry.names {
                assert!(names.insert(name.clone()), "{name} stands there twice");
            }
        }
        assert!(BUILTIN.ech_public_names.iter().all(|name| name.parse::<NamePattern>().is_ok()));
    }

    #[test]
    fn there_are_at_least_25_vendors_in_order() {
        let vendors: Vec<_> = BUILTIN.endpoints.iter().map(|entry| &entry.vendor).collect();
        assert!(vendors.len() >= 25);
        assert!(vendors.is_sorted(), "{vendors:?}");
        assert_eq!(vendors.iter().collect::<HashSet<_>>().len(), vendors.len());
    }
}
