//! HTTP Archive 1.2: <http://www.softwareishard.com/blog/har-12-spec/>. Members with an underscore are our own.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{PRODUCT, VERSION, body, known, path_and_query, url};
use crate::audit::Record;

/// What stands before the entries.
pub(super) fn begin(out: &mut impl Write) -> io::Result<()> {
    let creator = json!({"name": PRODUCT, "version": VERSION});
    write!(out, r#"{{"log":{{"version":"1.2","creator":{creator},"entries":["#)
}

/// What stands behind them.
pub(super) fn end(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n]}}}}")
}

/// The entry of a record: the request as it left, and of the response what is not sealed.
pub(super) fn entry(record: &Record) -> Value {
    let milliseconds = |us: u64| us as f64 / 1000.0;
    let wait = record.timing.first_byte_us.unwrap_or(0);
    let receive = record.timing.total_us.unwrap_or(wait).saturating_sub(wait);
    let mut entry = json!({
        "startedDateTime": record.time,
        "time": milliseconds(wait.saturating_add(receive)),
        "request": request(record),
        "response": response(record),
        "cache": {},
        "timings": {"send": 0, "wait": milliseconds(wait), "receive": milliseconds(receive)},
    });
    let own = known(json!({
        "serverIPAddress": record.endpoint.ip,
        "_id": record.id,
        "_caller": record.caller,
        "_decision": record.decision,
        "_findings": record.findings,
        "_state": record.state,
        "_damaged": record.log.damaged,
        "_removed": record.log.removed,
    }));
    if let (Value::Object(entry), Value::Object(own)) = (&mut entry, own) {
        entry.extend(own);
    }
    entry
}

fn request(record: &Record) -> Value {
    let head = record.request.masked.as_ref().map_or("", |masked| &masked.head);
    let mut lines = head.lines();
    let version = lines.next().and_then(|line| line.rsplit(' ').next()).filter(|v| v.starts_with("HTTP/"));
    let fields: Vec<(&str, &str)> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect();
    let media =
        fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map_or("", |(_, value)| value);
    let mut request = json!({
        "method": record.request.method.as_deref().unwrap_or(""),
        "url": url(record).unwrap_or_else(|| without_scheme(record)),
        "httpVersion": version.unwrap_or("HTTP/1.1"),
        "cookies": [],
        "headers": fields.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>(),
        "queryString": query(record),
        "headersSize": -1,
        "bodySize": record.request.bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(-1)),
    });
    if let Some(text) = body(record) {
        request["postData"] = json!({"mimeType": media, "text": text});
    }
    request
}

/// The format wants a URL also where the scheme is not known.
fn without_scheme(record: &Record) -> String {
    let host = record.endpoint.host.as_deref().unwrap_or("");
    let port = record.endpoint.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("//{host}{port}{}", record.request.path.as_deref().unwrap_or("/"))
}

fn query(record: &Record) -> Vec<Value> {
    let pairs = path_and_query(record).1.unwrap_or("").split('&').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        json!({"name": name, "value": value})
    };
    pairs.map(pair).collect()
}

fn response(record: &Record) -> Value {
    let size = record.response.bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(-1));
    json!({
        "status": record.response.status.unwrap_or(0),
        "statusText": "",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": [],
        "content": {"size": size.max(0), "mimeType": "", "comment": "sealed: `interceptor log unseal` opens it"},
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": size,
    })
}
