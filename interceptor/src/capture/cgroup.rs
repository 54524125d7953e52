//! The cgroup2 hierarchy: where it is mounted, which directory has which id.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};

use super::{Error, sys};

/// The host's cgroup2 hierarchy.
#[derive(Clone, Debug)]
pub struct Cgroups {
    mount: PathBuf,
    /// Directory of the hierarchy that the mount shows; `/` outside containers.
    root: PathBuf,
}

impl Cgroups {
    /// Finds the mount: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside the old hierarchies.
    ///
    /// # Errors
    /// When none is mounted.
    pub fn find() -> Result<Self, Error> {
        let path = "/proc/self/mountinfo";
        let mounts = fs::read_to_string(path).map_err(Error::file(path))?;
        mounts.lines().find_map(parse_mount).ok_or(Error::NoCgroup2)
    }

    /// Where the hierarchy is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Id of a directory of the hierarchy: what `bpf_get_current_cgroup_id` returns for the processes in it.
    ///
    /// # Errors
    /// When it is no cgroup2 directory.
    pub fn id_of(&self, path: &Path) -> Result<u64, Error> {
        let directory = open(path)?;
        id(&directory, path)
    }

    /// Path of the cgroup of that id below the mount, as `/proc/PID/cgroup` writes it (`/` for the root). None when it
    /// is gone, or not visible from here.
    #[must_use]
    pub fn path_of(&self, id: u64) -> Option<PathBuf> {
        let mount = File::open(&self.mount).ok()?;
        let directory = sys::open_cgroup(mount.as_fd(), id).ok()?;
        let path = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&directory))).ok()?;
        let below = path.strip_prefix(&self.mount).ok()?;
        Some(Path::new("/").join(below))
    }

    /// A path from the root of the hierarchy, below the mount. None when it is not visible from here.
    #[must_use]
    pub fn below_mount(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.root).ok().map(|below| Path::new("/").join(below))
    }

    /// Id of this process's cgroup.
    pub(super) fn own(&self) -> Result<u64, Error> {
        let path = "/proc/self/cgroup";
        let memberships = fs::read_to_string(path).map_err(Error::file(path))?;
        let own = parse_membership(&memberships)
            .ok_or_else(|| Error::OwnCgroup { what: format!("{path} has no cgroup2 line") })?;
        let below = own.strip_prefix(&self.root).map_err(|_| Error::OwnCgroup {
            what: format!("{} is outside of what {} shows", own.display(), self.mount.display()),
        })?;
        self.id_of(&self.mount.join(below))
    }
}

/// Opens a cgroup2 directory.
pub(super) fn open(path: &Path) -> Result<File, Error> {
    let directory = File::open(path).map_err(Error::file(path))?;
    let kind = fstatfs(&directory).map_err(|errno| Error::file(path)(errno.into()))?.filesystem_type();
    if kind == CGROUP2_SUPER_MAGIC {
        Ok(directory)
    } else {
        Err(Error::NotCgroup2 { path: path.to_path_buf(), mount: Cgroups::find()?.mount })
    }
}

/// kernfs's id of a directory is its inode number.
pub(super) fn id(directory: &File, path: &Path) -> Result<u64, Error> {
    directory.metadata().map(|metadata| metadata.ino()).map_err(Error::file(path))
}

/// One line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)), when it is a cgroup2 mount.
fn parse_mount(line: &str) -> Option<Cgroups> {
    let (mount, source) = line.split_once(" - ")?;
    if source.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let root = unescape(fields.next()?);
    let mount = unescape(fields.next()?);
    Some(Cgroups { mount, root })
}

/// The kernel writes blanks and backslashes of a path as `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        match rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    PathBuf::from(out)
}

/// The cgroup2 line of `/proc/PID/cgroup`: `0::/path`.
fn parse_membership(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mount_beside_the_old_hierarchies() {
        let line = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate";
        let found = parse_mount(line).unwrap();
        assert_eq!(found.mount, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(found.root, Path::new("/"));
    }

    #[test]
    fn takes_no_other_mount_for_cgroup2() {
        for line in [
            "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd",
            "31 23 0:28 / /sys/fs/cgroup2 rw,relatime - tmpfs cgroup2 rw",
            "",
            "41 31 0:38 / /sys/fs/cgroup",
            "- cgroup2",
        ] {
            assert!(parse_mount(line).is_none(), "{line}");
        }
    }

    #[test]
    fn undoes_the_escapes_of_a_path() {
        assert_eq!(unescape(r"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescape(r"/a\9"), Path::new(r"/a\9"));
        assert_eq!(unescape(r"/end\"), Path::new(r"/end\"));
    }

    #[test]
    fn reads_the_cgroup2_membership() {
        let text = "9:name=systemd:/\n4:memory:/x\n0::/system.slice/cron.service\n";
        assert_eq!(parse_membership(text).unwrap(), Path::new("/system.slice/cron.service"));
        assert!(parse_membership("4:memory:/x\n").is_none());
    }
}
