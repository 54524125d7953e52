//! The text of an answer, as far as it has come: what a person at the client would have seen grow.

use serde_json::Value;

use crate::wire::EventStream;

/// Bytes of one event, or of one document, that are looked into.
const LIMIT: usize = 16 << 20;

/// Where answers have their text, streamed or whole; `*` is every element.
const TEXTS: [&[&str]; 16] = [
    &["choices", "*", "delta", "reasoning_content"],
    &["choices", "*", "delta", "content"],
    &["choices", "*", "delta", "tool_calls", "*", "function", "arguments"],
    &["choices", "*", "message", "content"],
    &["choices", "*", "message", "tool_calls", "*", "function", "arguments"],
    &["choices", "*", "text"],
    &["content", "*", "text"],
    &["delta"],
    &["delta", "text"],
    &["delta", "thinking"],
    &["delta", "partial_json"],
    &["delta", "message", "content", "text"],
    &["candidates", "*", "content", "parts", "*", "text"],
    &["output", "*", "content", "*", "text"],
    &["message", "content"],
    &["response"],
];

/// Takes an answer apart as its pieces come.
#[derive(Debug)]
pub(super) struct Answer {
    events: EventStream,
    /// Whether it is a stream of events, once that is known.
    is_stream: Option<bool>,
    /// Of an answer that is none: what has not been read yet.
    document: Vec<u8>,
    found: bool,
}

impl Answer {
    pub(super) fn new() -> Self {
        Self { events: EventStream::new(LIMIT), is_stream: None, document: Vec::new(), found: false }
    }

    /// The text that a piece adds.
    pub(super) fn feed(&mut self, piece: &[u8]) -> String {
        let mut text = String::new();
        if self.is_stream.is_none()
            && let Some(first) = piece.iter().find(|byte| !byte.is_ascii_whitespace())
        {
            self.is_stream = Some(!matches!(first, b'{' | b'['));
        }
        if self.is_stream == Some(true) {
            self.events.feed(piece, |event| {
                if let Some(data) = event.data()
                    && let Ok(value) = serde_json::from_str(&data)
                {
                    collect(&value, &mut text);
                }
            });
        } else if self.document.len() + piece.len() <= LIMIT {
            self.document.extend_from_slice(piece);
            // Documents of one line each come one by one.
            if piece.ends_with(b"\n") {
                self.read(&mut text);
            }
        }
        self.found |= !text.is_empty();
        text
    }

    /// What is left at the end, and whether any text was found.
    pub(super) fn finish(mut self) -> (String, bool) {
        let mut text = String::new();
        self.read(&mut text);
        let found = self.found || !text.is_empty();
        (text, found)
    }

    /// Reads the documents that are whole.
    fn read(&mut self, text: &mut String) {
        let mut values = serde_json::Deserializer::from_slice(&self.document).into_iter::<Value>();
        while let Some(Ok(value)) = values.next() {
            collect(&value, text);
        }
        let read = values.byte_offset();
        self.document.drain(..read);
    }
}

fn collect(value: &Value, text: &mut String) {
    // Gemini's streams may be one array.
    if let Value::Array(values) = value {
        values.iter().for_each(|value| collect(value, text));
        return;
    }
    TEXTS.iter().for_each(|path| follow(value, path, text));
}

fn follow(value: &Value, path: &[&str], text: &mut String) {
    match (path, value) {
        ([], Value::String(found)) => text.push_str(found),
        (["*", rest @ ..], Value::Array(elements)) => elements.iter().for_each(|value| follow(value, rest, text)),
        ([name, rest @ ..], Value::Object(members)) => {
            if let Some(value) = members.get(*name) {
                follow(value, rest, text);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(pieces: &[&str]) -> (String, bool) {
        let mut answer = Answer::new();
        let mut text: String = pieces.iter().map(|piece| answer.feed(piece.as_bytes())).collect();
        let (rest, found) = answer.finish();
        text.push_str(&rest);
        (text, found)
    }

    #[test]
    fn answers_of_each_kind_give_their_text() {
        for (pieces, expected) in [
            (&["data: {\"choices\":[{\"delta\":{\"content\":\"He", "llo\"}}]}\n\ndata: [DONE]\n\n"][..], "Hello"),
            (
                &[
                    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"Hi\"}}\n\n",
                ],
                "Hi",
            ),
            (&["data: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n"], "Hi"),
            (&["{\"choices\":[{\"message\":", "{\"content\":\"Hi\"}}]}"], "Hi"),
            (&["{\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}"], "Hi"),
            (
                &[
                    "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"H\"}]}}]}\n",
                    ",{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"i\"}]}}]}]",
                ],
                "Hi",
            ),
            (&["{\"message\":{\"content\":\"H\"}}\n", "{\"message\":{\"content\":\"i\"}}\n"], "Hi"),
            (&["{\"response\":\"Hi\",\"done\":true}\n"], "Hi"),
        ] {
            assert_eq!(text_of(pieces), (expected.to_owned(), true), "{pieces:?}");
        }
    }

    #[test]
    fn what_is_no_answer_gives_none() {
        for pieces in [&["not a model's answer"][..], &["{\"error\":{\"message\":\"no\"}}"], &["{\"broken"], &[]] {
            assert_eq!(text_of(pieces), (String::new(), false), "{pieces:?}");
        }
    }
}
