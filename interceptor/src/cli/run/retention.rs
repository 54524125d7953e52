//! What the configuration says of retention, done once a day.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::{User, getuid};

use super::Failure;
use crate::audit::{Author, Clocks, Error, Removal, RetainError};
use crate::cli::log::retain::retain;
use crate::config::{Retention, StatePaths};
use crate::sys::yield_to_others;

/// After the start of the daemon, which has other things to do first, and when somebody else was at it.
const FIRST: Duration = Duration::from_secs(10 * 60);
/// From then on.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs until it is [ended](Self::end). What is on record as done by then goes on to its end, or is ended by the next daemon.
pub(super) struct Daily {
    stop: Option<Sender<()>>,
    trouble: Trouble,
}

/// Why the last run removed nothing, or not everything.
type Trouble = Arc<Mutex<Option<String>>>;

impl Daily {
    /// Starts, if there is anything to do.
    pub(super) fn start(retention: Retention, paths: &StatePaths) -> Result<Self, Failure> {
        if retention == Retention::default() {
            return Ok(Self { stop: None, trouble: Trouble::default() });
        }
        let trouble = Trouble::default();
        let told = Arc::clone(&trouble);
        let (stop, stopped) = channel();
        let (removal, paths) = (Removal::Old(retention.ages()), paths.clone());
        std::thread::Builder::new().name("audit-retention".into()).spawn(move || {
            yield_to_others();
            let mut wait = FIRST;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                wait = EVERY;
                let failure = once(&removal, &paths, &stopped).err();
                if let Some(failure) = &failure {
                    log::error!("audit log: retention: {failure}");
                    if is_busy(failure) {
                        wait = FIRST;
                    }
                }
                *told.lock().unwrap_or_else(PoisonError::into_inner) = failure.map(|failure| failure.to_string());
            }
        })?;
        Ok(Self { stop: Some(stop), trouble })
    }

    /// Why the last run removed nothing, or not everything.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on nothing is begun: another daemon's configuration counts, which may keep what this one's does not.
    pub(super) fn end(&mut self) {
        self.stop = None;
    }
}

/// Whether it failed because somebody else was at it.
fn is_busy(failure: &Failure) -> bool {
    matches!(failure.downcast_ref(), Some(RetainError::Busy(_) | RetainError::Write(Error::Recording { .. })))
}

fn once(removal: &Removal, paths: &StatePaths, stopped: &Receiver<()>) -> Result<(), Failure> {
    let uid = getuid();
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let author = Author { uid: uid.as_raw(), user, reason: "as configured".to_owned() };
    let wanted = || stopped.try_recv() != Err(TryRecvError::Disconnected);
    let (plan, done) = retain(paths, removal, &author, Some(Clocks::now()), &wanted)?;
    if let Some(done) = done.filter(|_| !plan.is_empty()) {
        let (keys, segments) = (plan.keys(), done.segments);
        log::info!(
            "audit log: retention destroyed {keys} keys, rewrote {segments} segments, gave back {} bytes",
            done.freed
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{
        Ages, AuditorSecret, Class, Durability, Log, Outgoing, Record, Settings, Trust, VerifyingKey, acts,
    };
    use crate::flow::ExchangeId;

    /// A log with a closed segment that holds a prompt.
    fn log(paths: &StatePaths) -> Log {
        let settings = Settings {
            dir: paths.audit(),
            keys: paths.keys(),
            host: "testhost".into(),
            durability: Durability::Power,
            auditors: vec![AuditorSecret::generate().public()],
            threshold: 1,
            segment_bytes: 64 << 10,
            accept_missing_checkpoint: false,
        };
        let log = Log::open(settings.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let outgoing = Outgoing { head: b"POST / HTTP/1.1\r\n\r\n", body: b"{}" };
            let record = Record::new(ExchangeId::new());
            drop(log.worker().unwrap().begin(record, b"original", outgoing).await.unwrap());
        });
        log.close().unwrap();
        Log::open(settings).unwrap()
    }

    #[test]
    fn what_was_planned_before_the_end_is_not_begun_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let paths = StatePaths::at(dir.path());
        let log = log(&paths);
        let removal = Removal::Old(Ages::from([(Class::Prompts, Duration::ZERO)]));
        let done = || {
            let key = VerifyingKey::read(&paths.keys().join("log-signing.pub")).unwrap();
            let trust = Trust { key, checkpoint: None, keys: Some(paths.keys()) };
            acts(&paths.audit(), &trust).unwrap().all().len()
        };
        let (stop, stopped) = channel();
        drop(stop);
        once(&removal, &paths, &stopped).unwrap();
        assert_eq!(done(), 0);
        let (_stop, stopped) = channel();
        let lock = crate::audit::lock(&paths.audit()).unwrap();
        assert!(is_busy(&once(&removal, &paths, &stopped).unwrap_err()));
        drop(lock);
        once(&removal, &paths, &stopped).unwrap();
        assert_eq!(done(), 1);
        log.close().unwrap();
    }
}
