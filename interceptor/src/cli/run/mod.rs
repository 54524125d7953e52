//! `interceptor run`: the daemon.

mod listeners;
mod modes;
mod names;
mod settings;
mod state;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use self::listeners::bind;
use self::modes::Modes;
use self::names::Names;
use self::settings::{
    audit_settings, budget_limits, capture_settings, check_rules, connection_settings, dialer, host,
    supervisor_settings,
};
pub(super) use self::state::daemon_pid;
use self::state::{PidFile, prepare};
use super::{Failure, Global, tokens};
use crate::audit::Log;
use crate::capture::{Capture, Catalogue, Flows, Namespaces};
use crate::config::{Config, StatePaths};
use crate::daemon::{Facts, Heart, Supervisor, Workers};
use crate::identity::Resolver;
use crate::mask::Engine;
use crate::policy::{Connections, Policy};
use crate::proxy::{Budget, Shared};
use crate::sys::{self, Transport};
use crate::tls::{Authority, LeafCache, Roots};

/// How often flow records that nobody accepted are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Names whose leaves are kept.
const LEAVES: usize = 1024;

/// Arguments of `interceptor run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor run --config /etc/interceptor/interceptor.toml
  interceptor run --check --config new.toml
  INTERCEPTOR_LOG=debug interceptor run --state /tmp/state

Stops on SIGTERM or SIGINT. The programs stay attached then (enrolled connections are refused until the next
start) unless capture.detach_on_exit is set.")]
pub(crate) struct Args {
    /// Read the configuration, say what is wrong with it, and start nothing
    #[arg(long)]
    check: bool,
    /// Go on with an audit log whose signed checkpoint is missing or not signed by its key; noted in the log
    #[arg(long)]
    accept_missing_checkpoint: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    if args.check {
        let config = Config::load(global.config.as_deref())?;
        check_rules(&config.policy, &*Engine::builtin()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("the daemon needs root: it loads kernel programs and keeps keys".into());
    }
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("INTERCEPTOR_LOG", "info")).init();
    let config = Config::load(global.config.as_deref())?;
    let paths = StatePaths::resolve(global.state.as_deref(), config.state.as_deref());
    match sys::harden()? {
        sys::MemoryLock::Locked => {}
        sys::MemoryLock::Limited { limit } => log::warn!(
            "memory may be swapped: RLIMIT_MEMLOCK is {limit} bytes; set LimitMEMLOCK=infinity, or run without swap"
        ),
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Daemon::start(args, &config, &paths)?.run().await })
}

/// What runs, and what must be undone when it stops.
struct Daemon {
    capture: Capture,
    names: Names,
    modes: Modes,
    authority: Arc<Authority>,
    log: Log,
    workers: Workers,
    supervisor: Supervisor,
    detach_on_exit: bool,
    _heart: Heart,
    _pid_file: PidFile,
}

impl Daemon {
    /// Everything that can fail does so before the first connection is redirected. To be called inside a runtime.
    fn start(args: &Args, config: &Config, paths: &StatePaths) -> Result<Self, Failure> {
        // What the configuration gets wrong is found before anything is made.
        let audit_settings = audit_settings(args, config, paths)?;
        let capture_settings = capture_settings(config)?;
        let engine = Engine::builtin()?;
        check_rules(&config.policy, &engine)?;
        let modes = Modes::new(config, &capture_settings.cgroup)?;
        let sockets = bind(config)?;
        prepare(paths)?;
        let catalogue = Catalogue::new(&config.endpoints, config.capture.catalogue);
        let log = Log::open(audit_settings)?;
        let authority = Arc::new(Authority::load_or_create(&paths.ca(), &catalogue.names(), &host())?);
        let roots = Roots::system(&config.upstream.roots, authority.certificate_der())?;
        let tokens = tokens::read_or_create(paths)?;
        let transport = Transport::probe();
        log::debug!("{} upstream roots, {} masking rules", roots.len(), engine.rules().len());
        let dialer = dialer(config, roots, transport)?;

        let mut capture = Capture::attach(&capture_settings)?;
        modes.apply(&mut capture)?;
        let namespaces = Namespaces::default();
        let shared = Arc::new(Shared {
            catalogue: catalogue.clone(),
            flows: capture.flows(),
            namespaces: namespaces.clone(),
            own_netns: capture.listening().netns,
            callers: Resolver::new(),
            leaves: leaves(Arc::clone(&authority), &catalogue)?,
            tokens,
            proxies: config.proxies.clone(),
            connections: Connections::new(config.connections.clone(), config.strict.clone()),
            policy: Policy::new(config.policy.clone()),
            budget: Budget::new(budget_limits(config)),
            settings: connection_settings(config),
            engine,
        });
        let mut workers = Workers::start(listeners::workers(config), &shared, &log, &dialer)?;
        workers.listen(capture.listening(), sockets)?;
        let heart = start_heart(&mut capture, &workers)?;
        let endpoints = catalogue.describe();
        let names = Names::start(&mut capture, catalogue, &capture_settings, config, modes.list())?;
        let events = capture.take_events().ok_or("the kernel programs' events are taken")?;
        let settings = supervisor_settings(config, &capture_settings, &modes, paths, transport);
        let mut supervisor = Supervisor::start(settings, events, namespaces)?;
        supervisor.adopt(&mut capture, &mut workers);
        let pid_file = PidFile::create(&paths.run())?;
        log::info!(
            "ready: {endpoints} on port {} over {transport}, cgroup {}, pinned at {}",
            config.listen.port,
            capture_settings.cgroup.display(),
            capture_settings.pin_dir.display(),
        );
        Ok(Self {
            capture,
            names,
            modes,
            authority,
            log,
            workers,
            supervisor,
            detach_on_exit: config.capture.detach_on_exit,
            _heart: heart,
            _pid_file: pid_file,
        })
    }

    /// Serves until it is told to stop.
    async fn run(mut self) -> Result<ExitCode, Failure> {
        self.until_stopped().await?;
        log::info!("stopping");
        self.log.close()?;
        if self.detach_on_exit {
            self.capture.detach()?;
        } else {
            log::info!("the programs stay attached: enrolled connections are refused until the next start");
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn until_stopped(&mut self) -> Result<(), Failure> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                task = self.supervisor.next() => {
                    let facts = || Facts {
                        endpoints: self.names.facts(),
                        audit: self.log.trouble(),
                        ca_days: self.authority.days_left(),
                    };
                    self.supervisor.act(task, &mut self.capture, &mut self.workers, facts);
                }
                changed = self.names.changed() => {
                    changed?;
                    if let Err(e) = self.names.enrol(&mut self.capture) {
                        log::error!("endpoint addresses are not up to date: {e}");
                    }
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
