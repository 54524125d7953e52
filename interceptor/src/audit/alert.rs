//! Alerts: what someone should look at, as the content of a note. So they are part of the log, signed with it, and go
//! where it goes. An alert counts and names; it has no content of any request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Error, Note, Notes, Time};
use crate::flow::{ExchangeId, Severity};

/// Something that someone should look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule that raised it: of the configuration, or one of the daemon's own.
    pub name: String,
    /// What the rule counts separately, and this is about: `uid:1000`, an endpoint, a sink; empty for the whole host.
    pub key: String,
    /// How bad it is.
    pub severity: Severity,
    /// When what it is about had happened.
    pub time: Time,
    /// In words.
    pub reason: String,
    /// How much was counted within the window.
    pub count: u64,
    /// Seconds within which it was counted, and for which the rule is quiet about the same key from then on.
    pub window_s: u64,
    /// What was counted while the rule was quiet about this key, after the alert before.
    pub suppressed: u64,
    /// User and program of the last record: `alice/curl`.
    pub caller: Option<String>,
    /// User id of the last record.
    pub uid: Option<u32>,
    /// Name of the endpoint of the last record.
    pub endpoint: Option<String>,
    /// Types of findings that were counted.
    pub types: BTreeMap<String, u64>,
    /// The last records that were counted, newest last.
    pub records: Vec<ExchangeId>,
}

#[derive(Serialize)]
struct Content<'a> {
    event: &'static str,
    #[serde(flatten)]
    alert: &'a Alert,
}

impl Alert {
    /// Appends it to the log.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub fn record(&self, notes: &Notes) -> Result<(), Error> {
        notes.add(&Content { event: Note::ALERT, alert: self })
    }

    /// The alert that a note is, if it is one.
    #[must_use]
    pub fn of(note: &Note) -> Option<Self> {
        (note.event() == Some(Note::ALERT)).then(|| Self::deserialize(&note.content).ok())?
    }
}
