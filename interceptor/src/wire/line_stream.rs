//! Lines of a stream that arrives in any pieces: NDJSON, as Ollama streams.

use memchr::memchr;

/// Splits a stream into lines.
#[derive(Debug)]
pub(super) struct LineStream {
    /// The beginning of the current line, from earlier pieces.
    held: Vec<u8>,
    /// The length of the current line, which is not held any more once it passes the limit.
    line: usize,
    limit: usize,
}

impl LineStream {
    /// For lines of up to `limit` bytes; longer ones are passed over.
    pub(super) fn new(limit: usize) -> Self {
        Self { held: Vec::new(), line: 0, limit }
    }

    /// Takes the next piece and gives every line that it completes, without its LF, to `each`.
    pub(super) fn feed(&mut self, mut piece: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(end) = memchr(b'\n', piece) {
            let (line, rest) = (&piece[..end], &piece[end + 1..]);
            if self.line == 0 && line.len() <= self.limit {
                each(line);
            } else {
                self.hold(line);
                self.finish(&mut each);
            }
            piece = rest;
        }
        self.hold(piece);
    }

    /// The stream has ended, and with it the last line.
    pub(super) fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        if (1..=self.limit).contains(&self.line) {
            each(&self.held);
        }
        self.held.clear();
        self.line = 0;
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.line = self.line.saturating_add(bytes.len());
        if self.line <= self.limit {
            self.held.extend_from_slice(bytes);
        } else {
            self.held = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split<'a>(pieces: impl Iterator<Item = &'a [u8]>, limit: usize) -> Vec<Vec<u8>> {
        let (mut stream, mut lines) = (LineStream::new(limit), Vec::new());
        pieces.for_each(|piece| stream.feed(piece, |line| lines.push(line.to_vec())));
        stream.finish(|line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn a_line_is_given_out_with_its_last_byte() {
        let (mut stream, mut seen) = (LineStream::new(10), 0);
        stream.feed(b"{}", |_| seen += 1);
        assert_eq!(seen, 0);
        stream.feed(b"\n", |line| {
            assert_eq!(line, b"{}");
            seen += 1;
        });
        assert_eq!(seen, 1);
    }

    #[test]
    fn a_line_over_the_limit_is_passed_over() {
        assert_eq!(split([&b"12345\n1234\n123"[..], b"45\n1"].into_iter(), 4), [&b"1234"[..], b"1"]);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_at_every_cut(stream in "[ab\n]{0,30}", limit in 0usize..6) {
            let fits = |line: &&str| line.len() <= limit;
            let mut expected: Vec<_> = stream.split('\n').filter(fits).map(|line| line.as_bytes().to_vec()).collect();
            if stream.is_empty() || stream.ends_with('\n') {
                expected.pop();
            }
            for cut in 0..=stream.len() {
                let (a, b) = stream.as_bytes().split_at(cut);
                prop_assert_eq!(&split([a, b].into_iter(), limit), &expected, "cut at {}", cut);
            }
        }
    }
}
