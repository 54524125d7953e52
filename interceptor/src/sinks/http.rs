//! HTTP/1.1 to one receiver, over a connection that is kept.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use url::Url;

use super::net::{Net, Peer};
use super::receiver::{Refused, SetupError};
use super::settings::{Target, Tls};
use crate::flow::harmless;
use crate::tls::Alpn;

/// How long a receiver may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 256 << 10;
/// Bytes of an answer that are shown.
const SHOWN: usize = 300;

/// A receiver that speaks HTTP.
pub(super) struct Http {
    peer: Peer,
    url: Url,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl Http {
    pub(super) fn new(target: &Target, net: &Net) -> Result<Self, SetupError> {
        let wrong = |why: &str| SetupError::Value(format!("url {:?} {why}", target.url));
        let url = Url::parse(&target.url).map_err(|e| wrong(&format!("is no URL: {e}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("has a user or password in it; secrets belong into files"));
        }
        let host = url.host_str().ok_or_else(|| wrong("has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or_default();
        let peer = match (url.scheme(), target.plaintext) {
            ("https", _) => Peer::verified(net, (host, port), &[Alpn::Http11], &target.tls)?,
            ("http", true) if target.tls != Tls::default() => {
                return Err(wrong("speaks no TLS; leave out ca_file, client_cert_file and client_key_file"));
            }
            ("http", true) => Peer::plain(net, host, port),
            ("http", false) => {
                return Err(wrong(
                    "is not encrypted; use https://, or set plaintext = true where nobody is on the way",
                ));
            }
            _ => return Err(wrong("begins with neither https:// nor http://")),
        };
        Ok(Self { peer, url, connection: None })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a request and gives the answer, whatever its status. `request` has its target in origin form.
    pub(super) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Refused> {
        let authority = &self.url[url::Position::BeforeHost..url::Position::AfterPort];
        let host = HeaderValue::from_str(authority).map_err(Refused::later)?;
        request.headers_mut().insert(HOST, host);
        let agent = concat!("interceptor/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        match timeout(ANSWER, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.connection = None;
                Err(Refused::later(format_args!("no answer within {} seconds", ANSWER.as_secs())))
            }
        }
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Refused> {
        if let Some(mut kept) = self.connection.take()
            && kept.ready().await.is_ok()
            && let Ok(answer) = kept.send_request(request.clone()).await
        {
            return self.read(answer, kept).await;
        }
        // A receiver may have closed a kept connection at any time; a fresh one tells what is the matter.
        let stream = self.peer.connect().await.map_err(Refused::later)?;
        let (mut fresh, driver) = handshake(TokioIo::new(stream)).await.map_err(Refused::later)?;
        tokio::spawn(driver);
        let answer = fresh.send_request(request).await.map_err(Refused::later)?;
        self.read(answer, fresh).await
    }

    async fn read(
        &mut self,
        answer: Response<hyper::body::Incoming>,
        connection: SendRequest<Full<Bytes>>,
    ) -> Result<Response<Bytes>, Refused> {
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(Refused::later)?.to_bytes();
        self.connection = Some(connection);
        Ok(Response::from_parts(head, body))
    }
}

/// What an answer means, where nothing but its status counts. A request that is wrong, too large or cannot be worked
/// with is wrong for ever; everything else may get better without anything happening here.
pub(super) fn judge(answer: &Response<Bytes>) -> Result<(), Refused> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let why = told(answer);
    let is_content = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY];
    if is_content.contains(&status) { Err(Refused::Content(why)) } else { Err(later(answer, why)) }
}

/// To be tried again, when the receiver says.
pub(super) fn later(answer: &Response<Bytes>, why: String) -> Refused {
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Refused::Later { why, after: seconds.map(Duration::from_secs) }
}

/// Status and the beginning of the text, on one line.
pub(super) fn told(answer: &Response<Bytes>) -> String {
    match &*shown(&String::from_utf8_lossy(answer.body())) {
        "" => format!("the receiver answered {}", answer.status()),
        text => format!("the receiver answered {}: {text}", answer.status()),
    }
}

/// The beginning of what a receiver says, on one line: it goes into the daemon's log and to whoever asks for its status.
pub(super) fn shown(text: &str) -> String {
    let start: String = text.chars().take(SHOWN).collect();
    harmless(&start.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Text as a header's value.
pub(super) fn header(text: &str, what: &str) -> Result<HeaderValue, SetupError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| SetupError::Value(format!("{what} has characters that no header may have")))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_urls_and_unencrypted_ones_are_refused() {
        let made = |url: &str, plaintext| {
            Http::new(&Target { url: url.into(), plaintext, tls: Tls::default() }, &Net::default())
        };
        for url in ["http://h/", "https://user:secret@h/", "ftp://h/", "h", "https://"] {
            assert!(made(url, false).is_err(), "{url}");
        }
        let tls = Tls { ca_file: Some("/x".into()), ..Tls::default() };
        assert!(Http::new(&Target { url: "http://h".into(), plaintext: true, tls }, &Net::default()).is_err());
        let authority = |http: &Http| http.url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        assert_eq!(authority(&made("http://[::1]:8088/a?b", true).unwrap()), "[::1]:8088");
        assert_eq!(authority(&made("https://h.example/a", false).unwrap()), "h.example");
    }

    #[test]
    fn only_what_is_wrong_with_the_content_is_final() {
        let answer = |status: u16| {
            let answer = Response::builder().status(status).header("retry-after", "7").body(Bytes::from("a\nb\x1b "));
            judge(&answer.unwrap())
        };
        assert!(answer(204).is_ok());
        for status in [400, 413, 422] {
            assert!(matches!(answer(status), Err(Refused::Content(why)) if why.ends_with(": a b\\u{1b}")), "{status}");
        }
        for status in [301, 401, 403, 404, 429, 500, 503] {
            let seven = Some(Duration::from_secs(7));
            assert!(matches!(answer(status), Err(Refused::Later { after, .. }) if after == seven), "{status}");
        }
    }
}
