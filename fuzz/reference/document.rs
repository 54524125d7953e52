//! A JSON document as serde_json decodes it, and the documents in its strings; values are replaced in the decoded texts.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A decoded value. Members are in the order of the document, also those of one name.
#[derive(Debug)]
pub enum Node {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    String(String),
    /// A string that is a document with texts of its own.
    Nested(Box<Node>),
    /// A number, `true`, `false` or `null`, as it is written.
    Plain(String),
}

/// A text that was located, and what replaces parts of it, in order.
#[derive(Debug)]
pub struct Text {
    pub text: String,
    pub is_number: bool,
    pub edits: Vec<(Range<usize>, String)>,
}

/// The members of an object, undecoded.
struct Members<'d>(Vec<(String, &'d RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

impl Node {
    /// Decodes `document`; none where serde_json does not: of a half of a surrogate pair it makes no text.
    pub fn read(document: &str) -> Option<Self> {
        Self::of(serde_json::from_str::<&RawValue>(document).ok()?.get())
    }

    fn of(value: &str) -> Option<Self> {
        Some(match value.as_bytes()[0] {
            b'{' => {
                let members = serde_json::from_str::<Members<'_>>(value).ok()?.0.into_iter();
                Self::Object(members.map(|(key, value)| Some((key, Self::of(value.get())?))).collect::<Option<_>>()?)
            }
            b'[' => {
                let elements = serde_json::from_str::<Vec<&RawValue>>(value).ok()?.into_iter();
                Self::Array(elements.map(|value| Self::of(value.get())).collect::<Option<_>>()?)
            }
            b'"' => Self::String(serde_json::from_str(value).ok()?),
            _ => Self::Plain(value.to_owned()),
        })
    }

    /// How many of the strings have this text.
    pub fn count(&self, text: &str) -> usize {
        match self {
            Self::Object(members) => {
                members.iter().map(|(key, value)| usize::from(key == text) + value.count(text)).sum()
            }
            Self::Array(elements) => elements.iter().map(|value| value.count(text)).sum(),
            Self::String(own) => usize::from(own == text),
            Self::Nested(inner) => inner.count(text),
            Self::Plain(_) => 0,
        }
    }

    /// Makes the edits of `texts`, which are in the order of the document, and takes those that it has.
    pub fn replace(&mut self, texts: &mut VecDeque<Text>) {
        match self {
            Self::Object(members) => {
                for (key, value) in members {
                    edit(key, false, texts);
                    value.replace(texts);
                }
            }
            Self::Array(elements) => elements.iter_mut().for_each(|value| value.replace(texts)),
            Self::String(text) => {
                if !edit(text, false, texts)
                    && let Some(inner) = document_in(text, texts)
                {
                    *self = Self::Nested(Box::new(inner));
                }
            }
            Self::Plain(literal) => {
                let before = literal.clone();
                // What replaces a part of a number is a string in its place.
                if edit(literal, true, texts) && *literal != before {
                    *self = Self::String(literal.clone());
                }
            }
            Self::Nested(inner) => inner.replace(texts),
        }
    }

    /// Whether `document` decodes to this, as far as it has been decoded here.
    pub fn is(&self, document: &str) -> bool {
        serde_json::from_str::<&RawValue>(document).is_ok_and(|value| self.is_of(value.get()))
    }

    fn is_of(&self, value: &str) -> bool {
        match self {
            Self::Object(members) => serde_json::from_str::<Members<'_>>(value).is_ok_and(|Members(others)| {
                let same = |((key, value), (other, raw)): (&(String, Self), &(String, &RawValue))| {
                    key == other && value.is_of(raw.get())
                };
                members.len() == others.len() && members.iter().zip(&others).all(same)
            }),
            Self::Array(elements) => serde_json::from_str::<Vec<&RawValue>>(value).is_ok_and(|others| {
                let same = |(value, raw): (&Self, &&RawValue)| value.is_of(raw.get());
                elements.len() == others.len() && elements.iter().zip(&others).all(same)
            }),
            Self::String(text) => serde_json::from_str::<String>(value).is_ok_and(|other| *text == other),
            Self::Nested(inner) => serde_json::from_str::<String>(value).is_ok_and(|text| inner.is(&text)),
            Self::Plain(literal) => literal == value,
        }
    }
}

/// Makes the edits of the next of `texts` if it is this one; says whether it is.
fn edit(own: &mut String, is_number: bool, texts: &mut VecDeque<Text>) -> bool {
    let Some(next) = texts.pop_front_if(|next| next.is_number == is_number && next.text == *own) else { return false };
    if is_number && let Some((_, token)) = next.edits.first() {
        own.clone_from(token);
        return true;
    }
    for (span, token) in next.edits.into_iter().rev() {
        own.replace_range(span, &token);
    }
    true
}

/// The document in a string, if the next of `texts` is one of it.
fn document_in(text: &str, texts: &mut VecDeque<Text>) -> Option<Node> {
    let mut inner = Node::read(text).filter(|inner| matches!(inner, Node::Object(_) | Node::Array(_)))?;
    let before = texts.len();
    inner.replace(texts);
    (texts.len() < before).then_some(inner)
}
