//! Text located inside a body: the decoded characters, and the way back to the raw bytes they came from.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Half-open byte range.
pub type ByteSpan = Range<usize>;

/// One piece of text found in a request body.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// Where it was found, for the record: `messages[0].content[1].text`. Never contains values, only keys.
    pub path: String,
    /// The text with every layer of escaping removed.
    pub text: Cow<'a, str>,
    /// From bytes of `text` to bytes of the body.
    pub map: OffsetMap,
    /// How a replacement must be written.
    pub form: Form,
    /// Whether it may be replaced at all.
    pub access: Access,
    /// The name that the value has in its document, `account_number` or `db_password`: what the key says of a value
    /// counts like words before it. `None` where the schema, not the client, chose the key. At most
    /// [`Field::LONGEST_NAME`] bytes.
    pub name: Option<Arc<str>>,
}

impl Field<'_> {
    /// The most bytes of a [`Field::name`]; of a longer one the end is kept.
    pub const LONGEST_NAME: usize = 64;
}

/// The JSON token a field's text is, and how many JSON strings it is nested in (0: directly in the body).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The inside of a string, quotes not included. A replacement is escaped `depth + 1` times.
    String {
        /// JSON strings around the document this string belongs to.
        depth: u8,
    },
    /// A whole number literal. A replacement becomes a quoted string, its quotes escaped `depth` times.
    Number {
        /// JSON strings around the document this number belongs to.
        depth: u8,
    },
}

/// Whether a field may be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Findings are replaced in place.
    Editable,
    /// Scanned, but replacing would break the protocol (Anthropic's signed thinking blocks): a finding that policy
    /// wants masked denies the request.
    ReadOnly,
}

/// Maps spans of decoded text back to the raw bytes, without ever splitting an escape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetMap {
    runs: Vec<Run>,
}

/// A stretch of decoded text and the raw bytes it came from. Stretches of equal length map byte by byte; any other
/// (an escape such as `\u0034`) is atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First decoded byte.
    pub decoded: usize,
    /// Decoded bytes.
    pub decoded_len: usize,
    /// First raw byte.
    pub raw: usize,
    /// Raw bytes.
    pub raw_len: usize,
}

impl OffsetMap {
    /// A text that stands in the raw bytes as it is, from `raw` on.
    #[must_use]
    pub fn identity(raw: usize, len: usize) -> Self {
        Self { runs: vec![Run { decoded: 0, decoded_len: len, raw, raw_len: len }] }
    }

    /// Runs in order and without gaps in the decoded text, starting at 0.
    #[must_use]
    pub fn from_runs(runs: Vec<Run>) -> Self {
        debug_assert!(
            runs.windows(2)
                .all(|w| w[0].decoded + w[0].decoded_len == w[1].decoded && w[0].raw + w[0].raw_len <= w[1].raw)
        );
        Self { runs }
    }

    /// The same map for a text whose raw bytes stand `by` bytes further on.
    #[must_use]
    pub fn further(mut self, by: usize) -> Self {
        self.runs.iter_mut().for_each(|run| run.raw += by);
        self
    }

    /// The runs, in order.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The smallest raw span whose decoding covers `span`.
    ///
    /// # Panics
    /// When `span` is empty or not within the decoded text.
    #[must_use]
    pub fn to_raw(&self, span: &ByteSpan) -> ByteSpan {
        assert!(span.start < span.end, "an empty span has no raw bytes");
        let first = self.run_at(span.start);
        let last = self.run_at(span.end - 1);
        let start = if first.is_linear() { first.raw + (span.start - first.decoded) } else { first.raw };
        let end = if last.is_linear() { last.raw + (span.end - last.decoded) } else { last.raw + last.raw_len };
        start..end
    }

    fn run_at(&self, decoded: usize) -> Run {
        let next = self.runs.partition_point(|run| run.decoded <= decoded);
        let run = self.runs[next.checked_sub(1).expect("runs start at 0")];
        assert!(decoded < run.decoded + run.decoded_len, "offset {decoded} is outside the text");
        run
    }
}

impl Run {
    fn is_linear(self) -> bool {
        self.decoded_len == self.raw_len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_touches_an_escape_covers_all_of_it() {
        // raw: ab\u0034cd   decoded: ab4cd
        let map = OffsetMap::from_runs(vec![
            Run { decoded: 0, decoded_len: 2, raw: 10, raw_len: 2 },
            Run { decoded: 2, decoded_len: 1, raw: 12, raw_len: 6 },
            Run { decoded: 3, decoded_len: 2, raw: 18, raw_len: 2 },
        ]);
        assert_eq!(map.to_raw(&(2..3)), 12..18);
        assert_eq!(map.to_raw(&(1..4)), 11..19);
        assert_eq!(map.to_raw(&(0..5)), 10..20);
        assert_eq!(map.to_raw(&(3..4)), 18..19);
    }

    #[test]
    fn identity_shifts() {
        assert_eq!(OffsetMap::identity(7, 5).to_raw(&(1..3)), 8..10);
    }
}
