//! The head of a CONNECT request, as a proxy receives it (RFC 9110, 9.3.6; RFC 9112, 3.2.3).

use bytes::Bytes;

use super::framing::{Side, declared};
use super::request::request_line;
use super::{BodyFraming, Error, Fields, Limits};

/// What a client asks a proxy to connect to. Kept byte for byte, to be passed on to that proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectHead {
    /// The host, in lower case and without the brackets of an IPv6 address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The head as it came.
    pub raw: Bytes,
}

impl ConnectHead {
    /// Whether `input` may be the beginning of one. Another method answers `Some(false)`, too few bytes `None`.
    #[must_use]
    pub fn begins(input: &[u8]) -> Option<bool> {
        const METHOD: &[u8] = b"CONNECT ";
        let len = input.len().min(METHOD.len());
        match input[..len] == METHOD[..len] {
            false => Some(false),
            true if len == METHOD.len() => Some(true),
            true => None,
        }
    }

    /// Parses a head at the start of `input`: the head and its length, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// Any deviation listed at [`Error`]: a target that is not `host:port`, another name in Host, a body.
    pub fn parse(input: &[u8], limits: &Limits) -> Result<Option<(Self, usize)>, Error> {
        let Some((fields, len)) = Fields::parse(input, limits)? else { return Ok(None) };
        let (method, target, version) = request_line(&fields)?;
        if &fields.raw()[method] != b"CONNECT" {
            return Err(Error::Target);
        }
        // Content of a CONNECT request has no meaning, and would be taken for the tunnel's first bytes.
        if !matches!(declared(&fields, version, Side::Request)?, None | Some(BodyFraming::Length(0))) {
            return Err(Error::BodyForbidden);
        }
        let (host, port) = authority(&fields.raw()[target]).ok_or(Error::Target)?;
        let mut hosts = fields.all("host");
        if let Some(field) = hosts.next() {
            let (named, _) = split(field).ok_or(Error::InvalidHost)?;
            if !named.eq_ignore_ascii_case(&host) {
                return Err(Error::TargetHostMismatch);
            }
        }
        if hosts.next().is_some() {
            return Err(Error::DuplicateHost);
        }
        Ok(Some((Self { host, port, raw: Bytes::copy_from_slice(&input[..len]) }, len)))
    }
}

/// `host:port`, both given.
fn authority(target: &[u8]) -> Option<(String, u16)> {
    let (host, port) = split(target)?;
    Some((host.to_ascii_lowercase(), port?)).filter(|&(_, port)| port != 0)
}

/// The host without brackets, and the port when there is one. A host is a registered name, an IPv4 address or an IPv6
/// address in brackets (RFC 3986, 3.2.2); percent-encoding has no place in a DNS name and is refused.
pub(super) fn split(authority: &[u8]) -> Option<(&str, Option<u16>)> {
    let text = std::str::from_utf8(authority).ok()?;
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']').filter(|(host, _)| host.parse::<std::net::Ipv6Addr>().is_ok())?,
        None => {
            let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            (!host.is_empty() && host.bytes().all(plain)).then_some((host, rest))?
        }
    };
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((host, None)),
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some((host, Some(digits.parse().ok()?)))
        }
        _ => None,
    }
}

/// Fuzz entry: whatever parses comes back byte for byte, and means the same whatever arrives behind it.
#[doc(hidden)]
pub fn fuzz_connect_head(data: &[u8]) {
    let limits = Limits::default();
    let Ok(Some((head, len))) = ConnectHead::parse(data, &limits) else { return };
    assert_eq!(ConnectHead::begins(data), Some(true));
    assert_eq!(head.raw, data[..len]);
    assert!(!head.host.is_empty() && head.port != 0);
    assert!(matches!(ConnectHead::parse(&data[..len], &limits), Ok(Some((again, _))) if again == head));
    assert!(matches!(ConnectHead::parse(&data[..len - 1], &limits), Ok(None)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(String, u16), Error> {
        let (head, len) = ConnectHead::parse(text.as_bytes(), &Limits::default())?.expect("a whole head");
        assert_eq!((len, &head.raw[..]), (text.len(), text.as_bytes()));
        fuzz_connect_head(text.as_bytes());
        Ok((head.host, head.port))
    }

    #[test]
    fn the_target_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n", "api.example.com", 443),
            ("CONNECT API.Example.com:8443 HTTP/1.1\r\nhost: api.example.com\r\n\r\n", "api.example.com", 8443),
            ("CONNECT 203.0.113.1:443 HTTP/1.0\r\nProxy-Authorization: Basic QTpC\r\n\r\n", "203.0.113.1", 443),
            ("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n", "2001:db8::1", 443),
            ("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n", "a.example", 443),
        ] {
            assert_eq!(parse(text).unwrap(), (host.to_owned(), port), "{text}");
        }
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        for target in [
            "a.example",
            "a.example:",
            "a.example:0",
            "a.example:65536",
            "a.example:+1",
            ":443",
            "/x",
            "*",
            "http://a.example/",
            "a%2eexample:443",
            "[a.example]:443",
            "[2001:db8::1:443",
            "me@a.example:443",
        ] {
            let text = format!("CONNECT {target} HTTP/1.1\r\n\r\n");
            assert_eq!(parse(&text), Err(Error::Target), "{target}");
        }
        let with = |field: &str| parse(&format!("CONNECT a.example:443 HTTP/1.1\r\n{field}\r\n\r\n"));
        assert_eq!(with("Host: b.example"), Err(Error::TargetHostMismatch));
        assert_eq!(with("Host: a.example\r\nHost: a.example"), Err(Error::DuplicateHost));
        assert_eq!(with("Content-Length: 5"), Err(Error::BodyForbidden));
        assert_eq!(with("Transfer-Encoding: chunked"), Err(Error::BodyForbidden));
    }

    #[test]
    fn a_head_is_recognised_by_its_method() {
        assert_eq!(ConnectHead::begins(b"CONN"), None);
        assert_eq!(ConnectHead::begins(b"CONNECT "), Some(true));
        for other in [&b"COPY / HTTP/1.1"[..], b"connect a", b"CONNECTED x"] {
            assert_eq!(ConnectHead::begins(other), Some(false));
        }
        assert_eq!(ConnectHead::parse(b"CONNECT a.example:443 HTTP/1.1\r\n", &Limits::default()), Ok(None));
    }
}
