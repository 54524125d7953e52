use proptest::prelude::*;

use super::super::document::{Kind, Status};
use super::super::locate_as;
use super::*;
use crate::flow::Field;

/// A form of these parts, each a header without the first `name=` and a content.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (header, content) in parts {
        body.extend_from_slice(b"--b\r\nContent-Disposition: form-data; name=");
        body.extend_from_slice(header.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    body
}

fn located(body: &[u8]) -> Document<'_> {
    locate_as(Operation::Files, Some("multipart/form-data; boundary=b"), body).unwrap()
}

/// The path and text of each field that is no header.
fn texts(document: &Document<'_>) -> Vec<(String, String)> {
    let content = document.fields.iter().filter(|field| !field.path.ends_with("header"));
    content.map(|field| (field.path.clone(), field.text.to_string())).collect()
}

/// What the only part of a form is taken for: whether it is read, and the kind of what is reported as unread.
fn taken(header: &str, content: &[u8]) -> (bool, Option<Kind>) {
    let body = form(&[(header, content)]);
    let document = located(&body);
    let opaque = document.parts.iter().find(|part| part.status == Status::Opaque).map(|part| part.kind);
    fuzz_multipart(&body);
    (!texts(&document).is_empty(), opaque)
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
const MP3: &[u8] = b"ID3\x04\0\0\0\0\0\x23\xff\xfb\x90";

#[test]
fn a_batch_is_read_line_by_line() {
    let lines = b"{\"custom_id\":\"1\",\"body\":{\"messages\":[{\"content\":\"my card is \\u0034111\"}]}}\n{\"a\":1}\n";
    let body = form(&[
        ("\"purpose\"", b"batch"),
        ("\"file\"; filename=\"b.jsonl\"\r\nContent-Type: application/octet-stream", lines),
    ]);
    let document = located(&body);
    let pair = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    assert_eq!(
        texts(&document),
        [
            pair("parts[0].purpose", "batch"),
            pair("parts[1].file.lines[0].custom_id", "1"),
            pair("parts[1].file.lines[0].body.messages[0].content", "my card is 4111"),
            pair("parts[1].file.lines[1].{key}", "a"),
        ]
    );
    let card = document.fields.iter().find(|field| field.text.contains("4111")).unwrap();
    assert_eq!(&body[card.map.to_raw(&(11..15))], b"\\u0034111");
    let groups: Vec<_> = document.parts.iter().map(|part| &part.path[..]).collect();
    assert_eq!(groups, ["parts[0]", "parts[1]"], "one entry for a part in the record, however many lines");
    fuzz_multipart(&body);
}

#[test]
fn names_of_files_are_text_too() {
    let body = form(&[("\"jane@corp.example\"; filename=\"a%40b%C3%A9.txt\"\r\nX-Secret: c", b"x")]);
    let document = located(&body);
    let header: Vec<_> = document.fields.iter().filter(|field| field.path == "parts[0].header").collect();
    let found: Vec<_> = header.iter().map(|field| field.text.as_ref()).collect();
    assert_eq!(
        found,
        ["form-data; name=\"jane@corp.example\"; filename=\"a%40b%C3%A9.txt\"", "X-Secret: c", "a@b\u{e9}.txt",]
    );
    let raw = |field: &Field<'_>, span| std::str::from_utf8(&body[field.map.to_raw(&span)]).unwrap().to_owned();
    assert_eq!(raw(header[2], 1..5), "%40b%C3%A9");
    assert_eq!(raw(header[0], 17..21), "jane");
    assert_eq!(document.fields.last().map(|field| &field.path[..]), Some("parts[0].*"), "never in a path");
    assert_eq!(document.fields.last().and_then(|field| field.name.as_deref()), Some("jane@corp.example"));
    fuzz_multipart(&body);
}

#[test]
fn a_form_says_which_model() {
    let body = form(&[
        ("model", b"whisper-1"),
        ("stream", b"true"),
        ("prompt", b"{not json"),
        ("\"timestamp_granularities[]\"", b"word"),
        ("file; filename=a.mp3\r\nContent-Type: audio/mpeg", MP3),
    ]);
    let content_type = Some("multipart/form-data; boundary=\"b\"");
    let document = locate_as(Operation::Transcriptions, content_type, &body).unwrap();
    assert_eq!((document.model.as_deref(), document.stream), (Some("whisper-1"), true));
    let paths: Vec<_> = texts(&document).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["parts[0].model", "parts[1].stream", "parts[2].prompt", "parts[3].timestamp_granularities[]"]);
    let opaque = document.parts.iter().find(|part| part.status == Status::Opaque).unwrap();
    assert_eq!((&opaque.path[..], opaque.kind, opaque.bytes), ("parts[4].file", Kind::Media, MP3.len()));
}

#[test]
fn a_part_is_what_its_bytes_are() {
    let text = b"my card is 4111 1111 1111 1111".as_slice();
    for (header, content, expected) in [
        ("a", text, (true, None)),
        ("a; filename=\"a.md\"", text, (true, None)),
        ("a; filename=\"a.bin\"\r\nContent-Type: application/octet-stream", text, (true, None)),
        ("a; filename=\"a.txt\"\r\nContent-Type: text/plain; charset=UTF-8", text, (true, None)),
        ("a; filename=\"a.xml\"\r\nContent-Type: application/atom+xml", text, (true, None)),
        ("a\r\nContent-Type: text/plain; charset=utf-16", text, (true, Some(Kind::Document))),
        ("a\r\nContent-Type: text/plain; charset=\"", text, (true, Some(Kind::Document))),
        ("a; filename=\"a.pdf\"\r\nContent-Type: application/pdf", text, (true, Some(Kind::Document))),
        ("a; filename=\"a.png\"\r\nContent-Type: image/png", text, (true, Some(Kind::Document))),
        ("a; filename=\"a.png\"\r\nContent-Type: image/png", PNG, (false, Some(Kind::Media))),
        ("a; filename=\"a\"", PNG, (false, Some(Kind::Media))),
        ("a; filename=\"a\"\r\nContent-Type: application/octet-stream", MP3, (false, Some(Kind::Media))),
        ("a; filename=\"a.mp4\"\r\nContent-Type: video/mp4", b"\0\0\0\x20ftypisom\xff", (false, Some(Kind::Media))),
        ("a\r\nContent-Type: application/pdf", PNG, (false, Some(Kind::Document))),
        ("a\r\nContent-Type: image/png", MP3, (false, Some(Kind::Document))),
        ("a\r\nContent-Type: text/plain", b"caf\xe9", (false, Some(Kind::Document))),
        ("a; filename=\"a.json\"", b"\xff\xfe{\0}\0", (false, Some(Kind::Document))),
        ("a", b"%PDF-1.7 (text)", (true, Some(Kind::Document))),
        ("a", b"a\0b", (true, Some(Kind::Document))),
        ("a", b"", (false, None)),
    ] {
        assert_eq!(taken(header, content), expected, "{header}");
    }
}

#[test]
fn documents_are_read_as_such_whatever_they_are_called() {
    let found = |header: &str, content: &str| -> Vec<String> {
        let body = form(&[(header, content.as_bytes())]);
        fuzz_multipart(&body);
        texts(&located(&body)).into_iter().map(|(_, text)| text).collect()
    };
    assert_eq!(found("metadata", r#"{"model":"\u0034"}"#), ["4"]);
    assert_eq!(found("a; filename=a.txt", r#"{"model":"\u0034"}"#), ["4"]);
    assert_eq!(found("a; filename=a.txt", "{\"model\":\"\\u0034\"}\n{\"model\":\"5\"}\n"), ["4", "5"]);
    assert_eq!(found("a; filename=a.txt", "{\"model\":\"\\u0034\"}\nand more"), ["{\"model\":\"\\u0034\"}\nand more"]);
    assert_eq!(found("a; filename=a.JSON", r#"["\u0034"]"#), ["4"]);
    assert_eq!(found("a\r\nContent-Type: application/x-ndjson", "\"4\"\n\"5\""), ["4", "5"]);
    assert_eq!(found("a\r\nContent-Type: application/vnd.x+json", r#""\u0034""#), ["4"]);
}

#[test]
fn what_is_called_json_must_be_json() {
    let fault = |header: &str, content: &str| {
        let body = form(&[(header, content.as_bytes())]);
        let start = body.windows(content.len()).rposition(|window| window == content.as_bytes()).unwrap();
        match locate_as(Operation::Files, Some("multipart/form-data; boundary=b"), &body) {
            Err(Error::Malformed { offset, .. }) => offset - start,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fault("a; filename=a.json", "{'a':1}"), 1);
    assert_eq!(fault("a; filename=a.jsonl", "{}\n{'a':1}"), 4);
    assert_eq!(fault("a\r\nContent-Type: application/json", "// no comment"), 0);
}

#[test]
fn an_upload_must_be_a_form() {
    let body = form(&[("a", b"x")]);
    for content_type in [None, Some("application/json"), Some("multipart/mixed; boundary=b")] {
        assert_eq!(locate_as(Operation::Files, content_type, &body).unwrap_err(), Error::NotForm);
    }
    let wrong = locate_as(Operation::Files, Some("multipart/form-data; boundary=c"), &body).unwrap_err();
    assert!(matches!(wrong, Error::Form { offset: 0, .. }));
    let edit = br#"{"images":[{"image_url":"https://a.example/jane"}],"prompt":"p"}"#;
    let document = locate_as(Operation::ImageEdits, Some("application/json"), edit).unwrap();
    assert_eq!(document.fields.len(), 2);
}

proptest! {
    #[test]
    fn no_content_upsets_the_form(
        header in "(file|a%4[01]?|\"é%C3%A9\")(; filename=\"?a\\.(txt|json|jsonl|png)\"?)?(\r\nContent-Type: (text/plain|application/json|image/png))?",
        content in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\":,a\n\r-b".to_vec())], 0..40),
    ) {
        fuzz_multipart(&form(&[(&header, &content)]));
    }

    #[test]
    fn one_wrong_byte_upsets_nothing(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = form(&[("purpose", b"batch"), ("file; filename=\"a%41.jsonl\"", b"{\"a\":\"b\\u0034\"}\n[]")]);
        let at = at.index(body.len());
        body[at] = byte;
        fuzz_multipart(&body);
        fuzz_multipart(&body[..at]);
    }
}
