//! Server-sent events (WHATWG HTML, 9.2: <https://html.spec.whatwg.org/multipage/server-sent-events.html>), split from
//! a stream that arrives in any pieces.
//!
//! ```text
//! : a comment
//! event: message_start
//! data: {"type":"message_start"}
//!                                    <- an empty line ends the event
//! ```
//!
//! Lines end in LF, CR or CRLF. An event is given out with the first byte that completes it, so the LF of a closing
//! CRLF is counted to the event behind it: nothing waits for a byte that may never come.

use std::borrow::Cow;

use memchr::memchr2;

/// Splits a stream into events.
#[derive(Debug)]
pub struct EventStream {
    /// The beginning of the current block, from earlier pieces.
    held: Vec<u8>,
    /// The length of the current block, which is not held any more once it passes the limit.
    block: usize,
    limit: usize,
    line_is_empty: bool,
    after_cr: bool,
    at_start: bool,
    oversized: u64,
}

/// The bytes up to and including an empty line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    raw: &'a [u8],
    content: &'a [u8],
}

/// A byte order mark may stand at the start of a stream, and is ignored.
const BOM: &[u8] = b"\xef\xbb\xbf";

impl EventStream {
    /// A splitter for events of up to `limit` bytes; longer ones are counted and passed over.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { held: Vec::new(), block: 0, limit, line_is_empty: true, after_cr: false, at_start: true, oversized: 0 }
    }

    /// Takes the next piece and gives every event that it completes to `each`, also those that carry no data
    /// (comments, pings).
    pub fn feed(&mut self, piece: &[u8], mut each: impl FnMut(Event<'_>)) {
        let (mut start, mut at) = (0, 0);
        while let Some(stretch) = memchr2(b'\r', b'\n', &piece[at..]) {
            let end = at + stretch + 1;
            let is_second_half = stretch == 0 && self.after_cr && piece[at] == b'\n';
            self.after_cr = piece[end - 1] == b'\r';
            self.line_is_empty &= stretch == 0;
            at = end;
            if is_second_half {
                continue;
            }
            if self.line_is_empty {
                self.end_block(&piece[start..end], &mut each);
                start = end;
            }
            self.line_is_empty = true;
        }
        if at < piece.len() {
            self.line_is_empty = false;
            self.after_cr = false;
        }
        self.hold(&piece[start..]);
    }

    /// Events that were longer than the limit.
    #[must_use]
    pub fn oversized(&self) -> u64 {
        self.oversized
    }

    /// Bytes of an event that is not complete. At the end of the stream they are no event.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.block
    }

    fn end_block(&mut self, rest: &[u8], each: &mut impl FnMut(Event<'_>)) {
        let in_one_piece = self.block == 0;
        if in_one_piece && rest.len() <= self.limit {
            each(Event::new(rest, self.at_start));
        } else {
            self.hold(rest);
            if self.block <= self.limit {
                each(Event::new(&self.held, self.at_start));
            } else {
                self.oversized += 1;
            }
        }
        self.held.clear();
        self.block = 0;
        self.at_start = false;
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.block += bytes.len();
        if self.block <= self.limit {
            self.held.extend_from_slice(bytes);
        } else {
            self.held = Vec::new();
        }
    }
}

impl<'a> Event<'a> {
    fn new(raw: &'a [u8], at_start: bool) -> Self {
        let content = if at_start { raw.strip_prefix(BOM).unwrap_or(raw) } else { raw };
        Self { raw, content }
    }

    /// The bytes of the stream, the empty line included.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The `event` field: the last one counts, and `message` is meant when there is none.
    #[must_use]
    pub fn name(self) -> Cow<'a, str> {
        match self.values("event").last() {
            None | Some(b"") => Cow::Borrowed("message"),
            Some(name) => String::from_utf8_lossy(name),
        }
    }

    /// The `data` lines, joined by LF; `None` when there is nothing in them.
    #[must_use]
    pub fn data(self) -> Option<Cow<'a, str>> {
        let mut lines = self.values("data");
        let first = String::from_utf8_lossy(lines.next()?);
        let data = lines.fold(first, |mut data, line| {
            data.to_mut().push('\n');
            data.to_mut().push_str(&String::from_utf8_lossy(line));
            data
        });
        (!data.is_empty()).then_some(data)
    }

    /// The values of a field, one per line, without the one space that may follow the colon.
    fn values(self, field: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.content.split(|b| matches!(b, b'\r' | b'\n')).filter_map(move |line| {
            let value = line.strip_prefix(field.as_bytes())?;
            match value.first() {
                None => Some(value),
                Some(b':') => Some(value[1..].strip_prefix(b" ").unwrap_or(&value[1..])),
                Some(_) => None,
            }
        })
    }
}

/// What a stream is split into.
#[derive(Debug, Default, PartialEq, Eq)]
struct Split {
    /// Raw bytes, name and data of each event.
    events: Vec<(Vec<u8>, String, Option<String>)>,
    oversized: u64,
    pending: usize,
}

fn split<'a>(pieces: impl Iterator<Item = &'a [u8]>, limit: usize) -> Split {
    let mut stream = EventStream::new(limit);
    let mut events = Vec::new();
    for piece in pieces {
        stream.feed(piece, |event| {
            events.push((event.raw().to_vec(), event.name().into_owned(), event.data().map(Cow::into_owned)));
        });
    }
    Split { events, oversized: stream.oversized(), pending: stream.pending_bytes() }
}

/// Fuzz entry: a stream splits into the same events however it is cut, and no byte of it is lost.
#[doc(hidden)]
pub fn fuzz_sse(data: &[u8]) {
    for limit in [16, usize::MAX] {
        let whole = split(std::iter::once(data), limit);
        assert_eq!(whole, split(data.chunks(1), limit));
        let step = usize::from(data.first().copied().unwrap_or(0)) % 7 + 2;
        assert_eq!(whole, split(data.chunks(step), limit));
        if limit == usize::MAX {
            let raw: Vec<u8> = whole.events.iter().flat_map(|(raw, ..)| raw.clone()).collect();
            assert_eq!(raw, data[..data.len() - whole.pending]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(stream: &str) -> Vec<(String, String)> {
        let events = split(std::iter::once(stream.as_bytes()), usize::MAX).events;
        events.into_iter().filter_map(|(_, name, data)| data.map(|data| (name, data))).collect()
    }

    fn one(name: &str, data: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), data.to_owned())]
    }

    #[test]
    fn every_line_ending_ends_a_line() {
        for stream in [
            "event: a\ndata: b\n\n",
            "event: a\r\ndata: b\r\n\r\n",
            "event: a\rdata: b\r\r",
            "event: a\r\ndata: b\r\n\n",
        ] {
            assert_eq!(events(stream), one("a", "b"), "{stream:?}");
        }
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        assert_eq!(events("data: a\ndata\ndata:b\n\n"), one("message", "a\n\nb"));
        assert_eq!(events("data:  two spaces\n\n"), one("message", " two spaces"));
        assert_eq!(events(": comment\nid: 1\nretry: 5\ndatas: x\n data: x\ndata: a: b\n\n"), one("message", "a: b"));
        assert_eq!(events("event: x\n\ndata: y\n\n"), one("message", "y"), "an event without data is none");
        assert_eq!(events("data\n\ndata:\n\n"), []);
        assert_eq!(events("data: unfinished\n"), []);
        assert_eq!(events("\u{feff}data: a\n\n\u{feff}data: b\n\n"), one("message", "a"), "one mark, at the start");
        assert_eq!(events("event: a\nevent:\ndata: b\n\n"), one("message", "b"));
    }

    #[test]
    fn an_event_is_given_out_with_its_last_byte() {
        let mut stream = EventStream::new(100);
        let mut seen = 0;
        stream.feed(b"data: a\r\n", |_| seen += 1);
        assert_eq!(seen, 0);
        stream.feed(b"\r", |_| seen += 1);
        assert_eq!(seen, 1);
        stream.feed(b"\ndata: b\n\n", |event| {
            seen += 1;
            assert_eq!((event.raw(), event.data().as_deref()), (b"\ndata: b\n\n".as_slice(), Some("b")));
        });
        assert_eq!(seen, 2);
    }

    #[test]
    fn an_oversized_event_is_counted_and_passed_over() {
        let long = format!("data: {}\n\ndata: b\n\n", "a".repeat(100));
        for size in [1, 7, 200] {
            let Split { events, oversized, .. } = split(long.as_bytes().chunks(size), 20);
            assert_eq!((events.len(), oversized), (1, 1));
            assert_eq!(events[0].2.as_deref(), Some("b"));
        }
    }

    proptest! {
        #[test]
        fn events_are_the_same_at_every_cut(stream in "(\u{feff})?((data|event|id|: x)?:? ?[a-zé]{0,4}(\r\n|\n|\r)){0,12}") {
            let bytes = stream.as_bytes();
            let whole = split(std::iter::once(bytes), usize::MAX);
            for cut in 0..=bytes.len() {
                let (a, b) = bytes.split_at(cut);
                prop_assert_eq!(&split([a, b].into_iter(), usize::MAX), &whole, "cut at {}", cut);
            }
            fuzz_sse(bytes);
        }

        #[test]
        fn no_bytes_upset_the_splitter(data in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r')], 0..60)) {
            fuzz_sse(&data);
        }
    }
}
