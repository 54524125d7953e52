//! `interceptor log prove --since`, and the check of such a proof that `interceptor log verify --proof` makes.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::table::{Style, clean, colour};
use super::{prove, read_text};
use crate::audit::{
    Checkpoint, CheckpointError, Consistency, ConsistencyError, ReadError, Reader, Stream, VerifyingKey,
};
use crate::cli::{Failure, NEGATIVE};

/// Writes a proof that the log goes on from the checkpoint in `since`.
pub(super) fn prove(since: &Path, out: Option<&Path>, audit: &Path) -> Result<ExitCode, Failure> {
    let mut reader = Reader::open(audit)?;
    let key = VerifyingKey::read(&audit.join("log-signing.pub"))?;
    let old = kept("--since", since, &key)?;
    let proof = match reader.prove_continuation(old.size) {
        Ok((proof, _)) => proof,
        Err(error @ ReadError::Shorter { .. }) => return not_proven(&error, false),
        Err(error) => return Err(error.into()),
    };
    // Now is when something can be done about it.
    match proof.verify(&key, &old) {
        Ok(_) => prove::write(&proof, out),
        Err(error @ ConsistencyError::Inconsistent { .. }) => not_proven(&error, false),
        Err(error) => Err(format!("the log's checkpoint proves nothing: {error}: run `interceptor log verify`").into()),
    }
}

/// Checks the proof `text`, which is in `path`, against the checkpoint that was kept.
pub(super) fn check(
    (text, path): (&str, &Path),
    old: Option<&Path>,
    key: &VerifyingKey,
    json: bool,
) -> Result<ExitCode, Failure> {
    let Some(old) = old else {
        let what = "is a proof that the log goes on from a checkpoint that was kept: give that with --checkpoint";
        return Err(format!("--proof {}: {what}", path.display()).into());
    };
    let old = kept("--checkpoint", old, key)?;
    let mut out = io::stdout().lock();
    match Consistency::parse(text).and_then(|proof| proof.verify(key, &old)) {
        Ok(new) if json => writeln!(out, "{}", document(&old, &new))?,
        Ok(new) => {
            let proven = Style::Good.paint("proven", colour());
            let origin = clean(&new.origin);
            writeln!(
                out,
                "{proven}: {origin} of {} leaves goes on from the {} of the kept checkpoint",
                new.size, old.size
            )?;
            writeln!(out, "  root      {}", hex::encode(new.root))?;
        }
        Err(error @ (ConsistencyError::Malformed(_) | ConsistencyError::OtherState { .. })) => {
            let remedy = "give a file that `interceptor log prove --since` wrote for that checkpoint";
            return Err(format!("--proof {}: {error}: {remedy}", path.display()).into());
        }
        Err(error) => return not_proven(&error, json),
    }
    Ok(ExitCode::SUCCESS)
}

/// A checkpoint that was kept: it must be one of this log.
fn kept(option: &str, path: &Path, key: &VerifyingKey) -> Result<Checkpoint, Failure> {
    let note = read_text(&path.to_path_buf())?;
    Checkpoint::verify(&note, key, Stream::Log).map_err(|error| {
        let is_access = Checkpoint::verify(&note, key, Stream::Access).is_ok();
        let remedy = match error {
            _ if is_access => "it is of the access log; proofs are of the log of exchanges",
            CheckpointError::Unsigned(_) => "another key signed it: the log was written anew, or it is of another one",
            _ => "give a copy of this log's audit/checkpoint",
        };
        format!("{option} {}: {error}: {remedy}", path.display()).into()
    })
}

fn not_proven(reason: &impl ToString, json: bool) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    match json {
        true => writeln!(out, "{}", json!({"proven": false, "reason": reason.to_string()}))?,
        false => writeln!(out, "{}: {}", Style::Bad.paint("NOT PROVEN", colour()), reason.to_string())?,
    }
    Ok(ExitCode::from(NEGATIVE))
}

fn document(old: &Checkpoint, new: &Checkpoint) -> serde_json::Value {
    json!({
        "proven": true,
        "origin": new.origin,
        "old_size": old.size,
        "old_root": hex::encode(old.root),
        "size": new.size,
        "root": hex::encode(new.root),
    })
}
