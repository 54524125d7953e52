//! Request bodies, located, scanned and patched: what two rooms do together, so it is written here.
#![no_main]

#[path = "../reference/document.rs"]
mod document;

use std::cell::RefCell;

use bytes::Bytes;
use interceptor::flow::{Access, Action, ExchangeId, Field, Form, Located};
use interceptor::mask::{Engine, Error, Orders, Scanner, TokenKey, rewrite};
use interceptor::wire::{Operation, locate};

use self::document::{Node, Text};

thread_local! {
    static SCANNER: RefCell<Scanner> = RefCell::new(
        Engine::builtin().and_then(|engine| engine.scanner()).expect("the rules that come along compile"),
    );
}

/// What became of a body.
struct Outcome {
    masked: Bytes,
    /// The pieces of the body that are to stay.
    kept: Vec<Vec<u8>>,
    /// The texts in it, with what is to replace their values.
    texts: Vec<Text>,
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for operation in [Operation::ChatCompletions, Operation::Messages] {
        let Some(Outcome { masked, kept, texts }) = mask(operation, data) else { continue };
        compare(data, &masked, texts);
        let mut tokens = Vec::new();
        let mut at = 0;
        for (piece, i) in kept.iter().zip(0..) {
            let found = match i {
                0 => masked.starts_with(piece).then_some(0),
                _ if i == kept.len() - 1 => masked[at..].ends_with(piece).then(|| masked.len() - piece.len() - at),
                _ => find(&masked[at..], piece),
            };
            let found = found.unwrap_or_else(|| panic!("{:?} is not in {:?}", lossy(piece), lossy(&masked)));
            tokens.push(at..at + found);
            at += found + piece.len();
        }
        assert!(at == masked.len(), "{:?}", lossy(&masked));
        // A token is shorter or longer than its value, so words may be near then that were not. Tokens stay.
        for again in spans(operation, &masked).unwrap_or_else(|| panic!("{:?} is no body", lossy(&masked))) {
            let touches = tokens.iter().any(|token| token.start < again.end && again.start < token.end);
            assert!(!touches, "{:?} is found again in {:?}", lossy(&masked[again]), lossy(&masked));
        }
    }
});

/// Where something is found in a body.
fn spans(operation: Operation, data: &[u8]) -> Option<Vec<std::ops::Range<usize>>> {
    let document = locate(operation, data).ok()?;
    let found = SCANNER.with_borrow_mut(|scanner| scanner.scan_fields(&document.fields)).unwrap_or_default();
    let masked = found.iter().filter(|located| !located.finding.rule.report_only);
    Some(masked.map(|located| raw(&document.fields[located.field], &located.finding.span)).collect())
}

/// The bytes of the body that are replaced: of a number all.
fn raw(field: &Field<'_>, span: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    match field.form {
        Form::String { .. } => field.map.to_raw(span),
        Form::Number { .. } => field.map.to_raw(&(0..field.text.len())),
    }
}

/// What is masked is, when it is decoded, what serde_json decodes with the values replaced in its strings.
fn compare(data: &[u8], masked: &[u8], texts: Vec<Text>) {
    let Some(mut expected) = std::str::from_utf8(data).ok().and_then(Node::read) else { return };
    // Of two strings of one text, of which one is not read, nobody knows here which that is.
    let is_told = |text: &Text| expected.count(&text.text) <= texts.iter().filter(|one| one.text == text.text).count();
    if !texts.iter().filter(|text| !text.edits.is_empty() && !text.is_number).all(is_told) {
        return;
    }
    let mut rest = texts.into();
    expected.replace(&mut rest);
    assert!(rest.is_empty(), "{rest:?} is not in {:?}", lossy(data));
    let masked = lossy(masked);
    assert!(expected.is(&masked), "{:?}: expected {expected:?}, got {masked:?}", lossy(data));
}

/// The body with all that is found replaced; none when it is refused.
fn mask(operation: Operation, data: &[u8]) -> Option<Outcome> {
    let document = locate(operation, data).ok()?;
    let body = Bytes::copy_from_slice(data);
    SCANNER.with_borrow_mut(|scanner| {
        let mut found = scanner.scan_fields(&document.fields).ok()?;
        found.retain(|located| {
            !located.finding.rule.report_only && document.fields[located.field].access == Access::Editable
        });
        let mut spans: Vec<_> =
            found.iter().map(|located| raw(&document.fields[located.field], &located.finding.span)).collect();
        spans.sort_by_key(|span| span.start);
        let (mut kept, mut at) = (Vec::new(), 0);
        for span in spans {
            if span.start >= at {
                kept.push(data[at..span.start].to_vec());
            }
            at = at.max(span.end);
        }
        kept.push(data[at..].to_vec());
        let actions = vec![Action::Mask; found.len()];
        let key = TokenKey::from_bytes([7; 32]);
        let texts = texts(&document.fields, &found, &key);
        let orders = Orders { actions: &actions, restore: &[] };
        match rewrite(ExchangeId::new(), body, &document.fields, &found, orders, &key, scanner) {
            Ok(masked) => Some(Outcome { masked: masked.body().clone(), kept, texts }),
            Err(error @ Error::Misplaced { .. }) => panic!("{error}"),
            Err(_) => None,
        }
    })
}

/// The texts of the fields, each with the tokens for what was found in it.
fn texts(fields: &[Field<'_>], found: &[Located], key: &TokenKey) -> Vec<Text> {
    let edits = |at| {
        let own = found.iter().filter(move |located| located.field == at).map(|located| &located.finding);
        move |text: &str| own.map(|f| (f.span.clone(), key.token(&f.rule, &text[f.span.clone()]))).collect()
    };
    let text = |(at, field): (usize, &Field<'_>)| Text {
        text: field.text.to_string(),
        is_number: matches!(field.form, Form::Number { .. }),
        edits: edits(at)(&field.text),
    };
    fields.iter().enumerate().map(text).collect()
}

fn find(text: &[u8], piece: &[u8]) -> Option<usize> {
    if piece.is_empty() { Some(0) } else { text.windows(piece.len()).position(|window| window == piece) }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
