//! How much of a cgroup's traffic is captured.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aya::maps::MapData;
use interceptor_ebpf::{CgroupRule, MAX_DEPTH, mode, names};

use super::{Cgroups, Error};

/// What is captured of a cgroup and everything below it, as far as no nearer one has a mode of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Connections to enrolled destinations.
    Names,
    /// Every TCP connection that leaves the host; datagrams to port 443 or to an enrolled address are refused.
    Strict,
    /// Nothing.
    Exempt,
}

/// A cgroup with a mode of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMode {
    /// cgroup2 directory.
    pub path: PathBuf,
    /// What holds there.
    pub mode: Mode,
}

type Rules = aya::maps::HashMap<MapData, u64, CgroupRule>;

/// Makes the map hold exactly `modes`, adding before removing; returns how many there are.
pub(super) fn set(rules: &mut Rules, cgroups: &Cgroups, modes: &[CgroupMode]) -> Result<u32, Error> {
    let mut wanted = HashMap::new();
    for CgroupMode { path, mode } in modes {
        check_depth(cgroups, path)?;
        wanted.insert(cgroups.id_of(path)?, CgroupRule { mode: mode.number() });
    }
    for (&id, &rule) in &wanted {
        rules.insert(id, rule, 0).map_err(Error::map(names::CGROUPS))?;
    }
    let present = rules.keys().collect::<Result<Vec<u64>, _>>().map_err(Error::map(names::CGROUPS))?;
    for id in present.iter().filter(|id| !wanted.contains_key(id)) {
        rules.remove(id).map_err(Error::map(names::CGROUPS))?;
    }
    Ok(u32::try_from(wanted.len()).unwrap_or(u32::MAX))
}

/// The rules that an earlier process left; they hold until [`set`].
pub(super) fn count(rules: &Rules) -> Result<u32, Error> {
    rules.keys().try_fold(0, |count, key| key.map(|_| count + 1)).map_err(Error::map(names::CGROUPS))
}

/// The programs search so many levels and no more.
fn check_depth(cgroups: &Cgroups, path: &Path) -> Result<(), Error> {
    let depth = path.strip_prefix(cgroups.mount()).map_or(0, |below| below.components().count());
    if depth < MAX_DEPTH as usize { Ok(()) } else { Err(Error::TooDeep { path: path.to_path_buf() }) }
}

impl Mode {
    fn number(self) -> u32 {
        match self {
            Self::Names => mode::NAMES,
            Self::Strict => mode::STRICT,
            Self::Exempt => mode::EXEMPT,
        }
    }
}
