//! OpenTelemetry logs: OTLP over HTTP with protobuf. <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use prost::Message as _;

use super::event::{Event, What};
use super::http::{Http, header, judge};
use super::receiver::{Refused, SetupError, printable, secret_text};
use super::settings;
use crate::siem::otlp;

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
    pub(super) fn new(http: Http, settings: &settings::Otlp) -> Result<Self, SetupError> {
        let authorization = match &settings.token_file {
            Some(file) => Some(header(&format!("Bearer {}", *secret_text(file)?), "the token")?),
            None => None,
        };
        Ok(Self { http, authorization })
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
        verdict(&self.http.send(request).await?)
    }
}

/// What the receiver says about the log records that it was sent.
pub(super) fn verdict(answer: &Response<Bytes>) -> Result<(), Refused> {
    judge(answer)?;
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

/// Events of one host.
fn request(events: &[Event]) -> ExportLogsServiceRequest {
    let log_records = events.iter().map(|event| match &event.what {
        What::Record(record) => otlp::exchange(record, &event.text),
        What::Checkpoint { checkpoint, at, .. } => otlp::checkpoint(checkpoint, &event.text, *at),
    });
    otlp::request(events.first().map_or("", Event::host), log_records.collect())
}
