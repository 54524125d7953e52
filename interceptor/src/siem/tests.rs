//! One record in all formats.

use serde_json::{Value, json};

use super::*;
use crate::audit::{FindingCount, MaskedRequest, Time};
use crate::flow::{Action, ExchangeId};

fn record() -> Record {
    let mut record = Record::new(ExchangeId::from_bytes([7; 16]));
    record.time = Time::from_unix_ns(1_700_000_000_123_456_789);
    record.host = "build-7".into();
    record.caller.user = Some("alice".into());
    record.caller.uid = Some(1000);
    record.caller.groups = Some(vec!["dev".into()]);
    record.caller.pid = Some(42);
    record.caller.exe = Some("/usr/bin/curl".into());
    record.caller.cmdline = Some("curl a=b|c\\d\nx".into());
    record.endpoint.provider = Some("openai".into());
    record.endpoint.host = Some("api.openai.com".into());
    record.endpoint.port = Some(443);
    record.request.method = Some("POST".into());
    record.request.path = Some("/v1/chat/completions?a=1&b".into());
    record.request.operation = Some("chat.completions".into());
    record.request.model = Some("gpt-4o".into());
    record.request.bytes = Some(30);
    record.request.masked = Some(MaskedRequest::new(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n\r\n",
        br#"{"card":"[CARD_k7q2m9xd]"}"#.to_vec(),
    ));
    record.findings =
        vec![FindingCount { entity: "CREDIT_CARD".into(), rule: "card.pan".into(), count: 1, action: Action::Mask }];
    record.decision.action = Some("mask".into());
    record.decision.rule = Some("policy|find=ings".into());
    record.response.status = Some(200);
    record.response.bytes = Some(300);
    record.response.usage = Some(json!({"input_tokens": 4, "output_tokens": 6}));
    record.timing.total_us = Some(12_345);
    record.timing.first_byte_us = Some(2_345);
    record
}

fn export(format: Format, records: &[Record]) -> String {
    let mut out = Vec::new();
    let mut exporter = Exporter::new(format, &mut out).unwrap();
    records.iter().for_each(|record| exporter.write(record).unwrap());
    assert_eq!(exporter.finish().unwrap(), records.len() as u64);
    String::from_utf8(out).unwrap()
}

fn one(format: Format) -> Value {
    serde_json::from_str(&export(format, &[record()])).unwrap()
}

#[test]
fn lines_are_records() {
    let text = export(Format::Jsonl, &[record(), record()]);
    let read: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, [record(), record()]);
}

#[test]
fn ocsf_has_what_the_class_requires() {
    let event = one(Format::Ocsf);
    for (member, expected) in [
        ("class_uid", json!(6003)),
        ("type_uid", json!(600_301)),
        ("category_uid", json!(6)),
        ("activity_id", json!(1)),
        ("time", json!(1_700_000_000_123u64)),
        ("severity_id", json!(3)),
        ("status_id", json!(1)),
        ("action_id", json!(4)),
    ] {
        assert_eq!(event[member], expected, "{member}");
    }
    assert_eq!(event["metadata"]["version"], "1.8.0");
    assert_eq!(event["actor"]["user"]["groups"], json!([{"name": "dev"}]));
    assert_eq!(event["actor"]["process"]["file"]["name"], "curl");
    assert_eq!(event["src_endpoint"]["hostname"], "build-7");
    assert_eq!(event["ai_model"], json!({"name": "gpt-4o", "ai_provider": "openai"}));
    assert_eq!(event["message_context"]["total_tokens"], 10);
    assert_eq!(event["api"]["request"]["data"], r#"{"card":"[CARD_k7q2m9xd]"}"#);
    assert_eq!(event["http_request"]["url"]["query_string"], "a=1&b");
    let denied =
        Record { decision: crate::audit::Decision { action: Some("deny".into()), ..Default::default() }, ..record() };
    let event = ocsf::event(&denied);
    assert_eq!((&event["action_id"], &event["is_alert"], &event["severity_id"]), (&2.into(), &true.into(), &4.into()));
}

#[test]
fn what_is_not_known_is_left_out() {
    for format in [Format::Ocsf, Format::Ecs] {
        let text = export(format, &[Record::new(ExchangeId::new())]);
        assert!(!text.contains("null") && !text.contains("{}") && !text.contains("[]"), "{text}");
    }
}

#[test]
fn ecs_is_nested_and_has_times_in_nanoseconds() {
    let document = one(Format::Ecs);
    assert_eq!(document["@timestamp"], "2023-11-14T22:13:20.123456789Z");
    assert_eq!(document["event"]["duration"], 12_345_000);
    assert_eq!(document["event"]["type"], json!(["access", "allowed"]));
    assert_eq!(document["url"]["full"], "https://api.openai.com/v1/chat/completions?a=1&b");
    assert_eq!(document["gen_ai"]["usage"], json!({"input_tokens": 4, "output_tokens": 6}));
    assert_eq!(document["http"]["request"]["body"]["content"], r#"{"card":"[CARD_k7q2m9xd]"}"#);
    assert_eq!(document["interceptor"]["findings"][0]["rule"], "card.pan");
}

#[test]
fn cef_escapes_what_divides() {
    let mut record = record();
    record.caller.exe = Some("/opt/a=b|c\\d\nx".into());
    record.request.model = Some("\u{1b}]0;x\u{2028}CEF:0|".into());
    let line = cef::line(&record);
    assert!(line.starts_with("CEF:0|Interceptor|Interceptor|"), "{line}");
    assert!(line.contains("|mask|Request to a language model: mask|5|rt=1700000000123 "), "{line}");
    assert!(line.contains(r" sproc=/opt/a\=b|c\\d\nx dhost="), "{line}");
    assert!(line.contains(r" cs2Label=policyRule cs2=policy|find\=ings "), "{line}");
    assert!(line.contains(" cs3Label=findings cs3=CREDIT_CARD:card.pan:1 "), "{line}");
    assert!(line.contains(r" cs1=\\u{1b}]0;x\\u{2028}CEF:0| "), "{line}");
    assert!(line.contains(" in=30 out=300 "), "{line}");
    assert!(!line.contains('\n'), "{line}");
}

#[test]
fn har_is_one_document_with_an_entry_for_each_record() {
    let archive: Value = serde_json::from_str(&export(Format::Har, &[record(), record()])).unwrap();
    assert_eq!(archive["log"]["version"], "1.2");
    let entry = &archive["log"]["entries"][1];
    assert_eq!(entry["request"]["headers"][1], json!({"name": "Content-Type", "value": "application/json"}));
    assert_eq!(entry["request"]["postData"]["mimeType"], "application/json");
    assert_eq!(entry["request"]["queryString"], json!([{"name": "a", "value": "1"}, {"name": "b", "value": ""}]));
    assert_eq!(entry["timings"], json!({"send": 0, "wait": 2.345, "receive": 10.0}));
    assert_eq!(entry["response"]["status"], 200);
    let empty: Value = serde_json::from_str(&export(Format::Har, &[])).unwrap();
    assert_eq!(empty["log"]["entries"], json!([]));
}

#[test]
fn what_is_open_passed_on_or_damaged_is_no_failure_and_says_so() {
    let mut record = Record::new(ExchangeId::new());
    record.decision.action = Some("splice".into());
    record.log.damaged = true;
    let event = ocsf::event(&record);
    assert_eq!((&event["status_id"], &event["action_id"], &event["activity_id"]), (&0.into(), &1.into(), &0.into()));
    assert_eq!(event["actor"], json!({"app_name": "unknown"}));
    assert_eq!(event["unmapped"]["damaged"], true);
    let document = ecs::document(&record);
    assert_eq!((&document["event"]["outcome"], &document["interceptor"]["damaged"]), (&"unknown".into(), &true.into()));
    assert!(
        cef::line(&record).contains(" outcome=unknown ") && cef::line(&record).ends_with(" cs5Label=damaged cs5=true")
    );
    assert_eq!(har::entry(&record)["_damaged"], true);
}

#[test]
fn urls_are_those_that_were_asked_for() {
    let mut record = record();
    let mut of = |path: &str, host: Option<&str>, port| {
        record.request.path = Some(path.into());
        (record.endpoint.host, record.endpoint.port) = (host.map(Into::into), port);
        record.endpoint.ip = Some("2001:db8::1".parse().unwrap());
        let (path, query) = path_and_query(&record);
        (url(&record), path.unwrap().to_owned(), query.map(str::to_owned))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of("/v1?a=b", Some("h"), Some(443)), (text("https://h/v1?a=b"), "/v1".into(), text("a=b")));
    assert_eq!(of("/v1", None, Some(80)), (text("http://[2001:db8::1]/v1"), "/v1".into(), None));
    assert_eq!(of("http://h/v1?a", Some("h"), Some(3128)), (text("http://h/v1?a"), "/v1".into(), text("a")));
    assert_eq!(of("/v1", Some("h"), Some(11434)).0, None);
}

#[test]
fn counts_that_an_endpoint_makes_up_upset_nothing() {
    let mut record = record();
    record.response.usage = Some(json!({"input_tokens": u64::MAX, "output_tokens": 1}));
    assert_eq!(ocsf::event(&record)["message_context"]["total_tokens"], u64::MAX);
}

#[test]
fn lines_are_told_from_those_of_others() {
    for (name, format) in Format::ALL.into_iter().filter(|(_, format)| *format != Format::Har) {
        assert!(is_line(line(format, &record()).as_bytes()), "{name}");
        assert!(is_line(line(format, &Record::new(ExchangeId::new())).as_bytes()), "{name}");
    }
    for other in ["", "notes", "{}", "[]", "7", r#"{"level":"info","time":1,"note":"x"}"#, "CEF:0|Other|Other|1|a|b|2|"]
    {
        assert!(!is_line(other.as_bytes()), "{other}");
    }
}
