//! SARIF 2.1.0, for what shows findings in a review.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::files::Hit;
use super::two_digits;
use crate::flow::{RuleMeta, Severity};

/// A log of one run.
pub(super) fn log(results: &[(PathBuf, Hit)]) -> Value {
    let mut rules: Vec<&RuleMeta> = Vec::new();
    let results: Vec<Value> = results
        .iter()
        .map(|(path, hit)| {
            let rule = &*hit.finding.rule;
            let index = rules.iter().position(|known| known.id == rule.id).unwrap_or_else(|| {
                rules.push(rule);
                rules.len() - 1
            });
            result(path, hit, index)
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "interceptor",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.into_iter().map(descriptor).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn descriptor(rule: &RuleMeta) -> Value {
    json!({
        "id": rule.id,
        "name": rule.entity,
        "shortDescription": {"text": format!("A value of type {}.", rule.entity)},
        "defaultConfiguration": {"level": level(rule.severity)},
    })
}

fn result(path: &Path, hit: &Hit, index: usize) -> Value {
    let rule = &hit.finding.rule;
    json!({
        "ruleId": rule.id,
        "ruleIndex": index,
        "level": level(rule.severity),
        "rank": two_digits(hit.finding.score) * 100.0,
        "message": {"text": format!("{} found. Remove it, or allow it in a rule file.", rule.entity)},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(path)},
            "region": {
                "startLine": hit.start.0,
                "startColumn": hit.start.1,
                "endLine": hit.end.0,
                "endColumn": hit.end.1,
            },
        }}],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "note",
        Severity::Medium => "warning",
        Severity::High => "error",
    }
}

/// A relative reference, or a `file:` URI for an absolute path (RFC 3986).
fn uri(path: &Path) -> String {
    let mut uri = String::from(if path.is_absolute() { "file://" } else { "" });
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}
