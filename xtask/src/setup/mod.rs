//! `cargo xtask setup`: brings what is needed to build and test, and says what it cannot bring.
//!
//! Every step looks first and acts only when something is missing, so a second run is over at once. Nothing goes into
//! the user's home: tools lie below `target/`, and system packages are the system's.

mod clients;
mod kernel;
mod packages;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};

pub(crate) use packages::runs;

use crate::workspace;

/// Arguments of `cargo xtask setup`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
On Debian and Ubuntu, as root, missing packages are installed with apt-get. Elsewhere the missing things are named.

Examples:
  cargo xtask setup
  cargo xtask setup --clients
")]
pub(crate) struct Args {
    /// Also the clients that the end-to-end tests run: OpenAI's and Anthropic's SDKs, Node 22
    #[arg(long)]
    pub(crate) clients: bool,
}

/// What a step found.
enum Outcome {
    /// All was there.
    There,
    /// It was made now.
    Made,
}

/// One step: its name, and the function that does it.
type Step = (&'static str, fn() -> Result<Outcome>);

const BUILD: &[Step] = &[
    ("system packages", packages::build),
    ("compiler for kernel programs", kernel::compiler),
    ("bpf-linker", kernel::linker),
];

const CLIENTS: &[Step] = &[
    ("rustfmt and clippy", packages::rust_components),
    ("packages of the test clients", packages::clients),
    ("Python clients", clients::set_up_python),
    ("scanner of TLS servers", clients::set_up_scanner),
    ("receivers for the sinks", clients::set_up_receivers),
    ("Node clients", clients::set_up_node),
];

/// Runs the steps, a line each on standard error.
pub(crate) fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(workspace::tools()).context("cannot make the directory for tools")?;
    let steps: Vec<&Step> = if args.clients { BUILD.iter().chain(CLIENTS).collect() } else { BUILD.iter().collect() };
    let count = steps.len();
    for (index, (name, step)) in steps.into_iter().enumerate() {
        eprint!("[{}/{count}] {name} ... ", index + 1);
        let _ = std::io::stderr().flush();
        let start = Instant::now();
        match step() {
            Ok(Outcome::There) => eprintln!("ok"),
            Ok(Outcome::Made) => eprintln!("[{}/{count}] {name} ... ok ({} s)", index + 1, start.elapsed().as_secs()),
            Err(error) => {
                eprintln!("missing");
                return Err(error.context(format!("set-up of: {name}")));
            }
        }
    }
    Ok(())
}

/// The Python that has the programs which masking is compared with.
pub(crate) fn peers() -> Result<PathBuf> {
    clients::set_up_peers()
}

/// Brings what `cargo xtask kernels` needs.
pub(crate) fn kernels() -> Result<()> {
    packages::kernels().map(drop)
}

/// Ends the line of progress before a tool prints lines of its own.
fn announce(what: &str) {
    eprintln!("{what}");
}
