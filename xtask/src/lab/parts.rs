//! The processes of the lab that are not the client: the model endpoint, the daemon, and the auditor's key pair.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup::{self, Cgroups};
use super::enter;
use super::netns::Namespaces;
use super::signals::{Event, Signals};
use super::state::State;
use crate::endpoint::alpn::Offer;
use crate::workspace;

/// How long the daemon may take until it accepts: loading programs, compiling patterns, recovering a log.
const START: Duration = Duration::from_secs(60);

/// How long the daemon may take to complete its records and stop.
const STOP: Duration = Duration::from_secs(15);

/// How many of the journal's last lines explain a failure.
const EXPLAIN: usize = 15;

/// The auditor's public key, made together with the private one when the state has none.
pub(crate) fn auditor(binary: &Path, state: &State) -> Result<PathBuf> {
    let secret = state.lab().join("auditor.key");
    let public = state.lab().join("auditor.key.pub");
    if !(secret.is_file() && public.is_file()) {
        // What it prints is advice for a real host.
        workspace::output(Command::new(binary).args(["keys", "generate", "--out"]).arg(&secret))
            .context("cannot make the auditor's key pair")?;
        if !state.is_temporary() {
            eprintln!(
                "lab: made an auditor's key pair for show: {} (on a real host the private key is somewhere else)",
                secret.display()
            );
        }
    }
    Ok(public)
}

/// Lets the daemon judge the user's configuration by itself, so that its complaints name the user's file and lines.
pub(crate) fn check_config(binary: &Path, config: &Path) -> Result<()> {
    let checked = Command::new(binary).args(["run", "--check", "--file-only", "--config"]).arg(config).output();
    let checked = checked.with_context(|| format!("cannot run {}", binary.display()))?;
    if !checked.status.success() {
        bail!("{}", String::from_utf8_lossy(&checked.stderr).trim());
    }
    Ok(())
}

/// The model endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    child: Child,
    ca: PathBuf,
    dead: bool,
}

impl Endpoint {
    /// Starts it and waits until it listens.
    pub(crate) fn start(
        state: &State,
        cgroups: &Cgroups,
        networks: &Namespaces,
        upstream: &[SocketAddr],
        alpn: &Offer,
    ) -> Result<Self> {
        let ca = state.lab().join("endpoint-ca.pem");
        let mut command = enter::command(&workspace::this_program()?, &cgroups.endpoint(), &networks.endpoint())?;
        command.arg("endpoint").arg("--ca").arg(&ca).arg("--requests").arg(state.requests());
        command.arg("--then-netns").arg(networks.invoker()).arg("--alpn").arg(alpn.to_string());
        for address in upstream {
            command.arg("--upstream").arg(address.to_string());
        }
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(append(&state.endpoint_journal())?);
        let mut child = command.spawn().context("cannot start the lab's endpoint")?;
        let mut line = String::new();
        let output = child.stdout.take().context("the endpoint's standard output is piped")?;
        BufReader::new(output).read_line(&mut line).context("cannot hear from the lab's endpoint")?;
        if line.trim() != "ready" {
            bail!("the lab's endpoint did not start:\n{}", last_lines(&state.endpoint_journal(), 0));
        }
        Ok(Self { child, ca, dead: false })
    }

    /// The certificate of the CA that signs for it.
    pub(crate) fn ca(&self) -> &Path {
        &self.ca
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says once that it died.
    pub(crate) fn report_death(&mut self) -> Result<()> {
        report_death("endpoint", &mut self.child, &mut self.dead)
    }
}

/// The interceptor. On an upgrade it goes on as another process: the newest is the one in the pid file.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    /// A successor of the child, or of its successor.
    newest: Option<Pid>,
    dead: bool,
    cgroup: PathBuf,
    pid_file: PathBuf,
    /// Length of the journal before it started: what earlier ones said explains nothing.
    said_before: usize,
}

impl Daemon {
    pub(crate) fn start(
        binary: &Path,
        config: &str,
        state: &State,
        cgroups: &Cgroups,
        networks: &Namespaces,
    ) -> Result<Self> {
        let file = state.lab().join("config.toml");
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        // One that was killed has left its file; it must not be taken for the new one's.
        let _ = fs::remove_file(state.pid_file());
        let mut command = enter::command(binary, &cgroups.daemon(), &networks.client())?;
        command.arg("run").arg("--config").arg(&file).arg("--state").arg(state.root());
        command.process_group(0).stdin(Stdio::null());
        command.stdout(append(&state.journal())?).stderr(append(&state.journal())?);
        let said_before = fs::metadata(state.journal()).map_or(0, |file| file.len() as usize);
        let child = command.spawn().context("cannot start the daemon")?;
        let (cgroup, pid_file) = (cgroups.daemon(), state.pid_file());
        Ok(Self { child, newest: None, dead: false, cgroup, pid_file, said_before })
    }

    /// Waits until capture is attached and the listeners accept; returns the signal that ended the wait, if one did.
    pub(crate) fn ready(&mut self, state: &State, signals: &Signals) -> Result<Option<Signal>> {
        let deadline = Instant::now() + START;
        let expected = self.child.id().to_string();
        while fs::read_to_string(state.pid_file()).ok().is_none_or(|pid| pid.trim() != expected) {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the daemon did not start ({status}); it said:\n{}",
                    last_lines(&state.journal(), self.said_before)
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "the daemon is not ready after {START:?}; it said:\n{}",
                    last_lines(&state.journal(), self.said_before)
                );
            }
            if let Some(Event::End { signal, .. }) = signals.next(Some(Duration::from_millis(10)))? {
                return Ok(Some(signal));
            }
        }
        Ok(None)
    }

    /// The process that was started first.
    pub(crate) fn first(&self) -> u32 {
        self.child.id()
    }

    /// Says once that it died, and not that it was replaced.
    pub(crate) fn report_death(&mut self) -> Result<()> {
        let status = self.child.try_wait()?;
        if self.dead || self.lives() {
            return Ok(());
        }
        let own = i32::try_from(self.child.id())?;
        if let Some(newest) = self.newest.filter(|pid| pid.as_raw() != own) {
            self.dead = true;
            eprintln!("lab: the daemon died (process {newest}, a successor) while CMD runs");
        } else if let Some(status) = status {
            self.dead = true;
            eprintln!("lab: the daemon died ({status}) while CMD runs");
        }
        Ok(())
    }

    /// Whether the process that the pid file names, or last named, runs. A daemon writes its pid there before the one
    /// that it replaces may end.
    fn lives(&mut self) -> bool {
        let named = fs::read_to_string(&self.pid_file).ok().and_then(|pid| pid.trim().parse().ok()).map(Pid::from_raw);
        self.newest = named.or(self.newest);
        self.newest.is_some_and(|newest| cgroup::processes(&self.cgroup).contains(&newest))
    }

    /// Lets it, and those that it replaced, complete their records and stop.
    pub(crate) fn stop(&mut self) -> Result<()> {
        for pid in cgroup::processes(&self.cgroup) {
            let _ = kill(pid, Signal::SIGTERM);
        }
        let deadline = Instant::now() + STOP;
        while !cgroup::processes(&self.cgroup).is_empty() {
            if Instant::now() > deadline {
                bail!("the daemon did not stop within {STOP:?} of SIGTERM");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.try_wait()?;
        Ok(())
    }
}

fn report_death(what: &str, child: &mut Child, dead: &mut bool) -> Result<()> {
    if !*dead && let Some(status) = child.try_wait()? {
        *dead = true;
        eprintln!("lab: the {what} died ({status}) while CMD runs");
    }
    Ok(())
}

fn append(path: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

/// The last lines of a journal, from `start` on.
fn last_lines(path: &Path, start: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(text.get(start..).unwrap_or_default());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(EXPLAIN)..].join("\n")
}
