//! A body taken apart: the text in it, and an account of the rest.

use std::fmt;
use std::ops::Range;

use crate::flow::{Access, Field};

/// A request body whose text has been located. What is in neither a field nor an opaque part is structure: brackets,
/// literals, short numbers and keys that are words of the provider's schema. Data that is short or not what it claims to
/// be is in both.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    /// Every text, in the order of the body.
    pub fields: Vec<Field<'a>>,
    /// The coverage: an entry for each group of scanned fields (`messages[3]`, `system`) and each opaque part.
    pub parts: Vec<Part>,
    /// Raw bytes that the fields cover.
    pub scanned_bytes: usize,
    /// Raw bytes that nobody read as text.
    pub opaque_bytes: usize,
    /// Decoded bytes in the fields.
    pub text_bytes: usize,
    /// The model asked for, as the client wrote it: a value like any other, to be masked before it is stored.
    pub model: Option<String>,
    /// Whether the client asked for a streamed response.
    pub stream: bool,
    /// The number of messages.
    pub messages: usize,
}

/// What became of one stretch of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where: `messages[0].content[1].image_url.url`. Never contains values.
    pub path: String,
    /// Raw bytes.
    pub bytes: usize,
    /// Read as text, or not.
    pub status: Status,
    /// What kind of content it is: policy decides by kind.
    pub kind: Kind,
    /// Whether it may be changed.
    pub access: Access,
    /// Why it was not read as text.
    pub reason: Option<Reason>,
}

/// Whether a part was read as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All of it is in fields.
    Scanned,
    /// None of it is, or as what it is not: the base64 of a small picture.
    Opaque,
}

/// What a part contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Text in fields.
    Text,
    /// An image or a recording.
    Media,
    /// A file, or anything else that may hold text in a form that was not read.
    Document,
    /// Made, signed or encrypted by the provider and sent back to it.
    Signed,
}

/// Why a part is opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Base64 of an image.
    Image,
    /// Base64 of a recording.
    Audio,
    /// Base64 of a file.
    File,
    /// Text as token numbers.
    TokenIds,
    /// JSON in strings in strings, beyond the depth or size that is followed. Its outermost layer is a field.
    NestedTooDeep,
    /// Protected by the provider's signature.
    Signed,
}

impl Reason {
    /// The kind of a part that is opaque for this reason.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Image | Self::Audio => Kind::Media,
            Self::File | Self::TokenIds | Self::NestedTooDeep => Kind::Document,
            Self::Signed => Kind::Signed,
        }
    }

    /// The words in the record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Audio => "audio",
            Self::File => "file",
            Self::TokenIds => "token ids, no text",
            Self::NestedTooDeep => "nested too deep",
            Self::Signed => "signed by the provider",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scanned => "scanned",
            Self::Opaque => "opaque",
        })
    }
}

impl Part {
    pub(super) fn opaque(path: &str, raw: &Range<usize>, reason: Reason) -> Self {
        let kind = reason.kind();
        let access = if kind == Kind::Signed { Access::ReadOnly } else { Access::Editable };
        Self { path: path.to_owned(), bytes: raw.len(), status: Status::Opaque, kind, access, reason: Some(reason) }
    }
}

impl<'a> Document<'a> {
    /// Adds up what was found: neighbouring fields of one group become one part, before the opaque ones.
    pub(super) fn account(fields: Vec<Field<'a>>, opaque: Vec<Part>) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        let (mut scanned_bytes, mut text_bytes) = (0, 0);
        for field in &fields {
            let bytes = raw_len(field);
            scanned_bytes += bytes;
            text_bytes += field.text.len();
            let group = field.path.split_once('.').map_or(field.path.as_str(), |(group, _)| group);
            match parts.last_mut() {
                Some(part) if part.path == group && part.access == field.access => part.bytes += bytes,
                _ => parts.push(Part {
                    path: group.to_owned(),
                    bytes,
                    status: Status::Scanned,
                    kind: Kind::Text,
                    access: field.access,
                    reason: None,
                }),
            }
        }
        let opaque_bytes = opaque.iter().map(|part| part.bytes).sum();
        parts.extend(opaque);
        Self { fields, parts, scanned_bytes, opaque_bytes, text_bytes, model: None, stream: false, messages: 0 }
    }

    /// A request without a body.
    pub(super) fn empty() -> Self {
        Self::account(Vec::new(), Vec::new())
    }
}

/// From the first to the last raw byte of a field.
fn raw_len(field: &Field<'_>) -> usize {
    match field.map.runs() {
        [first, .., last] => last.raw + last.raw_len - first.raw,
        [only] => only.raw_len,
        [] => 0,
    }
}
