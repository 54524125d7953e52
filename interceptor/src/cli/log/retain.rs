//! `interceptor log retain`: destroys what is older than it is to be kept, or one subject's.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::str::FromStr;

use serde_json::json;

use super::super::{Failure, Global, NEGATIVE, progress};
use super::accesses::user_or_uid;
use super::hold::Held;
use super::table::{Style, clean, colour, millis};
use super::unseal::caller;
use super::verify::kept_trust;
use crate::audit::{
    self, Acts, Ages, Author, Class, Clocks, Counts, Done, Error, Reader, Record, Removal, RetainError, Retention,
    RetentionPlan, Time,
};
use crate::config::{Age, StatePaths};

/// Arguments of `interceptor log retain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor log retain --dry-run
  interceptor log retain
  interceptor log retain --keep prompts=30d --keep responses=30d --reason 'new policy'
  interceptor log retain --erase uid:1000 --reason 'request of 3 March, article 17'
  interceptor log retain --acts

Without --erase it does what [audit.retention] of the configuration says, as the daemon does once
a day. Contents have a class: prompts (requests, original and masked), responses, and decisions (all
else a record says). Keys are destroyed first, so what was sealed cannot be opened in copies of
the log either; then the contents are cut out of the segments. Entries, hashes and proofs stay
valid, and the act is on record. Records on hold are kept: `interceptor log hold`.

A subject is a caller: `uid:1000`, or the subject of its identity. --erase takes everything of theirs
up to now; their records keep who, where, when and what was decided, unless --class decisions is given
beside the others. Their secret is destroyed with prompts and responses both, which share it.

The log is verified first: nothing is destroyed on the word of one that is not intact.

Needs the rights to write the audit log, and its signing key.

What they hold says much: a command line, masked, may be a prompt. With --class prompts --class responses
--class decisions nothing of it stays.

Exit status: 0 done, and with --keep or as configured also when what is due waits for the next run; 1 some of
what was to be erased is still there, and the output says why; 2 nothing was removed, for the reason that is given.")]
pub(crate) struct Args {
    /// Only say what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Keep a class for this long, whatever the configuration says: `prompts=90d`, `decisions=7y`
    #[arg(long, value_name = "CLASS=AGE", conflicts_with = "erase", requires = "reason")]
    keep: Vec<Keep>,
    /// Instead, destroy what is this subject's
    #[arg(long, value_name = "SUBJECT", requires = "reason")]
    erase: Option<String>,
    /// Which of the subject's contents [default: prompts and responses]
    #[arg(long, value_name = "CLASS", requires = "erase")]
    class: Vec<Class>,
    /// Why: goes on record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Go by the wall clock though it was set ahead within the last week
    #[arg(long, conflicts_with = "erase")]
    clock_is_right: bool,
    /// Only list what was done so far, by whom and why, and holds
    #[arg(long, conflicts_with_all = ["dry_run", "keep", "erase", "class", "reason", "clock_is_right"])]
    acts: bool,
    /// One JSON document; JSON Lines with --acts
    #[arg(long)]
    json: bool,
}

/// `prompts=90d`.
#[derive(Clone, Debug)]
struct Keep(Class, Age);

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (class, age) = text.split_once('=').ok_or("write CLASS=AGE, as prompts=90d")?;
        Ok(Self(class.parse().map_err(|e: crate::audit::UnknownClass| e.to_string())?, age.parse()?))
    }
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let (config, paths) = global.loaded()?;
    // A missing log has a better message than a missing checkpoint.
    Reader::open(&paths.audit())?;
    if args.acts {
        return list(&acts(&paths)?, args.json);
    }
    let removal = match &args.erase {
        Some(subject) => Removal::Subject { name: subject.clone(), classes: classes(&args.class) },
        None => Removal::Old(ages(args, config.audit.retention.ages())?),
    };
    let reason = args.reason.as_deref().unwrap_or("as configured");
    let author = author(reason)?;
    let clocks = (!args.clock_is_right).then(Clocks::now);
    let wanted = || !args.dry_run;
    let (plan, done) = retain(&paths, &removal, &author, clocks, &wanted)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", document(&removal, &plan, done))?;
    } else {
        report(&mut out, &removal, &plan, done)?;
    }
    let is_left = plan.held > 0 || plan.unreadable > 0 || plan.waiting > 0;
    Ok(match removal {
        Removal::Subject { .. } if is_left && !args.dry_run => ExitCode::from(NEGATIVE),
        _ => ExitCode::SUCCESS,
    })
}

/// What was done so far, and holds: what of it is signed with the log's key.
pub(super) fn acts(paths: &StatePaths) -> Result<Acts, Failure> {
    let trust = kept_trust(paths)?;
    Ok(audit::acts(&paths.audit(), &trust)?)
}

/// Plans, which may take long, and does it when it is still `wanted` then; by `clocks` it is told that the wall clock was not set
/// ahead.
pub(crate) fn retain(
    paths: &StatePaths,
    removal: &Removal,
    author: &Author,
    clocks: Option<Clocks>,
    wanted: &dyn Fn() -> bool,
) -> Result<(RetentionPlan, Option<Done>), Failure> {
    let (audit, keys) = (paths.audit(), paths.keys());
    let retention = Retention { dir: &audit, keys: &keys, now: Time::now(), clocks };
    let begun = retention.begin().map_err(explain)?;
    let holds = Held::of(begun.acts())?;
    let held = |record: &Record| holds.iter().any(|hold| hold.holds(record));
    let plan = begun.plan(removal, &held)?;
    if !wanted() {
        return Ok((plan, None));
    }
    let bar = progress::of(plan.segments(), "segments");
    let done = begun.apply(&plan, author, &|| bar.inc(1)).map_err(explain)?;
    bar.finish_and_clear();
    Ok((plan, Some(done)))
}

fn explain(error: RetainError) -> Failure {
    match error {
        RetainError::Write(Error::Recording { .. }) | RetainError::Busy(_) => error.into(),
        RetainError::Write(error) => format!("{error}: run it as root or the daemon's user; what was done before is on record, and running it again goes on").into(),
        other => other.into(),
    }
}

fn classes(given: &[Class]) -> Vec<Class> {
    match given {
        [] => vec![Class::Prompts, Class::Responses],
        given => given.to_vec(),
    }
}

fn ages(args: &Args, mut ages: Ages) -> Result<Ages, Failure> {
    ages.extend(args.keep.iter().map(|Keep(class, age)| (*class, age.0)));
    if ages.is_empty() {
        return Err("nothing says how long what is kept: set audit.retention.prompts and others in the configuration, or give --keep CLASS=AGE".into());
    }
    Ok(ages)
}

/// Who asks, and why.
pub(super) fn author(reason: &str) -> Result<Author, Failure> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err("the reason is empty: say why".into());
    }
    let (uid, user) = caller();
    Ok(Author { uid, user, reason: reason.to_owned() })
}

fn report(out: &mut impl Write, removal: &Removal, plan: &RetentionPlan, done: Option<Done>) -> io::Result<()> {
    let heading = format!("{:<9}  {:<8}  {:>8}  {:>12}", "CLASS", "KEEP", "FRAMES", "BYTES");
    writeln!(out, "{}", Style::Dim.paint(&heading, colour()))?;
    for class in Class::ALL {
        let keep = match removal {
            Removal::Old(ages) => ages.get(&class).map_or("for ever".to_owned(), |age| Age(*age).to_string()),
            Removal::Subject { classes, .. } if classes.contains(&class) => "erase".to_owned(),
            Removal::Subject { .. } => "kept".to_owned(),
        };
        let Counts { frames, bytes } = plan.counts.get(&class).copied().unwrap_or_default();
        writeln!(out, "{class:<9}  {keep:<8}  {frames:>8}  {bytes:>12}")?;
    }
    if plan.held > 0 {
        writeln!(out, "{} on hold and kept", records(plan.held))?;
        if matches!(removal, Removal::Subject { .. }) {
            writeln!(out, "the subject's secret is kept for that: run this again when the hold is released")?;
        }
    }
    if plan.unreadable > 0 {
        writeln!(
            out,
            "{} kept because they cannot be read: they may be on hold",
            count(plan.unreadable, "record is", "records are")
        )?;
    }
    if matches!(removal, Removal::Subject { .. }) && !removal.takes_secrets() {
        writeln!(out, "the subject's secret is kept: prompts and responses share it, and not both go")?;
    }
    if plan.waiting > 0 {
        let due = count(plan.waiting, "frame is", "frames are");
        let what = "the newest segment, which is left alone: the daemon begins another when it starts, and every day";
        writeln!(out, "{due} due but in {what}; run this again then")?;
    }
    let keys = count(plan.keys() as u64, "key", "keys");
    match (done, removal) {
        (_, Removal::Subject { name, .. }) if plan.is_empty() && plan.waiting == 0 && plan.held == 0 => {
            let name = clean(name);
            writeln!(
                out,
                "nothing of {name} is left in the log, or ever was: subjects are `uid:1000`, or as an identity says"
            )
        }
        _ if plan.is_empty() && plan.waiting > 0 => writeln!(out, "nothing was removed yet"),
        _ if plan.is_empty() => writeln!(out, "nothing to remove"),
        (None, _) => {
            let segments = count(plan.segments() as u64, "segment", "segments");
            writeln!(out, "would destroy {keys} and rewrite {segments}; nothing was changed")
        }
        (Some(done), _) => {
            let segments = count(done.segments, "segment", "segments");
            writeln!(out, "destroyed {keys}, rewrote {segments}, gave back {} bytes", done.freed)
        }
    }
}

fn records(number: u64) -> String {
    count(number, "record is", "records are")
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn document(removal: &Removal, plan: &RetentionPlan, done: Option<Done>) -> serde_json::Value {
    let counts: BTreeMap<_, _> =
        plan.counts.iter().map(|(class, c)| (class.name(), json!({"frames": c.frames, "bytes": c.bytes}))).collect();
    let subject = if let Removal::Subject { name, .. } = removal { Some(name) } else { None };
    json!({
        "dry_run": done.is_none(),
        "subject": subject,
        "removed": counts,
        "held_records": plan.held,
        "unreadable_records": plan.unreadable,
        "waiting_frames": plan.waiting,
        "keys": plan.keys(),
        "segments": plan.segments(),
        "freed_bytes": done.map(|done| done.freed),
    })
}

fn list(acts: &Acts, json: bool) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    if acts.all().is_empty() && !json {
        eprintln!("interceptor: nothing was ever removed or put on hold");
    }
    for act in acts.all() {
        if json {
            writeln!(out, "{}", json!(act))?;
            continue;
        }
        let user = user_or_uid(act.user.as_deref(), act.uid);
        writeln!(out, "{}  {user}: {}: {}", millis(act.time), clean(&act.deed.to_string()), clean(&act.reason))?;
    }
    Ok(ExitCode::SUCCESS)
}
