//! What the log says about itself or the host, in the formats that are one event a line: alerts, and other notes (a
//! recovery, a start without a checkpoint, an access to sealed content), which are findings without a rule.

use serde_json::{Value, json};

use super::{Format, PRODUCT, VERSION, cef, ecs, known, milliseconds, ocsf, otlp};
use crate::audit::{Alert, Note};
use crate::flow::Severity;

/// A note and what it says, in the words that all formats have.
struct Said<'a> {
    note: &'a Note,
    host: &'a str,
    alert: Option<Alert>,
}

/// The line of a note of `host`, without its end.
pub(super) fn line(format: Format, note: &Note, host: &str) -> String {
    let said = Said { note, host, alert: Alert::of(note) };
    match format {
        Format::Jsonl | Format::Har => said.plain().to_string(),
        Format::Ocsf => said.ocsf_event().to_string(),
        Format::Ecs => said.ecs_document().to_string(),
        Format::Cef => said.cef_line(),
        Format::Otlp => otlp::note_line(note, host, &said.plain().to_string()),
    }
}

/// How bad it is. What is neither an alert nor about someone who could says that the log is not as its writer left it.
pub(super) fn severity(note: &Note) -> Severity {
    match (Alert::of(note), note.event()) {
        (Some(alert), _) => alert.severity,
        (None, Some(Note::ACCESS)) => Severity::Medium,
        (None, Some(Note::ACT)) => Severity::Low,
        (None, _) => Severity::High,
    }
}

impl Said<'_> {
    /// `alert` or `note`.
    fn kind(&self) -> &'static str {
        if self.alert.is_some() { "alert" } else { "note" }
    }

    /// The rule, or what the note is about.
    fn name(&self) -> &str {
        self.alert.as_ref().map_or_else(|| self.note.event().unwrap_or("note"), |alert| &alert.name)
    }

    fn severity(&self) -> Severity {
        severity(self.note)
    }

    fn message(&self) -> String {
        match (self.note.reason(), self.note.event()) {
            (Some(reason), Some(event)) if self.alert.is_none() => format!("{event}: {reason}"),
            (Some(reason), _) => reason.to_owned(),
            (None, _) => self.note.content.to_string(),
        }
    }

    fn plain(&self) -> Value {
        let mut event = json!({
            "id": self.note.leaf_hash,
            "time": self.note.time,
            "host": self.host,
            "sequence": self.note.sequence,
        });
        match (&self.alert, &mut event) {
            (Some(alert), Value::Object(members)) => {
                if let Value::Object(more) = json!(alert) {
                    // The note's time is when it was written; the alert says when what it is about had happened.
                    members.extend(more);
                }
            }
            _ => event["content"] = self.note.content.clone(),
        }
        json!({ self.kind(): event })
    }

    /// Detection Finding (class 2004): <https://schema.ocsf.io/1.8.0/classes/detection_finding>.
    fn ocsf_event(&self) -> Value {
        let severity = match self.severity() {
            Severity::Low => (2, "Low"),
            Severity::Medium => (3, "Medium"),
            Severity::High => (4, "High"),
        };
        let alert = self.alert.as_ref();
        let user = alert.and_then(|alert| {
            let user = alert.caller.as_deref().map(|caller| caller.split('/').next().unwrap_or(caller));
            (user.is_some() || alert.uid.is_some())
                .then(|| json!({"user": {"name": user, "uid": alert.uid.map(|uid| uid.to_string())}}))
        });
        let time = alert.map_or(self.note.time, |alert| alert.time);
        let mut event = known(json!({
            "metadata": {
                "version": ocsf::SCHEMA,
                "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION},
                "uid": self.note.leaf_hash,
                "log_name": self.kind(),
                "sequence": self.note.sequence,
            },
            "category_uid": 2,
            "category_name": "Findings",
            "class_uid": 2004,
            "class_name": "Detection Finding",
            "activity_id": 1,
            "activity_name": "Create",
            "type_uid": 200_401,
            "type_name": "Detection Finding: Create",
            "time": milliseconds(time),
            "severity_id": severity.0,
            "severity": severity.1,
            "status_id": 1,
            "status": "New",
            "message": self.message(),
            "count": alert.map(|alert| alert.count.min(i32::MAX as u64)),
            "finding_info": {
                "uid": self.note.leaf_hash,
                "title": self.name(),
                "desc": self.message(),
                "created_time": milliseconds(self.note.time),
                "related_events": alert.map(|alert| {
                    alert.records.iter().map(|id| json!({"uid": id, "type": "API Activity"})).collect::<Vec<_>>()
                }),
            },
            "evidences": [{"actor": user, "dst_endpoint": {"hostname": alert.and_then(|alert| alert.endpoint.as_ref())}}],
            "device": {"hostname": self.host, "type_id": 0},
        }));
        event["is_alert"] = (self.alert.is_some() || self.severity() == Severity::High).into();
        event["unmapped"] = self.plain()[self.kind()].clone();
        event
    }

    fn ecs_document(&self) -> Value {
        let alert = self.alert.as_ref();
        let severity = match self.severity() {
            Severity::Low => 21,
            Severity::Medium => 47,
            Severity::High => 73,
        };
        let user = alert.and_then(|alert| alert.caller.as_deref()?.split('/').next());
        let mut document = known(json!({
            "@timestamp": alert.map_or(self.note.time, |alert| alert.time),
            "ecs": {"version": ecs::SCHEMA},
            "event": {
                "id": self.note.leaf_hash,
                "kind": "alert",
                "category": ["intrusion_detection"],
                "type": ["info"],
                "severity": severity,
                "dataset": format!("interceptor.{}", self.kind()),
                "module": "interceptor",
                "sequence": self.note.sequence,
                "created": self.note.time,
            },
            "message": self.message(),
            "host": {"name": self.host},
            "user": {"name": user, "id": alert.and_then(|alert| alert.uid).map(|uid| uid.to_string())},
            "destination": {"domain": alert.and_then(|alert| alert.endpoint.as_ref())},
            "rule": {"name": self.name()},
        }));
        document["interceptor"] = self.plain();
        document
    }

    fn cef_line(&self) -> String {
        let severity = match self.severity() {
            Severity::Low => 3,
            Severity::Medium => 5,
            Severity::High => 8,
        };
        let alert = self.alert.as_ref();
        let time = alert.map_or(self.note.time, |alert| alert.time);
        let records = alert.map(|alert| alert.records.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        let fields = [
            ("rt", Some(milliseconds(time).to_string())),
            ("externalId", Some(self.note.leaf_hash.clone())),
            ("dvchost", Some(self.host.to_owned())),
            ("suser", alert.and_then(|alert| Some(alert.caller.as_deref()?.split('/').next()?.to_owned()))),
            ("suid", alert.and_then(|alert| alert.uid).map(|uid| uid.to_string())),
            ("dhost", alert.and_then(|alert| alert.endpoint.clone())),
            ("cnt", alert.map(|alert| alert.count.to_string())),
            ("msg", Some(self.message())),
            ("cs1Label", records.as_ref().map(|_| "records".to_owned())),
            ("cs1", records),
        ];
        let header = ["CEF:0", PRODUCT, PRODUCT, VERSION, self.kind(), self.name()].map(cef::in_header).join("|");
        let known = fields.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", cef::in_value(&value?))));
        format!("{header}|{severity}|{}", known.collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Time;
    use crate::flow::ExchangeId;

    fn alert() -> Note {
        note(json!({
            "event": "alert", "name": "burst", "key": "uid:1000", "severity": "high", "time": "2023-11-14T22:13:20Z",
            "reason": "12 findings of alice|x=1", "count": 12, "window_s": 60, "suppressed": 3,
            "caller": "alice/curl", "uid": 1000, "endpoint": "api.openai.com", "types": {"CREDIT_CARD": 12},
            "records": [ExchangeId::from_bytes([7; 16])],
        }))
    }

    fn note(content: Value) -> Note {
        Note { sequence: 42, leaf_hash: "ab".repeat(32), time: Time::from_unix_ns(1_700_000_001_000_000_000), content }
    }

    fn value(format: Format, note: &Note) -> Value {
        serde_json::from_str(&line(format, note, "build-7")).unwrap()
    }

    #[test]
    fn an_alert_is_a_finding_in_every_format() {
        let plain = value(Format::Jsonl, &alert());
        assert_eq!((&plain["alert"]["id"], &plain["alert"]["count"]), (&"ab".repeat(32).into(), &12.into()));
        assert_eq!(plain["alert"]["suppressed"], 3);
        let event = value(Format::Ocsf, &alert());
        assert_eq!(
            (&event["class_uid"], &event["type_uid"], &event["is_alert"]),
            (&2004.into(), &200_401.into(), &true.into())
        );
        assert_eq!((&event["severity_id"], &event["finding_info"]["title"]), (&4.into(), &"burst".into()));
        assert_eq!(event["evidences"][0]["actor"]["user"]["name"], "alice");
        assert_eq!(event["finding_info"]["related_events"].as_array().unwrap().len(), 1);
        let document = value(Format::Ecs, &alert());
        assert_eq!((&document["event"]["kind"], &document["rule"]["name"]), (&"alert".into(), &"burst".into()));
        assert_eq!((&document["user"]["name"], &document["user"]["id"]), (&"alice".into(), &"1000".into()));
        let cef = line(Format::Cef, &alert(), "build-7");
        assert!(cef.contains("|alert|burst|8|rt=1700000000000 externalId=abab"), "{cef}");
        assert!(cef.contains(r" cnt=12 msg=12 findings of alice|x\=1 cs1Label=records "), "{cef}");
    }

    #[test]
    fn another_note_says_what_it_is() {
        let torn = note(json!({"event": "torn_tail", "reason": "cut", "bytes": 7}));
        let plain = value(Format::Jsonl, &torn);
        assert_eq!((&plain["note"]["content"]["bytes"], &plain["note"]["sequence"]), (&7.into(), &42.into()));
        assert_eq!(value(Format::Ocsf, &torn)["message"], "torn_tail: cut");
        assert_eq!(value(Format::Ecs, &torn)["event"]["dataset"], "interceptor.note");
        assert!(line(Format::Cef, &torn, "h").contains("|note|torn_tail|8|"));
        for format in [Format::Ocsf, Format::Ecs] {
            let text = line(format, &torn, "h");
            assert!(!text.contains("null") && !text.contains("{}"), "{text}");
        }
    }

    #[test]
    fn its_lines_are_known_again_in_every_format() {
        for (name, format) in Format::ALL {
            for note in [alert(), note(json!({"event": "torn_tail", "reason": "cut"}))] {
                assert!(super::super::is_line(line(format, &note, "h").as_bytes()), "{name}");
            }
        }
    }

    #[test]
    fn what_only_says_that_it_is_an_alert_is_a_note() {
        let odd = note(json!({"event": "alert", "name": 7}));
        assert_eq!(value(Format::Jsonl, &odd)["note"]["content"]["name"], 7);
        assert_eq!(value(Format::Jsonl, &note("words".into()))["note"]["content"], "words");
    }
}
