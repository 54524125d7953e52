//! The access log: who unsealed which record, and why. A stream of its own, because the daemon is the only writer of
//! the other one; it is appended and made durable before anything is shown.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::checkpoint::SigningKey;
use super::disk::Kernel;
use super::frame::{Content, Kind};
use super::header::Stream;
use super::recover::WithoutCheckpoint;
use super::writer::{Plan, Shared, Wanted};
use super::{Error, Time};
use crate::flow::ExchangeId;

/// Bytes of an access segment: one is made for each access and cut to what it used.
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
}

impl Access {
    /// Appends the access to the log in `dir`, durably, and signs a checkpoint over it with the key below `keys`.
    ///
    /// # Errors
    /// When it cannot be recorded; then nothing may be shown.
    pub fn record(&self, dir: &Path, keys: &Path) -> Result<(), Error> {
        let key = SigningKey::load(keys)?;
        let shared = Shared::open(dir, Stream::Access, SEGMENT, key, Arc::new(Kernel), WithoutCheckpoint::Refuse)?;
        let json = serde_json::to_vec(self).expect("an access is plain data");
        shared.append_now(&Plan::new(Kind::Access, self.exchange).plain(Content::Json, &json), Wanted::Appended)?;
        shared.sync_now()?;
        shared.finish()
    }
}
