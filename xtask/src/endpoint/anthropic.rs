//! Anthropic's Messages: <https://docs.anthropic.com/en/api/messages>.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Wishes, pieces};
use super::openai::text_of;
use super::serve::{Event, Reply};

/// The models `GET /v1/models` lists; any name is answered.
const MODELS: [&str; 2] = ["claude-sonnet-4-5", "claude-haiku-4-5"];

#[derive(Deserialize)]
struct Request {
    model: String,
    max_tokens: usize,
    messages: Vec<Message>,
    #[serde(default)]
    system: Value,
    #[serde(default)]
    stream: bool,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Value,
}

/// Answers `POST /v1/messages`.
pub(crate) fn messages(body: &[u8], wishes: &Wishes, number: u64) -> Reply {
    let request: Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(problem) => return error(400, &format!("The request body is not valid: {problem}")),
    };
    let asked = request.messages.iter().rev().find(|message| message.role == "user");
    let Some(said) = asked.map(|message| text_of(&message.content)) else {
        return error(400, "messages: at least one message with the role 'user' is required");
    };
    let answer = Answer::echo(&said, wishes, Some(request.max_tokens));
    let prompt: usize = request.messages.iter().map(|message| pieces(&text_of(&message.content)).len()).sum();
    let reply = Outgoing {
        id: format!("msg_lab{number:08}"),
        model: request.model,
        input: prompt + pieces(&text_of(&request.system)).len(),
        stop: match &wishes.tool {
            _ if answer.cut => "max_tokens",
            Some(_) => "tool_use",
            None => "end_turn",
        },
        tool: wishes.tool.clone(),
    };
    if request.stream { Reply::Events(reply.events(&answer)) } else { Reply::Json(200, reply.whole(&answer)) }
}

/// Answers `GET /v1/models`.
pub(crate) fn models() -> Reply {
    let list =
        MODELS.map(|id| json!({"type": "model", "id": id, "display_name": id, "created_at": "2025-10-01T00:00:00Z"}));
    Reply::Json(200, json!({"data": list, "has_more": false, "first_id": MODELS[0], "last_id": MODELS[1]}))
}

/// An error in Anthropic's shape.
pub(crate) fn error(status: u16, message: &str) -> Reply {
    let kind = match status {
        404 => "not_found_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    Reply::Json(status, json!({"type": "error", "error": {"type": kind, "message": message}}))
}

struct Outgoing {
    id: String,
    model: String,
    input: usize,
    stop: &'static str,
    /// The one that is called instead of an answer.
    tool: Option<String>,
}

impl Outgoing {
    fn whole(&self, answer: &Answer) -> Value {
        let mut message = self.message(answer.pieces.len());
        message["content"] = match &self.tool {
            None => json!([{"type": "text", "text": answer.text()}]),
            Some(tool) => {
                let input: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
                json!([{"type": "tool_use", "id": "toolu_lab", "name": tool, "input": input}])
            }
        };
        message["stop_reason"] = self.stop.into();
        message
    }

    fn events(&self, answer: &Answer) -> Vec<Event> {
        let block = match &self.tool {
            None => json!({"type": "text", "text": ""}),
            Some(tool) => json!({"type": "tool_use", "id": "toolu_lab", "name": tool, "input": {}}),
        };
        let mut events = vec![
            event(&json!({"type": "message_start", "message": self.message(1)})),
            event(&json!({"type": "content_block_start", "index": 0, "content_block": block})),
            event(&json!({"type": "ping"})),
        ];
        events.extend(answer.pieces.iter().map(|piece| {
            let delta = match self.tool {
                None => json!({"type": "text_delta", "text": piece}),
                Some(_) => json!({"type": "input_json_delta", "partial_json": piece}),
            };
            event(&json!({"type": "content_block_delta", "index": 0, "delta": delta}))
        }));
        events.push(event(&json!({"type": "content_block_stop", "index": 0})));
        events.push(event(&json!({
            "type": "message_delta",
            "delta": {"stop_reason": self.stop, "stop_sequence": null},
            "usage": {"output_tokens": answer.pieces.len()},
        })));
        events.push(event(&json!({"type": "message_stop"})));
        events
    }

    fn message(&self, output: usize) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": {"input_tokens": self.input, "output_tokens": output},
        })
    }
}

fn event(data: &Value) -> Event {
    let kind = data["type"].as_str().unwrap_or_default();
    Event { lines: format!("event: {kind}\ndata: {data}\n\n"), speaks: kind == "content_block_delta" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"model":"claude-sonnet-4-5","max_tokens":50,"stream":STREAM,
        "messages":[{"role":"user","content":[{"type":"text","text":"hi there"}]}]}"#;

    #[test]
    fn echoes_text_blocks() {
        let body = BODY.replace("STREAM", "false");
        let Reply::Json(200, reply) = messages(body.as_bytes(), &Wishes::default(), 1) else { panic!("not JSON") };
        assert_eq!(reply["content"][0]["text"], "You said: hi there");
        assert_eq!(reply["stop_reason"], "end_turn");
        assert_eq!(reply["usage"], json!({"input_tokens": 2, "output_tokens": 4}));
    }

    #[test]
    fn streams_the_events_in_their_order() {
        let body = BODY.replace("STREAM", "true");
        let Reply::Events(events) = messages(body.as_bytes(), &Wishes::default(), 1) else { panic!("not a stream") };
        let names: Vec<&str> =
            events.iter().map(|event| event.lines.lines().next().unwrap().strip_prefix("event: ").unwrap()).collect();
        assert_eq!(names[..3], ["message_start", "content_block_start", "ping"]);
        assert_eq!(names[3..names.len() - 3], ["content_block_delta"; 4]);
        assert_eq!(names[names.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    }

    #[test]
    fn stops_at_max_tokens() {
        let body = BODY.replace("STREAM", "false").replace("50", "1");
        let Reply::Json(200, reply) = messages(body.as_bytes(), &Wishes::default(), 1) else { panic!("not JSON") };
        assert_eq!((&reply["content"][0]["text"], &reply["stop_reason"]), (&json!("You"), &json!("max_tokens")));
    }

    #[test]
    fn refuses_a_request_without_max_tokens() {
        let Reply::Json(400, reply) = messages(br#"{"model":"m","messages":[]}"#, &Wishes::default(), 1) else {
            panic!("answered")
        };
        assert_eq!(reply["error"]["type"], "invalid_request_error");
        assert!(reply["error"]["message"].as_str().unwrap().contains("max_tokens"), "{reply}");
    }
}
