//! Decoding a JSON string (RFC 8259, section 7) without losing the way back to its raw bytes.

use std::borrow::Cow;

use memchr::memchr;

use super::Error;
use super::json::Text;
use crate::flow::{OffsetMap, Run};

/// What a lone surrogate decodes to.
const REPLACEMENT: char = '\u{fffd}';

/// The characters of a string the tokenizer found in `source`, and the map from them to `source`. At most `max_runs`
/// stretches.
pub(super) fn unescape<'s>(source: &'s str, text: &Text, max_runs: usize) -> Result<(Cow<'s, str>, OffsetMap), Error> {
    let raw = &source[text.inside.clone()];
    if !text.escaped {
        return Ok((Cow::Borrowed(raw), OffsetMap::identity(text.inside.start, raw.len())));
    }
    let mut decoded = String::with_capacity(raw.len());
    let mut runs = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let plain = memchr(b'\\', &raw.as_bytes()[at..]).unwrap_or(raw.len() - at);
        let raw_start = text.inside.start + at;
        let start = decoded.len();
        let raw_len = if plain > 0 {
            decoded.push_str(&raw[at..at + plain]);
            plain
        } else {
            let (character, raw_len) = escape(&raw.as_bytes()[at..]);
            decoded.push(character);
            raw_len
        };
        runs.push(Run { decoded: start, decoded_len: decoded.len() - start, raw: raw_start, raw_len });
        if runs.len() > max_runs {
            return Err(Error::TooManyEscapes);
        }
        at += raw_len;
    }
    Ok((Cow::Owned(decoded), OffsetMap::from_runs(runs)))
}

/// The character of the valid escape at the start of `raw`, and its length. A surrogate pair is one escape.
fn escape(raw: &[u8]) -> (char, usize) {
    let simple = match raw[1] {
        b'u' => return unicode_escape(raw),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        other => other as char,
    };
    (simple, 2)
}

fn unicode_escape(raw: &[u8]) -> (char, usize) {
    let high = code_unit(raw).unwrap_or_default();
    let low = code_unit(&raw[6..]);
    match (high, low) {
        (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
            let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(code).unwrap_or(REPLACEMENT), 12)
        }
        // char::from_u32 refuses surrogates.
        _ => (char::from_u32(high).unwrap_or(REPLACEMENT), 6),
    }
}

/// The value of `\uXXXX` at the start of `raw`.
fn code_unit(raw: &[u8]) -> Option<u32> {
    let digits = raw.get(..6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The map of a text inside a document that is itself a decoded string: `inner` leads to that string, `outer` from
/// there to the raw bytes.
pub(super) fn compose(inner: &OffsetMap, outer: &OffsetMap) -> OffsetMap {
    let outer_runs = outer.runs();
    let mut runs = Vec::with_capacity(inner.runs().len());
    let first = inner.runs().first().map_or(0, |run| run.raw);
    let mut index = outer_runs.partition_point(|run| run.decoded + run.decoded_len <= first);
    for run in inner.runs() {
        let end = run.raw + run.raw_len;
        if run.decoded_len != run.raw_len {
            let raw = outer.to_raw(&(run.raw..end));
            runs.push(Run { raw: raw.start, raw_len: raw.len(), ..*run });
            continue;
        }
        while outer_runs[index].decoded + outer_runs[index].decoded_len <= run.raw {
            index += 1;
        }
        let mut decoded = run.decoded;
        for over in outer_runs[index..].iter().take_while(|over| over.decoded < end) {
            let start = over.decoded.max(run.raw);
            let len = end.min(over.decoded + over.decoded_len) - start;
            let (raw, raw_len) = if over.decoded_len == over.raw_len {
                (over.raw + (start - over.decoded), len)
            } else {
                (over.raw, over.raw_len)
            };
            runs.push(Run { decoded, decoded_len: len, raw, raw_len });
            decoded += len;
        }
    }
    OffsetMap::from_runs(runs)
}
