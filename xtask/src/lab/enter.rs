//! `xtask lab-enter`: starts a program in its place in the lab.
//!
//! A process of its own, because its steps have to happen between fork and exec, and the thread that does them must
//! be the only one.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::getppid;

use super::{LAB_FAILURE, cgroup, netns};
use crate::workspace;

/// The program is there but cannot be executed; the status that env(1) and the shells use.
const NOT_EXECUTABLE: u8 = 126;

/// There is no such program.
const NOT_FOUND: u8 = 127;

/// Arguments of the helper.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lab's process id: when it dies, so does the program
    #[arg(long)]
    lab: u32,
    #[arg(long)]
    cgroup: PathBuf,
    /// A file that stands for the network namespace
    #[arg(long)]
    netns: PathBuf,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// A command that starts `program` in a cgroup and a network namespace of the lab.
pub(crate) fn command(program: &Path, cgroup: &Path, netns: &Path) -> Result<Command> {
    let mut command = Command::new(workspace::this_program()?);
    command.arg("lab-enter");
    command.arg("--lab").arg(std::process::id().to_string());
    command.arg("--cgroup").arg(cgroup);
    command.arg("--netns").arg(netns);
    command.arg("--").arg(program);
    Ok(command)
}

/// Becomes the program; returns the exit status when it cannot.
pub(crate) fn run(args: &Args) -> u8 {
    if let Err(error) = place(args) {
        eprintln!("lab: {error:#}");
        return LAB_FAILURE;
    }
    let program = &args.command[0];
    let error = Command::new(program).args(&args.command[1..]).exec();
    eprintln!("lab: cannot run {}: {error}", program.display());
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
}

fn place(args: &Args) -> Result<()> {
    // The lab takes its signals from a descriptor, and a child inherits what it blocks for that.
    SigSet::empty().thread_set_mask().context("cannot unblock signals")?;
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot tie the program's life to the lab's")?;
    if u32::try_from(getppid().as_raw()) != Ok(args.lab) {
        bail!("the lab is gone");
    }
    cgroup::join(&args.cgroup)?;
    let netns = File::open(&args.netns).with_context(|| format!("cannot open {}", args.netns.display()))?;
    netns::enter(&netns)
}
