//! Whether a value was drawn at random: placeholders, names and references are not.

/// The value looks drawn at random from its alphabet: for vendors' tokens, whose prefix says the rest.
pub(super) fn random(value: &[u8]) -> bool {
    not_a_placeholder(value) && shannon(value) >= 2.8
}

/// The same for values of a vendor's length behind its name, whose alphabet has what joins words: with digits, as words
/// seldom have.
pub(super) fn drawn(value: &[u8]) -> bool {
    random(value) && value.iter().filter(|b| b.is_ascii_digit()).count() > 1
}

/// The value of something called key, token or secret: random enough, and not a word, path, name or reference.
pub(super) fn entropy(value: &[u8]) -> bool {
    let in_code = is_reference(value) || is_name(value) || is_identifier(value) || is_typed_number(value);
    if value.len() < 8 || !not_a_placeholder(value) || in_code {
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

/// Neither `xxxx`, `your-api-key`, `EXAMPLE` nor `0123456789abcdef`.
pub(super) fn not_a_placeholder(value: &[u8]) -> bool {
    const AWS_EXAMPLE: &[u8] = b"examplekey";
    const WORDS: [&[u8]; 13] = [
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
        b"insert",
        b"dummy",
        b"<",
    ];
    const FIRST: [bool; 256] = {
        let mut first = [false; 256];
        let mut i = 0;
        while i < WORDS.len() {
            first[WORDS[i][0] as usize] = true;
            first[WORDS[i][0].to_ascii_uppercase() as usize] = true;
            i += 1;
        }
        first
    };
    let head = |text: &[u8], word: &[u8]| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    // AWS's own documentation spells EXAMPLE into keys; masking those is harmless, missing a real one is not.
    let tail = &value[value.len().saturating_sub(AWS_EXAMPLE.len())..];
    let aws = head(value, b"akia") || head(value, b"a3t") || head(tail, AWS_EXAMPLE);
    let says = |text: &[u8]| WORDS.iter().any(|word| head(text, word) && !(aws && *word != b"xxxxxx"));
    let is_one = || (0..value.len()).any(|at| FIRST[usize::from(value[at])] && says(&value[at..]));
    !masked(value) && (aws || !counts_up(value)) && !is_one()
}

/// `123456789012345`, `abcdefghijklmno` and the like, anywhere.
fn counts_up(value: &[u8]) -> bool {
    const LONG: usize = 15;
    let mut run = 1;
    value.windows(2).any(|pair| {
        let pair = [pair[0].to_ascii_lowercase(), pair[1].to_ascii_lowercase()];
        let next = if pair[0] == b'9' { b'0' } else { pair[0].wrapping_add(1) };
        run = if pair[0].is_ascii_alphanumeric() && pair[1] == next { run + 1 } else { 1 };
        run >= LONG
    })
}

/// The same few characters over and over.
pub(super) fn masked(value: &[u8]) -> bool {
    let mut seen = [false; 256];
    value.iter().for_each(|&b| seen[usize::from(b)] = true);
    seen.iter().filter(|&&s| s).count() < 4.min(value.len())
}

/// `${VAR}`, `$(cmd)`, `{{ template }}`, `%s`, `process.env.X`, `os.environ[...]`, `get_secret()`, a path.
pub(super) fn is_reference(value: &[u8]) -> bool {
    let starts = [
        &b"$"[..],
        b"{",
        b"%",
        b"<",
        b"process.env",
        b"AWS4-HMAC",
        b"__",
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
pub(super) fn is_name(value: &[u8]) -> bool {
    let (mut words, mut letters, mut numbers) = (0usize, 0usize, 0usize);
    let (mut consonants, mut longest) = (0usize, 0usize);
    let mut previous = b' ';
    let capitals = !value.iter().any(u8::is_ascii_lowercase);
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
        let counts = byte.is_ascii_lowercase() || capitals && byte.is_ascii_uppercase();
        let consonant = counts && !b"aeiouy".contains(&byte.to_ascii_lowercase());
        consonants = if consonant { consonants + 1 } else { 0 };
        longest = longest.max(consonants);
        previous = byte;
    }
    let joints = value.iter().filter(|b| matches!(b, b'_' | b'-' | b'.')).count();
    let one_case = !value.iter().any(u8::is_ascii_lowercase) || !value.iter().any(u8::is_ascii_uppercase);
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    if one_case && joints > 1 && digits * 5 <= value.len() {
        return true;
    }
    words > 0 && letters * 10 >= words * 32 && numbers * 12 <= value.len().max(12) && longest < 5
}

/// A name with more numbers in it than [names](is_name) have, spelt as programs spell them: `ChaCha20Key`,
/// `id-it-caKeyUpdateInfo`, `NDIS_802_11_STATUS_TYPE`, `_mm512_srli_epi64`. One random text of twenty letters and digits
/// in a thousand is.
fn is_identifier(value: &[u8]) -> bool {
    let is_mixed = value.iter().any(u8::is_ascii_lowercase) && value.iter().any(u8::is_ascii_uppercase);
    if is_mixed { is_camel(value) } else { is_snake(value) }
}

/// Digits of the longest number in a name.
const LONGEST_NUMBER: usize = 4;

/// Three words or more, in letters of one case, each with a number behind it or none: `NDIS_802_11_STATUS_TYPE`.
fn is_snake(value: &[u8]) -> bool {
    const SPELT: usize = 6;
    let is_word = |part: &[u8]| {
        let letters = part.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let number = &part[letters..];
        let spelt = letters != 1 && (letters < SPELT || has_vowel(&part[..letters]));
        spelt && number.len() <= LONGEST_NUMBER && number.iter().all(u8::is_ascii_digit)
    };
    value.iter().filter(|&&b| b == b'_').count() > 1 && value.split(|&b| b == b'_').all(is_word)
}

/// Words that begin with capitals, or that a joint divides, with short numbers and abbreviations between: `ChaCha20Key`.
fn is_camel(value: &[u8]) -> bool {
    const LONGEST_ABBREVIATION: usize = 5;
    let (mut words, mut in_words) = (0, 0);
    for part in value.split(|&b| b == b'_' || b == b'-') {
        let mut rest = part;
        while !rest.is_empty() {
            let run = |from: usize, of: fn(&u8) -> bool| rest[from..].iter().take_while(|b| of(b)).count();
            let digits = run(0, u8::is_ascii_digit);
            let capitals = run(0, u8::is_ascii_uppercase);
            let smalls = run(capitals, u8::is_ascii_lowercase);
            // How much is an abbreviation before a word.
            let short = match (digits, capitals, smalls) {
                (1..=LONGEST_NUMBER, _, _) => digits,
                (0, 0, 2..) if rest.len() == part.len() => 0,
                (0, 1.., 2..) if capitals <= LONGEST_ABBREVIATION + 1 => capitals - 1,
                (0, 1..=LONGEST_ABBREVIATION, 0) => capitals,
                _ => return false,
            };
            let word = if digits > 0 { 0 } else { capitals + smalls - short };
            if word > 0 {
                words += 1;
                in_words += word;
                if !has_vowel(&rest[short..short + word]) {
                    return false;
                }
            }
            rest = &rest[short + word..];
        }
    }
    words > 1 && in_words >= words * 3 && in_words * 5 >= value.iter().filter(|b| b.is_ascii_alphanumeric()).count() * 3
}

fn has_vowel(word: &[u8]) -> bool {
    word.iter().any(|b| b"aeiouy".contains(&b.to_ascii_lowercase()))
}

/// A number with its type, as Rust writes it: `1448101956u32`.
pub(super) fn is_typed_number(value: &[u8]) -> bool {
    let digits = value.iter().take_while(|b| b.is_ascii_digit() || **b == b'_').count();
    let width = value.get(digits + 1..).unwrap_or_default();
    digits > 0
        && matches!(value.get(digits), Some(b'i' | b'u' | b'f'))
        && [&b"8"[..], b"16", b"32", b"64", b"128", b"size"].contains(&width)
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
            "x8901234567890123456k2",
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
    fn identifiers_with_numbers_are_not_random() {
        for name in [
            "ChaCha20Key",
            "Chacha20Poly1305",
            "X509KeySpec",
            "id-it-caKeyUpdateInfo",
            "NDIS_802_11_STATUS_TYPE",
            "TLS13_CHACHA20_POLY1305_SHA256",
            "_mm512_srli_epi64",
        ] {
            assert!(is_identifier(name.as_bytes()), "{name}");
            assert!(!entropy(name.as_bytes()), "{name}");
        }
        for random in [
            "hR7kQ2mZx9Lw4T",
            "9c1b7e04d2f85a36",
            "Zm9vYmFyYmF6cXV4MTIz",
            "k0y8s4um3aly9pzpxif4bt7",
            "AB12-CD34-EF56-GH78",
            "deadbeef-cafe-1234-5678-abcdef012345",
            "live_4eC39HqLyjWDarjtT1zdp7dc",
            "XKQPLMZRTW24VBND",
            "XKQPLMZRTW_24_VBND",
            "Tk7Wq9Lm2Rx",
        ] {
            assert!(!is_identifier(random.as_bytes()), "{random}");
        }
        assert!(is_typed_number(b"1448101956u32") && !is_typed_number(b"1448101956u3") && !is_typed_number(b"u32"));
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
