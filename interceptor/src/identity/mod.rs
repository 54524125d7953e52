//! Who called: from the kernel's record of a connection to a process, its user, and what it runs in.
//!
//! What the record itself holds (user and group id, process id, cgroup id) is what the kernel saw at the connect call, and
//! so is its snapshot of the process. procfs is asked at accept for what goes beyond a snapshot: only of a process that is
//! alive, is the very same (by its start time) and still runs the same program. Where the kernel takes no snapshots, procfs
//! is all there is: then a process that has executed another program in between shows that one. What cannot be known is
//! `None`, never guessed.

mod ancestry;
mod callers;
mod cgroup;
mod executable;
mod filesystem;
mod hash;
mod names;
mod pool;
mod process;
mod status;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

pub use ancestry::Parent;
pub use callers::Callers;
pub use cgroup::{CgroupPath, Container, Runtime};

use executable::Executables;
use names::Names;
use process::{Absent, Process};

use crate::capture::{BootTime, Cgroups, Flow, KernelPath, Snapshot};

/// The process that opened a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Real group id, in the initial user namespace.
    pub gid: u32,
    /// Name of the user; none when the database has none.
    pub user: Option<String>,
    /// Primary and supplementary groups: names, or the number where there is no name.
    pub groups: Option<Vec<String>>,
    /// Whether the process has more groups than `groups` names.
    pub groups_cut: bool,
    /// Process id.
    pub pid: u32,
    /// What it ran, as its own mount namespace names it. Ends in ` (deleted)` when the file had been removed; begins with
    /// `...` when only the end of a long path is known.
    pub exe: Option<PathBuf>,
    /// SHA-256 of that file, in hexadecimal; none when it could not be had for certain and in time.
    pub exe_sha256: Option<String>,
    /// Whether the kernel saw it run that in the daemon's own mount namespace, where `exe` means the same to both.
    pub own_mounts: bool,
    /// Its arguments, the first 4 KiB of them, or 512 bytes of a process that has exited. Any process may rewrite its own.
    /// Not masked: never store as it is.
    pub cmdline: Option<Vec<String>>,
    /// Its working directory. Not masked.
    pub cwd: Option<PathBuf>,
    /// The processes it descends from, its parent first. Not masked.
    pub parents: Vec<Parent>,
    /// Path of its cgroup at the connect call, below the cgroup2 mount.
    pub cgroup: Option<CgroupPath>,
    /// Path of the cgroup the socket was made in, when that is another one.
    pub socket_cgroup: Option<CgroupPath>,
    /// The user who logged in, whatever user its processes have become since; by the kernel's audit subsystem.
    pub login_uid: Option<u32>,
    /// Login session by the kernel's audit subsystem.
    pub audit_session: Option<u32>,
    /// When the process started.
    pub started_at: Option<BootTime>,
}

impl Caller {
    /// The container its cgroup belongs to.
    #[must_use]
    pub fn container(&self) -> Option<Container> {
        self.cgroup.as_ref()?.container()
    }

    /// UID of the Kubernetes pod its cgroup belongs to.
    #[must_use]
    pub fn pod(&self) -> Option<String> {
        self.cgroup.as_ref()?.pod()
    }

    /// The systemd unit its cgroup belongs to.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.cgroup.as_ref()?.unit()
    }

    /// The unit of its user's own service manager that its cgroup belongs to.
    #[must_use]
    pub fn user_unit(&self) -> Option<&str> {
        self.cgroup.as_ref()?.user_unit()
    }

    /// The login session: logind's name of it by the cgroup, else the audit subsystem's number, which logind takes over.
    #[must_use]
    pub fn session(&self) -> Option<String> {
        let named = self.cgroup.as_ref().and_then(|cgroup| cgroup.session()).map(str::to_owned);
        named.or_else(|| self.audit_session.map(|number| number.to_string()))
    }
}

/// Finds out about the callers of flows. Calls block on procfs, the user database and, for an executable not seen before,
/// on reading it; a caller can make them block for ever. See [`Callers`] for threads that drive connections.
#[derive(Debug)]
pub struct Resolver {
    names: Names,
    executables: Executables,
    cgroups: Option<Cgroups>,
    sees_host_pids: bool,
    unreadable: AtomicU64,
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
            log::warn!(
                "not in the host's PID namespace, so /proc shows other processes: callers are known by the kernel's \
                 snapshots alone; run the daemon in the host's PID namespace"
            );
        }
        Self {
            names: Names::default(),
            executables: Executables::default(),
            cgroups: Cgroups::find().ok(),
            sees_host_pids,
            unreadable: AtomicU64::new(0),
        }
    }

    /// The caller of `flow`. Ask soon after accept.
    #[must_use]
    pub fn resolve(&self, flow: &Flow) -> Caller {
        let snapshot = flow.snapshot.as_deref();
        // Known for the next time before anything is asked that the caller can delay.
        let user = self.names.user(flow.uid);
        let process = self.process(flow);
        let seen = process.as_ref().map(|process| Seen::of(process, snapshot));
        let of_program = seen.as_ref().filter(|seen| seen.same_program);
        let (groups, groups_cut) = groups(snapshot, of_program);
        let socket_cgroup = flow.socket_cgroup.filter(|&id| id != flow.task_cgroup);
        Caller {
            uid: flow.uid,
            gid: flow.gid,
            user,
            groups: groups.map(|groups| group_names(flow.gid, &groups, |gid| self.names.group(gid))),
            groups_cut,
            pid: flow.tgid,
            exe: kernel_path(snapshot.and_then(|s| s.exe.as_ref()), of_program.and_then(|seen| seen.exe.clone())),
            exe_sha256: self.executables.digest(flow, process.as_ref()),
            own_mounts: self.executables.among_own_mounts(flow),
            cmdline: cmdline(snapshot, of_program),
            cwd: kernel_path(snapshot.and_then(|s| s.cwd.as_ref()), of_program.and_then(|seen| seen.cwd.clone())),
            parents: match (snapshot, &process) {
                (Some(snapshot), _) => ancestry::of_snapshot(snapshot, self.sees_host_pids),
                (None, Some(process)) => ancestry::of_process(process),
                (None, None) => Vec::new(),
            },
            cgroup: self.cgroup_at_connect(flow),
            socket_cgroup: socket_cgroup.and_then(|id| self.cgroup_path(id)),
            login_uid: audit_id(snapshot, |s| s.login_uid, process.as_ref(), "loginuid"),
            audit_session: audit_id(snapshot, |s| s.session, process.as_ref(), "sessionid"),
            started_at: snapshot.map(|s| s.started_at).or_else(|| process.as_ref().map(Process::started_at)),
        }
    }

    /// The caller of `flow` as far as the kernel's snapshot and what is remembered tell: asks no process, no file of a
    /// user's and no user database, so it does not block.
    #[must_use]
    pub fn by_snapshot(&self, flow: &Flow) -> Caller {
        let snapshot = flow.snapshot.as_deref();
        let (groups, groups_cut) = groups(snapshot, None);
        let socket_cgroup = flow.socket_cgroup.filter(|&id| id != flow.task_cgroup);
        Caller {
            uid: flow.uid,
            gid: flow.gid,
            user: self.names.remembered_user(flow.uid),
            groups: groups.map(|groups| group_names(flow.gid, &groups, |gid| self.names.remembered_group(gid))),
            groups_cut,
            pid: flow.tgid,
            exe: kernel_path(snapshot.and_then(|s| s.exe.as_ref()), None),
            exe_sha256: None,
            own_mounts: self.executables.among_own_mounts(flow),
            cmdline: cmdline(snapshot, None),
            cwd: kernel_path(snapshot.and_then(|s| s.cwd.as_ref()), None),
            parents: snapshot.map_or_else(Vec::new, |snapshot| ancestry::of_snapshot(snapshot, false)),
            // The cgroup file system is the kernel's own, it answers at once.
            cgroup: self.cgroup_at_connect(flow),
            socket_cgroup: socket_cgroup.and_then(|id| self.cgroup_path(id)),
            login_uid: audit_id(snapshot, |s| s.login_uid, None, "loginuid"),
            audit_session: audit_id(snapshot, |s| s.session, None, "sessionid"),
            started_at: snapshot.map(|s| s.started_at),
        }
    }

    /// Callers that are alive and that `/proc` did not show.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    fn process(&self, flow: &Flow) -> Option<Process> {
        if !self.sees_host_pids {
            self.unreadable.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let process = match flow.snapshot.as_deref() {
            Some(snapshot) => Process::started(flow.tgid, snapshot.started_at),
            None => Process::existing_at(flow.tgid, flow.connected_at),
        };
        if matches!(process, Err(Absent::Hidden)) && self.unreadable.fetch_add(1, Ordering::Relaxed) == 0 {
            log::warn!(
                "/proc does not show process {}, which is alive: callers are known by the kernel's snapshots alone; mount \
                 /proc without hidepid for the daemon, or give it CAP_SYS_PTRACE",
                flow.tgid
            );
        }
        process.ok()
    }

    /// By the snapshot, as it may be gone by now.
    fn cgroup_at_connect(&self, flow: &Flow) -> Option<CgroupPath> {
        let in_snapshot = flow.snapshot.as_deref().and_then(|snapshot| snapshot.cgroup.as_deref());
        let below_mount = self.cgroups.as_ref().zip(in_snapshot).and_then(|(cgroups, path)| cgroups.below_mount(path));
        below_mount.map(CgroupPath::new).or_else(|| self.cgroup_path(flow.task_cgroup))
    }

    fn cgroup_path(&self, id: u64) -> Option<CgroupPath> {
        self.cgroups.as_ref()?.path_of(id).map(CgroupPath::new)
    }
}

fn group_names(primary: u32, supplementary: &[u32], name: impl Fn(u32) -> String) -> Vec<String> {
    let others = supplementary.iter().copied().filter(|&gid| gid != primary);
    std::iter::once(primary).chain(others).map(name).collect()
}

/// What procfs says of a live process that is the caller.
struct Seen {
    exe: Option<PathBuf>,
    cwd: Option<PathBuf>,
    cmdline: Option<Vec<String>>,
    groups: Option<Vec<u32>>,
    /// Whether it was running the program it ran when it called, all the while it was looked at.
    same_program: bool,
}

impl Seen {
    fn of(process: &Process, snapshot: Option<&Snapshot>) -> Self {
        let (exe, cwd, cmdline, groups) = (process.exe(), process.cwd(), process.cmdline(), process.groups());
        let same_program = snapshot.is_none_or(|snapshot| process.runs(snapshot.image));
        Self { exe, cwd, cmdline, groups, same_program }
    }
}

/// The snapshot's groups when they are all, or procfs has no more to say.
fn groups(snapshot: Option<&Snapshot>, seen: Option<&Seen>) -> (Option<Vec<u32>>, bool) {
    let in_procfs = || seen.and_then(|seen| seen.groups.clone());
    match snapshot.map(|snapshot| &snapshot.groups) {
        Some(groups) if groups.whole => (Some(groups.ids.clone()), false),
        Some(groups) => in_procfs().map_or_else(|| (Some(groups.ids.clone()), true), |ids| (Some(ids), false)),
        None => (in_procfs(), false),
    }
}

fn cmdline(snapshot: Option<&Snapshot>, seen: Option<&Seen>) -> Option<Vec<String>> {
    let arguments = snapshot.and_then(|snapshot| snapshot.arguments.as_ref());
    let in_snapshot = || arguments.and_then(|arguments| status::cmdline(&arguments.bytes));
    if arguments.is_some_and(|arguments| arguments.whole) {
        return in_snapshot();
    }
    seen.and_then(|seen| seen.cmdline.clone()).or_else(in_snapshot)
}

fn kernel_path(in_snapshot: Option<&KernelPath>, in_procfs: Option<PathBuf>) -> Option<PathBuf> {
    match in_snapshot {
        Some(path) if path.whole => Some(written(path)),
        Some(path) => in_procfs.or_else(|| Some(written(path))),
        None => in_procfs,
    }
}

/// As procfs writes it, and with dots for a beginning that is not known.
fn written(path: &KernelPath) -> PathBuf {
    let mut text = std::ffi::OsString::from(if path.whole { "" } else { "..." });
    text.push(&path.path);
    if path.deleted {
        text.push(" (deleted)");
    }
    text.into()
}

/// An id of the audit subsystem: it is inherited and set once, so procfs may be asked about it later.
fn audit_id(
    snapshot: Option<&Snapshot>,
    in_snapshot: impl FnOnce(&Snapshot) -> Option<u32>,
    process: Option<&Process>,
    file: &str,
) -> Option<u32> {
    const UNSET: u32 = u32::MAX;
    match snapshot {
        Some(snapshot) => in_snapshot(snapshot),
        None => process?.number(file).filter(|&id| id != UNSET),
    }
}

#[cfg(test)]
mod tests;
