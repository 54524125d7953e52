//! The lab's cgroups: one parent, to which the daemon attaches its programs, and a child each for client, daemon and
//! endpoint.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid, getpgrp};

/// The parents' names are this and the lab's process id.
const PREFIX: &str = "interceptor-lab-";

/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// The places of one lab's processes.
#[derive(Debug)]
pub(crate) struct Cgroups {
    pub(crate) parent: PathBuf,
}

impl Cgroups {
    /// Where the lab with process id `pid` keeps its cgroups; nothing is made.
    pub(crate) fn plan(pid: u32) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        let root = find_cgroup2(&mounts).ok_or_else(|| {
            anyhow!("no cgroup2 file system is mounted; mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
        })?;
        Ok(Self { parent: root.join(format!("{PREFIX}{pid}")) })
    }

    pub(crate) fn create(&self) -> Result<()> {
        for directory in [self.parent.clone(), self.client(), self.daemon(), self.endpoint()] {
            fs::create_dir(&directory).with_context(|| format!("cannot make the cgroup {}", directory.display()))?;
        }
        Ok(())
    }

    pub(crate) fn client(&self) -> PathBuf {
        self.parent.join("client")
    }

    pub(crate) fn daemon(&self) -> PathBuf {
        self.parent.join("daemon")
    }

    pub(crate) fn endpoint(&self) -> PathBuf {
        self.parent.join("endpoint")
    }

    /// Removes what labs left that were killed together with their watchdog: only cgroups of our naming, without
    /// processes, whose lab is gone.
    pub(crate) fn sweep(&self) {
        let Some(entries) = self.parent.parent().and_then(|root| fs::read_dir(root).ok()) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            let abandoned = pid.parse::<u32>().is_ok_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
            if abandoned && matches!(populated(&entry.path()), Ok(false)) {
                let _ = remove(&entry.path());
            }
        }
    }
}

/// Sends a signal to the processes in and below a cgroup that belong to our own process group: what a terminal would
/// do for the part of the job that the lab runs.
pub(crate) fn signal_group(cgroup: &Path, signal: Signal) {
    let own = getpgrp();
    for pid in processes(cgroup) {
        if getpgid(Some(pid)) == Ok(own) {
            let _ = kill(pid, signal);
        }
    }
}

/// Puts the calling process into a cgroup.
pub(crate) fn join(cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0").with_context(|| format!("cannot enter the cgroup {}", cgroup.display()))
}

/// Kills every process in and below a cgroup and waits until they are gone. No cgroup, no processes: that is fine.
pub(crate) fn kill_all(cgroup: &Path) -> Result<()> {
    let deadline = Instant::now() + GONE;
    loop {
        match populated(cgroup) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", cgroup.display())),
        }
        if Instant::now() > deadline {
            bail!("processes in {} do not die", cgroup.display());
        }
        // cgroup.kill is Linux 5.14; before, each process has to be killed, again until no new one appears.
        if fs::write(cgroup.join("cgroup.kill"), "1").is_err() {
            for pid in processes(cgroup) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Kills what is in a cgroup and removes it with everything below.
pub(crate) fn destroy(cgroup: &Path) -> Result<()> {
    kill_all(cgroup)?;
    remove(cgroup).with_context(|| format!("cannot remove the cgroup {}", cgroup.display()))
}

fn remove(cgroup: &Path) -> io::Result<()> {
    if !cgroup.exists() {
        return Ok(());
    }
    for child in children(cgroup) {
        remove(&child)?;
    }
    fs::remove_dir(cgroup)
}

fn populated(cgroup: &Path) -> io::Result<bool> {
    Ok(fs::read_to_string(cgroup.join("cgroup.events"))?.lines().any(|line| line == "populated 1"))
}

/// The processes in and below a cgroup; those that have ended and are still to be waited for are not among them.
pub(crate) fn processes(cgroup: &Path) -> Vec<Pid> {
    let own = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<Pid> = own.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect();
    pids.extend(children(cgroup).iter().flat_map(|child| processes(child)));
    pids
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cgroup) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The mount point of the cgroup2 hierarchy in a `/proc/PID/mountinfo` (proc(5)): the fields after the separator ` - `
/// begin with the type, the fifth before it is the mount point.
fn find_cgroup2(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next()? == "cgroup2").then(|| before.split(' ').nth(4).map(PathBuf::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_cgroup2_mount_beside_version_1_hierarchies() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                      39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(find_cgroup2(hybrid).as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(find_cgroup2("31 23 0:28 / /sys/fs/cgroup rw - cgroup cgroup rw\n"), None);
    }
}
