//! `interceptor log verify`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::super::{Failure, Global, NEGATIVE};
use super::table::{Style, clean, colour};
use super::{prove, read_text};
use crate::audit::{
    Checkpoint, CosignatureError, Fault, ReadError, Reader, Report, Time, Trust, Verdict, VerifyingKey, WitnessKey,
    cosigned, verify,
};
use crate::config::StatePaths;

/// Arguments of `interceptor log verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor log verify
  interceptor log verify --checkpoint saved.checkpoint --key saved.pub
  interceptor log verify --witness-key witness.pub --key saved.pub
  interceptor log verify --json | jq .report
  interceptor log verify --proof record.tlog-proof --key saved.pub
  interceptor log verify --proof log.consistency --checkpoint saved.checkpoint --key saved.pub

A log cannot notice its own rollback: keep copies of audit/checkpoint and keys/log-signing.pub
elsewhere and give them here. docs/log.md says how, and what to do when the log is not intact.

With --proof nothing but the files that are named is read: no log is needed.

Exit status: 0 intact, or proven; 1 not intact, or not proven; 2 the log, the key or the checkpoint cannot be used.")]
pub(crate) struct Args {
    /// A checkpoint kept elsewhere: everything it covers must still be there
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Instead of the log, a proof that `interceptor log prove` wrote; one that was made with --since against --checkpoint
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// The log's public signing key, kept elsewhere [default: keys/log-signing.pub of the state directory]
    #[arg(long, value_name = "PUB")]
    key: Option<PathBuf>,
    /// The public key of a witness: the log must contain a checkpoint that it has cosigned, the one given with --checkpoint or
    /// else one that is kept beside the log
    #[arg(long, value_name = "PUB", conflicts_with = "proof")]
    witness_key: Option<PathBuf>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    // A proof is checked without a state directory, and without a configuration that names one.
    if let (Some(proof), Some(key)) = (&args.proof, &args.key) {
        return prove::check(proof, args.checkpoint.as_deref(), &VerifyingKey::read(key)?, args.json);
    }
    let paths = &global.paths()?;
    if let Some(proof) = &args.proof {
        return prove::check(proof, args.checkpoint.as_deref(), &key(args, paths)?, args.json);
    }
    // A missing or unreadable log has a better message than its missing key.
    if let Err(error @ (ReadError::Missing(_) | ReadError::Denied(_))) = Reader::open(&paths.audit()) {
        return Err(error.into());
    }
    let mut trust = Trust {
        key: key(args, paths)?,
        checkpoint: args.checkpoint.as_ref().map(read_text).transpose()?,
        keys: Some(paths.keys()),
    };
    let given = trust.checkpoint.as_deref().and_then(Checkpoint::peek);
    let mut out = io::stdout().lock();
    let witness = match &args.witness_key {
        None => None,
        Some(path) => match witnessed(path, &paths.audit(), trust.checkpoint.take()) {
            Ok(witness) => {
                trust.checkpoint = Some(witness.note.clone());
                Some(witness)
            }
            Err(Unwitnessed::Key(failure)) => return Err(failure),
            Err(Unwitnessed::Fault(fault)) => return faulty(&mut out, &fault, args.json),
        },
    };
    let verdict = verify(&paths.audit(), &trust).map_err(|error| match (error, &args.checkpoint) {
        (ReadError::Checkpoint(error), Some(path)) => {
            let remedy = "give a copy of this log's audit/checkpoint or audit/access.checkpoint";
            Failure::from(format!("--checkpoint {}: {error}: {remedy}", path.display()))
        }
        (error, _) => error.into(),
    })?;
    match (verdict, args.json) {
        (Verdict::Intact(report), false) => {
            intact(&mut out, &report)?;
            if let Some(Checkpoint { size, .. }) = &given {
                writeln!(out, "  given     the checkpoint, of {}, is contained", count(*size, "leaf"))?;
            }
            if let Some(Witnessed { by, at, size, .. }) = witness {
                writeln!(out, "  witness   {} has cosigned {} at {at}", clean(&by), count(size, "leaf"))?;
            }
        }
        (Verdict::Intact(report), true) => {
            let witness = witness.map(|w| json!({"name": w.by, "time": w.at, "leaves": w.size}));
            let given = given.map(|c| json!({"origin": c.origin, "leaves": c.size, "frames": c.frames}));
            let document = json!({"intact": true, "report": report, "checkpoint": given, "witness": witness});
            writeln!(out, "{document}")?;
        }
        (Verdict::Faulty(fault), json) => return faulty(&mut out, &fault, json),
    }
    Ok(ExitCode::SUCCESS)
}

/// A checkpoint that a witness has cosigned.
struct Witnessed {
    note: String,
    by: String,
    at: Time,
    size: u64,
}

/// Why there is none.
enum Unwitnessed {
    Key(Failure),
    Fault(Fault),
}

/// The newest checkpoint that the witness whose key is in `path` has cosigned: the one that was given, or else of those
/// that are kept beside the log.
fn witnessed(path: &Path, audit: &Path, given: Option<String>) -> Result<Witnessed, Unwitnessed> {
    let key = WitnessKey::read(path).map_err(|e| Unwitnessed::Key(e.into()))?;
    let is_given = given.is_some();
    let (file, notes) = match given {
        Some(note) => ("the given checkpoint", vec![note]),
        None => ("witness", cosigned(audit).into_iter().map(|(_, note)| note).collect()),
    };
    let mut reason = format!("no checkpoint is kept that the witness {} has cosigned", key.name());
    let mut newest: Option<Witnessed> = None;
    for note in notes {
        let size = Checkpoint::peek(&note).map_or(0, |checkpoint| checkpoint.size);
        match key.verify(&note) {
            Ok(at) if newest.as_ref().is_none_or(|newest| newest.at < at) => {
                newest = Some(Witnessed { note, by: key.name().to_owned(), at, size });
            }
            Ok(_) => {}
            // Of those that are kept, others are of other witnesses.
            Err(CosignatureError::Missing(_)) if !is_given => {}
            Err(error) => reason = error.to_string(),
        }
    }
    newest.ok_or_else(|| {
        Unwitnessed::Fault(Fault { file: file.to_owned(), offset: None, sequence: None, id: None, reason })
    })
}

fn key(args: &Args, paths: &StatePaths) -> Result<VerifyingKey, Failure> {
    if let Some(path) = &args.key {
        return Ok(VerifyingKey::read(path)?);
    }
    kept_key(paths)
}

/// What the log is verified against when nothing was kept elsewhere.
pub(super) fn kept_trust(paths: &StatePaths) -> Result<Trust, Failure> {
    Ok(Trust { key: kept_key(paths)?, checkpoint: None, keys: Some(paths.keys()) })
}

/// The log's public key as the state directory has it.
fn kept_key(paths: &StatePaths) -> Result<VerifyingKey, Failure> {
    // The audit role may not look into keys/; the log keeps a copy for it.
    let kept = VerifyingKey::read(&paths.keys().join("log-signing.pub"));
    match kept.or_else(|_| VerifyingKey::read(&paths.audit().join("log-signing.pub"))) {
        Ok(key) => Ok(key),
        Err(error) => Err(format!("{error}: give the log's public signing key with --key").into()),
    }
}

fn intact(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let segments = count(report.segments, "segment");
    let (records, frames) = (count(report.records, "record"), count(report.frames, "frame"));
    let intact = Style::Good.paint("intact", colour());
    writeln!(out, "{intact}: {records}, {frames} in {segments}{}", speed(report))?;
    let leaves = count(report.leaves, "leaf");
    writeln!(out, "  signed    {} of {leaves}, root of all {}", report.signed_leaves, report.root)?;
    if report.unsigned_frames > 0 {
        let note = "since the last checkpoint: linked by the hash chain, signed within a second";
        writeln!(out, "  unsigned  {} {note}", count(report.unsigned_frames, "frame"))?;
    }
    let anchored = match report.accesses_anchored {
        Some(_) => "",
        None => " (whether some were removed could not be checked: keys/ may not be read)",
    };
    writeln!(out, "  accesses  {} to sealed content{anchored}", report.accesses)?;
    if report.acts > 0 {
        let acts = count(report.acts, "act");
        write!(out, "  acts      {acts} on record: removals, erasures, holds")?;
        match report.reduced_frames {
            0 => writeln!(out)?,
            frames => writeln!(out, "; contents of {} are gone, as they say", count(frames, "frame"))?,
        }
    }
    if report.alerts > 0 {
        writeln!(out, "  alerts    {} on record", report.alerts)?;
    }
    if report.tiles > 0 {
        writeln!(out, "  tiles     {}, in line with the log", report.tiles)?;
    }
    if report.indexes > 0 {
        writeln!(out, "  indexes   {}, in line with the segments{}", report.indexes, took(report.index_seconds))?;
    }
    for note in &report.notes {
        writeln!(out, "  note      {}", clean(&note.to_string()))?;
    }
    match report.missing_keys {
        Some(0) | None => Ok(()),
        Some(missing) => {
            let keys = count(missing, "wrapped data key");
            writeln!(out, "  keys      {keys} missing from keys/epochs: what was sealed under them cannot be opened")
        }
    }
}

/// `1 record`, `2 records`.
fn count(number: u64, thing: &str) -> String {
    match (number, thing.strip_suffix('f')) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) => format!("{number} {stem}ves"),
        (_, None) => format!("{number} {thing}s"),
    }
}

/// How fast it went, where that says something.
fn speed(report: &Report) -> String {
    let megabytes = report.bytes as f64 / 1e6;
    if megabytes < 10.0 {
        return String::new();
    }
    let seconds = report.seconds.max(1e-9);
    format!(", {megabytes:.1} MB in {seconds:.2} s ({:.0} MB/s)", megabytes / seconds)
}

/// How long something took, where that is worth a word.
fn took(seconds: f64) -> String {
    if seconds < 0.1 { String::new() } else { format!(", in {seconds:.2} s") }
}

fn faulty(out: &mut impl Write, fault: &Fault, json: bool) -> Result<ExitCode, Failure> {
    match json {
        true => writeln!(out, "{}", json!({"intact": false, "fault": fault}))?,
        false => {
            writeln!(out, "{}: {fault}", Style::Bad.paint("NOT INTACT", colour()))?;
            writeln!(
                out,
                "  what to do: touch nothing, copy audit/ and keys/, and see docs/log.md, \"When it says NOT INTACT\""
            )?;
        }
    }
    Ok(ExitCode::from(NEGATIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        let counted = [count(1, "record"), count(2, "segment"), count(0, "frame"), count(2, "leaf"), count(1, "leaf")];
        assert_eq!(counted, ["1 record", "2 segments", "0 frames", "2 leaves", "1 leaf"]);
    }

    #[test]
    fn a_speed_is_given_for_logs_that_take_a_while() {
        let report = |bytes| Report { bytes, seconds: 0.5, ..Report::default() };
        assert_eq!(speed(&report(9_000_000)), "");
        assert_eq!(speed(&report(20_000_000)), ", 20.0 MB in 0.50 s (40 MB/s)");
    }
}
