//! What a response says about itself, learned while it passes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::eventstream::{AwsEventStream, AwsMessage};
use super::format::{self, is_lines};
use super::line_stream::LineStream;
use super::sse::EventStream;
use crate::flow::Provider;

/// Watches the content of one response. Never fails and never holds it up: what it cannot read stays unknown.
#[derive(Debug)]
pub struct Summary {
    provider: Provider,
    mode: Mode,
    outcome: Outcome,
}

/// What was learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The model that answered.
    pub model: Option<String>,
    /// Why generation stopped, for each choice: `stop`, `length`, `tool_calls`, `end_turn` ...
    pub finish_reasons: Vec<String>,
    /// Tokens of the request, as billed.
    pub input_tokens: Option<u64>,
    /// Tokens of the response, as billed.
    pub output_tokens: Option<u64>,
    /// Whether the response came to its proper end: `[DONE]`, `message_stop`, `"done": true`, or a complete JSON
    /// document. `None` when its format does not tell.
    pub complete: Option<bool>,
}

#[derive(Debug)]
enum Mode {
    Json(Vec<u8>),
    Events(EventStream),
    /// NDJSON, as Ollama streams.
    Lines(LineStream),
    /// As Bedrock streams.
    Aws(AwsEventStream),
    Unknown,
}

/// The longest JSON response that is kept for reading.
const MAX_JSON: usize = 4 << 20;
/// The longest event that is read.
const MAX_EVENT: usize = 1 << 20;
/// The longest model name or reason that is kept.
const MAX_WORD: usize = 128;
/// The most choices a response can have.
const MAX_CHOICES: usize = 128;

impl Summary {
    /// An observer of a response with this Content-Type. Content that is compressed must not be fed; say `None` then.
    #[must_use]
    pub fn new(provider: Provider, content_type: Option<&str>) -> Self {
        let (essence, _) = format::split(content_type.unwrap_or_default());
        let mode = match &essence.to_ascii_lowercase()[..] {
            "application/json" => Mode::Json(Vec::new()),
            "text/event-stream" => Mode::Events(EventStream::new(MAX_EVENT)),
            "application/vnd.amazon.eventstream" => Mode::Aws(AwsEventStream::default()),
            lines if is_lines(lines) => Mode::Lines(LineStream::new(MAX_EVENT)),
            _ => Mode::Unknown,
        };
        Self { provider, mode, outcome: Outcome::default() }
    }

    /// Takes the next piece of content.
    pub fn feed(&mut self, content: &[u8]) {
        match &mut self.mode {
            Mode::Unknown => {}
            Mode::Json(held) if held.len() + content.len() > MAX_JSON => self.mode = Mode::Unknown,
            Mode::Json(held) => held.extend_from_slice(content),
            Mode::Events(stream) => {
                let (outcome, provider) = (&mut self.outcome, self.provider);
                stream.feed(content, |event| {
                    if let Some(data) = event.data() {
                        outcome.see(provider, data.as_bytes());
                    }
                });
            }
            Mode::Lines(stream) => {
                let (outcome, provider) = (&mut self.outcome, self.provider);
                stream.feed(content, |line| outcome.see(provider, line));
            }
            Mode::Aws(stream) => {
                let (outcome, provider) = (&mut self.outcome, self.provider);
                if stream.feed(content, |message| outcome.see_aws(provider, message)).is_err() {
                    self.mode = Mode::Unknown;
                }
            }
        }
    }

    /// The response has ended, or was cut off.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        match self.mode {
            Mode::Unknown => {}
            Mode::Events(_) | Mode::Aws(_) => self.outcome.complete = Some(self.outcome.complete == Some(true)),
            Mode::Lines(mut stream) => {
                stream.finish(|line| self.outcome.see(self.provider, line));
                // Others' lines have no last one.
                let tells = self.provider == Provider::Ollama;
                self.outcome.complete = self.outcome.complete.or(tells.then_some(false));
            }
            Mode::Json(held) => {
                let message = serde_json::from_slice::<Message>(&held);
                // Not every complete document has the shape of a message.
                let complete = message.is_ok() || serde_json::from_slice::<serde::de::IgnoredAny>(&held).is_ok();
                self.outcome.complete = Some(complete);
                if let Ok(message) = message {
                    self.outcome.merge(message);
                }
            }
        }
        self.outcome
    }
}

impl Outcome {
    fn see(&mut self, provider: Provider, data: &[u8]) {
        if provider == Provider::OpenAi && data == b"[DONE]" {
            self.complete = Some(true);
        } else if let Ok(message) = serde_json::from_slice::<Message>(data) {
            let ended = message.r#type.as_deref() == Some("message_stop") || message.done == Some(true);
            self.complete = self.complete.or(ended.then_some(true));
            self.merge(message);
        }
    }

    /// Bedrock: an event of Converse is JSON, one of InvokeModel is the model's own event in base64 in JSON.
    /// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html>
    fn see_aws(&mut self, provider: Provider, message: AwsMessage<'_>) {
        let kind = message.text(":event-type");
        if kind == Some("messageStop") {
            self.complete = self.complete.or(Some(true));
        }
        match serde_json::from_slice::<Chunk>(message.payload()) {
            Ok(Chunk { bytes: Some(bytes) }) => {
                if let Ok(event) = STANDARD.decode(bytes) {
                    self.see(provider, &event);
                }
            }
            _ => self.see(provider, message.payload()),
        }
    }

    fn merge(&mut self, message: Message) {
        self.input_tokens = message.prompt_eval_count.or(self.input_tokens);
        self.output_tokens = message.eval_count.or(self.output_tokens);
        let Message { model, choices, usage, stop_reason, done_reason, message, delta, .. } = message;
        if let Some(model) = model.filter(|model| model.len() <= MAX_WORD) {
            self.model = Some(model);
        }
        let delta_reason = delta.and_then(|delta| delta.stop_reason);
        let reasons = choices.unwrap_or_default().into_iter().filter_map(|choice| choice.finish_reason);
        for reason in
            reasons.chain(stop_reason).chain(done_reason).chain(delta_reason).filter(|reason| reason.len() <= MAX_WORD)
        {
            if self.finish_reasons.len() < MAX_CHOICES {
                self.finish_reasons.push(reason);
            }
        }
        if let Some(usage) = usage {
            // Anthropic counts on while it streams: the last number is the total.
            self.input_tokens = usage.prompt_tokens.or(usage.input_tokens).or(self.input_tokens);
            self.output_tokens = usage.completion_tokens.or(usage.output_tokens).or(self.output_tokens);
        }
        if let Some(message) = message {
            self.merge(*message);
        }
    }
}

/// The parts that matter of the providers' responses and stream events. No key means different things in two of them.
#[derive(Deserialize)]
struct Message {
    model: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    /// Anthropic, not streamed; and Bedrock's `messageStop`.
    #[serde(alias = "stopReason")]
    stop_reason: Option<String>,
    /// Anthropic's event type.
    r#type: Option<String>,
    /// Anthropic's `message_start`.
    message: Option<Box<Message>>,
    /// Anthropic's `message_delta`.
    delta: Option<Delta>,
    /// Ollama's last line (<https://docs.ollama.com/api/chat>), as the next three.
    done: Option<bool>,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
}

/// Bedrock's `chunk`.
#[derive(Deserialize)]
struct Chunk {
    bytes: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    #[serde(alias = "inputTokens")]
    input_tokens: Option<u64>,
    #[serde(alias = "outputTokens")]
    output_tokens: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::super::eventstream;
    use super::*;

    /// The outcome, which must not depend on how the content is cut.
    fn outcome(provider: Provider, content_type: &str, content: &str) -> Outcome {
        let feed = |size: usize| {
            let mut summary = Summary::new(provider, Some(content_type));
            content.as_bytes().chunks(size).for_each(|piece| summary.feed(piece));
            summary.finish()
        };
        let whole = feed(content.len().max(1));
        (1..24).for_each(|size| assert_eq!(feed(size), whole, "in pieces of {size}"));
        whole
    }

    fn expected(model: &str, reasons: &[&str], tokens: (u64, u64), complete: bool) -> Outcome {
        Outcome {
            model: Some(model.to_owned()),
            finish_reasons: reasons.iter().map(ToString::to_string).collect(),
            input_tokens: Some(tokens.0),
            output_tokens: Some(tokens.1),
            complete: Some(complete),
        }
    }

    const OPENAI_STREAM: &str = concat!(
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":",
        "{\"role\":\"assistant\",\"content\":\"[DONE]\"},\"finish_reason\":null}],\"usage\":null}\n\n",
        "data: {\"model\":\"gpt-4o\",\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n",
        "data: {\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34,\"total_tokens\":46}}\n\n",
        "data: [DONE]\n\n",
    );

    const ANTHROPIC_STREAM: &str = concat!(
        "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",",
        "\"model\":\"claude-sonnet-4-5\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\r\n\r\n",
        "event: ping\r\ndata: {\"type\":\"ping\"}\r\n\r\n",
        "event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\",\"index\":0,",
        "\"delta\":{\"type\":\"text_delta\",\"text\":\"message_stop\"}}\r\n\r\n",
        "event: message_delta\r\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},",
        "\"usage\":{\"output_tokens\":15}}\r\n\r\n",
        "event: message_stop\r\ndata: {\"type\":\"message_stop\"}\r\n\r\n",
    );

    #[test]
    fn reads_an_openai_stream() {
        let all = expected("gpt-4o", &["length", "stop"], (12, 34), true);
        assert_eq!(outcome(Provider::OpenAi, "text/event-stream; charset=utf-8", OPENAI_STREAM), all);
        let cut = OPENAI_STREAM.strip_suffix("data: [DONE]\n\n").unwrap();
        assert_eq!(outcome(Provider::OpenAi, "text/event-stream", cut).complete, Some(false));
    }

    #[test]
    fn reads_an_anthropic_stream() {
        let all = expected("claude-sonnet-4-5", &["end_turn"], (25, 15), true);
        assert_eq!(outcome(Provider::Anthropic, "text/event-stream", ANTHROPIC_STREAM), all);
        let cut = &ANTHROPIC_STREAM[..ANTHROPIC_STREAM.len() - 2];
        assert_eq!(outcome(Provider::Anthropic, "text/event-stream", cut).complete, Some(false));
    }

    #[test]
    fn reads_documents() {
        let openai = r#"{"model":"gpt-4o","choices":[{"message":{"content":"x"},"finish_reason":"tool_calls"}],
            "usage":{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":0}}}"#;
        assert_eq!(
            outcome(Provider::OpenAi, "application/json", openai),
            expected("gpt-4o", &["tool_calls"], (1, 2), true)
        );
        let anthropic = r#"{"type":"message","model":"claude-sonnet-4-5","content":[{"type":"text","text":"x"}],
            "stop_reason":"max_tokens","usage":{"input_tokens":3,"output_tokens":4}}"#;
        assert_eq!(
            outcome(Provider::Anthropic, "application/json", anthropic),
            expected("claude-sonnet-4-5", &["max_tokens"], (3, 4), true)
        );
        assert_eq!(outcome(Provider::OpenAi, "application/json", &openai[..60]).complete, Some(false));
    }

    #[test]
    fn reads_an_ollama_stream() {
        let stream = concat!(
            "{\"model\":\"llama3.2\",\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"done\":false}\n",
            "{\"model\":\"llama3.2\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,",
            "\"done_reason\":\"stop\",\"prompt_eval_count\":26,\"eval_count\":298}\n",
        );
        let all = expected("llama3.2", &["stop"], (26, 298), true);
        assert_eq!(outcome(Provider::Ollama, "application/x-ndjson", stream), all);
        assert_eq!(outcome(Provider::Ollama, "application/x-ndjson", stream.trim_end()), all, "without the last LF");
        let last = stream.lines().last().unwrap();
        assert_eq!(outcome(Provider::Ollama, "application/json; charset=utf-8", last), all);
        let first = stream.lines().next().unwrap();
        assert_eq!(outcome(Provider::Ollama, "application/x-ndjson", first).complete, Some(false));
        assert_eq!(outcome(Provider::Other, "application/x-ndjson", "{}\n{}\n"), Outcome::default());
    }

    /// The outcome of these events of Bedrock, however they are cut.
    fn bedrock(events: &[(&str, String)]) -> Outcome {
        let stream = events.iter().flat_map(|(kind, payload)| eventstream::event(kind, payload.as_bytes()));
        let stream: Vec<u8> = stream.collect();
        let feed = |size: usize| {
            let mut summary = Summary::new(Provider::Bedrock, Some("application/vnd.amazon.eventstream"));
            stream.chunks(size).for_each(|piece| summary.feed(piece));
            summary.finish()
        };
        let whole = feed(stream.len());
        (1..24).for_each(|size| assert_eq!(feed(size), whole, "in pieces of {size}"));
        whole
    }

    #[test]
    fn reads_bedrock_streams() {
        let converse = [
            ("messageStart", r#"{"role":"assistant"}"#.to_owned()),
            ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"hi"}}"#.to_owned()),
            ("messageStop", r#"{"stopReason":"end_turn"}"#.to_owned()),
            ("metadata", r#"{"usage":{"inputTokens":25,"outputTokens":15,"totalTokens":40}}"#.to_owned()),
        ];
        let all = Outcome { model: None, ..expected("", &["end_turn"], (25, 15), true) };
        assert_eq!(bedrock(&converse), all);
        assert_eq!(bedrock(&converse[..2]).complete, Some(false));
        let events = ANTHROPIC_STREAM.lines().filter_map(|line| line.strip_prefix("data: "));
        let chunks: Vec<_> =
            events.map(|event| ("chunk", format!(r#"{{"bytes":"{}","p":"ab"}}"#, STANDARD.encode(event)))).collect();
        assert_eq!(bedrock(&chunks), expected("claude-sonnet-4-5", &["end_turn"], (25, 15), true));
        let mut summary = Summary::new(Provider::Bedrock, Some("application/vnd.amazon.eventstream"));
        summary.feed(b"{\"message\":\"this is no event stream\"}");
        assert_eq!(summary.finish(), Outcome::default());
    }

    #[test]
    fn what_it_cannot_read_stays_unknown() {
        assert_eq!(outcome(Provider::OpenAi, "text/html", "<html>"), Outcome::default());
        let complete = Outcome { complete: Some(true), ..Outcome::default() };
        for body in ["[1]", r#"{"model":5}"#, r#"{"error":{"message":"m","type":"t"}}"#, r#"{"message":"not found"}"#] {
            assert_eq!(outcome(Provider::OpenAi, "application/json", body), complete, "{body}");
        }
        let mut summary = Summary::new(Provider::OpenAi, Some("application/json"));
        (0..5).for_each(|_| summary.feed(&[b' '; 1 << 20]));
        assert_eq!(summary.finish(), Outcome::default());
        let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(200));
        assert_eq!(outcome(Provider::OpenAi, "application/json", &long), complete);
    }
}
