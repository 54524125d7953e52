use std::fmt::Write;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::flow::{Access, Field, Form};

const OPENAI: &[u8] = include_bytes!("fixtures/openai_chat.json");
const ANTHROPIC: &[u8] = include_bytes!("fixtures/anthropic_messages.json");

fn chat(body: &[u8]) -> Document<'_> {
    locate(Operation::ChatCompletions, body).unwrap()
}

fn field<'d>(document: &'d Document<'_>, path: &str) -> &'d Field<'d> {
    document.fields.iter().find(|field| field.path == path).unwrap_or_else(|| panic!("no field at {path}"))
}

/// The raw bytes behind the first occurrence of `needle` in a field.
fn raw<'b>(body: &'b [u8], field: &Field<'_>, needle: &str) -> &'b str {
    let start = field.text.find(needle).expect("the text holds the needle");
    std::str::from_utf8(&body[field.map.to_raw(&(start..start + needle.len()))]).unwrap()
}

fn opaque<'d>(document: &'d Document<'_>) -> Vec<(&'d str, Kind, &'d str, usize)> {
    let parts = document.parts.iter().filter(|part| part.status == Status::Opaque);
    parts.map(|part| (part.path.as_str(), part.kind, part.reason.map_or("", Reason::as_str), part.bytes)).collect()
}

#[test]
fn finds_the_text_of_a_chat_completion() {
    let document = chat(OPENAI);
    assert_eq!(document.model.as_deref(), Some("gpt-4o-2024-08-06"));
    assert!(document.stream);
    assert_eq!(document.messages, 4);
    let text = field(&document, "messages[1].content[0].text");
    assert_eq!(text.text, "My card is 4111 1111 😀 1111 1111, \"soon\"\n");
    assert_eq!(raw(OPENAI, text, "4111 1111 😀 1"), r"4\u0031\u00311 1111 \ud83d\ude00 1");
    assert_eq!(raw(OPENAI, text, "11 1"), r"\u00311 1");
    assert_eq!(text.form, Form::String { depth: 0 });
    assert_eq!(field(&document, "messages[3].content").text, "not {json}: jane@corp.example");
    assert_eq!(field(&document, "messages[1].content[2].image_url.url").text.len(), 49);
}

#[test]
fn follows_json_in_strings_down_to_the_raw_bytes() {
    let document = chat(OPENAI);
    let arguments = "messages[2].tool_calls[0].function.arguments";
    let card = field(&document, &format!("{arguments}.$.*.*"));
    assert_eq!((card.text.as_ref(), card.form), ("4111 1111 1111 1111", Form::String { depth: 1 }));
    assert_eq!(raw(OPENAI, card, "1111 1111 1111"), r"1111 1111 111\\u0031");
    let phone = field(&document, &format!("{arguments}.$.*"));
    assert_eq!((phone.text.as_ref(), phone.form), ("15551234567", Form::Number { depth: 1 }));
    assert_eq!(raw(OPENAI, phone, "15551234567"), "15551234567");
    let ssn = field(&document, &format!("{arguments}.$.*.$.*"));
    assert_eq!((ssn.text.as_ref(), ssn.form), ("123-45-6789", Form::String { depth: 2 }));
    assert_eq!(raw(OPENAI, ssn, "123-45-6789"), r"123-45-\\\\u0036789");
    assert!(document.fields.iter().all(|field| field.path != arguments), "the outer text is not scanned twice");
}

#[test]
fn a_key_is_a_text_and_never_part_of_a_path() {
    let document = chat(OPENAI);
    assert_eq!(field(&document, "metadata.{key}").text, "jane@corp.example");
    let paths: Vec<_> =
        document.fields.iter().map(|field| &field.path).chain(document.parts.iter().map(|p| &p.path)).collect();
    assert!(paths.iter().all(|path| !path.contains("jane") && !path.contains("guest") && !path.contains("ssn")));
    let hidden = br#"{"4111111111111111":{"123-45-6789":[{"jane@corp.example":"x"}]}}"#;
    let document = chat(hidden);
    let paths: Vec<_> = document.fields.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(paths, ["{key}", "*.{key}", "*.*[0].{key}", "*.*[0].*"]);
}

#[test]
fn a_value_carries_the_names_that_the_client_gave_it() {
    let names = |body: &str| -> Vec<(String, Option<String>)> {
        let document = locate(Operation::Messages, body.as_bytes()).unwrap();
        let values = document.fields.iter().filter(|field| !field.path.ends_with("{key}"));
        values.map(|field| (field.text.to_string(), field.name.as_deref().map(str::to_owned))).collect()
    };
    let named = |text: &str, name: &str| (text.to_owned(), Some(name.to_owned()));
    let nameless = |text: &str| (text.to_owned(), None);
    assert_eq!(
        names(
            r#"{"system":"s","messages":[{"role":"user","content":[{"type":"tool_use","input":
            {"db_password":"a","account":{"number":"b","id":123456789},"ids":["c",{"data":"d"}],"city":"e"}}]}]}"#
        ),
        [
            nameless("s"),
            nameless("user"),
            nameless("tool_use"),
            named("a", "db_password"),
            named("b", "account_number"),
            named("123456789", "account_id"),
            named("c", "ids"),
            named("d", "ids_data"),
            nameless("e"),
        ]
    );
    assert_eq!(names(r#"{"system":"{\"ss\\u006e\":\"a\"}"}"#), [named("a", "ssn")]);
    let schema = r#"{"tools":[{"input_schema":{"properties":{"pin":{"type":"string","default":"x"}}}}]}"#;
    assert_eq!(names(schema), [nameless("string"), named("x", "pin_default")]);
    let long = names(&format!(r#"{{"{}ssn":"a"}}"#, "é".repeat(100)));
    assert!(long[0].1.as_deref().is_some_and(|name| name.len() <= Field::LONGEST_NAME && name.ends_with("ssn")));
}

#[test]
fn long_numbers_are_texts_as_written() {
    let document = chat(OPENAI);
    let numbers: Vec<_> = document.fields.iter().filter(|f| f.form == Form::Number { depth: 0 }).collect();
    let found: Vec<_> = numbers.iter().map(|field| (field.path.as_str(), field.text.as_ref())).collect();
    assert_eq!(found, [("metadata.*", "4111111111111111"), ("temperature", "0.123456789012")]);
    let body = br#"{"a":[12345678,-123456789,1.23456789e2,12345678e1]}"#;
    let document = chat(body);
    let found: Vec<_> = document.fields.iter().skip(1).map(|field| field.text.as_ref()).collect();
    assert_eq!(found, ["-123456789", "1.23456789e2"]);
}

#[test]
fn what_is_not_text_is_reported_by_kind() {
    let document = chat(OPENAI);
    assert_eq!(
        opaque(&document),
        [
            ("messages[1].content[1].image_url.url", Kind::Media, "image", 47),
            ("messages[1].content[3].input_audio.data", Kind::Media, "audio", 16),
            ("messages[1].content[4].file.file_data", Kind::Document, "file", 40),
        ]
    );
    assert_eq!(document.opaque_bytes, 103);
    let groups = document.parts.iter().filter(|part| part.status == Status::Scanned).map(|part| part.path.as_str());
    let groups: Vec<_> = groups.collect();
    assert_eq!(
        groups,
        ["model", "messages[0]", "messages[1]", "messages[2]", "messages[3]", "tools[0]", "metadata", "temperature"]
    );
    assert_eq!(document.text_bytes, document.fields.iter().map(|field| field.text.len()).sum::<usize>());
}

#[test]
fn data_that_is_short_or_not_what_it_claims_is_read_too() {
    let picture = format!("iVBORw0KGgoA{}", "QUJD".repeat(400));
    let digits = "4111111111111111".repeat(100);
    let body = format!(
        r#"{{"messages":[{{"content":[
        {{"image_url":{{"url":"data:image/png;base64,{picture}"}}}},
        {{"image_url":{{"url":"data:image/png;base64,{digits}"}}}},
        {{"image_url":{{"url":"data:image/png;base64,4111111111111111"}}}}]}}]}}"#
    );
    let document = chat(body.as_bytes());
    let read: Vec<_> = document.fields.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(read, ["messages[0].content[1].image_url.url", "messages[0].content[2].image_url.url"]);
    let kinds: Vec<_> = opaque(&document).into_iter().map(|part| part.1).collect();
    assert_eq!(kinds, [Kind::Media, Kind::Document, Kind::Document], "policy still says whether they may leave");
    let signature = |data: &str| {
        let body = format!(
            r#"{{"messages":[{{"content":[{{"type":"thinking","signature":"{data}"}},{{"type":"redacted_thinking","data":"{data}"}}]}}]}}"#
        );
        let document = locate(Operation::Messages, body.as_bytes()).unwrap();
        document.fields.iter().filter(|field| field.text == data && field.access == Access::ReadOnly).count()
    };
    assert_eq!(signature("4111111111111111"), 2);
    assert_eq!(signature("my ssn 536-90-4399"), 2);
    assert_eq!(signature(&picture), 0);
}

#[test]
fn prose_in_a_field_for_data_is_read() {
    let body = br#"{"messages":[{"content":[
        {"image_url":{"url":"data:image/png;base64,my ssn is 123-45-6789"}},
        {"input_audio":{"data":"my ssn is 123-45-6789"}},
        {"file":{"file_data":"data:text/plain,my ssn is 123-45-6789"}}]}]}"#;
    let document = chat(body);
    assert_eq!(document.fields.iter().filter(|field| field.text.contains("123-45-6789")).count(), 3);
    assert!(opaque(&document).is_empty());
}

#[test]
fn finds_the_text_of_an_anthropic_request() {
    let document = locate(Operation::Messages, ANTHROPIC).unwrap();
    assert_eq!((document.model.as_deref(), document.stream, document.messages), (Some("claude-sonnet-4-5"), false, 3));
    let thinking = field(&document, "messages[1].content[0].thinking");
    assert_eq!(thinking.access, Access::ReadOnly);
    let editable = document.fields.iter().filter(|field| field.access == Access::ReadOnly).count();
    assert_eq!(editable, 3, "thinking, its signature and redacted thinking");
    assert_eq!(
        opaque(&document),
        [
            ("messages[1].content[0].signature", Kind::Signed, "signed by the provider", 28),
            ("messages[1].content[1].data", Kind::Signed, "signed by the provider", 28),
            ("messages[2].content[0].content[1].source.data", Kind::Media, "image", 12),
            ("messages[2].content[1].source.data", Kind::Document, "file", 12),
        ]
    );
    assert_eq!(field(&document, "messages[2].content[0].content[0].text.$[0].*").text, "joe@corp.example");
    assert_eq!(field(&document, "messages[1].content[3].input.data").text, "anV0ZQ==", "a tool's data is text");
    assert_eq!(field(&document, "messages[2].content[2].source.data").text, "plain");
    assert_eq!(field(&document, "messages[2].content[3].signature").text, "anV0ZQ==", "only thinking is signed");
}

#[test]
fn a_thinking_block_must_say_so_once_to_be_exempt() {
    let exempt = |block: &str| {
        let body = format!(r#"{{"messages":[{{"content":[{block}]}}]}}"#);
        let document = locate(Operation::Messages, body.as_bytes()).unwrap();
        let read_only = document.fields.iter().any(|field| field.access == Access::ReadOnly);
        (read_only, opaque(&document).len())
    };
    assert_eq!(exempt(r#"{"thinking":"a b","signature":"c2ln","type":"thinking"}"#), (true, 1));
    assert_eq!(exempt(r#"{"thinking":"a b","signature":"c2ln"}"#), (false, 0));
    assert_eq!(exempt(r#"{"type":"text","type":"thinking","thinking":"a b","signature":"c2ln"}"#), (false, 0));
    assert_eq!(exempt(r#"{"type":"thinking","thinking":"{\"a\":\"b\"}","signature":"my ssn"}"#), (true, 0));
}

#[test]
fn token_ids_are_reported_wherever_a_prompt_could_be() {
    let ids: Vec<u32> = (100..120).collect();
    let body = format!(r#"{{"prompt":[1,2],"input":{ids:?},"tools":[{{"enum":{ids:?}}}],"x":[[{ids:?}]]}}"#);
    let document = chat(body.as_bytes());
    let found: Vec<_> = opaque(&document).into_iter().map(|(path, kind, why, _)| (path, kind, why)).collect();
    let expect = |path| (path, Kind::Document, "token ids, no text");
    assert_eq!(found, [expect("prompt"), expect("input"), expect("*[0][0]")]);
}

#[test]
fn a_message_of_a_websocket_is_json_or_one_text() {
    let texts = |message: &str| -> Vec<(String, String)> {
        let document = locate_message(message.as_bytes()).unwrap();
        document.fields.iter().map(|field| (field.path.clone(), field.text.to_string())).collect()
    };
    let pair = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let event = r#"{"type":"conversation.item.create","item":{"content":[{"text":"jane\u0040corp.example"}]}}"#;
    assert_eq!(
        texts(event),
        [
            pair("type", "conversation.item.create"),
            pair("{key}", "item"),
            pair("*.content[0].text", "jane@corp.example")
        ]
    );
    assert_eq!(texts(r#""\u0034""#), [pair("", "4")]);
    for text in ["hello", "{\"a\":\"\\u0034\"} and more", "{'a':1}", "[1, 2", " "] {
        assert_eq!(texts(text), [pair("message", text)]);
    }
    assert!(texts("").is_empty() && texts("{}").is_empty());
    assert_eq!(locate_message(b"a\xff").unwrap_err(), Error::NotUtf8 { offset: 1 });
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    assert!(matches!(locate_message(deep.as_bytes()), Err(Error::TooDeep { .. })), "what cannot be read is not passed");
    let by_operation = locate(Operation::Message, event.as_bytes()).unwrap();
    assert_eq!(by_operation.fields.len(), 3);
}

#[test]
fn text_that_only_looks_like_json_stays_one_text() {
    for text in
        ["[INFO] 4111 1111 1111 1111", "{name}", "[1, 2, 3", "{}", "[4111,1111,1111,1111]", "[1] [2]", "{\\\"a\\\":1}x"]
    {
        let body = format!(r#"{{"messages":[{{"content":"{text}"}}]}}"#);
        let document = chat(body.as_bytes());
        assert_eq!(document.fields.len(), 1, "{text}");
        assert_eq!(document.fields[0].path, "messages[0].content");
    }
}

#[test]
fn json_beyond_the_depth_that_is_followed_is_reported() {
    let mut text = r#"{"a":"4111"}"#.to_owned();
    for _ in 0..4 {
        text = serde_json::to_string(&serde_json::json!({ "content": text })).unwrap();
    }
    let document = chat(text.as_bytes());
    assert!(opaque(&document).is_empty());
    assert_eq!(
        document.fields.last().map(|field| (field.text.as_ref(), field.form)),
        Some(("4111", Form::String { depth: 4 }))
    );
    let deeper = serde_json::to_string(&serde_json::json!({ "content": text })).unwrap();
    let document = chat(deeper.as_bytes());
    assert_eq!(opaque(&document).len(), 1);
    assert_eq!(document.fields[0].text, r#"{"a":"4111"}"#, "its outer layer is still scanned");
    let brackets = format!(r#"{{"content":"{}{}"}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(opaque(&chat(brackets.as_bytes()))[0].2, "nested too deep");
}

#[test]
fn refuses_what_is_not_strict_json() {
    let at = |body: &str| match locate(Operation::ChatCompletions, body.as_bytes()) {
        Err(Error::Malformed { offset, expected }) => (offset, expected),
        other => panic!("{body}: {other:?}"),
    };
    assert_eq!(at(""), (0, "an object"));
    assert_eq!(at(" [1]"), (1, "an object"));
    assert_eq!(at("\u{feff}{}"), (0, "an object"));
    assert_eq!(at("{"), (1, "a key or '}'"));
    assert_eq!(at("{,}"), (1, "a key or '}'"));
    assert_eq!(at("{\"a\":1,}"), (7, "a key"));
    assert_eq!(at("{'a':1}"), (1, "a key or '}'"));
    assert_eq!(at("{a:1}"), (1, "a key or '}'"));
    assert_eq!(at("{\"a\" 1}"), (5, "':'"));
    assert_eq!(at("{\"a\":}"), (5, "a value"));
    assert_eq!(at("{\"a\":1 \"b\":2}"), (7, "',' or '}'"));
    assert_eq!(at("{\"a\":[1,]}"), (8, "a value"));
    assert_eq!(at("{\"a\":[1 2]}"), (8, "',' or ']'"));
    assert_eq!(at("{\"a\":[}"), (6, "a value"));
    assert_eq!(at("{\"a\":[1}"), (7, "',' or ']'"));
    assert_eq!(at("{} {}"), (3, "the end of the body"));
    assert_eq!(at("{}\0"), (2, "the end of the body"));
    assert_eq!(at("{\"a\":01}"), (5, "a number without leading zeros"));
    assert_eq!(at("{\"a\":+1}"), (5, "a value"));
    assert_eq!(at("{\"a\":-}"), (6, "a digit"));
    assert_eq!(at("{\"a\":1.}"), (7, "a digit"));
    assert_eq!(at("{\"a\":1e}"), (7, "a digit"));
    assert_eq!(at("{\"a\":.5}"), (5, "a value"));
    assert_eq!(at("{\"a\":NaN}"), (5, "a value"));
    assert_eq!(at("{\"a\":True}"), (5, "a value"));
    assert_eq!(at("{\"a\":nul}"), (5, "a value"));
    assert_eq!(at("{\"a\":\"b"), (7, "'\"'"));
    assert_eq!(at("{\"a\":\"b\nc\"}"), (7, "an escape instead of a control character"));
    assert_eq!(at("{\"a\":\"\\x41\"}"), (6, "a valid escape"));
    assert_eq!(at("{\"a\":\"\\u12g4\"}"), (6, "four hexadecimal digits in \\u"));
    assert_eq!(at("{\"a\":\"\\u12"), (6, "four hexadecimal digits in \\u"));
    assert_eq!(at("{\"a\":\"\\"), (6, "a valid escape"));
    assert_eq!(at("{\"a\":1} // no"), (8, "the end of the body"));
    let not_utf8 = locate(Operation::ChatCompletions, b"{\"a\":\"\xff\"}").unwrap_err();
    assert_eq!(not_utf8, Error::NotUtf8 { offset: 6 });
}

#[test]
fn limits_bound_what_a_body_can_cost() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(locate(Operation::ChatCompletions, nested(128).as_bytes()).is_ok());
    assert_eq!(
        locate(Operation::ChatCompletions, nested(129).as_bytes()).unwrap_err(),
        Error::TooDeep { offset: 132, limit: 128 }
    );
    let many = format!("{{\"content\":[{}\"a\"]}}", "\"a\",".repeat(1 << 18));
    assert_eq!(locate(Operation::ChatCompletions, many.as_bytes()).unwrap_err(), Error::TooManyFields);
    let escapes = format!("{{\"content\":\"{}\"}}", "\\n".repeat((1 << 23) + 1));
    assert_eq!(locate(Operation::ChatCompletions, escapes.as_bytes()).unwrap_err(), Error::TooManyEscapes);
    let deep = format!("{{\"properties\":{}\"x\"{}}}", "{\"properties\":".repeat(100), "}".repeat(100));
    assert!(chat(deep.as_bytes()).fields[0].path.len() < 260);
}

#[test]
fn only_a_known_operation_has_text() {
    assert_eq!(locate(Operation::Unknown, b"{}").unwrap_err(), Error::UnknownOperation);
    assert_eq!(locate(Operation::Read, b"{}").unwrap_err(), Error::UnexpectedBody);
    assert!(locate(Operation::Read, b"").unwrap().fields.is_empty());
}

#[test]
fn plain_strings_are_not_copied() {
    let body = br#"{"messages":[{"content":"plain"}]}"#;
    assert!(matches!(&chat(body).fields[0].text, std::borrow::Cow::Borrowed("plain")));
}

#[test]
fn lone_surrogates_become_replacement_characters() {
    let body = br#"{"content":"a\ud83dz\udE00\ud83d\ud83d\ude00"}"#;
    let document = chat(body);
    assert_eq!(document.fields[0].text, "a\u{fffd}z\u{fffd}\u{fffd}\u{1f600}");
    assert_eq!(raw(body, &document.fields[0], "\u{1f600}"), r"\ud83d\ude00");
}

/// Any JSON value, with strings that are awkward to escape.
fn json() -> impl Strategy<Value = Value> {
    let string = prop_oneof!["[ -~]{0,12}", any::<String>(), "[\"\\\\/\u{8}\u{c}\n\r\t\u{7f}é😀]{0,6}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Eighths survive serde_json's rounding.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        string.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let string = string.clone();
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((string, inner.clone()), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            // A document in a string.
            prop::collection::vec(inner, 0..3).prop_map(|items| Value::from(Value::from(items).to_string())),
        ]
    })
}

/// Every text in `value` that a walk must find, in order.
fn texts(value: &Value, depth: usize, out: &mut Vec<String>) {
    let mut push = |text: &str| {
        if !text.is_empty() {
            out.push(text.to_owned());
        }
    };
    match value {
        Value::String(text) => {
            let nested = serde_json::from_str::<Value>(text).ok().filter(|nested| !nested.is_string() && depth < 4);
            let before = out.len();
            if let Some(nested @ (Value::Object(_) | Value::Array(_))) = nested {
                texts(&nested, depth + 1, out);
            }
            if out.len() == before && !text.is_empty() {
                out.push(text.clone());
            }
        }
        Value::Number(number) => {
            let literal = number.to_string();
            let digits =
                literal.split(['e', 'E']).next().unwrap_or_default().bytes().filter(u8::is_ascii_digit).count();
            if digits >= 9 {
                push(&literal);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, depth, out)),
        Value::Object(pairs) => pairs.iter().for_each(|(key, value)| {
            if schema::word(key).is_none() && !key.is_empty() {
                out.push(key.clone());
            }
            texts(value, depth, out);
        }),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Writes `value` with random whitespace and random escapes, as other serialisers would.
fn write_json(value: &Value, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    let mut choose = || choices.next().unwrap_or(0);
    out.push_str(["", " ", "\r\n\t", ""][usize::from(choose() % 4)]);
    match value {
        Value::String(text) => write_string(text, choices, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write_json(item, choices, out);
            }
            out.push(']');
        }
        Value::Object(pairs) => {
            out.push('{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                out.push_str(if index > 0 { " , " } else { "" });
                write_string(key, choices, out);
                out.push_str(" :");
                write_json(value, choices, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn write_string(text: &str, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let must = matches!(character, '"' | '\\') || character < ' ';
        if must || choices.next().unwrap_or(0).is_multiple_of(3) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04X}").unwrap();
            }
        } else {
            out.push(character);
        }
    }
    out.push('"');
}

proptest! {
    #[test]
    fn finds_what_serde_json_finds(value in json(), choices in prop::collection::vec(any::<u8>(), 0..200)) {
        let value = serde_json::json!({ "content": value });
        let mut body = String::new();
        write_json(&value, &mut choices.into_iter().cycle().take(100_000), &mut body);
        let document = chat(body.as_bytes());
        let mut expected = Vec::new();
        texts(&value, 0, &mut expected);
        let found: Vec<_> = document.fields.iter().map(|field| field.text.to_string()).collect();
        prop_assert_eq!(found, expected);
        fuzz_locate(body.as_bytes());
    }

    #[test]
    fn every_span_of_every_text_leads_to_bytes_that_decode_to_it(value in json(), choices in prop::collection::vec(any::<u8>(), 0..200)) {
        let value = serde_json::json!({ "content": value });
        let mut body = String::new();
        write_json(&value, &mut choices.into_iter().cycle().take(100_000), &mut body);
        for field in &chat(body.as_bytes()).fields {
            let bounds: Vec<_> = field.text.char_indices().map(|(at, _)| at).chain([field.text.len()]).collect();
            for (index, &start) in bounds.iter().enumerate() {
                for &end in bounds[index + 1..].iter().take(8) {
                    let mut layer = body[field.map.to_raw(&(start..end))].to_owned();
                    let layers = match field.form { Form::String { depth } => depth + 1, Form::Number { depth } => depth };
                    for _ in 0..layers {
                        layer = serde_json::from_str(&format!("\"{layer}\"")).unwrap();
                    }
                    prop_assert_eq!(&layer, &field.text[start..end]);
                }
            }
        }
    }

    #[test]
    fn accepts_exactly_what_serde_json_accepts(body in r#"\{("a":)?[\[\]{}":,0-9eE.+\-\\untrflsa \t]{0,14}\}?"#) {
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok();
        prop_assert_eq!(locate(Operation::ChatCompletions, body.as_bytes()).is_ok(), theirs, "{}", body);
    }

    #[test]
    fn one_wrong_byte_upsets_nothing(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for fixture in [OPENAI, ANTHROPIC] {
            let mut body = fixture.to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            fuzz_locate(&body);
            fuzz_locate(&body[..at]);
        }
    }
}
