//! Where the words of the model are in an answer.

use std::borrow::Cow;
use std::collections::HashMap;

use super::super::Error;
use super::super::json::{Token, Tokenizer};
use super::super::unescape::unescape;
use super::Format;
use crate::flow::OffsetMap;

/// Escapes of one string that are followed: more than fit into a whole answer.
const MAX_RUNS: usize = 4 << 20;

/// A string that a model wrote, or a piece of one.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) channel: Channel,
    /// Without escapes.
    pub(super) text: Cow<'a, str>,
    /// From there to the raw bytes.
    pub(super) map: OffsetMap,
}

/// Which of the texts of an answer a piece belongs to. Those with one channel make up one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Channel {
    pub(super) kind: Kind,
    /// The choice, or the block.
    index: u64,
    /// The tool call, where it is part of one.
    call: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Text,
    Refusal,
    Reasoning,
    /// A tool call's arguments: JSON, as a text.
    Arguments,
    /// A tool call's input, as a text or as strings in an object.
    Input,
}

impl Place<'_> {
    /// Whether the text is the source of a JSON document.
    pub(super) fn is_json(&self) -> bool {
        self.channel.kind == Kind::Arguments
    }
}

/// The keys that lead to the words of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Arguments,
    Choices,
    Content,
    ContentBlock,
    Custom,
    Delta,
    Function,
    FunctionCall,
    Index,
    Input,
    Message,
    PartialJson,
    Reasoning,
    Refusal,
    Text,
    ToolCalls,
    Other,
}

impl Key {
    fn of(key: &str) -> Self {
        match key {
            "arguments" => Self::Arguments,
            "choices" => Self::Choices,
            "content" => Self::Content,
            "content_block" => Self::ContentBlock,
            "custom" => Self::Custom,
            "delta" => Self::Delta,
            "function" => Self::Function,
            "function_call" => Self::FunctionCall,
            "index" => Self::Index,
            "input" => Self::Input,
            "message" => Self::Message,
            "partial_json" => Self::PartialJson,
            "reasoning" | "reasoning_content" => Self::Reasoning,
            "refusal" => Self::Refusal,
            "text" => Self::Text,
            "tool_calls" => Self::ToolCalls,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Key(Key),
    Element(u64),
}

/// An `index` in the document: streamed pieces name their choice, block and tool call by it.
#[derive(Debug, Default)]
struct Numbers {
    block: u64,
    /// By where it stands.
    choices: HashMap<u64, u64>,
    calls: HashMap<(u64, u64), u64>,
}

/// The strings of `document`, or the data of one event, that a model wrote. `base` is where it stands in the raw bytes.
///
/// # Errors
/// When it is not JSON.
pub(super) fn places(format: Format, document: &str, base: usize) -> Result<Vec<Place<'_>>, Error> {
    let mut tokens = Tokenizer::new(document);
    let mut path: Vec<Step> = Vec::new();
    let mut numbers = Numbers::default();
    let mut places = Vec::new();
    while let Some(token) = tokens.next()? {
        match token {
            Token::Key(key) => {
                let (key, _) = unescape(document, &key, MAX_RUNS)?;
                if let Some(last) = path.last_mut() {
                    *last = Step::Key(Key::of(&key));
                }
                continue;
            }
            Token::ObjectStart => {
                next_element(&mut path);
                path.push(Step::Key(Key::Other));
                continue;
            }
            Token::ArrayStart => {
                next_element(&mut path);
                path.push(Step::Element(u64::MAX));
                continue;
            }
            Token::ObjectEnd | Token::ArrayEnd => {
                path.pop();
                continue;
            }
            _ => next_element(&mut path),
        }
        match token {
            Token::String(text) if !text.inside.is_empty() => {
                if let Some(channel) = format.channel(&path) {
                    let (text, map) = unescape(document, &text, MAX_RUNS)?;
                    places.push(Place { channel, text, map: map.further(base) });
                }
            }
            Token::Number(number) => {
                if let Ok(value) = document[number.literal].parse() {
                    numbers.see(&path, value);
                }
            }
            _ => {}
        }
    }
    for place in &mut places {
        numbers.name(format, &mut place.channel);
    }
    Ok(places)
}

/// A value begins: in an array, it is the next one.
fn next_element(path: &mut [Step]) {
    if let Some(Step::Element(at)) = path.last_mut() {
        *at = at.wrapping_add(1);
    }
}

impl Format {
    /// The channel of a string at `path`, if a model wrote it; numbered by where it stands.
    fn channel(self, path: &[Step]) -> Option<Channel> {
        use Key::{
            Arguments, Choices, Content, ContentBlock, Custom, Delta, Function, FunctionCall, Input, Message,
            PartialJson, Reasoning, Refusal, Text, ToolCalls,
        };
        use Step::{Element, Key as K};
        let channel = |kind, index, call| Some(Channel { kind, index, call });
        match (self, path) {
            (Self::OpenAi, [K(Choices), Element(choice), K(Message | Delta), said @ ..]) => match said {
                // Some endpoints give out parts.
                [K(Content)] | [K(Content), Element(_), K(Text)] => channel(Kind::Text, *choice, None),
                [K(Refusal)] => channel(Kind::Refusal, *choice, None),
                [K(Reasoning)] => channel(Kind::Reasoning, *choice, None),
                [K(ToolCalls), Element(call), K(Function), K(Arguments)] => {
                    channel(Kind::Arguments, *choice, Some(*call))
                }
                [K(ToolCalls), Element(call), K(Custom), K(Input)] => channel(Kind::Input, *choice, Some(*call)),
                [K(FunctionCall), K(Arguments)] => channel(Kind::Arguments, *choice, None),
                _ => None,
            },
            // What a model thought is signed, and must not change.
            (Self::Anthropic, [K(Content), Element(block), K(Text)]) => channel(Kind::Text, *block, None),
            (Self::Anthropic, [K(Content), Element(block), K(Input), ..]) => channel(Kind::Input, *block, None),
            (Self::Anthropic, [K(Delta | ContentBlock), K(Text)]) => channel(Kind::Text, 0, None),
            (Self::Anthropic, [K(Delta), K(PartialJson)]) => channel(Kind::Arguments, 0, None),
            _ => None,
        }
    }
}

impl Numbers {
    fn see(&mut self, path: &[Step], value: u64) {
        use Step::{Element, Key as K};
        match path {
            [K(Key::Index)] => self.block = value,
            [K(Key::Choices), Element(choice), K(Key::Index)] => {
                self.choices.insert(*choice, value);
            }
            [K(Key::Choices), Element(choice), K(Key::Delta), K(Key::ToolCalls), Element(call), K(Key::Index)] => {
                self.calls.insert((*choice, *call), value);
            }
            _ => {}
        }
    }

    /// Replaces the place in the document by the number that is given there.
    fn name(&self, format: Format, channel: &mut Channel) {
        if format == Format::Anthropic {
            channel.index += self.block;
            return;
        }
        channel.call = channel.call.map(|call| *self.calls.get(&(channel.index, call)).unwrap_or(&call));
        channel.index = *self.choices.get(&channel.index).unwrap_or(&channel.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(format: Format, document: &str) -> Vec<(Kind, u64, Option<u64>, String)> {
        let places = places(format, document, 0).unwrap();
        let found = places.into_iter().map(|place| {
            let Place { channel: Channel { kind, index, call }, text, .. } = place;
            (kind, index, call, text.into_owned())
        });
        found.collect()
    }

    #[test]
    fn choices_and_calls_go_by_their_numbers() {
        let chunk = r#"{"id":"x","choices":[{"delta":{"role":"assistant","content":"a","refusal":null,"reasoning_content":"b",
            "tool_calls":[{"function":{"name":"f","arguments":"{"},"id":"y","index":3},{"index":1,"custom":{"input":"c"}}]},
            "index":2},{"index":0,"delta":{"content":"d"}}],"usage":{"index":9}}"#;
        let expected = [
            (Kind::Text, 2, None, "a"),
            (Kind::Reasoning, 2, None, "b"),
            (Kind::Arguments, 2, Some(3), "{"),
            (Kind::Input, 2, Some(1), "c"),
            (Kind::Text, 0, None, "d"),
        ];
        assert_eq!(found(Format::OpenAi, chunk), expected.map(|(kind, a, b, text)| (kind, a, b, text.to_owned())));
    }

    #[test]
    fn what_is_signed_is_not_the_words_of_the_answer() {
        let message = r#"{"content":[{"type":"thinking","thinking":"a","signature":"s"},{"type":"text","text":"b"},
            {"type":"tool_use","id":"x","name":"f","input":{"c":"d","e":[{"f":"g"},"h"],"n":1}}],"model":"m"}"#;
        let expected = [
            (Kind::Text, 1, None, "b"),
            (Kind::Input, 2, None, "d"),
            (Kind::Input, 2, None, "g"),
            (Kind::Input, 2, None, "h"),
        ];
        assert_eq!(found(Format::Anthropic, message), expected.map(|(kind, a, b, text)| (kind, a, b, text.to_owned())));
        let delta = |delta: &str| {
            found(Format::Anthropic, &format!(r#"{{"type":"content_block_delta","index":4,"delta":{delta}}}"#))
        };
        assert_eq!(delta(r#"{"type":"text_delta","text":"a"}"#), [(Kind::Text, 4, None, "a".to_owned())]);
        let json = delta(r#"{"type":"input_json_delta","partial_json":"\"a"}"#);
        assert_eq!(json, [(Kind::Arguments, 4, None, "\"a".to_owned())]);
        assert_eq!(delta(r#"{"type":"thinking_delta","thinking":"a"}"#), []);
        assert_eq!(delta(r#"{"type":"signature_delta","signature":"a"}"#), []);
    }

    #[test]
    fn other_documents_have_no_words() {
        for document in ["{}", "[]", "\"content\"", r#"{"error":{"message":"x"}}"#, r#"[{"choices":[]}]"#] {
            assert_eq!(found(Format::OpenAi, document), []);
            assert_eq!(found(Format::Anthropic, document), []);
        }
        assert!(places(Format::OpenAi, "[DONE]", 0).is_err());
    }
}
