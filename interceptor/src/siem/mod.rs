//! Records in the words of others: event schemas of security tools, and the archive format of browsers.
//!
//! What is sealed is not read here, so all of this is masked content. What a schema has no member for is left out of it;
//! `jsonl`, the record itself, has everything.

mod cef;
mod ecs;
mod har;
mod ocsf;

use std::io::{self, Write};

use crate::audit::{Encoding, Record};

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
    /// HTTP Archive 1.2: one document, which browsers' developer tools open.
    Har,
}

impl Format {
    /// All of them, and what they are called.
    pub const ALL: [(&'static str, Self); 5] =
        [("jsonl", Self::Jsonl), ("ocsf", Self::Ocsf), ("ecs", Self::Ecs), ("cef", Self::Cef), ("har", Self::Har)];
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
            Format::Jsonl => serde_json::to_writer(&mut self.out, record)?,
            Format::Ocsf => serde_json::to_writer(&mut self.out, &ocsf::event(record))?,
            Format::Ecs => serde_json::to_writer(&mut self.out, &ecs::document(record))?,
            Format::Cef => self.out.write_all(cef::line(record).as_bytes())?,
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

/// The name that tools show.
const PRODUCT: &str = "Interceptor";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Path and query, taken apart.
fn path_and_query(record: &Record) -> (Option<&str>, Option<&str>) {
    match record.request.path.as_deref().map(|path| path.split_once('?').unwrap_or((path, ""))) {
        Some((path, "")) => (Some(path), None),
        Some((path, query)) => (Some(path), Some(query)),
        None => (None, None),
    }
}

/// The URL that was asked for, if that is known. A record does not say whether TLS was spoken: the port tells.
fn url(record: &Record) -> Option<String> {
    let host = record.endpoint.host.clone().or_else(|| record.endpoint.ip.map(|ip| ip.to_string()))?;
    let path = record.request.path.as_deref()?;
    Some(match record.endpoint.port {
        Some(443) | None => format!("https://{host}{path}"),
        Some(80) => format!("http://{host}{path}"),
        Some(8443) => format!("https://{host}:8443{path}"),
        Some(port) => format!("http://{host}:{port}{path}"),
    })
}

/// The masked body, if it is text.
fn body(record: &Record) -> Option<&str> {
    let masked = record.request.masked.as_ref().filter(|masked| masked.encoding == Encoding::Utf8)?;
    Some(&masked.text).filter(|text| !text.is_empty()).map(String::as_str)
}

/// Token counts: of the request, of the response.
fn tokens(record: &Record) -> (Option<u64>, Option<u64>) {
    let count = |name: &str| record.response.usage.as_ref().and_then(|usage| usage[name].as_u64());
    (count("input_tokens"), count("output_tokens"))
}

/// Nanoseconds since 1970.
fn nanoseconds(record: &Record) -> u64 {
    record.time.unix_ns()
}

/// Whether policy kept the request back.
fn is_denied(record: &Record) -> bool {
    record.decision.action.as_deref() == Some("deny")
}

/// Whether the client got an answer that is none of an error.
fn is_success(record: &Record) -> bool {
    record.response.status.is_some_and(|status| status < 400) && record.response.error.is_none()
}

/// Leaves out members that are not known, and objects without members.
fn known(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
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
