//! Which network namespaces have a process in them.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Those of `candidates` (inode numbers) that a process, or a thread that has left its process's namespace, is in.
/// Reads `/proc`, which takes microseconds a process.
pub(super) fn occupied(candidates: &HashSet<u64>) -> HashSet<u64> {
    let mut found: HashSet<u64> = processes().filter_map(|pid| inode(&pid)).collect();
    found.retain(|inode| candidates.contains(inode));
    if found.len() < candidates.len() {
        // Rare: only a namespace that seems empty is worth a look at every thread.
        let threads = processes().flat_map(|pid| numbered(&Path::new("/proc").join(pid).join("task")));
        found.extend(threads.filter_map(|tid| inode(&tid)).filter(|inode| candidates.contains(inode)));
    }
    found
}

/// The inode number of a process's or thread's network namespace; none when it has gone.
pub(super) fn inode(pid: &str) -> Option<u64> {
    // A thread has a directory of its own, which /proc does not list.
    fs::metadata(Path::new("/proc").join(pid).join("ns/net")).ok().map(|metadata| metadata.ino())
}

fn processes() -> impl Iterator<Item = String> {
    numbered(Path::new("/proc"))
}

fn numbered(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The processes in a cgroup and below.
pub(super) fn members(cgroup: &Path) -> Vec<u32> {
    // The first cannot be read in a threaded cgroup.
    let listed = ["cgroup.procs", "cgroup.threads"].iter().find_map(|file| fs::read_to_string(cgroup.join(file)).ok());
    let listed = listed.unwrap_or_default();
    let mut members: Vec<u32> = listed.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            members.extend(self::members(&entry.path()));
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_namespace_is_occupied_and_no_other_inode_is() {
        let own = inode(&std::process::id().to_string()).unwrap();
        assert_eq!(occupied(&HashSet::from([own, 1])), HashSet::from([own]));
        assert_eq!(inode("0"), None);
    }
}
