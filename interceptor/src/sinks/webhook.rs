//! Batches of lines, posted with a signature.
//!
//! ```text
//! POST /hook HTTP/1.1
//! content-type: application/x-ndjson
//! idempotency-key: 4c5c...                            the same for the same batch
//! x-interceptor-timestamp: 1700000000                 seconds since 1970, when it was sent
//! x-interceptor-signature: sha256=3a3f...             HMAC-SHA256 of TIMESTAMP "." BODY
//! ```

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;

use super::event::{Event, lines};
use super::http::{Http, judge};
use super::receiver::{Refused, SetupError, secret_text};
use super::settings::{self, Settings};
use crate::audit::Time;
use crate::siem::Format;

/// The receiver of a webhook.
pub(super) struct Webhook {
    http: Http,
    key: hmac::Key,
    content_type: &'static str,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("http", &self.http).finish_non_exhaustive()
    }
}

impl Webhook {
    pub(super) fn new(http: Http, settings: &settings::Webhook, sink: &Settings) -> Result<Self, SetupError> {
        let secret = secret_text(&settings.secret_file)?;
        if secret.len() < 16 {
            return Err(super::receiver::wrong(
                &settings.secret_file,
                "has fewer than 16 characters: it could be guessed",
            ));
        }
        let content_type =
            if sink.format == Format::Cef { "text/plain; charset=utf-8" } else { "application/x-ndjson" };
        Ok(Self { http, key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), content_type })
    }

    pub(super) fn describe(&self) -> String {
        format!("webhook at {}", self.http.describe())
    }

    pub(super) async fn deliver(&mut self, events: &[Event]) -> Result<(), Refused> {
        let body = lines(events);
        let timestamp = (Time::now().unix_ns() / 1_000_000_000).to_string();
        let request = Request::post(&self.http.url()[url::Position::BeforePath..url::Position::AfterQuery])
            .header(CONTENT_TYPE, self.content_type)
            .header("idempotency-key", idempotency_key(events))
            .header("x-interceptor-timestamp", &timestamp)
            .header("x-interceptor-signature", format!("sha256={}", sign(&self.key, &timestamp, &body)))
            .body(Full::new(Bytes::from(body)))
            .map_err(Refused::later)?;
        judge(&self.http.send(request).await?)
    }
}

/// What only who has the key can make of a time and a body.
fn sign(key: &hmac::Key, timestamp: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(timestamp.as_bytes());
    context.update(b".");
    context.update(body);
    hex::encode(context.sign())
}

/// Names a batch by what is in it.
pub(super) fn idempotency_key<'a>(events: impl IntoIterator<Item = &'a Event>) -> String {
    let ids: Vec<_> = events.into_iter().map(Event::id).collect();
    hex::encode(&digest(&SHA256, ids.join("\n").as_bytes()).as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_hmac_sha256_over_time_and_body() {
        // printf '1700000000.{}\n' | openssl dgst -sha256 -hmac 0123456789abcdef
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        let expected = "9762b6da9e539b8a12f2592a576916bb7d0e48ef60ccbf1c013f9b7158f9344f";
        assert_eq!(sign(&key, "1700000000", b"{}\n"), expected);
    }
}
