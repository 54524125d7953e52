//! A stream of events cut into its events, and no byte of it lost.
//!
//! [`EventStream`](super::super::EventStream) gives out what events say; here all bytes go on, those that belong to no
//! event or to one that is too long to be read too, and none of them waits for longer than an event does.

use std::ops::Range;

use memchr::memchr2;

/// The longest event that is read.
const MAX_EVENT: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Splitter {
    /// The beginning of the current event.
    held: Vec<u8>,
    /// It is too long, and passes as it comes.
    passing: bool,
    line_is_empty: bool,
    after_cr: bool,
}

/// Some bytes of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// From behind the last event to the empty line that ends this one.
    Event(Vec<u8>),
    /// The second half of a line end that came late.
    LineEnd,
    /// Some of what is too long.
    Unread(Vec<u8>),
}

impl Default for Splitter {
    fn default() -> Self {
        Self { held: Vec::new(), passing: false, line_is_empty: true, after_cr: false }
    }
}

impl Splitter {
    pub(super) fn feed(&mut self, piece: &[u8], mut each: impl FnMut(Block)) {
        let (mut start, mut at) = (0, 0);
        while let Some(stretch) = memchr2(b'\r', b'\n', &piece[at..]) {
            let mut end = at + stretch + 1;
            let is_second_half = stretch == 0 && self.after_cr && piece[at] == b'\n';
            self.after_cr = piece[end - 1] == b'\r';
            if is_second_half {
                if start == at && self.held.is_empty() && !self.passing {
                    each(Block::LineEnd);
                    start = end;
                }
            } else if self.line_is_empty && stretch == 0 {
                if self.after_cr && piece.get(end) == Some(&b'\n') {
                    // Some clients see the end of an event only then.
                    end += 1;
                    self.after_cr = false;
                }
                self.end(&piece[start..end], &mut each);
                start = end;
            } else {
                self.line_is_empty = true;
            }
            at = end;
        }
        if at < piece.len() {
            self.line_is_empty = false;
            self.after_cr = false;
        }
        self.hold(&piece[start..], &mut each);
    }

    /// What is left of an event that never ended.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn end(&mut self, rest: &[u8], each: &mut impl FnMut(Block)) {
        self.hold(rest, each);
        if !self.passing {
            each(Block::Event(self.take()));
        }
        self.passing = false;
    }

    fn hold(&mut self, bytes: &[u8], each: &mut impl FnMut(Block)) {
        if bytes.is_empty() {
            return;
        }
        self.held.extend_from_slice(bytes);
        self.passing |= self.held.len() > MAX_EVENT;
        if self.passing {
            each(Block::Unread(self.take()));
        }
    }
}

/// Where the data of an event is, if it is on one line: nobody writes JSON on several, and then it is not read.
pub(super) fn data(event: &[u8]) -> Option<Range<usize>> {
    let mut found = None;
    let mut start = 0;
    for line in event.split(|b| matches!(b, b'\r' | b'\n')) {
        if let Some(value) = line.strip_prefix(b"data:") {
            if found.is_some() {
                return None;
            }
            found = Some(start + line.len() - value.len()..start + line.len());
        }
        start += line.len() + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<Block> {
        let (mut splitter, mut blocks) = (Splitter::default(), Vec::new());
        pieces.iter().for_each(|piece| splitter.feed(piece, |block| blocks.push(block)));
        blocks.push(Block::Unread(splitter.take()));
        blocks
    }

    fn bytes(blocks: &[Block]) -> Vec<u8> {
        let bytes = blocks.iter().flat_map(|block| match block {
            Block::Event(bytes) | Block::Unread(bytes) => bytes,
            Block::LineEnd => &b"\n"[..],
        });
        bytes.copied().collect()
    }

    #[test]
    fn an_event_ends_with_its_empty_line() {
        let event = |text: &str| Block::Event(text.into());
        let rest = |text: &str| Block::Unread(text.into());
        assert_eq!(split(&[b"data: a\n\n: x\n\nda"]), [event("data: a\n\n"), event(": x\n\n"), rest("da")]);
        assert_eq!(split(&[b"data: a\r\n\r\nx\r\rx"]), [event("data: a\r\n\r\n"), event("x\r\r"), rest("x")]);
        assert_eq!(split(&[b"data: a\r\n\r", b"\nx"]), [event("data: a\r\n\r"), Block::LineEnd, rest("x")]);
    }

    #[test]
    fn what_is_too_long_passes_as_it_comes() {
        let long = vec![b'a'; MAX_EVENT];
        let blocks = split(&[&long, b"bb", b"c\n\ndata: x\n\n"]);
        let kinds = blocks.iter().map(|block| matches!(block, Block::Event(_))).collect::<Vec<_>>();
        assert_eq!(kinds, [false, false, true, false]);
        assert_eq!(bytes(&blocks), [&long, &b"bbc\n\ndata: x\n\n"[..]].concat());
    }

    #[test]
    fn data_is_found_on_one_line_alone() {
        let found = |event: &str| data(event.as_bytes()).map(|range| event[range].to_owned());
        assert_eq!(found("event: x\r\ndata: {}\r\n\r\n").as_deref(), Some(" {}"));
        assert_eq!(found("data:{}\n\n").as_deref(), Some("{}"));
        assert_eq!(found("data: {\ndata: }\n\n"), None);
        assert_eq!(found("event: x\n\n"), None);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_and_events_are_the_same_at_every_cut(
            stream in "((data|event|: x)?:? ?[a-zé]{0,4}(\r\n|\n|\r)){0,12}[a-z]?",
        ) {
            let stream = stream.as_bytes();
            let trimmed = |blocks: Vec<Block>| -> Vec<Vec<u8>> {
                let events = blocks.into_iter().filter_map(|block| match block {
                    Block::Event(bytes) => Some(bytes.trim_ascii().to_vec()),
                    _ => None,
                });
                events.collect()
            };
            let whole = split(&[stream]);
            prop_assert_eq!(bytes(&whole), stream);
            let whole = trimmed(whole);
            for cut in 0..=stream.len() {
                let blocks = split(&[&stream[..cut], &stream[cut..]]);
                prop_assert_eq!(bytes(&blocks), stream);
                prop_assert_eq!(&trimmed(blocks), &whole, "cut at {}", cut);
            }
        }
    }
}
