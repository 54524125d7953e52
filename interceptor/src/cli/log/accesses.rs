//! `interceptor log accesses`: who unsealed which record, when and why.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use super::super::Failure;
use super::report_damage;
use super::table::{Style, clean, colour, millis};
use crate::audit::{Access, Everything, Outcome, Query, Reader, Stream};
use crate::flow::ExchangeId;

/// Arguments of `interceptor log accesses`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor log accesses
  interceptor log accesses --json | jq -c 'select(.outcome == \"refused\")'

Attempts with a key that does not fit are listed as refused. `interceptor log verify` notices
when accesses were removed; docs/log.md says against whom that holds.

Exit status: 0 listed, also when there is none; 2 there is no log, or it may not be read.")]
pub(crate) struct Args {
    /// JSON Lines
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, audit: &Path) -> Result<ExitCode, Failure> {
    // A missing log has a better message than a missing access log.
    Reader::open(audit)?;
    let accesses = all(audit)?;
    if accesses.is_empty() {
        eprintln!("interceptor: nothing was ever unsealed");
    }
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        for access in &accesses {
            serde_json::to_writer(&mut out, access).map_err(io::Error::from)?;
            writeln!(out)?;
        }
    } else if !accesses.is_empty() {
        table(&mut out, &accesses)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Accesses to one record, oldest first.
pub(crate) fn of(audit: &Path, id: ExchangeId) -> Result<Vec<Access>, Failure> {
    Ok(all(audit)?.into_iter().filter(|access| access.exchange == id).collect())
}

fn all(audit: &Path) -> Result<Vec<Access>, Failure> {
    let mut reader = Reader::open_stream(audit, Stream::Access)?;
    let mut query = Query::oldest_first(&Everything);
    let mut accesses = Vec::new();
    while let Some(at) = query.located(&mut reader)? {
        accesses.push(reader.access(&at)?);
    }
    report_damage(reader.damage());
    Ok(accesses)
}

/// Who did it, in a word.
pub(crate) fn who(access: &Access) -> String {
    user_or_uid(access.user.as_deref(), access.uid)
}

/// A user by name, or else by number.
pub(super) fn user_or_uid(user: Option<&str>, uid: u32) -> String {
    user.map_or_else(|| format!("uid {uid}"), clean)
}

pub(crate) fn outcome(access: &Access) -> &'static str {
    match access.outcome {
        Outcome::Opened => "opened",
        Outcome::Refused => "refused",
    }
}

fn table(out: &mut impl Write, accesses: &[Access]) -> io::Result<()> {
    let width = accesses.iter().map(|access| who(access).chars().count()).max().unwrap_or(0).max(4);
    let headings =
        format!("{:<23}  {:<width$}  {:<36}  {:<7}  {:<16}  REASON", "TIME (UTC)", "USER", "ID", "OUTCOME", "KEY");
    writeln!(out, "{}", Style::Dim.paint(&headings, colour()))?;
    for access in accesses {
        let style = if access.outcome == Outcome::Refused { Style::Bad } else { Style::Plain };
        let outcome = style.paint(&format!("{:<7}", outcome(access)), colour());
        let (time, who, id) = (millis(access.time), who(access), access.exchange.to_string());
        let (key, reason) = (clean(&access.auditor), clean(&access.reason));
        writeln!(out, "{time:<23}  {who:<width$}  {id:<36}  {outcome}  {key:<16}  {reason}")?;
    }
    Ok(())
}
