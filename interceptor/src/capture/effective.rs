//! What the kernel runs, whatever the pins say: a link can outlive its cgroup, and another program can stand beside ours.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use aya::programs::loaded_programs;
use serde::{Deserialize, Serialize};

use super::pinned::PinnedProgram;
use super::{Cgroups, Error, cgroup, sys};

/// What was found at the hooks of the enrolled cgroup and of the daemon's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    /// What is wrong with our programs; empty when every one of them runs.
    pub faults: Vec<Fault>,
    /// Whether nothing at all is pinned.
    pub gone: bool,
    /// Programs of others that run at the same hooks.
    pub foreign: Vec<Foreign>,
    /// Whether the daemon's own cgroup is at or below the enrolled one, so that its own connections meet the programs.
    pub covers_daemon: bool,
}

/// Why a program of ours does not run as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The link has been detached, or its cgroup was removed.
    #[error("kernel program {program} is detached, or its cgroup is gone")]
    Detached {
        /// The program.
        program: String,
    },
    /// The pin is gone.
    #[error("kernel program {program} is not pinned")]
    NotPinned {
        /// The program.
        program: String,
    },
    /// The cgroup was made anew, or the configuration names another one now.
    #[error("kernel program {program} is attached to another cgroup than {cgroup}")]
    Elsewhere {
        /// The program.
        program: String,
        /// The enrolled cgroup.
        cgroup: PathBuf,
    },
    /// The link says attached, the cgroup says otherwise.
    #[error("kernel program {program} does not run for processes in {cgroup}")]
    NotEffective {
        /// The program.
        program: String,
        /// The cgroup that was asked.
        cgroup: PathBuf,
    },
}

/// A program that is not ours, at one of our hooks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Foreign {
    /// Our program at that hook, for which it is named.
    pub hook: String,
    /// The kernel's id of the program.
    pub id: u32,
    /// Its name, if it has one.
    pub name: Option<String>,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hook, id, name } = self;
        write!(f, "{} (id {id}) at {hook}", name.as_deref().unwrap_or("a program without a name"))
    }
}

/// Asks the kernel which programs run for processes in `enrolled` and in the daemon's own cgroup. `expected` names the
/// programs that must be there.
///
/// # Errors
/// When a cgroup or a pin cannot be opened, or the kernel refuses to tell (`CAP_NET_ADMIN`).
pub(super) fn effective(enrolled: &Path, pinned: &[PinnedProgram], expected: &[&str]) -> Result<Effective, Error> {
    let cgroups = Cgroups::find()?;
    let at = cgroup::open(enrolled)?;
    let id = cgroup::id(&at, enrolled)?;
    let own = own(&cgroups)?;
    let covers_daemon = own.1.starts_with(enrolled);
    let mut places = vec![(at, enrolled.to_path_buf())];
    if covers_daemon && own.1 != enrolled {
        places.push(own);
    }
    let mut found = Effective { covers_daemon, ..Effective::default() };
    let missing = expected.iter().filter(|name| !pinned.iter().any(|program| program.name == **name));
    found.faults.extend(missing.map(|&name| Fault::NotPinned { program: name.to_owned() }));
    let mut foreign = HashMap::new();
    for program in pinned {
        let Some(hook) = program.cgroup_hook() else { continue };
        let name = || program.name.clone();
        match hook.cgroup_id {
            0 => found.faults.push(Fault::Detached { program: name() }),
            other if other != id => {
                found.faults.push(Fault::Elsewhere { program: name(), cgroup: enrolled.to_path_buf() });
            }
            _ => {}
        }
        for (cgroup, path) in &places {
            let running = sys::effective_programs(cgroup.as_fd(), hook.attach_type)
                .map_err(Error::syscall("bpf(BPF_PROG_QUERY)"))?;
            if !running.contains(&hook.program_id) && hook.cgroup_id == id {
                found.faults.push(Fault::NotEffective { program: name(), cgroup: path.clone() });
            }
            let others = running.into_iter().filter(|&id| id != hook.program_id);
            foreign.extend(others.map(|id| ((program.name.clone(), id), ())));
        }
    }
    found.foreign = named(foreign.into_keys());
    Ok(found)
}

fn own(cgroups: &Cgroups) -> Result<(File, PathBuf), Error> {
    let gone = || Error::OwnCgroup { what: "it is not visible below the cgroup2 mount".to_owned() };
    let path = cgroups.path_of(cgroups.own()?).ok_or_else(gone)?;
    let below = path.strip_prefix("/").unwrap_or(&path);
    // Joining an empty path would leave a trailing slash.
    let path = if below.as_os_str().is_empty() { cgroups.mount().to_path_buf() } else { cgroups.mount().join(below) };
    Ok((cgroup::open(&path)?, path))
}

fn named(foreign: impl Iterator<Item = (String, u32)>) -> Vec<Foreign> {
    let mut foreign: Vec<Foreign> = foreign.map(|(hook, id)| Foreign { hook, id, name: None }).collect();
    foreign.sort();
    if !foreign.is_empty() {
        // A program may go while they are listed; it then has no name here.
        let names: HashMap<u32, String> = loaded_programs()
            .flatten()
            .filter_map(|program| Some((program.id(), program.name_as_str()?.to_owned())))
            .filter(|(_, name)| !name.is_empty())
            .collect();
        for program in &mut foreign {
            program.name = names.get(&program.id).cloned();
        }
    }
    foreign
}
