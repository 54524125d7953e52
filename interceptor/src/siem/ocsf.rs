//! OCSF, API Activity (class 6003) with the profiles AI Operation and Security Control:
//! <https://schema.ocsf.io/1.8.0/classes/api_activity>.

use serde_json::{Value, json};

use super::{PRODUCT, VERSION, body, is_denied, is_success, known, milliseconds, path_and_query, url};
use crate::audit::{Caller, Record};

/// The release of the schema.
pub(super) const SCHEMA: &str = "1.8.0";
const CATEGORY: u64 = 6;
const CLASS: u64 = 6003;

/// The event of a record.
pub(super) fn event(record: &Record) -> Value {
    // Severity, action and disposition: High, Denied, Blocked; Medium, Modified, Corrected; Informational, Allowed.
    let (severity, action, disposition) = match record.decision.action.as_deref() {
        Some("deny") => (4, 2, 2),
        Some("mask") => (3, 4, 11),
        Some("allow" | "splice") => (1, 1, 1),
        _ => (0, 0, 0),
    };
    let (status_id, status) = match is_success(record) {
        Some(true) => (1, "Success"),
        Some(false) => (2, "Failure"),
        None => (0, "Unknown"),
    };
    let (activity, activity_name) = activity(record);
    let mut event = known(json!({
        "metadata": {
            "version": SCHEMA,
            "profiles": ["ai_operation", "security_control"],
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION},
            "uid": record.id,
            "log_name": "audit",
            "sequence": record.log.sequence,
        },
        "category_uid": CATEGORY,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": CLASS * 100 + activity,
        "type_name": format!("API Activity: {activity_name}"),
        "time": milliseconds(record.time),
        "duration": record.timing.total_us.map(|us| us / 1000),
        "severity_id": severity,
        "status_id": status_id,
        "status": status,
        "status_code": record.response.status.map(|status| status.to_string()),
        "status_detail": record.response.error.as_ref().or(record.decision.reason.as_ref()),
        "action_id": action,
        "disposition_id": disposition,
        "is_alert": is_denied(record),
        "policy": {"name": record.decision.rule},
        "actor": actor(&record.caller),
        "api": {
            "operation": record.request.operation.as_deref().or(record.request.method.as_deref()).unwrap_or("unknown"),
            "service": {"name": record.endpoint.provider},
            "request": {"uid": record.id},
            "response": {"code": record.response.status, "error_message": record.response.error},
        },
        "src_endpoint": {"hostname": record.host},
        "dst_endpoint": destination(record),
        "http_request": http_request(record),
        "http_response": record.response.status.map(|status| json!({
            "code": status,
            "body_length": record.response.bytes,
            "latency": record.timing.first_byte_us.map(|us| us / 1000),
        })),
        "ai_model": model(record),
        "message_context": message(record),
        "unmapped": unmapped(record),
    }));
    // As it is: nothing is left out of evidence.
    if let Some(body) = body(record) {
        event["api"]["request"]["data"] = body.into();
    }
    event
}

/// What the class has no member for.
fn unmapped(record: &Record) -> Value {
    json!({
        "findings": record.findings,
        "http_method": record.request.method.as_ref().filter(|method| !is_listed(method)),
        "scanned_bytes": record.coverage.scanned_bytes,
        "opaque_bytes": record.coverage.opaque_bytes,
        "container": record.caller.container,
        "cgroup": record.caller.cgroup,
        "unit": record.caller.unit,
        "state": record.state,
        "finish_reason": record.response.finish_reason,
        "overhead_us": record.timing.overhead_us,
        "damaged": record.log.damaged,
        "removed": record.log.removed,
        "leaf_hash": record.log.leaf_hash,
    })
}

/// What a method does, as the class names it: a model is asked for something new.
fn activity(record: &Record) -> (u64, &'static str) {
    match record.request.method.as_deref() {
        Some("POST") => (1, "Create"),
        Some("GET" | "HEAD") => (2, "Read"),
        Some("PUT" | "PATCH") => (3, "Update"),
        Some("DELETE") => (4, "Delete"),
        Some(_) => (99, "Other"),
        None => (0, "Unknown"),
    }
}

/// The class wants an actor also where the caller is not known.
fn actor(caller: &Caller) -> Value {
    let is_known = caller.user.is_some() || caller.uid.is_some();
    match (is_known.then(|| user(caller)), process(caller)) {
        (None, None) => json!({"app_name": "unknown"}),
        (user, process) => json!({"user": user, "process": process}),
    }
}

fn user(caller: &Caller) -> Value {
    let groups = caller.groups.iter().flatten().map(|name| json!({"name": name}));
    json!({"name": caller.user, "uid": caller.uid.map(|uid| uid.to_string()), "groups": groups.collect::<Vec<_>>()})
}

fn process(caller: &Caller) -> Option<Value> {
    let file = caller.exe.as_deref().map(|path| {
        let hash = caller.exe_sha256.as_deref().map(|sha256| json!({"algorithm_id": 3, "value": sha256}));
        // Regular file.
        json!({"name": caller.program(), "path": path, "type_id": 1, "hashes": [hash]})
    });
    caller.pid.map(|pid| {
        json!({
            "pid": pid,
            "cmd_line": caller.cmdline,
            "working_directory": caller.cwd,
            "created_time": caller.started_at.map(milliseconds),
            "file": file,
        })
    })
}

/// The schema wants a name or an address: a port alone is no endpoint.
fn destination(record: &Record) -> Option<Value> {
    let endpoint = &record.endpoint;
    let is_known = endpoint.host.is_some() || endpoint.ip.is_some();
    is_known.then(|| json!({"hostname": endpoint.host, "ip": endpoint.ip, "port": endpoint.port}))
}

/// The methods that the schema has; others go below `unmapped`.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

fn is_listed(method: &str) -> bool {
    METHODS.contains(&method)
}

fn http_request(record: &Record) -> Value {
    let (path, query) = path_and_query(record);
    // A URL without a path, as of what was passed on unread, is none to the schema.
    let url = path.map(|path| {
        json!({
            "url_string": url(record),
            "hostname": record.endpoint.host,
            "path": path,
            "query_string": query,
            "port": record.endpoint.port,
        })
    });
    json!({
        "http_method": record.request.method.as_deref().filter(|method| is_listed(method)),
        "body_length": record.request.bytes,
        "url": url,
    })
}

fn model(record: &Record) -> Option<Value> {
    let provider = record.endpoint.provider.as_deref().unwrap_or("unknown");
    record.request.model.as_ref().map(|model| json!({"name": model, "ai_provider": provider}))
}

fn message(record: &Record) -> Value {
    let (input, output) = record.response.tokens();
    json!({
        // User.
        "ai_role_id": 1,
        "service": {"name": record.endpoint.provider.as_deref().unwrap_or("unknown")},
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input.zip(output).map(|(input, output)| input.saturating_add(output)),
    })
}
