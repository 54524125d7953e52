//! The texts of a record, as a reader understands them: the strings of a JSON body, decoded.

use std::borrow::Cow;

use base64::Engine as _;
use serde_json::Value;

use crate::audit::{Encoding, MaskedRequest, Record};

/// A text of a request, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text<'r> {
    /// `path`, `body`, or of a JSON body where in it: `messages[0].content`.
    pub(crate) path: String,
    pub(crate) text: Cow<'r, str>,
}

/// The path and the body of the request as it left. A body that is no JSON is one text.
pub(crate) fn texts(record: &Record) -> Vec<Text<'_>> {
    let path = record.request.path.as_deref().map(|path| Text { path: "path".to_owned(), text: path.into() });
    let mut texts: Vec<Text<'_>> = path.into_iter().collect();
    let Some(body) = record.request.masked.as_ref().map(body) else { return texts };
    match serde_json::from_str(&body) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => collect(value, String::new(), &mut texts),
        _ if body.is_empty() => {}
        _ => texts.push(Text { path: "body".to_owned(), text: body }),
    }
    texts
}

fn body(masked: &MaskedRequest) -> Cow<'_, str> {
    let decoded = || base64::engine::general_purpose::STANDARD.decode(&masked.text).ok();
    match masked.encoding {
        Encoding::Base64 => {
            decoded().map_or(Cow::from(&masked.text), |bytes| String::from_utf8_lossy(&bytes).into_owned().into())
        }
        Encoding::Utf8 | Encoding::Sealed => (&masked.text).into(),
    }
}

fn collect(value: Value, path: String, texts: &mut Vec<Text<'_>>) {
    match value {
        Value::String(text) => texts.push(Text { path, text: text.into() }),
        Value::Array(values) => {
            for (value, at) in values.into_iter().zip(0..) {
                collect(value, format!("{path}[{at}]"), texts);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                collect(value, path, texts);
            }
        }
        Value::Number(number) => texts.push(Text { path, text: number.to_string().into() }),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::ExchangeId;

    fn of(body: &[u8]) -> Vec<(String, String)> {
        let mut record = Record::new(ExchangeId::new());
        record.request.path = Some("/v1/chat".to_owned());
        record.request.masked = Some(MaskedRequest::new(b"", body.to_vec()));
        texts(&record).into_iter().map(|text| (text.path, text.text.into_owned())).collect()
    }

    #[test]
    fn strings_are_decoded_and_other_bodies_are_one_text() {
        let chat = br#"{"messages":[{"content":"Z\u00fcrich\nnow"},{"content":7}]}"#;
        let expected = [("path", "/v1/chat"), ("messages[0].content", "Zürich\nnow"), ("messages[1].content", "7")];
        let owned = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
        };
        assert_eq!(of(chat), owned(&expected));
        assert_eq!(of(b"{broken"), owned(&[("path", "/v1/chat"), ("body", "{broken")]));
        assert_eq!(of(b"\xffbytes"), owned(&[("path", "/v1/chat"), ("body", "\u{fffd}bytes")]));
        assert_eq!(of(b""), owned(&[("path", "/v1/chat")]));
    }
}
