//! What a client's first bytes are the beginning of.

/// Longest word that is still taken for an HTTP method.
const METHOD: usize = 32;

/// Longest first line that is waited for; the codec refuses what is longer.
const LINE: usize = 16 << 10;

/// A protocol, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// A TLS hello, of today's format or of SSL 2's.
    Tls,
    /// A request of HTTP/1, well formed or not.
    Http,
    /// A request to a SOCKS proxy, version 4 or 5 (RFC 1928).
    Socks,
    /// Anything else, HTTP/2 without TLS included.
    Other,
}

/// What `bytes` begin; `None` while more of them are needed. However they are cut, the answer is the same.
pub(super) fn classify(bytes: &[u8]) -> Option<First> {
    match bytes {
        [] | [20..=23] => None,
        // Any record of TLS (RFC 8446, 5.1), whatever its minor and odd major version: some servers pass over an alert, or
        // take a version nobody has, before the hello. What does not begin with a hello is refused as TLS.
        [20..=23, 0..=4, ..] => Some(First::Tls),
        // SSL 2's ClientHello, which some servers still take: length with the high bit set, type 1.
        [0x80..=0xff] | [0x80..=0xff, _] => None,
        [0x80..=0xff, _, 1, ..] => Some(First::Tls),
        [4 | 5] => None,
        [4, 1 | 2, ..] | [5, ..] => Some(First::Socks),
        _ => line(bytes),
    }
}

fn line(bytes: &[u8]) -> Option<First> {
    // Servers skip empty lines before a request (RFC 9112, 2.2).
    let empty = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    match bytes.split_at(empty).1 {
        _ if empty > METHOD => Some(First::Http),
        [] => None,
        rest => request_line(rest),
    }
}

fn request_line(bytes: &[u8]) -> Option<First> {
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let word = bytes.iter().take_while(|b| is_token(b)).count();
    match bytes.get(word) {
        _ if word == 0 || word > METHOD => Some(First::Other),
        None => None,
        Some(b' ' | b'\t') => match bytes.iter().position(|&b| b == b'\n') {
            Some(end) if bytes.starts_with(b"PRI * HTTP/2") && end > 0 => Some(First::Other),
            Some(end) if names_version(&bytes[word..end]) => Some(First::Http),
            Some(_) => Some(First::Other),
            None if bytes.len() > LINE => Some(First::Http),
            None => None,
        },
        Some(_) => Some(First::Other),
    }
}

/// Whether what follows the method has the `HTTP/` of a version in it, as any server would look for it.
fn names_version(rest: &[u8]) -> bool {
    rest.windows(6).any(|window| matches!(window[0], b' ' | b'\t') && window[1..].eq_ignore_ascii_case(b"HTTP/"))
}

/// Fuzzing entry: an answer given for some bytes holds whatever follows them.
///
/// # Panics
/// When it does not.
#[doc(hidden)]
pub fn fuzz_first_bytes(bytes: &[u8]) {
    let mut answer = None;
    for len in 0..=bytes.len().min(256) {
        let now = classify(&bytes[..len]);
        assert!(answer.is_none() || answer == now, "{answer:?} became {now:?} at byte {len}");
        answer = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn protocols_are_told_by_their_first_bytes() {
        for (bytes, expected) in [
            (&b"\x16\x03\x01\x02\x00"[..], First::Tls),
            (b"\x80\x2e\x01\x03\x01", First::Tls),
            (b"\x05\x01\x00", First::Socks),
            (b"\x04\x01\x01\xbb", First::Socks),
            (b"\x15\x03\x01\x00\x02\x01\x64\x16\x03\x01", First::Tls),
            (b"\x16\x02\xff\x02\x00", First::Tls),
            (b"\x14\x03\x03\x00\x01\x01", First::Tls),
            (b"GET / HTTP/1.1\r\n", First::Http),
            (b"\r\n\r\nPOST /v1/messages HTTP/1.1\r\n", First::Http),
            (b"get\t/ http/1.0\n", First::Http),
            (b"GET  /  HTTP/9.9 x\r\n", First::Http),
            (b"CONNECT a.example:443 HTTP/1.1\r\n", First::Http),
            (b"PRI * HTTP/2.0\r\n", First::Other),
            (b"NICK me\r\n", First::Other),
            (b"SSH-2.0-OpenSSH_9.2\r\n", First::Other),
            (b"*1\r\n$4\r\nPING\r\n", First::Other),
            (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", First::Other),
            (b"\x16\x05", First::Other),
            (b"GET /", First::Other),
        ] {
            let whole = [bytes, b"\n"].concat();
            assert_eq!(classify(&whole), Some(expected), "{}", whole.escape_ascii());
            fuzz_first_bytes(&whole);
        }
        for unfinished in [&b""[..], b"\x16", b"\r\n", b"GE", b"GET /v1/me", b"\x80\x2e"] {
            assert_eq!(classify(unfinished), None, "{}", unfinished.escape_ascii());
        }
    }

    #[test]
    fn a_request_line_without_end_is_left_to_the_codec() {
        assert_eq!(classify(&[&b"GET /"[..], &[b'a'; LINE]].concat()), Some(First::Http));
    }

    proptest! {
        #[test]
        fn an_answer_holds_whatever_follows(bytes in prop::collection::vec(any::<u8>(), 0..64), http: bool) {
            let start: &[u8] = if http { b"POST /x " } else { b"" };
            fuzz_first_bytes(&[start, &bytes].concat());
        }

        #[test]
        fn whatever_the_codec_takes_is_taken_for_http(
            method in "[A-Z]{1,10}", path in "/[a-z0-9/?=%]{0,40}", minor in 0..=1u8,
        ) {
            let head = format!("{method} {path} HTTP/1.{minor}\r\nHost: a.example\r\n\r\n");
            prop_assert_eq!(classify(head.as_bytes()), Some(First::Http));
        }
    }
}
