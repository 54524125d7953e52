//! Values written into JSON strings that stand in a document.

use std::ops::Range;

use zeroize::Zeroizing;

use super::Tokens;

/// Raw bytes of a string, and the token whose value comes in their place; none: nothing does.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) raw: Range<usize>,
    pub(super) token: Option<usize>,
    /// The string is itself the source of a document, and the value stands in a string of that.
    pub(super) is_json: bool,
}

/// Writes `raw` with `edits` made.
pub(super) fn patch<T: Tokens>(raw: &[u8], edits: &mut [Edit], tokens: &T, out: &mut Vec<u8>) {
    edits.sort_by_key(|edit| edit.raw.start);
    let mut from = 0;
    for edit in edits {
        out.extend_from_slice(&raw[from..edit.raw.start]);
        if let Some((_, value)) = edit.token.and_then(|token| tokens.get(token)) {
            let mut text = Zeroizing::new(escaped(value));
            if edit.is_json {
                text = Zeroizing::new(escaped(&text));
            }
            out.extend_from_slice(text.as_bytes());
        }
        from = edit.raw.end;
    }
    out.extend_from_slice(&raw[from..]);
}

/// A text as it stands in a JSON string (RFC 8259, section 7).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..'\u{20}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_escaped_is_read_back(text in any::<String>()) {
            let json = format!("\"{}\"", escaped(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
