//! `interceptor ca`: the internal CA that clients must trust.

use std::process::ExitCode;

use clap::Subcommand;
use x509_parser::pem::parse_x509_pem;

use super::{Failure, Global};

/// Arguments of `interceptor ca`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor ca show > interceptor-ca.crt        # then, on Debian: install it below /usr/local/share/ca-certificates
  interceptor ca show --json --state /tmp/state")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the CA's certificate (PEM); its key never leaves the daemon
    Show {
        /// One JSON document: subject, serial, validity, PEM
        #[arg(long)]
        json: bool,
    },
}

#[expect(clippy::print_stdout, reason = "the certificate is this subcommand's output")]
pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let Command::Show { json } = args.command;
    let path = global.paths().ca().join("ca.pem");
    let pem = std::fs::read_to_string(&path)
        .map_err(|e| format!("cannot read {}: {e}; the daemon makes it at its first start", path.display()))?;
    if !json {
        print!("{pem}");
        return Ok(ExitCode::SUCCESS);
    }
    let unreadable = |e: &dyn std::fmt::Display| Failure::from(format!("{} is not a certificate: {e}", path.display()));
    let (_, block) = parse_x509_pem(pem.as_bytes()).map_err(|e| unreadable(&e))?;
    let certificate = block.parse_x509().map_err(|e| unreadable(&e))?;
    let document = serde_json::json!({
        "subject": certificate.subject().to_string(),
        "serial": certificate.raw_serial_as_string(),
        "not_before": certificate.validity().not_before.timestamp(),
        "not_after": certificate.validity().not_after.timestamp(),
        "pem": pem,
    });
    println!("{document}");
    Ok(ExitCode::SUCCESS)
}
