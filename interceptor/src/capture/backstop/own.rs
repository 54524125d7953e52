//! How a packet is recognised as the daemon's own.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::capture::Cgroups;

/// Where nft(8) looks cgroups up, whatever is mounted there.
const NFT_CGROUPS: &str = "/sys/fs/cgroup";

/// Inode of the first cgroup namespace (`PROC_CGROUP_INIT_INO` of the kernel's `include/linux/proc_ns.h`).
const FIRST_CGROUP_NAMESPACE: &str = "cgroup:[4026531835]";

/// What makes a packet the daemon's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// Its socket was made in the daemon's cgroup and has its mark.
    CgroupAndMark {
        /// The cgroup's directory, below `/sys/fs/cgroup`.
        path: String,
        /// How deep below the root it lies.
        level: usize,
    },
    /// Its socket has the daemon's mark, which any process with CAP_NET_ADMIN can set.
    Mark {
        /// Why the cgroup does not count.
        because: String,
    },
}

impl Own {
    /// As far as `socket cgroupv2` can express it; nft(8) has still to be asked.
    pub(super) fn of_this_process() -> Self {
        let mark = |because: &str| Self::Mark { because: because.to_owned() };
        // The kernel counts levels from its own root (before Linux 6.12 at least), a namespace from another.
        if !fs::read_link("/proc/self/ns/cgroup").is_ok_and(|name| name == Path::new(FIRST_CGROUP_NAMESPACE)) {
            return mark("the daemon runs in a cgroup namespace");
        }
        let cgroups = match Cgroups::find() {
            Ok(cgroups) => cgroups,
            Err(error) => return mark(&error.to_string()),
        };
        let directory = match cgroups.own_directory() {
            Ok(directory) => directory,
            Err(error) => return mark(&error.to_string()),
        };
        Self::at(cgroups.mount(), &directory)
    }

    fn at(mount: &Path, directory: &Path) -> Self {
        let mark = |because: &str| Self::Mark { because: because.to_owned() };
        let level = directory.strip_prefix(mount).map_or(0, |below| below.components().count());
        if level == 0 {
            return mark("the daemon runs in the root cgroup, and so does everything else");
        }
        match directory.strip_prefix(NFT_CGROUPS).ok().and_then(Path::to_str) {
            // nft(8) has no escape for a quote.
            Some(path) if !path.contains(['"', '\n']) => Self::CgroupAndMark { path: path.to_owned(), level },
            _ => mark("nft(8) can name cgroups below /sys/fs/cgroup alone"),
        }
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CgroupAndMark { path, .. } => write!(f, "by cgroup {path} and mark"),
            Self::Mark { because } => write!(f, "by mark alone, because {because}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_counts_from_the_hierarchys_root_and_the_path_from_sys_fs_cgroup() {
        let own = Own::at("/sys/fs/cgroup/unified".as_ref(), "/sys/fs/cgroup/unified/a/b".as_ref());
        assert_eq!(own, Own::CgroupAndMark { path: "unified/a/b".into(), level: 2 });
        let own = Own::at("/sys/fs/cgroup".as_ref(), r"/sys/fs/cgroup/a\x2db.slice".as_ref());
        assert_eq!(own, Own::CgroupAndMark { path: r"a\x2db.slice".into(), level: 1 });
    }

    #[test]
    fn what_nft_cannot_express_falls_back_to_the_mark_and_says_so() {
        for (mount, directory, because) in [
            ("/sys/fs/cgroup", "/sys/fs/cgroup", "root cgroup"),
            ("/mnt/cgroup", "/mnt/cgroup/a", "below /sys/fs/cgroup"),
            ("/sys/fs/cgroup", "/sys/fs/cgroup/a\"b", "below /sys/fs/cgroup"),
        ] {
            let text = Own::at(mount.as_ref(), directory.as_ref()).to_string();
            assert!(text.starts_with("by mark alone") && text.contains(because), "{text}");
        }
    }
}
