//! Who called: from the kernel's record of a connection to a process, its user, and what it runs in.
//!
//! What the record itself holds (user and group id, process id, cgroup id) is what the kernel saw at the connect call.
//! The rest is read from procfs at accept: it is checked to be the same process, but a process that has executed another
//! program in between shows that one. What cannot be known (the process has exited, or the daemon sees other process
//! ids) is `None`, never guessed.

mod cgroup;
mod names;
mod process;
mod status;

use std::path::PathBuf;

pub use cgroup::{CgroupPath, Container, Runtime};

use names::Names;
use process::Process;

use crate::capture::{BootTime, Cgroups, Flow};

/// The process that opened a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Real group id, in the initial user namespace.
    pub gid: u32,
    /// Name of the user; none when the database has none.
    pub user: Option<String>,
    /// Primary and supplementary groups: names, or the number where there is no name. None when the process has gone.
    pub groups: Option<Vec<String>>,
    /// Process id.
    pub pid: u32,
    /// What it runs, as its own mount namespace names it; ends in ` (deleted)` when the file is gone.
    pub exe: Option<PathBuf>,
    /// Its arguments, the first 4 KiB of them. Any process may rewrite its own. Not masked: never store as it is.
    pub cmdline: Option<Vec<String>>,
    /// Its working directory. Not masked.
    pub cwd: Option<PathBuf>,
    /// Path of its cgroup at the connect call, below the cgroup2 mount.
    pub cgroup: Option<CgroupPath>,
    /// Path of the cgroup the socket was made in, when that is another one.
    pub socket_cgroup: Option<CgroupPath>,
    /// When the process started.
    pub started_at: Option<BootTime>,
}

impl Caller {
    /// The container its cgroup belongs to.
    #[must_use]
    pub fn container(&self) -> Option<Container> {
        self.cgroup.as_ref()?.container()
    }

    /// The systemd unit its cgroup belongs to.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.cgroup.as_ref()?.unit()
    }
}

/// Names the callers of flows. One for all workers; calls block on procfs and the user database, briefly.
#[derive(Debug)]
pub struct Resolver {
    names: Names,
    cgroups: Option<Cgroups>,
    sees_host_pids: bool,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolver {
    /// Warns when this process sees other process ids than the kernel programs record.
    #[must_use]
    pub fn new() -> Self {
        let sees_host_pids = process::sees_host_pids();
        if !sees_host_pids {
            log::warn!("not in the host's PID namespace: callers are known by user and cgroup only");
        }
        Self { names: Names::default(), cgroups: Cgroups::find().ok(), sees_host_pids }
    }

    /// The caller of `flow`. Ask soon after accept: a process that has exited is known by its ids alone.
    #[must_use]
    pub fn resolve(&self, flow: &Flow) -> Caller {
        let process = self.sees_host_pids.then(|| Process::of(flow.tgid, flow.connected_at)).flatten();
        let details = process.as_ref();
        let socket_cgroup = flow.socket_cgroup.filter(|&id| id != flow.task_cgroup);
        Caller {
            uid: flow.uid,
            gid: flow.gid,
            user: self.names.user(flow.uid),
            groups: details.and_then(Process::groups).map(|groups| self.group_names(flow.gid, &groups)),
            pid: flow.tgid,
            exe: details.and_then(Process::exe),
            cmdline: details.and_then(Process::cmdline),
            cwd: details.and_then(Process::cwd),
            cgroup: self.cgroup_path(flow.task_cgroup),
            socket_cgroup: socket_cgroup.and_then(|id| self.cgroup_path(id)),
            started_at: details.map(Process::started_at),
        }
    }

    fn cgroup_path(&self, id: u64) -> Option<CgroupPath> {
        self.cgroups.as_ref()?.path_of(id).map(CgroupPath::new)
    }

    fn group_names(&self, primary: u32, supplementary: &[u32]) -> Vec<String> {
        let others = supplementary.iter().copied().filter(|&gid| gid != primary);
        std::iter::once(primary).chain(others).map(|gid| self.names.group(gid)).collect()
    }
}
