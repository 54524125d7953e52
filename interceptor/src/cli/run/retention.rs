//! What the configuration says of retention, done once a day.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::{User, getuid};

use super::Failure;
use crate::audit::{Author, Clocks, Removal};
use crate::cli::log::retain::retain;
use crate::config::{Retention, StatePaths};
use crate::sys::yield_to_others;

/// After the start of the daemon, which has other things to do first.
const FIRST: Duration = Duration::from_secs(10 * 60);
/// From then on.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs until it is dropped. What is being done then goes on to its end, or is ended by the next daemon.
pub(super) struct Daily {
    _stop: Option<Sender<()>>,
    trouble: Trouble,
}

/// Why the last run removed nothing, or not everything.
type Trouble = Arc<Mutex<Option<String>>>;

impl Daily {
    /// Starts, if there is anything to do.
    pub(super) fn start(retention: Retention, paths: &StatePaths) -> Result<Self, Failure> {
        if retention == Retention::default() {
            return Ok(Self { _stop: None, trouble: Trouble::default() });
        }
        let trouble = Trouble::default();
        let told = Arc::clone(&trouble);
        let (stop, stopped) = channel();
        let (removal, paths) = (Removal::Old(retention.ages()), paths.clone());
        std::thread::Builder::new().name("audit-retention".into()).spawn(move || {
            if let Err(error) = yield_to_others() {
                log::warn!("audit log: retention runs at the priority of everything else: {error}");
            }
            let mut wait = FIRST;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                let failure = once(&removal, &paths).err().map(|failure| failure.to_string());
                if let Some(failure) = &failure {
                    log::error!("audit log: retention: {failure}");
                }
                *told.lock().unwrap_or_else(PoisonError::into_inner) = failure;
                wait = EVERY;
            }
        })?;
        Ok(Self { _stop: Some(stop), trouble })
    }

    /// Why the last run removed nothing, or not everything.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn once(removal: &Removal, paths: &StatePaths) -> Result<(), Failure> {
    let uid = getuid();
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let author = Author { uid: uid.as_raw(), user, reason: "as configured".to_owned() };
    let (plan, done) = retain(paths, removal, Some(&author), Some(Clocks::now()))?;
    if let Some(done) = done.filter(|_| !plan.is_empty()) {
        let (keys, segments) = (plan.keys(), done.segments);
        log::info!(
            "audit log: retention destroyed {keys} keys, rewrote {segments} segments, gave back {} bytes",
            done.freed
        );
    }
    Ok(())
}
