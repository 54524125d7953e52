//! Where the workspace is, and how its cargo is called.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The workspace's root: the directory above this crate's.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies one directory below the workspace")
}

/// Where tools are kept that only this workspace uses; `interceptor/build.rs` looks here too.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// This program, to start it again as one of its helpers.
pub(crate) fn this_program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

/// The cargo that runs us, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command to its end, its standard output on our standard error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    run_visibly(command.stdout(std::io::stderr()))
}

/// Runs a command to its end, its standard output on ours.
pub(crate) fn run_visibly(command: &mut Command) -> Result<()> {
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {}", program_of(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", describe(command));
    }
    Ok(())
}

/// Runs a command and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", program_of(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", describe(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} printed something that is not text", program_of(command)))
}

/// Builds the daemon (dev profile, cargo's messages on standard error) and says where it is.
pub(crate) fn build_daemon() -> Result<PathBuf> {
    let mut command = cargo();
    // The whole workspace, as everywhere: another selection would build its dependencies again, with other features.
    command.args(["build", "--workspace", "--bin", "interceptor", "--message-format", "json-render-diagnostics"]);
    let messages = output(&mut command)?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "interceptor")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo built the program `interceptor` and named no executable")
}

/// The daemon that was built before, beside this program.
pub(crate) fn built_daemon() -> Result<PathBuf> {
    let daemon = this_program()?.with_file_name("interceptor");
    if !daemon.is_file() {
        bail!("{} is not there: build it with `cargo build`, or leave out --no-build", daemon.display());
    }
    Ok(daemon)
}

fn program_of(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// A command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let mut text = program_of(command);
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
