//! Putting values back into an answer, in place of the tokens that stand for them.
//!
//! Pure, like the rest of the room, and like it never writes a document anew: the strings in which a token stands are
//! patched, and every other byte of the answer stays what it is. Who knows the tokens is behind [`Tokens`].
//!
//! A whole document is held until it is there. Of a stream, an event is held only while its text ends in what may still
//! become one of the tokens, and with it those behind it, so that their order stays. When the token is there, the first of
//! its events gets the whole value and the others lose their part of the token: no event is made, left out or moved.

mod hold;
mod locate;
mod patch;
mod split;

use std::collections::BTreeMap;
use std::ops::Range;

use thiserror::Error;

use self::hold::Hold;
use self::patch::Edit;
use super::{Operation, format};

/// Whoever knows the tokens of an exchange.
pub trait Tokens {
    /// Looks for them in a text.
    type Search: Search;

    /// For a new text; `is_json` when that is the source of a JSON document.
    fn search(&self, is_json: bool) -> Self::Search;

    /// Kind and value of a token that was found.
    fn get(&self, token: usize) -> Option<(&str, &str)>;
}

/// Looks for tokens in one text that comes in pieces.
pub trait Search {
    /// Bytes read.
    fn at(&self) -> u64;

    /// Reads the next piece. Each token is given to `found` with its place, in order.
    fn feed(&mut self, piece: &str, found: &mut Vec<(Range<u64>, usize)>);

    /// Where a token begins that what follows may complete.
    fn pending(&self) -> Option<u64>;

    /// What may have begun counts no more.
    fn forget(&mut self);
}

/// Why an answer, or some of it, was passed on with its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unrestored {
    /// It cannot be read.
    #[error("the answer is compressed, although it was asked for as it is")]
    Compressed,
    /// Nobody knows where its text is.
    #[error("the format of the answer is not one whose text is located")]
    Format,
    /// It says it is JSON.
    #[error("the answer is not valid JSON")]
    Malformed,
    /// A document is held whole.
    #[error("the answer is larger than {} MiB", MAX_JSON >> 20)]
    TooLarge,
    /// The memory for requests and answers is in use.
    #[error("too much is being held on this host (limits.buffered_bytes)")]
    NoRoom,
    /// An event, or those that wait for a token's end.
    #[error("a token took more events than are held, or an event is too long to be read")]
    Bounds,
}

/// What became of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    /// Values that were put back, by kind.
    pub restored: BTreeMap<String, u64>,
    /// Why tokens were left, where it is not that there are none.
    pub unrestored: Option<Unrestored>,
}

/// The longest document that is held.
const MAX_JSON: usize = 4 << 20;

/// Whose words an answer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Chat Completions.
    OpenAi,
    /// Messages.
    Anthropic,
}

/// Restores one answer. Bytes in, bytes out.
#[derive(Debug)]
pub struct Restorer<T: Tokens> {
    tokens: T,
    format: Format,
    mode: Mode<T::Search>,
    outcome: Restoration,
}

#[derive(Debug)]
enum Mode<S> {
    Whole(Vec<u8>),
    Events(Box<Hold<S>>),
    /// It was given up.
    Passing,
}

/// Whether answers to `operation` can be restored at all.
#[must_use]
pub fn restorable(operation: Operation) -> bool {
    Format::of(operation).is_some()
}

impl Format {
    fn of(operation: Operation) -> Option<Self> {
        match operation {
            Operation::ChatCompletions => Some(Self::OpenAi),
            Operation::Messages => Some(Self::Anthropic),
            _ => None,
        }
    }
}

impl<T: Tokens> Restorer<T> {
    /// For the answer to `operation`, uncompressed and with this Content-Type.
    ///
    /// # Errors
    /// [`Unrestored::Format`].
    pub fn new(tokens: T, operation: Operation, content_type: Option<&str>) -> Result<Self, Unrestored> {
        let format = Format::of(operation).ok_or(Unrestored::Format)?;
        let (essence, _) = format::split(content_type.unwrap_or_default());
        let mode = match &essence.to_ascii_lowercase()[..] {
            "application/json" => Mode::Whole(Vec::new()),
            "text/event-stream" => Mode::Events(Box::default()),
            _ => return Err(Unrestored::Format),
        };
        Ok(Self { tokens, format, mode, outcome: Restoration::default() })
    }

    /// Whether all of the answer is held until its end, so that memory has to be found for it.
    #[must_use]
    pub fn holds_all(&self) -> bool {
        matches!(self.mode, Mode::Whole(_))
    }

    /// Takes the next content; what may go on is added to `out`.
    pub fn feed(&mut self, content: &[u8], out: &mut Vec<u8>) {
        match &mut self.mode {
            Mode::Passing => out.extend_from_slice(content),
            Mode::Whole(held) if held.len() + content.len() > MAX_JSON => {
                out.append(held);
                out.extend_from_slice(content);
                self.give_up(Unrestored::TooLarge, out);
            }
            Mode::Whole(held) => held.extend_from_slice(content),
            Mode::Events(hold) => hold.feed(&self.tokens, self.format, content, &mut self.outcome, out),
        }
    }

    /// The answer has come to its end: what is still held goes on.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.mode, Mode::Passing) {
            Mode::Passing => {}
            Mode::Whole(held) => match restore(&self.tokens, self.format, &held, &mut self.outcome) {
                Some(restored) => out.extend_from_slice(&restored),
                None => {
                    self.outcome.unrestored = Some(Unrestored::Malformed);
                    out.extend_from_slice(&held);
                }
            },
            Mode::Events(mut hold) => hold.release(&self.tokens, out),
        }
    }

    /// Lets everything go as it is from here on: what is held too.
    pub fn give_up(&mut self, reason: Unrestored, out: &mut Vec<u8>) {
        self.outcome.unrestored = Some(reason);
        self.cut_off(out);
    }

    /// The answer has broken off: what is held goes on as it is.
    pub fn cut_off(&mut self, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.mode, Mode::Passing) {
            Mode::Passing => {}
            Mode::Whole(mut held) => out.append(&mut held),
            Mode::Events(mut hold) => hold.release(&self.tokens, out),
        }
    }

    /// What became of it, so far.
    #[must_use]
    pub fn outcome(&self) -> &Restoration {
        &self.outcome
    }
}

/// A whole document; none when it is not one.
fn restore<T: Tokens>(tokens: &T, format: Format, document: &[u8], outcome: &mut Restoration) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(document).ok()?;
    let mut edits = Vec::new();
    let mut found = Vec::new();
    for place in locate::places(format, text, 0).ok()? {
        tokens.search(place.is_json()).feed(&place.text, &mut found);
        for (span, token) in found.drain(..) {
            let (Ok(start), Ok(end)) = (usize::try_from(span.start), usize::try_from(span.end)) else { continue };
            edits.push(Edit { raw: place.map.to_raw(&(start..end)), token: Some(token), is_json: place.is_json() });
            outcome.count(tokens, token);
        }
    }
    let mut out = Vec::with_capacity(document.len());
    patch::patch(document, &mut edits, tokens, &mut out);
    Some(out)
}

impl Restoration {
    fn count<T: Tokens>(&mut self, tokens: &T, token: usize) {
        if let Some((entity, _)) = tokens.get(token) {
            *self.restored.entry(entity.to_owned()).or_default() += 1;
        }
    }
}
