//! `interceptor run`: the daemon.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::num::NonZero;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Global, tokens};
use crate::audit::{self, AuditorPublic, Log};
use crate::capture::{Addresses, Capture, Catalogue, Cgroups, Flows};
use crate::config::{Config, StatePaths};
use crate::identity::Resolver;
use crate::mask::Engine;
use crate::policy::{self, Policy};
use crate::proxy::{self, Budget, BudgetLimits, Shared, Worker};
use crate::sys::{self, Listener, Transport};
use crate::tls::{Authority, LeafCache, Roots, UpstreamTls};
use crate::upstream::Dialer;
use crate::{capture, http};

/// How often endpoint names are resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// How often flow records that nobody accepted are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Names whose leaves are kept.
const LEAVES: usize = 1024;

/// Connections waiting to be accepted by one worker.
const BACKLOG: u32 = 4096;

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
    Daemon::start(args, &config, &paths)?.run()
}

/// What runs, and what must be undone when it stops.
struct Daemon {
    capture: Capture,
    catalogue: Catalogue,
    addresses: Addresses,
    log: Log,
    detach_on_exit: bool,
    _pid_file: PidFile,
}

impl Daemon {
    /// Everything that can fail does so before the first connection is redirected.
    fn start(args: &Args, config: &Config, paths: &StatePaths) -> Result<Self, Failure> {
        // What the configuration gets wrong is found before anything is made.
        let audit_settings = audit_settings(args, config, paths)?;
        let capture_settings = capture_settings(config)?;
        let engine = Engine::builtin()?;
        check_rules(&config.policy, &engine)?;
        let listeners = bind(config)?;
        prepare(paths)?;
        let catalogue = Catalogue::new(&config.endpoints);
        let log = Log::open(audit_settings)?;
        let authority = Arc::new(Authority::load_or_create(&paths.ca(), &catalogue.names(), &host())?);
        let roots = Roots::system(&config.upstream.roots, authority.certificate_der())?;
        let tokens = tokens::read_or_create(paths)?;
        let transport = Transport::probe();
        log::debug!("{} upstream roots, {} masking rules", roots.len(), engine.rules().len());
        let dialer = dialer(config, roots, transport)?;

        let mut capture = Capture::attach(&capture_settings)?;
        let shared = Arc::new(Shared {
            catalogue: catalogue.clone(),
            flows: capture.flows(),
            listening: capture.listening(),
            callers: Resolver::new(),
            leaves: LeafCache::new(authority, LEAVES)?,
            tokens,
            policy: Policy::new(config.policy.clone()),
            budget: Budget::new(budget_limits(config)),
            settings: connection_settings(config),
            engine,
        });
        for (number, listeners) in listeners.into_iter().enumerate() {
            start_worker(number, Arc::clone(&shared), log.worker()?, dialer.clone(), listeners)?;
        }
        let mut addresses = Addresses::new(capture.enrolled()?, Instant::now());
        enrol(&mut capture, &mut addresses, catalogue.resolve())?;
        let pid_file = PidFile::create(&paths.run())?;
        log::info!(
            "ready: {} on port {} over {transport}, cgroup {}, pinned at {}",
            catalogue.names().join(", "),
            config.listen.port,
            capture_settings.cgroup.display(),
            capture_settings.pin_dir.display(),
        );
        Ok(Self {
            capture,
            catalogue,
            addresses,
            log,
            detach_on_exit: config.capture.detach_on_exit,
            _pid_file: pid_file,
        })
    }

    fn run(mut self) -> Result<ExitCode, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.until_stopped())?;
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
        let mut resolve = tokio::time::interval(RESOLVE_EVERY);
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        resolve.reset();
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = resolve.tick() => {
                    let catalogue = self.catalogue.clone();
                    // A resolver may take seconds; sweeping must not wait for it.
                    let resolved = tokio::task::spawn_blocking(move || catalogue.resolve()).await?;
                    if let Err(e) = enrol(&mut self.capture, &mut self.addresses, resolved) {
                        log::error!("endpoint addresses are not up to date: {e}");
                    }
                }
                _ = sweep.tick() => match self.capture.flows().sweep(Flows::MAX_AGE) {
                    Ok(0) => {}
                    Ok(swept) => log::debug!("{swept} redirected connections never arrived"),
                    Err(e) => log::error!("stale flow records stay: {e}"),
                },
            }
        }
    }
}

/// The state directories, closed to others.
fn prepare(paths: &StatePaths) -> Result<(), Failure> {
    let state = fs::DirBuilder::new().recursive(true).mode(0o750).create(paths.root());
    state.map_err(|e| format!("cannot create state directory {}: {e}", paths.root().display()))?;
    for (dir, mode) in [(paths.audit(), 0o750), (paths.run(), 0o750), (paths.keys(), 0o700), (paths.ca(), 0o700)] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&dir)
            .map_err(|e| format!("cannot create {}: {e}", dir.display()))?;
    }
    Ok(())
}

/// A rule for a type that nothing finds would silently never apply.
fn check_rules(policy: &policy::Settings, engine: &Engine) -> Result<(), Failure> {
    let known: BTreeSet<_> = engine.rules().map(|rule| rule.entity.as_str()).collect();
    for rule in &policy.rules {
        if let Some(unknown) = rule.types.iter().find(|kind| !known.iter().any(|entity| kind.matches(entity))) {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(
                format!("policy rule {:?}: no value is of type {:?}; there are {known}", rule.name, unknown.0).into()
            );
        }
    }
    Ok(())
}

fn audit_settings(args: &Args, config: &Config, paths: &StatePaths) -> Result<audit::Settings, Failure> {
    let auditors = config.audit.auditors.iter().map(|file| AuditorPublic::read(file)).collect::<Result<Vec<_>, _>>();
    let auditors = auditors.map_err(|e| format!("audit.auditors: {e}"))?;
    if auditors.is_empty() {
        return Err(
            "no auditor: nobody could ever unseal the originals; make a key pair with `interceptor keys generate \
                    --out auditor.key` and name auditor.key.pub in audit.auditors"
                .into(),
        );
    }
    Ok(audit::Settings {
        dir: paths.audit(),
        keys: paths.keys(),
        host: host(),
        durability: config.audit.durability,
        auditors,
        segment_bytes: config.audit.segment_bytes,
        accept_missing_checkpoint: args.accept_missing_checkpoint,
    })
}

fn capture_settings(config: &Config) -> Result<capture::Settings, Failure> {
    let cgroup = match &config.capture.cgroup {
        Some(cgroup) => cgroup.clone(),
        None => Cgroups::find()?.mount().to_path_buf(),
    };
    if !cgroup.is_dir() {
        return Err(format!("capture.cgroup: {} is not a directory; name a cgroup2 directory", cgroup.display()).into());
    }
    Ok(capture::Settings {
        cgroup,
        pin_dir: config.capture.pin.clone(),
        mark: config.capture.mark,
        listener_port: config.listen.port,
        stale_after: None,
        waiting_per_user: capture::Settings::WAITING_PER_USER,
    })
}

fn budget_limits(config: &Config) -> BudgetLimits {
    let limits = &config.limits;
    BudgetLimits {
        connections: limits.connections.min(sys::descriptors_for_connections()),
        connections_per_user: limits.connections_per_user,
        bytes: limits.buffered_bytes,
        bytes_per_user: limits.buffered_bytes_per_user,
    }
}

fn connection_settings(config: &Config) -> proxy::Settings {
    let limits = &config.limits;
    proxy::Settings {
        http: http::Limits { body: limits.body_bytes as u64, ..http::Limits::default() },
        request_timeout: Duration::from_secs(limits.request_timeout_s),
        keep_alive: Duration::from_secs(limits.keep_alive_s),
        patience: Duration::from_secs(limits.write_timeout_s),
        upstream_idle: Duration::from_secs(config.upstream.idle_timeout_s),
    }
}

fn dialer(config: &Config, roots: Roots, transport: Transport) -> Result<Dialer, Failure> {
    let timeout = Duration::from_secs(config.upstream.connect_timeout_s);
    Ok(Dialer {
        mark: config.capture.mark,
        connect_timeout: timeout,
        handshake_timeout: timeout,
        tls: Arc::new(UpstreamTls::new(roots)?),
        listeners: listener_addresses(config).to_vec(),
        transport,
    })
}

fn listener_addresses(config: &Config) -> [SocketAddr; 2] {
    let port = config.listen.port;
    [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

/// The sockets of every worker, listening before the first connection is redirected to them.
fn bind(config: &Config) -> Result<Vec<Vec<TcpListener>>, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let workers = if config.listen.workers == 0 { cores } else { config.listen.workers };
    // SO_REUSEPORT would let a second daemon share the port and take half of this one's connections.
    for addr in listener_addresses(config) {
        TcpListener::bind(addr).map_err(|e| {
            format!("cannot listen on {addr}: {e}; is another daemon running here? Else choose another listen.port")
        })?;
    }
    let listen = |addr: SocketAddr| {
        Listener::bind_std(addr, BACKLOG)
            .map_err(|e| Failure::from(format!("cannot listen on {addr}: {e}; choose another listen.port")))
    };
    (0..workers).map(|_| listener_addresses(config).into_iter().map(listen).collect()).collect()
}

fn start_worker(
    number: usize,
    shared: Arc<Shared>,
    audit: audit::Worker,
    dialer: Dialer,
    listeners: Vec<TcpListener>,
) -> Result<(), Failure> {
    let scanner = shared.engine.scanner()?;
    let transport = dialer.transport;
    sys::spawn_worker(format!("worker-{number}"), transport, move || async move {
        let listeners = listeners.into_iter().map(|socket| Listener::from_std(socket, transport)).collect();
        match listeners {
            Ok(listeners) => Worker::new(shared, scanner, audit, dialer).serve(listeners).await,
            Err(e) => log::error!("worker {number} cannot use its listeners: {e}"),
        }
    })?;
    Ok(())
}

/// Captures what names resolve to now, and what they resolved to before.
fn enrol(
    capture: &mut Capture,
    addresses: &mut Addresses,
    (found, unresolved): (Vec<SocketAddr>, Vec<String>),
) -> Result<(), Failure> {
    for name in &unresolved {
        log::warn!("endpoint {name}; only addresses known from before are captured until it resolves");
    }
    addresses.learn(&found, unresolved.is_empty(), Instant::now());
    let endpoints = addresses.current();
    capture.enrol(&endpoints)?;
    log::debug!("{} endpoint addresses enrolled", endpoints.len());
    Ok(())
}

fn host() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned())
}

/// Says that the daemon is ready, and who it is; gone after a clean stop.
struct PidFile(PathBuf);

impl PidFile {
    fn create(run: &Path) -> Result<Self, Failure> {
        let path = run.join("daemon.pid");
        fs::write(&path, format!("{}\n", std::process::id()))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.0) {
            log::warn!("cannot remove {}: {e}", self.0.display());
        }
    }
}
