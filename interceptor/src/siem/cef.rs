//! ArcSight Common Event Format, version 0 ("ArcSight Common Event Format (CEF) Implementation Standard").

use super::{PRODUCT, VERSION, is_denied, is_success, nanoseconds, tokens, url};
use crate::audit::Record;

/// The line of a record, without its end.
pub(super) fn line(record: &Record) -> String {
    let action = record.decision.action.as_deref().unwrap_or("unknown");
    let severity = match action {
        _ if is_denied(record) => 8,
        "mask" => 5,
        _ => 2,
    };
    let name = format!("Request to a language model: {action}");
    let header = ["CEF:0", PRODUCT, PRODUCT, VERSION, action, &name].map(in_header).join("|");
    let pairs: Vec<_> = fields(record).into_iter().map(|(key, value)| format!("{key}={}", in_value(&value))).collect();
    format!("{header}|{severity}|{}", pairs.join(" "))
}

fn fields(record: &Record) -> Vec<(&'static str, String)> {
    let (caller, endpoint) = (&record.caller, &record.endpoint);
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let (input, output) = tokens(record);
    let findings: Vec<_> = record.findings.iter().map(|f| format!("{}:{}:{}", f.entity, f.rule, f.count)).collect();
    let labelled = |key, label, value: Option<String>| {
        let (label_key, key) = key;
        value.map(|value| [(label_key, String::from(label)), (key, value)]).into_iter().flatten().collect::<Vec<_>>()
    };
    let known = [
        ("rt", Some((nanoseconds(record) / 1_000_000).to_string())),
        ("externalId", Some(record.id.to_string())),
        ("dvchost", Some(record.host.clone())),
        ("suser", caller.user.clone()),
        ("suid", caller.uid.map(|uid| uid.to_string())),
        ("spid", caller.pid.map(|pid| pid.to_string())),
        ("sproc", caller.exe.clone()),
        ("dhost", endpoint.host.clone()),
        ("dst", endpoint.ip.map(|ip| ip.to_string())),
        ("dpt", endpoint.port.map(|port| port.to_string())),
        ("requestMethod", record.request.method.clone()),
        ("request", url(record)),
        ("act", record.decision.action.clone()),
        ("outcome", Some(if is_success(record) { "success" } else { "failure" }.to_owned())),
        ("reason", record.response.error.clone().or_else(|| record.decision.reason.clone())),
        ("in", number(record.response.bytes)),
        ("out", number(record.request.bytes)),
    ];
    let mut fields: Vec<_> = known.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect();
    fields.extend(labelled(("cs1Label", "cs1"), "model", record.request.model.clone()));
    fields.extend(labelled(("cs2Label", "cs2"), "policyRule", record.decision.rule.clone()));
    let findings = (!findings.is_empty()).then(|| findings.join(","));
    fields.extend(labelled(("cs3Label", "cs3"), "findings", findings));
    fields.extend(labelled(("cs4Label", "cs4"), "executableSha256", caller.exe_sha256.clone()));
    fields.extend(labelled(("cn1Label", "cn1"), "status", record.response.status.map(|status| status.to_string())));
    fields.extend(labelled(("cn2Label", "cn2"), "inputTokens", number(input)));
    fields.extend(labelled(("cn3Label", "cn3"), "outputTokens", number(output)));
    fields
}

/// In the header, a bar and a backslash are escaped; it has no lines.
fn in_header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\r', '\n'], " ")
}

/// In a value, an equals sign and a backslash are escaped, and lines end in `\n`.
fn in_value(text: &str) -> String {
    text.replace('\\', "\\\\").replace('=', "\\=").replace("\r\n", "\\n").replace(['\r', '\n'], "\\n")
}
