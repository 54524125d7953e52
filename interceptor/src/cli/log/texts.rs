//! The texts of a record, as a reader understands them: the strings of a JSON body, decoded, wherever they stand.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::audit::{Encoding, MaskedRequest, Record};

/// Bytes of a path that are shown.
const LONGEST_PATH: usize = 120;

/// Where a text stands in a body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'p> {
    /// `path`, `head`, `body`.
    Named(&'static str),
    /// In a document: the names and indices that lead there.
    In(&'p [Step]),
    /// The name of a member, the last of these.
    Member(&'p [Step]),
}

/// A step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Name(String),
    Index(usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = match self {
            Self::Named(name) => return f.write_str(name),
            Self::In(steps) | Self::Member(steps) => steps,
        };
        let mut path = String::new();
        for step in *steps {
            match step {
                Step::Name(name) if path.is_empty() => path.push_str(name),
                Step::Name(name) => path.extend([".", name]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
            if path.len() > LONGEST_PATH {
                path.truncate(path.floor_char_boundary(LONGEST_PATH));
                path.push('…');
                break;
            }
        }
        f.write_str(&path)
    }
}

/// Calls `look` with the path, the head, and each string and member name of the body as it left, decoded, in the order of the
/// document. With the body as it is written where none of them is what is looked for, which `look` tells, or where it is
/// no JSON.
pub(crate) fn each(record: &Record, mut look: impl FnMut(Place<'_>, &str) -> bool) {
    if let Some(path) = &record.request.path {
        look(Place::Named("path"), path);
    }
    let Some(masked) = &record.request.masked else { return };
    look(Place::Named("head"), masked.head.trim_end());
    let body = body(masked);
    let mut found = false;
    let mut steps = Vec::new();
    let mut note = |place: Place<'_>, text: &str| found |= look(place, text);
    let mut document = serde_json::Deserializer::from_str(&body);
    let walked = Walk { steps: &mut steps, look: &mut note }.deserialize(&mut document).and_then(|()| document.end());
    if !found || walked.is_err() {
        look(Place::Named("body"), &body);
    }
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

/// Walks through a document and keeps nothing of it.
struct Walk<'w> {
    steps: &'w mut Vec<Step>,
    look: &'w mut dyn FnMut(Place<'_>, &str),
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        (self.look)(Place::In(self.steps), text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.steps.push(Step::Index(index));
            let next = elements.next_element_seed(Walk { steps: self.steps, look: self.look })?;
            self.steps.pop();
            if next.is_none() {
                return Ok(());
            }
        }
        Err(A::Error::custom("more elements than there are numbers"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            self.steps.push(Step::Name(name));
            if let Some(Step::Name(name)) = self.steps.last() {
                (self.look)(Place::Member(self.steps), name);
            }
            members.next_value_seed(Walk { steps: self.steps, look: self.look })?;
            self.steps.pop();
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::ExchangeId;

    fn of(body: &[u8], needle: &str) -> Vec<(String, String)> {
        let mut record = Record::new(ExchangeId::new());
        record.request.path = Some("/v1/chat".to_owned());
        record.request.masked = Some(MaskedRequest::new(b"", body.to_vec()));
        let mut found = Vec::new();
        each(&record, |place, text| {
            let hit = text.contains(needle);
            if hit {
                found.push((place.to_string(), text.to_owned()));
            }
            hit
        });
        found
    }

    #[test]
    fn strings_and_names_are_decoded_also_those_of_one_name() {
        let chat = br#"{"messages":[{"content":"Z\u00fcrich\nnow"},{"content":null}],"Z\u00fcrich":"Z","a":1,"a":"b"}"#;
        let expected = [("messages[0].content", "Zürich\nnow"), ("Zürich", "Zürich")];
        let owned = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
        };
        assert_eq!(of(chat, "Zürich"), owned(&expected));
        assert_eq!(of(br#"{"content":"project atlas","content":"x"}"#, "atlas")[0].1, "project atlas");
        assert_eq!(of(b"{}", "chat"), owned(&[("path", "/v1/chat")]));
    }

    #[test]
    fn what_is_no_string_is_found_as_it_is_written() {
        for (body, needle) in [
            (&br#"{"n":12345678901234567890123}"#[..], "12345678901234567890123"),
            (br#"{"n":1.10}"#, "1.10"),
            (b"{broken", "broken"),
            (b"\xffbytes", "bytes"),
            (b"{\"a\":\"one\"}\n{\"a\":\"two\"}", "two"),
        ] {
            assert_eq!(of(body, needle).last().map(|(place, _)| &**place), Some("body"), "{needle}");
        }
    }

    #[test]
    fn a_path_is_short_however_long_names_are() {
        let body = format!(r#"{{"{}":["x"]}}"#, "n".repeat(5000));
        let found = of(body.as_bytes(), "x");
        assert!(found[0].0.len() < 130 && found[0].0.ends_with('…'), "{found:?}");
    }
}
