//! Values are found under every encoding, and only their bytes are replaced.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::fuzz_encoded;
use crate::flow::Action;
use crate::mask::tests::{SCANNER, found_in, replace_plain};
use crate::mask::{Engine, Error, Scanner};

/// What is found, by entity and raw text.
fn found(text: &str) -> Vec<(String, &str)> {
    found_in(text).into_iter().map(|finding| (finding.rule.entity.clone(), &text[finding.span])).collect()
}

fn mask(text: &str) -> String {
    replace_plain(Action::Mask, text)
}

/// A way in which a value can be encoded, and its name.
type Encoder = (&'static str, fn(&str) -> String);

const ENCODINGS: &[Encoder] = &[
    ("percent", |text| each(text, |byte| format!("%{byte:02X}"))),
    ("percent, signs only", |text| signs(text, |byte| format!("%{byte:02x}"))),
    ("decimal references", |text| each(text, |byte| format!("&#{byte};"))),
    ("hexadecimal references", |text| signs(text, |byte| format!("&#x{byte:04X};"))),
    ("\\x", |text| each(text, |byte| format!("\\x{byte:02x}"))),
    ("\\u", |text| each(text, |byte| format!("\\u{byte:04x}"))),
    ("\\u{}", |text| signs(text, |byte| format!("\\u{{{byte:x}}}"))),
    ("hex", |text| each(text, |byte| format!("{byte:02x}"))),
    ("base64", |text| BASE64_STANDARD.encode(text)),
    ("base64url", |text| BASE64_URL_SAFE_NO_PAD.encode(text)),
];

fn each(text: &str, encode: impl Fn(u8) -> String) -> String {
    text.bytes().map(encode).collect()
}

/// Only what is neither letter nor digit, and the first character.
fn signs(text: &str, encode: impl Fn(u8) -> String) -> String {
    let mut out = String::new();
    for (byte, i) in text.bytes().zip(0..) {
        if i == 0 || !byte.is_ascii_alphanumeric() {
            out.push_str(&encode(byte));
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

const VALUES: &[(&str, &str)] = &[
    ("EMAIL_ADDRESS", "jane.roe@corp.example"),
    ("US_SSN", "536-90-4399"),
    ("CREDIT_CARD", "4111 1111 1111 1111"),
    ("CREDIT_CARD", "4111-1111-1111-1111"),
    ("IBAN_CODE", "DE89 3704 0044 0532 0130 00"),
];

#[test]
fn a_value_is_found_under_each_encoding_as_exactly_its_bytes() {
    let mut wrong = String::new();
    for (entity, value) in VALUES {
        for (name, encode) in ENCODINGS {
            let raw = encode(value);
            for text in [raw.clone(), format!("Please look at {raw}, it is new."), format!("{{\"a\": \"{raw}\"}}")] {
                let found = found(&text);
                if found != [((*entity).to_owned(), &*raw)] {
                    writeln!(wrong, "{name}: {value} in {text}: {found:?}").unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn encoded_values_of_other_kinds_are_found() {
    let lines = BASE64_STANDARD
        .encode("Dear Sir or Madam,\nplease send the parcel to Jane, whose mail is jane.roe@corp.example.");
    let mime = format!("{}\r\n{}", &lines[..76], &lines[76..]);
    for (text, entity, raw) in [
        ("mail jane&commat;corp&period;example now", "EMAIL_ADDRESS", "jane&commat;corp&period;example"),
        ("/v1/users/jane%40corp.example/keys", "EMAIL_ADDRESS", "jane%40corp.example"),
        ("?card=4111%201111%201111%201111&x=1", "CREDIT_CARD", "4111%201111%201111%201111"),
        ("note%3A%20my%20ssn%3A%20536904399", "US_SSN", "536904399"),
        ("src=\"data:text/plain;base64,NTM2LTkwLTQzOTk=\"", "US_SSN", "NTM2LTkwLTQzOTk="),
        ("x %ff4111111111111111 y", "CREDIT_CARD", "4111111111111111"),
        (&*format!("Content-Transfer-Encoding: base64\r\n\r\n{mime}\r\n"), "EMAIL_ADDRESS", &*mime),
    ] {
        assert_eq!(found(text), [(entity.to_owned(), raw)], "{text}");
    }
}

#[test]
fn the_worst_of_several_values_names_a_run_and_what_is_plain_names_itself() {
    let run = BASE64_STANDARD.encode("mail jane@corp.example, card 4111 1111 1111 1111, more");
    assert_eq!(found(&format!("x {run}")), [("CREDIT_CARD".to_owned(), &*run)]);
    let text = "card 4111 1111 1111 1111, jane@corp.example and jane%40corp.example";
    let all: Vec<_> = found(text).into_iter().map(|(_, raw)| raw).collect();
    assert_eq!(all, ["4111 1111 1111 1111", "jane@corp.example", "jane%40corp.example"]);
}

#[test]
fn three_rounds_are_decoded_and_a_fourth_is_told() {
    let mut text = "please write to jane.roe@corp.example".to_owned();
    for round in 1..=4 {
        text = BASE64_STANDARD.encode(&text);
        let found = found_in(&text);
        let undecoded = SCANNER.with_borrow(Scanner::undecoded);
        assert_eq!((found.len(), undecoded > 0), if round < 4 { (1, false) } else { (0, true) }, "{round}");
    }
}

#[test]
fn a_long_run_behind_an_escape_is_decoded_whole() {
    let digits = each(&each("DE89 3704 0044 0532 0130 00", |byte| format!("&#{byte};")), |byte| format!("{byte:02x}"));
    let raw = format!("%32{}", &digits[1..]);
    for around in ["", " aa", ", aa", "\n"] {
        assert_eq!(found(&format!("{raw}{around}")), [("IBAN_CODE".to_owned(), &*raw)], "{around:?}");
    }
}

#[test]
fn an_explanation_names_the_encoding() {
    let mut scanner = Engine::builtin().unwrap().scanner().unwrap();
    for (text, how) in [("jane%40corp.example", "percent"), ("see NTM2LTkwLTQzOTk=", "base64")] {
        let proposals = scanner.explain(text, &mut Vec::new()).unwrap();
        assert!(proposals.iter().any(|one| one.checks.decoded == Some(how)), "{proposals:?}");
    }
    let proposals = scanner.explain("a%20b jane@corp.example", &mut Vec::new()).unwrap();
    assert!(proposals.iter().all(|one| one.checks.decoded.is_none()), "{proposals:?}");
}

#[test]
fn hostile_texts_cost_no_more_than_their_length_allows() {
    let mut nested = "jane.roe@corp.example ".repeat(2000);
    for _ in 0..4 {
        nested = BASE64_STANDARD.encode(&nested);
    }
    let repeated = |piece: &str| piece.repeat((256 << 10) / piece.len());
    let mut texts = vec![nested];
    texts.extend(
        ["%41", "%25", "%252541", "&#65;", "&amp;", "\\x41", "\\u{41}a", "QUFB", "QUFB/", "NTM2LTkwLTQzOTk=", "414141"]
            .map(repeated),
    );
    texts.push(format!("{}\n", "QUFB".repeat(19)).repeat(2000) + "\u{e9}");
    texts.push(format!("{}////", repeated("QUFBQUFBQUFB/")));
    let mut scanner = Engine::builtin().unwrap().scanner().unwrap();
    for text in texts {
        let mut found = Vec::new();
        let result = scanner.scan(&text, &mut found);
        let what = &text[..20];
        assert!(scanner.work() <= (4 << 20) + 35 * text.len() + 512, "{what:?}: {} units", scanner.work());
        if let Err(error) = result {
            assert!(matches!(error, Error::TooManyMatches { .. } | Error::TooMuchWork { .. }), "{what:?}: {error}");
        }
        fuzz_encoded(text.as_bytes());
    }
}

/// A part of a text, plain or encoded, and things that look as if they were.
fn part() -> impl Strategy<Value = String> {
    let value = prop::sample::select(VALUES).prop_map(|(_, value)| value.to_owned());
    let encoded = (value.clone(), prop::collection::vec(prop::sample::select(ENCODINGS), 1..4))
        .prop_map(|(value, encodings)| encodings.iter().fold(value, |text, (_, encode)| encode(&text)));
    const ODD: &[&str] =
        &["%", "%4", "&#", "&#x4;", "\\x", "\\u00", "=", "/", "-", "_", "QUFB", "aGVsbG8gd29ybGQ=", "[", "é", "\n"];
    prop_oneof![
        encoded,
        value,
        "[a-zA-Z]{1,12} ".prop_map(|word| word),
        prop::sample::select(ODD).prop_map(str::to_owned),
        Just(" ".to_owned()),
        Just(", ".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_value_is_found_under_any_three_encodings(
        value in prop::sample::select(VALUES),
        encodings in prop::collection::vec(prop::sample::select(ENCODINGS), 1..4),
        (before, after) in ("([a-z]{2,9} ){0,60}", "( [a-z]{2,9}){0,60}"),
    ) {
        let raw = encodings.iter().fold(value.1.to_owned(), |text, (_, encode)| encode(&text));
        let text = format!("{before}{raw}{after}");
        let names: Vec<_> = encodings.iter().map(|(name, _)| *name).collect();
        prop_assert_eq!(found(&text), [(value.0.to_owned(), &*raw)], "{:?} in {}", names, text);
    }

    #[test]
    fn what_is_not_found_stays_and_what_was_masked_is_not_found(parts in prop::collection::vec(part(), 0..12)) {
        // Glued to another, a value is part of something else as long as that one is there, plain values too.
        let text = parts.join(" ");
        let masked = mask(&text);
        let mut rest = &*masked;
        let mut from = 0;
        for finding in found_in(&text) {
            let kept = &text[from..finding.span.start];
            let Some(tail) = rest.strip_prefix(kept) else { panic!("{text:?} became {masked:?}") };
            rest = &tail[tail.find(']').unwrap() + 1..];
            from = finding.span.end;
        }
        prop_assert_eq!(rest, &text[from..]);
        prop_assert_eq!(mask(&masked), masked);
    }

    #[test]
    fn pieces_and_copies_lead_back(parts in prop::collection::vec(part(), 0..12), noise in "[%&\\\\xu{}#;0-9a-f=/+\u{e9}\n-]{0,60}") {
        fuzz_encoded((parts.concat() + &noise).as_bytes());
    }
}
