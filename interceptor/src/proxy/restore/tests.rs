use proptest::prelude::*;
use serde_json::Value;

use super::fuzz::{Shape, fuzz_restore, originals};
use super::{Restorable, Restoring};
use crate::audit;
use crate::http::{Limits, RequestHead, ResponseHead};
use crate::mask::Originals;
use crate::proxy::budget::{Budget, BudgetLimits};
use crate::upstream::Piece;
use crate::wire::{Operation, Restorer, Unrestored};

fn fed(restorer: &mut Restorer<Originals>, content: &str) -> String {
    let mut out = Vec::new();
    restorer.feed(content.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

fn finished(mut restorer: Restorer<Originals>) -> String {
    let mut out = Vec::new();
    restorer.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_token_in_pieces_becomes_its_value_in_the_first_event_and_leaves_the_others() {
    for shape in Shape::ALL {
        let mut restorer = shape.restorer("text/event-stream");
        let said = |piece: &str| shape.event(piece);
        assert_eq!(fed(&mut restorer, &said("mail ")), said("mail "));
        assert_eq!(fed(&mut restorer, &said("to [EMA")), "");
        assert_eq!(fed(&mut restorer, ": ping\n\n"), "", "what comes behind it waits too");
        assert_eq!(fed(&mut restorer, &said("IL_k7q")), "");
        let released = [&said("to jane@corp.example"), ": ping\n\n", &said(""), &said(", now")].concat();
        assert_eq!(fed(&mut restorer, &said("2m9xd], now")), released);
        assert_eq!(restorer.outcome().restored["EMAIL_ADDRESS"], 1);
        assert_eq!(finished(restorer), "");
    }
}

#[test]
fn nothing_is_held_where_no_token_may_be_in_progress() {
    let pieces = ["", "a", " [CARD_k7q2m9xd] [", "EMAIL_k8", "x]", " \\", "n [", "] \\u", "0041", "[EMAIL_k7q2m9xd]"];
    for shape in Shape::ALL {
        let mut restorer = shape.restorer("text/event-stream");
        let mut held = String::new();
        for piece in pieces {
            let event = shape.event(piece);
            let out = fed(&mut restorer, &event);
            let before = std::mem::take(&mut held);
            if piece.ends_with(['[', '\\']) || piece.ends_with("\\u") {
                assert_eq!(out, before, "{piece}");
                held = event;
            } else {
                assert_eq!(out, (before + &event).replace("[EMAIL_k7q2m9xd]", "jane@corp.example"), "{piece}");
            }
        }
        for between in
            ["event: ping\r\ndata: {\"type\": \"ping\"}\r\n\r\n", ": x\n\n", "data: [DONE]\n\n", "\n", "\r\r"]
        {
            assert_eq!(fed(&mut restorer, between), between);
        }
    }
}

#[test]
fn other_texts_of_the_answer_do_not_end_a_token() {
    let chunk = |choice: u8, piece: &str| {
        format!("data: {{\"choices\":[{{\"index\":{choice},\"delta\":{{\"content\":\"{piece}\"}}}}]}}\n\n")
    };
    let mut restorer = Shape::OpenAiText.restorer("text/event-stream");
    assert_eq!(fed(&mut restorer, &chunk(0, "[EMAIL_")), "");
    assert_eq!(fed(&mut restorer, &chunk(1, "k7q2m9xd] [email_")), "");
    let first = chunk(0, "jane@corp.example");
    assert_eq!(fed(&mut restorer, &chunk(0, "k7q2m9xd]!")), first, "the other choice's may still be coming");
    let rest = chunk(1, "k7q2m9xd] jane@corp.example") + &chunk(0, "!") + &chunk(1, "");
    assert_eq!(fed(&mut restorer, &chunk(1, "k7q2m9xd]")), rest);
}

#[test]
fn escapes_in_the_raw_bytes_are_cut_as_what_they_are() {
    let mut restorer = Shape::OpenAiText.restorer("text/event-stream");
    let chunk = |piece: &str| format!("data: {{ \"choices\" : [{{\"delta\":{{\"content\":\"{piece}\"}}}}] }}\r\n\r\n");
    assert_eq!(fed(&mut restorer, &chunk(r"\u00e9\/ \u005bEMAIL\u005f")), "");
    let released = chunk(r"\u00e9\/ jane@corp.example") + &chunk(r" \ud83d\ude00");
    assert_eq!(fed(&mut restorer, &chunk(r"k7q2m9x\u0064\u005d \ud83d\ude00")), released);
}

#[test]
fn at_the_end_and_at_the_bounds_what_is_held_goes_out_as_it_came() {
    let shape = Shape::AnthropicText;
    let begun = shape.event("[EMAIL_k7");
    let mut restorer = shape.restorer("text/event-stream");
    assert_eq!(fed(&mut restorer, &(begun.clone() + "data: {\"ty")), "");
    assert_eq!(finished(restorer), begun.clone() + "data: {\"ty");

    let mut restorer = shape.restorer("text/event-stream");
    assert_eq!(fed(&mut restorer, &begun), "");
    let (mut out, mut fed_in) = (String::new(), begun.clone());
    for _ in 0..1100 {
        fed_in.push_str(": ping\n\n");
        out.push_str(&fed(&mut restorer, ": ping\n\n"));
    }
    assert_eq!(out, fed_in);
    assert_eq!(restorer.outcome().unrestored, Some(Unrestored::Bounds));
    let rest = shape.event("q2m9xd] [EMAIL_k7q2m9xd]");
    assert_eq!(
        fed(&mut restorer, &rest),
        shape.event("q2m9xd] jane@corp.example"),
        "what comes after is restored again"
    );

    let mut restorer = shape.restorer("text/event-stream");
    assert_eq!(fed(&mut restorer, &begun), "");
    let long = format!(": {}", "x".repeat(2 << 20));
    assert_eq!(fed(&mut restorer, &long), begun + &long);
}

#[test]
fn a_document_is_patched_and_not_written_anew() {
    let document = r#"{ "choices":[{"message" : {"content":"\u00e9 [EMAIL_k7q2m9xd]\/","x":1.50e+1,"refusal":null,
        "reasoning_content":"[email_k7q2m9xd]", "tool_calls":[{"id":"[EMAIL_k7q2m9xd]","function":{"name":"f","arguments":
        "{\"k\":\"[SECRET_0123456g]\"}"}}]}, "index":0}] , "model":"[EMAIL_k7q2m9xd]"} "#;
    let mut restorer = Shape::OpenAiText.restorer("application/json");
    assert_eq!(fed(&mut restorer, document), "");
    let mut out = Vec::new();
    restorer.finish(&mut out);
    let out = String::from_utf8(out).unwrap();
    let value: Value = serde_json::from_str(&out).unwrap();
    let arguments = value.pointer("/choices/0/message/tool_calls/0/function/arguments").unwrap().as_str().unwrap();
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    assert_eq!(arguments["k"], "a\"b\\c\nd\u{1f600}\u{1}/é");
    let expected = document
        .replacen("[EMAIL_k7q2m9xd]", "jane@corp.example", 1)
        .replacen("[email_k7q2m9xd]", "jane@corp.example", 1)
        .replacen("[SECRET_0123456g]", r#"a\\\"b\\\\c\\nd😀\\u0001/é"#, 1);
    assert_eq!(out, expected);
    assert_eq!(restorer.outcome().restored.values().copied().collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn what_is_signed_stays() {
    let document = r#"{"content":[{"type":"thinking","thinking":"[EMAIL_k7q2m9xd]","signature":"x"},
        {"type":"tool_use","input":{"to":"[EMAIL_k7q2m9xd]","[EMAIL_k7q2m9xd]":"[SECRET_0123456g]"}}]}"#;
    let mut restorer = Shape::AnthropicText.restorer("application/json");
    assert_eq!(fed(&mut restorer, document), "");
    let value: Value = serde_json::from_str(&finished(restorer)).unwrap();
    assert_eq!(value["content"][0]["thinking"], "[EMAIL_k7q2m9xd]");
    let input = &value["content"][1]["input"];
    assert_eq!(input["to"], "jane@corp.example");
    assert_eq!(input["[EMAIL_k7q2m9xd]"], "a\"b\\c\nd\u{1f600}\u{1}/é", "keys stay");
}

#[test]
fn what_cannot_be_read_passes_and_says_why() {
    let new = |operation, kind| Restorer::new(originals(), operation, kind).err();
    assert_eq!(new(Operation::Unknown, Some("application/json")), Some(Unrestored::Format));
    assert_eq!(new(Operation::ChatCompletions, Some("text/html")), Some(Unrestored::Format));
    assert_eq!(new(Operation::ChatCompletions, None), Some(Unrestored::Format));
    let passes = |text: &str| {
        let mut restorer = Shape::OpenAiText.restorer("application/json");
        let mut out = Vec::new();
        text.as_bytes().chunks(1 << 20).for_each(|piece| restorer.feed(piece, &mut out));
        restorer.finish(&mut out);
        assert_eq!(out, text.as_bytes());
        restorer.outcome().unrestored
    };
    assert_eq!(passes("{\"choices\":["), Some(Unrestored::Malformed));
    assert_eq!(passes(&format!("\"{}\"", "x".repeat(4 << 20))), Some(Unrestored::TooLarge));
    assert_eq!(passes("{\"error\":{\"message\":\"[EMAIL_k7q2m9xd]\"}}"), None);
}

fn restorable() -> Restorable {
    Restorable::of(&originals(), Operation::ChatCompletions)
}

/// Begins with an answer that has these fields; what is left of them.
fn begun(method: &str, fields: &str, bytes: usize) -> (Restoring, String) {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    let mut head = ResponseHead::parse(head.as_bytes(), &Limits::default()).unwrap().unwrap().0;
    let limits = BudgetLimits {
        connections: 1,
        connections_per_user: 1,
        streams: 1,
        streams_per_user: 1,
        bytes,
        bytes_per_user: bytes,
    };
    let restoring = restorable().begin(method, &mut head, Budget::new(limits).reserve(1));
    (restoring, String::from_utf8(head.render()).unwrap())
}

fn described(restoring: &Restoring) -> (Option<u64>, Option<String>) {
    let mut response = audit::Response::default();
    restoring.describe(&mut response);
    (response.restored.map(|counts| counts.values().sum()), response.not_restored)
}

#[test]
fn a_request_with_tokens_asks_for_an_answer_that_can_be_read() {
    let head = b"POST /v1/x HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip, br\r\nX: y\r\n\r\n";
    let head = RequestHead::parse(head, &Limits::default()).unwrap().unwrap().0;
    let asking = String::from_utf8(restorable().asking(&head).unwrap().render()).unwrap();
    assert_eq!(asking, "POST /v1/x HTTP/1.1\r\nHost: a.example\r\nX: y\r\naccept-encoding: identity\r\n\r\n");
    assert!(Restorable::nothing().asking(&head).is_none());
    assert!(Restorable::of(&originals(), Operation::CountTokens).asking(&head).is_none());
    assert!(Restorable::of(&Originals::default(), Operation::ChatCompletions).asking(&head).is_none());
}

#[test]
fn an_answer_that_is_restored_loses_what_vouches_for_other_bytes() {
    let fields =
        "Content-Type: application/json\r\nContent-Length: 9\r\nETag: \"x\"\r\nDigest: y\r\nContent-MD5: z\r\n";
    let (mut restoring, head) = begun("POST", fields, 1 << 20);
    assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
    let piece = |content: &'static str, trailers: &'static str, last| Piece {
        raw: Some(content.into()),
        content: content.into(),
        trailers: trailers.into(),
        last,
    };
    assert!(restoring.pass(piece("{\"choices\":[{\"message\":", "", false)).is_none());
    let last = piece("{\"content\":\"[EMAIL_k7q2m9xd]\"}}]}", "Repr-Digest: x\r\nX-End: 1\r\n", true);
    let last = restoring.pass(last).unwrap();
    assert_eq!(last.content, "{\"choices\":[{\"message\":{\"content\":\"jane@corp.example\"}}]}");
    assert!(last.raw.is_none() && last.last && last.trailers == "X-End: 1\r\n", "{last:?}");
    assert_eq!(described(&restoring), (Some(1), None));
}

#[test]
fn an_answer_that_is_not_restored_is_passed_as_it_is() {
    for (method, fields, why) in [
        ("POST", "Content-Type: application/json\r\nContent-Encoding: gzip\r\nETag: x\r\n", Some("compressed")),
        ("POST", "Content-Type: text/plain\r\nContent-Length: 5\r\nETag: x\r\n", Some("format")),
        ("HEAD", "Content-Type: application/json\r\nContent-Length: 5\r\nETag: x\r\n", None),
    ] {
        let (mut restoring, head) = begun(method, fields, 1 << 20);
        assert_eq!(head, format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        let piece = Piece { raw: Some("x".into()), content: "x".into(), ..Piece::default() };
        assert!(restoring.pass(piece).unwrap().raw.is_some());
        let (restored, told) = described(&restoring);
        assert_eq!((restored, told.is_some()), (None, why.is_some()));
        assert!(why.is_none_or(|why| told.unwrap().contains(why)));
    }
    let (mut restoring, _) = begun("POST", "Content-Type: application/json\r\n", 10);
    let piece = |content: &'static str| Piece { content: content.into(), ..Piece::default() };
    assert!(restoring.pass(piece("{\"a\"")).is_none());
    assert_eq!(restoring.pass(piece(":1,")).unwrap().content, "{\"a\":1,", "there is no room for more");
    assert!(described(&restoring).1.is_some_and(|told| told.contains("limits.buffered_bytes")));
    let (mut restoring, _) = begun("POST", "Content-Type: text/event-stream\r\n", 10);
    assert!(restoring.pass(piece("data: {\"choices\":")).is_none());
    assert_eq!(restoring.cut_off().unwrap().content, "data: {\"choices\":", "it broke off");
}

proptest! {
    #[test]
    fn the_client_reads_the_same_however_the_answer_is_cut(
        parts in prop::collection::vec(
            prop_oneof![
                Just(r"\[EMAIL\_k7q2m9xd\]".to_owned()),
                Just("[SECRET_0123456g]".to_owned()),
                Just("[EMAIL_k7q2m9xd]".to_owned()),
                Just("[EMAIL_aaaaaaaa]".to_owned()),
                r"[a\[\]\\u05bE_é😀]{0,4}",
            ],
            0..5,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        step in 1_usize..40,
    ) {
        let characters: Vec<char> = parts.concat().chars().collect();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(characters.len() + 1)).collect();
        at.extend([0, characters.len()]);
        at.sort_unstable();
        let pieces: Vec<String> = at.windows(2).map(|cut| characters[cut[0]..cut[1]].iter().collect()).collect();
        for shape in Shape::ALL {
            let stream: String = pieces.iter().map(|piece| shape.event(piece)).collect();
            let out = shape.streamed(stream.as_bytes().chunks(step));
            let read = shape.pieces(&out);
            prop_assert_eq!(read.len(), pieces.len());
            prop_assert_eq!(read.concat(), shape.restored(&parts.concat()));
        }
    }

    #[test]
    fn arguments_stay_valid_json(before in "[a-z\"\\\\\né]{0,5}", after in "[a-z\"\\\\\n]{0,5}") {
        let text = format!("{before}[EMAIL_k7q2m9xd] [secret_0123456g]{after}");
        let arguments = serde_json::json!({"to": text}).to_string();
        let restored: Value = serde_json::from_str(&Shape::OpenAiArguments.restored(&arguments)).unwrap();
        let said = restored["to"].as_str().unwrap();
        // A backslash in front of a token may be the escape of its bracket.
        let expected = format!("{before}jane@corp.example a\"b\\c\nd\u{1f600}\u{1}/é{after}");
        prop_assert_eq!(said, expected);
    }

    #[test]
    fn any_bytes_pass(data in prop::collection::vec(any::<u8>(), 0..40)) {
        fuzz_restore(&data);
        for shape in Shape::ALL {
            let mut restorer = shape.restorer("text/event-stream");
            let mut out = Vec::new();
            data.chunks(3).for_each(|piece| restorer.feed(piece, &mut out));
            restorer.finish(&mut out);
            prop_assert_eq!(&out, &data);
        }
    }
}
