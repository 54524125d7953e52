//! The backstop: an nftables table of the daemon's own that refuses what reaches an enrolled destination by a way the
//! kernel programs do not see: raw sockets, virtual machines, and other namespaces' traffic that this host forwards.
//!
//! The table outlives the daemon, as the programs do: a killed daemon leaves it in force (fail closed), the next start
//! replaces it in one transaction, [`Backstop::remove`] takes it away. It is written with nft(8), the rules' own tool.

mod own;
mod rules;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use thiserror::Error;

use super::EndpointAddr;
pub use own::{Own, Place};
use rules::{Elements, Table};

/// What [`Backstop::install`] needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the instance; the table is called `interceptor_NAME`.
    pub instance: String,
    /// SO_MARK of the daemon's own sockets.
    pub mark: u32,
    /// Whether forwarded packets are refused as well. Then the daemon must dial from this network namespace: a mark
    /// does not cross a veth pair, so connections that it dials elsewhere could not be told from others.
    pub forward: bool,
    /// cgroup2 directories whose processes may go direct.
    pub exempt: Vec<PathBuf>,
}

/// Why the backstop is not what it should be.
#[derive(Debug, Error)]
pub enum Error {
    /// nft(8) is not installed.
    #[error(
        "the backstop needs nft(8), which is not on PATH; install the package `nftables`, or set backstop.enabled = false"
    )]
    NoNft,
    /// nft(8) cannot be run.
    #[error("cannot run nft(8): {0}")]
    Run(#[from] io::Error),
    /// nft(8) or the kernel refused.
    #[error("nft(8) refused the backstop's rules: {message}{}", remedy(.message))]
    Refused {
        /// What it said.
        message: String,
    },
    /// An exempt cgroup would be cut off.
    #[error(
        "the backstop cannot let the exempt cgroup {cgroup} through, because {because}; \
             set backstop.enabled = false, or exempt nothing"
    )]
    Exempt {
        /// The cgroup.
        cgroup: PathBuf,
        /// What stands in the way.
        because: String,
    },
    /// The counter is not there: somebody else removed the table.
    #[error("the backstop's table `inet {table}` is gone or not what it was; restart the daemon to install it again")]
    Gone {
        /// Its name.
        table: String,
    },
}

fn remedy(message: &str) -> &'static str {
    if message.contains("Operation not permitted") {
        "; it needs root, or CAP_NET_ADMIN"
    } else if message.contains("not supported") || message.contains("No such file") {
        "; the kernel needs nf_tables with sets, reject and inet tables (CONFIG_NF_TABLES_INET, CONFIG_NFT_REJECT_INET)"
    } else {
        ""
    }
}

/// The table in force. Dropping it leaves the table where it is.
#[derive(Debug)]
pub struct Backstop {
    table: Table,
    own: Own,
    elements: Elements,
}

impl Backstop {
    /// Puts the table in force for these destinations, in the calling process's network namespace; in place of one
    /// that an earlier process left, without a moment in which there is none. Destinations that are open while the
    /// daemon is down are left out: the table is still there then.
    ///
    /// # Errors
    /// nft(8) is missing, it or the kernel refuses, or an exempt cgroup cannot be told. Then nothing has changed.
    pub fn install(settings: &Settings, endpoints: &[EndpointAddr]) -> Result<Self, Error> {
        let table = Table::new(&settings.instance);
        let own = match Place::own().and_then(|place| supported(&table, place)) {
            Ok(place) => Own::CgroupAndMark(place),
            Err(because) => Own::Mark { because },
        };
        let exempt = settings.exempt.iter().map(|cgroup| {
            let place = Place::of(cgroup).and_then(|place| supported(&table, place));
            place.map_err(|because| Error::Exempt { cgroup: cgroup.clone(), because })
        });
        let exempt = exempt.collect::<Result<Vec<_>, _>>()?;
        let elements = Elements::of(endpoints);
        nft(&["--file", "-"], &table.replace(settings, &own, &exempt, &elements))?;
        Ok(Self { table, own, elements })
    }

    /// The table's name, of family inet.
    #[must_use]
    pub fn table(&self) -> &str {
        self.table.name()
    }

    /// How the daemon's own packets are recognised.
    #[must_use]
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// Makes the destinations exactly these, in one transaction.
    ///
    /// # Errors
    /// As for [`install`](Self::install); the earlier destinations stay.
    pub fn update(&mut self, endpoints: &[EndpointAddr]) -> Result<(), Error> {
        let wanted = Elements::of(endpoints);
        if wanted == self.elements {
            return Ok(());
        }
        nft(&["--file", "-"], &self.table.change(&self.elements, &wanted))?;
        self.elements = wanted;
        Ok(())
    }

    /// Packets refused since the table was installed.
    ///
    /// # Errors
    /// nft(8) cannot be run, or the table is gone.
    pub fn dropped(&self) -> Result<u64, Error> {
        let gone = || Error::Gone { table: self.table.name().to_owned() };
        let listed = nft(&["--json", "list", "counters", "table", "inet", self.table.name()], "");
        let output = listed.map_err(|error| if let Error::Refused { .. } = error { gone() } else { error })?;
        packets(&output.stdout).ok_or_else(gone)
    }

    /// Takes the table away. Nothing of it stays.
    ///
    /// # Errors
    /// nft(8) cannot be run, or it or the kernel refuses.
    pub fn remove(self) -> Result<(), Error> {
        nft(&["--file", "-"], &self.table.delete()).map(drop)
    }

    /// Takes away the table of an instance whose daemon does not run; that there is none is no error.
    ///
    /// # Errors
    /// nft(8) cannot be run (when it is missing, so is the table), or it or the kernel refuses.
    pub fn remove_left_behind(instance: &str) -> Result<(), Error> {
        match nft(&["--file", "-"], &Table::new(instance).delete()) {
            Ok(_) | Err(Error::NoNft) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The place, if this kernel and this nft(8) know the expression for it; else why not.
fn supported(table: &Table, place: Place) -> Result<Place, String> {
    match nft(&["--check", "--file", "-"], &table.probe(&place)) {
        Ok(_) => Ok(place),
        Err(error) => Err(format!("`socket cgroupv2` cannot be used here: {error}")),
    }
}

/// Runs nft(8) on a text.
fn nft(arguments: &[&str], text: &str) -> Result<Output, Error> {
    let mut command = Command::new("nft");
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NoNft,
        _ => Error::Run(error),
    })?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // It may complain before it has read everything: neither side must wait for the other's pipe. What it did not
        // read it has complained about.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(text.as_bytes())));
        child.wait_with_output()
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let message = message.lines().find(|line| line.contains("rror")).unwrap_or(message.trim()).to_owned();
    Err(Error::Refused { message })
}

/// The packets of all counters of a listing in libnftables-json(5).
fn packets(json: &[u8]) -> Option<u64> {
    let listing: Value = serde_json::from_slice(json).ok()?;
    let counters = listing["nftables"].as_array()?.iter().filter_map(|object| object.get("counter"));
    counters.map(|counter| counter["packets"].as_u64()).reduce(|sum, packets| Some(sum? + packets?))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_added_up_and_a_listing_without_any_is_none() {
        let listing = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"counter": {"family": "inet", "name": "a", "table": "t", "handle": 3, "packets": 7, "bytes": 420}},
            {"counter": {"family": "inet", "name": "b", "table": "t", "handle": 4, "packets": 2, "bytes": 120}}]}"#;
        assert_eq!(packets(listing.as_bytes()), Some(9));
        assert_eq!(packets(br#"{"nftables": [{"metainfo": {}}]}"#), None);
        assert_eq!(packets(b""), None);
    }

    #[test]
    fn errors_name_the_remedy() {
        assert!(Error::NoNft.to_string().contains("package `nftables`"));
        let refused = Error::Refused { message: "Error: Operation not permitted".into() }.to_string();
        assert!(refused.contains("CAP_NET_ADMIN"), "{refused}");
    }
}
