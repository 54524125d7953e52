//! What is sent: a record, an alert or another note, or a signed checkpoint, in the sink's format.

use crate::audit::{Checkpoint, Followed, Note, Record, Said, Time};
use crate::flow::Severity;
use crate::siem::{self, Format};

/// One of the things that are sent.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) what: What,
    /// In the sink's format, without the end of the line.
    pub(super) text: String,
    /// The frame that ended the record, or is the note.
    pub(super) end: u64,
}

#[derive(Debug)]
pub(super) enum What {
    Record(Box<Record>),
    Note { note: Note, host: String },
    Checkpoint { note: String, checkpoint: Checkpoint, at: Time },
}

impl Event {
    /// Of what was followed in the log of `origin`.
    pub(super) fn said(format: Format, followed: Followed, origin: &str) -> Self {
        let end = followed.position.last.map_or(0, |last| last.end);
        match followed.said {
            Said::Record(record) => {
                let text = siem::line(format, &record);
                Self { what: What::Record(record), text, end }
            }
            Said::Note(note) => {
                let host = siem::host_of(origin).to_owned();
                let text = siem::note_line(format, &note, &host);
                Self { what: What::Note { note, host }, text, end }
            }
        }
    }

    pub(super) fn checkpoint(format: Format, note: &str, checkpoint: &Checkpoint) -> Self {
        let at = Time::now();
        let text = siem::checkpoint_line(format, note, checkpoint, at);
        let what = What::Checkpoint { note: note.to_owned(), checkpoint: checkpoint.clone(), at };
        Self { what, text, end: checkpoint.frames }
    }

    /// What to tell repetitions by: the record's id; the leaf hash of a note; for a checkpoint its log, size and note.
    pub(super) fn id(&self) -> String {
        match &self.what {
            What::Record(record) => record.id.to_string(),
            What::Note { note, .. } => note.leaf_hash.clone(),
            What::Checkpoint { note, checkpoint, .. } => siem::checkpoint_id(note, checkpoint),
        }
    }

    pub(super) fn time(&self) -> Time {
        match &self.what {
            What::Record(record) => record.time,
            What::Note { note, .. } => note.time,
            What::Checkpoint { at, .. } => *at,
        }
    }

    /// The host that it is of.
    pub(super) fn host(&self) -> &str {
        match &self.what {
            What::Record(record) => &record.host,
            What::Note { host, .. } => host,
            What::Checkpoint { checkpoint, .. } => siem::checkpoint_host(checkpoint),
        }
    }

    /// `record`, `alert`, `note` or `checkpoint`.
    pub(super) fn kind(&self) -> &'static str {
        match &self.what {
            What::Record(_) => "record",
            What::Note { note, .. } if note.is_alert() => "alert",
            What::Note { .. } => "note",
            What::Checkpoint { .. } => "checkpoint",
        }
    }

    /// Whether it is something of the log, by which the cursor moves.
    pub(super) fn is_of_log(&self) -> bool {
        matches!(self.what, What::Record(_) | What::Note { .. })
    }

    /// How bad it is, where it is a note.
    pub(super) fn severity(&self) -> Option<Severity> {
        match &self.what {
            What::Note { note, .. } => Some(siem::note_severity(note)),
            What::Record(_) | What::Checkpoint { .. } => None,
        }
    }

    /// The frame that opened the record, or is the note.
    pub(super) fn sequence(&self) -> Option<u64> {
        match &self.what {
            What::Record(record) => record.log.sequence,
            What::Note { note, .. } => Some(note.sequence),
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

/// The event of a record.
#[cfg(test)]
pub(super) fn of(format: Format, record: Record) -> Event {
    let followed = Followed { said: Said::Record(Box::new(record)), position: crate::audit::FollowPosition::default() };
    Event::said(format, followed, "")
}
