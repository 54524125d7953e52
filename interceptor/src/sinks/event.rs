//! What is sent: a record, or a signed checkpoint, in the sink's format.

use crate::audit::{Checkpoint, Followed, Record, Time};
use crate::siem::{self, Format};

/// One of the things that are sent.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) what: What,
    /// In the sink's format, without the end of the line.
    pub(super) text: String,
    /// The frame that ended the record.
    pub(super) end: u64,
}

#[derive(Debug)]
pub(super) enum What {
    Record(Box<Record>),
    Checkpoint { note: String, checkpoint: Checkpoint, at: Time },
}

impl Event {
    pub(super) fn record(format: Format, followed: Followed) -> Self {
        let text = siem::line(format, &followed.record);
        let end = followed.position.last.map_or(0, |last| last.end);
        Self { what: What::Record(Box::new(followed.record)), text, end }
    }

    pub(super) fn checkpoint(format: Format, note: &str, checkpoint: &Checkpoint) -> Self {
        let at = Time::now();
        let text = siem::checkpoint_line(format, note, checkpoint, at);
        let what = What::Checkpoint { note: note.to_owned(), checkpoint: checkpoint.clone(), at };
        Self { what, text, end: checkpoint.frames }
    }

    /// What to tell repetitions by: the record's id; for a checkpoint its log and size.
    pub(super) fn id(&self) -> String {
        match &self.what {
            What::Record(record) => record.id.to_string(),
            What::Checkpoint { checkpoint, .. } => siem::checkpoint_id(checkpoint),
        }
    }

    pub(super) fn time(&self) -> Time {
        match &self.what {
            What::Record(record) => record.time,
            What::Checkpoint { at, .. } => *at,
        }
    }

    /// The host that it is of.
    pub(super) fn host(&self) -> &str {
        match &self.what {
            What::Record(record) => &record.host,
            What::Checkpoint { checkpoint, .. } => siem::checkpoint_host(checkpoint),
        }
    }

    /// `record` or `checkpoint`.
    pub(super) fn kind(&self) -> &'static str {
        match &self.what {
            What::Record(_) => "record",
            What::Checkpoint { .. } => "checkpoint",
        }
    }

    /// The frame that opened the record.
    pub(super) fn sequence(&self) -> Option<u64> {
        match &self.what {
            What::Record(record) => record.log.sequence,
            What::Checkpoint { .. } => None,
        }
    }
}

/// The events as lines, each with its end.
pub(super) fn lines(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(events.iter().map(|event| event.text.len() + 1).sum());
    for event in events {
        bytes.extend_from_slice(event.text.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

/// A record as it comes from a log.
#[cfg(test)]
pub(super) fn followed(record: Record) -> Followed {
    Followed { record, position: crate::audit::FollowPosition::default() }
}
