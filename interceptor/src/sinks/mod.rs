//! Finished records, alerts and other notes on their way to other systems: each configured sink sends them at least
//! once, in order.
//!
//! The audit log is the spool: what a receiver has not taken is still there, and nothing is stored twice. A sink has a
//! thread of its own, which never touches traffic, and a cursor below the state directory that moves only when the
//! receiver has taken what is before it. Content is masked: what is sealed is not even read here.
//!
//! ```text
//! audit::Follower ── records that ended and notes, covered by a signed checkpoint
//!   └─ runner     batches, back-off, refused records, the cursor
//!      └─ event      a record, note or checkpoint in the sink's format
//!         └─ receiver   file | stdout | syslog | webhook | hec | otlp | s3
//! ```

mod backoff;
mod collector;
mod cursor;
mod event;
mod file;
mod hec;
mod http;
mod net;
mod otlp;
mod receiver;
mod runner;
mod s3;
mod settings;
mod status;
mod syslog;
mod thread;
mod webhook;
mod witness;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use backoff::Pace;
pub use collector::Collector;
pub use cursor::{Cursor, CursorError};
pub use net::Net;
pub use receiver::SetupError;
#[doc(hidden)]
pub use receiver::fuzz_answer;
pub(crate) use receiver::printable;
pub use settings::{CollectorSettings, Destination, Settings, Start, Target, Tls};
pub use status::SinkStatus;
pub use witness::{PreparedWitnesses, WitnessError, WitnessSettings, WitnessStatus, WitnessTo, Witnesses};

use crate::audit::{Follower, Stream, VerifyingKey};
use receiver::Receiver;
use runner::Runner;
use status::Shared;

/// Why a sink cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("sink {name}: {source}")]
pub struct Error {
    name: String,
    source: SetupError,
}

/// Where sinks read, and how they reach out.
#[derive(Clone, Debug)]
pub struct Place {
    /// The directory of the audit log.
    pub audit: PathBuf,
    /// The directory of the cursors; made when absent.
    pub cursors: PathBuf,
    /// How connections are made.
    pub net: Net,
    /// How long is waited for what.
    pub pace: Pace,
}

/// The running sinks.
#[derive(Debug)]
pub struct Sinks {
    /// The directory of the audit log and what signs it, where there are sinks.
    log: Option<(PathBuf, VerifyingKey)>,
    running: Vec<Running>,
    stop: watch::Sender<Option<Instant>>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    fn status(&self, frames: u64) -> SinkStatus {
        let mut status = self.shared.status(frames);
        if self.thread.is_finished() {
            status.error = Some("its thread has ended; restart the daemon, and see its log for why".to_owned());
        }
        status
    }
}

/// Sinks whose settings and secrets are in order, not yet started.
#[derive(Debug)]
pub struct Prepared {
    place: Place,
    sinks: Vec<(Settings, Receiver)>,
}

impl Prepared {
    /// Reads the secrets and certificates that the settings name.
    ///
    /// # Errors
    /// The first sink that cannot work as it is configured.
    pub fn new(settings: &[Settings], place: Place) -> Result<Self, Error> {
        let prepared = settings.iter().map(|settings| {
            let receiver = Receiver::new(settings, &place.net);
            let receiver = receiver.map_err(|source| Error { name: settings.name.clone(), source })?;
            Ok((settings.clone(), receiver))
        });
        Ok(Self { sinks: prepared.collect::<Result<_, Error>>()?, place })
    }

    /// Whether each could write where it is told to on this host, as far as that can be told without sending.
    ///
    /// # Errors
    /// The first sink that could not.
    pub fn check(&self) -> Result<(), Error> {
        self.sinks.iter().try_for_each(|(settings, receiver)| {
            receiver.check().map_err(|source| Error { name: settings.name.clone(), source })
        })
    }

    /// Starts a thread for each sink, which sends what `key` has signed. Where another process still works for a sink, its thread waits for the end of
    /// that.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(self, key: &VerifyingKey) -> std::io::Result<Sinks> {
        let (stop, _) = watch::channel(None);
        let mut sinks = Sinks { log: Some((self.place.audit.clone(), key.clone())), running: Vec::new(), stop };
        for (settings, receiver) in self.sinks {
            let shared = Arc::new(Shared::new(&settings, receiver.describe()));
            let stopped = sinks.stop.subscribe();
            let (place, key, own) = (self.place.clone(), key.clone(), Arc::clone(&shared));
            let thread = std::thread::Builder::new()
                .name(format!("sink {}", settings.name).chars().take(15).collect())
                .spawn(move || Runner::new(settings, receiver, place, key, own).run(stopped))?;
            sinks.running.push(Running { shared, thread });
        }
        Ok(sinks)
    }
}

impl Sinks {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self { log: None, running: Vec::new(), stop: watch::channel(None).0 }
    }

    /// How each is doing.
    #[must_use]
    pub fn status(&self) -> Vec<SinkStatus> {
        let Some((audit, key)) = &self.log else { return Vec::new() };
        let frames = Follower::end(audit, Stream::Log, key).from;
        self.running.iter().map(|sink| sink.status(frames)).collect()
    }

    /// Lets each sink send what the log holds for it, for as long as `patience`; one whose receiver does not answer is
    /// not waited for. What was not sent is sent after the next start.
    pub fn stop(self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.stop.send_replace(Some(deadline));
        for Running { shared, thread } in self.running {
            if !finish(thread, deadline) {
                log::warn!("sink {}: still at work; what it has not sent is sent after the next start", shared.name());
            }
        }
    }
}

/// Waits until a thread has ended that was told to by `deadline`. One that hangs in a system call, on a pipe that nobody
/// reads, ends with the process: false.
fn finish(thread: std::thread::JoinHandle<()>, deadline: Instant) -> bool {
    let grace = deadline + Duration::from_millis(500);
    while !thread.is_finished() && Instant::now() < grace {
        std::thread::sleep(Duration::from_millis(5));
    }
    let is_finished = thread.is_finished();
    if is_finished {
        drop(thread.join());
    }
    is_finished
}
