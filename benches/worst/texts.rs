//! Hostile texts: each repeats what costs one part of masking most, for a mebibyte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use interceptor::mask::Engine;

/// Bytes of each text, at least.
pub(crate) const LENGTH: usize = 1 << 20;
/// Prose, for what is encoded.
const PROSE: &str =
    "Could you explain why the second query is so much slower than the first one? Write to jane@corp.example. ";

/// Texts by name.
pub(crate) fn all() -> Vec<(String, String)> {
    let mut texts = numbers();
    texts.extend(addresses());
    texts.extend(words());
    texts.extend(encoded());
    texts.extend(dressed());
    texts.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

/// The examples of each rule with their last letter or digit changed, which breaks a check digit: repeated one a line,
/// between blanks and without anything between.
pub(crate) fn near_misses(engine: &Engine) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for (rule, examples) in engine.examples() {
        let misses: Vec<String> = examples.iter().map(|(text, value)| miss(text, value.end)).collect();
        for (name, joint) in [("line", "\n"), ("blank", " "), ("glued", "")] {
            if !misses.is_empty() {
                texts.push((format!("{rule}/{name}"), fill(|at| format!("{}{joint}", misses[at % misses.len()]))));
            }
        }
    }
    texts
}

fn miss(text: &str, end: usize) -> String {
    let (head, tail) = text.split_at(end);
    let at = head.rfind(|c: char| c.is_ascii_alphanumeric()).unwrap_or(0);
    let other = match head.as_bytes().get(at) {
        Some(b'9') => '0',
        Some(b'z') => 'a',
        Some(b'Z') => 'A',
        Some(b) if b.is_ascii() => char::from(b + 1),
        _ => return text.to_owned(),
    };
    format!("{}{other}{}{tail}", &head[..at], &head[at + 1..])
}

fn numbers() -> Vec<(&'static str, String)> {
    let card = |at, valid| card(at, valid);
    let groups = |digits: &str| {
        digits.as_bytes().chunks(4).map(|four| String::from_utf8_lossy(four)).collect::<Vec<_>>().join(" ")
    };
    vec![
        ("digits", fill(|at| (at % 10).to_string())),
        ("digits, blanks", fill(|at| format!("{} ", at % 10))),
        ("digits, dashes", fill(|at| format!("{}-", at % 10))),
        ("digits, dots", fill(|at| format!("{}.", at % 10))),
        ("digits, colons", fill(|at| format!("{}:", at % 10))),
        ("digits and letters", fill(|at| format!("{}a", at % 10))),
        ("fours", fill(|at| format!("{:04} ", at % 10_000))),
        ("threes", fill(|at| format!("{:03}-", at % 1_000))),
        ("nines", fill(|at| format!("{:09} ", at * 7_919 % 1_000_000_000))),
        ("elevens", fill(|at| format!("{:011}\n", at * 104_729 % 99_999_999_999))),
        ("cards, wrong, blanks", fill(|at| format!("{} ", card(at, false)))),
        ("cards, wrong, lines", fill(|at| format!("{}\n", card(at, false)))),
        ("cards, wrong, groups", fill(|at| format!("{} ", groups(&card(at, false))))),
        ("cards, valid, lines", fill(|at| format!("{}\n", card(at, true)))),
        ("cards, valid, groups", fill(|at| format!("{}, ", groups(&card(at, true))))),
        ("cards, valid, table", fill(|at| format!("{at},Jane Doe,{},12/29,{}\n", card(at, true), at % 1000))),
        ("cards, valid, named", fill(|at| format!("card number: {}\n", card(at, true)))),
        ("phones", fill(|at| format!("+44 20 7946 {:04}\n", at % 10_000))),
        ("phones, plain", fill(|at| format!("020 7946 {:04} ", at % 10_000))),
        ("phones, wrong", fill(|at| format!("(115) 155-{:04} ", at % 10_000))),
        ("ssn", fill(|at| format!("ssn {} ", at % 10))),
        ("ssn, values", fill(|at| format!("ssn 536-{:02}-{:04}\n", at % 100, at % 10_000))),
    ]
}

/// A card number, with the right check digit or another one.
fn card(at: usize, valid: bool) -> String {
    let stem = format!("411111{:09}", at * 7_919 % 1_000_000_000);
    let sum: usize = stem
        .bytes()
        .enumerate()
        .map(|(i, digit)| {
            let digit = usize::from(digit - b'0');
            if i.is_multiple_of(2) { digit * 2 / 10 + digit * 2 % 10 } else { digit }
        })
        .sum();
    let check = (10 - sum % 10) % 10;
    format!("{stem}{}", if valid { check } else { (check + 1) % 10 })
}

fn addresses() -> Vec<(&'static str, String)> {
    vec![
        ("e-mails", fill(|at| format!("jane.doe{at}@corp.example\n"))),
        ("e-mails, table", fill(|at| format!("{at};Jane;jane.doe{at}@corp.example;Oslo\n"))),
        ("a@", fill(|_| "a@".into())),
        ("a@a.aa", fill(|_| "a@a.aa".into())),
        ("a.a.a.a@", fill(|_| "a.a.a.a@".into())),
        ("a.aa@a.aa@", fill(|_| "a.aa@a.aa@".into())),
        ("ipv4", fill(|at| format!("{}.{}.{}.7 ", at % 256, at / 7 % 256, at / 11 % 256))),
        ("ipv4, wrong", fill(|at| format!("{}.999.{}.7.", at % 256, at / 11 % 256))),
        ("ipv6", fill(|at| format!("2001:db8::{:x} ", at % 65_536))),
        ("ipv6, endless", fill(|at| format!("{:x}:", at % 65_536))),
        ("colons", fill(|_| "1::".into())),
        ("macs", fill(|at| format!("00:1b:{:02x}:44:11:3a:b7 ", at % 256))),
        ("https://", fill(|_| "https://".into())),
        ("https://a:b@", fill(|_| "https://a:b@".into())),
    ]
}

fn words() -> Vec<(&'static str, String)> {
    vec![
        ("password", fill(|_| "password ".into())),
        ("password: ", fill(|_| "password: ".into())),
        ("password=", fill(|_| "password=".into())),
        ("password: values", fill(|at| format!("password: k7Q{at}xZ!p\n"))),
        ("token: ", fill(|_| "token: ".into())),
        ("token glued", fill(|_| "token".into())),
        ("secret_key = \"", fill(|_| "secret_key = \"".into())),
        ("api_key", fill(|_| "api_key".into())),
        ("authorization: bearer", fill(|_| "authorization: bearer ".into())),
        ("cvv 123", fill(|_| "cvv 123 ".into())),
        ("BEGIN", fill(|_| "-----BEGIN PRIVATE KEY-----\n".into())),
        ("BEGIN, key", fill(|_| format!("-----BEGIN PRIVATE KEY-----\n{}\n", "MIIEvQIBADANBgkq".repeat(12)))),
        ("eyJ", fill(|_| "eyJ".into())),
        ("eyJ.eyJ.", fill(|_| "eyJhbGciOiJI.".into())),
        ("[EMAIL_", fill(|_| "[EMAIL_".into())),
        ("[EMAIL_token]", fill(|_| "[EMAIL_k7q2m9xh] ".into())),
        ("tokens and digits", fill(|at| format!("[EMAIL_k7q2m9xh] {} ", card(at, false)))),
        ("random", fill(|at| format!("{} ", random(at, 32)))),
        ("random, long", random(1, LENGTH)),
        ("key random", fill(|at| format!("key={}\n", random(at, 40)))),
        ("AKIA", fill(|_| "AKIA".into())),
        ("ghp_", fill(|_| "ghp_".into())),
        ("blanks", fill(|_| " ".into())),
        ("quotes", fill(|_| "\"".into())),
        ("a", fill(|_| "a".into())),
    ]
}

fn encoded() -> Vec<(&'static str, String)> {
    let prose = || fill(|_| PROSE.into());
    let cards = || fill(|at| format!("{}\n", card(at, false)));
    let b64 = |text: &str| STANDARD.encode(text);
    let percent = |text: &str| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
    let wrap =
        |text: &str| text.as_bytes().chunks(76).map(|l| String::from_utf8_lossy(l)).collect::<Vec<_>>().join("\n");
    let lines =
        |count: usize, code: &dyn Fn(&str) -> String| fill(|at| format!("{} ", code(&card(at, true).repeat(count))));
    vec![
        ("base64", b64(&prose())),
        ("base64 twice", b64(&b64(&prose()))),
        ("base64 thrice", b64(&b64(&b64(&prose())))),
        ("base64 four times", b64(&b64(&b64(&b64(&prose()))))),
        ("base64, lines", wrap(&b64(&prose()))),
        ("base64, cards", b64(&cards())),
        ("base64 thrice, cards", b64(&b64(&b64(&cards())))),
        ("base64, small", lines(1, &|card| STANDARD.encode(card))),
        ("base64, small, slashes", fill(|_| "SmFuZSBEb2Ug/".into())),
        ("base64, small, signs", fill(|_| "SmFuZSBEb2Ug+/".into())),
        ("hex", hex::encode(prose())),
        ("hex of hex", hex::encode(hex::encode(prose()))),
        ("hex, small", lines(1, &|card| hex::encode(card))),
        ("hex, cards", hex::encode(cards())),
        ("percent", percent(&prose())),
        ("percent, cards", percent(&cards())),
        ("percent, sparse", fill(|_| format!("{}%40", "abcdefgh ".repeat(50)))),
        ("percent, one by one", fill(|at| format!("{}%20", card(at, false)))),
        ("percent of percent", percent(&percent(&prose()))),
        ("%25", fill(|_| "%25".into())),
        ("&amp;", fill(|_| "&amp;".into())),
        ("&#x34;", fill(|_| "&#x34;".into())),
        ("&#", fill(|_| "&#".into())),
        ("\\u0034", fill(|_| "\\u0034".into())),
        ("\\\\", fill(|_| "\\\\".into())),
        ("\\n", fill(|_| "\\n".into())),
    ]
}

fn dressed() -> Vec<(&'static str, String)> {
    let wide = |text: String| {
        let widen = |c: char| char::from_u32(u32::from(c) - 48 + 0xff10).unwrap_or(c);
        text.chars().map(|c| if c.is_ascii_digit() { widen(c) } else { c }).collect::<String>()
    };
    vec![
        ("full-width digits", fill(|at| wide((at % 10).to_string()))),
        ("full-width cards, wrong", fill(|at| wide(format!("{} ", card(at, false))))),
        ("full-width cards, valid", fill(|at| wide(format!("{}\n", card(at, true))))),
        ("full-width fours", fill(|at| wide(format!("{:04} ", at % 10_000)))),
        ("zero-width", fill(|_| "\u{200b}".into())),
        ("zero-width digits", fill(|at| format!("{}\u{200b}", at % 10))),
        ("wide gaps", fill(|at| format!("{:04}  ", at % 10_000))),
        ("wide gaps, lines", fill(|at| format!("{:04}\r\n", at % 10_000))),
        ("combining", fill(|_| "e\u{301}".into())),
        ("chinese", fill(|_| "身份证号码".into())),
        ("chinese, cards", fill(|at| format!("身份证号码{}", card(at, false)))),
    ]
}

/// Letters and digits as a key has them.
fn random(seed: usize, length: usize) -> String {
    const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut state = seed as u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(LETTERS[(state >> 33) as usize % LETTERS.len()])
    };
    (0..length).map(next).collect()
}

/// Pieces until the text is long enough.
fn fill(piece: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(LENGTH + 256);
    for at in 0.. {
        if text.len() >= LENGTH {
            break;
        }
        text.push_str(&piece(at));
    }
    text
}
