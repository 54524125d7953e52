//! The service manager: what it is told (sd_notify(3)) and what it gives back (sd_listen_fds(3)).
//!
//! Without one, nothing is told and nothing is given.

#![expect(unsafe_code, reason = "inherited descriptors are known by number")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
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

/// Tells the manager, in the order of the calls, and waits for nothing: a manager that does not listen must not keep the
/// daemon from anything. One that cannot be told is logged.
pub fn notify(notice: Notice<'_>) {
    static ALIVE: AtomicBool = AtomicBool::new(false);
    let own = match notice {
        // One that was not heard yet says as much as two.
        Notice::Alive if ALIVE.swap(true, Ordering::SeqCst) => return,
        Notice::NotReplaced(why) => Said::NotReplaced(why.to_owned()),
        Notice::Ready => Said::Plain(vec![NotifyState::Ready]),
        Notice::Stopping => Said::Plain(vec![NotifyState::Stopping]),
        Notice::Replaced(pid) => Said::Plain(vec![NotifyState::MainPid(pid), NotifyState::Ready]),
        Notice::Alive => Said::Plain(vec![NotifyState::Watchdog]),
        Notice::Reloading => {
            let now = NotifyState::monotonic_usec_now().ok();
            Said::Plain([NotifyState::Reloading].into_iter().chain(now).collect())
        }
    };
    let alive = notice == Notice::Alive;
    tell(move || {
        let told = match own {
            Said::Plain(states) => sd_notify::notify(&states),
            Said::NotReplaced(why) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&why)]),
        };
        if alive {
            ALIVE.store(false, Ordering::SeqCst);
        }
        told
    });
}

enum Said {
    Plain(Vec<NotifyState<'static>>),
    NotReplaced(String),
}

type Telling = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// Does it on the thread that talks to the manager, after what is still to be told; not at all without a manager.
fn tell(telling: impl FnOnce() -> io::Result<()> + Send + 'static) {
    static QUEUE: OnceLock<Option<Sender<Telling>>> = OnceLock::new();
    let queue = QUEUE.get_or_init(|| {
        std::env::var_os("NOTIFY_SOCKET")?;
        let (queue, tellings) = channel::<Telling>();
        let run = move || {
            for telling in tellings {
                if let Err(error) = telling() {
                    log::warn!("cannot tell the service manager: {error}");
                }
            }
        };
        std::thread::Builder::new().name("service-manager".to_owned()).spawn(run).ok().map(|_| queue)
    });
    if let Some(queue) = queue {
        // The thread ends with the process.
        let _ = queue.send(Box::new(telling));
    }
}

/// Waits until the manager was told everything, but not longer than `patience`. To be called before the process ends.
pub fn flush(patience: Duration) {
    let (done, all) = channel();
    tell(move || {
        let _ = done.send(());
        Ok(())
    });
    // Without a manager the sender is dropped at once.
    let _ = all.recv_timeout(patience);
}

/// How often the manager wants to hear [`Notice::Alive`] at least, if it does. Tell it twice as often.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Gives the manager a descriptor to keep for the next start, under a name without colons.
pub fn store(name: &str, descriptor: BorrowedFd<'_>) {
    let name = name.to_owned();
    match descriptor.try_clone_to_owned() {
        Ok(descriptor) => tell(move || {
            sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(&name)], &[descriptor.as_fd()])
        }),
        Err(error) => log::warn!("the service manager does not keep {name}: {error}"),
    }
}

/// Tells the manager to close what it keeps under a name.
pub fn forget(name: &str) {
    let name = name.to_owned();
    tell(move || sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)]));
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
