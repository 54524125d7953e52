//! File systems that answer by themselves: reading a file on one waits for no process of a user's.
//!
//! FUSE and network file systems ask someone who may never answer. So does overlayfs over FUSE, which a user may mount in a
//! user namespace of their own: it is trusted only where root has mounted it.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use super::process::Process;

/// `OVERLAYFS_SUPER_MAGIC`.
const OVERLAY: u64 = 0x794c_7630;

/// Local ones that stand on no other file system: magic number as in statfs(2), type as in `/proc/PID/mountinfo`. Users may
/// mount none of them but tmpfs.
const LOCAL: [(u64, &str); 11] = [
    (0xef53, "ext4"),
    (0xef53, "ext3"),
    (0xef53, "ext2"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0xe0f5_e1e2, "erofs"),
    (0xf2f5_2010, "f2fs"),
    (0x0102_1994, "tmpfs"),
    (0x7371_7368, "squashfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xca45_1a4e, "bcachefs"),
];

/// Whether it is overlayfs.
pub(super) fn is_overlay(magic: u64) -> bool {
    magic == OVERLAY
}

/// Whether a file system with this magic number answers by itself.
pub(super) fn is_local(magic: u64) -> bool {
    LOCAL.iter().any(|(local, _)| *local == magic)
}

/// Whether what the process runs now lies where reading it waits for nobody. Asks no file system.
///
/// Overlayfs: when the process is in the initial user namespace and its mount namespace has that very mount. Such a mount
/// namespace takes mounts of root's only; a process in it may run a file of another one, whose mount it does not list.
pub(super) fn answers_by_itself(process: &Process) -> bool {
    // A path descriptor opens nothing, and the mount's id comes from the descriptor.
    let Some(file) = process.exe_path() else { return false };
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd())).unwrap_or_default();
    let Some(mount) = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim) else { return false };
    let Some(mounts) = process.mounts() else { return false };
    match mounts.lines().find_map(|line| type_of(line, mount)) {
        Some("overlay") => in_initial_user_namespace(process),
        Some(kind) => LOCAL.iter().any(|(_, local)| *local == kind),
        None => false,
    }
}

pub(super) fn in_initial_user_namespace(process: &Process) -> bool {
    /// `PROC_USER_INIT_INO` of the kernel: the initial user namespace has this inode on every host.
    const INITIAL: &str = "user:[4026531837]";
    process.user_namespace().is_some_and(|namespace| namespace == Path::new(INITIAL))
}

/// The type in a line of mountinfo (proc_pid_mountinfo(5)) when it is that mount's.
fn type_of<'a>(line: &'a str, mount: &str) -> Option<&'a str> {
    let (id, rest) = line.split_once(' ')?;
    let (_, after) = rest.split_once(" - ")?;
    if id == mount { after.split(' ').next() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::BootTime;

    #[test]
    fn a_mount_is_found_by_its_id_alone() {
        let line = "41 31 0:38 / /var/lib/x rw,relatime shared:9 - overlay overlay rw,lowerdir=/a";
        assert_eq!(type_of(line, "41"), Some("overlay"));
        assert_eq!((type_of(line, "31"), type_of(line, "4"), type_of("", "")), (None, None, None));
    }

    #[test]
    fn what_may_ask_others_is_not_local() {
        const FUSE: u64 = 0x6573_5546;
        const NFS: u64 = 0x6969;
        const NINE_P: u64 = 0x0102_1997;
        for magic in [FUSE, NFS, NINE_P, OVERLAY, 0] {
            assert!(!is_local(magic), "{magic:x}");
        }
        assert!(is_local(0xef53) && is_overlay(OVERLAY));
    }

    #[test]
    fn this_test_runs_from_where_its_mount_says() {
        let process = Process::existing_at(std::process::id(), BootTime::now()).unwrap();
        let magic = nix::sys::statfs::statfs(&std::env::current_exe().unwrap()).unwrap().filesystem_type().0 as u64;
        let trusted = is_local(magic) || is_overlay(magic) && in_initial_user_namespace(&process);
        assert_eq!(answers_by_itself(&process), trusted);
    }
}
