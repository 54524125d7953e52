//! `xtask lab-watch`: cleans up when the lab ends, however it ends.
//!
//! The watchdog is started first, stays outside the lab's namespaces and cgroups, and waits for its standard input to
//! close: the lab holds the other end and never writes. A lab that is killed with SIGKILL closes it too.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result};
use nix::sys::signal::SigSet;

use super::cgroup;
use super::state::State;
use crate::workspace;

/// Arguments of the helper.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kill what is in it, then remove it
    #[arg(long)]
    cgroup: PathBuf,
    /// Remove this directory with all it holds
    #[arg(long)]
    remove: Option<PathBuf>,
}

/// Waits, then cleans up.
pub(crate) fn run(args: &Args) -> Result<()> {
    // It has to outlive what ends the lab; SIGKILL alone remains, and then the next lab sweeps.
    SigSet::all().thread_block().context("cannot block signals")?;
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).context("cannot wait for the lab to end")?;
    let destroyed = cgroup::destroy(&args.cgroup);
    if let Some(directory) = &args.remove {
        std::fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    destroyed
}

/// The lab's end of it: dropping it cleans up and waits until that is done.
#[derive(Debug)]
pub(crate) struct Watchdog {
    child: Child,
}

impl Watchdog {
    /// Starts it for a lab whose processes will live in `cgroup`.
    pub(crate) fn start(cgroup: &Path, state: &State) -> Result<Self> {
        let mut command = Command::new(workspace::this_program()?);
        command.arg("lab-watch").arg("--cgroup").arg(cgroup);
        if state.is_temporary() {
            command.arg("--remove").arg(state.root());
        }
        // Not in the terminal's foreground process group: Ctrl-C is not for it. The state stays locked until it ends.
        command.process_group(0).current_dir("/").stdin(Stdio::piped()).stdout(state.share_lock()?);
        let child = command.spawn().context("cannot start the lab's watchdog")?;
        Ok(Self { child })
    }

    /// Cleans up now.
    pub(crate) fn finish(mut self) -> Result<ExitStatus> {
        self.end()
    }

    fn end(&mut self) -> Result<ExitStatus> {
        drop(self.child.stdin.take());
        self.child.wait().context("cannot wait for the lab's watchdog")
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
