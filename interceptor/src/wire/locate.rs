//! Finds all text of a request body, with the way back to its raw bytes.

use super::document::Document;
use super::format::Format;
use super::json::Text;
use super::unescape::unescape;
use super::walk::Walk;
use super::{Error, Operation, lines, upload};
use crate::flow::{Field, Form};

/// Locates every text in the JSON `body` of a request for `operation`: string values, keys that are no words of the
/// schema, and numbers of nine or more digits; also those in JSON within strings, such as tool arguments.
///
/// # Errors
/// When the body is not strict JSON in UTF-8, has no object at its root or passes a limit: what cannot be read
/// cannot be masked. [`Operation::Read`] must come without a body, and [`Operation::Unknown`] cannot be read at all.
pub fn locate(operation: Operation, body: &[u8]) -> Result<Document<'_>, Error> {
    locate_as(operation, None, body)
}

/// Locates every text in the `body` of a request for `operation` that is written as its Content-Type says: JSON, JSON
/// Lines, or a form with files.
///
/// # Errors
/// Those of [`locate()`]; and when the operation is not asked for in this format.
pub fn locate_as<'a>(operation: Operation, content_type: Option<&str>, body: &'a [u8]) -> Result<Document<'a>, Error> {
    match operation {
        Operation::Unknown => return Err(Error::UnknownOperation),
        Operation::Read if body.is_empty() => return Ok(Document::empty()),
        Operation::Read => return Err(Error::UnexpectedBody),
        Operation::Message => return locate_message(body),
        _ => {}
    }
    match Format::of(operation, content_type)? {
        Format::Json => object(operation, body),
        Format::Lines => lines::locate(operation, body),
        Format::Form { boundary } => upload::locate(operation, &boundary, body),
    }
}

/// Locates every text in a message of a WebSocket: if it is a JSON document, as in any other; if not, it is one text.
///
/// # Errors
/// When the message is not UTF-8 or passes a limit.
pub fn locate_message(message: &[u8]) -> Result<Document<'_>, Error> {
    let text = utf8(message, 0)?;
    let mut walk = Walk::new(Operation::Message);
    if !walk.attempt(|walk| walk.json(text, 0))? {
        walk.path.push_word("message");
        walk.text(text, 0)?;
    }
    Ok(walk.finish())
}

fn object(operation: Operation, body: &[u8]) -> Result<Document<'_>, Error> {
    let body = utf8(body, 0)?;
    let root = body.trim_start_matches([' ', '\t', '\n', '\r']);
    if !root.starts_with('{') {
        return Err(Error::Malformed { offset: body.len() - root.len(), expected: "an object" });
    }
    let mut walk = Walk::new(operation);
    walk.json(body, 0)?;
    Ok(walk.finish())
}

/// The characters of a piece of the body that begins at `base`.
pub(super) fn utf8(piece: &[u8], base: usize) -> Result<&str, Error> {
    std::str::from_utf8(piece).map_err(|error| Error::NotUtf8 { offset: base + error.valid_up_to() })
}

/// Fuzz entry: agrees with serde_json on what is JSON, and every map leads back to raw bytes that decode to the text.
#[doc(hidden)]
pub fn fuzz_locate(data: &[u8]) {
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    for operation in [Operation::ChatCompletions, Operation::Messages] {
        match locate(operation, data) {
            Ok(document) => {
                assert!(is_json(std::str::from_utf8(data).expect("checked")) && document.scanned_bytes <= data.len());
                document.fields.iter().for_each(|field| check_map(data, field));
            }
            Err(Error::Malformed { expected, .. }) if expected != "an object" => {
                assert!(!is_json(std::str::from_utf8(data).expect("checked before the tokens")));
            }
            Err(_) => {}
        }
    }
}

/// Decodes the raw bytes of a field once more, layer by layer.
pub(super) fn check_map(body: &[u8], field: &Field<'_>) {
    let raw = field.map.to_raw(&(0..field.text.len()));
    let layers = match field.form {
        Form::String { depth } => depth + 1,
        Form::Number { depth } => depth,
    };
    let mut layer = String::from_utf8(body[raw].to_vec()).expect("spans end between characters");
    for _ in 0..layers {
        let text = Text { inside: 0..layer.len(), escaped: layer.contains('\\'), runs: 0 };
        layer = unescape(&layer, &text, usize::MAX).expect("no limit").0.into_owned();
    }
    assert_eq!(layer, field.text, "at {}", field.path);
}
