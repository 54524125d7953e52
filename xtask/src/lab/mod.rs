//! `cargo xtask lab`: runs a command as a client of an enrolled host, with everything but the model endpoint real.
//!
//! ```text
//!            network namespace "client"                          network namespace "endpoint"
//!  ┌──────────────────────────────────────────────┐  veth  ┌─────────────────────────────────────┐
//!  │ CMD ── connect() rewritten ─► daemon ────────┼────────┼─► endpoint: TLS, answers, records   │
//!  │ cgroup client                 cgroup daemon  │        │   cgroup endpoint                   │
//!  └──────────────────────────────────────────────┘        └──────────┬──────────────────────────┘
//!    one private mount namespace: hosts, CA bundle, /sys/fs/bpf       └─► --upstream, from the caller's own network
//! ```

mod cgroup;
mod config;
mod enter;
mod java;
mod mounts;
pub(crate) mod names;
pub(crate) mod netns;
mod parts;
mod signals;
mod state;
mod trust;
mod watch;

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, geteuid};

pub(crate) use config::TRANSPORT;
pub(crate) use enter::{Args as EnterArgs, run as enter};
pub(crate) use watch::{Args as WatchArgs, run as watch};

use crate::endpoint::alpn::Offer;
use crate::workspace;
use cgroup::Cgroups;
use netns::Namespaces;
use parts::{Daemon, Endpoint};
use signals::{Event, Signals};
use state::State;
use trust::Trust;
use watch::Watchdog;

/// Exit status when the lab itself fails.
const LAB_FAILURE: u8 = 125;

/// How long CMD may take to end after it was told to, when it was not told from the terminal.
const GRACE: Duration = Duration::from_secs(10);

/// Arguments of `cargo xtask lab`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: CMD's own; 128+n when signal n ended it; 127 when there is no such command, 126 when it
cannot be run; 125 when the lab failed.

Examples:
  cargo xtask lab -- curl -sS https://api.openai.com/v1/chat/completions -H 'content-type: application/json' \\
      -d '{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"mail jane@corp.example\"}]}'
  cargo xtask lab --state /tmp/state -- python3 my_agent.py
  cargo xtask lab --upstream 127.0.0.1:8080 -- bash

The lab's endpoint answers OpenAI's chat completions and models and Anthropic's messages, whole and streamed, and 404 to
the rest; it reads no compressed bodies and opens no WebSockets. For those, run a server of yours behind --upstream.
")]
pub(crate) struct Args {
    /// Forward every request, byte for byte, to this plain-HTTP server (dialled from here) instead of answering it
    #[arg(long, value_name = "HOST:PORT")]
    upstream: Option<String>,
    /// What the endpoint offers in ALPN: h2, http/1.1, both (the preferred first) or none [default: h2,http/1.1;
    /// http/1.1 with --upstream, whose server must speak HTTP/2 by prior knowledge when h2 is chosen]
    #[arg(long, value_name = "LIST")]
    alpn: Option<Offer>,
    /// Settings of the daemon that win over the lab's own
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep audit log, CA, journal and the requests that arrived (endpoint/NNNN.http) here; else they are removed
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Run the daemon that lies beside this program instead of building it first
    #[arg(long)]
    no_build: bool,
    /// The command, and its arguments as they are
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the lab; its own failures are reported here.
pub(crate) fn main(args: &Args) -> ExitCode {
    match run(args) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::from(LAB_FAILURE)
        }
    }
}

fn run(args: &Args) -> Result<u8> {
    if !geteuid().is_root() {
        bail!(
            "the lab needs root: it makes network namespaces and cgroups and loads BPF programs. \
             Try: sudo env PATH=\"$PATH\" cargo xtask lab ..."
        );
    }
    let upstream = args.upstream.as_deref().map(resolve).transpose()?.unwrap_or_default();
    let binary = if args.no_build { workspace::built_daemon() } else { workspace::build_daemon() }?;
    if let Some(config) = &args.config {
        parts::check_config(&binary, config)?;
    }
    let state = State::open(args.state.as_deref())?;
    let signals = Signals::take()?;
    let cgroups = Cgroups::plan(std::process::id())?;
    cgroups.sweep();
    let watchdog = Watchdog::start(&cgroups.parent, &state)?;
    // A daemon that was replaced ends before its successor, which then has nobody to wait for it but us.
    prctl::set_child_subreaper(true).context("cannot adopt the daemon's successors")?;
    let status = inside(args, &upstream, &binary, &state, &cgroups, &signals);
    mounts::drop_bpf();
    let cleaned = watchdog.finish()?;
    let status = status?;
    if !cleaned.success() {
        bail!("the lab could not clean up: {cleaned}");
    }
    Ok(status)
}

/// The lab from its first cgroup to the end of CMD. Whatever it leaves running, the watchdog ends.
fn inside(
    args: &Args,
    upstream: &[SocketAddr],
    binary: &Path,
    state: &State,
    cgroups: &Cgroups,
    signals: &Signals,
) -> Result<u8> {
    cgroups.create()?;
    let auditor = parts::auditor(binary, state)?;
    let networks = Namespaces::create()?;
    mounts::leave_host()?;
    mounts::private_bpf()?;
    mounts::names(&state.lab())?;

    let alpn = args.alpn.clone().unwrap_or_else(|| Offer::usual(!upstream.is_empty()));
    let endpoint = Endpoint::start(state, cgroups, &networks, upstream, &alpn)?;
    let pin = PathBuf::from(format!("/sys/fs/bpf/interceptor/lab-{}", std::process::id()));
    let places = config::Places { cgroup: &cgroups.parent, pin: &pin, roots: endpoint.ca(), auditor: &auditor };
    let config = config::render(&places, args.config.as_deref())?;
    let mut daemon = Daemon::start(binary, &config, state, cgroups, &networks)?;
    if let Some(signal) = daemon.ready(state, signals)? {
        return Ok(ended_by(signal));
    }
    let trust = Trust::install(&state.ca(), &state.lab())?;
    let client = client(args, binary, state, cgroups, &networks, &trust)?;
    let status = supervise(client, &cgroups.client(), &mut daemon, endpoint, signals)?;
    // What CMD left in the background goes first, so that the daemon can complete its records.
    cgroup::kill_all(&cgroups.client())?;
    daemon.stop()?;
    Ok(status)
}

/// `--upstream` is looked up while names still mean what they mean to the caller.
fn resolve(upstream: &str) -> Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = upstream
        .to_socket_addrs()
        .with_context(|| format!("--upstream {upstream}: expected HOST:PORT of a plain-HTTP server"))?
        .collect();
    if found.is_empty() {
        return Err(anyhow!("--upstream {upstream}: the name has no address"));
    }
    Ok(found)
}

fn client(
    args: &Args,
    binary: &Path,
    state: &State,
    cgroups: &Cgroups,
    networks: &Namespaces,
    trust: &Trust,
) -> Result<Child> {
    let (program, arguments) = args.command.split_first().context("no command was given")?;
    let mut command = enter::command(program.as_ref(), &cgroups.client(), &networks.client())?;
    command.args(arguments);
    trust.apply(&mut command);
    command.env("INTERCEPTOR_STATE", state.root());
    if let Some(path) = path_with(std::env::var_os("PATH"), binary) {
        command.env("PATH", path);
    }
    forget_proxies(&mut command);
    // Same process group and standard streams as ours: the terminal treats CMD as if it had been called directly.
    command.spawn().context("cannot start the client")
}

/// CMD finds the daemon's program, unless the caller's PATH has one of that name.
fn path_with(path: Option<OsString>, binary: &Path) -> Option<OsString> {
    let path = path?;
    let directory = binary.canonicalize().ok()?.parent()?.to_path_buf();
    std::env::join_paths(std::env::split_paths(&path).chain([directory])).ok()
}

/// A proxy of the host's network cannot be reached from here, so naming it would only break CMD.
fn forget_proxies(command: &mut Command) {
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        for name in [name.to_owned(), name.to_lowercase()] {
            if std::env::var_os(&name).is_some_and(|value| !value.is_empty()) {
                eprintln!("lab: {name} is unset for CMD: there is no way from the lab to that proxy");
            }
            command.env_remove(name);
        }
    }
}

/// Waits for CMD, hands signals on to it, and says when a part of the lab dies under it.
fn supervise(
    mut client: Child,
    jobs: &Path,
    daemon: &mut Daemon,
    mut endpoint: Endpoint,
    signals: &Signals,
) -> Result<u8> {
    let mut deadline: Option<Instant> = None;
    loop {
        if let Some(status) = client.try_wait()? {
            return Ok(exit_status(status));
        }
        daemon.report_death()?;
        endpoint.report_death()?;
        bury(&[client.id(), daemon.first(), endpoint.id()]);
        let patience = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if patience == Some(Duration::ZERO) {
            eprintln!("lab: CMD does not end; it is killed");
            client.kill()?;
            deadline = None;
            continue;
        }
        if let Some(Event::End { signal, from_terminal }) = signals.next(patience)? {
            // The terminal has told CMD already, and what a program makes of Ctrl-C is its own affair.
            if !from_terminal {
                cgroup::signal_group(jobs, signal);
                deadline.get_or_insert_with(|| Instant::now() + GRACE);
            }
        }
    }
}

/// Waits for processes that were left to us and have ended, other than those that are asked after by name.
fn bury(known: &[u32]) {
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    // Looked at first: the status of a known one is for who knows it.
    while let Ok(status) = waitid(Id::All, ended | WaitPidFlag::WNOWAIT) {
        let (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) = status else { return };
        if known.iter().any(|id| i32::try_from(*id) == Ok(pid.as_raw())) {
            return;
        }
        let _ = waitpid(Pid::from_raw(pid.as_raw()), Some(WaitPidFlag::WNOHANG));
    }
}

fn exit_status(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(LAB_FAILURE),
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(LAB_FAILURE),
        (None, None) => LAB_FAILURE,
    }
}

fn ended_by(signal: Signal) -> u8 {
    u8::try_from(128 + signal as i32).unwrap_or(LAB_FAILURE)
}
