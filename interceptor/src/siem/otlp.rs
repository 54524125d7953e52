//! OpenTelemetry logs, with attributes by OpenTelemetry's names for generative AI; as lines of OTLP/JSON, what its file
//! exporter writes: <https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/>,
//! <https://opentelemetry.io/docs/specs/semconv/gen-ai/>.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::{VERSION, checkpoint_host, checkpoint_id, note_severity};
use crate::audit::{Alert, Checkpoint, Note, Record, Time};
use crate::flow::Severity;

const NAME: &str = "interceptor";

/// Log records of one host as they are sent, or written as a line.
#[must_use]
pub fn request(host: &str, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: Some(resource(host)), scope_logs, ..ResourceLogs::default() }],
    }
}

/// Who sends.
#[must_use]
pub fn resource(host: &str) -> Resource {
    Resource {
        attributes: known([
            ("service.name", text(Some(NAME))),
            ("service.version", text(Some(VERSION))),
            ("host.name", text(Some(host))),
        ]),
        ..Resource::default()
    }
}

/// What of it sends.
#[must_use]
pub fn scope() -> InstrumentationScope {
    InstrumentationScope { name: NAME.into(), version: VERSION.into(), ..InstrumentationScope::default() }
}

/// A record, of which `body` is the whole.
#[must_use]
pub fn exchange(record: &Record, body: &str) -> LogRecord {
    let event = Event { name: "interceptor.exchange", id: &record.id.to_string(), time: record.time, body };
    event.log_record(severity(record), attributes(record))
}

/// An alert or another note, of which `body` is the whole.
#[must_use]
pub fn note(note: &Note, body: &str) -> LogRecord {
    let alert = Alert::of(note);
    let name = if alert.is_some() { "interceptor.alert" } else { "interceptor.note" };
    let severity = match note_severity(note) {
        Severity::Low => SeverityNumber::Info2,
        Severity::Medium => SeverityNumber::Warn,
        Severity::High => SeverityNumber::Error,
    };
    let event = Event { name, id: &note.leaf_hash, time: note.time, body };
    event.log_record(severity, note_attributes(note, alert.as_ref()))
}

/// A signed checkpoint, of which `body` is the whole, and which was the newest at `at`.
#[must_use]
pub fn checkpoint(note: &str, checkpoint: &Checkpoint, body: &str, at: Time) -> LogRecord {
    let event = Event { name: "interceptor.checkpoint", id: &checkpoint_id(note, checkpoint), time: at, body };
    event.log_record(SeverityNumber::Info, Vec::new())
}

/// The line of a record.
pub(super) fn line(record: &Record, body: &str) -> String {
    json(&request(&record.host, vec![exchange(record, body)]))
}

/// The line of a note of `host`.
pub(super) fn note_line(note: &Note, host: &str, body: &str) -> String {
    json(&request(host, vec![self::note(note, body)]))
}

/// The line of a signed checkpoint.
pub(super) fn checkpoint_line(note: &str, checkpoint: &Checkpoint, body: &str, at: Time) -> String {
    json(&request(checkpoint_host(checkpoint), vec![self::checkpoint(note, checkpoint, body, at)]))
}

fn json(request: &ExportLogsServiceRequest) -> String {
    serde_json::to_string(request).expect("a request is plain data")
}

struct Event<'a> {
    name: &'a str,
    id: &'a str,
    time: Time,
    body: &'a str,
}

impl Event<'_> {
    fn log_record(&self, severity: SeverityNumber, attributes: Vec<KeyValue>) -> LogRecord {
        let uid = known([("log.record.uid", text(Some(self.id)))]);
        LogRecord {
            time_unix_nano: self.time.unix_ns(),
            // This program made the event: nobody observed it later.
            observed_time_unix_nano: self.time.unix_ns(),
            severity_number: severity.into(),
            severity_text: severity.as_str_name().trim_start_matches("SEVERITY_NUMBER_").to_owned(),
            body: Some(AnyValue { value: text(Some(self.body)) }),
            attributes: uid.into_iter().chain(attributes).collect(),
            event_name: self.name.to_owned(),
            ..LogRecord::default()
        }
    }
}

fn severity(record: &Record) -> SeverityNumber {
    match record.decision.action.as_deref() {
        Some("deny") => SeverityNumber::Warn,
        Some("mask") => SeverityNumber::Info2,
        _ => SeverityNumber::Info,
    }
}

fn note_attributes(note: &Note, alert: Option<&Alert>) -> Vec<KeyValue> {
    known([
        ("interceptor.alert.name", text(alert.map(|alert| alert.name.as_str()))),
        ("interceptor.alert.key", text(alert.map(|alert| alert.key.as_str()))),
        ("interceptor.alert.count", number(alert.map(|alert| alert.count))),
        ("interceptor.alert.suppressed", number(alert.map(|alert| alert.suppressed))),
        ("server.address", text(alert.and_then(|alert| alert.endpoint.as_deref()))),
        ("user.id", text(alert.and_then(|alert| alert.uid).map(|uid| uid.to_string()).as_deref())),
        ("interceptor.sequence", number(Some(note.sequence))),
        ("interceptor.leaf_hash", text(Some(&note.leaf_hash))),
    ])
}

fn attributes(record: &Record) -> Vec<KeyValue> {
    let (request, response, endpoint, caller) = (&record.request, &record.response, &record.endpoint, &record.caller);
    let (input, output) = response.tokens();
    let reasons = response.finish_reason.as_deref().map(|reason| {
        let reason = AnyValue { value: text(Some(reason)) };
        Value::ArrayValue(ArrayValue { values: vec![reason] })
    });
    let findings = record.findings.iter().map(|finding| finding.count).sum::<u64>();
    let removed = record.log.removed.iter().map(|class| class.name()).collect::<Vec<_>>().join(",");
    known([
        ("gen_ai.operation.name", text(request.operation.as_deref().map(operation))),
        ("gen_ai.provider.name", text(endpoint.provider.as_deref())),
        ("gen_ai.request.model", text(request.model.as_deref())),
        ("gen_ai.response.finish_reasons", reasons),
        ("gen_ai.usage.input_tokens", number(input)),
        ("gen_ai.usage.output_tokens", number(output)),
        ("server.address", text(endpoint.host.as_deref())),
        ("server.port", number(endpoint.port.map(u64::from))),
        ("http.request.method", text(request.method.as_deref())),
        ("http.response.status_code", number(response.status.map(u64::from))),
        ("error.type", text(response.error.as_deref())),
        ("user.name", text(caller.user.as_deref())),
        ("user.id", text(caller.uid.map(|uid| uid.to_string()).as_deref())),
        ("process.pid", number(caller.pid.map(u64::from))),
        ("process.executable.path", text(caller.exe.as_deref())),
        ("container.id", text(caller.container.as_deref())),
        ("interceptor.decision", text(record.decision.action.as_deref())),
        ("interceptor.rule", text(record.decision.rule.as_deref())),
        ("interceptor.findings", number(Some(findings))),
        ("interceptor.sequence", number(record.log.sequence)),
        ("interceptor.leaf_hash", text(record.log.leaf_hash.as_deref())),
        ("interceptor.removed", text((!removed.is_empty()).then_some(&removed))),
    ])
}

/// The well-known name of a provider's call, where there is one.
fn operation(name: &str) -> &str {
    match name {
        "chat.completions" | "messages" | "responses" => "chat",
        "completions" => "text_completion",
        "embeddings" => "embeddings",
        other => other,
    }
}

fn text(text: Option<&str>) -> Option<Value> {
    text.map(|text| Value::StringValue(text.to_owned()))
}

fn number(number: Option<u64>) -> Option<Value> {
    number.map(|number| Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn known<const N: usize>(pairs: [(&str, Option<Value>); N]) -> Vec<KeyValue> {
    let known = pairs.into_iter().filter(|(_, value)| value.is_some());
    known
        .map(|(key, value)| KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() })
        .collect()
}
