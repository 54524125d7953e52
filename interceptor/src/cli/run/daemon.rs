//! The life of the daemon: it starts, serves, and is stopped or replaced.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Interval, interval, timeout};

use super::backstop::Guard;
use super::inherit::{Inheritance, Kept, facts};
use super::listeners::{complete, workers};
use super::modes::Modes;
use super::names::Names;
use super::retention::Daily;
use super::settings::{
    audit_settings, budget_limits, capture_settings, check_rules, connection_settings, dialer, host,
    supervisor_settings,
};
use super::state::{PidFile, note_config, note_pins, prepare};
use super::upgrade::{Lost, Program, Successor, UpgradeError};
use super::{Args, Failure, rules, tokens, watching};
use crate::audit::Log;
use crate::capture::{Capture, Catalogue, Flows, Namespaces, Pinned, Prepared};
use crate::config::{Config, StatePaths};
use crate::daemon::handover::Facts;
use crate::daemon::{self, Heart, Supervisor, Workers};
use crate::identity::{Callers, Resolver};
use crate::policy::{Connections, Policy};
use crate::proxy::{Budget, Drain, EndpointsTls, Phase, Shared};
use crate::sinks::{self, PreparedWitnesses, Sinks, Witnesses};
use crate::sys::service::{self, Notice};
use crate::tls::{Authority, CertificateDer, LeafCache, Roots};
use crate::watch::Watch;

/// How often flow records that nobody accepted are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Names whose leaves are kept.
const LEAVES: usize = 1024;

/// How long the last records may take when connections were cut off.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// How long the sinks may take to send the last records.
const LAST_DELIVERIES: Duration = Duration::from_secs(3);

/// How long the last numbers may take.
const LAST_NUMBERS: Duration = Duration::from_secs(2);

/// How long the service manager may take to hear the last of this process.
const LAST_NOTICES: Duration = Duration::from_secs(1);

/// The signals that a daemon acts on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on they are kept. To be called inside the runtime.
    pub(super) fn take() -> std::io::Result<Self> {
        let take = |kind: fn() -> SignalKind| signal(kind());
        let (terminate, interrupt) = (take(SignalKind::terminate)?, take(SignalKind::interrupt)?);
        Ok(Self { terminate, interrupt, hangup: take(SignalKind::hangup)? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What runs, and what must be undone when it stops.
pub(super) struct Daemon {
    capture: Capture,
    names: Names,
    backstop: Guard,
    modes: Modes,
    authority: Arc<Authority>,
    callers: Callers,
    workers: Workers,
    supervisor: Supervisor,
    heart: Option<Heart>,
    drain: Arc<Drain>,
    log: Option<Log>,
    retention: Daily,
    sinks: Option<Sinks>,
    watch: Option<Watch>,
    witnesses: Option<Witnesses>,
    config: Config,
    facts: Facts,
    run: PathBuf,
    pid_file: PidFile,
}

/// Why a daemon serves no more.
enum End {
    Stopped,
    Replaced,
}

type Upgrade = JoinHandle<Result<Successor, UpgradeError>>;

impl Daemon {
    /// Everything that can fail does so before the first connection is redirected, and before a predecessor has given
    /// anything up.
    pub(super) fn start(
        args: &Args,
        (config, file): (Config, &Path),
        paths: &StatePaths,
        inheritance: &mut Inheritance,
    ) -> Result<Self, Failure> {
        // What the configuration gets wrong is found before anything is made.
        let audit_settings = audit_settings(args, &config, paths)?;
        let capture_settings = capture_settings(&config)?;
        let engine = rules::for_daemon(&config.rules, Some(paths))?;
        check_rules(&config.policy, &engine)?;
        let chosen = config.listen.transport.choose()?;
        let modes = Modes::new(&config, &capture_settings.cgroup)?;
        let mut prepared = Prepared::new(&capture_settings, inheritance.take_hold())?;
        let standing = prepared.keep(&inheritance.listening())?.to_vec();
        let Kept { own, foreign } = inheritance.keep(&standing, prepared.netns(), config.listen.port);
        let fresh = complete(&config, &own)?;
        prepare(paths)?;
        let catalogue = Catalogue::new(&config.endpoints, config.capture.catalogue);
        let authority = Arc::new(Authority::load_or_create(&paths.ca(), &catalogue.names(), &host())?);
        let roots = Roots::system(&config.upstream.roots, authority.family())?;
        let tokens = tokens::read_or_create(paths)?;
        let transport = chosen.transport;
        log::debug!("{} upstream roots, {} masking rules", roots.len(), engine.rules().len());
        let endpoint_tls = EndpointsTls::load(&catalogue, authority.family())?;
        let dialer = dialer(&config, roots, transport)?;
        let leaves = leaves(Arc::clone(&authority), &catalogue)?;
        let place = sinks_place(&config, paths, authority.family().to_vec());
        let watch = watching::prepare(&config, paths, place.net.clone())?;
        let witnesses = PreparedWitnesses::new(&config.audit.witnesses, place.clone())?;
        let sinks = sinks::Prepared::new(&config.sinks, place)?;
        // May take seconds, in which a predecessor still serves.
        let lookups = catalogue.resolve();

        let log = inheritance.open_log(audit_settings)?;
        // Noted first: whoever looks after a crash must find what is attached.
        note_pins(&paths.run(), &capture_settings.pin_dir)?;
        note_config(&paths.run(), file)?;
        let mut capture = prepared.attach()?;
        modes.apply(&mut capture)?;
        let namespaces = Namespaces::default();
        let drain = Drain::new();
        let callers = Callers::new(Resolver::new());
        let shared = Arc::new(Shared {
            catalogue: catalogue.clone(),
            flows: capture.flows(),
            namespaces: namespaces.clone(),
            own_netns: capture.listening().netns,
            callers: callers.clone(),
            leaves,
            endpoint_tls,
            tokens,
            proxies: config.proxies.clone(),
            connections: Connections::new(config.connections.clone(), config.strict.clone()),
            policy: Policy::new(config.policy.clone()),
            budget: Budget::new(budget_limits(&config)),
            drain: Arc::clone(&drain),
            settings: connection_settings(&config),
            engine,
        });
        let mut workers = Workers::start(workers(&config), &shared, &log, &dialer)?;
        let heart = start_heart(&mut capture, &workers)?;
        let endpoints = catalogue.describe();
        let names = Names::start(&mut capture, catalogue, &capture_settings, &config, modes.list(), &lookups)?;
        let backstop = Guard::start(&config, paths, modes.list(), &names.endpoints())?;
        let listening = capture.listening();
        workers.adopt(listening, own)?;
        workers.listen(listening, fresh)?;
        let events = capture.take_events().ok_or("the kernel programs' events are taken")?;
        let settings = supervisor_settings(&config, &capture_settings, capture.features(), &modes, paths, chosen);
        let mut supervisor = Supervisor::start(settings, events, namespaces)?;
        supervisor.adopt(&mut capture, &mut workers, foreign);
        let pid_file = PidFile::create(&paths.run())?;
        let retention = Daily::start(config.audit.retention, paths)?;
        inheritance.ready(&log)?;
        // A predecessor's go on until it has handed over; each waits for that.
        let (sinks, witnesses) = (Some(sinks.start(log.key())?), Some(witnesses.start()?));
        let watch = watching::start(watch, &log, supervisor.asks(), &shared.engine)?;
        log::info!(
            "ready: {endpoints} on port {} over {transport}, cgroup {}, pinned at {}",
            config.listen.port,
            capture_settings.cgroup.display(),
            capture_settings.pin_dir.display(),
        );
        let facts = facts(&config, paths);
        let (heart, log, run) = (Some(heart), Some(log), paths.run());
        Ok(Self {
            capture,
            names,
            backstop,
            modes,
            authority,
            callers,
            workers,
            supervisor,
            heart,
            drain,
            log,
            retention,
            sinks,
            watch,
            witnesses,
            config,
            facts,
            run,
            pid_file,
        })
    }

    pub(super) async fn run(mut self, program: Program, mut signals: Signals) -> Result<ExitCode, Failure> {
        let end = self.until_ended(&program, &mut signals).await?;
        match end {
            End::Stopped => {
                service::notify(Notice::Stopping);
                log::info!("stopping");
                self.retention.end();
                self.workers.stop_accepting();
                self.drain(Phase::Stopping, Duration::from_secs(self.config.stop.drain_s), &mut signals).await;
            }
            End::Replaced => {
                // The successor's beats from here on.
                drop(self.heart.take());
                self.workers.stop_accepting();
                self.drain(Phase::Draining, Duration::from_secs(self.config.upgrade.drain_s), &mut signals).await;
            }
        }
        self.stop_watch().await?;
        if let Some(log) = self.log.take() {
            tokio::task::spawn_blocking(|| log.close()).await??;
        }
        self.stop_sinks().await?;
        match end {
            End::Replaced => log::info!("replaced: done"),
            End::Stopped if self.config.capture.detach_on_exit => {
                self.capture.detach()?;
                self.backstop.remove()?;
            }
            End::Stopped => log::info!("{}", after_stop(&self.config.capture.pin)),
        }
        service::flush(LAST_NOTICES);
        Ok(ExitCode::SUCCESS)
    }

    async fn until_ended(&mut self, program: &Program, signals: &mut Signals) -> Result<End, Failure> {
        let mut sweep = interval(SWEEP_EVERY);
        let mut alive = service::watchdog().map(|wanted| interval(wanted / 2));
        let mut upgrade: Option<Upgrade> = None;
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return Ok(End::Stopped),
                _ = signals.interrupt.recv() => return Ok(End::Stopped),
                _ = signals.hangup.recv() => match &upgrade {
                    Some(_) => log::info!("an upgrade is under way already"),
                    None => upgrade = self.begin_upgrade(program),
                },
                prepared = finished(&mut upgrade) => {
                    upgrade = None;
                    match self.finish_upgrade(prepared).await? {
                        Some(end) => return Ok(end),
                        None => continue,
                    }
                }
                () = tick(&mut alive) => service::notify(Notice::Alive),
                task = self.supervisor.next() => {
                    let facts = || daemon::Facts {
                        endpoints: self.names.facts(),
                        audit: self.log.as_ref().and_then(Log::trouble),
                        retention: self.retention.trouble(),
                        backstop: self.backstop.dropped(),
                        ca_days: self.authority.days_left(),
                        sinks: self.sinks.as_ref().map(Sinks::status).unwrap_or_default(),
                        witnesses: self.witnesses.as_ref().map(Witnesses::status).unwrap_or_default(),
                        callers: daemon::CallerFacts {
                            unnamed: self.callers.unnamed(),
                            unreadable: self.callers.unreadable(),
                            stuck: self.callers.stuck(),
                        },
                    };
                    self.supervisor.act(task, &mut self.capture, &mut self.workers, facts);
                }
                changed = self.names.changed() => {
                    changed?;
                    if let Err(e) = self.names.enrol(&mut self.capture) {
                        log::error!("endpoint addresses are not up to date: {e}");
                    }
                    self.backstop.update(&self.names.endpoints());
                }
                _ = sweep.tick() => {
                    self.modes.refresh(&mut self.capture);
                    match self.capture.flows().sweep(Flows::MAX_AGE) {
                        Ok(0) => {}
                        Ok(swept) => log::debug!("{swept} redirected connections never arrived"),
                        Err(e) => log::error!("stale flow records stay: {e}"),
                    }
                }
            }
        }
    }

    /// What it has not looked at by then, the next daemon looks at.
    async fn stop_watch(&mut self) -> Result<(), Failure> {
        if let Some(watch) = self.watch.take() {
            tokio::task::spawn_blocking(|| watch.stop(LAST_NUMBERS)).await?;
        }
        Ok(())
    }

    /// What the sinks have not sent by then, they send after the next start. Witnesses see the last checkpoint.
    async fn stop_sinks(&mut self) -> Result<(), Failure> {
        if let Some(sinks) = self.sinks.take() {
            tokio::task::spawn_blocking(|| sinks.stop(LAST_DELIVERIES)).await?;
        }
        if let Some(witnesses) = self.witnesses.take() {
            tokio::task::spawn_blocking(|| witnesses.stop(LAST_DELIVERIES)).await?;
        }
        Ok(())
    }

    /// Starts a successor, which gets ready while this process serves.
    fn begin_upgrade(&mut self, program: &Program) -> Option<Upgrade> {
        service::notify(Notice::Reloading);
        let patience = Duration::from_secs(self.config.upgrade.ready_s);
        match Successor::start(program, self.facts.clone(), &self.capture, &self.workers, patience) {
            Ok(successor) => Some(tokio::task::spawn_blocking(|| successor.prepared())),
            Err(error) => {
                self.not_replaced(&error);
                None
            }
        }
    }

    /// Hands over to a successor that is prepared. Nothing else happens here meanwhile, so that nothing of the kernel's
    /// is read by two processes.
    async fn finish_upgrade(&mut self, prepared: Result<Successor, UpgradeError>) -> Result<Option<End>, Failure> {
        let successor = match prepared {
            Ok(successor) => successor,
            Err(error) => {
                self.not_replaced(&error);
                return Ok(None);
            }
        };
        let Some(mut log) = self.log.take() else { return Err("the audit log is closed already".into()) };
        let (log, result) = tokio::task::spawn_blocking(move || {
            let result = successor.take_over(&mut log);
            (log, result)
        })
        .await?;
        self.log = Some(log);
        match result {
            Ok(pid) => {
                self.retention.end();
                service::notify(Notice::Replaced(pid));
                log::info!("replaced by process {pid}; {} connections go on here", self.drain.open());
                self.stop_watch().await?;
                self.stop_sinks().await?;
                Ok(Some(End::Replaced))
            }
            Err(Lost::Successor(error)) => {
                // It may have come as far as to write to the maps.
                self.capture.reassert()?;
                self.modes.apply(&mut self.capture)?;
                self.names.enrol(&mut self.capture)?;
                self.pid_file = PidFile::create(&self.run)?;
                self.not_replaced(&error);
                Ok(None)
            }
            Err(Lost::Log(error)) => Err(format!("the audit log is lost in a failed upgrade: {error}").into()),
        }
    }

    fn not_replaced(&mut self, error: &UpgradeError) {
        log::error!("this daemon goes on, the upgrade failed: {error}");
        service::notify(Notice::NotReplaced(&format!("upgrade failed: {error}")));
        self.supervisor.upgrade_failed(error.to_string());
    }

    /// Lets connections end; cuts off what is left at the deadline. A signal to stop brings the deadline forward.
    async fn drain(&mut self, phase: Phase, patience: Duration, signals: &mut Signals) {
        self.drain.enter(phase);
        tokio::select! {
            () = self.ended() => return,
            () = tokio::time::sleep(patience) => {}
            () = signals.stop() => {
                self.drain.enter(Phase::Stopping);
                let _ = timeout(Duration::from_secs(self.config.stop.drain_s), self.ended()).await;
            }
        }
        let open = self.drain.open();
        if open > 0 {
            log::warn!("{open} connections are cut off: their time to end is over");
        }
        self.drain.enter(Phase::Over);
        if timeout(LAST_RECORDS, self.ended()).await.is_err() {
            log::error!("connections do not end: the last records of {} may be missing", self.drain.open());
        }
    }

    /// No connection is open, here or at a predecessor that records through this process.
    async fn ended(&self) {
        self.drain.emptied().await;
        while self.log.as_ref().is_some_and(Log::is_serving) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What becomes of enrolled connections: the programs may have been taken away from under this daemon.
fn after_stop(pins: &Path) -> String {
    match Pinned::find(pins).and_then(|pinned| pinned.map_or(Ok(0), |pinned| pinned.attached())) {
        Ok(0) => "no program is attached any more: connections go direct".to_owned(),
        Ok(_) => "the programs stay attached: enrolled connections are refused until the next start".to_owned(),
        Err(e) => format!("whether the programs stay attached cannot be told: {e}"),
    }
}

/// The end of the successor's preparations; never, when there is none.
async fn finished(upgrade: &mut Option<Upgrade>) -> Result<Successor, UpgradeError> {
    match upgrade {
        Some(running) => running.await.unwrap_or_else(|e| Err(UpgradeError::Io(std::io::Error::other(e)))),
        None => pending().await,
    }
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => pending().await,
    }
}

/// Where the sinks read, and how they reach out. `own`: certificates of the internal CA.
pub(super) fn sinks_place(config: &Config, paths: &StatePaths, own: Vec<CertificateDer<'static>>) -> sinks::Place {
    sinks::Place {
        audit: paths.audit(),
        cursors: paths.sinks(),
        net: sinks::Net { mark: config.capture.mark, own },
        pace: sinks::Pace::default(),
    }
}

/// From here on, a worker that hangs means refused connections.
fn start_heart(capture: &mut Capture, workers: &Workers) -> Result<Heart, Failure> {
    let mut heartbeat = capture.take_heartbeat().ok_or("the heartbeat is taken")?;
    Ok(Heart::start(workers.pulses(), move |at| heartbeat.beat(at))?)
}

/// Leaves for endpoints, and for nothing else that the CA's constraints cover.
fn leaves(authority: Arc<Authority>, catalogue: &Catalogue) -> Result<LeafCache, Failure> {
    let catalogue = catalogue.clone();
    Ok(LeafCache::new(authority, LEAVES)?.only_for(move |name| catalogue.has_leaf(name)))
}
