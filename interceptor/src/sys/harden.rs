//! What the process does once, at start, so that keys and prompts do not leave it by way of a core dump, a debugger or
//! swap.

#![expect(unsafe_code, reason = "mlockall with MCL_ONFAULT has no safe wrapper")]

use std::io;

use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// `CAP_IPC_LOCK`: locks memory past `RLIMIT_MEMLOCK` (capabilities(7)).
const CAP_IPC_LOCK: u32 = 14;

/// A protection that could not be set. The daemon should not start without it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {source}")]
pub struct HardenError {
    what: &'static str,
    source: io::Error,
}

/// Whether memory is kept from swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "memory that may be swapped is worth a warning"]
pub enum MemoryLock {
    /// Pages stay in memory from their first use on.
    Locked,
    /// `RLIMIT_MEMLOCK` (bytes) is finite and `CAP_IPC_LOCK` missing. Locking future memory under a limit would make
    /// allocations fail later, so nothing is locked. Remedy: `LimitMEMLOCK=infinity`, or no swap.
    Limited {
        /// The limit, in bytes.
        limit: u64,
    },
}

/// Forbids core dumps, attaching debuggers and gaining privileges by exec; keeps memory from swap where permitted.
///
/// Call it before secrets are read and before threads start. It cannot be undone.
///
/// # Errors
/// The step that failed. A missing right to lock memory is no error but [`MemoryLock::Limited`].
pub fn harden() -> Result<MemoryLock, HardenError> {
    let step = |what, result: io::Result<()>| result.map_err(|source| HardenError { what, source });
    // First: the file belongs to root once the process is not dumpable.
    step("empty /proc/self/coredump_filter", std::fs::write("/proc/self/coredump_filter", "0"))?;
    step("set RLIMIT_CORE to 0", setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(io::Error::from))?;
    step("make the process undumpable", prctl::set_dumpable(false).map_err(io::Error::from))?;
    step("forbid new privileges", prctl::set_no_new_privs().map_err(io::Error::from))?;
    lock_memory().map_err(|source| HardenError { what: "lock memory", source })
}

fn lock_memory() -> io::Result<MemoryLock> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    if !has_capability(CAP_IPC_LOCK)? {
        if hard != RLIM_INFINITY {
            return Ok(MemoryLock::Limited { limit: hard });
        }
        if soft != RLIM_INFINITY {
            setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard)?;
        }
    }
    // On fault: without it, every reserved stack and arena would be made resident at once.
    // SAFETY: mlockall takes no pointers and changes no mapping's contents.
    let locked = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if locked == 0 { Ok(MemoryLock::Locked) } else { Err(io::Error::last_os_error()) }
}

/// Reads the effective set from `/proc/self/status` (`CapEff`, hexadecimal).
fn has_capability(capability: u32) -> io::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status has no CapEff"))?;
    Ok(effective & (1 << capability) != 0)
}

/// Descriptors kept for the log, the programs and what libraries open.
const RESERVED_DESCRIPTORS: u64 = 256;

/// Raises the limit of open files to what is permitted, and says how many there are for connections and listeners. Running
/// out of them would stop everyone's connections, and the log.
#[must_use]
pub fn descriptors() -> usize {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    match raised {
        Ok(limit) => usize::try_from(limit.saturating_sub(RESERVED_DESCRIPTORS)).unwrap_or(usize::MAX),
        Err(errno) => {
            log::warn!("the limit of open files cannot be raised: {errno}");
            2 * RESERVED_DESCRIPTORS as usize
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const CHILD: &str = "INTERCEPTOR_TEST_HARDEN";

    /// Hardening cannot be undone, so it is done in a process of its own: this test, run again.
    #[test]
    fn a_hardened_process_cannot_be_dumped_or_gain_privileges() {
        if std::env::var_os(CHILD).is_none() {
            let this = std::env::current_exe().unwrap();
            let name = "sys::harden::tests::a_hardened_process_cannot_be_dumped_or_gain_privileges";
            let child = Command::new(this).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
            assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
            assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
            return;
        }
        let lock = harden().unwrap();
        assert!(!prctl::get_dumpable().unwrap());
        assert!(prctl::get_no_new_privs().unwrap());
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap().trim();
        match lock {
            MemoryLock::Locked => assert_ne!(locked, "0 kB"),
            MemoryLock::Limited { limit } => assert!(locked == "0 kB" && limit != RLIM_INFINITY),
        }
    }
}
