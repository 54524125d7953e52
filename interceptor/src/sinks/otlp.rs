//! OpenTelemetry logs: OTLP over HTTP with protobuf, attributes by OpenTelemetry's names for generative AI.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>, <https://opentelemetry.io/docs/specs/semconv/gen-ai/>.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::event::{Event, What};
use super::http::{Http, Reach, header, judge};
use super::net::Net;
use super::receiver::{Refused, SetupError, printable, secret_text};
use super::settings;
use crate::audit::{Record, Time};

const NAME: &str = "interceptor";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An OTLP receiver.
pub(super) struct Otlp {
    http: Http,
    authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for Otlp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Otlp").field("http", &self.http).finish_non_exhaustive()
    }
}

impl Otlp {
    pub(super) fn new(settings: &settings::Otlp, net: &Net) -> Result<Self, SetupError> {
        let reach = Reach { url: &settings.url, ca_file: settings.ca_file.as_ref(), plaintext: settings.plaintext };
        let authorization = match &settings.token_file {
            Some(file) => Some(header(&format!("Bearer {}", *secret_text(file)?), "the token")?),
            None => None,
        };
        Ok(Self { http: Http::new(reach, net)?, authorization })
    }

    pub(super) fn describe(&self) -> String {
        format!("OTLP at {}", self.http.describe())
    }

    pub(super) async fn deliver(&mut self, events: &[Event]) -> Result<(), Refused> {
        let body = request(events).encode_to_vec();
        let mut request = Request::post(&self.http.url()[url::Position::BeforePath..url::Position::AfterQuery])
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(Bytes::from(body)))
            .map_err(Refused::later)?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let answer = self.http.send(request).await?;
        judge(&answer)?;
        // An empty message, or none, says that all is well. A page of a proxy that wants a login does not.
        let answer = ExportLogsServiceResponse::decode(answer.body().clone()).map_err(|_| {
            Refused::later("the answer is none of OTLP: is `url` that of a receiver, with its path (/v1/logs)?")
        })?;
        match answer.partial_success {
            Some(partial) if partial.rejected_log_records > 0 => Err(Refused::Part {
                refused: partial.rejected_log_records.unsigned_abs(),
                why: printable(&partial.error_message),
            }),
            _ => Ok(()),
        }
    }
}

fn request(events: &[Event]) -> ExportLogsServiceRequest {
    let host = events.first().map_or("", Event::host);
    let resource = Resource {
        attributes: known([
            ("service.name", text(Some(NAME))),
            ("service.version", text(Some(VERSION))),
            ("host.name", text(Some(host))),
        ]),
        ..Resource::default()
    };
    let scope = InstrumentationScope { name: NAME.into(), version: VERSION.into(), ..InstrumentationScope::default() };
    let log_records = events.iter().map(log_record).collect();
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() }],
    }
}

fn log_record(event: &Event) -> LogRecord {
    let (severity, name, attributes) = match &event.what {
        What::Record(record) => (severity(record), "interceptor.exchange", attributes(record)),
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
