//! `interceptor log prove`, and the check of a proof that `interceptor log verify --proof` makes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::table::{Style, clean, colour};
use super::{continues, find, new_file, read_text, report_damage};
use crate::audit::{Consistency, Content, Holding, Proof, ProofError, Proven, Reader, Time, VerifyingKey};
use crate::cli::{Failure, NEGATIVE};

/// No proof has as many bytes.
const LARGEST_PROOF: u64 = 64 << 10;

/// Arguments of `interceptor log prove`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor log prove latest > request.tlog-proof
  interceptor log prove 01a20909-633c --end --out response.tlog-proof
  interceptor log verify --proof request.tlog-proof --key log-signing.pub
  interceptor log prove --since kept.checkpoint --out log.consistency
  interceptor log verify --proof log.consistency --checkpoint kept.checkpoint --key log-signing.pub

The proof is a C2SP tlog-proof (c2sp.org/tlog-proof): it holds what the log's tree has of the record
(ids, times, digests of all contents), the way to the root of the tree, and the signed checkpoint.
Whoever has the log's public key can check it, without the log and offline.

With --since the proof is that the log goes on from a checkpoint that was kept: all that was signed then is
there, unchanged and in its place. It has the form of a request to a C2SP tlog-witness.

Exit status: 0 written; 1 with --since: the log does not go on from that checkpoint; 2 there is no such record, or no signed checkpoint covers it yet.")]
pub(crate) struct Args {
    /// Id of the record, an unambiguous start of it, or `latest`
    #[arg(required_unless_present = "since")]
    id: Option<String>,
    /// Instead of a record, prove that the log goes on from this checkpoint, kept earlier
    #[arg(long, value_name = "CHECKPOINT", conflicts_with_all = ["id", "end"])]
    since: Option<PathBuf>,
    /// Of the record's end, with its response, instead of its beginning
    #[arg(long)]
    end: bool,
    /// Into this new file [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, audit: &Path) -> Result<ExitCode, Failure> {
    if let Some(since) = &args.since {
        return continues::prove(since, args.out.as_deref(), audit);
    }
    let mut reader = Reader::open(audit)?;
    let at = find(&mut reader, args.id.as_deref().unwrap_or_default())?;
    let proof = reader.prove(&at, args.end)?;
    report_damage(reader.damage());
    // Now is when something can be done about it.
    let key = VerifyingKey::read(&audit.join("log-signing.pub"))?;
    proof
        .verify(&key)
        .map_err(|e| format!("the log's checkpoint proves nothing: {e}: run `interceptor log verify`"))?;
    write(&proof, args.out.as_deref())
}

/// Writes a proof where it is wanted.
pub(super) fn write(proof: &impl ToString, out: Option<&Path>) -> Result<ExitCode, Failure> {
    let proof = proof.to_string();
    match out {
        Some(path) => {
            let written = new_file(path, 0o666)?.write_all(proof.as_bytes());
            written.map_err(|e| format!("--out {}: {e}", path.display()))?;
        }
        None => io::stdout().write_all(proof.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks the proof in `path`; that a log goes on from an earlier state, against the `checkpoint` of that.
pub(crate) fn check(
    path: &PathBuf,
    checkpoint: Option<&Path>,
    key: &VerifyingKey,
    json: bool,
) -> Result<ExitCode, Failure> {
    let len = std::fs::metadata(path).map_err(|e| format!("--proof {}: {e}", path.display()))?.len();
    if len > LARGEST_PROOF {
        return Err(format!("--proof {}: {len} bytes are no proof", path.display()).into());
    }
    let text = read_text(path)?;
    if Consistency::is_meant_by(&text) {
        return continues::check((&text, path), checkpoint, key, json);
    }
    if checkpoint.is_some() {
        let why = "a proof of one record has a checkpoint of its own: leave out --checkpoint";
        return Err(format!("--proof {}: {why}", path.display()).into());
    }
    let verdict = Proof::parse(&text).and_then(|proof| proof.verify(key));
    let mut out = io::stdout().lock();
    match verdict {
        Ok(proven) if json => writeln!(out, "{}", document(&proven))?,
        Ok(proven) => show(&mut out, &proven)?,
        Err(error @ ProofError::Malformed(_)) => {
            return Err(
                format!("--proof {}: {error}: give a file that `interceptor log prove` wrote", path.display()).into()
            );
        }
        Err(error) if json => {
            writeln!(out, "{}", json!({"proven": false, "reason": error.to_string()}))?;
            return Ok(ExitCode::from(NEGATIVE));
        }
        Err(error) => {
            writeln!(out, "{}: {error}", Style::Bad.paint("NOT PROVEN", colour()))?;
            return Ok(ExitCode::from(NEGATIVE));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(out: &mut impl Write, Proven { entry, checkpoint }: &Proven) -> io::Result<()> {
    let proven = Style::Good.paint("proven", colour());
    let (kind, id, time) = (entry.kind.name(), entry.exchange, Time::from_unix_ns(entry.wall_ns));
    writeln!(out, "{proven}: {kind} of record {id}, written {time}")?;
    writeln!(
        out,
        "  leaf      {} of the {} that {} signed",
        entry.leaf_index,
        checkpoint.size,
        clean(&checkpoint.origin)
    )?;
    for section in &entry.sections {
        let how = match section.holding {
            Holding::Plain => format!("{} bytes, SHA-256", section.length),
            Holding::Sealed => format!("{} bytes sealed, SHA-256", section.length),
            Holding::Parts => format!("in {} parts, digest", section.length),
        };
        writeln!(out, "  {:<12}{how} {}", label(section.content), hex::encode(section.digest))?;
    }
    Ok(())
}

fn label(content: Content) -> &'static str {
    match content {
        Content::Json => "record",
        other => other.name(),
    }
}

fn document(Proven { entry, checkpoint }: &Proven) -> serde_json::Value {
    let contents = entry.sections.iter().map(|section| {
        let (content, holding) = (section.content.name(), section.holding.name());
        json!({"content": content, "holding": holding, "length": section.length, "digest": hex::encode(section.digest)})
    });
    json!({
        "proven": true,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": hex::encode(checkpoint.root),
        "index": entry.leaf_index,
        "sequence": entry.sequence,
        "kind": entry.kind.name(),
        "id": entry.exchange,
        "time": Time::from_unix_ns(entry.wall_ns),
        "contents": contents.collect::<Vec<_>>(),
    })
}
