//! `interceptor keys`: auditors' key pairs.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Global};
use crate::audit::AuditorSecret;

/// Arguments of `interceptor keys`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Generate a key pair: originals and responses are sealed to its public half
    Generate(GenerateArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor keys generate --out auditor.key     makes auditor.key and auditor.key.pub
  interceptor keys generate --out auditor.key --json

Keep auditor.key off the hosts; name auditor.key.pub in their configuration.

Exit status: 0 made; 2 not made: a file of that name exists, or cannot be written.")]
struct GenerateArgs {
    /// Where the private key goes; the public key goes beside it, with `.pub` added. Nothing is overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, _global: &Global) -> Result<ExitCode, Failure> {
    let Command::Generate(args) = &args.command;
    if let Some(parent) = args.out.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        let parent = parent.display();
        return Err(format!(
            "--out {}: there is no directory {parent}: create it (mkdir -p -m 700 {parent})",
            args.out.display()
        )
        .into());
    }
    let secret = AuditorSecret::generate();
    let public_path = secret.write(&args.out)?;
    let public = secret.public();
    let mut out = io::stdout().lock();
    if args.json {
        let document = json!({
            "secret": args.out,
            "public": public_path,
            "key": public.to_string(),
            "fingerprint": public.fingerprint(),
        });
        writeln!(out, "{document}")?;
    } else {
        writeln!(out, "private key  {}  (mode 0600: keep it off the hosts)", args.out.display())?;
        writeln!(out, "public key   {}  (configure it on the hosts)", public_path.display())?;
        writeln!(out, "fingerprint  {}", public.fingerprint())?;
    }
    Ok(ExitCode::SUCCESS)
}
