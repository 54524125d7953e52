//! HTTP/1.1 to one receiver, over a connection that is kept.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Body as _;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use url::Url;

use super::net::{Net, Peer};
use super::receiver::{Refused, SetupError, patience, printable};
use super::settings::{Target, Tls};
use crate::tls::Alpn;

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 256 << 10;

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
        // Paths and queries of webhooks are often secrets.
        let url = Url::parse(&target.url).map_err(|e| SetupError::Value(format!("url is no URL: {e}")))?;
        let wrong = |why: &str| SetupError::Value(format!("url of {} {why}", shown(&url)));
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

    /// Where it is, without what may be secret.
    pub(super) fn describe(&self) -> String {
        shown(&self.url)
    }

    /// Sends a request and gives the answer, whatever its status. `request` has its target in origin form.
    pub(super) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Refused> {
        let authority = &self.url[url::Position::BeforeHost..url::Position::AfterPort];
        let host = HeaderValue::from_str(authority).map_err(Refused::later)?;
        request.headers_mut().insert(HOST, host);
        let agent = concat!("interceptor/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        let patience = patience(request.body().size_hint().exact().unwrap_or_default() as usize);
        let late = |_| Refused::later(format_args!("no answer within {} seconds", patience.as_secs()));
        if let Some(kept) = self.connection.take()
            && let Some(answer) = timeout(patience, self.over_kept(kept, request.clone())).await.map_err(late)?
        {
            return answer;
        }
        // A receiver may have closed a kept connection at any time; a fresh one tells what is the matter. That it takes long
        // to reach leaves it no less time for the answer.
        let stream = self.peer.connect().await.map_err(Refused::later)?;
        let (fresh, driver) = handshake(TokioIo::new(stream)).await.map_err(Refused::later)?;
        tokio::spawn(driver);
        timeout(patience, self.over_fresh(fresh, request)).await.map_err(late)?
    }

    /// None when the connection is of no use any more.
    async fn over_kept(
        &mut self,
        mut kept: SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
    ) -> Option<Result<Response<Bytes>, Refused>> {
        kept.ready().await.ok()?;
        let answer = kept.send_request(request).await.ok()?;
        Some(self.read(answer, kept).await)
    }

    async fn over_fresh(
        &mut self,
        mut fresh: SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, Refused> {
        let answer = fresh.send_request(request).await.map_err(Refused::later)?;
        self.read(answer, fresh).await
    }

    async fn read(
        &mut self,
        answer: Response<hyper::body::Incoming>,
        connection: SendRequest<Full<Bytes>>,
    ) -> Result<Response<Bytes>, Refused> {
        let (head, body) = answer.into_parts();
        match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => {
                self.connection = Some(connection);
                Ok(Response::from_parts(head, body.to_bytes()))
            }
            // Whoever says more than anybody wants to know has taken the request all the same.
            Err(error) if head.status.is_success() && error.is::<LengthLimitError>() => {
                Ok(Response::from_parts(head, Bytes::new()))
            }
            Err(error) => Err(Refused::later(error)),
        }
    }
}

/// Scheme, host and port.
fn shown(url: &Url) -> String {
    url[..url::Position::AfterPort].replace(&url[url::Position::BeforeUsername..url::Position::BeforeHost], "")
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
    if is_content.contains(&status) { Err(Refused::content(why)) } else { Err(later(answer, &why)) }
}

/// To be tried again, when the receiver says.
pub(super) fn later(answer: &Response<Bytes>, why: &str) -> Refused {
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Refused::Later { why: printable(why), after: seconds.map(Duration::from_secs) }
}

/// Status and the beginning of the text, on one line.
pub(super) fn told(answer: &Response<Bytes>) -> String {
    match &*printable(&String::from_utf8_lossy(answer.body())) {
        "" => format!("the receiver answered {}", answer.status()),
        text => format!("the receiver answered {}: {text}", answer.status()),
    }
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
        let hook = made("https://h.example/services/secret?token=secret", false).unwrap();
        assert_eq!(authority(&hook), "h.example");
        assert_eq!(hook.describe(), "https://h.example");
        let error = made("https://user:secret@h.example:1/secret", false).unwrap_err().to_string();
        assert!(error.contains("https://h.example:1 ") && !error.contains("secret@"), "{error}");
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
