//! Records in the words of others: event schemas of security tools, OpenTelemetry's logs, and the archive format of
//! browsers.
//!
//! What is sealed is not read here, so all of this is masked content. What a schema has no member for is left out of it;
//! `jsonl`, the record itself, has everything.

mod cef;
mod checkpoint;
mod ecs;
mod har;
mod note;
mod ocsf;
pub mod otlp;

use std::io::{self, Write};

use serde_json::Value;

pub use checkpoint::{host as checkpoint_host, host_of, id as checkpoint_id, tag as checkpoint_tag};

use crate::audit::{Checkpoint, Encoding, Note, Record, Time};
use crate::flow::Severity;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The records themselves, one a line.
    Jsonl,
    /// OCSF API Activity (class 6003), one event a line.
    Ocsf,
    /// Elastic Common Schema, one document a line.
    Ecs,
    /// ArcSight Common Event Format, one event a line.
    Cef,
    /// OpenTelemetry's logs as OTLP/JSON, one request a line.
    Otlp,
    /// HTTP Archive 1.2: one document, which browsers' developer tools open.
    Har,
}

impl Format {
    /// All of them, and what they are called.
    pub const ALL: [(&'static str, Self); 6] = [
        ("jsonl", Self::Jsonl),
        ("ocsf", Self::Ocsf),
        ("ecs", Self::Ecs),
        ("cef", Self::Cef),
        ("otlp", Self::Otlp),
        ("har", Self::Har),
    ];
}

/// Writes records one after the other; ends with [`Exporter::finish`].
#[derive(Debug)]
pub struct Exporter<W> {
    format: Format,
    out: W,
    written: u64,
}

impl<W: Write> Exporter<W> {
    /// Begins.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(format: Format, mut out: W) -> io::Result<Self> {
        if format == Format::Har {
            har::begin(&mut out)?;
        }
        Ok(Self { format, out, written: 0 })
    }

    /// Writes a record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        match self.format {
            Format::Jsonl | Format::Ocsf | Format::Ecs | Format::Cef | Format::Otlp => {
                self.out.write_all(line(self.format, record).as_bytes())?;
            }
            Format::Har => {
                self.out.write_all(if self.written == 0 { b"\n" } else { b",\n" })?;
                serde_json::to_writer(&mut self.out, &har::entry(record))?;
            }
        }
        self.written += 1;
        if self.format == Format::Har { Ok(()) } else { self.out.write_all(b"\n") }
    }

    /// Ends; says how many records there were.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<u64> {
        if self.format == Format::Har {
            har::end(&mut self.out)?;
        }
        self.out.flush()?;
        Ok(self.written)
    }
}

/// The line of a record, without its end; as [`Format::Har`] has none, its entry.
#[must_use]
pub fn line(format: Format, record: &Record) -> String {
    let plain = || serde_json::to_string(record).expect("a record is plain data");
    match format {
        Format::Jsonl => plain(),
        Format::Ocsf => ocsf::event(record).to_string(),
        Format::Ecs => ecs::document(record).to_string(),
        Format::Cef => cef::line(record),
        Format::Otlp => otlp::line(record, &plain()),
        Format::Har => har::entry(record).to_string(),
    }
}

/// The line of a signed checkpoint of the log, without its end. `at` is when it was the newest.
#[must_use]
pub fn checkpoint_line(format: Format, note: &str, checkpoint: &Checkpoint, at: Time) -> String {
    checkpoint::line(format, note, checkpoint, at)
}

/// The line of an alert or another note of `host`, without its end.
#[must_use]
pub fn note_line(format: Format, note: &Note, host: &str) -> String {
    note::line(format, note, host)
}

/// Whether a line, without its end, is one that this program writes, in any of the formats.
#[must_use]
pub fn is_line(line: &[u8]) -> bool {
    if line.starts_with(format!("CEF:0|{PRODUCT}|").as_bytes()) {
        return true;
    }
    let Ok(Value::Object(event)) = serde_json::from_slice(line) else { return false };
    let has = |names: &[&str]| names.iter().any(|name| event.contains_key(*name));
    let says = |path: &[&str], what: &str| {
        let mut members = path.iter();
        let first = members.next().and_then(|name| event.get(*name));
        members.fold(first, |value, name| value?.get(name)).is_some_and(|value| value == what)
    };
    // One member that names what it is; a record itself; OCSF; ECS; OTLP.
    (event.len() == 1 && has(&["checkpoint", "alert", "note"]))
        || ["id", "time", "host", "log"].iter().all(|name| event.contains_key(*name))
        || says(&["metadata", "product", "name"], PRODUCT)
        || says(&["event", "module"], "interceptor")
        || has(&["resourceLogs"])
}

/// How bad it is what a note says.
#[must_use]
pub fn note_severity(note: &Note) -> Severity {
    note::severity(note)
}

/// The name that tools show.
const PRODUCT: &str = "Interceptor";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Path and query of the request target, taken apart; of one in absolute form (RFC 9112 section 3.2.2) too.
fn path_and_query(record: &Record) -> (Option<&str>, Option<&str>) {
    let Some(target) = record.request.path.as_deref() else { return (None, None) };
    let origin = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => &rest[rest.find('/').unwrap_or(rest.len())..],
        _ => target,
    };
    match origin.split_once('?') {
        Some((path, query)) => (Some(path), Some(query).filter(|query| !query.is_empty())),
        None => (Some(origin), None),
    }
}

/// The URL that was asked for, where it is known: a record does not say whether TLS was spoken, the usual ports tell.
fn url(record: &Record) -> Option<String> {
    let target = record.request.path.as_deref()?;
    if !target.starts_with('/') {
        return target.contains("://").then(|| target.to_owned());
    }
    let scheme = match record.endpoint.port {
        Some(443) => "https",
        Some(80) => "http",
        _ => return None,
    };
    let address = || {
        record.endpoint.ip.map(|ip| match ip {
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        })
    };
    let host = record.endpoint.host.clone().or_else(address)?;
    Some(format!("{scheme}://{host}{target}"))
}

/// The masked body, if it is text.
fn body(record: &Record) -> Option<&str> {
    let masked = record.request.masked.as_ref().filter(|masked| masked.encoding == Encoding::Utf8)?;
    Some(&masked.text).filter(|text| !text.is_empty()).map(String::as_str)
}

/// Milliseconds since 1970.
fn milliseconds(time: Time) -> u64 {
    time.unix_ns() / 1_000_000
}

/// Whether policy kept the request back.
fn is_denied(record: &Record) -> bool {
    record.decision.action.as_deref() == Some("deny")
}

/// Whether the client got an answer that is none of an error; nothing is known of what was passed on unread, or goes on.
fn is_success(record: &Record) -> Option<bool> {
    match (record.response.status, &record.response.error) {
        (_, Some(_)) => Some(false),
        (Some(status), None) => Some(status < 400),
        (None, None) => None,
    }
}

/// `success`, `failure` or `unknown`.
fn outcome(record: &Record) -> &'static str {
    match is_success(record) {
        Some(true) => "success",
        Some(false) => "failure",
        None => "unknown",
    }
}

/// Leaves out members that are not known, and objects without members.
fn known(value: Value) -> Value {
    let is_known = |value: &Value| match value {
        Value::Null => false,
        Value::Object(members) => !members.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        _ => true,
    };
    match value {
        Value::Object(members) => Value::Object(
            members.into_iter().map(|(name, value)| (name, known(value))).filter(|(_, v)| is_known(v)).collect(),
        ),
        Value::Array(elements) => Value::Array(elements.into_iter().map(known).filter(is_known).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
