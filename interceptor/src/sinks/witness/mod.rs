//! Witnesses: others who see each new checkpoint of the log, so that it cannot be put back or written anew unnoticed.
//!
//! A log alone cannot detect that. A witness that speaks [C2SP tlog-witness](https://c2sp.org/tlog-witness) checks that
//! the log only grows, and says so with a cosignature, which is kept beside the log. A directory that the host cannot change
//! afterwards (a share that is written once) gets each checkpoint as a file of its own. Nothing of what the log holds goes
//! to either. Each has a thread, which nothing waits for.

mod directory;
mod remote;
mod runner;
mod settings;
mod status;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use settings::{To as WitnessTo, WitnessSettings};
pub use status::WitnessStatus;

use super::receiver::SetupError;
use super::{Place, finish};
use directory::Directory;
use remote::Remote;
use runner::Runner;
use status::Shared;

/// Why a witness cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error("witness {name}: {source}")]
pub struct WitnessError {
    name: String,
    source: SetupError,
}

/// One of the two.
#[derive(Debug)]
enum Witness {
    Remote(Box<Remote>),
    Directory(Directory),
}

impl Witness {
    fn describe(&self) -> String {
        match self {
            Self::Remote(remote) => remote.describe(),
            Self::Directory(directory) => directory.describe(),
        }
    }
}

/// Witnesses that can work as they are configured, not yet started.
#[derive(Debug)]
pub struct PreparedWitnesses {
    place: Place,
    witnesses: Vec<(WitnessSettings, Witness)>,
}

impl PreparedWitnesses {
    /// Reads the certificates that the settings name.
    ///
    /// # Errors
    /// The first witness that cannot work as it is configured.
    pub fn new(settings: &[WitnessSettings], place: Place) -> Result<Self, WitnessError> {
        let prepared = settings.iter().map(|settings| {
            let witness = match &settings.to {
                WitnessTo::Remote(remote) => {
                    Remote::new(&settings.name, remote, &place).map(Box::new).map(Witness::Remote)
                }
                WitnessTo::Directory(path) => Ok(Witness::Directory(Directory::new(path, &place))),
            };
            let witness = witness.map_err(|source| WitnessError { name: settings.name.clone(), source })?;
            Ok((settings.clone(), witness))
        });
        Ok(Self { witnesses: prepared.collect::<Result<_, WitnessError>>()?, place })
    }

    /// Starts a thread for each.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(self) -> std::io::Result<Witnesses> {
        let (stop, _) = watch::channel(None);
        let mut witnesses = Witnesses { running: Vec::new(), stop };
        for (settings, witness) in self.witnesses {
            let shared = Arc::new(Shared::new(&settings, witness.describe()));
            let (stopped, own, pace) = (witnesses.stop.subscribe(), Arc::clone(&shared), self.place.pace);
            let thread = std::thread::Builder::new()
                .name(format!("witness {}", settings.name).chars().take(15).collect())
                .spawn(move || Runner::new(settings, witness, pace, own).run(stopped))?;
            witnesses.running.push((shared, thread));
        }
        Ok(witnesses)
    }
}

/// Witnesses at work.
#[derive(Debug)]
pub struct Witnesses {
    running: Vec<(Arc<Shared>, std::thread::JoinHandle<()>)>,
    stop: watch::Sender<Option<Instant>>,
}

impl Witnesses {
    /// How each is doing.
    #[must_use]
    pub fn status(&self) -> Vec<WitnessStatus> {
        self.running.iter().map(|(shared, _)| shared.status()).collect()
    }

    /// Shows each the last checkpoint, for as long as `patience`.
    pub fn stop(self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.stop.send_replace(Some(deadline));
        for (shared, thread) in self.running {
            if !finish(thread, deadline) {
                log::warn!("witness {}: still at work; it is asked again after the next start", shared.status().name);
            }
        }
    }
}
