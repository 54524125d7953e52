//! `interceptor log hold`: legal holds.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::super::Failure;
use super::accesses::user_or_uid;
use super::filter::{Filter, HELP};
use super::find;
use super::retain::{acts, author};
use super::table::{clean, millis};
use crate::audit::{self, Acts, Deed, Query, Reader, Record, Select};
use crate::config::StatePaths;

/// Arguments of `interceptor log hold`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor log hold place case-17 --caller alice --since 2026-01-01 --reason 'letter of 3 March'
  interceptor log hold list
  interceptor log hold release case-17 --reason 'closed on 9 June'

Nothing of a record that is on hold is removed, by retention or by an erasure, also of records
that are still to come. Placing and releasing goes on record: `interceptor log retain --acts`.
Needs the rights to write the audit log, and its signing key.

Exit status: 0 done; 2 it cannot be recorded, or there is no such hold.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Place a hold on the records that the options name
    #[command(after_help = HELP)]
    Place(Box<Place>),
    /// Release a hold
    Release(Release),
    /// List the holds that are in force
    List {
        /// JSON Lines
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// A name for it: letters, digits, `.`, `_` and `-`
    name: String,
    /// Why: goes on record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// This record: its id, or an unambiguous start of it
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Debug, clap::Args)]
struct Release {
    /// The hold's name
    name: String,
    /// Why: goes on record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(crate) fn run(args: &Args, paths: &StatePaths) -> Result<ExitCode, Failure> {
    // What is being removed was chosen without it.
    let _lock = match &args.command {
        Command::List { .. } => None,
        Command::Place(_) | Command::Release(_) => Some(audit::lock(&paths.audit())?),
    };
    let known = acts(paths)?;
    let holds = known.holds();
    let (reason, deed) = match &args.command {
        Command::List { json } => return list(&known, *json),
        Command::Place(place) if holds.contains_key(place.name.as_str()) => {
            return Err(format!("there is a hold {:?} already: choose another name", place.name).into());
        }
        Command::Place(place) => {
            check_name(&place.name)?;
            let records = terms(place, paths)?;
            if records.is_empty() {
                return Err("that would hold every record: say which, by --id, --caller or other options".into());
            }
            (&place.reason, Deed::Hold { name: place.name.clone(), records })
        }
        Command::Release(release) if !holds.contains_key(release.name.as_str()) => {
            return Err(format!("no hold is called {:?}: `interceptor log hold list` shows them", release.name).into());
        }
        Command::Release(release) => (&release.reason, Deed::Release { name: release.name.clone() }),
    };
    let act = author(reason)?.act(deed);
    act.record(&paths.audit(), &paths.keys())?;
    let done = clean(&act.deed.to_string());
    match &act.deed {
        Deed::Hold { records, .. } => {
            // It is placed, whatever the log can be asked.
            let count = match matching(records, paths) {
                Ok(1) => "1 record matches now".to_owned(),
                Ok(count) => format!("{count} records match now"),
                Err(error) => format!("how many match now cannot be told: {error}"),
            };
            writeln!(io::stdout(), "{done}: {count}")?;
        }
        _ => writeln!(io::stdout(), "{done}")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Names stand in lists, in the access log and in alerts.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=64).contains(&name.len()) && name.bytes().all(is_allowed) {
        true => Ok(()),
        false => Err(format!("{name:?} is no name for a hold: 1 to 64 letters, digits, `.`, `_` and `-`").into()),
    }
}

/// How many records of the log a hold on `records` keeps.
fn matching(records: &[String], paths: &StatePaths) -> Result<u64, Failure> {
    let held = Held::new(records)?;
    let mut reader = Reader::open(&paths.audit())?;
    let mut query = Query::oldest_first(&held.filter);
    let mut count = 0;
    while let Some((_, record)) = query.outline(&mut reader)? {
        count += u64::from(held.holds(&record));
    }
    Ok(count)
}

fn terms(place: &Place, paths: &StatePaths) -> Result<Vec<String>, Failure> {
    let mut terms = place.filter.terms();
    if !place.ids.is_empty() {
        let mut reader = Reader::open(&paths.audit())?;
        for id in &place.ids {
            terms.push(format!("id={}", find(&mut reader, id)?.id()));
        }
    }
    Ok(terms)
}

fn list(acts: &Acts, json: bool) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    let holds = acts.holds();
    if holds.is_empty() && !json {
        eprintln!("interceptor: nothing is on hold");
    }
    for act in holds.into_values() {
        let Deed::Hold { name, records } = &act.deed else { continue };
        if json {
            writeln!(out, "{}", json!(act))?;
            continue;
        }
        let user = user_or_uid(act.user.as_deref(), act.uid);
        let (name, records, reason) = (clean(name), clean(&records.join(" ")), clean(&act.reason));
        writeln!(
            out,
            "{name}\n  placed   {} UTC by {user}\n  records  {records}\n  reason   {reason}",
            millis(act.time)
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The records that a hold keeps.
pub(super) struct Held {
    ids: Vec<String>,
    filter: Filter,
}

impl Held {
    /// Of all holds in force.
    pub(super) fn of(acts: &Acts) -> Result<Vec<Self>, Failure> {
        let holds = acts.holds().into_values();
        holds
            .filter_map(|act| if let Deed::Hold { records, .. } = &act.deed { Some(records) } else { None })
            .map(|records| Self::new(records))
            .collect()
    }

    fn new(records: &[String]) -> Result<Self, Failure> {
        let (ids, terms): (Vec<&str>, Vec<&str>) =
            records.iter().map(String::as_str).partition(|t| t.starts_with("id="));
        let ids = ids.into_iter().map(|id| id["id=".len()..].to_owned()).collect();
        Ok(Self { ids, filter: Filter::of_terms(terms)? })
    }

    /// Whether it keeps `record`.
    pub(super) fn holds(&self, record: &Record) -> bool {
        (self.ids.is_empty() || self.ids.contains(&record.id.to_string())) && self.filter.takes(record)
    }
}
