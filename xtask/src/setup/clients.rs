//! The unmodified clients of the end-to-end tests, below `target/clients`, with every version pinned.
//! `tests/lib.rs` expects them there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Outcome, announce};
use crate::workspace;

fn node() -> PathBuf {
    place("node").join("node_modules/node/bin/node")
}

fn place(language: &str) -> PathBuf {
    workspace::root().join("target/clients").join(language)
}

pub(super) fn set_up_python() -> Result<Outcome> {
    set_up_venv("python", "tests/clients/requirements.txt")
}

/// A scanner of TLS servers. Apart from the clients, whose dependencies it must not choose.
pub(super) fn set_up_scanner() -> Result<Outcome> {
    set_up_venv("scanner", "tests/clients/requirements-tls.txt")
}

/// What masking is compared with: Presidio and detect-secrets. Gives the Python that has them.
pub(super) fn set_up_peers() -> Result<PathBuf> {
    set_up_venv("peers", "benches/mask/peers/requirements.txt").context(
        "Presidio and detect-secrets cannot be installed below target/clients/peers; they need Python 3 with venv \
         (Debian: python3-venv) and a package index that has the versions in benches/mask/peers/requirements.txt \
         (`pip config list` says which is asked)",
    )?;
    Ok(place("peers").join("bin/python"))
}

fn set_up_venv(name: &str, requirements: &str) -> Result<Outcome> {
    let wanted = workspace::root().join(requirements);
    let directory = place(name);
    let python = directory.join("bin/python");
    if is_current(&directory, &[&wanted]) && python.is_file() {
        return Ok(Outcome::There);
    }
    announce("pip install");
    workspace::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory))?;
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&wanted);
    workspace::run(&mut pip)?;
    mark_current(&directory, &[&wanted])?;
    Ok(Outcome::Made)
}

/// What the tests of the sinks receive with: an emulator of S3, OTLP's own messages.
pub(super) fn set_up_receivers() -> Result<Outcome> {
    set_up_venv("sinks", "tests/sinks/requirements.txt")
}

pub(super) fn set_up_node() -> Result<Outcome> {
    let source = workspace::root().join("tests/clients");
    let wanted = [source.join("package.json"), source.join("package-lock.json")];
    let wanted = [wanted[0].as_path(), wanted[1].as_path()];
    let directory = place("node");
    if is_current(&directory, &wanted) && node().is_file() {
        return Ok(Outcome::There);
    }
    announce("npm ci");
    mark_current(&directory, &wanted)?;
    // The package `node` fetches the one for this machine's architecture from a script.
    workspace::run(
        Command::new("npm").args(["ci", "--loglevel", "error", "--no-audit", "--no-fund"]).current_dir(&directory),
    )
    .inspect_err(|_| drop(fs::remove_dir_all(&directory)))?;
    Ok(Outcome::Made)
}

/// Whether what was set up came from these very files.
fn is_current(directory: &Path, wanted: &[&Path]) -> bool {
    wanted.iter().all(|file| {
        let copy = file.file_name().map(|name| directory.join(name)).and_then(|copy| fs::read(copy).ok());
        copy.is_some() && copy == fs::read(file).ok()
    })
}

fn mark_current(directory: &Path, wanted: &[&Path]) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for file in wanted {
        let name = file.file_name().context("a file has a name")?;
        fs::copy(file, directory.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(())
}
