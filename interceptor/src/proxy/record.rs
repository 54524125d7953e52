//! What is written down of an exchange: stage results become the audit record's fields, values masked first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::arrival::Arrival;
use super::connection::{Connection, Peer};
use super::desk::LARGE;
use super::exchange::Progress;
use super::reply::Reply;
use super::safe::{Safe, is_credential, may_be_credential};
use super::worker::Worker;
use crate::audit::{self, Completion, Coverage, FindingCount, Part, Record, Time};
use crate::capture::{BootTime, Flow};
use crate::flow::{Action, ExchangeId, Finding, Located, RuleMeta};
use crate::http::{RequestHead, Version, trailer_lines};
use crate::identity::Caller;
use crate::mask::{self, Scanner};
use crate::policy::{Actions, Plan};
use crate::tls::ConnectError;
use crate::upstream::DialError;
use crate::wire::{Document, Operation, Outcome};

/// A request head as it is stored: with every value masked, readable; and as it came, sealed.
pub(super) struct StoredHead {
    method: Option<String>,
    path: Option<String>,
    version: &'static str,
    /// As it came, but for credentials.
    original: Vec<u8>,
    /// Name and masked value of each field, trailers included.
    fields: Vec<(String, String)>,
    /// As they came.
    trailers: Vec<u8>,
}

impl StoredHead {
    pub(super) async fn of(worker: &Worker, head: &RequestHead) -> Self {
        let key = worker.shared.tokens.current();
        let bytes = head.fields().raw().len();
        if bytes > LARGE {
            let (head, key) = (head.clone(), Arc::clone(&key));
            let read = move |scanner: &mut Scanner| Self::read(Safe { scanner, key: &key }, &head);
            // Without a scanner there is still the worker's own.
            if let Ok(stored) = worker.desk.away(bytes, read).await {
                return stored;
            }
        }
        Self::read(Safe { scanner: &mut worker.desk.own().borrow_mut(), key: &key }, head)
    }

    fn read(mut safe: Safe<'_>, head: &RequestHead) -> Self {
        let version = match head.version() {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        };
        let mut original = format!("{} {} {version}\r\n", head.method(), head.target()).into_bytes();
        let mut fields = Vec::new();
        for (name, value) in head.fields().iter() {
            let value = String::from_utf8_lossy(value);
            fields.push(safe.field(name, &value));
            let plain = if may_be_credential(name) { safe.hash(&value) } else { value.into_owned() };
            original.extend_from_slice(format!("{name}: {plain}\r\n").as_bytes());
        }
        original.extend_from_slice(b"\r\n");
        let path = safe.text(head.target());
        // Any other method is text of the client's own.
        let method = is_known_method(head.method()).then(|| head.method().to_owned());
        Self { method, path: Some(path), version, original, fields, trailers: Vec::new() }
    }

    /// Trailers, which a reader sees among the fields of the head.
    pub(super) fn add_trailers(&mut self, worker: &Worker, section: &[u8]) {
        if section.is_empty() {
            return;
        }
        let mut scanner = worker.desk.own().borrow_mut();
        let key = worker.shared.tokens.current();
        let mut safe = Safe { scanner: &mut scanner, key: &key };
        for (name, value) in trailer_lines(section) {
            self.fields.push(safe.field(name, &String::from_utf8_lossy(value)));
        }
        self.trailers = section.to_vec();
    }

    /// The request leaves with a word that its answer must not be compressed.
    pub(super) fn ask_for_identity(&mut self) {
        self.fields.retain(|(name, _)| !name.eq_ignore_ascii_case("accept-encoding"));
        self.fields.push(("accept-encoding".to_owned(), "identity".to_owned()));
    }

    /// For a head that could not be parsed, so that nothing is known to be safe to store.
    pub(super) fn unreadable() -> Self {
        Self {
            method: None,
            path: None,
            version: "HTTP/1.1",
            original: Vec::new(),
            fields: Vec::new(),
            trailers: Vec::new(),
        }
    }

    pub(super) fn describe(&self, record: &mut Record, operation: Operation) {
        record.request.method.clone_from(&self.method);
        record.request.path.clone_from(&self.path);
        record.request.operation = Some(operation.as_str().to_owned());
    }

    /// Of a request that is for no endpoint, and so no operation of one.
    pub(super) fn describe_request(&self, record: &mut Record) {
        record.request.method.clone_from(&self.method);
        record.request.path.clone_from(&self.path);
    }

    /// Head, body and trailers, to be sealed.
    pub(super) fn original(&self, body: &[u8]) -> Vec<u8> {
        [&self.original[..], body, &self.trailers].concat()
    }

    /// The head as it leaves with a body of `length` bytes, every value masked.
    pub(super) fn masked(&self, length: usize) -> Vec<u8> {
        let method = self.method.as_deref().unwrap_or_default();
        let mut text = format!("{method} {} {}\r\n", self.path.as_deref().unwrap_or_default(), self.version);
        for (name, value) in &self.fields {
            if name.eq_ignore_ascii_case("content-length") {
                text.push_str(&format!("{name}: {length}\r\n"));
            } else {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// Whether a method is one of RFC 9110 or RFC 5789 that carries a request to an API.
pub(super) fn is_known_method(method: &str) -> bool {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&method)
}

/// Findings in the target, in header fields and in trailers. Credentials for the endpoint are not findings.
pub(super) async fn scan_head(
    worker: &Worker,
    head: &RequestHead,
    trailers: &[u8],
) -> Result<Vec<Finding>, mask::Error> {
    let key = worker.shared.tokens.current();
    let bytes = head.fields().raw().len() + trailers.len();
    if bytes <= LARGE {
        return scan_lines(Safe { scanner: &mut worker.desk.own().borrow_mut(), key: &key }, head, trailers);
    }
    let (head, trailers) = (head.clone(), trailers.to_vec());
    worker.desk.away(bytes, move |scanner| scan_lines(Safe { scanner, key: &key }, &head, &trailers)).await?
}

fn scan_lines(mut safe: Safe<'_>, head: &RequestHead, trailers: &[u8]) -> Result<Vec<Finding>, mask::Error> {
    let mut found = Vec::new();
    safe.scan(head.target(), &mut found)?;
    for (name, value) in head.fields().iter().chain(trailer_lines(trailers)) {
        safe.scan(name, &mut found)?;
        if !is_credential(name) {
            safe.scan(&String::from_utf8_lossy(value), &mut found)?;
        }
    }
    Ok(found)
}

/// The record of a request that has just begun to arrive.
pub(super) fn opened(connection: &Connection, id: ExchangeId) -> Record {
    let Peer { flow, recorded, endpoint, name, .. } = &connection.peer;
    let mut record = called(id, flow, recorded.clone());
    record.endpoint.provider = Some(endpoint.provider.to_string());
    record.endpoint.host = Some(name.as_str().to_owned());
    record
}

/// The caller as every record of its connection names it: masking it takes several scans, so it is done once.
pub(super) fn caller(worker: &Worker, caller: &Caller) -> audit::Caller {
    let mut scanner = worker.desk.own().borrow_mut();
    let key = worker.shared.tokens.current();
    let mut safe = Safe { scanner: &mut scanner, key: &key };
    audit::Caller {
        uid: Some(caller.uid),
        gid: Some(caller.gid),
        user: caller.user.clone(),
        groups: caller.groups.clone(),
        groups_cut: caller.groups_cut,
        pid: Some(caller.pid),
        started_at: caller.started_at.and_then(BootTime::to_system_time).and_then(time),
        exe: caller.exe.as_deref().map(|exe| safe.text(&exe.to_string_lossy())),
        exe_sha256: caller.exe_sha256.clone(),
        cmdline: caller.cmdline.as_ref().map(|words| safe.command_line(words)),
        cwd: caller.cwd.as_deref().map(|cwd| safe.text(&cwd.to_string_lossy())),
        cgroup: caller.cgroup.as_ref().map(|cgroup| safe.text(&cgroup.to_string())),
        container: caller.container().map(|container| safe.text(&container.id)),
        pod: caller.pod(),
        unit: caller.unit().map(|unit| safe.text(unit)),
        user_unit: caller.user_unit().map(|unit| safe.text(unit)),
        session: caller.session().map(|session| safe.text(&session)),
        loginuid: caller.login_uid,
        parents: caller
            .parents
            .iter()
            .map(|parent| audit::Parent {
                pid: parent.pid,
                exe: parent.exe.as_deref().map(|exe| safe.text(&exe.to_string_lossy())),
                comm: parent.comm.as_deref().filter(|_| parent.exe.is_none()).map(|comm| safe.text(comm)),
            })
            .collect(),
        identity: None,
    }
}

fn time(at: SystemTime) -> Option<Time> {
    let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since_1970.as_nanos()).ok().map(Time::from_unix_ns)
}

fn called(id: ExchangeId, flow: &Flow, caller: audit::Caller) -> Record {
    let mut record = Record::new(id);
    record.caller = caller;
    record.endpoint.ip = Some(flow.original.ip());
    record.endpoint.port = Some(flow.original.port());
    record
}

/// The record of a connection to `host`. The name is the client's claim, masked like any other text.
pub(super) fn of_connection(id: ExchangeId, arrival: &Arrival, host: Option<&str>) -> Record {
    let Arrival { worker, flow, recorded, .. } = arrival;
    let mut record = called(id, flow, recorded.clone());
    record.endpoint.host = host.map(|host| safe_text(worker, host));
    let endpoint = host.and_then(|host| worker.shared.catalogue.find(host, flow.original.port()));
    record.endpoint.provider = endpoint.map(|endpoint| endpoint.provider.to_string());
    record
}

/// Records a connection that never became a request, or a request that was for no endpoint. `response` is what the
/// client was told, where its protocol has words for it.
pub(super) async fn connection_refused(
    arrival: &Arrival,
    host: Option<&str>,
    rule: &str,
    reason: &str,
    told: Option<(&Record, u16, &[u8])>,
) -> ExchangeId {
    let id = told.map_or_else(ExchangeId::new, |(record, ..)| record.id);
    let mut record = of_connection(id, arrival, host);
    let reason = safe_text(&arrival.worker, reason);
    record.decision.action = Some("deny".into());
    record.decision.rule = Some(rule.into());
    record.decision.reason = Some(reason.clone());
    let mut response: &[u8] = &[];
    if let Some((asked, status, bytes)) = told {
        record.request = asked.request.clone();
        record.response.status = Some(status);
        response = bytes;
    }
    let (pid, original) = (arrival.caller.pid, arrival.flow.original);
    log::info!("connection of pid {pid} to {original} ended: {reason} [{rule}, audit {id}]");
    if let Err(e) = arrival.worker.audit.refuse(record, None, response).await {
        log::error!("the end of connection {id} is not in the audit log: {e}");
    }
    id
}

/// Records connections that were closed without a look at them: `flow` is the last one's, where there is one.
pub(super) async fn turned_away(worker: &Worker, flow: Option<&Flow>, rule: &str, reason: &str) {
    let id = ExchangeId::new();
    let mut record = match flow {
        None => Record::new(id),
        Some(flow) => {
            let caller = audit::Caller { uid: Some(flow.uid), pid: Some(flow.tgid), ..audit::Caller::default() };
            called(id, flow, caller)
        }
    };
    record.decision.action = Some("deny".into());
    record.decision.rule = Some(rule.into());
    record.decision.reason = Some(reason.to_owned());
    if let Err(e) = worker.audit.refuse(record, None, &[]).await {
        log::error!("connections that were turned away are not in the audit log: {e}");
    }
}

/// A text of the request, for the record.
pub(super) fn safe_text(worker: &Worker, text: &str) -> String {
    let key = worker.shared.tokens.current();
    Safe { scanner: &mut worker.desk.own().borrow_mut(), key: &key }.text(text)
}

/// What of the body was looked at. The model's name is the client's own text: it is to be masked by the caller.
pub(super) fn cover(record: &mut Record, document: &Document<'_>) {
    record.request.model = document.model.clone();
    record.request.text_bytes = Some(document.text_bytes as u64);
    record.coverage = Coverage {
        scanned_bytes: Some(document.scanned_bytes as u64),
        opaque_bytes: Some(document.opaque_bytes as u64),
        parts: document
            .parts
            .iter()
            .map(|part| Part {
                path: part.path.clone(),
                bytes: Some(part.bytes as u64),
                status: part.status.to_string(),
                reason: part.reason.map(|reason| reason.to_string()),
            })
            .collect(),
    };
}

/// Text that was encoded more often than is decoded: it was scanned as it stands, and what it stands for was not.
pub(super) fn cover_encoded(record: &mut Record, bytes: usize) {
    if bytes > 0 {
        record.coverage.parts.push(Part {
            path: "encoded text".into(),
            bytes: Some(bytes as u64),
            status: "opaque".into(),
            reason: Some("encoded too deep".into()),
        });
    }
}

/// A body whose format is not known: none of it was looked at, and the record says so.
pub(super) fn cover_unread(record: &mut Record, bytes: usize) {
    record.coverage.scanned_bytes = Some(0);
    record.coverage.opaque_bytes = Some(bytes as u64);
    if bytes > 0 {
        record.coverage.parts = vec![Part {
            path: "body".into(),
            bytes: Some(bytes as u64),
            status: "opaque".into(),
            reason: Some("the text of this operation cannot be located".into()),
        }];
    }
}

/// A body that is passed on as it comes: none of it is looked at, and how long it is shows at its end.
pub(super) fn cover_streamed(record: &mut Record) {
    record.coverage.scanned_bytes = Some(0);
    record.coverage.parts = vec![Part {
        path: "body".into(),
        bytes: None,
        status: "opaque".into(),
        reason: Some("the text of this operation cannot be located; it streams".into()),
    }];
}

/// Findings by rule and action. Dates and links that pass as they are would only bury the rest.
pub(super) fn count(record: &mut Record, found: &[Located], head: &[Finding], actions: &Actions) {
    let mut counts: BTreeMap<(String, String, Action), u64> = BTreeMap::new();
    let mut add = |rule: &RuleMeta, action: Action| {
        if !rule.report_only || action != Action::Allow {
            *counts.entry((rule.entity.clone(), rule.id.clone(), action)).or_default() += 1;
        }
    };
    for (index, located) in found.iter().enumerate() {
        add(&located.finding.rule, actions.body[index]);
    }
    for (index, finding) in head.iter().enumerate() {
        add(&finding.rule, actions.head[index]);
    }
    record.findings = counts
        .into_iter()
        .map(|((entity, rule, action), count)| FindingCount { entity, rule, count, action })
        .collect();
}

pub(super) fn decided(record: &mut Record, plan: &Plan) {
    record.decision.action = Some(plan.action().to_string());
    record.decision.rule = Some(plan.rule().to_owned());
}

/// The proxy answers itself.
pub(super) fn answered(progress: &mut Progress, response: &Reply) {
    progress.record.response.status = Some(response.status);
    progress.record.response.bytes = Some(response.body.len() as u64);
    progress.record.timing.total_us = Some(micros(progress.started.elapsed()));
}

/// The end of a request that was recorded but could not be delivered.
pub(super) fn undelivered(record: Record, rule: &str, reason: &str) -> Completion {
    Completion {
        response: record.response,
        timing: record.timing,
        reason: Some(format!("{reason} [rule {rule}]")),
        ..Completion::default()
    }
}

/// The end of a request whose response never began.
pub(super) fn unanswered(progress: &Progress) -> Completion {
    let mut timing = progress.record.timing.clone();
    timing.total_us = Some(micros(progress.started.elapsed()));
    let request_bytes = progress.uploaded.as_ref().map(|bytes| bytes.get());
    Completion { timing, request_bytes, ..Completion::default() }
}

/// What a response said about itself.
pub(super) fn response(status: u16, bytes: u64, outcome: &Outcome) -> audit::Response {
    let usage = (outcome.input_tokens.is_some() || outcome.output_tokens.is_some())
        .then(|| json!({ "input_tokens": outcome.input_tokens, "output_tokens": outcome.output_tokens }));
    audit::Response {
        status: Some(status),
        bytes: Some(bytes),
        finish_reason: (!outcome.finish_reasons.is_empty())
            .then(|| outcome.finish_reasons.iter().map(|reason| known_reason(reason)).collect::<Vec<_>>().join(",")),
        usage,
        ..audit::Response::default()
    }
}

/// Responses are sealed; of this word of theirs only what the providers document stands in the clear.
fn known_reason(reason: &str) -> &'static str {
    const KNOWN: [&str; 11] = [
        "stop",
        "length",
        "tool_calls",
        "function_call",
        "content_filter",
        "end_turn",
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "refusal",
    ];
    KNOWN.into_iter().find(|known| *known == reason).unwrap_or("other")
}

/// The rule that a failed dial stands for.
pub(super) fn dial_rule(error: &DialError) -> &'static str {
    match error {
        DialError::Tls { source: ConnectError::Certificate { .. }, .. } => "upstream.certificate",
        DialError::Tls { .. } => "upstream.tls",
        DialError::Http2 { .. } | DialError::NoStreams { .. } => "upstream.http2",
        DialError::Loop { .. } => "upstream.loop",
        DialError::Namespace { .. } => "upstream.dial_from",
        DialError::Tunnel { .. } | DialError::TunnelRefused { .. } => "upstream.proxy",
        _ => "upstream.connect",
    }
}

/// Whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
