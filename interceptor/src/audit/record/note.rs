//! What the log says besides exchanges.

use serde::Serialize;

use super::super::{Alert, Head, Time};

/// What the log says about itself or the host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Note {
    /// Sequence number of its frame.
    pub sequence: u64,
    /// That frame's RFC 6962 leaf hash, in hexadecimal: names the note everywhere.
    pub leaf_hash: String,
    /// When it was written.
    pub time: Time,
    /// What it says: an object with `event`, mostly with `reason`.
    pub content: serde_json::Value,
}

impl Note {
    /// From a note's frame and its JSON.
    pub(crate) fn new(head: &Head, json: &[u8]) -> Self {
        let entry = &head.entry;
        // What is no JSON stands as the text it is: a note must not be overlooked.
        let content = serde_json::from_slice(json).unwrap_or_else(|_| String::from_utf8_lossy(json).into());
        Self {
            sequence: entry.sequence,
            leaf_hash: hex::encode(head.leaf),
            time: Time::from_unix_ns(entry.wall_ns),
            content,
        }
    }

    /// What [`event`](Self::event) says of an [`Alert`].
    pub const ALERT: &str = "alert";
    /// Of an [`Access`](super::super::Access).
    pub const ACCESS: &str = "access";
    /// Of an [`Act`](super::super::Act).
    pub const ACT: &str = "act";

    /// Whether it is an alert.
    #[must_use]
    pub fn is_alert(&self) -> bool {
        Alert::of(self).is_some()
    }

    /// Whether it is about the log itself: a recovery, a start without a checkpoint.
    #[must_use]
    pub fn is_about_log(&self) -> bool {
        !self.is_alert() && !matches!(self.event(), Some(Self::ACCESS | Self::ACT))
    }

    /// What happened, in a word.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        self.content["event"].as_str()
    }

    /// Why, or what of it, in words.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.content["reason"].as_str()
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, frame {}: ", self.time, self.sequence)?;
        match (self.event(), self.reason()) {
            (Some(event), Some(reason)) => write!(f, "{event}: {reason}"),
            _ => write!(f, "{}", self.content),
        }
    }
}
