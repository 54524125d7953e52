//! `cargo xtask fuzz`: the targets of `fuzz/`, one after another.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{Steps, tool};
use crate::workspace;

const CARGO_FUZZ: &str = "0.13.2";

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runs the targets of fuzz/ one after another, each from its seeds and from what earlier runs found, and ends with the
first input that breaks one. Without a name it runs them all.

Examples:
  cargo xtask fuzz
  cargo xtask fuzz multipart content_coding --seconds 600
")]
pub(crate) struct Args {
    /// What to run
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs them.
pub(crate) fn run(args: &Args) -> Result<()> {
    let directory = workspace::root().join("fuzz");
    let known = targets(&directory)?;
    if let Some(unknown) = args.targets.iter().find(|&target| !known.contains(target)) {
        bail!("there is no fuzz target {unknown}; there are: {}", known.join(", "));
    }
    let program = tool("cargo-fuzz", CARGO_FUZZ)?;
    let chosen = if args.targets.is_empty() { &known } else { &args.targets };
    let mut steps = Steps::default();
    for target in chosen {
        steps.run(target, || workspace::run_visibly(&mut command(&program, &directory, target, args.seconds)?))?;
    }
    steps.sum_up();
    Ok(())
}

/// The names of the files in `fuzz_targets`.
fn targets(directory: &Path) -> Result<Vec<String>> {
    let sources = directory.join("fuzz_targets");
    let entries = std::fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_string_lossy().into_owned()));
    let mut names: Vec<_> = names.collect();
    names.sort();
    Ok(names)
}

/// One target's run. The first directory takes what is found, the second is only read.
fn command(program: &Path, directory: &Path, target: &str, seconds: u32) -> Result<std::process::Command> {
    let corpus = directory.join("corpus").join(target);
    std::fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut command = std::process::Command::new(program);
    // The address sanitizer finds nothing in safe code, and takes half the speed.
    command.args(["run", "--fuzz-dir"]).arg(directory).args(["--sanitizer", "none", target]);
    let seeds = directory.join("seeds").join(target);
    let given: Vec<PathBuf> = [corpus, seeds].into_iter().filter(|given| given.is_dir()).collect();
    command.args(given).arg("--").arg(format!("-max_total_time={seconds}"));
    // The instrumentation is a feature of nightly compilers, which others have, too.
    command.current_dir(workspace::root()).env("RUSTC_BOOTSTRAP", "1");
    Ok(command)
}
