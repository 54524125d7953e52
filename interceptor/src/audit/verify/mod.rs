//! Verification: reads everything and believes nothing but a public key.

mod ahead;
mod fault;
mod stream;
mod suspect;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::access::{MARKER, marker};
use super::act::Acts;
use super::checkpoint::{Checkpoint, CheckpointError, VerifyingKey};
use super::header::Stream;
use super::index;
use super::reader::ReadError;
use super::record::Note;

pub use fault::Fault;
use fault::{Stop, fault};
use stream::{Known, StreamCheck};

/// What was verified.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Exchanges and refusals.
    pub records: u64,
    /// Accesses to sealed content, refused attempts included.
    pub accesses: u64,
    /// Acts that changed what the log keeps: retention, erasures, legal holds.
    pub acts: u64,
    /// Frames from which such an act removed contents.
    pub reduced_frames: u64,
    /// Whether the access log reaches the marker in the keys directory; false when there is no marker (nothing was ever
    /// unsealed), null when the keys could not be looked at.
    pub accesses_anchored: Option<bool>,
    /// Frames of both streams.
    pub frames: u64,
    /// Leaves of the exchanges' Merkle tree.
    pub leaves: u64,
    /// Root of that tree, in hexadecimal.
    pub root: String,
    /// Leaves that the signed checkpoint covers.
    pub signed_leaves: u64,
    /// Frames after the last signed checkpoint: linked by the chain alone.
    pub unsigned_frames: u64,
    /// Segments of both streams.
    pub segments: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Data keys that sealed something and whose wrapped form, or that of a class, is not there; null when the keys could
    /// not be looked at.
    pub missing_keys: Option<u64>,
    /// What the log says about itself: recoveries, starts without a checkpoint.
    pub notes: Vec<Note>,
    /// Alerts, which are notes about the host.
    pub alerts: u64,
    /// Tiles that were there and say what the log does.
    pub tiles: u64,
    /// How long it took, without the indexes.
    pub seconds: f64,
    /// Indexes that were there and say what their segments do.
    pub indexes: u64,
    /// How long those took.
    pub index_seconds: f64,
}

/// What to verify against.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The public half of the log's signing key.
    pub key: VerifyingKey,
    /// A signed checkpoint kept elsewhere: the log must still contain what it covers.
    pub checkpoint: Option<String>,
    /// Where the wrapped data keys are, to check those.
    pub keys: Option<PathBuf>,
}

/// What a verification comes to.
#[derive(Debug)]
pub enum Verdict {
    /// Nothing is wrong.
    Intact(Report),
    /// The first thing that is.
    Faulty(Box<Fault>),
}

/// Verifies both streams of the log in `dir`, and then whether its indexes say the same.
///
/// # Errors
/// When the log cannot be read; damage is a [`Verdict`].
pub fn verify(dir: &Path, trust: &Trust) -> Result<Verdict, ReadError> {
    let mut report = match sound(dir, trust)? {
        Ok(sound) => sound.report,
        Err(fault) => return Ok(Verdict::Faulty(fault)),
    };
    let started = Instant::now();
    Ok(match or_fault(indexes(dir))? {
        Ok(indexes) => {
            (report.indexes, report.index_seconds) = (indexes, started.elapsed().as_secs_f64());
            Verdict::Intact(report)
        }
        Err(fault) => Verdict::Faulty(fault),
    })
}

/// Nothing is proven with an index, but one that lies would hide records from whoever reads through it. Gives their number.
fn indexes(dir: &Path) -> Result<u64, Stop> {
    let mut same = 0;
    for stream in [Stream::Log, Stream::Access] {
        let compared = index::compare(dir, stream)?;
        if let Some(path) = compared.other {
            let reason = "this index does not say what its segment does: list, show and grep would hide records or show others. \
                          All else is right: the log itself is intact. Find out what changed this file, then remove it: \
                          it is made anew";
            return Err(fault(&path, None, reason));
        }
        same += compared.same;
    }
    Ok(same)
}

/// A log in which nothing is wrong.
pub(crate) struct Sound {
    report: Report,
    /// Those that are signed.
    pub(crate) acts: Acts,
    /// Frames that the signed checkpoint covers.
    pub(crate) signed: u64,
}

/// As [`verify`], for who goes on with what the log says.
pub(crate) fn sound(dir: &Path, trust: &Trust) -> Result<Result<Sound, Box<Fault>>, ReadError> {
    let started = Instant::now();
    let sound = verify_all(dir, trust).map(|mut sound| {
        sound.report.seconds = started.elapsed().as_secs_f64();
        sound
    });
    or_fault(sound)
}

/// The acts that the access log in `dir` has, signed ones alone; none when there is no access log.
pub(crate) fn signed_acts(dir: &Path, trust: &Trust) -> Result<Result<Acts, Box<Fault>>, ReadError> {
    or_fault(access_acts(dir, trust, None, &mut Report::default()))
}

fn or_fault<T>(result: Result<T, Stop>) -> Result<Result<T, Box<Fault>>, ReadError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Fault(fault)) => Ok(Err(fault)),
        Err(Stop::Read(error)) => Err(error),
    }
}

fn access_acts(dir: &Path, trust: &Trust, saved: Option<Known>, report: &mut Report) -> Result<Acts, Stop> {
    let marker = access_marker(trust, report)?;
    let kept = saved.into_iter().chain(marker).collect();
    let access = StreamCheck::run(dir, Stream::Access, trust, kept, Acts::default(), report)?;
    Ok(access.map(|access| Acts::new(access.acts)).unwrap_or_default())
}

fn verify_all(dir: &Path, trust: &Trust) -> Result<Sound, Stop> {
    let mut report = Report::default();
    let saved = trust.checkpoint.as_deref().map(|note| saved(note, &trust.key)).transpose()?;
    let saved_for = |stream| {
        let ours = saved.as_ref().filter(|(of, _)| *of == stream);
        ours.map(|(_, checkpoint)| ("the given checkpoint", checkpoint.clone()))
    };
    // First the access log: it says which contents may be missing from the other.
    let acts = access_acts(dir, trust, saved_for(Stream::Access), &mut report)?;
    let kept = saved_for(Stream::Log).into_iter().collect();
    let Some(log) = StreamCheck::run(dir, Stream::Log, trust, kept, acts.clone(), &mut report)? else {
        return Err(ReadError::Missing(dir.to_path_buf()).into());
    };
    report.leaves = log.extent.tree.size();
    report.root = hex::encode(log.extent.tree.root());
    Ok(Sound { report, acts, signed: log.signed })
}

/// The newest checkpoint of the access log that the keys directory knows of.
fn access_marker(trust: &Trust, report: &mut Report) -> Result<Option<Known>, Stop> {
    let Some(keys) = &trust.keys else { return Ok(None) };
    if std::fs::read_dir(keys).is_err() {
        return Ok(None);
    }
    let marker = marker(keys, &trust.key).map_err(|reason| fault(&Path::new("keys").join(MARKER), None, reason))?;
    report.accesses_anchored = Some(marker.is_some());
    Ok(marker.map(|checkpoint| ("the marker in the keys directory", checkpoint)))
}

/// A checkpoint from elsewhere, and the stream it is of. What is none, or another log's, proves nothing about this one.
fn saved(note: &str, key: &VerifyingKey) -> Result<(Stream, Checkpoint), Stop> {
    let malformed = CheckpointError::Malformed("its lines are not those of a checkpoint");
    let peeked = Checkpoint::peek(note).ok_or(ReadError::Checkpoint(malformed))?;
    let expected = key.name(Stream::Log);
    if peeked.origin != expected && peeked.origin != key.name(Stream::Access) {
        return Err(ReadError::Checkpoint(CheckpointError::Origin { found: peeked.origin, expected }).into());
    }
    let log = Checkpoint::verify(note, key, Stream::Log);
    if let Err(CheckpointError::Unsigned(_)) = log
        && let Ok(checkpoint) = Checkpoint::verify(note, key, Stream::Access)
    {
        return Ok((Stream::Access, checkpoint));
    }
    let file = Path::new("the given checkpoint");
    log.map(|checkpoint| (Stream::Log, checkpoint)).map_err(|e| fault(file, None, e.to_string()))
}
