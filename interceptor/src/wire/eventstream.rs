//! `application/vnd.amazon.eventstream`: how Bedrock and other services of AWS stream
//! (<https://docs.aws.amazon.com/lexv2/latest/dg/event-stream-encoding.html>). All numbers are big-endian:
//!
//! ```text
//! total length (4)   headers' length (4)   CRC-32 of these (4)
//! headers: [ name length (1)  name  type (1)  value ]*
//! payload
//! CRC-32 of all before it (4)
//! ```
//!
//! Read while it passes: the messages are given out, and the bytes are not touched.

use flate2::Crc;
use thiserror::Error;

/// Splits a stream into messages.
#[derive(Debug, Default)]
pub struct AwsEventStream {
    /// The beginning of the current message.
    held: Vec<u8>,
    /// The whole length of the current message, once its prelude has been read.
    total: Option<usize>,
    failed: Option<AwsStreamError>,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwsMessage<'a> {
    raw: &'a [u8],
    headers: usize,
}

/// A header's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsValue<'a> {
    /// Types 0 and 1.
    Bool(bool),
    /// Types 2 to 5, of one, two, four and eight bytes.
    Integer(i64),
    /// Type 6.
    Bytes(&'a [u8]),
    /// Type 7.
    String(&'a str),
    /// Type 8: milliseconds since 1970.
    Timestamp(i64),
    /// Type 9.
    Uuid([u8; 16]),
}

/// Why a stream cannot be read on. There is no way to find the next message then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AwsStreamError {
    /// The length is less than a message has, or more than one may have.
    #[error("an event stream message of {total} bytes, of which {headers} are headers")]
    Length {
        /// All of it.
        total: u32,
        /// Its headers.
        headers: u32,
    },
    /// The first checksum is another.
    #[error("the checksum of an event stream message's lengths does not fit")]
    PreludeChecksum,
    /// The last checksum is another.
    #[error("the checksum of an event stream message does not fit")]
    Checksum,
    /// The headers are not headers.
    #[error("malformed headers in an event stream message")]
    Headers,
}

/// The longest message: what AWS allows a payload, its headers and the frame.
const MAX_MESSAGE: u32 = (16 << 20) + MAX_HEADERS + OVERHEAD;
/// The longest headers of a message.
const MAX_HEADERS: u32 = 128 << 10;
/// What a message without headers and payload has.
const OVERHEAD: u32 = 16;
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

impl AwsEventStream {
    /// Takes the next piece and gives every message that it completes to `each`.
    ///
    /// # Errors
    /// What comes is no such stream. Nothing of it is read from there on, and the error is the same again.
    pub fn feed(&mut self, mut piece: &[u8], mut each: impl FnMut(AwsMessage<'_>)) -> Result<(), AwsStreamError> {
        while !piece.is_empty() {
            if let Some(error) = self.failed {
                return Err(error);
            }
            piece = self.step(piece, &mut each).inspect_err(|&error| {
                self.failed = Some(error);
                self.held = Vec::new();
            })?;
        }
        Ok(())
    }

    /// Bytes of a message that is not complete.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.held.len()
    }

    /// Takes what the current message lacks, or what there is of it; returns the rest.
    fn step<'p>(&mut self, piece: &'p [u8], each: &mut impl FnMut(AwsMessage<'_>)) -> Result<&'p [u8], AwsStreamError> {
        if self.held.is_empty() && piece.len() >= PRELUDE {
            // A message that is there to its end is not copied.
            let total = length(piece)?;
            if let Some((whole, rest)) = piece.split_at_checked(total) {
                each(AwsMessage::read(whole)?);
                return Ok(rest);
            }
            self.total = Some(total);
        }
        let wanted = self.total.unwrap_or(PRELUDE) - self.held.len();
        let (taken, rest) = piece.split_at(wanted.min(piece.len()));
        self.held.extend_from_slice(taken);
        if taken.len() < wanted {
            return Ok(rest);
        }
        match self.total {
            None => self.total = Some(length(&self.held)?),
            Some(_) => {
                each(AwsMessage::read(&self.held)?);
                self.total = None;
                self.held.clear();
            }
        }
        Ok(rest)
    }
}

/// The length of the message that begins with this prelude.
fn length(prelude: &[u8]) -> Result<usize, AwsStreamError> {
    let (total, headers) = (u32_at(prelude, 0), u32_at(prelude, 4));
    if u32_at(prelude, 8) != crc(&prelude[..8]) {
        return Err(AwsStreamError::PreludeChecksum);
    }
    let fits = total <= MAX_MESSAGE && headers <= MAX_HEADERS && total >= OVERHEAD + headers;
    let total_len = usize::try_from(total).ok().filter(|_| fits);
    total_len.ok_or(AwsStreamError::Length { total, headers })
}

impl<'a> AwsMessage<'a> {
    /// Checks a message of the length that its prelude says.
    fn read(raw: &'a [u8]) -> Result<Self, AwsStreamError> {
        let end = raw.len() - CHECKSUM;
        if u32_at(raw, end) != crc(&raw[..end]) {
            return Err(AwsStreamError::Checksum);
        }
        let message = Self { raw, headers: PRELUDE + u32_at(raw, 4) as usize };
        let mut headers = message.header_bytes();
        while !headers.is_empty() {
            headers = header(headers).ok_or(AwsStreamError::Headers)?.1;
        }
        Ok(message)
    }

    /// The bytes of the stream, from the first length to the last checksum.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The headers, in order.
    pub fn headers(self) -> impl Iterator<Item = (&'a str, AwsValue<'a>)> {
        let mut headers = self.header_bytes();
        std::iter::from_fn(move || {
            let (found, rest) = header(headers)?;
            headers = rest;
            Some(found)
        })
    }

    /// The text of the first header of this name: `:event-type`, `:message-type`, `:content-type`.
    #[must_use]
    pub fn text(self, name: &str) -> Option<&'a str> {
        self.headers().find(|(have, _)| *have == name).and_then(|(_, value)| match value {
            AwsValue::String(text) => Some(text),
            _ => None,
        })
    }

    /// What the message carries.
    #[must_use]
    pub fn payload(self) -> &'a [u8] {
        &self.raw[self.headers..self.raw.len() - CHECKSUM]
    }

    fn header_bytes(self) -> &'a [u8] {
        &self.raw[PRELUDE..self.headers]
    }
}

/// The first header, and what follows it.
fn header(bytes: &[u8]) -> Option<((&str, AwsValue<'_>), &[u8])> {
    let (&len, bytes) = bytes.split_first()?;
    let (name, bytes) = bytes.split_at_checked(usize::from(len))?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    let (&kind, bytes) = bytes.split_first()?;
    let (value, rest) = match kind {
        0 | 1 => (AwsValue::Bool(kind == 0), bytes),
        2 => integer::<1>(bytes).map(|(n, rest)| (AwsValue::Integer(i8::from_be_bytes(n).into()), rest))?,
        3 => integer::<2>(bytes).map(|(n, rest)| (AwsValue::Integer(i16::from_be_bytes(n).into()), rest))?,
        4 => integer::<4>(bytes).map(|(n, rest)| (AwsValue::Integer(i32::from_be_bytes(n).into()), rest))?,
        5 => integer::<8>(bytes).map(|(n, rest)| (AwsValue::Integer(i64::from_be_bytes(n)), rest))?,
        6 => sized(bytes).map(|(value, rest)| (AwsValue::Bytes(value), rest))?,
        7 => {
            let (value, rest) = sized(bytes)?;
            (AwsValue::String(std::str::from_utf8(value).ok()?), rest)
        }
        8 => integer::<8>(bytes).map(|(n, rest)| (AwsValue::Timestamp(i64::from_be_bytes(n)), rest))?,
        9 => integer::<16>(bytes).map(|(id, rest)| (AwsValue::Uuid(id), rest))?,
        _ => return None,
    };
    Some(((name, value), rest))
}

fn integer<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk().map(|(first, rest)| (*first, rest))
}

/// A value behind its length in two bytes.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, bytes) = integer::<2>(bytes)?;
    bytes.split_at_checked(usize::from(u16::from_be_bytes(len)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |number| u32::from_be_bytes(*number))
}

/// CRC-32 as in gzip (RFC 1952, 8).
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Raw bytes of each message, what is pending, and how it ended.
type Split = (Vec<Vec<u8>>, usize, Result<(), AwsStreamError>);

fn split<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Split {
    let (mut stream, mut messages) = (AwsEventStream::default(), Vec::new());
    let end = pieces.try_for_each(|piece| stream.feed(piece, |message| messages.push(message.raw().to_vec())));
    (messages, stream.pending_bytes(), end)
}

/// Fuzz entry: a stream splits into the same messages however it is cut, and no byte of it is lost.
#[doc(hidden)]
pub fn fuzz_eventstream(data: &[u8]) {
    // Checksums are hard to guess: the same bytes as one message, with those that fit.
    let (headers, payload) = data.split_at(data.first().map_or(0, |&n| usize::from(n).min(data.len() - 1)));
    let stream = [data, &encode(headers, payload)].concat();
    for data in [data, &stream[data.len()..], &stream] {
        let whole = split(std::iter::once(data));
        assert_eq!(whole, split(data.chunks(1)));
        let step = usize::from(data.first().copied().unwrap_or(0)) % 13 + 2;
        assert_eq!(whole, split(data.chunks(step)));
        let (messages, pending, end) = whole;
        assert!(data.starts_with(&messages.concat()));
        assert!(end.is_err() || messages.concat().len() + pending == data.len());
    }
}

/// A message with these headers, as they stand in it.
fn encode(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let total = OVERHEAD as usize + headers.len() + payload.len();
    let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    let mut message = [length(total), length(headers.len())].concat();
    message.extend_from_slice(&crc(&message).to_be_bytes());
    message.extend_from_slice(headers);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc(&message).to_be_bytes());
    message
}

/// A message of this `:event-type`.
#[cfg(test)]
pub(super) fn event(kind: &str, payload: &[u8]) -> Vec<u8> {
    encode(&tests::event_type(kind), payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The header `:event-type`, a string.
    pub(super) fn event_type(name: &str) -> Vec<u8> {
        let len = u16::try_from(name.len()).unwrap().to_be_bytes();
        [b"\x0b:event-type\x07", &len[..], name.as_bytes()].concat()
    }

    #[test]
    fn a_message_that_others_made_is_read() {
        // {"foo": "bar"} with and without a content-type, from the tests of an Elixir encoder of this format.
        let plain = hex::decode("0000001e00000000baf2f68a7b22666f6f223a2022626172227dae7258e4").unwrap();
        let typed = hex::decode(concat!(
            "0000003e00000020405df9460c636f6e74656e742d74797065070010",
            "6170706c69636174696f6e2f6a736f6e7b22666f6f223a2022626172227d6fa2bf3b"
        ))
        .unwrap();
        let stream = [plain, typed].concat();
        let mut seen = Vec::new();
        let mut reader = AwsEventStream::default();
        let each = |message: AwsMessage<'_>| {
            let kind = message.text("content-type").map(str::to_owned);
            seen.push((kind, String::from_utf8(message.payload().to_vec()).unwrap()));
        };
        reader.feed(&stream, each).unwrap();
        let payload = "{\"foo\": \"bar\"}".to_owned();
        assert_eq!(seen, [(None, payload.clone()), (Some("application/json".to_owned()), payload)]);
    }

    #[test]
    fn headers_have_every_type() {
        let headers = [
            b"\x01a\0".as_slice(),
            b"\x01b\x01",
            b"\x01c\x02\xff",
            b"\x01d\x03\x01\x02",
            b"\x01e\x04\xff\xff\xff\xfe",
            b"\x01f\x05\0\0\0\0\0\0\x01\0",
            b"\x01g\x06\0\x02\xff\0",
            b"\x01h\x07\0\x03\xc3\xa9!",
            b"\x01i\x08\0\0\0\0\0\0\0\x07",
            b"\x01j\x090123456789abcdef",
        ]
        .concat();
        let raw = encode(&headers, b"");
        let values: Vec<_> = AwsMessage::read(&raw).unwrap().headers().map(|(_, value)| value).collect();
        assert_eq!(
            values,
            [
                AwsValue::Bool(true),
                AwsValue::Bool(false),
                AwsValue::Integer(-1),
                AwsValue::Integer(258),
                AwsValue::Integer(-2),
                AwsValue::Integer(256),
                AwsValue::Bytes(b"\xff\0"),
                AwsValue::String("\u{e9}!"),
                AwsValue::Timestamp(7),
                AwsValue::Uuid(*b"0123456789abcdef"),
            ]
        );
    }

    #[test]
    fn what_is_no_message_ends_the_reading() {
        let good = encode(&event_type("chunk"), b"{}");
        let after = |bytes: &[u8]| split([&good[..], bytes].into_iter());
        let mut stream = AwsEventStream::default();
        let mut wrong = good.clone();
        wrong[5] ^= 1;
        assert_eq!(after(&wrong), (vec![good.clone()], 0, Err(AwsStreamError::PreludeChecksum)));
        assert_eq!(stream.feed(&wrong, |_| {}), Err(AwsStreamError::PreludeChecksum));
        assert_eq!(stream.feed(&good, |_| {}), Err(AwsStreamError::PreludeChecksum), "for good");
        let mut wrong = good.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(after(&wrong).2, Err(AwsStreamError::Checksum));
        for headers in [&b"\0\x07\0\0"[..], b"\x01a", b"\x01a\x0a", b"\x01a\x07\0\x05a", b"\x01\xff\0", b"\x05a"] {
            assert_eq!(after(&encode(headers, b"")).2, Err(AwsStreamError::Headers), "{headers:?}");
        }
        let prelude = |total: u32, headers: u32| {
            let lengths = [total.to_be_bytes(), headers.to_be_bytes()].concat();
            [&lengths[..], &crc(&lengths).to_be_bytes()].concat()
        };
        for (total, headers) in
            [(0, 0), (15, 0), (20, 5), (MAX_MESSAGE + 1, 0), (1 << 20, MAX_HEADERS + 1), (u32::MAX, 0)]
        {
            assert_eq!(after(&prelude(total, headers)).2, Err(AwsStreamError::Length { total, headers }));
        }
        assert!(after(&prelude(MAX_MESSAGE, MAX_HEADERS)).2.is_ok());
    }

    #[test]
    fn a_length_alone_takes_no_memory() {
        let mut stream = AwsEventStream::default();
        let lengths = [(16u32 << 20).to_be_bytes(), 0u32.to_be_bytes()].concat();
        stream.feed(&lengths, |_| {}).unwrap();
        stream.feed(&crc(&lengths).to_be_bytes(), |_| {}).unwrap();
        assert!(stream.held.capacity() < 1 << 10 && stream.pending_bytes() == 12);
    }

    proptest! {
        #[test]
        fn messages_are_the_same_at_every_cut(
            given in prop::collection::vec(("[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..12)), 0..4),
        ) {
            let messages: Vec<_> = given.iter().map(|(name, payload)| encode(&event_type(name), payload)).collect();
            let stream = messages.concat();
            for cut in 0..=stream.len() {
                let (a, b) = stream.split_at(cut);
                prop_assert_eq!(split([a, b].into_iter()), (messages.clone(), 0, Ok(())), "cut at {}", cut);
            }
            fuzz_eventstream(&stream);
        }

        #[test]
        fn no_bytes_upset_the_reader(data in prop::collection::vec(any::<u8>(), 0..60)) {
            fuzz_eventstream(&data);
        }
    }
}
