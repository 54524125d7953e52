//! Which packets are the daemon's own, and which come from cgroups that are exempt.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::capture::Cgroups;

/// Where nft(8) looks cgroups up, whatever is mounted there.
const NFT_CGROUPS: &str = "/sys/fs/cgroup";

/// The first cgroup namespace (`PROC_CGROUP_INIT_INO` of the kernel's `include/linux/proc_ns.h`).
const FIRST_CGROUP_NAMESPACE: &str = "cgroup:[4026531835]";

/// A cgroup as `socket cgroupv2` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its directory, below `/sys/fs/cgroup`.
    path: String,
    /// How deep below the root it lies.
    level: usize,
}

/// What makes a packet the daemon's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// Its socket was made in the daemon's cgroup and has its mark.
    CgroupAndMark(Place),
    /// Its socket has the daemon's mark, which any process with CAP_NET_ADMIN can set.
    Mark {
        /// Why the cgroup does not count.
        because: String,
    },
}

impl Place {
    /// This process's cgroup; else why it cannot be named.
    pub(super) fn own() -> Result<Self, String> {
        let cgroups = Cgroups::find().map_err(|error| error.to_string())?;
        let directory = cgroups.own_directory().map_err(|error| error.to_string())?;
        Self::named(cgroups.mount(), &directory)
    }

    /// A cgroup2 directory; else why it cannot be named.
    pub(super) fn of(directory: &Path) -> Result<Self, String> {
        let cgroups = Cgroups::find().map_err(|error| error.to_string())?;
        Self::named(cgroups.mount(), directory)
    }

    fn named(mount: &Path, directory: &Path) -> Result<Self, String> {
        // The kernel counts levels from the root of its own hierarchy, a namespace shows another one.
        if !fs::read_link("/proc/self/ns/cgroup").is_ok_and(|name| name == Path::new(FIRST_CGROUP_NAMESPACE)) {
            return Err("the daemon runs in a cgroup namespace".to_owned());
        }
        let level = directory.strip_prefix(mount).map_or(0, |below| below.components().count());
        if level == 0 {
            return Err("everything is below the root cgroup".to_owned());
        }
        match directory.strip_prefix(NFT_CGROUPS).ok().and_then(Path::to_str) {
            // nft(8) has no escape for a quote.
            Some(path) if !path.contains(['"', '\n']) => Ok(Self { path: path.to_owned(), level }),
            _ => {
                Err(format!("nft(8) cannot name {}: it can only name what is below {NFT_CGROUPS}", directory.display()))
            }
        }
    }

    /// As an expression of nft(8).
    pub(super) fn expression(&self) -> String {
        format!("socket cgroupv2 level {} \"{}\"", self.level, self.path)
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CgroupAndMark(place) => write!(f, "cgroup {} and mark", place.path),
            Self::Mark { because } => write!(f, "mark alone, because {because}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_counts_from_the_hierarchys_root_and_the_path_from_sys_fs_cgroup() {
        let place = Place::named("/sys/fs/cgroup/unified".as_ref(), "/sys/fs/cgroup/unified/a/b".as_ref()).unwrap();
        assert_eq!(place.expression(), r#"socket cgroupv2 level 2 "unified/a/b""#);
        let place = Place::named("/sys/fs/cgroup".as_ref(), r"/sys/fs/cgroup/a\x2db.slice".as_ref()).unwrap();
        assert_eq!(place.expression(), r#"socket cgroupv2 level 1 "a\x2db.slice""#);
    }

    #[test]
    fn what_nft_cannot_express_says_why() {
        for (mount, directory, why) in [
            ("/sys/fs/cgroup", "/sys/fs/cgroup", "root cgroup"),
            ("/mnt/cgroup", "/mnt/cgroup/a", "below /sys/fs/cgroup"),
            ("/sys/fs/cgroup", "/sys/fs/cgroup/a\"b", "below /sys/fs/cgroup"),
        ] {
            let because = Place::named(mount.as_ref(), directory.as_ref()).unwrap_err();
            assert!(because.contains(why), "{because}");
        }
    }
}
