//! Credentials: checksums where vendors publish one, randomness and placeholders where they do not.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Verdict;

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

/// A JSON web token: the first part decodes to a JSON object with an `alg` or `typ` (RFC 7515, section 4.1).
pub(super) fn jwt(value: &[u8]) -> bool {
    let header = value.split(|&b| b == b'.').next().unwrap_or_default();
    let Ok(json) = URL_SAFE_NO_PAD.decode(header) else { return false };
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&json)
        .is_ok_and(|header| header.contains_key("alg") || header.contains_key("typ") || header.contains_key("enc"))
}

/// Base64 of `user:password` (RFC 7617).
pub(super) fn basic_auth(value: &[u8]) -> bool {
    let end = value.iter().rposition(|&b| b != b'=').map_or(0, |i| i + 1);
    STANDARD_NO_PAD.decode(&value[..end]).is_ok_and(|plain| {
        std::str::from_utf8(&plain).is_ok_and(|text| text.contains(':') && !text.chars().any(char::is_control))
    })
}

/// A URI whose password is not a placeholder.
pub(super) fn uri_password(value: &[u8]) -> bool {
    let Some(start) = value.windows(3).position(|w| w == b"://") else { return false };
    let rest = &value[start + 3..];
    let Some(at) = rest.iter().rposition(|&b| b == b'@') else { return false };
    let Some(colon) = rest[..at].iter().position(|&b| b == b':') else { return false };
    let password = &rest[colon + 1..at];
    !password.is_empty() && !is_reference(password) && !masked(password)
}

/// The value looks drawn at random from its alphabet: for vendors' tokens, whose prefix says the rest.
pub(super) fn random(value: &[u8]) -> bool {
    not_a_placeholder(value) && shannon(value) >= 2.8
}

/// The value of something called key, token or secret: random enough, and not a word, path, name or reference.
pub(super) fn entropy(value: &[u8]) -> bool {
    if value.len() < 8 || !not_a_placeholder(value) || is_reference(value) {
        return false;
    }
    let has = |test: fn(&u8) -> bool| value.iter().any(test);
    let (digit, lower, upper) = (has(u8::is_ascii_digit), has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase));
    let hex = value.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    if !(digit || lower && upper && value.len() >= 20) {
        return false;
    }
    // Random text needs more bits the more symbols it may have; short values cannot show many.
    let floor = if hex { 2.6 } else { 3.0 };
    let bar = f32::min(floor, (value.len() as f32).log2() - 0.6);
    shannon(value) >= bar && !identifier_like(value)
}

/// The value of something called password: people choose words, so only placeholders and code are left out.
pub(super) fn password(value: &[u8]) -> bool {
    value.len() >= 4 && not_a_placeholder(value) && !is_reference(value) && {
        let plain = value.iter().all(|b| b.is_ascii_alphabetic() || *b == b'_');
        !plain
            || value.iter().any(u8::is_ascii_uppercase) && value.iter().any(u8::is_ascii_lowercase) && value.len() >= 12
    }
}

/// Neither `xxxx`, `your-api-key`, `EXAMPLE` nor `0123456789abcdef`.
pub(super) fn not_a_placeholder(value: &[u8]) -> bool {
    const WORDS: [&[u8]; 14] = [
        b"example",
        b"placeholder",
        b"your_",
        b"your-",
        b"yourapi",
        b"changeme",
        b"change_me",
        b"redacted",
        b"xxxxxx",
        b"******",
        b"abcdefghijklm",
        b"insert",
        b"dummy",
        b"<",
    ];
    let lower = value.to_ascii_lowercase();
    // AWS's own documentation spells EXAMPLE into keys; masking those is harmless, missing a real one is not.
    let aws = lower.starts_with(b"akia") || lower.ends_with(b"examplekey");
    !masked(value) && (aws || !WORDS.iter().any(|word| memchr::memmem::find(&lower, word).is_some()))
}

/// The same few characters over and over.
fn masked(value: &[u8]) -> bool {
    let mut seen = [false; 256];
    value.iter().for_each(|&b| seen[usize::from(b)] = true);
    seen.iter().filter(|&&s| s).count() < 4.min(value.len())
}

/// `${VAR}`, `$(cmd)`, `{{ template }}`, `%s`, `process.env.X`, `os.environ[...]`, `get_secret()`, a path.
fn is_reference(value: &[u8]) -> bool {
    let starts = [
        &b"$"[..],
        b"{",
        b"%",
        b"<",
        b"process.env",
        b"os.",
        b"env.",
        b"env(",
        b"/",
        b"./",
        b"../",
        b"http:",
        b"https:",
        b"@",
    ];
    starts.iter().any(|s| value.starts_with(s))
        || value.iter().any(|b| matches!(b, b'(' | b'{' | b'['))
        || memchr::memmem::find(value, b"://").is_some()
}

/// Words joined by `_`, `-`, `.` or capitals, each of letters or of digits: `max_tokens_2`, `us-east-1`, `v1.2.3`.
fn identifier_like(value: &[u8]) -> bool {
    let mut words = 0;
    let mut digits = 0;
    for part in value.split(|b| matches!(b, b'_' | b'-' | b'.' | b':' | b'/' | b' ')) {
        let letters = part.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let tail = &part[letters..];
        if !tail.iter().all(u8::is_ascii_digit) || tail.len() > 4 {
            return false;
        }
        digits += tail.len();
        // Small letters, capitals, or capitalised words in a row: no random string of length looks so.
        let changes =
            part[..letters].windows(2).filter(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase()).count();
        if letters > 0 && changes * 4 > letters {
            return false;
        }
        words += 1;
    }
    let letters = value.iter().filter(|b| b.is_ascii_alphabetic()).count();
    words > 1 && digits * 3 <= letters || words == 1 && digits * 4 <= letters && letters <= 20
}

/// Bits for each character (Shannon, over the value's own frequencies).
fn shannon(value: &[u8]) -> f32 {
    let mut counts = [0u32; 256];
    value.iter().for_each(|&b| counts[usize::from(b)] += 1);
    let len = value.len() as f32;
    counts.iter().filter(|&&n| n > 0).map(|&n| n as f32 / len).map(|p| -p * p.log2()).sum()
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
        assert!(jwt(b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.x"));
        assert!(!jwt(b"eyJmb28iOiJiYXIifQ.eyJzdWIiOiIxIn0.x"));
    }

    #[test]
    fn code_and_placeholders_are_not_secrets() {
        for text in [
            "process.env.API_KEY",
            "${API_KEY}",
            "get_token(user)",
            "max_tokens_2",
            "your-api-key-1",
            "us-east-1",
            "xxxxxxxxxxxx",
            "aaaaaaaaaaaa1111",
            "/etc/ssl/key.pem",
            "https://example.com/1",
        ] {
            assert!(!entropy(text.as_bytes()), "{text}");
        }
        for text in ["9c1b7e04d2f85a36", "hR7kQ2mZx9Lw4T", "Zm9vYmFyYmF6cXV4MTIz"] {
            assert!(entropy(text.as_bytes()), "{text}");
        }
    }
}
