//! One process in procfs, held so that its number cannot come to mean another one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::signal::kill;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::status::{self, Stat, TICK};
use crate::capture::{BootTime, Image};

/// Arguments are read up to here.
const MAX_CMDLINE: u64 = 4096;

/// Mounts are read up to here; some 20,000 of them.
const MAX_MOUNTS: u64 = 4 << 20;

/// `stat` and `status` are this long at most, with the largest number of groups (65,536) some 720 KiB; a process with
/// more than fits has unknown groups.
const MAX_STATUS: u64 = 64 * 1024;

/// A process known to be the one that connected.
///
/// An open directory of procfs is bound to its process as a pidfd is: once that process is gone, everything looked up
/// below it fails, even when another process has the number. The start time tells that it was no other already when the
/// directory was opened: it is the one the kernel noted, or, where none was, not later than the connect call.
#[derive(Debug)]
pub(super) struct Process {
    directory: OwnedFd,
    pid: u32,
    stat: Stat,
}

/// Why a process cannot be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// It has exited, or its id is another's by now.
    Gone,
    /// It is there, and procfs does not show it (`hidepid`, see proc(5)).
    Hidden,
}

impl Process {
    /// The process `pid`, if it is alive and is the one that existed at `then`.
    pub(super) fn existing_at(pid: u32, then: BootTime) -> Result<Self, Absent> {
        // Rounded down to a tick, so at most one tick early, never late.
        Self::open(pid, |stat| stat.started_at <= then)
    }

    /// The process `pid`, if it is alive and is the one that started at `then`, to the nanosecond.
    pub(super) fn started(pid: u32, then: BootTime) -> Result<Self, Absent> {
        let ticks = then.as_nanos() / TICK;
        Self::open(pid, |stat| stat.started_at.as_nanos() / TICK == ticks)
    }

    fn open(pid: u32, is_it: impl FnOnce(&Stat) -> bool) -> Result<Self, Absent> {
        let path = format!("/proc/{pid}");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(Path::new(&path), flags, Mode::empty()).map_err(|_| absent(pid))?;
        let text = read(&directory, "stat", MAX_STATUS).map_err(|_| absent(pid))?;
        let stat = status::stat(&text).filter(is_it).ok_or(Absent::Gone)?;
        Ok(Self { directory, pid, stat })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// When it started, to a hundredth of a second.
    pub(super) fn started_at(&self) -> BootTime {
        self.stat.started_at
    }

    /// Its parent when it was opened, if that one is alive.
    pub(super) fn parent(&self) -> Option<Self> {
        // Not younger than its child, or it is another one.
        Self::existing_at(self.stat.parent, self.started_at()).ok()
    }

    /// Whether it still runs that program.
    pub(super) fn runs(&self, image: Image) -> bool {
        let now = read(&self.directory, "stat", MAX_STATUS).ok().and_then(|text| status::stat(&text));
        now.is_some_and(|now| now.image == image)
    }

    /// Name of its first thread.
    pub(super) fn comm(&self) -> Option<String> {
        let raw = read(&self.directory, "comm", MAX_STATUS).ok()?;
        Some(String::from_utf8_lossy(raw.strip_suffix(b"\n").unwrap_or(&raw)).into_owned())
    }

    /// A number that stands alone in a file.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let raw = read(&self.directory, name, MAX_STATUS).ok()?;
        std::str::from_utf8(&raw).ok()?.trim().parse().ok()
    }

    /// The file of what it runs, even when that has been removed.
    pub(super) fn open_exe(&self) -> Option<File> {
        // Nothing that is executed blocks, but what stands behind the link is another's choice.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        openat(&self.directory, "exe", flags, Mode::empty()).ok().map(File::from)
    }

    /// What it runs, as a path descriptor: the file is not opened, its file system not asked.
    pub(super) fn exe_path(&self) -> Option<OwnedFd> {
        openat(&self.directory, "exe", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()
    }

    /// The mounts of its mount namespace, as proc_pid_mountinfo(5) has them.
    pub(super) fn mounts(&self) -> Option<String> {
        let raw = read(&self.directory, "mountinfo", MAX_MOUNTS).ok()?;
        Some(String::from_utf8_lossy(&raw).into_owned())
    }

    /// Its user namespace, as in `/proc/PID/ns/user`.
    pub(super) fn user_namespace(&self) -> Option<PathBuf> {
        self.link("ns/user")
    }

    /// The root of its mount namespace, when that is the one of this inode.
    pub(super) fn root_in(&self, mount_namespace: u32) -> Option<OwnedFd> {
        if self.link("ns/mnt")? != Path::new(&format!("mnt:[{mount_namespace}]")) {
            return None;
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(&self.directory, "root", flags, Mode::empty()).ok()
    }

    pub(super) fn exe(&self) -> Option<PathBuf> {
        self.link("exe")
    }

    pub(super) fn cwd(&self) -> Option<PathBuf> {
        self.link("cwd")
    }

    /// None for a process without arguments to show: a zombie, a kernel thread.
    pub(super) fn cmdline(&self) -> Option<Vec<String>> {
        let raw = read(&self.directory, "cmdline", MAX_CMDLINE).ok()?;
        status::cmdline(&raw)
    }

    /// Supplementary group ids.
    pub(super) fn groups(&self) -> Option<Vec<u32>> {
        let raw = read(&self.directory, "status", MAX_STATUS).ok()?;
        status::groups(&raw)
    }

    fn link(&self, name: &str) -> Option<PathBuf> {
        readlinkat(&self.directory, name).ok().map(|target: OsString| PathBuf::from(target))
    }
}

/// Whether the process ids in `/proc` are those of the initial PID namespace, which the kernel programs record.
pub(super) fn sees_host_pids() -> bool {
    /// `PROC_PID_INIT_INO` of the kernel: the initial PID namespace has this inode on every host.
    const INITIAL: &str = "pid:[4026531836]";
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|namespace| namespace == Path::new(INITIAL))
}

/// Whether a process that procfs does not show is there all the same.
fn absent(pid: u32) -> Absent {
    let Ok(pid) = i32::try_from(pid) else { return Absent::Gone };
    match kill(Pid::from_raw(pid), None) {
        Ok(()) | Err(Errno::EPERM) => Absent::Hidden,
        Err(_) => Absent::Gone,
    }
}

fn read(directory: &OwnedFd, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let file: File = openat(directory, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.into();
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_this_very_process() {
        let process = Process::existing_at(std::process::id(), BootTime::now()).expect("it is alive");
        assert_eq!(process.parent().expect("a parent").pid(), std::os::unix::process::parent_id());
        assert_eq!(process.exe().unwrap(), std::env::current_exe().unwrap());
        assert_eq!(process.cwd().unwrap(), std::env::current_dir().unwrap());
        let arguments: Vec<_> = std::env::args().collect();
        assert_eq!(process.cmdline().unwrap(), arguments);
    }

    #[test]
    fn a_process_that_started_after_the_connection_is_not_its_caller() {
        let started_at = Process::existing_at(std::process::id(), BootTime::now()).unwrap().started_at();
        let before = BootTime::from_nanos(started_at.as_nanos() - TICK);
        assert_eq!(Process::existing_at(std::process::id(), before).unwrap_err(), Absent::Gone);
    }

    #[test]
    fn a_process_with_the_same_id_that_started_at_another_time_is_another_one() {
        let own = std::process::id();
        let started_at = Process::existing_at(own, BootTime::now()).unwrap().started_at().as_nanos();
        for (nanos, same) in [
            (started_at, true),
            (started_at + TICK - 1, true),
            (started_at - 1, false),
            (started_at + TICK, false),
            (BootTime::now().as_nanos() + TICK, false),
        ] {
            assert_eq!(Process::started(own, BootTime::from_nanos(nanos)).is_ok(), same, "{nanos} and {started_at}");
        }
    }

    #[test]
    fn another_image_is_not_the_one_that_runs() {
        let process = Process::existing_at(std::process::id(), BootTime::now()).unwrap();
        let image = process.stat.image;
        assert!(image.arg_start != 0 && process.runs(image));
        assert!(!process.runs(Image { arg_start: image.arg_start + 16, ..image }));
    }

    #[test]
    fn a_process_that_has_gone_is_unknown() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let now = BootTime::from_nanos(BootTime::now().as_nanos() + TICK);
        let process = Process::existing_at(child.id(), now).expect("it is alive");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((process.exe(), process.cmdline(), process.groups()), (None, None, None));
        assert_eq!(Process::existing_at(child.id(), now).unwrap_err(), Absent::Gone);
    }
}
