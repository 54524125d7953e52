//! The processes a caller descends from.

use std::path::PathBuf;

use super::process::Process;
use crate::capture::{Ancestor, Snapshot};

/// How far back they are followed where the kernel took no snapshot.
const MAX_PARENTS: usize = 8;

/// A process the caller descends from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its process id.
    pub pid: u32,
    /// What it runs; none when it has exited.
    pub exe: Option<PathBuf>,
    /// Name of its first thread. Any process may choose its own.
    pub comm: Option<String>,
}

/// As the kernel saw them when the caller connected.
pub(super) fn of_snapshot(snapshot: &Snapshot, sees_host_pids: bool) -> Vec<Parent> {
    let exe = |ancestor: &Ancestor| Process::started(ancestor.pid, ancestor.started_at).ok()?.exe();
    let parent = |ancestor: &Ancestor| Parent {
        pid: ancestor.pid,
        exe: if sees_host_pids { exe(ancestor) } else { None },
        comm: Some(ancestor.comm.clone()),
    };
    snapshot.ancestors.iter().map(parent).collect()
}

/// As procfs shows them now.
pub(super) fn of_process(caller: &Process) -> Vec<Parent> {
    let chain = std::iter::successors(caller.parent(), Process::parent);
    chain
        .take(MAX_PARENTS)
        .map(|process| Parent { pid: process.pid(), exe: process.exe(), comm: process.comm() })
        .collect()
}
