//! `interceptor log verify`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::super::{Failure, NEGATIVE};
use super::read_text;
use super::table::{Style, colour};
use crate::audit::{Fault, Report, Trust, Verdict, VerifyingKey, verify};
use crate::config::StatePaths;

/// Arguments of `interceptor log verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A checkpoint kept elsewhere: everything it covers must still be there
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// The log's public signing key, kept elsewhere [default: keys/log-signing.pub of the state directory]
    #[arg(long, value_name = "PUB")]
    key: Option<PathBuf>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, paths: &StatePaths) -> Result<ExitCode, Failure> {
    // A missing or unreadable log has a better message than its missing key.
    crate::audit::Reader::open(&paths.audit())?;
    let trust = Trust {
        key: key(args, paths)?,
        checkpoint: args.checkpoint.as_ref().map(read_text).transpose()?,
        keys: Some(paths.keys()),
    };
    let verdict = verify(&paths.audit(), &trust)?;
    let mut out = io::stdout().lock();
    match (verdict, args.json) {
        (Verdict::Intact(report), false) => intact(&mut out, &report)?,
        (Verdict::Intact(report), true) => writeln!(out, "{}", json!({"intact": true, "report": report}))?,
        (Verdict::Faulty(fault), true) => {
            writeln!(out, "{}", json!({"intact": false, "fault": fault}))?;
            return Ok(ExitCode::from(NEGATIVE));
        }
        (Verdict::Faulty(fault), false) => {
            faulty(&mut out, &fault)?;
            return Ok(ExitCode::from(NEGATIVE));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn key(args: &Args, paths: &StatePaths) -> Result<VerifyingKey, Failure> {
    if let Some(path) = &args.key {
        return Ok(VerifyingKey::read(path)?);
    }
    // The audit role may not look into keys/; the log keeps a copy for it.
    let kept = VerifyingKey::read(&paths.keys().join("log-signing.pub"));
    match kept.or_else(|_| VerifyingKey::read(&paths.audit().join("log-signing.pub"))) {
        Ok(key) => Ok(key),
        Err(error) => Err(format!("{error}: give the log's public signing key with --key").into()),
    }
}

fn intact(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let seconds = report.seconds.max(1e-9);
    let megabytes = report.bytes as f64 / 1e6;
    writeln!(
        out,
        "{}: {} records, {} frames in {} segments, {megabytes:.1} MB in {seconds:.2} s ({:.0} MB/s)",
        Style::Good.paint("intact", colour()),
        report.records,
        report.frames,
        report.segments,
        megabytes / seconds
    )?;
    writeln!(out, "  signed    {} of {} leaves, root of all {}", report.signed_leaves, report.leaves, report.root)?;
    if report.unsigned_frames > 0 {
        let note = "since the last checkpoint: linked by the hash chain, signed within a second";
        writeln!(out, "  unsigned  {} frames {note}", report.unsigned_frames)?;
    }
    writeln!(out, "  accesses  {} to sealed content", report.accesses)?;
    for note in &report.notes {
        writeln!(out, "  note      {note}")?;
    }
    match report.missing_keys {
        Some(0) | None => Ok(()),
        Some(missing) => {
            writeln!(out, "  keys      {missing} wrapped data keys are not there: what they sealed cannot be opened")
        }
    }
}

fn faulty(out: &mut impl Write, fault: &Fault) -> io::Result<()> {
    writeln!(out, "{}: {fault}", Style::Bad.paint("NOT INTACT", colour()))
}
