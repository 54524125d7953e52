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
    if text.runs > max_runs {
        return Err(Error::TooManyEscapes);
    }
    let mut decoded = String::with_capacity(raw.len());
    let mut runs = Vec::with_capacity(text.runs);
    let mut at = 0;
    while at < raw.len() {
        let rest = &raw.as_bytes()[at..];
        let start = decoded.len();
        let raw_len = if rest[0] == b'\\' {
            let (character, raw_len) = escape(rest);
            decoded.push(character);
            raw_len
        } else {
            let plain = memchr(b'\\', rest).unwrap_or(rest.len());
            decoded.push_str(&raw[at..at + plain]);
            plain
        };
        runs.push(Run { decoded: start, decoded_len: decoded.len() - start, raw: text.inside.start + at, raw_len });
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
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | (digit as char).to_digit(16)?))
}

/// The map of a text inside a document that is itself a decoded string: `inner` leads to that string, `outer` from
/// there to the raw bytes.
pub(super) fn compose(inner: &OffsetMap, outer: &OffsetMap) -> OffsetMap {
    let outer = outer.runs();
    let mut runs = Vec::with_capacity(inner.runs().len());
    let first = inner.runs().first().map_or(0, |run| run.raw);
    let mut at = outer.partition_point(|over| over.decoded + over.decoded_len <= first);
    for run in inner.runs() {
        let end = run.raw + run.raw_len;
        while outer[at].decoded + outer[at].decoded_len <= run.raw {
            at += 1;
        }
        let last = at + outer[at..].iter().take_while(|over| over.decoded + over.decoded_len < end).count();
        if run.decoded_len != run.raw_len {
            let raw = raw_start(outer[at], run.raw);
            runs.push(Run { raw, raw_len: raw_end(outer[last], end) - raw, ..*run });
            continue;
        }
        // A stretch of characters that stand for themselves here, but may be escaped out there.
        for over in &outer[at..=last] {
            let (from, to) = (over.decoded.max(run.raw), end.min(over.decoded + over.decoded_len));
            let raw = raw_start(*over, from);
            let decoded = run.decoded + (from - run.raw);
            runs.push(Run { decoded, decoded_len: to - from, raw, raw_len: raw_end(*over, to) - raw });
        }
    }
    OffsetMap::from_runs(runs)
}

/// The first raw byte of the decoded byte `at`.
fn raw_start(run: Run, at: usize) -> usize {
    if run.decoded_len == run.raw_len { run.raw + (at - run.decoded) } else { run.raw }
}

/// The raw byte behind the decoded bytes before `at`.
fn raw_end(run: Run, at: usize) -> usize {
    if run.decoded_len == run.raw_len { run.raw + (at - run.decoded) } else { run.raw + run.raw_len }
}
