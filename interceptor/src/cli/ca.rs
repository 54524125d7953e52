//! `interceptor ca`: the internal CA that clients must trust.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use aws_lc_rs::digest::{SHA256, digest};
use clap::Subcommand;
use x509_parser::pem::parse_x509_pem;

use super::{Failure, Global};
use crate::audit::Time;

/// Arguments of `interceptor ca`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor ca show > interceptor-ca.crt
  interceptor ca show --json --state /tmp/state

To trust it on Debian, put the file below /usr/local/share/ca-certificates and run
update-ca-certificates.

Exit status: 0 shown; 2 there is no certificate, or it may not be read.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the CA's certificate (PEM); its key never leaves the daemon
    Show {
        /// One JSON document: subject, serial, validity, SHA-256 fingerprint, PEM
        #[arg(long)]
        json: bool,
    },
}

#[expect(clippy::print_stdout, reason = "the certificate is this subcommand's output")]
pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let Command::Show { json } = args.command;
    let path = global.paths()?.ca().join("ca.pem");
    let pem = std::fs::read_to_string(&path)
        .map_err(|e| format!("cannot read {}: {e}; the daemon makes it at its first start", path.display()))?;
    let unreadable = |e: &dyn std::fmt::Display| Failure::from(format!("{} is not a certificate: {e}", path.display()));
    let (_, block) = parse_x509_pem(pem.as_bytes()).map_err(|e| unreadable(&e))?;
    let certificate = block.parse_x509().map_err(|e| unreadable(&e))?;
    let subject = certificate.subject().to_string();
    let time = |at: x509_parser::time::ASN1Time| {
        Time::from_unix_ns(u64::try_from(at.timestamp()).unwrap_or(0).saturating_mul(1_000_000_000))
    };
    let (not_before, not_after) = (time(certificate.validity().not_before), time(certificate.validity().not_after));
    let fingerprint = hex::encode(digest(&SHA256, &block.contents));
    if json {
        let document = serde_json::json!({
            "subject": subject,
            "serial": certificate.raw_serial_as_string(),
            "not_before": not_before,
            "not_after": not_after,
            "fingerprint_sha256": fingerprint,
            "pem": pem,
        });
        println!("{document}");
        return Ok(ExitCode::SUCCESS);
    }
    if std::io::stderr().is_terminal() {
        eprintln!("subject  {subject}\nexpires  {not_after}\nSHA-256  {fingerprint}");
    }
    print!("{pem}");
    Ok(ExitCode::SUCCESS)
}
