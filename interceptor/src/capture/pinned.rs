//! What an instance has left pinned, looked at from outside: by `interceptor status` and `interceptor unenroll`, with the
//! daemon running or not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{LpmTrie, Map, MapData, MapError, PerCpuArray};
use interceptor_ebpf::{ABI, names};

use super::effective::{Effective, effective};
use super::programs::{entries, lock, remove_version};
use super::sys::{CgroupHook, PinnedLink};
use super::{EndpointAddr, Error, Stats, endpoints};

/// The pins of one instance.
#[derive(Debug)]
pub struct Pinned {
    instance: PathBuf,
}

/// A program whose link is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PinnedProgram {
    pub(super) name: String,
    hook: Option<CgroupHook>,
}

impl PinnedProgram {
    /// Where it is attached; none for programs that belong to no cgroup.
    pub(super) fn cgroup_hook(&self) -> Option<CgroupHook> {
        self.hook
    }
}

impl Pinned {
    /// None when nothing is pinned at `pin_dir`.
    ///
    /// # Errors
    /// When it cannot be looked at, which needs root.
    pub fn find(pin_dir: &Path) -> Result<Option<Self>, Error> {
        match fs::read_dir(pin_dir) {
            Ok(_) => Ok(Some(Self { instance: pin_dir.to_path_buf() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file(pin_dir)(error)),
        }
    }

    /// Number of programs that are attached to a cgroup that exists.
    ///
    /// # Errors
    /// When a pin cannot be opened.
    pub fn attached(&self) -> Result<usize, Error> {
        let mut attached = 0;
        for version in self.versions()? {
            attached += programs(&version.join("links"))?
                .iter()
                .filter(|program| program.cgroup_hook().is_none_or(|hook| hook.cgroup_id != 0))
                .count();
        }
        Ok(attached)
    }

    /// The enrolled destinations.
    ///
    /// # Errors
    /// When a map cannot be opened or read.
    pub fn enrolled(&self) -> Result<Vec<EndpointAddr>, Error> {
        let v4 = LpmTrie::try_from(Map::LpmTrie(self.map(names::ENDPOINTS_V4)?));
        let v6 = LpmTrie::try_from(Map::LpmTrie(self.map(names::ENDPOINTS_V6)?));
        endpoints::enrolled(
            &v4.map_err(Error::map(names::ENDPOINTS_V4))?,
            &v6.map_err(Error::map(names::ENDPOINTS_V6))?,
        )
    }

    /// What the programs counted.
    ///
    /// # Errors
    /// When the map cannot be opened or read.
    pub fn stats(&self) -> Result<Stats, Error> {
        let counters = PerCpuArray::try_from(Map::PerCpuArray(self.map(names::COUNTERS)?));
        Stats::read(&counters.map_err(Error::map(names::COUNTERS))?)
    }

    /// Which programs the kernel runs for processes in `cgroup`; see [`Effective`].
    ///
    /// # Errors
    /// When a cgroup or a pin cannot be opened.
    pub fn effective(&self, cgroup: &Path) -> Result<Effective, Error> {
        effective(cgroup, &programs(&self.version().join("links"))?, &names::PROGRAMS)
    }

    /// Whether a daemon holds these pins.
    ///
    /// # Errors
    /// When they cannot be looked at.
    pub fn in_use(&self) -> Result<bool, Error> {
        for version in self.versions()? {
            match lock(&version) {
                Ok(_) => {}
                Err(Error::InUse { .. }) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Detaches every program and removes every pin, of every layout version. Connections go direct from here on.
    ///
    /// # Errors
    /// The first pin that could not be removed; the rest is removed all the same.
    pub fn remove(self) -> Result<(), Error> {
        let mut result = Ok(());
        for version in self.versions()? {
            result = result.and(remove_version(&version));
        }
        result.and(fs::remove_dir(&self.instance).map_err(Error::file(&self.instance)))
    }

    fn version(&self) -> PathBuf {
        self.instance.join(format!("v{ABI}"))
    }

    /// The layout versions that left something here.
    fn versions(&self) -> Result<Vec<PathBuf>, Error> {
        entries(&self.instance)
    }

    fn map(&self, name: &'static str) -> Result<MapData, Error> {
        MapData::from_pin(self.version().join("maps").join(name)).map_err(|error: MapError| Error::map(name)(error))
    }
}

fn programs(links: &Path) -> Result<Vec<PinnedProgram>, Error> {
    let mut programs = Vec::new();
    for path in entries(links)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if let Some(link) = PinnedLink::open(&path)? {
            programs.push(PinnedProgram { name: name.to_owned(), hook: link.cgroup_hook()? });
        }
    }
    Ok(programs)
}
