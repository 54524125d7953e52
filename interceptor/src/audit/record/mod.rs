//! The audit record: what a reader of the log gets for one exchange.
//!
//! Every member is always present; what is not known is `null`. Strings arrive here already masked: this room stores
//! what it is given.

mod caller;
mod note;

pub use caller::{Caller, Identity, Parent};
pub use note::Note;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Class, Time};
use crate::flow::{Action, ExchangeId};

/// One exchange: a request, what was decided about it, and the response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Names the exchange everywhere: in the log, in errors shown to the client.
    pub id: ExchangeId,
    /// When the request arrived.
    pub time: Time,
    /// The host's name; the log fills it in.
    #[serde(default)]
    pub host: String,
    /// Who called.
    #[serde(default)]
    pub caller: Caller,
    /// Where the request was going.
    #[serde(default)]
    pub endpoint: Endpoint,
    /// What was asked.
    #[serde(default)]
    pub request: Request,
    /// Findings, counted by rule and action.
    #[serde(default)]
    pub findings: Vec<FindingCount>,
    /// How much of the body was looked at.
    #[serde(default)]
    pub coverage: Coverage,
    /// What policy decided.
    #[serde(default)]
    pub decision: Decision,
    /// What came back.
    #[serde(default)]
    pub response: Response,
    /// How long it took.
    #[serde(default)]
    pub timing: Timing,
    /// Where the record is in the log; the reader fills it in.
    #[serde(default)]
    pub log: Position,
    /// How far the exchange came; the reader fills it in.
    #[serde(default)]
    pub state: State,
}

impl Record {
    /// Whose data the exchange is: the caller's identity where that is known, else its user id.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        let named = self.caller.identity.as_ref().and_then(|identity| identity.subject.as_deref());
        let name = named.map(str::to_owned).or_else(|| self.caller.uid.map(|uid| format!("uid:{uid}")))?;
        Some(name.replace(char::is_control, "_"))
    }

    /// A record of an exchange that starts now, with everything else unknown.
    #[must_use]
    pub fn new(id: ExchangeId) -> Self {
        Self {
            id,
            time: Time::now(),
            host: String::new(),
            caller: Caller::default(),
            endpoint: Endpoint::default(),
            request: Request::default(),
            findings: Vec::new(),
            coverage: Coverage::default(),
            decision: Decision::default(),
            response: Response::default(),
            timing: Timing::default(),
            log: Position::default(),
            state: State::Open,
        }
    }

    /// Fills in what is known of the end.
    pub(crate) fn take_end(&mut self, completion: Completion) {
        self.response = completion.response;
        self.response.error = completion.reason;
        self.timing = completion.timing;
        self.state = completion.state;
        self.request.bytes = completion.request_bytes.or(self.request.bytes);
        self.coverage.streamed(completion.request_bytes);
    }
}

/// Where a request was going.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Protocol family: `openai`, `anthropic`.
    pub provider: Option<String>,
    /// The name asked for.
    pub host: Option<String>,
    /// The original destination address.
    pub ip: Option<IpAddr>,
    /// The original destination port.
    pub port: Option<u16>,
}

/// What was asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// HTTP method.
    pub method: Option<String>,
    /// Path and query, masked.
    pub path: Option<String>,
    /// The provider's name for the call: `chat.completions`.
    pub operation: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// Bytes of the body as the client sent it.
    pub bytes: Option<u64>,
    /// Bytes of text found in it.
    pub text_bytes: Option<u64>,
    /// The request as it left; the reader fills it in.
    pub masked: Option<MaskedRequest>,
}

/// The request as it left the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaskedRequest {
    /// How `text` is written.
    pub encoding: Encoding,
    /// The body.
    pub text: String,
    /// Request line and header fields, credentials removed; bytes that are not UTF-8 are replaced.
    pub head: String,
}

impl MaskedRequest {
    /// From the bytes of head and body.
    #[must_use]
    pub fn new(head: &[u8], body: Vec<u8>) -> Self {
        let (encoding, text) = Encoding::of(body);
        Self { encoding, text, head: String::from_utf8_lossy(head).into_owned() }
    }
}

/// How content stands in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// The bytes are UTF-8 and stand as they are.
    #[serde(rename = "utf-8")]
    Utf8,
    /// The bytes are not UTF-8: standard base64 with padding.
    Base64,
    /// Only an auditor's key opens the content.
    Sealed,
}

impl Encoding {
    /// The way to write `bytes`, and the written text.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> (Self, String) {
        use base64::Engine as _;
        match String::from_utf8(bytes) {
            Ok(text) => (Self::Utf8, text),
            Err(e) => (Self::Base64, base64::engine::general_purpose::STANDARD.encode(e.as_bytes())),
        }
    }
}

/// How often one rule fired, and what was done about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingCount {
    /// The kind of value: `CREDIT_CARD`.
    #[serde(rename = "type")]
    pub entity: String,
    /// The rule's name.
    pub rule: String,
    /// How often.
    pub count: u64,
    /// What was done.
    pub action: Action,
}

/// How much of a body was looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coverage {
    /// Bytes of text that went through the matcher.
    pub scanned_bytes: Option<u64>,
    /// Bytes that could not be read as text.
    pub opaque_bytes: Option<u64>,
    /// Part by part.
    pub parts: Vec<Part>,
}

impl Coverage {
    /// What was passed on as it came is measured at its end.
    pub(crate) fn streamed(&mut self, bytes: Option<u64>) {
        if let ([part], None) = (&mut self.parts[..], self.opaque_bytes) {
            (part.bytes, self.opaque_bytes) = (bytes, bytes);
        }
    }
}

/// One part of a body.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// Where: `messages[0].content[1].text`.
    pub path: String,
    /// Its size.
    pub bytes: Option<u64>,
    /// `scanned`, `opaque` or what else the scanner says.
    pub status: String,
    /// Why it was not scanned.
    pub reason: Option<String>,
}

/// What policy decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decision {
    /// `allow`, `mask`, `deny`.
    pub action: Option<String>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// In words.
    pub reason: Option<String>,
    /// Who approved, when someone was asked.
    pub approval: Option<Approval>,
}

/// A human's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Approval {
    /// Names the question.
    pub id: Option<String>,
    /// Who answered.
    pub approver: Option<String>,
    /// When.
    pub at: Option<Time>,
    /// Why.
    pub reason: Option<String>,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Response {
    /// HTTP status.
    pub status: Option<u16>,
    /// Bytes of the body.
    pub bytes: Option<u64>,
    /// Why the model stopped.
    pub finish_reason: Option<String>,
    /// Token counts as the provider gave them.
    pub usage: Option<serde_json::Value>,
    /// Values that the client got back in place of their tokens, by kind; null where that was not to be done, or could
    /// not. The content as the log holds it has the tokens.
    pub restored: Option<BTreeMap<String, u64>>,
    /// Why tokens were left that could have been replaced.
    pub not_restored: Option<String>,
    /// Why the exchange ended before its end; the reader fills it in from [`Completion::reason`].
    pub error: Option<String>,
    /// The content as the log holds it; the reader fills it in.
    pub body: Option<ResponseBody>,
}

impl Response {
    /// Tokens of the request and of the response, as the provider counted them.
    #[must_use]
    pub fn tokens(&self) -> (Option<u64>, Option<u64>) {
        let count = |name: &str| self.usage.as_ref().and_then(|usage| usage[name].as_u64());
        (count("input_tokens"), count("output_tokens"))
    }
}

/// The response's content as the log holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResponseBody {
    /// `sealed` unless the reader was given an auditor's key.
    pub encoding: Encoding,
    /// The content, when readable.
    pub text: Option<String>,
    /// Bytes of the content.
    pub bytes: u64,
}

/// How long an exchange took, measured from its first byte.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// What the interceptor added, in microseconds.
    pub overhead_us: Option<u64>,
    /// How long a human was waited for, in milliseconds.
    pub hold_ms: Option<u64>,
    /// To the response's first byte, in microseconds.
    pub first_byte_us: Option<u64>,
    /// To the response's last byte, in microseconds.
    pub total_us: Option<u64>,
}

/// Where a record is in the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// Sequence number of the frame that opened the record.
    pub sequence: Option<u64>,
    /// That frame's RFC 6962 leaf hash, in hexadecimal.
    pub leaf_hash: Option<String>,
    /// Size of the signed tree that covers the whole record; null until one does.
    pub checkpoint: Option<u64>,
    /// A frame of the record is not what was written: what stands here may be wrong.
    pub damaged: bool,
    /// Classes of content of which the record has lost some: retention removed it, or it was erased.
    pub removed: Vec<Class>,
}

/// How far an exchange came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The response is still awaited or coming in.
    #[default]
    Open,
    /// Ended as meant.
    Complete,
    /// Ended before its end: the client or the endpoint went away, or the daemon was killed.
    Aborted,
}

/// What is known when an exchange ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Completion {
    /// What came back; `body` and `error` are ignored.
    pub response: Response,
    /// How long it took.
    pub timing: Timing,
    /// How it ended: `complete` or `aborted`.
    pub state: State,
    /// Why it was aborted.
    pub reason: Option<String>,
    /// Bytes of the request, where they were not known when the record was opened: what was passed on unread.
    pub request_bytes: Option<u64>,
}

impl Default for Completion {
    fn default() -> Self {
        Self {
            response: Response::default(),
            timing: Timing::default(),
            state: State::Complete,
            reason: None,
            request_bytes: None,
        }
    }
}

impl Completion {
    /// Ended before its end, for `reason`.
    #[must_use]
    pub fn aborted(reason: impl Into<String>) -> Self {
        Self { state: State::Aborted, reason: Some(reason.into()), ..Self::default() }
    }
}
