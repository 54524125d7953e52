//! Elastic Common Schema: <https://www.elastic.co/docs/reference/ecs>.

use serde_json::{Value, json};

use super::{body, known, outcome, path_and_query, url};
use crate::audit::Record;

/// The release of the schema.
pub(super) const SCHEMA: &str = "9.1.0";

fn access(record: &Record) -> Option<&'static str> {
    // Of a record that has lost its decision, nothing is known.
    let action = record.decision.action.as_deref()?;
    Some(if action == "deny" { "denied" } else { "allowed" })
}

/// The document of a record. What the schema has no field for is below `interceptor`.
pub(super) fn document(record: &Record) -> Value {
    let caller = &record.caller;
    let (path, query) = path_and_query(record);
    let (input, output) = record.response.tokens();
    known(json!({
        "@timestamp": record.time,
        "ecs": {"version": SCHEMA},
        "event": {
            "id": record.id,
            "kind": "event",
            "category": ["api"],
            "type": ["access", access(record)],
            "action": record.decision.action,
            "outcome": outcome(record),
            "reason": record.response.error.as_ref().or(record.decision.reason.as_ref()),
            "duration": record.timing.total_us.map(|us| us.saturating_mul(1000)),
            "dataset": "interceptor.exchange",
            "module": "interceptor",
            "sequence": record.log.sequence,
        },
        "host": {"name": record.host},
        "user": {"id": caller.uid.map(|uid| uid.to_string()), "name": caller.user},
        "process": {
            "pid": caller.pid,
            "executable": caller.exe,
            "name": caller.program(),
            "command_line": caller.cmdline,
            "working_directory": caller.cwd,
            "start": caller.started_at,
            "hash": {"sha256": caller.exe_sha256},
        },
        "container": {"id": caller.container},
        "destination": {
            "address": record.endpoint.host,
            "domain": record.endpoint.host,
            "ip": record.endpoint.ip,
            "port": record.endpoint.port,
        },
        "url": {"full": url(record), "domain": record.endpoint.host, "path": path, "query": query},
        "http": {
            "request": {
                "id": record.id,
                "method": record.request.method,
                "body": {"bytes": record.request.bytes, "content": body(record)},
            },
            "response": {"status_code": record.response.status, "body": {"bytes": record.response.bytes}},
        },
        "gen_ai": {
            "operation": {"name": record.request.operation},
            "system": record.endpoint.provider,
            "request": {"model": record.request.model},
            "usage": {"input_tokens": input, "output_tokens": output},
        },
        "rule": {"name": record.decision.rule},
        "interceptor": {
            "findings": record.findings,
            "groups": caller.groups,
            "cgroup": caller.cgroup,
            "unit": caller.unit,
            "state": record.state,
            "damaged": record.log.damaged,
            "removed": record.log.removed,
            "finish_reason": record.response.finish_reason,
            "scanned_bytes": record.coverage.scanned_bytes,
            "opaque_bytes": record.coverage.opaque_bytes,
            "overhead_us": record.timing.overhead_us,
            "leaf_hash": record.log.leaf_hash,
        },
    }))
}
