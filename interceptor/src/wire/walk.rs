//! The walk through the JSON documents of a body, and those in their strings.

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

/// A walk through one body: the document that it is, or the pieces of it that are documents or texts.
pub(super) struct Walk<'a> {
    operation: Operation,
    /// The piece that is being read.
    piece: &'a str,
    /// Where in the body it begins.
    base: usize,
    /// Segments of the path that lead to it.
    origin: usize,
    /// Where the walk stands: the caller's part of it, then the walk's own.
    pub(super) path: Path,
    /// A field that turned out to be no text is taken out again.
    fields: Vec<Option<Field<'a>>>,
    opaque: Vec<Part>,
    runs: usize,
    /// See [`Document::model`].
    pub(super) model: Option<String>,
    /// See [`Document::stream`].
    pub(super) stream: bool,
    messages: usize,
}

/// A state to come back to.
struct Mark {
    fields: usize,
    opaque: usize,
    runs: usize,
    depth: usize,
}

/// The text of a document, and where it stands in the piece.
struct Source<'s> {
    text: &'s str,
    /// To the piece; `None` for the piece itself.
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
    /// Leads a map into this document on to the piece.
    fn to_piece(&self, map: OffsetMap) -> OffsetMap {
        match self.map {
            Some(outer) => compose(&map, outer),
            None => map,
        }
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(operation: Operation) -> Self {
        Self {
            operation,
            piece: "",
            base: 0,
            origin: 0,
            path: Path::default(),
            fields: Vec::new(),
            opaque: Vec::new(),
            runs: 0,
            model: None,
            stream: false,
            messages: 0,
        }
    }

    /// Walks a piece of the body that must be a JSON document. Like all that reads a piece, it takes the last segment of
    /// the path, which is the piece's, with it.
    pub(super) fn json(&mut self, piece: &'a str, base: usize) -> Result<(), Error> {
        let source = self.enter(piece, base);
        self.document(&source).map_err(|error| error.further(base))
    }

    /// Reads a piece of the body that may be a JSON document, and is a text if not.
    pub(super) fn text_or_json(&mut self, piece: &'a str, base: usize) -> Result<(), Error> {
        let source = self.enter(piece, base);
        if piece.trim_start().starts_with(['{', '[']) && self.nested(&source)? {
            self.path.pop();
            return Ok(());
        }
        self.text(piece, base)
    }

    /// Reads a piece of the body that is a text, whatever it looks like.
    pub(super) fn text(&mut self, piece: &'a str, base: usize) -> Result<(), Error> {
        self.enter(piece, base);
        self.whole(Cow::Borrowed(piece), OffsetMap::identity(0, piece.len()))
    }

    /// Reads a text that stands in the body in another spelling, to which `map` leads.
    pub(super) fn spelled(&mut self, text: String, map: OffsetMap) -> Result<(), Error> {
        self.enter("", 0);
        self.whole(Cow::Owned(text), map)
    }

    /// Notes a part of the body that is no text.
    pub(super) fn opaque(&mut self, raw: &Range<usize>, reason: Reason) {
        self.opaque.push(Part::opaque(self.path.text(), raw, reason));
    }

    /// Does `walk`, and undoes it if the piece turns out to be malformed; says whether it was not.
    pub(super) fn attempt(&mut self, walk: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<bool, Error> {
        let mark = self.mark();
        match walk(self) {
            Ok(()) => Ok(true),
            Err(Error::Malformed { .. }) => {
                self.rewind(&mark);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn finish(self) -> Document<'a> {
        let (model, stream, messages) = (self.model, self.stream, self.messages);
        let fields = self.fields.into_iter().flatten().collect();
        Document { model, stream, messages, ..Document::account(fields, self.opaque) }
    }

    fn enter(&mut self, piece: &'a str, base: usize) -> Source<'a> {
        (self.piece, self.base, self.origin) = (piece, base, self.path.depth());
        Source { text: piece, map: None, depth: 0 }
    }

    /// A piece that is one text. What replaces a value in it is written as it is.
    fn whole(&mut self, text: Cow<'a, str>, map: OffsetMap) -> Result<(), Error> {
        if !text.is_empty() {
            let (path, name) = (self.path.text().to_owned(), self.path.name());
            self.emit(path, text, map, Form::String { depth: 0 }, name)?;
        }
        self.path.pop();
        Ok(())
    }

    fn mark(&self) -> Mark {
        Mark { fields: self.fields.len(), opaque: self.opaque.len(), runs: self.runs, depth: self.path.depth() }
    }

    fn rewind(&mut self, mark: &Mark) {
        self.fields.truncate(mark.fields);
        self.opaque.truncate(mark.opaque);
        self.runs = mark.runs;
        self.path.unwind(mark.depth);
    }

    /// The segments within the piece, or within the request that it holds: a line of a batch has one in its body, while
    /// a line of training data is one.
    fn place(&self) -> &[&'static str] {
        match (self.operation, self.path.segments().get(self.origin..).unwrap_or_default()) {
            (Operation::Files, ["body", place @ ..]) | (_, place) => place,
        }
    }

    /// The segments within the body, if it is one document.
    fn place_in_body(&self) -> Option<&[&'static str]> {
        (self.origin == 0).then(|| self.path.segments())
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
                Token::Bool(value) if source.depth == 0 && self.place_in_body() == Some(&["stream"]) => {
                    self.stream = value;
                }
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
            self.emit(self.path.key_text(), key, source.to_piece(map), Form::String { depth: source.depth }, None)?;
        }
        self.path.push_key(&name);
        Ok(())
    }

    fn number(&mut self, source: &Source<'_>, literal: &Range<usize>) -> Result<(), Error> {
        let map = source.to_piece(OffsetMap::identity(literal.start, literal.len()));
        let text = self.own(source, Cow::Borrowed(&source.text[literal.clone()]), literal);
        self.emit(self.path.text().to_owned(), text, map, Form::Number { depth: source.depth }, self.path.name())
    }

    fn string(&mut self, source: &Source<'_>, text: &Text, frame: Option<&mut Frame>) -> Result<(), Error> {
        let (decoded, map) = unescape(source.text, text, MAX_RUNS - self.runs)?;
        if source.depth > 0 {
            return self.string_text(source, text, decoded, map);
        }
        match (self.role(&decoded), frame) {
            (Role::Opaque(reason), _) => {
                let payload = data_url(&decoded).map_or(&*decoded, |(_, payload)| payload);
                let data = Data::of(payload);
                self.opaque.push(Part::opaque(self.path.text(), &text.inside, data.reason(reason)));
                if data.is_surely(reason) { Ok(()) } else { self.string_text(source, text, decoded, map) }
            }
            (Role::Held(held), Some(Frame::Object { held: waiting, .. })) => {
                let (first, data) = (self.fields.len(), Data::of(&decoded));
                self.string_text(source, text, decoded, map)?;
                waiting.push(HeldField { held, fields: first..self.fields.len(), raw: text.inside.clone(), data });
                Ok(())
            }
            (_, frame) => {
                match (frame, self.path.segments()) {
                    (_, ["model"]) if self.origin == 0 => self.model = Some(decoded.clone().into_owned()),
                    (Some(Frame::Object { facts, .. }), [.., key]) => facts.see(key, &decoded),
                    _ => {}
                }
                self.string_text(source, text, decoded, map)
            }
        }
    }

    fn role(&self, text: &str) -> Role {
        match self.operation {
            Operation::Messages | Operation::CountTokens => anthropic::role(self.place()),
            Operation::ChatCompletions | Operation::Files => openai::role(self.place(), text),
            _ => Role::Text,
        }
    }

    /// A string that is read: as the document it contains, or as a text.
    fn string_text(
        &mut self,
        source: &Source<'_>,
        text: &Text,
        decoded: Cow<'_, str>,
        map: OffsetMap,
    ) -> Result<(), Error> {
        if decoded.is_empty() {
            return Ok(());
        }
        let map = source.to_piece(map);
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
        let mark = self.mark();
        let within_limits = source.depth <= MAX_NESTING && source.text.len() <= MAX_NESTED_BYTES;
        let walked = if within_limits {
            self.path.push_nested();
            self.document(source)
        } else {
            skim(source.text)
        };
        match walked {
            Ok(()) if within_limits && self.fields.len() > mark.fields => return Ok(true),
            Err(error @ (Error::TooManyFields | Error::TooManyEscapes)) => return Err(error),
            _ => {}
        }
        self.rewind(&mark);
        let too_deep = matches!(walked, Err(Error::TooDeep { .. })) || (walked.is_ok() && !within_limits);
        if too_deep {
            let all = 0..source.text.len();
            let raw = source.map.map_or(all.clone(), |map| map.to_raw(&all));
            self.opaque(&raw, Reason::NestedTooDeep);
        }
        Ok(false)
    }

    /// The end of an object or array of the piece itself; `end` is behind its bracket.
    fn end(&mut self, frame: Frame, end: usize) {
        match frame {
            Frame::Object { facts, held } => held.into_iter().for_each(|held| self.settle(&facts, held)),
            Frame::Array { start, elements, integers } => {
                if self.place_in_body() == Some(&["messages"]) {
                    self.messages = elements;
                }
                let segments = self.place();
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

    /// Text of `source`, with the body's lifetime if it stands there as it is.
    fn own(&self, source: &Source<'_>, text: Cow<'_, str>, at: &Range<usize>) -> Cow<'a, str> {
        match text {
            Cow::Borrowed(_) if source.depth == 0 => Cow::Borrowed(&self.piece[at.clone()]),
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
        let map = map.further(self.base);
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
