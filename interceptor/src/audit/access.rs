//! The access log: who unsealed which record, and why; and who changed what the log keeps ([`super::act`]). A stream of its
//! own, because the daemon is the only writer of the other one; it is appended and made durable before anything is shown or
//! destroyed.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, SigningKey, VerifyingKey, read_note};
use super::disk::Kernel;
use super::frame::{Content, Kind, frame_length};
use super::header::{HEADER, Stream};
use super::keeper::replace_durably;
use super::recover::{WithoutCheckpoint, read_checkpoint};
use super::retain::RetainError;
use super::writer::{Plan, Shared, Wanted};
use super::{Error, ReadError, Time, Trust, acts};
use crate::flow::ExchangeId;

/// Below the keys directory: a copy of the access log's newest checkpoint. Whoever may write the log but not the keys
/// cannot remove accesses without contradicting it.
pub(crate) const MARKER: &str = "access.checkpoint";
/// Bytes of an access segment, unless it must have more: one is made for each access and cut to what it used.
const SEGMENT: u64 = 64 << 10;

/// One access to sealed content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The record that was unsealed.
    pub exchange: ExchangeId,
    /// When.
    pub time: Time,
    /// Real user id of who did it, as the kernel says (the login uid where there is one).
    pub uid: u32,
    /// That user's name.
    pub user: Option<String>,
    /// Fingerprint of the auditor's key.
    pub auditor: String,
    /// Why, in their words.
    pub reason: String,
    /// Whether the content was shown.
    #[serde(default)]
    pub outcome: Outcome,
    /// Why it was not.
    #[serde(default)]
    pub error: Option<String>,
}

/// What came of an attempt to unseal a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The content was opened, and shown after this was on record.
    #[default]
    Opened,
    /// The key does not fit, or the content is not what was sealed.
    Refused,
}

impl Access {
    /// Appends the access to the log in `dir`, durably, and signs a checkpoint over it with the key below `keys`.
    ///
    /// # Errors
    /// When it cannot be recorded; then nothing may be shown.
    pub fn record(&self, dir: &Path, keys: &Path) -> Result<(), Error> {
        let json = serde_json::to_vec(self).expect("an access is plain data");
        append(dir, keys, &Plan::new(Kind::Access, self.exchange).plain(Content::Json, &json))
    }
}

/// Appends a frame to the access log in `dir`, durably, and signs a checkpoint over it with the key below `keys`.
pub(crate) fn append(dir: &Path, keys: &Path, plan: &Plan<'_>) -> Result<(), Error> {
    let key = SigningKey::load(keys)?;
    let path = keys.join(MARKER);
    let marker = marker(keys, key.verifying()).map_err(|reason| Error::Inconsistent { path: path.clone(), reason })?;
    let segment = SEGMENT.max((2 * HEADER + frame_length(plan.sections.len(), plan.body_len())) as u64);
    let behind = |frames: u64| {
        let marker = marker.as_ref().filter(|marker| marker.frames > frames)?;
        let reason =
            format!("{} accesses were recorded, but the access log has {frames}: some were removed", marker.frames);
        Some(Error::Inconsistent { path: path.clone(), reason })
    };
    // Before the log is opened, which cuts off what its checkpoint does not sign: that may be an older one, put back.
    match read_checkpoint(dir, Stream::Access, key.verifying()) {
        Ok(checkpoint) => behind(checkpoint.frames).map_or(Ok(()), Err)?,
        Err(Error::NoCheckpoint { .. }) => {}
        Err(error) => return Err(error),
    }
    let shared = Shared::open(dir, Stream::Access, segment, key, Arc::new(Kernel), WithoutCheckpoint::Refuse, None)?;
    let frames = shared.lock().extent.frames;
    if let Some(error) = behind(frames) {
        shared.finish()?;
        return Err(error);
    }
    shared.append_now(plan, Wanted::Appended)?;
    shared.sync_now()?;
    // Still under the stream's lock, so that the marker never goes back.
    let note = dir.join(Stream::Access.checkpoint());
    let note = std::fs::read(&note).map_err(|e| Error::io("read", &note, e))?;
    replace_durably(&path, &note)?;
    shared.finish()
}

/// Frames of the access log in `dir` that its checkpoint signs, once all of it was verified; those behind them anyone can have
/// appended who may write the file.
///
/// # Errors
/// [`RetainError::NotIntact`] when none can be told from a forged one; [`RetainError::Read`].
pub fn signed_accesses(dir: &Path, trust: &Trust) -> Result<u64, RetainError> {
    // Before the frames are verified, which a later checkpoint may cover more of.
    let signed = match read_checkpoint(dir, Stream::Access, &trust.key) {
        Ok(checkpoint) => checkpoint.frames,
        Err(Error::NoCheckpoint { .. }) => 0,
        Err(error) => return Err(ReadError::from_log(error).into()),
    };
    acts(dir, trust)?;
    Ok(signed)
}

/// Where the access log had got to according to the keys directory, which whoever can only write the log cannot change.
/// `None` when no access was ever recorded.
///
/// # Errors
/// What is wrong with the marker.
pub(crate) fn marker(keys: &Path, key: &VerifyingKey) -> Result<Option<Checkpoint>, String> {
    match read_note(&keys.join(MARKER)) {
        Ok(note) => Checkpoint::verify(&note, key, Stream::Access).map(Some).map_err(|e| e.to_string()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}
