//! A collector of OpenTelemetry's: OTLP over HTTP with protobuf. <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;

use super::http::{Http, header, judge};
use super::net::Net;
use super::receiver::{Refused, SetupError, secret_text};
use super::settings::{CollectorSettings, Otlp};

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
    pub fn new(settings: &CollectorSettings, net: &Net) -> Result<Self, SetupError> {
        Self::over(Http::new(&settings.target, net)?, &settings.otlp)
    }

    pub(super) fn over(http: Http, settings: &Otlp) -> Result<Self, SetupError> {
        let authorization = match &settings.token_file {
            Some(file) => Some(header(&format!("Bearer {}", *secret_text(file)?), "the token")?),
            None => None,
        };
        Ok(Self { http, authorization })
    }

    /// Where it is, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("OTLP at {}", self.http.describe())
    }

    /// Posts an encoded request once; gives the encoded answer.
    ///
    /// # Errors
    /// Why it was not taken, in words.
    pub async fn post(&mut self, body: Vec<u8>) -> Result<Bytes, String> {
        let taken = self.send(body).await.and_then(|answer| judge(&answer).map(|()| answer.into_body()));
        taken.map_err(|refused| match refused {
            Refused::Later { why, .. } | Refused::Content(why) | Refused::Part { why, .. } => why,
        })
    }

    pub(super) async fn send(&mut self, body: Vec<u8>) -> Result<Response<Bytes>, Refused> {
        let mut request = Request::post(&self.http.url()[url::Position::BeforePath..url::Position::AfterQuery])
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(Bytes::from(body)))
            .map_err(Refused::later)?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.http.send(request).await
    }
}
