//! `interceptor log accesses`: who unsealed which record, when and why.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::super::Failure;
use super::table::{Style, clean, colour, millis};
use super::verify::kept_trust;
use super::{report_damage, tell, write_all};
use crate::audit::{self, Access, Everything, Fault, Outcome, Query, ReadError, Reader, RetainError, Stream};
use crate::config::StatePaths;
use crate::flow::ExchangeId;

/// Arguments of `interceptor log accesses`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor log accesses
  interceptor log accesses --json | jq -c 'select(.outcome == \"refused\")'

Attempts with a key that does not fit are listed as refused. SIGNED says whether the log's key signs
the access: one that is not signed anybody can have added who may write the file.
`interceptor log verify` notices when accesses were removed; docs/log.md says against whom that holds.

Exit status: 0 listed, also when there is none; 2 there is no log, or it may not be read.")]
pub(crate) struct Args {
    /// JSON Lines
    #[arg(long)]
    json: bool,
}

/// An access that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    #[serde(flatten)]
    pub(crate) access: Access,
    /// Whether it is what the log's key signs.
    pub(crate) signed: bool,
}

pub(crate) fn run(args: &Args, paths: &StatePaths) -> Result<ExitCode, Failure> {
    // A missing log has a better message than a missing access log.
    Reader::open(&paths.audit())?;
    let accesses = all(paths)?;
    if accesses.is_empty()
        && let Some(fault) = removed(paths)
    {
        return Err(format!("the access log is not what it was: {fault}: {REMEDY}").into());
    }
    write_all(&accesses, args.json, "nothing was ever unsealed", table)
}

/// Accesses to one record, oldest first.
pub(crate) fn of(paths: &StatePaths, id: ExchangeId) -> Result<Vec<Listed>, Failure> {
    let accesses = all(paths)?;
    if accesses.is_empty()
        && let Some(fault) = removed(paths)
    {
        tell(format_args!("the access log is not what it was: {fault}: {REMEDY}"));
    }
    Ok(accesses.into_iter().filter(|listed| listed.access.exchange == id).collect())
}

/// What to do about an access log that is not intact.
const REMEDY: &str = "run `interceptor log verify`, and see docs/log.md, \"When it says NOT INTACT\"";

/// What is wrong with an access log that has no access, as far as this user may know: the marker in `keys/` tells of more.
fn removed(paths: &StatePaths) -> Option<Box<Fault>> {
    let trust = kept_trust(paths).ok()?;
    match audit::signed_accesses(&paths.audit(), &trust) {
        Err(RetainError::NotIntact(fault)) => Some(fault),
        _ => None,
    }
}

fn all(paths: &StatePaths) -> Result<Vec<Listed>, Failure> {
    let mut reader = Reader::open_stream(&paths.audit(), Stream::Access)?;
    let mut accesses = Vec::new();
    if !reader.is_empty()? {
        let signed = signed(paths)?;
        let mut query = Query::oldest_first(&Everything);
        while let Some(at) = query.located(&mut reader)? {
            match reader.access(&at) {
                Ok(access) => accesses.push(Listed { access, signed: at.sequence() < signed }),
                Err(error @ ReadError::Json { .. }) => tell(error),
                Err(error) => return Err(error.into()),
            }
        }
    }
    report_damage(reader.damage());
    let unsigned = accesses.iter().filter(|listed| !listed.signed).count();
    if unsigned > 0 {
        tell(format_args!(
            "{unsigned} of {} accesses are not signed: who may write the access log can have added them; \
             run `interceptor log verify`",
            accesses.len()
        ));
    }
    Ok(accesses)
}

/// How many accesses and acts, from the first, are what the log's key signs.
fn signed(paths: &StatePaths) -> Result<u64, Failure> {
    let trust = kept_trust(paths)?;
    match audit::signed_accesses(&paths.audit(), &trust) {
        Ok(frames) => Ok(frames),
        Err(RetainError::NotIntact(fault)) => {
            tell(format_args!("the access log is not intact: {fault}: nothing of it is known to be genuine"));
            Ok(0)
        }
        Err(error) => Err(error.into()),
    }
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

fn table(out: &mut dyn Write, accesses: &[Listed]) -> io::Result<()> {
    let width = accesses.iter().map(|listed| who(&listed.access).chars().count()).max().unwrap_or(0).max(4);
    let headings = format!(
        "{:<23}  {:<width$}  {:<36}  {:<7}  {:<6}  {:<16}  REASON",
        "TIME (UTC)", "USER", "ID", "OUTCOME", "SIGNED", "KEY"
    );
    writeln!(out, "{}", Style::Dim.paint(&headings, colour()))?;
    for Listed { access, signed } in accesses {
        let style = if access.outcome == Outcome::Refused { Style::Bad } else { Style::Plain };
        let outcome = style.paint(&format!("{:<7}", outcome(access)), colour());
        let signed = if *signed { "yes   ".to_owned() } else { Style::Bad.paint("no    ", colour()) };
        let (time, who, id) = (millis(access.time), who(access), access.exchange.to_string());
        let (key, reason) = (clean(&access.auditor), clean(&access.reason));
        writeln!(out, "{time:<23}  {who:<width$}  {id:<36}  {outcome}  {signed}  {key:<16}  {reason}")?;
    }
    Ok(())
}
