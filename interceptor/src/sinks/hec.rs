//! Splunk's HTTP Event Collector, with indexer acknowledgement: a batch counts as taken only when the indexers say so.
//! <https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data>.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::event::Event;
use super::http::{Http, header, later, told};
use super::receiver::{Refused, SetupError, secret_text};
use super::settings::{self, Settings};
use crate::siem::Format;

/// Between questions whether a batch is acknowledged; doubled up to [`ASK_MOST`].
const ASK_FIRST: Duration = Duration::from_millis(50);
const ASK_MOST: Duration = Duration::from_secs(5);
/// What `ack_timeout_s` may be.
const ACK_TIMEOUT_S: std::ops::RangeInclusive<u64> = 1..=3600;
/// The collector's code for a token without acknowledgement.
const ACK_DISABLED: u64 = 14;
const NO_ACKNOWLEDGEMENT: &str = "the collector gives no acknowledgement: enable \"indexer acknowledgement\" for the token, or \
     set acknowledge = false and accept that events may be lost in the collector";

/// A collector.
pub(super) struct Hec {
    http: Http,
    authorization: HeaderValue,
    /// Names this client to the collector, which keeps acknowledgements by it.
    channel: String,
    index: Option<String>,
    sourcetype: String,
    format: Format,
    acknowledge: bool,
    ack_timeout: Duration,
    /// Whether the collector is known to acknowledge what this token sends.
    acknowledges: bool,
}

impl std::fmt::Debug for Hec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hec").field("http", &self.http).finish_non_exhaustive()
    }
}

impl Hec {
    pub(super) fn new(http: Http, settings: &settings::Hec, sink: &Settings) -> Result<Self, SetupError> {
        if !matches!(http.url().path(), "" | "/") || http.url().query().is_some() {
            return Err(SetupError::Value(format!(
                "url {:?} has a path; give the collector's address alone, like https://splunk.example.com:8088",
                http.url().as_str()
            )));
        }
        if !ACK_TIMEOUT_S.contains(&settings.ack_timeout_s) {
            let (least, most) = (ACK_TIMEOUT_S.start(), ACK_TIMEOUT_S.end());
            return Err(SetupError::Value(format!("ack_timeout_s is not {least} to {most}")));
        }
        let token = secret_text(&settings.token_file)?;
        let format = Format::ALL.iter().find(|(_, format)| *format == sink.format).map_or("jsonl", |(name, _)| name);
        Ok(Self {
            http,
            authorization: header(&format!("Splunk {}", *token), "the token")?,
            channel: uuid::Uuid::now_v7().to_string(),
            index: settings.index.clone(),
            sourcetype: settings.sourcetype.clone().unwrap_or_else(|| format!("interceptor:{format}")),
            format: sink.format,
            acknowledge: settings.acknowledge,
            ack_timeout: Duration::from_secs(settings.ack_timeout_s),
            acknowledges: false,
        })
    }

    pub(super) fn describe(&self) -> String {
        format!("Splunk HEC at {}", self.http.describe())
    }

    pub(super) async fn deliver(&mut self, events: &[Event]) -> Result<(), Refused> {
        if self.acknowledge && !self.acknowledges {
            self.ask_whether_it_acknowledges().await?;
        }
        let body: Vec<u8> = events.iter().flat_map(|event| self.envelope(event).to_string().into_bytes()).collect();
        let answer = self.post("/services/collector/event", body.into()).await?;
        judge(&answer)?;
        if !self.acknowledge {
            return Ok(());
        }
        let Some(id) = json_of(&answer)["ackId"].as_u64() else {
            self.acknowledges = false;
            return Err(Refused::later(NO_ACKNOWLEDGEMENT));
        };
        self.acknowledged(id).await
    }

    /// Before anything is sent: what a collector takes and does not acknowledge would be sent again and again.
    async fn ask_whether_it_acknowledges(&mut self) -> Result<(), Refused> {
        let answer = self.post("/services/collector/ack", json!({"acks": [0]}).to_string().into()).await?;
        if json_of(&answer)["code"] == ACK_DISABLED {
            return Err(Refused::later(NO_ACKNOWLEDGEMENT));
        }
        if !answer.status().is_success() {
            return Err(later(&answer, &told(&answer)));
        }
        self.acknowledges = true;
        Ok(())
    }

    /// Asks until the batch is acknowledged.
    async fn acknowledged(&mut self, id: u64) -> Result<(), Refused> {
        let deadline = Instant::now() + self.ack_timeout;
        let mut wait = ASK_FIRST;
        loop {
            let question = json!({"acks": [id]}).to_string();
            let answer = self.post("/services/collector/ack", question.into()).await?;
            if !answer.status().is_success() {
                return Err(later(&answer, &told(&answer)));
            }
            if json_of(&answer)["acks"][id.to_string()] == true {
                return Ok(());
            }
            if Instant::now() + wait > deadline {
                let seconds = self.ack_timeout.as_secs();
                return Err(Refused::later(format_args!("not acknowledged within {seconds} seconds; sent again")));
            }
            sleep(wait).await;
            wait = (wait * 2).min(ASK_MOST);
        }
    }

    async fn post(&mut self, path: &str, body: Bytes) -> Result<Response<Bytes>, Refused> {
        let request = Request::post(path)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("x-splunk-request-channel", &self.channel)
            .body(Full::new(body))
            .map_err(Refused::later)?;
        self.http.send(request).await
    }

    /// One event as the collector takes it. Its `fields` are indexed: duplicates are told by `interceptor_id`.
    fn envelope(&self, event: &Event) -> Value {
        let ns = event.time().unix_ns();
        let content = match self.format {
            Format::Cef => Value::from(event.text.as_str()),
            _ => serde_json::from_str(&event.text).unwrap_or_else(|_| Value::from(event.text.as_str())),
        };
        let mut envelope = json!({
            // Epoch seconds; as text, since a number would lose digits.
            "time": format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1000),
            "host": event.host(),
            "source": "interceptor",
            "sourcetype": self.sourcetype,
            "event": content,
            "fields": {"interceptor_id": event.id(), "interceptor_kind": event.kind()},
        });
        if let Some(index) = &self.index {
            envelope["index"] = index.as_str().into();
        }
        envelope
    }
}

fn json_of(answer: &Response<Bytes>) -> Value {
    serde_json::from_slice(answer.body()).unwrap_or_default()
}

/// Codes of the collector that are about the events, not about token, index, channel or load: no data, invalid data
/// format, event field required, event field blank, an error in handling indexed fields.
const ABOUT_CONTENT: [u64; 5] = [5, 6, 12, 13, 15];

pub(super) fn judge(answer: &Response<Bytes>) -> Result<(), Refused> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let why = told(answer);
    let code = json_of(answer)["code"].as_u64();
    let is_content = status == StatusCode::PAYLOAD_TOO_LARGE
        || (status == StatusCode::BAD_REQUEST && code.is_some_and(|code| ABOUT_CONTENT.contains(&code)));
    if is_content { Err(Refused::content(why)) } else { Err(later(answer, &why)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_index_or_token_is_no_fault_of_the_events() {
        let judged = |status: u16, code: u64| {
            let body = format!(r#"{{"text":"no","code":{code}}}"#);
            judge(&Response::builder().status(status).body(Bytes::from(body)).unwrap())
        };
        assert!(judged(200, 0).is_ok());
        assert!(matches!(judged(400, 6), Err(Refused::Content(_))));
        for (status, code) in [(400, 7), (400, 10), (403, 4), (503, 9)] {
            assert!(matches!(judged(status, code), Err(Refused::Later { .. })), "{status} {code}");
        }
    }
}
