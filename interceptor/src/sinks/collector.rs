//! A collector of OpenTelemetry's: OTLP over HTTP with protobuf. <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};
use http_body_util::Full;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::http::{Http, Reach, header, judge};
use super::net::Net;
use super::receiver::{Refused, SetupError, secret_text};
use super::settings;

const NAME: &str = "interceptor";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One address of a collector.
pub struct Collector {
    http: Http,
    authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("http", &self.http).finish_non_exhaustive()
    }
}

impl Collector {
    /// Reads the secrets and certificates that the settings name.
    ///
    /// # Errors
    /// When it cannot work as it is configured.
    pub fn new(settings: &settings::Otlp, net: &Net) -> Result<Self, SetupError> {
        let reach = Reach { url: &settings.url, ca_file: settings.ca_file.as_ref(), plaintext: settings.plaintext };
        let authorization = match &settings.token_file {
            Some(file) => Some(header(&format!("Bearer {}", *secret_text(file)?), "the token")?),
            None => None,
        };
        Ok(Self { http: Http::new(reach, net)?, authorization })
    }

    /// Where it is, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("OTLP at {}", self.http.url())
    }

    /// Posts an encoded request once; gives the encoded answer.
    ///
    /// # Errors
    /// Why it was not taken, in words.
    pub async fn post(&mut self, body: Vec<u8>) -> Result<Bytes, String> {
        self.send(body).await.map_err(|refused| match refused {
            Refused::Later { why, .. } | Refused::Content(why) => why,
        })
    }

    pub(super) async fn send(&mut self, body: Vec<u8>) -> Result<Bytes, Refused> {
        let mut request = Request::post(&self.http.url()[url::Position::BeforePath..url::Position::AfterQuery])
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(Bytes::from(body)))
            .map_err(Refused::later)?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let answer = self.http.send(request).await?;
        judge(&answer)?;
        Ok(answer.into_body())
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

/// Text as OTLP has it.
pub(super) fn text(text: Option<&str>) -> Option<Value> {
    text.map(|text| Value::StringValue(text.to_owned()))
}

/// A number as OTLP has it.
pub(super) fn number(number: Option<u64>) -> Option<Value> {
    number.map(|number| Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// The attributes whose values are known.
pub(super) fn known<const N: usize>(pairs: [(&str, Option<Value>); N]) -> Vec<KeyValue> {
    let known = pairs.into_iter().filter(|(_, value)| value.is_some());
    known
        .map(|(key, value)| KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() })
        .collect()
}
