//! Properties over all kinds of values: texts made of the rules' own examples, in prose, JSON, code and logs.

use std::collections::HashMap;

use proptest::prelude::*;

use super::tests::{SCANNER, example, field, found_in, replace_all, replace_plain};
use super::{Stream, token};
use crate::flow::{Action, Finding, Form, OffsetMap, Run};

/// Stands between examples: more than words are looked for in, and nothing that introduces a value.
const APART: &str =
    "\nThe lake was calm that morning, and so was the wind; nobody had been out there for quite a while, they said.\n";

/// An example as people, programs and logs would have it.
fn placed() -> impl Strategy<Value = String> {
    (example(), 0..5usize).prop_map(|(example, place)| match place {
        0 => format!("I tried it, and this is what I got: {example}. What now?"),
        1 => format!("{{\"at\": 3, \"note\": {}, \"done\": false}}", serde_json::to_string(&example).unwrap()),
        2 => format!("def f(x):\n    # {example}\n    return x"),
        3 => format!("2026-11-23T15:46:10.123Z INFO worker {example}"),
        _ => example,
    })
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(placed(), 1..5).prop_map(|parts| parts.join(APART))
}

/// What stands in `masked` for each finding of `text`, each with its value; all between is as it was.
fn pairs<'t>(text: &'t str, masked: &'t str, found: &[Finding]) -> Vec<(&'t str, &'t str)> {
    let (mut pairs, mut from, mut at) = (Vec::new(), 0, 0);
    for (finding, i) in found.iter().zip(1..) {
        let kept = &text[from..finding.span.start];
        assert!(masked[at..].starts_with(kept), "{text:?} became {masked:?}");
        at += kept.len();
        from = finding.span.end;
        let next = &text[from..found.get(i).map_or(text.len(), |next| next.span.start)];
        let value = &text[finding.span.clone()];
        // A surrogate is as long as its value; whatever else there is, is a token.
        let end = match token::length(&masked.as_bytes()[at..]) {
            Some(len) => at + len,
            None => at + value.len(),
        };
        assert!(masked[end..].starts_with(next), "{text:?} became {masked:?}");
        pairs.push((&masked[at..end], value));
        at = end;
    }
    assert_eq!(&masked[at..], &text[from..]);
    pairs
}

/// Puts values back for what stands for them, wherever that is: what masking has to leave possible.
fn restored(masked: &str, values: &HashMap<&str, &str>) -> String {
    let mut out = String::new();
    let mut rest = masked;
    while let Some(c) = rest.chars().next() {
        // No token or surrogate is the beginning of another.
        match values.iter().find(|(shown, _)| rest.starts_with(**shown)) {
            Some((shown, value)) => {
                out.push_str(value);
                rest = &rest[shown.len()..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

/// What a stream of `text` finds that is cut where `cuts` say, in parts of ten thousand of its length.
fn streamed(text: &str, cuts: &[usize]) -> (String, Vec<(usize, usize, String)>) {
    let mut at: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(cut * text.len() / 10_000)).collect();
    at.extend([0, text.len()]);
    at.sort_unstable();
    let (mut out, mut found) = (String::new(), Vec::new());
    SCANNER.with_borrow_mut(|scanner| {
        let mut stream = Stream::default();
        let mut all: Vec<_> = at.windows(2).map(|w| stream.push(scanner, &text[w[0]..w[1]]).unwrap()).collect();
        all.push(stream.finish(scanner).unwrap());
        for released in all {
            let place = |at: usize| released.at + at;
            let of = |f: Finding| (place(f.span.start), place(f.span.end), f.rule.id.clone());
            found.extend(released.findings.into_iter().map(of));
            out.push_str(&released.text);
        }
    });
    (out, found)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_of_any_kinds_gives_what_the_whole_text_does(
        text in text(),
        cuts in prop::collection::vec(0..10_000usize, 0..40),
    ) {
        let mut found = Vec::new();
        SCANNER.with_borrow_mut(|scanner| scanner.scan_plain(&text, &mut found)).unwrap();
        let whole = found.into_iter().map(|f| (f.span.start, f.span.end, f.rule.id.clone())).collect::<Vec<_>>();
        prop_assert_eq!(streamed(&text, &cuts), (text, whole));
    }

    #[test]
    fn any_kind_can_be_restored(text in text(), surrogates in any::<bool>()) {
        let action = if surrogates { Action::Surrogate } else { Action::Mask };
        let masked = replace_plain(action, &text);
        let mut values = HashMap::new();
        let found = found_in(&text);
        let pairs = pairs(&text, &masked, &found);
        for (shown, value) in &pairs {
            // Two ways to write one value have one token: whoever restores it writes it in the first.
            let first = *values.entry(*shown).or_insert(*value);
            prop_assume!(first == *value);
        }
        prop_assert_eq!(restored(&masked, &values), text);
    }

    #[test]
    fn what_was_masked_of_any_kind_is_not_found_again(text in text()) {
        let masked = replace_plain(Action::Mask, &text);
        prop_assert_eq!(replace_plain(Action::Mask, &masked), masked);
    }

    #[test]
    fn any_kind_is_masked_alike_however_it_is_escaped(text in text(), choices in prop::collection::vec(any::<u8>(), 1..40)) {
        let (body, map) = escaped(&text, &choices);
        let fields = [field(&text, map, Form::String { depth: 0 })];
        let masked = replace_all(Action::Mask, &body, &fields).unwrap();
        let masked = std::str::from_utf8(masked.body()).unwrap();
        let decoded: String = serde_json::from_str(&format!("\"{masked}\"")).unwrap();
        prop_assert_eq!(decoded, replace_plain(Action::Mask, &text));
    }
}

/// `text` as the inside of a JSON string, as many of its characters as escapes as `choices` say.
fn escaped(text: &str, choices: &[u8]) -> (String, OffsetMap) {
    let (mut raw, mut runs) = (String::new(), Vec::new());
    for ((decoded, c), choice) in text.char_indices().zip(choices.iter().cycle()) {
        let from = raw.len();
        if matches!(c, '"' | '\\') || c < ' ' || choice % 4 == 0 {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| raw.push_str(&format!("\\u{unit:04x}")));
        } else {
            raw.push(c);
        }
        runs.push(Run { decoded, decoded_len: c.len_utf8(), raw: from, raw_len: raw.len() - from });
    }
    (raw, OffsetMap::from_runs(runs))
}
