//! Finds all text of a request body, with the way back to its raw bytes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::anthropic::{self, Settled};
use super::document::{Document, Part, Reason};
use super::json::{Text, Token, Tokenizer};
use super::openai;
use super::path::{ELEMENT, Path};
use super::schema::{Data, Facts, Held, Role, data_url, word};
use super::unescape::{compose, unescape};
use super::{Error, Operation};
use crate::flow::{Access, Field, Form, OffsetMap};

/// Fields in one document. A field costs far more memory than the two quotes that make one.
pub(super) const MAX_FIELDS: usize = 1 << 18;
/// Stretches in all offset maps of one document, which is twice the escapes.
pub(super) const MAX_RUNS: usize = 1 << 23;
/// Documents in strings in documents that are followed.
const MAX_NESTING: u8 = 4;
/// The longest string that is tried as a document of its own.
const MAX_NESTED_BYTES: usize = 8 << 20;
/// A number of fewer digits cannot be a card, an account or a phone number.
const MIN_NUMBER_DIGITS: usize = 9;
/// An array of at least so many integers may be a prompt as token ids.
const MIN_TOKEN_IDS: usize = 16;

/// Locates every text in the `body` of a request for `operation`: string values, keys that are no words of the schema,
/// and numbers of nine or more digits; also those in JSON within strings, such as tool arguments.
///
/// # Errors
/// When the body is not strict JSON in UTF-8, has no object at its root or passes a limit: what cannot be read
/// cannot be masked. [`Operation::Read`] must come without a body, and [`Operation::Unknown`] cannot be read at all.
pub fn locate(operation: Operation, body: &[u8]) -> Result<Document<'_>, Error> {
    match operation {
        Operation::Unknown => return Err(Error::UnknownOperation),
        Operation::Read if body.is_empty() => return Ok(Document::empty()),
        Operation::Read => return Err(Error::UnexpectedBody),
        Operation::ChatCompletions | Operation::Messages | Operation::CountTokens => {}
    }
    let body = std::str::from_utf8(body).map_err(|error| Error::NotUtf8 { offset: error.valid_up_to() })?;
    let root = body.trim_start_matches([' ', '\t', '\n', '\r']);
    if !root.starts_with('{') {
        return Err(Error::Malformed { offset: body.len() - root.len(), expected: "an object" });
    }
    let mut walk = Walk::new(operation, body);
    walk.document(&Source { text: body, map: None, depth: 0 })?;
    Ok(walk.finish())
}

/// A walk through one body and the documents in its strings.
struct Walk<'a> {
    operation: Operation,
    body: &'a str,
    path: Path,
    /// A field that turned out to be no text is taken out again.
    fields: Vec<Option<Field<'a>>>,
    opaque: Vec<Part>,
    runs: usize,
    model: Option<String>,
    stream: bool,
    messages: usize,
}

/// The text of a document, and where it stands in the body.
struct Source<'s> {
    text: &'s str,
    /// To the body; `None` for the body itself.
    map: Option<&'s OffsetMap>,
    depth: u8,
}

/// An open bracket.
enum Frame {
    Object { facts: Facts, held: Vec<HeldField> },
    Array { start: usize, elements: usize, integers: usize },
}

/// A string that awaits the end of its object.
struct HeldField {
    held: Held,
    fields: Range<usize>,
    raw: Range<usize>,
    data: Data,
}

impl Source<'_> {
    /// Leads a map into this document on to the body.
    fn to_body(&self, map: OffsetMap) -> OffsetMap {
        match self.map {
            Some(outer) => compose(&map, outer),
            None => map,
        }
    }
}

impl<'a> Walk<'a> {
    fn new(operation: Operation, body: &'a str) -> Self {
        Self {
            operation,
            body,
            path: Path::default(),
            fields: Vec::new(),
            opaque: Vec::new(),
            runs: 0,
            model: None,
            stream: false,
            messages: 0,
        }
    }

    fn finish(self) -> Document<'a> {
        let (model, stream, messages) = (self.model, self.stream, self.messages);
        let fields = self.fields.into_iter().flatten().collect();
        Document { model, stream, messages, ..Document::account(fields, self.opaque) }
    }

    /// Walks one document. Every value has a segment on the path, which goes when the value is complete: its key's,
    /// pushed with the key, or its index, pushed here. The root's is the caller's.
    fn document(&mut self, source: &Source<'_>) -> Result<(), Error> {
        let mut tokens = Tokenizer::new(source.text);
        let mut frames: Vec<Frame> = Vec::new();
        while let Some(token) = tokens.next()? {
            let is_end = matches!(token, Token::ObjectEnd | Token::ArrayEnd);
            if let (false, Some(Frame::Array { elements, integers, .. })) = (is_end, frames.last_mut()) {
                self.path.push_index(*elements);
                *elements += 1;
                *integers += usize::from(matches!(&token, Token::Number(number) if number.integer));
            }
            match token {
                Token::Key(text) => {
                    self.key(source, &text)?;
                    continue;
                }
                Token::ObjectStart => {
                    frames.push(Frame::Object { facts: Facts::default(), held: Vec::new() });
                    continue;
                }
                Token::ArrayStart => {
                    frames.push(Frame::Array { start: tokens.offset() - 1, elements: 0, integers: 0 });
                    continue;
                }
                Token::String(text) => self.string(source, &text, frames.last_mut())?,
                Token::Number(number) if number.digits >= MIN_NUMBER_DIGITS => self.number(source, &number.literal)?,
                Token::Bool(value) if source.depth == 0 && self.path.segments() == ["stream"] => self.stream = value,
                Token::Number(_) | Token::Bool(_) | Token::Null => {}
                Token::ObjectEnd | Token::ArrayEnd => {
                    if let (Some(frame), 0) = (frames.pop(), source.depth) {
                        self.end(frame, tokens.offset());
                    }
                }
            }
            self.path.pop();
        }
        Ok(())
    }

    /// Steps into a key's value. A key that is no word of the schema is a text itself.
    fn key(&mut self, source: &Source<'_>, text: &Text) -> Result<(), Error> {
        let (key, map) = unescape(source.text, text, MAX_RUNS - self.runs)?;
        let name = key.clone();
        if word(&key).is_none() && !key.is_empty() {
            let key = self.own(source, key, &text.inside);
            self.emit(self.path.key_text(), key, source.to_body(map), Form::String { depth: source.depth }, None)?;
        }
        self.path.push_key(&name);
        Ok(())
    }

    fn number(&mut self, source: &Source<'_>, literal: &Range<usize>) -> Result<(), Error> {
        let map = source.to_body(OffsetMap::identity(literal.start, literal.len()));
        let text = self.own(source, Cow::Borrowed(&source.text[literal.clone()]), literal);
        self.emit(self.path.text().to_owned(), text, map, Form::Number { depth: source.depth }, self.path.name())
    }

    fn string(&mut self, source: &Source<'_>, text: &Text, frame: Option<&mut Frame>) -> Result<(), Error> {
        let (decoded, map) = unescape(source.text, text, MAX_RUNS - self.runs)?;
        if source.depth > 0 {
            return self.text(source, text, decoded, map);
        }
        match (self.role(&decoded), frame) {
            (Role::Opaque(reason), _) => {
                let payload = data_url(&decoded).map_or(&*decoded, |(_, payload)| payload);
                let data = Data::of(payload);
                self.opaque.push(Part::opaque(self.path.text(), &text.inside, data.reason(reason)));
                if data.is_surely(reason) { Ok(()) } else { self.text(source, text, decoded, map) }
            }
            (Role::Held(held), Some(Frame::Object { held: waiting, .. })) => {
                let (first, data) = (self.fields.len(), Data::of(&decoded));
                self.text(source, text, decoded, map)?;
                waiting.push(HeldField { held, fields: first..self.fields.len(), raw: text.inside.clone(), data });
                Ok(())
            }
            (_, frame) => {
                match (frame, self.path.segments()) {
                    (_, ["model"]) => self.model = Some(decoded.clone().into_owned()),
                    (Some(Frame::Object { facts, .. }), [.., key]) => facts.see(key, &decoded),
                    _ => {}
                }
                self.text(source, text, decoded, map)
            }
        }
    }

    fn role(&self, text: &str) -> Role {
        match self.operation {
            Operation::ChatCompletions => openai::role(self.path.segments(), text),
            Operation::Messages | Operation::CountTokens => anthropic::role(self.path.segments()),
            Operation::Read | Operation::Unknown => Role::Text,
        }
    }

    /// A string that is read: as the document it contains, or as a text.
    fn text(&mut self, source: &Source<'_>, text: &Text, decoded: Cow<'_, str>, map: OffsetMap) -> Result<(), Error> {
        if decoded.is_empty() {
            return Ok(());
        }
        let map = source.to_body(map);
        if decoded.trim_start().starts_with(['{', '[']) {
            let nested = Source { text: &decoded, map: Some(&map), depth: source.depth + 1 };
            if self.nested(&nested)? {
                return Ok(());
            }
        }
        let decoded = self.own(source, decoded, &text.inside);
        self.emit(self.path.text().to_owned(), decoded, map, Form::String { depth: source.depth }, self.path.name())
    }

    /// Walks a document in a string. `false` when the string is to be read as plain text: it is no document, it has no
    /// text of its own, or (which a part then says) it goes too deep.
    fn nested(&mut self, source: &Source<'_>) -> Result<bool, Error> {
        let (fields, opaque, runs, depth) = (self.fields.len(), self.opaque.len(), self.runs, self.path.depth());
        let within_limits = source.depth <= MAX_NESTING && source.text.len() <= MAX_NESTED_BYTES;
        let walked = if within_limits {
            self.path.push_nested();
            self.document(source)
        } else {
            skim(source.text)
        };
        match walked {
            Ok(()) if within_limits && self.fields.len() > fields => return Ok(true),
            Err(error @ (Error::TooManyFields | Error::TooManyEscapes)) => return Err(error),
            _ => {}
        }
        self.fields.truncate(fields);
        self.opaque.truncate(opaque);
        self.runs = runs;
        self.path.unwind(depth);
        let too_deep = matches!(walked, Err(Error::TooDeep { .. })) || (walked.is_ok() && !within_limits);
        if let (true, Some(map)) = (too_deep, source.map) {
            let raw = map.to_raw(&(0..source.text.len()));
            self.opaque.push(Part::opaque(self.path.text(), &raw, Reason::NestedTooDeep));
        }
        Ok(false)
    }

    /// The end of an object or array of the body itself; `end` is behind its bracket.
    fn end(&mut self, frame: Frame, end: usize) {
        match frame {
            Frame::Object { facts, held } => held.into_iter().for_each(|held| self.settle(&facts, held)),
            Frame::Array { start, elements, integers } => {
                let segments = self.path.segments();
                if segments == ["messages"] {
                    self.messages = elements;
                }
                let is_prompt = matches!(segments, ["prompt"] | ["prompt", ELEMENT]) && integers > 0;
                // The values that a tool's schema allows are no prompt.
                let is_enum = matches!(segments, ["tools" | "functions" | "response_format", .., "enum"]);
                if integers == elements && (is_prompt || (integers >= MIN_TOKEN_IDS && !is_enum)) {
                    self.opaque.push(Part::opaque(self.path.text(), &(start..end), Reason::TokenIds));
                }
            }
        }
    }

    fn settle(&mut self, facts: &Facts, held: HeldField) {
        match anthropic::settle(held.held, facts) {
            Settled::ReadOnly => self.keep_as_is(held.fields),
            Settled::OpaqueIfBase64(reason) => {
                let path = self.fields[held.fields.clone()].iter().flatten().next().map(|field| field.path.clone());
                if let (Some(path), true) = (path, held.data.is_base64) {
                    self.opaque.push(Part::opaque(&path, &held.raw, held.data.reason(reason)));
                }
                if held.data.is_surely(reason) {
                    self.fields[held.fields].fill(None);
                } else if reason == Reason::Signed {
                    self.keep_as_is(held.fields);
                }
            }
            Settled::Text => {}
        }
    }

    fn keep_as_is(&mut self, fields: Range<usize>) {
        self.fields[fields].iter_mut().flatten().for_each(|field| field.access = Access::ReadOnly);
    }

    /// Text of `source`, with the body's lifetime if it is a piece of the body.
    fn own(&self, source: &Source<'_>, text: Cow<'_, str>, at: &Range<usize>) -> Cow<'a, str> {
        match text {
            Cow::Borrowed(_) if source.depth == 0 => Cow::Borrowed(&self.body[at.clone()]),
            text => Cow::Owned(text.into_owned()),
        }
    }

    fn emit(
        &mut self,
        path: String,
        text: Cow<'a, str>,
        map: OffsetMap,
        form: Form,
        name: Option<Arc<str>>,
    ) -> Result<(), Error> {
        self.runs += map.runs().len();
        if self.fields.len() == MAX_FIELDS {
            return Err(Error::TooManyFields);
        }
        if self.runs > MAX_RUNS {
            return Err(Error::TooManyEscapes);
        }
        self.fields.push(Some(Field { path, text, map, form, access: Access::Editable, name }));
        Ok(())
    }
}

/// Whether `text` is a document at all.
fn skim(text: &str) -> Result<(), Error> {
    let mut tokens = Tokenizer::new(text);
    while tokens.next()?.is_some() {}
    Ok(())
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
fn check_map(body: &[u8], field: &Field<'_>) {
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
