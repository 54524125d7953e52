//! OpenTelemetry logs: OTLP over HTTP with protobuf, attributes by OpenTelemetry's names for generative AI.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>, <https://opentelemetry.io/docs/specs/semconv/gen-ai/>.

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use prost::Message as _;

use super::collector::{Collector, known, number, resource, scope, text};
use super::event::{Event, What};
use super::net::Net;
use super::receiver::{Refused, SetupError};
use super::settings;
use crate::audit::{Alert, Note, Record, Time};
use crate::flow::Severity;

/// An OTLP receiver of logs.
#[derive(Debug)]
pub(super) struct Otlp(Collector);

impl Otlp {
    pub(super) fn new(settings: &settings::Otlp, net: &Net) -> Result<Self, SetupError> {
        Collector::new(settings, net).map(Self)
    }

    pub(super) fn describe(&self) -> String {
        self.0.describe()
    }

    pub(super) async fn deliver(&mut self, events: &[Event]) -> Result<(), Refused> {
        let answer = self.0.send(request(events).encode_to_vec()).await?;
        // An empty message, or none, says that all is well.
        let answer = ExportLogsServiceResponse::decode(answer).unwrap_or_default();
        match answer.partial_success {
            Some(partial) if partial.rejected_log_records > 0 => Err(Refused::Content(format!(
                "the receiver rejected {} of {} log records: {}",
                partial.rejected_log_records,
                events.len(),
                partial.error_message
            ))),
            _ => Ok(()),
        }
    }
}

fn request(events: &[Event]) -> ExportLogsServiceRequest {
    let host = events.first().map_or("", Event::host);
    let log_records = events.iter().map(log_record).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: Some(resource(host)), scope_logs, ..ResourceLogs::default() }],
    }
}

fn log_record(event: &Event) -> LogRecord {
    let (severity, name, attributes) = match &event.what {
        What::Record(record) => (severity(record), "interceptor.exchange", attributes(record)),
        What::Note { note, .. } => (note_severity(event), note_name(event), note_attributes(note)),
        What::Checkpoint { .. } => (SeverityNumber::Info, "interceptor.checkpoint", Vec::new()),
    };
    let uid = known([("log.record.uid", text(Some(&event.id())))]);
    LogRecord {
        time_unix_nano: event.time().unix_ns(),
        observed_time_unix_nano: Time::now().unix_ns(),
        severity_number: severity.into(),
        severity_text: severity.as_str_name().trim_start_matches("SEVERITY_NUMBER_").to_owned(),
        body: text(Some(&event.text)).map(|value| AnyValue { value: Some(value) }),
        attributes: uid.into_iter().chain(attributes).collect(),
        event_name: name.to_owned(),
        ..LogRecord::default()
    }
}

fn severity(record: &Record) -> SeverityNumber {
    match record.decision.action.as_deref() {
        Some("deny") => SeverityNumber::Warn,
        Some("mask") => SeverityNumber::Info2,
        _ => SeverityNumber::Info,
    }
}

fn note_severity(event: &Event) -> SeverityNumber {
    match event.severity() {
        Some(Severity::Low) => SeverityNumber::Info2,
        Some(Severity::Medium) => SeverityNumber::Warn,
        _ => SeverityNumber::Error,
    }
}

fn note_name(event: &Event) -> &'static str {
    if event.kind() == "alert" { "interceptor.alert" } else { "interceptor.note" }
}

fn note_attributes(note: &Note) -> Vec<KeyValue> {
    let alert = Alert::of(note);
    let alert = alert.as_ref();
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
