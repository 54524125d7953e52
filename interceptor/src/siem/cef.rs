//! ArcSight Common Event Format, version 0 ("ArcSight Common Event Format (CEF) Implementation Standard").

use std::net::IpAddr;

use super::{PRODUCT, VERSION, is_denied, milliseconds, outcome, url};
use crate::audit::Record;
use crate::flow::harmless;

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
    let (input, output) = record.response.tokens();
    let findings: Vec<_> = record.findings.iter().map(|f| format!("{}:{}:{}", f.entity, f.rule, f.count)).collect();
    let labelled = |key, label, value: Option<String>| {
        let (label_key, key) = key;
        value.map(|value| [(label_key, String::from(label)), (key, value)]).into_iter().flatten().collect::<Vec<_>>()
    };
    let known = [
        ("rt", Some(milliseconds(record.time).to_string())),
        ("externalId", Some(record.id.to_string())),
        ("dvchost", Some(record.host.clone())),
        ("suser", caller.user.clone()),
        ("suid", caller.uid.map(|uid| uid.to_string())),
        ("spid", caller.pid.map(|pid| pid.to_string())),
        ("sproc", caller.exe.clone()),
        ("dhost", endpoint.host.clone()),
        ("dst", endpoint.ip.filter(IpAddr::is_ipv4).map(|ip| ip.to_string())),
        ("dpt", endpoint.port.map(|port| port.to_string())),
        ("requestMethod", record.request.method.clone()),
        ("request", url(record)),
        ("act", record.decision.action.clone()),
        ("outcome", Some(outcome(record).to_owned())),
        ("reason", record.response.error.clone().or_else(|| record.decision.reason.clone())),
        // From source to destination, and back.
        ("in", number(record.request.bytes)),
        ("out", number(record.response.bytes)),
    ];
    let mut fields: Vec<_> = known.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect();
    fields.extend(labelled(("cs1Label", "cs1"), "model", record.request.model.clone()));
    fields.extend(labelled(("cs2Label", "cs2"), "policyRule", record.decision.rule.clone()));
    let findings = (!findings.is_empty()).then(|| findings.join(","));
    fields.extend(labelled(("cs3Label", "cs3"), "findings", findings));
    let ipv6 = endpoint.ip.filter(IpAddr::is_ipv6).map(|ip| ip.to_string());
    fields.extend(labelled(("c6a3Label", "c6a3"), "Destination IPv6 Address", ipv6));
    let damaged = record.log.damaged.then(|| "true".to_owned());
    fields.extend(labelled(("cs5Label", "cs5"), "damaged", damaged));
    let removed: Vec<_> = record.log.removed.iter().map(|class| class.name()).collect();
    let removed = (!removed.is_empty()).then(|| removed.join(","));
    fields.extend(labelled(("cs6Label", "cs6"), "removed", removed));
    fields.extend(labelled(("cs4Label", "cs4"), "executableSha256", caller.exe_sha256.clone()));
    fields.extend(labelled(("cn1Label", "cn1"), "status", record.response.status.map(|status| status.to_string())));
    fields.extend(labelled(("cn2Label", "cn2"), "inputTokens", number(input)));
    fields.extend(labelled(("cn3Label", "cn3"), "outputTokens", number(output)));
    fields
}

/// In the header, a bar and a backslash are escaped; it has no lines.
pub(super) fn in_header(text: &str) -> String {
    harmless(&text.replace(['\r', '\n'], " ")).replace('\\', "\\\\").replace('|', "\\|")
}

/// In a value, an equals sign and a backslash are escaped, and lines end in `\n`.
pub(super) fn in_value(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines = lines.split('\n').map(|line| harmless(line).replace('\\', "\\\\").replace('=', "\\="));
    lines.collect::<Vec<_>>().join("\\n")
}
