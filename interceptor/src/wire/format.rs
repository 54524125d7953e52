//! How a request's body is written, by its Content-Type.

use std::ops::Range;

use super::{Error, Operation};

/// A format that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON document (RFC 8259).
    Json,
    /// JSON Lines: <https://jsonlines.org>.
    Lines,
    /// A form with files (RFC 7578).
    Form {
        /// Between its parts.
        boundary: String,
    },
}

/// The longest boundary (RFC 2046, 5.1.1).
const MAX_BOUNDARY: usize = 70;

impl Format {
    /// What `operation` is asked for in. JSON need not be called by its name: most endpoints do not look.
    pub(super) fn of(operation: Operation, content_type: Option<&str>) -> Result<Self, Error> {
        let (essence, parameters) = content_type.map_or(("", ""), split);
        let is_upload = matches!(
            operation,
            Operation::Files | Operation::Transcriptions | Operation::Translations | Operation::ImageEdits
        );
        match is_upload {
            true if essence.eq_ignore_ascii_case("multipart/form-data") => {
                Ok(Self::Form { boundary: boundary(parameters)? })
            }
            // Its images may be links, which is then asked for in JSON.
            true if operation == Operation::ImageEdits && is_json(essence) => Ok(Self::Json),
            true => Err(Error::NotForm),
            false if is_lines(essence) => Ok(Self::Lines),
            false => Ok(Self::Json),
        }
    }
}

/// The boundary among a media type's parameters.
fn boundary(parameters: &str) -> Result<String, Error> {
    let read = self::parameters(parameters).map_err(|_| Error::Boundary)?;
    let mut found =
        read.into_iter().filter(|parameter| parameters[parameter.name.clone()].eq_ignore_ascii_case("boundary"));
    let (Some(parameter), None) = (found.next(), found.next()) else { return Err(Error::Boundary) };
    let boundary = &parameters[parameter.value];
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    let valid = (1..=MAX_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(fits) && !boundary.ends_with(' ');
    if valid { Ok(boundary.to_owned()) } else { Err(Error::Boundary) }
}

/// A media type without its parameters, and these with their first semicolon.
pub(super) fn split(content_type: &str) -> (&str, &str) {
    let end = content_type.find(';').unwrap_or(content_type.len());
    (content_type[..end].trim(), &content_type[end..])
}

/// Whether a media type is JSON (RFC 8259, 11) or built on it (RFC 6839, 3.1).
pub(super) fn is_json(essence: &str) -> bool {
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// Whether a media type is JSON Lines, by any of the names in use.
pub(super) fn is_lines(essence: &str) -> bool {
    let essence = essence.to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/").or_else(|| essence.strip_prefix("text/")).unwrap_or_default();
    let subtype = subtype.strip_prefix("x-").unwrap_or(subtype);
    matches!(subtype, "jsonl" | "jsonlines" | "json-lines" | "ndjson" | "ldjson")
}

/// One `name=value`, as places in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: Range<usize>,
    /// Without quotes.
    pub(super) value: Range<usize>,
}

/// Reads `*( ";" name "=" ( token / quoted-string ) )` (RFC 2045, 5.1; RFC 9110, 5.6.6), with space around the
/// semicolons. A backslash before a quote is refused: by some it is read as an escape, by others as a character. Where
/// it cannot be read any further, that offset is the error.
pub(super) fn parameters(text: &str) -> Result<Vec<Parameter>, usize> {
    let bytes = text.as_bytes();
    let skip_space = |at: usize| at + bytes[at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let token = |at: usize| at + bytes[at..].iter().take_while(|&&b| is_token(b)).count();
    let (mut found, mut at) = (Vec::new(), skip_space(0));
    while at < bytes.len() {
        if bytes[at] != b';' {
            return Err(at);
        }
        let start = skip_space(at + 1);
        let equals = token(start);
        if equals == start || bytes.get(equals) != Some(&b'=') {
            return Err(equals);
        }
        let first = equals + 1;
        let (value, end) = if bytes.get(first) == Some(&b'"') {
            let quote = bytes[first + 1..].iter().position(|&b| b == b'"').ok_or(first)? + first + 1;
            if bytes[quote - 1] == b'\\' {
                return Err(quote - 1);
            }
            (first + 1..quote, quote + 1)
        } else {
            (first..token(first), token(first))
        };
        if end == first {
            return Err(first);
        }
        found.push(Parameter { name: start..equals, value });
        at = skip_space(end);
    }
    Ok(found)
}

/// RFC 9110, 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(content_type: &str) -> Result<String, Error> {
        match Format::of(Operation::Files, Some(content_type))? {
            Format::Form { boundary } => Ok(boundary),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_boundary_is_read_with_and_without_quotes() {
        for (content_type, boundary) in [
            ("multipart/form-data; boundary=abc", "abc"),
            ("Multipart/Form-Data;Boundary=\"a b'()+_,-./:=?c\"", "a b'()+_,-./:=?c"),
            ("multipart/form-data ; charset=utf-8 ; boundary=----WebKitFormBoundaryA1 ", "----WebKitFormBoundaryA1"),
        ] {
            assert_eq!(form(content_type).as_deref(), Ok(boundary), "{content_type}");
        }
        assert_eq!(form(&format!("multipart/form-data; boundary={}", "b".repeat(70))).unwrap().len(), 70);
    }

    #[test]
    fn a_boundary_that_readers_take_differently_is_refused() {
        for parameters in [
            "",
            ";",
            "; boundary",
            "; boundary=",
            "; boundary=\"\"",
            "; boundary=\"a",
            "; boundary=\"a\\\"b\"",
            "; boundary=\"a \"",
            "; boundary=a; boundary=b",
            "; boundary=a; BOUNDARY=a",
            "; boundary=a b",
            "; boundary =a",
            "; boundary= a",
            "; boundary=a;",
            "; boundary=\"a\"b",
            "; boundary*=utf-8''a",
            "; boundary=\"a\u{e9}\"",
        ] {
            assert_eq!(form(&format!("multipart/form-data{parameters}")), Err(Error::Boundary), "{parameters}");
        }
        assert_eq!(form(&format!("multipart/form-data; boundary={}", "b".repeat(71))), Err(Error::Boundary));
    }

    #[test]
    fn an_operation_has_its_formats() {
        assert_eq!(form("application/json"), Err(Error::NotForm));
        assert_eq!(Format::of(Operation::Files, None), Err(Error::NotForm));
        assert_eq!(Format::of(Operation::ImageEdits, Some("application/json; charset=utf-8")), Ok(Format::Json));
        for lines in ["application/jsonl", "application/x-ndjson", "Application/X-JSONLines; charset=utf-8"] {
            assert_eq!(Format::of(Operation::Messages, Some(lines)), Ok(Format::Lines), "{lines}");
        }
        for json in [None, Some("application/json"), Some("application/x-www-form-urlencoded"), Some("")] {
            assert_eq!(Format::of(Operation::Messages, json), Ok(Format::Json), "{json:?}");
        }
    }
}
