//! Which transport a daemon runs on: the ring where it can be had, its twin where something blocks it.

use std::fs;
use std::io;

use nix::errno::Errno;
use serde::Deserialize;

use super::Transport;

/// 0: everybody may make a ring; 1: only processes with `CAP_SYS_ADMIN` or of one group; 2: nobody (Linux 6.6).
const DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";

/// What the configuration asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransportSetting {
    /// io_uring where it is available, else epoll.
    #[default]
    Auto,
    /// io_uring, or no start.
    IoUring,
    /// epoll, whatever is available.
    Epoll,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What the workers run on.
    pub transport: Transport,
    /// Why it is this one; for people.
    pub because: String,
}

/// Why no ring can be made.
#[derive(Debug, thiserror::Error)]
#[error("io_uring is not available: {why}; {remedy}, or set listen.transport = \"auto\" or \"epoll\"")]
pub struct RingError {
    why: String,
    remedy: &'static str,
}

impl TransportSetting {
    /// Tries what is asked for.
    ///
    /// # Errors
    /// When a ring is demanded, and there is none.
    pub fn choose(self) -> Result<Chosen, RingError> {
        let because = match (self, ring()) {
            (Self::Epoll, _) => "listen.transport says so".to_owned(),
            (Self::IoUring, ring) => {
                ring?;
                return Ok(Chosen { transport: Transport::IoUring, because: "listen.transport says so".to_owned() });
            }
            (Self::Auto, Ok(())) => {
                return Ok(Chosen { transport: Transport::IoUring, because: "io_uring is available".to_owned() });
            }
            (Self::Auto, Err(error)) => {
                log::info!("using epoll: io_uring is not available: {}", error.why);
                format!("io_uring is not available: {}", error.why)
            }
        };
        Ok(Chosen { transport: Transport::Epoll, because })
    }
}

/// Makes a ring as a worker would, and drops it.
fn ring() -> Result<(), RingError> {
    // On a thread of its own: a runtime may not be dropped inside another one.
    let made = std::thread::spawn(|| tokio_uring::Runtime::new(&tokio_uring::builder()).map(drop)).join();
    match made {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(RingError::explain(&error, read(DISABLED).as_deref(), has_seccomp())),
        Err(_) => Err(RingError { why: "making a ring panicked".to_owned(), remedy: "report this" }),
    }
}

impl RingError {
    /// What `io_uring_setup(2)` says, in terms of what blocks it.
    fn explain(error: &io::Error, disabled: Option<&str>, seccomp: bool) -> Self {
        let (why, remedy) = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM | Errno::EACCES | Errno::ENOSYS) if disabled == Some("2") => {
                ("kernel.io_uring_disabled is 2", "set it to 0 with sysctl(8)")
            }
            Some(Errno::EPERM | Errno::EACCES) if disabled == Some("1") => (
                "kernel.io_uring_disabled is 1, and the daemon has neither CAP_SYS_ADMIN nor kernel.io_uring_group",
                "give it one of the two, or set the first to 0",
            ),
            Some(Errno::EPERM | Errno::EACCES | Errno::ENOSYS) if seccomp => (
                "a seccomp filter blocks it, as containers have one by default",
                "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile",
            ),
            Some(Errno::EPERM | Errno::EACCES) => ("a security module forbids it", "allow it there"),
            Some(Errno::ENOSYS) => ("this kernel is built without it", "use a kernel with CONFIG_IO_URING"),
            Some(Errno::ENOMEM) => ("there is no memory for it", "raise LimitMEMLOCK"),
            Some(Errno::EMFILE | Errno::ENFILE) => ("there are no file descriptors left", "raise LimitNOFILE"),
            _ => return Self { why: error.to_string(), remedy: "see the kernel's log" },
        };
        Self { why: format!("{why} ({error})"), remedy }
    }
}

fn read(file: &str) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

/// Whether a filter is in force for this process (`Seccomp` in proc_pid_status(5)).
fn has_seccomp() -> bool {
    let status = read("/proc/self/status").unwrap_or_default();
    status.lines().filter_map(|line| line.strip_prefix("Seccomp:")).any(|mode| mode.trim() == "2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blocks_a_ring_is_named_with_its_remedy() {
        for (errno, disabled, seccomp, why, remedy) in [
            (Errno::EPERM, Some("2"), false, "kernel.io_uring_disabled is 2", "sysctl"),
            (Errno::EPERM, Some("1"), true, "kernel.io_uring_disabled is 1", "CAP_SYS_ADMIN"),
            (Errno::EPERM, Some("0"), true, "seccomp", "profile"),
            (Errno::ENOSYS, None, true, "seccomp", "profile"),
            (Errno::ENOSYS, None, false, "built without", "CONFIG_IO_URING"),
            (Errno::EPERM, None, false, "security module", "allow"),
            (Errno::ENOMEM, Some("0"), false, "no memory", "LimitMEMLOCK"),
        ] {
            let error = io::Error::from_raw_os_error(errno as i32);
            let message = RingError::explain(&error, disabled, seccomp).to_string();
            assert!(message.contains(why) && message.contains(remedy), "{errno}: {message}");
            assert!(message.contains("listen.transport = \"auto\" or \"epoll\""), "{message}");
        }
    }

    #[test]
    fn epoll_is_had_for_the_asking() {
        let chosen = TransportSetting::Epoll.choose().unwrap();
        assert_eq!((chosen.transport, chosen.because.as_str()), (Transport::Epoll, "listen.transport says so"));
    }
}
