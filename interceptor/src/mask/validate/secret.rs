//! Credentials of vendors: checksums and structure where they are published.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Verdict;
use super::random::{is_name, masked, random};

/// GitHub's tokens end in six base-62 digits of the CRC-32 of the thirty before (GitHub's blog, April 2021).
pub(super) fn github(value: &[u8]) -> Verdict {
    if !random(value) {
        return Verdict::Reject;
    }
    let Some(at) = value.iter().position(|&b| b == b'_') else { return Verdict::Plausible };
    let body = &value[at + 1..];
    let Some((data, check)) = body.len().checked_sub(6).map(|cut| body.split_at(cut)) else {
        return Verdict::Plausible;
    };
    if base62(crc32(data)) == check { Verdict::Confirmed } else { Verdict::Plausible }
}

/// Grafana's service account tokens end in the CRC-32 of what is before the last `_`, low byte first.
pub(super) fn grafana_service(value: &[u8]) -> Verdict {
    let Some((data, check)) = value.len().checked_sub(9).map(|cut| value.split_at(cut)) else { return Verdict::Reject };
    let sum = crc32(data).swap_bytes();
    match random(value) {
        false => Verdict::Reject,
        true if check[1..].eq_ignore_ascii_case(format!("{sum:08x}").as_bytes()) => Verdict::Confirmed,
        true => Verdict::Plausible,
    }
}

/// Grafana's older keys are Base64 of `{"k":"..."`; Power BI's links are too, but of a UUID.
pub(super) fn grafana_key(value: &[u8]) -> bool {
    const BEGINNING: usize = 28;
    let uuid = |json: Vec<u8>| json.get(14) == Some(&b'-') && json[6..14].iter().all(u8::is_ascii_hexdigit);
    let beginning = value.get(..BEGINNING).and_then(|part| STANDARD_NO_PAD.decode(part).ok());
    random(value) && !beginning.is_some_and(uuid)
}

/// PyPI's tokens are macaroons, version 2, whose first packet is the location.
pub(super) fn pypi(value: &[u8]) -> Verdict {
    const BEGINNING: std::ops::Range<usize> = 5..29;
    let macaroon = value.get(BEGINNING).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
    let located = |host: &[u8]| macaroon.get(3..).is_some_and(|rest| rest.starts_with(host));
    match macaroon.get(..3) {
        Some([2, 1, 8]) if located(b"pypi.org") => Verdict::Confirmed,
        Some([2, 1, 13]) if located(b"test.pypi.org") => Verdict::Confirmed,
        _ if random(value) => Verdict::Plausible,
        _ => Verdict::Reject,
    }
}

/// Slack's tokens end in a random part: `xoxp-1-YourAccessTokenGoesHere` does not.
pub(super) fn slack(value: &[u8]) -> bool {
    random(value) && value.rsplit(|&b| b == b'-').next().is_some_and(|last| !is_name(last))
}

/// CRC-32 (ISO 3309), one bit at a time: thirty bytes a token do not deserve a table.
pub(super) fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Six digits of base 62: 0-9, A-Z, a-z.
pub(super) fn base62(mut value: u32) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = [b'0'; 6];
    for slot in out.iter_mut().rev() {
        *slot = DIGITS[(value % 62) as usize];
        value /= 62;
    }
    out
}

/// A JSON web token: the first part decodes to a JSON object with an `alg` or `enc` (RFC 7515, section 4.1; RFC 7516); if
/// it does not, at least the second is an object too.
pub(super) fn jwt(value: &[u8]) -> Verdict {
    let mut parts = value.split(|&b| b == b'.');
    let (header, payload) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let known = URL_SAFE_NO_PAD.decode(header).ok().is_some_and(|json| {
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&json)
            .is_ok_and(|header| ["alg", "enc"].iter().any(|name| header.contains_key(*name)))
    });
    match (known, payload.starts_with(b"eyJ")) {
        (true, _) => Verdict::Confirmed,
        (false, true) if header.len() > 20 => Verdict::Plausible,
        _ => Verdict::Reject,
    }
}

/// Base64 of `user:password` (RFC 7617).
pub(super) fn basic_auth(value: &[u8]) -> bool {
    let end = value.iter().rposition(|&b| b != b'=').map_or(0, |i| i + 1);
    STANDARD_NO_PAD.decode(&value[..end]).is_ok_and(|plain| {
        std::str::from_utf8(&plain).is_ok_and(|text| text.contains(':') && !text.chars().any(char::is_control))
    })
}

/// Shorter ones stand for any in documentation: `https://a:b@host`.
const SHORTEST_PASSWORD: usize = 4;

/// A URI whose password is not a placeholder: no reference, not `xxxx` or `password`, not what anybody may log in with, and
/// not the word `secret` for a host that cannot exist (RFC 3849).
pub(super) fn uri_password(value: &[u8]) -> bool {
    let Some(start) = value.windows(3).position(|w| w == b"://") else { return false };
    let rest = &value[start + 3..];
    let Some(at) = rest.iter().rposition(|&b| b == b'@') else { return false };
    let Some(colon) = rest[..at].iter().position(|&b| b == b':') else { return false };
    let password = &rest[colon + 1..at];
    // `%` alone begins an escape, so it does not make a reference here.
    // `user[:password]` is how documentation writes what may be left out.
    let optional = rest[..colon].ends_with(b"[") && password.ends_with(b"]");
    let reference = optional || password.starts_with(b"$") || password.iter().any(|b| matches!(b, b'{' | b'<' | b'['));
    let names_itself = |word: &[u8]| {
        [&b"password"[..], b"passwd", b"pass", b"anonymous", b"anoncvs"]
            .iter()
            .any(|name| word.eq_ignore_ascii_case(name))
    };
    // `[[` is such a host that was masked: another would have been masked with its password.
    let host = &rest[at + 1..];
    let nowhere = (host.starts_with(b"[2001:db8:") || host.starts_with(b"[[")) && password == b"secret";
    let placeholder = nowhere || masked(password) || password.len() < SHORTEST_PASSWORD || names_itself(password);
    !(password.is_empty() || reference || placeholder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_agrees_with_the_standard_check_value() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn base62_is_padded_to_six() {
        assert_eq!(&base62(0), b"000000");
        assert_eq!(&base62(61), b"00000z");
        assert_eq!(&base62(62), b"000010");
    }

    #[test]
    fn a_jwt_is_known_by_its_header() {
        assert_eq!(jwt(b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.x"), Verdict::Confirmed);
        assert_eq!(jwt(b"eyJmb28iOiJiYXIifQ.eyJzdWIiOiIxIn0.x"), Verdict::Reject);
    }

    #[test]
    fn grafanas_checksum_is_that_of_its_own_tests() {
        // From the tests of Grafana's `apikeygen`.
        let token = [&b"glsa_yscW25imSKJIuav8zF37"[..], b"RZmnbiDvB05G_fcaaf58a"].concat();
        assert_eq!(grafana_service(&token), Verdict::Confirmed);
        let broken = [&b"glsa_yscW25imSKJIuav8zF37"[..], b"RZmnbiDvB05G_fcaaf58b"].concat();
        assert_eq!(grafana_service(&broken), Verdict::Plausible);
    }

    #[test]
    fn a_macaroon_of_pypi_is_known_by_its_location() {
        assert_eq!(pypi(b"pypi-AgEIcHlwaS5vcmcCJDkwNzYwNzU1LWMwOTUtNGNkOC1i"), Verdict::Confirmed);
        assert_eq!(pypi(b"pypi-AgENdGVzdC5weXBpLm9yZwIkOTA3NjA3NTUtYzA5NS00"), Verdict::Confirmed);
        assert_eq!(pypi(b"pypi-AgEfcHlwaS5vcmcCJDkwNzYwNzU1LWMwOTUtNGNkOC1i"), Verdict::Plausible);
    }

    #[test]
    fn a_link_of_power_bi_is_no_grafana_key() {
        assert!(!grafana_key(b"eyJrIjoiYTZjMTk3YjEtMzQ4Yi00NTI5LTg2ZDItNmUyMGRlOTkwMGRlIiwidCI6"));
        assert!(grafana_key(b"eyJrIjoiWHZiSWd5NzdCYUZnNUtibE8obUpESmE2bzJYNDRIc1UiLCJuIjoibXlr"));
    }

    #[test]
    fn the_end_of_a_slack_token_is_no_name() {
        assert!(slack(b"xoxp-1-8a10cfb5eb30b0584d7f"));
        assert!(!slack(b"xoxp-1-YourAccessTokenGoesHere"));
    }
}
