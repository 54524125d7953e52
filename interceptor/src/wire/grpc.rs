//! gRPC's messages on a stream (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>):
//!
//! ```text
//! compressed (1 byte: 0 or 1)   length (4, big-endian)   message
//! ```
//!
//! Read while they pass. What is in a message is not read: the endpoints' schemas are not known here.

use std::ops::Range;

use thiserror::Error;

/// Follows the messages of one direction of a call.
#[derive(Debug)]
pub struct GrpcFrames {
    state: State,
    limit: u32,
    messages: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// So many bytes of a prefix have come.
    Prefix {
        bytes: [u8; PREFIX],
        have: usize,
    },
    /// In a message of which so much is to come.
    Message {
        compressed: bool,
        left: u32,
    },
    Failed(GrpcError),
}

/// One stretch of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcStretch {
    /// Where in the piece it stands; empty for an empty message.
    pub range: Range<usize>,
    /// Whether the message is compressed, as the call's `grpc-encoding` says.
    pub compressed: bool,
    /// Whether the message ends with it.
    pub last: bool,
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GrpcError {
    /// The first byte of a message is neither 0 nor 1.
    #[error("a gRPC message begins with {0} instead of 0 or 1")]
    Flag(u8),
    /// A message over the limit.
    #[error("a gRPC message of {length} bytes; the limit is {limit}")]
    TooLong {
        /// Of the message.
        length: u32,
        /// In bytes.
        limit: u32,
    },
}

const PREFIX: usize = 5;

impl GrpcFrames {
    /// For messages of up to `limit` bytes. None is held, whatever its length.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { state: State::Prefix { bytes: [0; PREFIX], have: 0 }, limit, messages: 0 }
    }

    /// Takes the next piece and gives every stretch of a message in it to `each`.
    ///
    /// # Errors
    /// What comes are no such messages. Nothing is read from there on, and the error is the same again.
    pub fn feed(&mut self, piece: &[u8], mut each: impl FnMut(GrpcStretch)) -> Result<(), GrpcError> {
        let mut at = 0;
        while at < piece.len() {
            match &mut self.state {
                State::Failed(error) => return Err(*error),
                State::Prefix { bytes, have } => {
                    bytes[*have] = piece[at];
                    *have += 1;
                    at += 1;
                    if *have == PREFIX {
                        let prefix = *bytes;
                        self.begin(prefix, at, &mut each)?;
                    }
                }
                State::Message { compressed, left } => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len() - at);
                    *left -= u32::try_from(taken).unwrap_or(*left);
                    let last = *left == 0;
                    each(GrpcStretch { range: at..at + taken, compressed: *compressed, last });
                    at += taken;
                    if last {
                        self.end();
                    }
                }
            }
        }
        Ok(())
    }

    /// Complete messages so far.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether the stream may end here: between two messages.
    #[must_use]
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Prefix { have: 0, .. })
    }

    fn begin(&mut self, prefix: [u8; PREFIX], at: usize, each: &mut impl FnMut(GrpcStretch)) -> Result<(), GrpcError> {
        let [flag, length @ ..] = prefix;
        let length = u32::from_be_bytes(length);
        let fault = match flag {
            0 | 1 if length <= self.limit => None,
            0 | 1 => Some(GrpcError::TooLong { length, limit: self.limit }),
            other => Some(GrpcError::Flag(other)),
        };
        if let Some(error) = fault {
            self.state = State::Failed(error);
            return Err(error);
        }
        let compressed = flag == 1;
        if length > 0 {
            self.state = State::Message { compressed, left: length };
        } else {
            each(GrpcStretch { range: at..at, compressed, last: true });
            self.end();
        }
        Ok(())
    }

    fn end(&mut self) {
        self.messages += 1;
        self.state = State::Prefix { bytes: [0; PREFIX], have: 0 };
    }
}

/// Flag and content of each message (the last may be unfinished), whether it ends between two, and how.
type Split = (Vec<(bool, Vec<u8>)>, bool, Result<(), GrpcError>);

fn split<'a>(mut pieces: impl Iterator<Item = &'a [u8]>, limit: u32) -> Split {
    let (mut frames, mut messages, mut open) = (GrpcFrames::new(limit), Vec::new(), None::<(bool, Vec<u8>)>);
    let end = pieces.try_for_each(|piece| {
        frames.feed(piece, |stretch| {
            let (_, content) = open.get_or_insert_with(|| (stretch.compressed, Vec::new()));
            content.extend_from_slice(&piece[stretch.range]);
            if stretch.last {
                messages.extend(open.take());
            }
        })
    });
    assert_eq!(frames.messages(), messages.len() as u64);
    messages.extend(open);
    (messages, frames.is_between(), end)
}

/// Fuzz entry: a stream splits into the same messages however it is cut, and they make up the stream.
#[doc(hidden)]
pub fn fuzz_grpc(data: &[u8]) {
    let whole = split(std::iter::once(data), 1 << 10);
    assert_eq!(whole, split(data.chunks(1), 1 << 10));
    let step = usize::from(data.first().copied().unwrap_or(0)) % 13 + 2;
    assert_eq!(whole, split(data.chunks(step), 1 << 10));
    if let (messages, true, Ok(())) = whole {
        let again: Vec<u8> = messages.iter().flat_map(|(compressed, content)| encode(*compressed, content)).collect();
        assert_eq!(again, data);
    }
}

fn encode(compressed: bool, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[u8::from(compressed)], &length[..], content].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_message_ends_the_reading() {
        let mut frames = GrpcFrames::new(10);
        frames.feed(b"\0\0\0\0\x01a\x01\0\0\0\0", |_| {}).unwrap();
        assert!(frames.is_between() && frames.messages() == 2);
        assert_eq!(frames.feed(b"\x02\0\0\0\0", |_| {}), Err(GrpcError::Flag(2)));
        assert_eq!(frames.feed(b"\0\0\0\0\0", |_| {}), Err(GrpcError::Flag(2)), "for good");
        let mut frames = GrpcFrames::new(10);
        assert_eq!(frames.feed(b"\0\0\0\0\x0b", |_| {}), Err(GrpcError::TooLong { length: 11, limit: 10 }));
    }

    #[test]
    fn a_message_is_given_out_as_it_comes() {
        let mut frames = GrpcFrames::new(10);
        let mut seen = Vec::new();
        frames.feed(b"\x01\0\0\0\x03a", |stretch| seen.push(stretch)).unwrap();
        assert!(!frames.is_between());
        frames.feed(b"bc\0", |stretch| seen.push(stretch)).unwrap();
        let first = GrpcStretch { range: 5..6, compressed: true, last: false };
        assert_eq!(seen, [first, GrpcStretch { range: 0..2, compressed: true, last: true }]);
        assert!(!frames.is_between() && frames.messages() == 1);
    }

    proptest! {
        #[test]
        fn messages_are_the_same_at_every_cut(
            messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..12)), 0..5),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|(compressed, content)| encode(*compressed, content)).collect();
            for cut in 0..=stream.len() {
                let (a, b) = stream.split_at(cut);
                prop_assert_eq!(split([a, b].into_iter(), 20), (messages.clone(), true, Ok(())), "cut at {}", cut);
            }
        }

        #[test]
        fn no_bytes_upset_the_reader(data in prop::collection::vec(prop_oneof![0u8..3, any::<u8>()], 0..60)) {
            fuzz_grpc(&data);
        }
    }
}
