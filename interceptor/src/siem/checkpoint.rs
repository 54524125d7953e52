//! A signed checkpoint of the log, in the formats that are one event a line: kept elsewhere, it shows that the log was
//! put back to an earlier state, which the log itself cannot.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{Format, PRODUCT, VERSION, cef, ecs, milliseconds, ocsf, otlp};
use crate::audit::{Checkpoint, Time};

/// Bytes of a hash that are enough to tell notes apart.
const TAG: usize = 8;

/// What to tell checkpoints by: the log, its leaves and frames, and what else the note says. Two trees of one size are two
/// checkpoints, and the second must not look like a repetition of the first.
#[must_use]
pub fn id(note: &str, checkpoint: &Checkpoint) -> String {
    format!("{}#{}-{}-{}", checkpoint.origin, checkpoint.size, checkpoint.frames, tag(note))
}

/// Tells notes of the same size apart.
#[must_use]
pub fn tag(note: &str) -> String {
    hex::encode(&digest(&SHA256, note.as_bytes()).as_ref()[..TAG])
}

/// The host whose log it is of.
#[must_use]
pub fn host(checkpoint: &Checkpoint) -> &str {
    host_of(&checkpoint.origin)
}

/// The host whose log has this origin.
#[must_use]
pub fn host_of(origin: &str) -> &str {
    origin.strip_prefix("interceptor/").unwrap_or(origin)
}

/// The line of `note`, which says `checkpoint` and was the newest at `at`.
pub(super) fn line(format: Format, note: &str, checkpoint: &Checkpoint, at: Time) -> String {
    match format {
        Format::Jsonl | Format::Har => plain(note, checkpoint, at).to_string(),
        Format::Ocsf => ocsf_event(note, checkpoint, at).to_string(),
        Format::Ecs => ecs_document(note, checkpoint, at).to_string(),
        Format::Cef => cef_line(note, checkpoint, at),
        Format::Otlp => otlp::checkpoint_line(note, checkpoint, &plain(note, checkpoint, at).to_string(), at),
    }
}

fn plain(note: &str, checkpoint: &Checkpoint, at: Time) -> Value {
    json!({"checkpoint": {
        "time": at,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": hex::encode(checkpoint.root),
        "frames": checkpoint.frames,
        "note": note,
    }})
}

/// No class of the schema is about the state of a log: a Base Event, the note in `raw_data`.
fn ocsf_event(note: &str, checkpoint: &Checkpoint, at: Time) -> Value {
    json!({
        "metadata": {
            "version": ocsf::SCHEMA,
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION},
            "uid": id(note, checkpoint),
            "log_name": "checkpoint",
        },
        "category_uid": 0,
        "category_name": "Uncategorized",
        "class_uid": 0,
        "class_name": "Base Event",
        "activity_id": 99,
        "activity_name": "Checkpoint",
        "type_uid": 99,
        "type_name": "Base Event: Other",
        "severity_id": 1,
        "time": milliseconds(at),
        "message": "Signed checkpoint of the audit log",
        "raw_data": note,
        "unmapped": plain(note, checkpoint, at)["checkpoint"],
    })
}

fn ecs_document(note: &str, checkpoint: &Checkpoint, at: Time) -> Value {
    json!({
        "@timestamp": at,
        "ecs": {"version": ecs::SCHEMA},
        "event": {
            "id": id(note, checkpoint),
            "kind": "state",
            "dataset": "interceptor.checkpoint",
            "module": "interceptor",
        },
        "message": "Signed checkpoint of the audit log",
        "interceptor": plain(note, checkpoint, at),
    })
}

fn cef_line(note: &str, checkpoint: &Checkpoint, at: Time) -> String {
    let header = ["CEF:0", PRODUCT, PRODUCT, VERSION, "checkpoint", "Signed checkpoint of the audit log"];
    format!(
        "{}|1|rt={} externalId={} cn1Label=leaves cn1={} msg={}",
        header.map(cef::in_header).join("|"),
        milliseconds(at),
        cef::in_value(&id(note, checkpoint)),
        checkpoint.size,
        cef::in_value(note)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_of_two_trees_of_one_size_are_told_apart() {
        let checkpoint = |root| Checkpoint {
            origin: "interceptor/a".to_owned(),
            size: 6,
            root: [root; 32],
            frames: 9,
            chain: [0; 32],
        };
        let (one, other) = (id("one", &checkpoint(1)), id("other", &checkpoint(2)));
        assert_ne!(one, other);
        // printf one | sha256sum
        assert_eq!(one, "interceptor/a#6-9-7692c3ad3540bb80");
    }
}
