//! `interceptor ca`: the internal CA that clients must trust.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::run::{daemon_config, host};
use super::{Failure, Global};
use crate::audit::Time;
use crate::capture::Catalogue;
use crate::tls::{CaCertificate, CaDir, CaRole, ca_certificates};

/// Arguments of `interceptor ca`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the certificates that clients should trust (PEM); the keys never leave the daemon
    Show(ShowArgs),
    /// Replace the CA with overlap: announce the next one, later let it sign
    Rotate(RotateArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor ca show > interceptor-ca.crt           all of them: one, and two while the CA is rotated
  interceptor ca show --next > interceptor-next.crt  the one that was announced
  interceptor ca show --json --state /tmp/state

On a terminal, what each is for, its validity, its fingerprint and its names are shown too.
To trust one on Debian, put its file below /usr/local/share/ca-certificates and run
update-ca-certificates, which takes one certificate a file.

Exit status: 0 shown; 2 there is no certificate, or it may not be read.")]
struct ShowArgs {
    /// Only the next CA's certificate
    #[arg(long)]
    next: bool,
    /// One JSON document: of each certificate its role, subject, serial, validity, SHA-256 fingerprint, names, PEM
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor ca rotate                              makes the next CA for the names that are configured now
  interceptor ca show --next > interceptor-next.crt  to be installed in all trust stores
  interceptor ca rotate --activate                   once all clients trust it
  systemctl reload interceptor                       the daemon signs with it from here on

The names are those of the daemon's configuration: of the file that --config names, else of the one
that the last daemon of the state directory read.

The daemon reads the CA at its start, also in an upgrade. There is no way back from --activate,
for the old key is removed; the old certificate stays listed until it expires.

Exit status: 0 done, or the next CA was there already; 2 not done.")]
struct RotateArgs {
    /// Let the next CA sign, in place of the present one
    #[arg(long, conflicts_with = "discard")]
    activate: bool,
    /// Remove the next CA, which has signed nothing
    #[arg(long)]
    discard: bool,
    /// One JSON document: what was done, and the certificates as `ca show --json` has them
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Show(args) => show(args, global),
        Command::Rotate(args) => rotate(args, global),
    }
}

#[expect(clippy::print_stdout, reason = "the certificates are this subcommand's output")]
fn show(args: &ShowArgs, global: &Global) -> Result<ExitCode, Failure> {
    let mut certificates = ca_certificates(&global.paths()?.ca())?;
    if args.next {
        certificates.retain(|certificate| certificate.role == CaRole::Next);
        if certificates.is_empty() {
            return Err("there is no next CA; make it with `interceptor ca rotate`".into());
        }
    }
    if args.json {
        println!("{}", document(&certificates));
        return Ok(ExitCode::SUCCESS);
    }
    if std::io::stderr().is_terminal() {
        eprint!("{}", certificates.iter().map(describe).collect::<Vec<_>>().join("\n"));
    }
    certificates.iter().for_each(|certificate| print!("{}", certificate.pem));
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "what was done is this subcommand's output")]
fn rotate(args: &RotateArgs, global: &Global) -> Result<ExitCode, Failure> {
    let paths = global.paths()?;
    let dir = paths.ca();
    // Opening would make it, and a mistyped --state is better said than made.
    ca_certificates(&dir)?;
    let held = CaDir::open(&dir)?;
    // Nothing need be right about the configuration to discard what was made.
    let configured = || {
        let (config, file) = daemon_config(global, &paths)?;
        Ok::<_, Failure>((Catalogue::new(&config.endpoints, config.capture.catalogue).names(), file))
    };
    let (done, advice, file) = match (args.activate, args.discard) {
        (true, _) => {
            let (names, file) = configured()?;
            held.activate(&names)?;
            let advice = "The daemon signs with it from its next start on: systemctl reload interceptor\n";
            ("activated", advice, Some(file))
        }
        (_, true) if held.discard()? => ("discarded", "Take its certificate out of trust stores again.\n", None),
        (_, true) => ("nothing", "There was no next CA.\n", None),
        _ => {
            let (names, file) = configured()?;
            let (_, made) = held.announce(&names, &host())?;
            let advice = "Install it in the clients' trust stores: interceptor ca show --next\n\
                          When all have it: interceptor ca rotate --activate\n";
            (if made { "announced" } else { "unchanged" }, advice, Some(file))
        }
    };
    let certificates = ca_certificates(&dir)?;
    if args.json {
        println!("{}", json!({"done": done, "configuration": file, "certificates": list(&certificates)}));
        return Ok(ExitCode::SUCCESS);
    }
    print!("{}", certificates.iter().map(describe).collect::<Vec<_>>().join("\n"));
    let config = file.map_or_else(String::new, |file| format!("config   {}\n", file.display()));
    print!("{}{config}\n{advice}", differences(&certificates));
    Ok(ExitCode::SUCCESS)
}

/// The first certificate with its fields at the top, where they were when there was one only, and the list of all.
fn document(certificates: &[CaCertificate]) -> Value {
    let mut document = certificates.first().map_or_else(|| json!({}), fields);
    document["certificates"] = list(certificates);
    document
}

fn list(certificates: &[CaCertificate]) -> Value {
    certificates.iter().map(fields).collect()
}

fn fields(certificate: &CaCertificate) -> Value {
    json!({
        "role": role(certificate.role),
        "subject": certificate.subject,
        "serial": certificate.serial,
        "not_before": time(certificate.not_before),
        "not_after": time(certificate.not_after),
        "fingerprint_sha256": hex::encode(certificate.fingerprint),
        "names": certificate.names,
        "pem": certificate.pem,
    })
}

fn role(role: CaRole) -> &'static str {
    match role {
        CaRole::Signs => "signs",
        CaRole::Next => "next",
        CaRole::Previous => "previous",
    }
}

fn time(seconds: i64) -> Time {
    Time::from_unix_ns(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000))
}

fn describe(certificate: &CaCertificate) -> String {
    let mut text = String::new();
    let purpose = match certificate.role {
        CaRole::Signs => "signs leaves",
        CaRole::Next => "next: signs nothing before it is activated",
        CaRole::Previous => "previous: signs nothing any more",
    };
    let CaCertificate { subject, not_before, not_after, fingerprint, names, .. } = certificate;
    let _ = writeln!(text, "role     {purpose}");
    let _ = writeln!(text, "subject  {subject}");
    let _ = writeln!(text, "valid    {} to {}", time(*not_before), time(*not_after));
    let _ = writeln!(text, "SHA-256  {}", hex::encode(fingerprint));
    let _ = writeln!(text, "names    {}", names.join(", "));
    text
}

/// What the next CA may sign for that the present one may not, and the reverse.
fn differences(certificates: &[CaCertificate]) -> String {
    let names = |role| certificates.iter().find(|one| one.role == role).map(|one| &one.names);
    let (Some(present), Some(next)) = (names(CaRole::Signs), names(CaRole::Next)) else { return String::new() };
    let without = |these: &[String], those: &[String]| {
        these.iter().filter(|name| !those.contains(name)).cloned().collect::<Vec<_>>().join(", ")
    };
    let mut text = String::new();
    for (what, names) in [("more", without(next, present)), ("fewer", without(present, next))] {
        if !names.is_empty() {
            let _ = writeln!(text, "{what:8} {names}");
        }
    }
    text
}
