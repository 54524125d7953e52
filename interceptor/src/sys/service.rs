//! The service manager: what it is told (sd_notify(3)) and what it gives back (sd_listen_fds(3)).
//!
//! Without one, nothing is told and nothing is given.

#![expect(unsafe_code, reason = "inherited descriptors are known by number")]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// What the manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The daemon serves.
    Ready,
    /// It is being replaced.
    Reloading,
    /// It is being stopped.
    Stopping,
    /// It was replaced by this process, which serves.
    Replaced(u32),
    /// It serves, though it was to be replaced.
    NotReplaced(&'a str),
    /// It is alive.
    Alive,
}

/// Variables that are for this process alone: a successor is given its descriptors otherwise.
pub const PERSONAL: [&str; 4] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_PID"];

/// Tells the manager. A manager that cannot be told is logged: nothing depends on it here.
pub fn notify(notice: Notice<'_>) {
    let told = match notice {
        Notice::Ready => sd_notify::notify(&[NotifyState::Ready]),
        Notice::Reloading => {
            NotifyState::monotonic_usec_now().and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now]))
        }
        Notice::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        Notice::Replaced(pid) => sd_notify::notify(&[NotifyState::MainPid(pid), NotifyState::Ready]),
        Notice::NotReplaced(why) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(why)]),
        Notice::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
    };
    if let Err(error) = told {
        log::warn!("cannot tell the service manager ({notice:?}): {error}");
    }
}

/// How often the manager wants to hear [`Notice::Alive`] at least, if it does. Tell it twice as often.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Gives the manager a descriptor to keep for the next start, under a name without colons.
pub fn store(name: &str, descriptor: BorrowedFd<'_>) {
    let states = [NotifyState::FdStore, NotifyState::FdName(name)];
    if let Err(error) = sd_notify::notify_with_fds(&states, &[descriptor]) {
        log::warn!("the service manager does not keep {name}: {error}");
    }
}

/// Tells the manager to close what it keeps under a name.
pub fn forget(name: &str) {
    if let Err(error) = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]) {
        log::warn!("the service manager keeps {name}: {error}");
    }
}

/// The descriptors that the manager kept or opened for this process, with their names. Once; later there are none.
///
/// # Errors
/// When the manager's variables make no sense, or name descriptors that are not open.
pub fn inherited() -> io::Result<Vec<(String, OwnedFd)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let given = sd_notify::listen_fds_with_names()?;
    // SAFETY: the manager opened these for this process, `listen_fds_with_names` found each of them open, and `TAKEN`
    // lets nobody take them twice.
    Ok(given.map(|(number, name)| (name, unsafe { OwnedFd::from_raw_fd(number) })).collect())
}
