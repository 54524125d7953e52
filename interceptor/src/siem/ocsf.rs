//! OCSF, API Activity (class 6003) with the profiles AI Operation and Security Control:
//! <https://schema.ocsf.io/1.8.0/classes/api_activity>.

use serde_json::{Value, json};

use super::{PRODUCT, VERSION, body, is_denied, is_success, known, nanoseconds, path_and_query, tokens, url};
use crate::audit::{Caller, Record};

/// The release of the schema.
const SCHEMA: &str = "1.8.0";
const CATEGORY: u64 = 6;
const CLASS: u64 = 6003;
/// A model is asked for something new: `Create`.
const ACTIVITY: u64 = 1;

/// The event of a record.
pub(super) fn event(record: &Record) -> Value {
    let (denied, masked) = (is_denied(record), record.decision.action.as_deref() == Some("mask"));
    // Informational, Medium, High.
    let severity = match () {
        () if denied => 4,
        () if masked => 3,
        () => 1,
    };
    // Denied and Blocked, Modified and Corrected, Allowed.
    let (action, disposition) = match () {
        () if denied => (2, 2),
        () if masked => (4, 11),
        () => (1, 1),
    };
    let (succeeded, status) = if is_success(record) { (1, "Success") } else { (2, "Failure") };
    let milliseconds = nanoseconds(record) / 1_000_000;
    known(json!({
        "metadata": {
            "version": SCHEMA,
            "profiles": ["ai_operation", "security_control"],
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION},
            "uid": record.id,
            "log_name": record.host,
            "sequence": record.log.sequence,
        },
        "category_uid": CATEGORY,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "activity_id": ACTIVITY,
        "activity_name": "Create",
        "type_uid": CLASS * 100 + ACTIVITY,
        "type_name": "API Activity: Create",
        "time": milliseconds,
        "duration": record.timing.total_us.map(|us| us / 1000),
        "severity_id": severity,
        "status_id": succeeded,
        "status": status,
        "status_code": record.response.status.map(|status| status.to_string()),
        "status_detail": record.response.error.as_ref().or(record.decision.reason.as_ref()),
        "action_id": action,
        "disposition_id": disposition,
        "is_alert": denied,
        "policy": {"name": record.decision.rule},
        "actor": {"user": user(&record.caller), "process": process(&record.caller)},
        "api": {
            "operation": record.request.operation.as_deref().or(record.request.method.as_deref()).unwrap_or("unknown"),
            "service": {"name": record.endpoint.provider},
            "request": {"uid": record.id, "data": data(record)},
            "response": {"code": record.response.status, "error_message": record.response.error},
        },
        "src_endpoint": {"hostname": record.host},
        "dst_endpoint": {"hostname": record.endpoint.host, "ip": record.endpoint.ip, "port": record.endpoint.port},
        "http_request": http_request(record),
        "http_response": record.response.status.map(|status| json!({
            "code": status,
            "body_length": record.response.bytes,
            "latency": record.timing.first_byte_us.map(|us| us / 1000),
        })),
        "ai_model": model(record),
        "message_context": message(record),
        "unmapped": {
            "findings": record.findings,
            "scanned_bytes": record.coverage.scanned_bytes,
            "opaque_bytes": record.coverage.opaque_bytes,
            "container": record.caller.container,
            "cgroup": record.caller.cgroup,
            "leaf_hash": record.log.leaf_hash,
        },
    }))
}

/// The masked body: as JSON, if it is.
fn data(record: &Record) -> Option<Value> {
    body(record).map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.into()))
}

fn user(caller: &Caller) -> Value {
    let groups = caller.groups.iter().flatten().map(|name| json!({"name": name}));
    json!({"name": caller.user, "uid": caller.uid.map(|uid| uid.to_string()), "groups": groups.collect::<Vec<_>>()})
}

fn process(caller: &Caller) -> Option<Value> {
    let file = caller.exe.as_deref().map(|path| {
        let hash = caller.exe_sha256.as_deref().map(|sha256| json!({"algorithm_id": 3, "value": sha256}));
        // Regular file.
        json!({"name": path.rsplit('/').next(), "path": path, "type_id": 1, "hashes": [hash]})
    });
    caller.pid.map(|pid| {
        json!({
            "pid": pid,
            "cmd_line": caller.cmdline,
            "working_directory": caller.cwd,
            "created_time": caller.started_at.map(|time| time.unix_ns() / 1_000_000),
            "file": file,
        })
    })
}

fn http_request(record: &Record) -> Value {
    let (path, query) = path_and_query(record);
    json!({
        "http_method": record.request.method,
        "body_length": record.request.bytes,
        "url": {
            "url_string": url(record),
            "hostname": record.endpoint.host,
            "path": path,
            "query_string": query,
            "port": record.endpoint.port,
        },
    })
}

fn model(record: &Record) -> Option<Value> {
    let provider = record.endpoint.provider.as_deref().unwrap_or("unknown");
    record.request.model.as_ref().map(|model| json!({"name": model, "ai_provider": provider}))
}

fn message(record: &Record) -> Value {
    let (input, output) = tokens(record);
    json!({
        // User.
        "ai_role_id": 1,
        "service": {"name": record.endpoint.provider.as_deref().unwrap_or("unknown")},
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input.zip(output).map(|(input, output)| input + output),
    })
}
