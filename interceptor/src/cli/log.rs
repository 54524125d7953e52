//! `interceptor log`: reads, verifies and unseals the audit log.

mod accesses;
mod alerts;
mod card;
mod continues;
mod export;
mod filter;
mod grep;
mod hold;
mod list;
mod prove;
mod replay;
pub(crate) mod retain;
mod since;
mod stats;
mod table;
mod texts;
mod unseal;
mod verify;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use super::pager::{Pager, Paging};
use super::{Failure, Global};
use crate::audit::{Damage, Found, Located, Reader};
use crate::config::StatePaths;

/// Arguments of `interceptor log`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List records, oldest first
    List(list::ListArgs),
    /// Show one record
    Show(ShowArgs),
    /// Show the last records, and with -f those to come
    Tail(list::TailArgs),
    /// Find records by what their requests say
    Grep(grep::Args),
    /// Count records, findings and times
    Stats(stats::Args),
    /// Write records in a format of other tools
    Export(export::Args),
    /// Play conversations in the order and timing in which they happened
    Replay(replay::Args),
    /// Check every byte, hash and signature
    Verify(verify::Args),
    /// Prove that a record is in the log, to whoever has its public key
    Prove(prove::Args),
    /// Open a record's original request and response with an auditor's key
    Unseal(unseal::Args),
    /// List who unsealed what, when and why
    Accesses(accesses::Args),
    /// List alerts: what rules and the daemon itself called attention to
    Alerts(alerts::Args),
    /// Destroy what is older than it is to be kept, or one subject's
    Retain(retain::Args),
    /// Keep records that would be destroyed, until the hold is released
    Hold(hold::Args),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor log show latest
  interceptor log show 01a20909-633c --json | jq .request.masked

Exit status: 0 shown, also when the record is damaged (it says so); 2 there is no such record,
or the log may not be read.")]
struct ShowArgs {
    /// Id of the record, an unambiguous start of it, or `latest`
    id: String,
    /// One JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    paging: Paging,
}

impl Command {
    /// What a pager may show. What was sealed goes through none, and what is followed needs none.
    fn paging(&self) -> Option<&Paging> {
        match self {
            Self::List(args) => Some(&args.paging),
            Self::Show(args) => Some(&args.paging),
            Self::Grep(args) => Some(&args.paging),
            Self::Stats(args) => Some(&args.paging),
            _ => None,
        }
    }
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let audit = || global.paths().map(|paths| paths.audit());
    let pager = args.command.paging().and_then(Pager::start);
    let result = match &args.command {
        Command::List(args) => list::list(args, &audit()?),
        Command::Show(args) => show(args, &global.paths()?),
        Command::Tail(args) => list::tail(args, &audit()?),
        Command::Grep(args) => grep::run(args, &audit()?),
        Command::Stats(args) => stats::run(args, &audit()?),
        Command::Export(args) => export::run(args, &audit()?),
        Command::Replay(args) => replay::run(args, &global.paths()?),
        Command::Verify(args) => verify::run(args, global),
        Command::Prove(args) => prove::run(args, &audit()?),
        Command::Unseal(args) => unseal::run(args, &global.paths()?),
        Command::Accesses(args) => accesses::run(args, &global.paths()?),
        Command::Alerts(args) => alerts::run(args, &audit()?),
        Command::Retain(args) => retain::run(args, global),
        Command::Hold(args) => hold::run(args, &global.paths()?),
    };
    if let Some(pager) = pager {
        pager.finish();
    }
    match result {
        // Whoever reads our output has seen enough.
        Err(failure) if is_broken_pipe(&failure) => Ok(ExitCode::SUCCESS),
        other => other,
    }
}

fn is_broken_pipe(failure: &Failure) -> bool {
    failure.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn show(args: &ShowArgs, paths: &StatePaths) -> Result<ExitCode, Failure> {
    let mut reader = Reader::open(&paths.audit())?;
    let at = find(&mut reader, &args.id)?;
    let record = reader.record(&at)?;
    report_damage(reader.damage());
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &record).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        let accesses = accesses::of(paths, record.id)?;
        card::write(&mut out, &record, &accesses, reader.has_false_checkpoint())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells of places that are not what was written. Reading goes on: it is `verify` that gives a verdict.
fn report_damage(damage: &[Damage]) {
    for damage in damage {
        tell(format_args!("{damage}: run `interceptor log verify`"));
    }
}

/// Says something on standard error. A pager that shows it may be gone.
fn tell(what: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "interceptor: {what}");
}

/// Writes what was found: JSON Lines, or else a table. `nothing` says that there is none.
fn write_all<T: Serialize>(
    found: &[T],
    json: bool,
    nothing: &str,
    table: impl FnOnce(&mut dyn Write, &[T]) -> io::Result<()>,
) -> Result<ExitCode, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match found {
        [] => tell(nothing),
        found if json => {
            for one in found {
                serde_json::to_writer(&mut out, one).map_err(io::Error::from)?;
                writeln!(out)?;
            }
        }
        found => table(&mut out, found)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The one record that `id` names.
fn find(reader: &mut Reader, id: &str) -> Result<Located, Failure> {
    let found = reader.find(id)?;
    if !matches!(found, Found::One(_)) {
        report_damage(reader.damage());
    }
    match found {
        Found::One(at) => Ok(*at),
        Found::None if id == "latest" => Err("the audit log has no records yet".into()),
        Found::None => Err(format!("no record's id starts with {id:?}: `interceptor log list` shows the ids").into()),
        Found::Several(count) => Err(format!("{count} records' ids start with {id:?}: give more of the id").into()),
    }
}

/// The file that `--out` names: it must not be there yet, nor a link in its place.
fn new_file(path: &Path, mode: u32) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.map_err(|e| {
        let remedy = match e.kind() {
            io::ErrorKind::NotFound => "its directory is not there: make it first",
            io::ErrorKind::AlreadyExists => "name a file that is not there yet",
            _ => "name a new file in a directory that you may write",
        };
        format!("--out {}: {e}: {remedy}", path.display()).into()
    })
}

/// Reads a signed file given by the user: what is signed is its bytes.
fn read_text(path: &PathBuf) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    if text.contains("\r\n") {
        let path = path.display();
        return Err(
            format!("{path}: its lines end in CR LF, as some programs convert them: copy it anew as it is").into()
        );
    }
    Ok(text)
}
