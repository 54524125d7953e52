//! OpenTelemetry logs on their way to a collector.

use bytes::Bytes;
use http::Response;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use prost::Message as _;

use super::collector::Collector;
use super::event::{Event, What};
use super::http::{Http, judge};
use super::receiver::{Refused, SetupError, printable};
use super::settings;
use crate::siem::otlp;

/// An OTLP receiver of logs.
#[derive(Debug)]
pub(super) struct Otlp(Collector);

impl Otlp {
    pub(super) fn new(http: Http, settings: &settings::Otlp) -> Result<Self, SetupError> {
        Collector::over(http, settings).map(Self)
    }

    pub(super) fn describe(&self) -> String {
        self.0.describe()
    }

    pub(super) async fn deliver(&mut self, events: &[Event]) -> Result<(), Refused> {
        verdict(&self.0.send(request(events).encode_to_vec()).await?)
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
        What::Note { note, .. } => otlp::note(note, &event.text),
        What::Checkpoint { note, checkpoint, at } => otlp::checkpoint(note, checkpoint, &event.text, *at),
    });
    otlp::request(events.first().map_or("", Event::host), log_records.collect())
}
