//! The rules' own examples, and properties of scanning and rewriting.

use std::cell::RefCell;

use proptest::prelude::*;

use super::rules::examples::{Expander, marked};
use super::{Engine, Error, Masked, Orders, Scanner, TokenKey, redact, rewrite, token};
use crate::flow::{Access, Action, BodyDigest, ExchangeId, Field, Finding, Form, OffsetMap, Run};

thread_local! {
    pub(super) static SCANNER: RefCell<Scanner> = RefCell::new(Engine::builtin().unwrap().scanner().unwrap());
}

#[test]
fn every_rule_finds_its_examples_exactly_and_leaves_its_counter_examples() {
    let engine = Engine::builtin().unwrap();
    let mut scanner = engine.scanner().unwrap();
    let mut wrong = Vec::new();
    for rule in engine.all() {
        let id = &rule.meta.id;
        if rule.examples.is_empty() || rule.counter.is_empty() {
            wrong.push(format!("{id}: needs examples and counter-examples"));
        }
        let mut expander = Expander::new();
        for example in &rule.examples {
            let (text, spans) = marked(&expander.expand(&example.text));
            let mut found = Vec::new();
            scanner.scan(&text, &mut found).unwrap();
            let hit = found.iter().any(|f| spans.contains(&f.span) && f.rule.entity == rule.meta.entity);
            if spans.len() != 1 || !hit {
                let got: Vec<_> = found.iter().map(|f| (&text[f.span.clone()], &f.rule.id)).collect();
                wrong.push(format!("{id}: {text:?}: expected {spans:?}, got {got:?}"));
            }
        }
        for example in &rule.counter {
            let text = expander.expand(&example.text);
            let mut found = Vec::new();
            scanner.scan(&text, &mut found).unwrap();
            if let Some(f) = found.iter().find(|f| f.rule.id == *id) {
                wrong.push(format!("{id}: {text:?} must not match, got {:?}", &text[f.span.clone()]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn rule_ids_are_unique_and_there_are_enough() {
    let engine = Engine::builtin().unwrap();
    let mut ids: Vec<_> = engine.rules().map(|rule| rule.id.clone()).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
    let secrets = engine.rules().filter(|rule| rule.entity.starts_with("SECRET_")).count();
    assert!(secrets >= 250 && all - secrets >= 60, "{secrets} of {all} rules are for secrets");
}

#[test]
fn a_text_full_of_values_shows_what_each_of_its_lines_shows() {
    // After some dozens of numbers, words are looked for in all of the text at once.
    for line in ["cardNumber=4111111111111111 536-90-4399\n", "taxId 536-90-4399\n", "NIR 2 55 08 14 168 025 38\n"] {
        let count = scan(line).len();
        assert!(count > 0, "{line}");
        assert_eq!(scan(&line.repeat(400)).len(), 400 * count, "{line}");
    }
}

fn scan(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    SCANNER.with_borrow_mut(|scanner| scanner.scan(text, &mut found)).unwrap();
    found
}

/// An example of some rule, its alphabets drawn.
pub(super) fn example() -> impl Strategy<Value = String> {
    let engine = Engine::builtin().unwrap();
    let all = engine.all().iter();
    let examples: Vec<String> = all.flat_map(|rule| rule.examples.iter().map(|one| one.text.clone())).collect();
    (prop::sample::select(examples), any::<u64>())
        .prop_map(|(example, seed)| marked(&Expander::seeded(seed).expand(&example)).0)
}

/// Pieces of text in which something is found, and others that look like it.
pub(super) fn piece() -> impl Strategy<Value = String> {
    let values = prop::sample::select(vec![
        "4111 1111 1111 1111",
        "4111111111111111",
        "jane@corp.example",
        "536-90-4399",
        "+44 20 7946 0958",
        "203.0.113.7",
        "2001:db8::1",
        "DE89 3704 0044 0532 0130 00",
        "AKIAIOSFODNN7EXAMPLE",
        "postgres://app:s3cr3t@db.corp.example/x",
        "password = \"tr0ub4dor&3\"",
        "(415) 555-0132",
        "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "00:1B:44:11:3A:B7",
        "SSN 536904398",
        "[EMAIL_k7q2m9xh]",
        "secret_key: 9c1b7e04d2f85a36b1",
        "AB 12 34 56 C",
    ]);
    let filler = prop::sample::select(vec![
        " ",
        ", ",
        "\n",
        "-",
        ".",
        ":",
        "=",
        "\"",
        "\\n",
        "/",
        "é",
        "数",
        "[",
        "]",
        "_",
        "the order ",
        "ssn ",
        "card ",
        "key ",
        "1",
        "42",
        "x",
        "@",
        "token",
    ]);
    prop_oneof![values.prop_map(str::to_owned), filler.prop_map(str::to_owned)]
}

fn prose() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

/// `text` as the inside of a JSON string, each character written plainly or as an escape, and the map back.
fn escaped(text: &str, choices: &[u8], raw_start: usize) -> (String, OffsetMap) {
    let mut raw = String::new();
    let mut runs: Vec<Run> = Vec::new();
    for ((decoded, c), choice) in text.char_indices().zip(choices.iter().cycle()) {
        let from = raw.len();
        let must = matches!(c, '"' | '\\') || (c as u32) < 0x20;
        if must || choice % 4 == 0 {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| raw.push_str(&format!("\\u{unit:04x}")));
        } else {
            raw.push(c);
        }
        let run = Run { decoded, decoded_len: c.len_utf8(), raw: raw_start + from, raw_len: raw.len() - from };
        match runs.last_mut() {
            Some(last) if last.decoded_len == last.raw_len && run.decoded_len == run.raw_len => {
                last.decoded_len += run.decoded_len;
                last.raw_len += run.raw_len;
            }
            _ => runs.push(run),
        }
    }
    (raw, OffsetMap::from_runs(runs))
}

pub(super) fn field<'a>(text: &'a str, map: OffsetMap, form: Form) -> Field<'a> {
    Field { path: "messages[0].content".into(), text: text.into(), map, form, access: Access::Editable, name: None }
}

fn mask_all(body: &str, fields: &[Field<'_>]) -> Result<Masked, Error> {
    replace_all(Action::Mask, body, fields)
}

/// What is found in `text`, but for what is only reported.
pub(super) fn found_in(text: &str) -> Vec<Finding> {
    let mut found = scan(text);
    found.retain(|finding| !finding.rule.report_only);
    found
}

/// `body` with all that is found in its fields replaced.
pub(super) fn replace_all(action: Action, body: &str, fields: &[Field<'_>]) -> Result<Masked, Error> {
    SCANNER.with_borrow_mut(|scanner| {
        let mut found = scanner.scan_fields(fields)?;
        found.retain(|located| !located.finding.rule.report_only);
        let actions = vec![action; found.len()];
        let orders = Orders { actions: &actions, restore: &[] };
        rewrite(ExchangeId::new(), body.to_owned().into(), fields, &found, orders, &key(), scanner)
    })
}

/// As [`replace_all`], of a text that is all of its body.
pub(super) fn replace_plain(action: Action, text: &str) -> String {
    let fields = [field(text, OffsetMap::identity(0, text.len()), Form::String { depth: 0 })];
    String::from_utf8(replace_all(action, text, &fields).unwrap().body().to_vec()).unwrap()
}

pub(super) fn mask_plain(text: &str) -> String {
    replace_plain(Action::Mask, text)
}

fn key() -> TokenKey {
    TokenKey::from_bytes([9; 32])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn findings_are_sorted_apart_and_on_character_boundaries(text in prose()) {
        let found = scan(&text);
        for finding in &found {
            prop_assert!(finding.span.start < finding.span.end);
            prop_assert!(text.get(finding.span.clone()).is_some());
            prop_assert!((0.0..=1.0).contains(&finding.score));
        }
        prop_assert!(found.windows(2).all(|w| w[0].span.end <= w[1].span.start));
    }

    #[test]
    fn every_validator_answers_whatever_it_is_asked(value in "[A-Za-z0-9 ./:+=@^-]{1,40}|.{1,20}") {
        for rule in Engine::builtin().unwrap().all() {
            rule.verdict(value.as_bytes());
        }
    }

    #[test]
    fn a_dull_name_changes_no_finding(text in prose()) {
        let fields = [named("item", &text)];
        let found = Engine::builtin().unwrap().scanner().unwrap().scan_fields(&fields).unwrap();
        let spans: Vec<_> = found.into_iter().map(|located| located.finding.span).collect();
        prop_assert_eq!(spans, scan(&text).into_iter().map(|finding| finding.span).collect::<Vec<_>>());
    }

    #[test]
    fn escapes_do_not_help_a_value_through_and_other_bytes_stay(text in prose(), choices in prop::collection::vec(any::<u8>(), 1..40)) {
        let (raw, map) = escaped(&text, &choices, 6);
        let body = format!("{{\"a\":\"{raw}\"}}");
        let masked = mask_all(&body, &[field(&text, map.clone(), Form::String { depth: 0 })]).unwrap();
        let out = std::str::from_utf8(masked.body()).unwrap();
        // What arrives is what masking the plain text gives.
        let arrived: serde_json::Value = serde_json::from_str(out).unwrap();
        prop_assert_eq!(arrived["a"].as_str().unwrap(), mask_plain(&text));
        // Outside the findings the bytes are those that were sent.
        let mut rest = out;
        let mut from = 0;
        for finding in scan(&text) {
            let span = map.to_raw(&finding.span);
            prop_assert!(rest.starts_with(&body[from..span.start]));
            rest = &rest[span.start - from..];
            rest = &rest[token::length(rest.as_bytes()).unwrap()..];
            from = span.end;
        }
        prop_assert_eq!(rest, &body[from..]);
        prop_assert_eq!(masked.digest(), BodyDigest::of(masked.body()));
    }
}

fn named<'a>(name: &str, text: &'a str) -> Field<'a> {
    let map = OffsetMap::identity(0, text.len());
    Field { name: Some(name.into()), ..field(text, map, Form::String { depth: 0 }) }
}

#[test]
fn the_name_of_a_value_counts_like_words_before_it() {
    let masked = |name, text: &str| {
        let masked = mask_all(text, &[named(name, text)]).unwrap();
        String::from_utf8(masked.body().to_vec()).unwrap()
    };
    for (name, text) in [
        ("db_password", "S3cr3tPassw0rd99"),
        ("db_password", "S3cr3t\"Pass'w0rd,99"),
        ("aws_secret_access_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("account_number", "000123456789"),
        ("accountNumber", "000123456789"),
        ("ssn", "536904398"),
    ] {
        let out = masked(name, text);
        assert_eq!(token::length(out.as_bytes()), Some(out.len()), "{name}: {out}");
        assert_eq!(mask_plain(text), text, "{text} alone is nothing");
    }
    let out = masked("ssn", "my number 536904398");
    assert!(out.starts_with("my number [SSN_") && out.ends_with(']'), "{out}");
    for (name, text) in [
        ("4111111111111111", "x"),
        ("jane@corp.example", "x"),
        ("password", "required"),
        ("token_type", "bearer"),
        ("order", "536904398"),
        ("order", "130692544"),
    ] {
        assert_eq!(masked(name, text), text, "{name}");
    }
}

#[test]
fn brackets_and_a_label_hide_no_value() {
    for text in ["[CARD_4111111111111111]", "[A_4111111111111111]"] {
        assert_ne!(mask_plain(text), text);
    }
}

#[test]
fn a_card_is_found_however_it_is_written() {
    for text in [
        "4111\u{a0}1111\u{a0}1111\u{a0}1111",
        "4111\u{202f}1111\u{202f}1111\u{202f}1111",
        "4111\u{2013}1111\u{2013}1111\u{2013}1111",
        "4111\u{2012}1111\u{2212}1111\u{2010}1111",
        "4111  1111  1111  1111",
        "4111 1111\n1111 1111",
        "4111 1111\r\n1111 1111",
        "4111 - 1111 - 1111 - 1111",
        "４１１１１１１１１１１１１１１１",
        "٤١١١ ١١١١ ١١١١ ١١١١",
        "41\u{200b}11111111\u{feff}111111",
        "3782\u{2011}822463\u{2011}10005",
    ] {
        let out = mask_plain(&format!("é {text}."));
        let token = out.strip_prefix("é ").and_then(|rest| rest.strip_suffix('.')).unwrap();
        assert_eq!(token::length(token.as_bytes()), Some(token.len()), "{text:?}: {out}");
    }
    for text in
        ["536\u{2011}90\u{2011}4399", "５３６-９０-４３９９", "DE89\u{a0}3704\u{a0}0044\u{a0}0532\u{a0}0130\u{a0}00"]
    {
        let out = mask_plain(text);
        assert_eq!(token::length(out.as_bytes()), Some(out.len()), "{text:?}: {out}");
    }
    for text in [
        "card_4111111111111111",
        "card4111111111111111",
        "cc4111111111111111",
        "4111-1111-1111-1111_x",
        "4111111111111111USD",
        "card4111-1111-1111-1111",
        "n_378282246310005_n",
    ] {
        let out = mask_plain(text);
        assert!(out.contains("[CARD_") && !out.contains("1111") && !out.contains("8282"), "{text}: {out}");
    }
    for text in [
        "9f4111111111111111c3",
        "0x4111111111111111",
        "4111111111111111e5",
        "d41d8cd9-4111-1111-1111-1111e800998e",
        "a4111-1111-1111-1111b",
        "1111\n4111\n1111\n1111\n1111\n1111",
        "4111          1111          1111          1111",
    ] {
        assert!(!mask_plain(text).contains("[CARD_"), "{text}");
    }
}

#[test]
fn a_number_becomes_a_string_quoted_for_its_depth() {
    for (depth, quote) in [(0, "\""), (1, "\\\""), (2, "\\\\\\\"")] {
        let body = "[4111111111111111,1]";
        let fields = [field("4111111111111111", OffsetMap::identity(1, 16), Form::Number { depth })];
        let masked = mask_all(body, &fields).unwrap();
        let out = std::str::from_utf8(masked.body()).unwrap();
        assert!(out.starts_with(&format!("[{quote}[CARD_")) && out.ends_with(&format!("]{quote},1]")), "{out}");
    }
}

#[test]
fn each_action_replaces_in_its_own_way() {
    let text = "pay 4111 1111 1111 1111, ask jane@corp.example, once";
    let replaced = |action| replace_plain(action, text);
    assert_eq!(replaced(Action::Label), "pay [CARD], ask [EMAIL], once");
    assert_eq!(replaced(Action::Partial), "pay **** **** **** 1111, ask ****@****.****ple, once");
    assert_eq!(replaced(Action::Drop), "pay , ask , once");
    assert_eq!(replaced(Action::Alert), text);
    let surrogate = replaced(Action::Surrogate);
    let shape = surrogate.replace(|c: char| c.is_ascii_digit() && surrogate.find(c).is_some_and(|at| at < 24), "9");
    assert!(shape.starts_with("pay 9999 9999 9999 9999, ask [EMAIL_"), "{surrogate}");
    assert!(!surrogate.contains("4111 1111"));
}

#[test]
fn whatever_replaces_a_value_is_not_found_again() {
    let values = [
        "4111 1111 1111 1111",
        "5555-5555-5555-4444",
        "536-90-4399",
        "DE89 3704 0044 0532 0130 00",
        "+44 20 7946 0958",
        "(415) 555-0132",
        "jane@corp.example",
        "203.0.113.77",
        "AKIAIOSFODNN7EXAMPLE",
        "postgres://app:s3cr3t@db.corp.example/x",
    ];
    for value in values {
        for text in [value.to_owned(), format!("this is {value}, as I said"), format!("\"ssn\": \"{value}\"")] {
            for action in [Action::Mask, Action::Surrogate, Action::Label, Action::Partial, Action::Drop] {
                let replace = |text: &str| replace_plain(action, text);
                let once = replace(&text);
                assert!(!once.contains(value), "{action}: {once}");
                assert_eq!(replace(&once), once, "{action}: {text}");
            }
        }
    }
}

#[test]
fn a_surrogate_of_a_number_is_a_number_where_it_can_be() {
    let fields = [field("4111111111111111", OffsetMap::identity(1, 16), Form::Number { depth: 0 })];
    let masked = replace_all(Action::Surrogate, "[4111111111111111,1]", &fields).unwrap();
    let out: serde_json::Value = serde_json::from_slice(masked.body()).unwrap();
    let text = out[0].as_str().map_or_else(|| out[0].to_string(), str::to_owned);
    assert!(text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit()) && text != "4111111111111111", "{out}");
    assert_eq!(out[0].is_string(), text.starts_with('0'));
}

#[test]
fn a_document_in_a_string_stays_a_document() {
    let inner = "{\"card\":4111111111111111}";
    let body = serde_json::to_string(&serde_json::json!({ "arguments": inner })).unwrap();
    let raw = body.find("4111").unwrap();
    let fields = [field("4111111111111111", OffsetMap::identity(raw, 16), Form::Number { depth: 1 })];
    let masked = mask_all(&body, &fields).unwrap();
    let outer: serde_json::Value = serde_json::from_slice(masked.body()).unwrap();
    let inner: serde_json::Value = serde_json::from_str(outer["arguments"].as_str().unwrap()).unwrap();
    assert!(inner["card"].as_str().unwrap().starts_with("[CARD_"));
}

#[test]
fn what_may_not_change_or_leave_is_an_error_that_names_the_field() {
    let text = "jane@corp.example";
    let mut fields = [field(text, OffsetMap::identity(0, text.len()), Form::String { depth: 0 })];
    let mut scanner = Engine::builtin().unwrap().scanner().unwrap();
    let found = scanner.scan_fields(&fields).unwrap();
    let mut go = |fields: &[Field<'_>], actions: &[Action]| {
        rewrite(
            ExchangeId::new(),
            text.to_owned().into(),
            fields,
            &found,
            Orders { actions, restore: &[] },
            &key(),
            &mut scanner,
        )
        .map(|masked| masked.changed())
    };
    let (path, entity) = (fields[0].path.clone(), "EMAIL_ADDRESS".to_owned());
    assert_eq!(go(&fields, &[Action::Allow]), Ok(false));
    assert_eq!(go(&fields, &[Action::Mask]), Ok(true));
    assert_eq!(go(&fields, &[]), Err(Error::Unpaired { findings: 1, actions: 0 }));
    assert_eq!(go(&fields, &[Action::Deny]), Err(Error::Denied { path: path.clone(), entity: entity.clone() }));
    assert_eq!(go(&[], &[Action::Mask]), Err(Error::Misplaced { path: String::new() }));
    fields[0].access = Access::ReadOnly;
    assert_eq!(go(&fields, &[Action::Mask]), Err(Error::ReadOnly { path, entity }));
    assert_eq!(go(&fields, &[Action::Allow]), Ok(false));
}

#[test]
fn two_values_in_one_escape_are_both_replaced() {
    // A decoder that gives one run for a whole text: nothing of it may remain.
    let text = "jane@corp.example joe@corp.example";
    let map = OffsetMap::from_runs(vec![Run { decoded: 0, decoded_len: text.len(), raw: 1, raw_len: 60 }]);
    let body = format!("<{}>", "~".repeat(60));
    let masked = mask_all(&body, &[field(text, map, Form::String { depth: 0 })]).unwrap();
    let out = std::str::from_utf8(masked.body()).unwrap();
    assert_eq!(token::find(out.as_bytes()).len(), 2, "{out}");
    assert!(!out.contains('~') && out.starts_with('<') && out.ends_with('>'), "{out}");
}

#[test]
fn stored_texts_are_redacted() {
    let mut scanner = Engine::builtin().unwrap().scanner().unwrap();
    let out = redact(&mut scanner, &key(), "curl -u bob https://bob:hunter2@host.example/?mail=jane@corp.example");
    assert!(!out.contains("hunter2") && !out.contains("jane"), "{out}");
    assert!(out.starts_with("curl -u bob ["), "{out}");
}

#[test]
fn hostile_texts_cost_no_more_than_their_length_allows() {
    let repeated = |piece: &str| piece.repeat((1 << 20) / piece.len());
    let hostile = [
        "1",
        "12 ",
        "4111 ",
        "4111-1111-",
        "1.",
        "1.1.1.1 ",
        "1:",
        "a:",
        "::",
        "@",
        "a@",
        "a@a.aa",
        "a@a.aa ",
        "sk-",
        "sk-a ",
        "eyJ",
        "eyJaaaaaaaa.",
        "eyJaaaaaaaa ",
        "token=",
        "secret:\"",
        "password = \"",
        "-----BEGIN PRIVATE KEY-----",
        "://",
        "a://b:c@",
        "a://b:c@d ",
        "ghp_",
        "xoxb-",
        "bearer ",
        "+1 ",
        "(415) ",
        "GB82 WEST ",
        "aws key ",
        "%B4",
        "[EMAIL_k7q2m9xh]",
    ];
    let mut scanner = Engine::builtin().unwrap().scanner().unwrap();
    for piece in hostile {
        let text = repeated(piece);
        let mut found = Vec::new();
        let result = scanner.scan(&text, &mut found);
        // Either within the bound, or refused for exceeding it; never unbounded.
        assert!(scanner.work() <= (4 << 20) + 257 * text.len() + 512, "{piece:?}: {} units", scanner.work());
        if let Err(error) = result {
            assert!(matches!(error, Error::TooManyMatches { .. } | Error::TooMuchWork { .. }), "{piece:?}: {error}");
            assert!(found.is_empty());
        }
    }
}

#[test]
fn a_text_without_end_of_keys_is_refused_and_lists_are_masked() {
    let mut scanner = Engine::builtin().unwrap().scanner().unwrap();
    let mut scan = |piece: &str| scanner.scan(&piece.repeat((1 << 20) / piece.len()), &mut Vec::new());
    assert!(matches!(scan("eyJhbGciOiJI."), Err(Error::TooMuchWork { .. })));
    assert_eq!(scan("4111 1111 1111 1112 "), Ok(()));
    assert_eq!(scan("4111111111111111\n"), Ok(()));
    assert_eq!(scan("4111 1111 1111 1111\n"), Ok(()));
    assert_eq!(scan("jane.doe@corp.example\n"), Ok(()));
    assert_eq!(scan("postgres://app:k7Q2m9xh@db.corp.example:5432/main\n"), Ok(()));
    assert_eq!(
        scan("2026-11-23T15:46:10.123Z INFO req=8f3a9c21 took 132 ms status 200 bytes 48213 from 10.2.3.4\n"),
        Ok(())
    );
    assert_eq!(scan("10382,2021-04-05,19.99,3,Widget blue,EUR,48213,536904398\n"), Ok(()));
}

#[test]
fn work_grows_with_the_text_and_not_with_its_square() {
    let mut scanner = Engine::builtin().unwrap().scanner().unwrap();
    let mut work = |piece: &str, bytes: usize| {
        let _ = scanner.scan(&piece.repeat(bytes / piece.len()), &mut Vec::new());
        scanner.work()
    };
    for piece in ["4111 1111 1111 1111 ", "a@a.aa ", "token=x ", "eyJaaaaaaaa ", "a://b:c@d ", "+44 20 7946 0958 "] {
        let (small, large) = (work(piece, 8 << 10), work(piece, 64 << 10));
        assert!(large <= 9 * small + 4096, "{piece:?}: {small} units for 8 KiB, {large} for 64 KiB");
    }
}
