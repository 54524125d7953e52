//! One process in procfs, held so that its number cannot come to mean another one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;

use super::status;
use crate::capture::BootTime;

/// Arguments are read up to here.
const MAX_CMDLINE: u64 = 4096;

/// `stat` and `status` are this long at most, with the largest number of groups (65,536) some 720 KiB; a process with
/// more than fits has unknown groups.
const MAX_STATUS: u64 = 64 * 1024;

/// A process known to be the one that connected.
///
/// An open directory of procfs is bound to its process as a pidfd is: once that process is gone, everything looked up
/// below it fails, even when another process has the number. The start time tells that it was no other already when the
/// directory was opened: whoever connected at some time has started before.
#[derive(Debug)]
pub(super) struct Process {
    directory: OwnedFd,
    started_at: BootTime,
}

impl Process {
    /// The process `pid`, if it is alive and is the one that existed at `connected_at`.
    pub(super) fn of(pid: u32, connected_at: BootTime) -> Option<Self> {
        let path = format!("/proc/{pid}");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(Path::new(&path), flags, Mode::empty()).ok()?;
        let stat = read(&directory, "stat", MAX_STATUS).ok()?;
        let started_at = status::start_time(&stat)?;
        // Rounded down to a tick, so at most one tick early, never late.
        (started_at <= connected_at).then_some(Self { directory, started_at })
    }

    /// When it started, to a hundredth of a second.
    pub(super) fn started_at(&self) -> BootTime {
        self.started_at
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

fn read(directory: &OwnedFd, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let file: File = openat(directory, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.into();
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nanoseconds of a tick of the process start times.
    const TICK: u64 = 1_000_000_000 / status::USER_HZ;

    #[test]
    fn knows_this_very_process() {
        let process = Process::of(std::process::id(), BootTime::now()).expect("it is alive");
        assert_eq!(process.exe().unwrap(), std::env::current_exe().unwrap());
        assert_eq!(process.cwd().unwrap(), std::env::current_dir().unwrap());
        let arguments: Vec<_> = std::env::args().collect();
        assert_eq!(process.cmdline().unwrap(), arguments);
    }

    #[test]
    fn a_process_that_started_after_the_connection_is_not_its_caller() {
        let started_at = Process::of(std::process::id(), BootTime::now()).unwrap().started_at();
        let before = BootTime::from_nanos(started_at.as_nanos() - TICK);
        assert!(Process::of(std::process::id(), before).is_none());
    }

    #[test]
    fn a_process_that_has_gone_is_unknown() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let now = BootTime::from_nanos(BootTime::now().as_nanos() + TICK);
        let process = Process::of(child.id(), now).expect("it is alive");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((process.exe(), process.cmdline(), process.groups()), (None, None, None));
        assert!(Process::of(child.id(), now).is_none());
    }
}
