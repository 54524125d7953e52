//! What an HTTP/2 request said, as text, for its bytes are compressed and lie between those of others.
//!
//! ```text
//! POST /v1/messages HTTP/2
//! host: api.anthropic.com        (:authority)
//! content-type: application/json (the fields in their order)
//!
//! {"model": ...                  (the body; trailers, if there are any, stand behind it as lines of their own)
//! ```

use hyper::HeaderMap;
use hyper::ext::Protocol;
use hyper::http::request::Parts;

use super::record::Recorder;

/// Collects a request; one that is dropped before its end is kept as partial.
#[derive(Debug)]
pub(super) struct Transcript {
    text: Vec<u8>,
    recorder: Recorder,
    suffix: &'static str,
}

impl Transcript {
    /// Begins with the head.
    pub(super) fn new(head: &Parts, recorder: Recorder) -> Self {
        let path = head.uri.path_and_query().map_or("*", |path| path.as_str());
        let mut text = format!("{} {path} HTTP/2\r\n", head.method).into_bytes();
        if let Some(authority) = head.uri.authority() {
            line(&mut text, "host", authority.as_str().as_bytes());
        }
        if let Some(protocol) = head.extensions.get::<Protocol>() {
            line(&mut text, ":protocol", protocol.as_str().as_bytes());
        }
        fields(&mut text, &head.headers);
        Self { text, recorder, suffix: ".partial.http" }
    }

    /// Adds a part of the body.
    pub(super) fn body(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }

    /// Adds what came behind the body.
    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        self.text.extend_from_slice(b"\r\n");
        fields(&mut self.text, trailers);
    }

    /// The request is whole.
    pub(super) fn finish(mut self) {
        self.suffix = ".http";
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        self.recorder.keep(&self.text, self.suffix);
    }
}

fn fields(text: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        line(text, name.as_str(), value.as_bytes());
    }
    text.extend_from_slice(b"\r\n");
}

fn line(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        text.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn reads_like_http_1() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::new(directory.path()).unwrap();
        let request = Request::post("https://api.openai.com/v1/x?y=1").header("te", "trailers").header("a", "b");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let mut transcript = Transcript::new(&head, recorder.clone());
        transcript.body(b"{\"a\":");
        transcript.body(b"1}");
        transcript.trailers(&HeaderMap::from_iter([("t".parse().unwrap(), "v".parse().unwrap())]));
        transcript.finish();
        drop(Transcript::new(&head, recorder));
        let kept = |name| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let expected = "POST /v1/x?y=1 HTTP/2\r\nhost: api.openai.com\r\nte: trailers\r\na: b\r\n\r\n";
        assert_eq!(kept("0001.http"), format!("{expected}{{\"a\":1}}\r\nt: v\r\n\r\n"));
        assert_eq!(kept("0002.partial.http"), expected);
    }
}
