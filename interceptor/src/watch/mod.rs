//! Watching: what the log and the daemon say, as metrics, and as alerts.
//!
//! A thread of its own follows the log, as a sink does, counts what records say, and tells the alert rules. So the path of
//! a request has nothing to do with it, and what is counted is what is in the log. How the daemon is it asks, as
//! `interceptor status` does. An alert is a note of the log: tamper-evident, and on its way to every sink.
//!
//! ```text
//! audit::Follower ─┬─ totals ──┐
//!                  └─ rules ───│─> a note of the log for each alert, and each access to sealed content
//! daemon::Status ──┬─ rules    │
//!                  └─ gauges ──┴─ family ─┬─ serve    text for Prometheus
//! audit::Probe ──────┘                    └─ push     OTLP
//! ```

mod accesses;
mod family;
mod gauges;
mod push;
mod refusals;
mod rules;
mod serve;
mod settings;
mod thread;
mod totals;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

pub use settings::{AlertRule, Per, Settings, When};

use accesses::Accesses;
use family::{Family, Kind};
use push::Push;
use rules::Rules;
use serve::Bound;
use thread::Thread;
use totals::Totals;

use crate::audit::{Log, Probe};
use crate::daemon::Asks;
use crate::flow::Severity;
use crate::sinks::{Collector, Net, SetupError};

/// How long the daemon may take to say how it is.
const ANSWER: Duration = Duration::from_secs(3);

/// Why it cannot be watched as configured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had.
    #[error("metrics.listen {address}: {source}")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The receiver cannot be used.
    #[error("metrics.otlp: {0}")]
    Otlp(#[from] SetupError),
}

/// Where to watch.
#[derive(Clone, Debug)]
pub struct Place {
    /// The directory of the audit log.
    pub audit: PathBuf,
    /// The directory of the sinks' cursors; made when absent.
    pub cursors: PathBuf,
    /// The host's name.
    pub host: String,
    /// How connections are made.
    pub net: Net,
}

/// What is configured, in order and not yet started.
#[derive(Debug)]
pub struct Prepared {
    place: Place,
    alerts: Vec<AlertRule>,
    bound: Option<Bound>,
    push: Option<(Collector, Duration)>,
}

/// The running threads.
#[derive(Debug)]
pub struct Watch {
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

/// When the daemon wants to end.
type Stop = watch::Receiver<bool>;

impl Prepared {
    /// Takes the address, reads the secrets and certificates that the settings name.
    ///
    /// # Errors
    /// The first thing that cannot work as it is configured.
    pub fn new(settings: &Settings, alerts: &[AlertRule], place: Place) -> Result<Self, Error> {
        let push = match &settings.otlp {
            Some(otlp) => Some((Collector::new(otlp, &place.net)?, Duration::from_secs(settings.interval_s))),
            None => None,
        };
        let bound = match settings.listen {
            Some(address) => Some(Bound::new(address).map_err(|source| Error::Listen { address, source })?),
            None => None,
        };
        Ok(Self { place, alerts: alerts.to_vec(), bound, push })
    }

    /// Starts. `severities` are those of the masking rules, by name.
    ///
    /// # Errors
    /// When the system gives no thread, or somebody else listens by now.
    pub fn start(self, log: &Log, asks: Asks, severities: HashMap<String, Severity>) -> std::io::Result<Watch> {
        let (stop, _) = watch::channel(false);
        let totals = Arc::new(Mutex::new(Totals::new()));
        let source =
            Source { totals: Arc::clone(&totals), asks: asks.clone(), probe: log.probe(), rules: severities.len() };
        let mut watch = Watch { threads: Vec::new(), stop };
        let rules = Rules::new(self.alerts, severities);
        let (audit, key) = (self.place.audit, log.key().clone());
        let accesses = Accesses::new(audit.clone(), key.clone(), self.place.cursors);
        let thread = Thread::new((audit, key), rules, totals, accesses, (log.notes(), log.probe(), asks));
        watch.spawn("watch", move |stop| thread.work(stop))?;
        if let Some(bound) = self.bound {
            let source = source.clone();
            log::info!("metrics: http://{}/metrics", bound.address());
            watch.spawn("metrics", move |stop| bound.serve(source, stop))?;
        }
        if let Some((collector, every)) = self.push {
            log::info!("metrics: {} every {} s", collector.describe(), every.as_secs());
            let push = Push::new(collector, every, self.place.host);
            watch.spawn("metrics-otlp", move |stop| push.work(source, stop))?;
        }
        Ok(watch)
    }
}

impl Watch {
    fn spawn<F: Future<Output = ()>>(
        &mut self,
        name: &str,
        work: impl FnOnce(Stop) -> F + Send + 'static,
    ) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = self.stop.subscribe();
        let run = move || {
            crate::sys::yield_to_others();
            runtime.block_on(work(stop));
            // A look-up of a name that hangs must not keep the daemon.
            runtime.shutdown_background();
        };
        self.threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(run)?);
        Ok(())
    }

    /// Ends it. What was not looked at yet, the next daemon looks at.
    pub fn stop(self, patience: Duration) {
        self.stop.send_replace(true);
        let deadline = Instant::now() + patience;
        for thread in self.threads {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            // A thread that hangs in a system call ends with the process.
            if thread.is_finished() {
                drop(thread.join());
            }
        }
    }
}

/// Where the numbers are.
#[derive(Clone, Debug)]
struct Source {
    totals: Arc<Mutex<Totals>>,
    asks: Asks,
    probe: Probe,
    rules: usize,
}

impl Source {
    /// All metrics, as of now; those of the daemon's status only when it answers in time.
    async fn families(&self) -> Vec<Family> {
        let status = timeout(ANSWER, self.asks.status()).await.ok().flatten();
        let mut families = self.totals.lock().unwrap_or_else(PoisonError::into_inner).families();
        families.extend(status.iter().flat_map(gauges::of_status));
        families.extend(self.probe.condition().into_iter().flat_map(gauges::of_log));
        let help = "Masking rules in force";
        families.push(Family::new(Kind::Gauge, "interceptor_masking_rules", help).of(self.rules as f64));
        families
    }
}

/// Done when the daemon wants to end.
async fn stopping(stop: &mut Stop) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is there any more who could say so.
        std::future::pending::<()>().await;
    }
}
