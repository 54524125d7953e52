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

/// A JSON web token: the first part decodes to a JSON object with an `alg`, `typ` or `enc` (RFC 7515, section 4.1); if
/// it does not, at least the second is an object too.
pub(super) fn jwt(value: &[u8]) -> Verdict {
    let mut parts = value.split(|&b| b == b'.');
    let (header, payload) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let known = URL_SAFE_NO_PAD.decode(header).ok().is_some_and(|json| {
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&json)
            .is_ok_and(|header| ["alg", "typ", "enc"].iter().any(|name| header.contains_key(*name)))
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

/// A URI whose password is not a placeholder.
pub(super) fn uri_password(value: &[u8]) -> bool {
    let Some(start) = value.windows(3).position(|w| w == b"://") else { return false };
    let rest = &value[start + 3..];
    let Some(at) = rest.iter().rposition(|&b| b == b'@') else { return false };
    let Some(colon) = rest[..at].iter().position(|&b| b == b':') else { return false };
    let password = &rest[colon + 1..at];
    // `%` alone begins an escape, so it does not make a reference here.
    let reference = password.starts_with(b"$") || password.iter().any(|b| matches!(b, b'{' | b'<' | b'['));
    let placeholder = password.len() > 3 && masked(password);
    !(password.is_empty() || reference || placeholder)
}

/// The value looks drawn at random from its alphabet: for vendors' tokens, whose prefix says the rest.
pub(super) fn random(value: &[u8]) -> bool {
    not_a_placeholder(value) && shannon(value) >= 2.8
}

/// The value of something called key, token or secret: random enough, and not a word, path, name or reference.
pub(super) fn entropy(value: &[u8]) -> bool {
    if value.len() < 8 || !not_a_placeholder(value) || is_reference(value) || is_name(value) {
        return false;
    }
    let letters = value.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    if digits == 0 && value.len() < 20 || letters == 0 && value.len() < 16 {
        return false;
    }
    // Random text needs more bits the more symbols it may have; short values cannot show many.
    let hex = value.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    let floor = if hex { 2.6 } else { 3.0 };
    shannon(value) >= f32::min(floor, (value.len() as f32).log2() - 0.6)
}

/// What stands in quotes behind the word password: a word will do, but no label, selector or placeholder.
pub(super) fn password_quoted(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let names_itself = [&b"passw"[..], b"pwd"].iter().any(|word| memchr::memmem::find(&lower, word).is_some());
    let plain = value.iter().all(u8::is_ascii_alphabetic);
    not_a_placeholder(value)
        && !is_reference(value)
        && !matches!(value[0], b'#' | b'.' | b'&' | b'*' | b':' | b'-' | b'?')
        && !matches!(value.last(), Some(b':' | b'?'))
        && !lower.starts_with(b"arn:")
        && !NOT_PASSWORDS.split(' ').any(|word| word.as_bytes() == lower)
        && (!names_itself || (plain && lower.len() > 9) || value.iter().any(u8::is_ascii_digit))
}

/// What stands unquoted behind `PASSWORD=`: a word will do, but no expression.
pub(super) fn password_setting(value: &[u8]) -> bool {
    let expression = value.iter().any(|b| matches!(b, b'.' | b':' | b'*' | b'/' | b'='));
    password_quoted(value) && !expression
}

/// What stands behind `password:` or `password =` and may be a program's: letters, digits and perhaps more, mixed as
/// no name is.
pub(super) fn password_bare(value: &[u8]) -> bool {
    let digit = value.iter().any(u8::is_ascii_digit);
    let letter = value.iter().any(u8::is_ascii_alphabetic);
    let expression = value.iter().any(|b| matches!(b, b'.' | b':' | b'*' | b'/' | b'='));
    password_quoted(value) && digit && letter && !expression && !is_name(value)
}

/// Words that follow `password` in forms, schemas and programs.
const NOT_PASSWORDS: &str = "\
    password passwd passphrase pass required optional string text hidden none null nil true false \
    username user login email name value type label current confirm invalid incorrect missing forgot \
    reset change show hide enter input field prompt basic utf8 utf-8 undefined default object passwort \
    default-src";

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
        || memchr::memmem::find(value, b"::").is_some()
}

/// A name in a program: words of letters, joined by `_`, `-`, `.` or capitals, and few numbers. `us-east-1`,
/// `EcPrivateKeyRfc5915Der`. In random text words of one case are short, or many consonants follow each other.
fn is_name(value: &[u8]) -> bool {
    let (mut words, mut letters, mut numbers) = (0usize, 0usize, 0usize);
    let (mut consonants, mut longest) = (0usize, 0usize);
    let mut previous = b' ';
    for &byte in value {
        if byte.is_ascii_alphabetic() {
            letters += 1;
            // A word goes on in its own case; a capital may begin one.
            let goes_on = byte.is_ascii_lowercase() && previous.is_ascii_alphabetic()
                || byte.is_ascii_uppercase() && previous.is_ascii_uppercase();
            words += usize::from(!goes_on);
        } else if byte.is_ascii_digit() {
            numbers += usize::from(!previous.is_ascii_digit());
        }
        consonants = if byte.is_ascii_lowercase() && !b"aeiouy".contains(&byte) { consonants + 1 } else { 0 };
        longest = longest.max(consonants);
        previous = byte;
    }
    let joints = value.iter().filter(|b| matches!(b, b'_' | b'-' | b'.')).count();
    let one_case = !value.iter().any(u8::is_ascii_lowercase) || !value.iter().any(u8::is_ascii_uppercase);
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    if one_case && joints > 1 && digits * 6 <= value.len() {
        return true;
    }
    words > 0 && letters * 10 >= words * 32 && numbers * 12 <= value.len().max(12) && longest < 5
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
        assert_eq!(jwt(b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.x"), Verdict::Confirmed);
        assert_eq!(jwt(b"eyJmb28iOiJiYXIifQ.eyJzdWIiOiIxIn0.x"), Verdict::Reject);
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

    #[test]
    fn names_in_programs_are_not_random() {
        for name in [
            "EcPrivateKeyRfc5915DerType",
            "ProxyDigestAuthHandler",
            "cpuid_avx512",
            "us-east-1",
            "symbol2label",
            "rc4_key_st",
        ] {
            assert!(is_name(name.as_bytes()), "{name}");
        }
        for random in ["hR7kQ2mZx9Lw4T", "9c1b7e04d2f85a36", "Zm9vYmFyYmF6cXV4MTIz", "k0y8s4um3aly9pzpxif4bt7"] {
            assert!(!is_name(random.as_bytes()), "{random}");
        }
    }
}
