//! Heads of HTTP/2 (RFC 9113, section 8) in the form that everything else reads, and back.
//!
//! A head that came over HTTP/2 becomes the field lines of HTTP/1.1, so that what inspects, records and forwards it knows
//! one form only. Nothing is lost but the order of equal names among others, which has no meaning (RFC 9110, 5.3), and
//! nothing gets in that HTTP/1.1 would not take: the lines go through the same strict parser as those of a connection.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version as HttpVersion};

use super::fields::check_trailers;
use super::framing::content_length;
use super::request::{Target, request_line};
use super::{BodyFraming, Error, Fields, Limits, RequestHead, ResponseHead, Version};

/// Fields that belong to one connection (RFC 9110, 7.6.1; RFC 9113, 8.2.2).
const CONNECTION_FIELDS: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings"];

/// Fields whose values must not enter a compression context that others share (RFC 7541, 7.1.3).
const SENSITIVE: [&str; 6] =
    ["authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "x-amz-security-token"];

impl RequestHead {
    /// The head of a request that came over HTTP/2. `ended`: no body follows. An extended CONNECT (RFC 8441) becomes the
    /// upgrade to a WebSocket that HTTP/1.1 has for it.
    ///
    /// # Errors
    /// What a head of HTTP/1.1 with the same parts would be refused for.
    pub fn from_h2(request: &http::request::Parts, ended: bool, limits: &Limits) -> Result<Self, Error> {
        let path = request.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let session = request.method == Method::CONNECT
            && request.extensions.get::<h2::ext::Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket");
        let method = if session { &Method::GET } else { &request.method };
        let mut lines = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
        if let Some(authority) = request.uri.authority() {
            // `Fields` would take two lines for a smuggled second request: here they only have to agree.
            let mut hosts = request.headers.get_all("host").iter();
            if hosts.any(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())) {
                return Err(Error::TargetHostMismatch);
            }
            line(&mut lines, "host", authority.as_str().as_bytes());
        }
        let authority = request.uri.authority().is_some();
        lines_of(&mut lines, &request.headers, |name| authority && name == "host")?;
        if session {
            upgrade(&mut lines)?;
        }
        lines.extend_from_slice(b"\r\n");
        let Some((fields, _)) = Fields::parse(&lines, limits)? else { return Err(Error::RequestLine) };
        let framing = match (content_length(&fields)?, ended || session) {
            (Some(0) | None, true) => BodyFraming::None,
            (Some(_), true) => return Err(Error::Truncated),
            (Some(length), false) => BodyFraming::Length(length),
            (None, false) => BodyFraming::UntilClose,
        };
        let (method, target, _) = request_line(&fields)?;
        Self::of(fields, Target { method, target, version: Version::Http2 }, framing)
    }

    /// The head as HTTP/2 has it (RFC 9113, 8.3.1).
    ///
    /// # Errors
    /// [`Error::Target`] when it cannot be written in HTTP/2.
    pub fn to_h2(&self) -> Result<Request<()>, Error> {
        let authority = self.absolute().map(|(_, authority)| authority).or_else(|| self.host());
        let path = if self.path().is_empty() { "/" } else { self.path() };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = authority.map(Authority::try_from).transpose().map_err(|_| Error::Target)?;
        parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| Error::Target)?);
        let mut request = Request::new(());
        *request.version_mut() = HttpVersion::HTTP_2;
        *request.method_mut() = Method::from_bytes(self.method().as_bytes()).map_err(|_| Error::RequestLine)?;
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Error::Target)?;
        *request.headers_mut() = header_map(self.fields(), |name| {
            // The codec has answered it itself (RFC 9110, 10.1.1).
            name == "host" || name == "expect"
        })?;
        Ok(request)
    }

    /// The head as HTTP/1.1 has it, whichever it came over, for a body of `length` bytes; `trailers`: they follow, so the
    /// body has to come in chunks.
    #[must_use]
    pub fn to_h1(&self, length: usize, trailers: bool) -> Vec<u8> {
        let mut head = self.clone();
        if head.version() == Version::Http2 {
            head.fields_mut().merge_cookies();
            if trailers {
                head.fields_mut().remove("content-length");
                head.fields_mut().push("transfer-encoding", b"chunked");
            } else if head.framing() == BodyFraming::UntilClose || head.lacks_a_length() {
                head.fields_mut().push("content-length", length.to_string().as_bytes());
            }
        }
        if !trailers {
            head.fields_mut().set_content_length(length as u64);
        }
        head.render()
    }

    /// Whether HTTP/1.1 expects to be told that there is no body (RFC 9110, 8.6): some servers answer 411 otherwise.
    fn lacks_a_length(&self) -> bool {
        matches!(self.method(), "POST" | "PUT" | "PATCH") && self.fields().get("content-length").is_none()
    }
}

impl ResponseHead {
    /// The head of a response that came over HTTP/2. `ended`: no body follows.
    ///
    /// # Errors
    /// What a head of HTTP/1.1 with the same parts would be refused for.
    pub fn from_h2(status: StatusCode, headers: &HeaderMap, ended: bool, limits: &Limits) -> Result<Self, Error> {
        let phrase = status.canonical_reason().unwrap_or_default();
        let mut lines = format!("HTTP/1.1 {} {phrase}\r\n", status.as_str()).into_bytes();
        lines_of(&mut lines, headers, |_| false)?;
        lines.extend_from_slice(b"\r\n");
        let Some((fields, _)) = Fields::parse(&lines, limits)? else { return Err(Error::StatusLine) };
        let declared = match (content_length(&fields)?, ended) {
            (Some(length), _) => Some(BodyFraming::Length(length)),
            (None, true) => Some(BodyFraming::None),
            (None, false) => None,
        };
        Ok(Self::of(fields, status.as_u16(), Version::Http2, declared))
    }

    /// The head as HTTP/2 has it.
    ///
    /// # Errors
    /// [`Error::StatusLine`] when it cannot be written in HTTP/2.
    pub fn to_h2(&self) -> Result<Response<()>, Error> {
        let mut response = Response::new(());
        *response.version_mut() = HttpVersion::HTTP_2;
        *response.status_mut() = StatusCode::from_u16(self.status()).map_err(|_| Error::StatusLine)?;
        *response.headers_mut() = header_map(self.fields(), |_| false)?;
        Ok(response)
    }

    /// The answer to an extended CONNECT (RFC 8441, 5) that a `101` is the same as in HTTP/1.1.
    ///
    /// # Errors
    /// [`Error::StatusLine`] when it cannot be written in HTTP/2.
    pub fn to_h2_session(&self) -> Result<Response<()>, Error> {
        let mut response = Response::new(());
        *response.version_mut() = HttpVersion::HTTP_2;
        *response.headers_mut() = header_map(self.fields(), |name| name == "sec-websocket-accept")?;
        Ok(response)
    }
}

/// What asks for a WebSocket in HTTP/1.1 beyond what an extended CONNECT says.
fn upgrade(lines: &mut Vec<u8>) -> Result<(), Error> {
    let mut key = [0; 16];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| Error::RequestLine)?;
    line(lines, "connection", b"Upgrade");
    line(lines, "upgrade", b"websocket");
    line(lines, "sec-websocket-key", STANDARD.encode(key).as_bytes());
    Ok(())
}

/// Trailer lines, as [`BodyDecoder::trailers`](super::BodyDecoder::trailers) gives them, for HTTP/2.
///
/// # Errors
/// [`Error::InvalidFieldName`] for what HTTP/2 cannot carry.
pub fn trailers_to_h2(section: &[u8]) -> Result<HeaderMap, Error> {
    let mut map = HeaderMap::new();
    for (name, value) in trailer_lines(section) {
        append(&mut map, name, value)?;
    }
    Ok(map)
}

/// Trailers of HTTP/2 as lines of HTTP/1.1, each with its CRLF.
///
/// # Errors
/// Those of a trailer section of HTTP/1.1.
pub fn trailers_from_h2(map: &HeaderMap) -> Result<Vec<u8>, Error> {
    let mut lines = Vec::new();
    lines_of(&mut lines, map, |_| false)?;
    check_trailers(&lines)?;
    Ok(lines)
}

/// Name and value of each line of a trailer section that was checked before.
pub fn trailer_lines(section: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    section.split(|&b| b == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        Some((std::str::from_utf8(&line[..colon]).ok()?, line[colon + 1..].trim_ascii()))
    })
}

fn lines_of(lines: &mut Vec<u8>, headers: &HeaderMap, skip: impl Fn(&str) -> bool) -> Result<(), Error> {
    for (name, value) in headers {
        let name = name.as_str();
        if CONNECTION_FIELDS.contains(&name) {
            return Err(Error::ConnectionField);
        }
        // RFC 9113, 8.2.1: no whitespace around a value; between two readers it would come and go.
        if value.as_bytes().trim_ascii().len() != value.len() {
            return Err(Error::InvalidFieldValue);
        }
        if !skip(name) {
            line(lines, name, value.as_bytes());
        }
    }
    Ok(())
}

fn line(lines: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        lines.extend_from_slice(part);
    }
}

/// The fields, but for those of the connection and those it names.
fn header_map(fields: &Fields, skip: impl Fn(&str) -> bool) -> Result<HeaderMap, Error> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        let lower = name.to_ascii_lowercase();
        let of_connection = CONNECTION_FIELDS.contains(&lower.as_str()) || fields.lists("connection", &lower);
        // RFC 9113, 8.2.2: the one thing that TE may say.
        let te = lower == "te" && !fields.lists("te", "trailers");
        if of_connection && lower != "te" || te || skip(&lower) {
            continue;
        }
        append(&mut map, &lower, if lower == "te" { b"trailers" } else { value })?;
    }
    Ok(map)
}

fn append(map: &mut HeaderMap, name: &str, value: &[u8]) -> Result<(), Error> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Error::InvalidFieldName { offset: 0 })?;
    let mut value = HeaderValue::from_bytes(value).map_err(|_| Error::InvalidFieldValue)?;
    value.set_sensitive(SENSITIVE.contains(&name.as_str()));
    map.append(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> Limits {
        Limits::default()
    }

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> http::request::Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn head(headers: &[(&str, &str)], ended: bool) -> Result<RequestHead, Error> {
        RequestHead::from_h2(&parts("POST", "https://api.example/v1/x?y=1", headers), ended, &limits())
    }

    #[test]
    fn a_request_survives_the_way_there_and_back() {
        let headers = [("user-agent", "x"), ("a", "1"), ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")];
        let head = head(&headers, false).unwrap();
        assert_eq!((head.method(), head.path(), head.host()), ("POST", "/v1/x?y=1", Some("api.example")));
        assert_eq!((head.version(), head.framing()), (Version::Http2, BodyFraming::UntilClose));
        let back = head.to_h2().unwrap();
        assert_eq!(back.uri(), "https://api.example/v1/x?y=1");
        let fields: Vec<_> = back.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(fields, headers);
    }

    #[test]
    fn a_request_gets_the_framing_of_http_1() {
        let written = |headers: &[(&str, &str)], ended, trailers| {
            let head = head(headers, ended).unwrap();
            String::from_utf8(head.to_h1(5, trailers)).unwrap()
        };
        let line = "POST /v1/x?y=1 HTTP/1.1\r\nhost: api.example\r\n";
        // RFC 9110, 8.6: without a body, that is said.
        assert_eq!(written(&[], true, false), format!("{line}content-length: 5\r\n\r\n"));
        assert_eq!(written(&[], false, false), format!("{line}content-length: 5\r\n\r\n"));
        assert_eq!(written(&[("content-length", "9")], false, false), format!("{line}content-length: 5\r\n\r\n"));
        assert_eq!(
            written(&[("content-length", "5")], false, true),
            format!("{line}transfer-encoding: chunked\r\n\r\n")
        );
        let cookies = written(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")], true, false);
        assert_eq!(cookies, format!("{line}x: y\r\ncookie: a=1; b=2\r\ncontent-length: 5\r\n\r\n"));
    }

    #[test]
    fn what_would_smuggle_a_second_request_over_http_1_is_refused() {
        for (headers, ended, expected) in [
            (&[("transfer-encoding", "chunked")][..], false, Error::ConnectionField),
            (&[("connection", "x")], true, Error::ConnectionField),
            (&[("upgrade", "h2c")], true, Error::ConnectionField),
            (&[("content-length", "5"), ("content-length", "5")], false, Error::DuplicateContentLength),
            (&[("content-length", "+5")], false, Error::InvalidContentLength),
            (&[("content-length", "5")], true, Error::Truncated),
            (&[("host", "other.example")], true, Error::TargetHostMismatch),
            (&[("x", " y")], true, Error::InvalidFieldValue),
            (&[("content_length", "5")], true, Error::DisguisedFraming { offset: 52 }),
        ] {
            let error = head(headers, ended).unwrap_err();
            assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&expected), "{headers:?}: {error}");
        }
        let connect = parts("CONNECT", "api.example:443", &[]);
        assert!(matches!(RequestHead::from_h2(&connect, false, &limits()), Err(Error::Connect | Error::Target)));
    }

    #[test]
    fn an_extended_connect_is_an_upgrade() {
        let mut parts = parts("CONNECT", "https://api.example/v1/realtime", &[("sec-websocket-version", "13")]);
        parts.extensions.insert(h2::ext::Protocol::from_static("websocket"));
        let head = RequestHead::from_h2(&parts, false, &limits()).unwrap();
        assert_eq!((head.method(), head.framing()), ("GET", BodyFraming::None));
        assert!(crate::http::websocket::Upgrade::of(&head).unwrap().is_some());
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: x\r\nX: y\r\n\r\n";
        let (answer, _) = ResponseHead::parse(answer, &limits()).unwrap().unwrap();
        let told = answer.to_h2_session().unwrap();
        assert_eq!(told.status(), 200);
        assert_eq!(told.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn a_response_loses_the_fields_of_its_connection_only() {
        let raw = "HTTP/1.1 200 Fine\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\nKept: a\r\n\r\n";
        let (head, _) = ResponseHead::parse(raw.as_bytes(), &limits()).unwrap().unwrap();
        let told = head.to_h2().unwrap();
        assert_eq!(told.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["kept"]);
        let back = ResponseHead::from_h2(told.status(), told.headers(), false, &limits()).unwrap();
        assert_eq!(back.render(), b"HTTP/1.1 200 OK\r\nkept: a\r\n\r\n");
        assert_eq!(back.framing("GET"), BodyFraming::UntilClose);
    }

    proptest! {
        #[test]
        fn trailers_survive_the_way_there_and_back(
            lines in prop::collection::vec(("[a-z][a-z0-9-]{0,8}x", "[!-~]([ -~]{0,10}[!-~])?"), 0..5)
        ) {
            let section: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let map = trailers_to_h2(section.as_bytes()).unwrap();
            let back = trailers_from_h2(&map).unwrap();
            let sorted = |section: &[u8]| {
                let mut lines: Vec<_> = trailer_lines(section).map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
                lines.sort();
                lines
            };
            prop_assert_eq!(sorted(&back), sorted(section.as_bytes()));
        }

        #[test]
        fn whatever_http_2_carries_is_one_request_of_http_1_or_none(
            name in "[!-~]{1,12}", value in "[\\x20-\\x7e\\t]{0,20}", length in prop::option::of(0u64..20)
        ) {
            let Ok(mut built) = Request::builder().method("POST").uri("https://api.example/").header(&name, &value).body(())
            else { return Ok(()) };
            if let Some(length) = length {
                built.headers_mut().append("content-length", length.into());
            }
            let parts = built.into_parts().0;
            let Ok(head) = RequestHead::from_h2(&parts, false, &limits()) else { return Ok(()) };
            let written = head.to_h1(7, false);
            let (again, len) = RequestHead::parse(&written, &limits()).unwrap().expect("a whole head");
            prop_assert_eq!(len, written.len());
            prop_assert_eq!(again.framing(), BodyFraming::Length(7));
        }
    }
}
