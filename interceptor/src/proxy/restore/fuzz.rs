//! An answer restored as a whole, as a stream, and as a stream in other pieces: the client reads the same.

use serde_json::{Value, json};

use crate::mask::Originals;
use crate::wire::{Operation, Restorer};

/// Tokens that answers of tests have, with values that are hard to write.
pub(super) fn originals() -> Originals {
    Originals::known(&[
        ("[EMAIL_k7q2m9xd]", "EMAIL_ADDRESS", "jane@corp.example"),
        ("[SECRET_0123456g]", "SECRET_X", "a\"b\\c\nd\u{1f600}\u{1}/é"),
    ])
}

/// How the text of an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    OpenAiText,
    OpenAiArguments,
    AnthropicText,
    AnthropicJson,
}

impl Shape {
    pub(super) const ALL: [Self; 4] =
        [Self::OpenAiText, Self::OpenAiArguments, Self::AnthropicText, Self::AnthropicJson];

    fn operation(self) -> Operation {
        match self {
            Self::OpenAiText | Self::OpenAiArguments => Operation::ChatCompletions,
            Self::AnthropicText | Self::AnthropicJson => Operation::Messages,
        }
    }

    /// A piece of the answer's text, as one event has it.
    pub(super) fn event(self, piece: &str) -> String {
        let data = match self {
            Self::OpenAiText => json!({"choices": [{"index": 1, "delta": {"content": piece}}]}),
            Self::OpenAiArguments => {
                let call = json!({"index": 2, "function": {"arguments": piece}});
                json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
            }
            Self::AnthropicText => {
                json!({"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": piece}})
            }
            Self::AnthropicJson => {
                let delta = json!({"type": "input_json_delta", "partial_json": piece});
                json!({"type": "content_block_delta", "index": 0, "delta": delta})
            }
        };
        format!("event: x\ndata: {data}\n\n")
    }

    /// The pieces of the text in a stream of such events.
    pub(super) fn pieces(self, stream: &str) -> Vec<String> {
        let pointer = match self {
            Self::OpenAiText => "/choices/0/delta/content",
            Self::OpenAiArguments => "/choices/0/delta/tool_calls/0/function/arguments",
            Self::AnthropicText => "/delta/text",
            Self::AnthropicJson => "/delta/partial_json",
        };
        let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
        let events = data.map(|data| serde_json::from_str::<Value>(data).expect("an event stays JSON"));
        events
            .filter_map(|event| event.pointer(pointer).map(|said| said.as_str().expect("a text").to_owned()))
            .collect()
    }

    /// The same text in an answer that is not streamed.
    fn whole(self, text: &str) -> Option<(Value, &'static str)> {
        match self {
            Self::OpenAiText => {
                Some((json!({"choices": [{"message": {"content": text}}]}), "/choices/0/message/content"))
            }
            Self::OpenAiArguments => {
                let call = json!({"function": {"arguments": text}});
                let pointer = "/choices/0/message/tool_calls/0/function/arguments";
                Some((json!({"choices": [{"message": {"tool_calls": [call]}}]}), pointer))
            }
            Self::AnthropicText => Some((json!({"content": [{"type": "text", "text": text}]}), "/content/0/text")),
            // There, it is an object.
            Self::AnthropicJson => None,
        }
    }

    pub(super) fn restorer(self, kind: &str) -> Restorer<Originals> {
        Restorer::new(originals(), self.operation(), Some(kind)).expect("a known format")
    }

    /// The text, restored in a whole document.
    pub(super) fn restored(self, text: &str) -> String {
        let shape = if self == Self::AnthropicJson { Self::OpenAiArguments } else { self };
        let (document, pointer) = shape.whole(text).expect("a document");
        let mut restorer = shape.restorer("application/json; charset=utf-8");
        let mut out = Vec::new();
        restorer.feed(document.to_string().as_bytes(), &mut out);
        assert!(out.is_empty());
        restorer.finish(&mut out);
        let document: Value = serde_json::from_slice(&out).expect("a document stays JSON");
        document.pointer(pointer).and_then(Value::as_str).expect("a text").to_owned()
    }

    /// The stream, restored as it comes in these pieces.
    pub(super) fn streamed<'a>(self, pieces: impl Iterator<Item = &'a [u8]>) -> String {
        let mut restorer = self.restorer("text/event-stream");
        let mut out = Vec::new();
        pieces.for_each(|piece| restorer.feed(piece, &mut out));
        restorer.finish(&mut out);
        String::from_utf8(out).expect("events stay UTF-8")
    }
}

/// Parts that a text is put together of.
const PARTS: [&str; 16] = [
    "[",
    "EMAIL",
    "email",
    "_k7q2m9xd",
    "]",
    "\\",
    "\\_",
    "_",
    "\\u005b",
    "[SECRET_0123456g]",
    "\"",
    "é",
    "\u{1f600}",
    "\n",
    "[EMAIL_k7q2m9xd]",
    "u005",
];

/// Fuzz entry: however the text of an answer is cut into events, and the events into pieces, the client reads what it
/// reads in a whole document; and what has no token is not changed.
#[doc(hidden)]
pub fn fuzz_restore(data: &[u8]) {
    let [first, step, data @ ..] = data else { return };
    let shape = Shape::ALL[usize::from(first % 4)];
    let step = usize::from(step % 31) + 1;
    let mut pieces = vec![String::new()];
    for byte in data {
        if byte & 0x80 != 0 {
            pieces.push(String::new());
        }
        let last = pieces.last_mut().expect("there is one");
        match byte & 0x7f {
            part @ 0..0x40 => last.push_str(PARTS[usize::from(part) % PARTS.len()]),
            letter => last.push(char::from(letter)),
        }
    }
    let text = pieces.concat();
    let stream: String = pieces.iter().map(|piece| shape.event(piece)).collect::<String>() + "data: [";
    let whole = shape.streamed(std::iter::once(stream.as_bytes()));
    assert_eq!(shape.streamed(stream.as_bytes().chunks(step)), whole);
    let events = whole.strip_suffix("data: [").expect("what never ended goes on too");
    let read = shape.pieces(events);
    assert_eq!(read.len(), pieces.len(), "no event is made or left out");
    let expected = shape.restored(&text);
    assert_eq!(read.concat(), expected);
    if expected == text {
        assert_eq!(whole, stream);
    }
}
