//! The head of a request (RFC 9112, sections 2 and 3).

use std::ops::Range;

use super::framing::{Side, declared};
use super::{BodyFraming, Error, Fields, Limits, Version};

/// A request line and its fields, byte-exact, with nothing in it that two readers could take differently.
#[derive(Clone, Debug)]
pub struct RequestHead {
    fields: Fields,
    method: Range<usize>,
    target: Range<usize>,
    /// The part of the target from the path on.
    path: Range<usize>,
    version: Version,
    framing: BodyFraming,
}

/// Where the parts of a request line are in its head.
pub(super) struct Target {
    pub(super) method: Range<usize>,
    pub(super) target: Range<usize>,
    pub(super) version: Version,
}

impl RequestHead {
    /// Parses a head at the start of `input`: the head and its length, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// Any deviation listed at [`Error`]; the connection cannot be used any further then.
    pub fn parse(input: &[u8], limits: &Limits) -> Result<Option<(Self, usize)>, Error> {
        // The preface's first line is a complete head of its own (RFC 9113, 3.4).
        if input.starts_with(b"PRI * HTTP/2.0\r\n") {
            return Err(Error::Http2Preface);
        }
        let Some((fields, len)) = Fields::parse(input, limits)? else { return Ok(None) };
        let (method, target, version) = request_line(&fields)?;
        let framing = declared(&fields, version, Side::Request)?.unwrap_or(BodyFraming::None);
        Self::of(fields, Target { method, target, version }, framing).map(|head| Some((head, len)))
    }

    /// A head whose request line was taken apart.
    pub(super) fn of(fields: Fields, line: Target, framing: BodyFraming) -> Result<Self, Error> {
        let Target { method, target, version } = line;
        let host = host(&fields, version)?;
        let path = origin_path(&fields.raw()[method.clone()], &fields.raw()[target.clone()], host)?;
        let path = target.start + path..target.end;
        Ok(Self { fields, method, target, path, version, framing })
    }

    /// The method, case kept.
    #[must_use]
    pub fn method(&self) -> &str {
        self.text(&self.method)
    }

    /// The request target as written: origin-form, absolute-form or `*`.
    #[must_use]
    pub fn target(&self) -> &str {
        self.text(&self.target)
    }

    /// The path and query of the target; `/` is not added to an absolute-form target without a path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text(&self.path)
    }

    /// The version of the request line.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// What ends the body.
    #[must_use]
    pub fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// The field lines.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The field lines, to edit. The framing is not read again.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// The Host field: present in HTTP/1.1, with an optional port.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.fields.get("host").and_then(|host| std::str::from_utf8(host).ok())
    }

    /// The host and port the request is for, as its target in absolute-form or else its Host says; in lower case,
    /// brackets of an IPv6 address removed. The port is none where it is left out.
    #[must_use]
    pub fn authority(&self) -> Option<(String, Option<u16>)> {
        let absolute = self.absolute().map(|(_, authority)| authority);
        let (host, port) = super::connect::split(absolute.or_else(|| self.host())?.as_bytes())?;
        Some((host.to_ascii_lowercase(), port))
    }

    /// Scheme and authority of a target in absolute-form, as clients send it to proxies.
    #[must_use]
    pub fn absolute(&self) -> Option<(&str, &str)> {
        self.target()[..self.target().len() - self.path().len()].split_once("://")
    }

    /// Whether the client may send another request on this connection (RFC 9112, 9.3).
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        keep_alive(&self.fields, self.version)
    }

    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110, 10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.version != Version::Http10 && self.fields.lists("expect", "100-continue")
    }

    /// The protocols the client would switch to (RFC 9110, 7.8). What follows a switch cannot be read by this codec.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.fields.get("upgrade")
    }

    /// The head to send on: the received bytes, but for edited lines.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        self.fields.render()
    }

    fn text(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(&self.fields.raw()[range.clone()]).unwrap_or_default()
    }
}

pub(super) fn keep_alive(fields: &Fields, version: Version) -> bool {
    match version {
        Version::Http11 => !fields.lists("connection", "close"),
        Version::Http2 => true,
        Version::Http10 => fields.lists("connection", "keep-alive") && !fields.lists("connection", "close"),
    }
}

/// Splits the request line through httparse, which checks its grammar, and finds the parts' places in the head.
pub(super) fn request_line(fields: &Fields) -> Result<(Range<usize>, Range<usize>, Version), Error> {
    let raw = fields.raw();
    let mut headers = vec![httparse::EMPTY_HEADER; fields.len()];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(raw) {
        Ok(httparse::Status::Complete(len)) if len == raw.len() => {}
        Err(httparse::Error::Version) => return Err(Error::Version),
        _ => return Err(Error::RequestLine),
    }
    let (Some(method), Some(target)) = (request.method, request.path) else { return Err(Error::RequestLine) };
    let version = if request.version == Some(1) { Version::Http11 } else { Version::Http10 };
    let target_start = method.len() + 1;
    let line_len = target_start + target.len() + " HTTP/1.x\r\n".len();
    // One space between the parts, and nothing else, or the spans would be off.
    let exact = raw.get(line_len - 2..line_len) == Some(b"\r\n".as_slice()) && raw[target_start - 1] == b' ';
    if !exact || !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(Error::RequestLine);
    }
    Ok((0..method.len(), target_start..target_start + target.len(), version))
}

/// The single Host field's value.
fn host(fields: &Fields, version: Version) -> Result<Option<&[u8]>, Error> {
    let mut hosts = fields.all("host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Error::DuplicateHost);
    }
    match host {
        None if version != Version::Http10 => Err(Error::MissingHost),
        Some(host) if !is_authority(host) => Err(Error::InvalidHost),
        host => Ok(host),
    }
}

/// `uri-host [":" port]` of RFC 9110, 7.2: a registered name, an IPv4 address or a bracketed IPv6 address.
fn is_authority(value: &[u8]) -> bool {
    let in_brackets = value.starts_with(b"[");
    let (name, port) = match value.iter().rposition(|&b| b == b']') {
        Some(end) if in_brackets => (&value[1..end], &value[end + 1..]),
        Some(_) => return false,
        None => value.split_at(value.iter().position(|&b| b == b':').unwrap_or(value.len())),
    };
    let name_ok = !name.is_empty()
        && name.iter().all(|&b| match b {
            b':' => in_brackets,
            b'_' | b'-' | b'.' => true,
            _ => b.is_ascii_alphanumeric(),
        });
    let port_ok = port.is_empty() || (port[0] == b':' && port.len() <= 6 && port[1..].iter().all(u8::is_ascii_digit));
    name_ok && port_ok
}

/// Where the path starts in `target`, once the form is known to suit the method (RFC 9112, 3.2) and an authority in
/// it to be the Host's.
fn origin_path(method: &[u8], target: &[u8], host: Option<&[u8]>) -> Result<usize, Error> {
    if method == b"CONNECT" {
        return Err(Error::Connect);
    }
    if target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS") {
        return Ok(0);
    }
    let scheme = [b"https://".as_slice(), b"http://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme)));
    let scheme_len = scheme.ok_or(Error::Target)?.len();
    let authority = &target[scheme_len..];
    let end = authority.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(authority.len());
    let authority = &authority[..end];
    if !is_authority(authority) {
        return Err(Error::Target);
    }
    match host {
        Some(host) if !authority.eq_ignore_ascii_case(host) => Err(Error::TargetHostMismatch),
        _ => Ok(scheme_len + end),
    }
}

/// Fuzz entry: whatever parses renders as it came, and does so whatever arrives behind it.
#[doc(hidden)]
pub fn fuzz_request_head(data: &[u8]) {
    let limits = Limits::default();
    let Ok(Some((head, len))) = RequestHead::parse(data, &limits) else { return };
    assert_eq!(head.render(), data[..len]);
    assert!(matches!(RequestHead::parse(&data[..len], &limits), Ok(Some((_, again))) if again == len));
    assert!(matches!(RequestHead::parse(&data[..len - 1], &limits), Ok(None)));
    assert!(!head.method().is_empty() && head.target().ends_with(head.path()));
    let mut edited = head;
    if edited.fields_mut().set_content_length(7) {
        let rendered = edited.render();
        let again = RequestHead::parse(&rendered, &limits).expect("an edited head is valid").expect("and complete").0;
        assert_eq!(again.framing(), BodyFraming::Length(7));
    }
}
