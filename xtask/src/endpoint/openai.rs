//! OpenAI's Chat Completions: <https://platform.openai.com/docs/api-reference/chat>.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Wishes, pieces};
use super::serve::{Event, Reply};

/// The models `GET /v1/models` lists; any name is answered.
pub(crate) const MODELS: [&str; 3] = ["gpt-4o", "gpt-4o-mini", "gpt-4.1"];

#[derive(Deserialize)]
struct Request {
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
}

#[derive(Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Value,
}

/// Answers `POST /v1/chat/completions`.
pub(crate) fn chat(body: &[u8], wishes: &Wishes, number: u64) -> Reply {
    let request: Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(problem) => return error(400, &format!("We could not parse the JSON body of your request: {problem}")),
    };
    if request.messages.is_empty() {
        return error(400, "[] is too short - 'messages'");
    }
    let asked = request.messages.iter().rev().find(|message| message.role == "user");
    let Some(said) = asked.map(|message| text_of(&message.content)) else {
        return error(400, "There is no message with the role 'user' to answer.");
    };
    let answer = Answer::echo(&said, wishes, request.max_completion_tokens.or(request.max_tokens));
    let prompt: usize = request.messages.iter().map(|message| pieces(&text_of(&message.content)).len()).sum();
    let usage = json!({
        "prompt_tokens": prompt,
        "completion_tokens": answer.pieces.len(),
        "total_tokens": prompt + answer.pieces.len(),
    });
    let reply = Completion {
        id: format!("chatcmpl-lab{number:08}"),
        created: jiff::Timestamp::now().as_second(),
        model: request.model,
        finish: match &wishes.tool {
            _ if answer.cut => "length",
            Some(_) => "tool_calls",
            None => "stop",
        },
        tool: wishes.tool.clone(),
        usage,
    };
    if request.stream {
        Reply::Events(reply.events(&answer, request.stream_options.include_usage))
    } else {
        Reply::Json(200, reply.whole(&answer))
    }
}

/// Answers `GET /v1/models`.
pub(crate) fn models() -> Reply {
    let list = MODELS.map(|id| json!({"id": id, "object": "model", "created": 1_715_367_049, "owned_by": "lab"}));
    Reply::Json(200, json!({"object": "list", "data": list}))
}

/// An error in OpenAI's shape.
pub(crate) fn error(status: u16, message: &str) -> Reply {
    let kind = if status >= 500 { "server_error" } else { "invalid_request_error" };
    Reply::Json(status, json!({"error": {"message": message, "type": kind, "param": null, "code": null}}))
}

struct Completion {
    id: String,
    created: i64,
    model: String,
    finish: &'static str,
    /// The one that is called instead of an answer.
    tool: Option<String>,
    usage: Value,
}

impl Completion {
    fn whole(&self, answer: &Answer) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": self.message(answer),
                "logprobs": null,
                "finish_reason": self.finish,
            }],
            "usage": self.usage,
        })
    }

    fn events(&self, answer: &Answer, with_usage: bool) -> Vec<Event> {
        let mut events = vec![self.chunk(&json!({"role": "assistant", "content": ""}), &Value::Null)];
        let begun = self.tool.as_ref().map(|tool| {
            let function = json!({"name": tool, "arguments": ""});
            json!([{"index": 0, "id": "call_lab", "type": "function", "function": function}])
        });
        events.extend(begun.map(|call| self.chunk(&json!({"tool_calls": call}), &Value::Null)));
        events.extend(answer.pieces.iter().map(|piece| {
            let delta = match self.tool {
                None => json!({"content": piece}),
                Some(_) => json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}),
            };
            self.chunk(&delta, &Value::Null)
        }));
        events.push(self.chunk(&json!({}), &self.finish.into()));
        if with_usage {
            let mut last = self.frame();
            last["choices"] = json!([]);
            last["usage"] = self.usage.clone();
            events.push(event(&last, false));
        }
        events.push(event(&"[DONE]", false));
        events
    }

    fn message(&self, answer: &Answer) -> Value {
        let Some(tool) = &self.tool else {
            return json!({"role": "assistant", "content": answer.text(), "refusal": null});
        };
        let function = json!({"name": tool, "arguments": answer.text()});
        let calls = json!([{"id": "call_lab", "type": "function", "function": function}]);
        json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": calls})
    }

    fn chunk(&self, delta: &Value, finish: &Value) -> Event {
        let mut chunk = self.frame();
        chunk["choices"] = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
        event(&chunk, delta["content"].as_str().is_some_and(|piece| !piece.is_empty()))
    }

    fn frame(&self) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
        })
    }
}

fn event(data: &dyn std::fmt::Display, speaks: bool) -> Event {
    Event { lines: format!("data: {data}\n\n"), speaks }
}

/// The text of a message: a string, or the text parts of an array.
pub(crate) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(extra: &str) -> String {
        format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"hi \u0034"}}]{extra}}}"#)
    }

    #[test]
    fn echoes_the_decoded_message_and_counts_it() {
        let Reply::Json(200, reply) = chat(body("").as_bytes(), &Wishes::default(), 1) else { panic!("not JSON") };
        assert_eq!(reply["choices"][0]["message"]["content"], "You said: hi 4");
        assert_eq!(reply["usage"]["prompt_tokens"], 2);
        assert_eq!(reply["usage"]["total_tokens"], 6);
    }

    #[test]
    fn streams_role_pieces_reason_usage_and_done_in_this_order() {
        let body = body(r#","stream":true,"stream_options":{"include_usage":true}"#);
        let Reply::Events(events) = chat(body.as_bytes(), &Wishes::default(), 1) else { panic!("not a stream") };
        let parsed: Vec<Value> = events[..events.len() - 1]
            .iter()
            .map(|event| serde_json::from_str(event.lines.strip_prefix("data: ").unwrap()).unwrap())
            .collect();
        assert_eq!(parsed[0]["choices"][0]["delta"]["role"], "assistant");
        let text: String = parsed.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, "You said: hi 4");
        assert_eq!(parsed[parsed.len() - 2]["choices"][0]["finish_reason"], "stop");
        assert_eq!(parsed[parsed.len() - 1]["usage"]["completion_tokens"], 4);
        assert_eq!(events.last().unwrap().lines, "data: [DONE]\n\n");
        let speaking = events.iter().position(|event| event.speaks);
        assert_eq!(speaking, Some(1), "the event with the role says nothing yet");
    }

    #[test]
    fn refuses_what_is_not_a_request() {
        for bad in ["{", "[]", r#"{"model":"m","messages":[]}"#, r#"{"messages":[{"role":"user"}]}"#] {
            let Reply::Json(400, reply) = chat(bad.as_bytes(), &Wishes::default(), 1) else {
                panic!("{bad} was answered")
            };
            assert_eq!(reply["error"]["type"], "invalid_request_error", "{bad}");
        }
    }
}
