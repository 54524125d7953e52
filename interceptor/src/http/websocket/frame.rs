//! Frames (RFC 6455, section 5): their heads, their order, and the masking of their payload.
//!
//! ```text
//!  0        1        2 .. 9                       then
//! ┌────────┬────────┬───────────────────────────┬──────────────┬─────────┐
//! │FRRRoooo│Mlllllll│ longer length: 0, 2, 8    │ key if M: 4  │ payload │
//! └────────┴────────┴───────────────────────────┴──────────────┴─────────┘
//! F: last of its message   R: reserved, the first of them is compression's   o: opcode   M: masked   l: length
//! ```

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Close, Error, Peer};

/// What a message is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

/// A control frame, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Which one.
    pub kind: ControlKind,
    /// As it came.
    pub raw: Bytes,
    /// Its payload, unmasked.
    pub payload: Bytes,
}

/// The control frames (RFC 6455, 5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// To be answered with a pong of the same payload.
    Ping,
    /// The answer to a ping, or a sign of life that nobody asked for.
    Pong,
    /// Nothing comes behind it.
    Close(Close),
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV23: u8 = 0x30;
const MASKED: u8 = 0x80;

/// The most that a control frame carries.
pub(super) const MAX_CONTROL: usize = 125;

impl Kind {
    pub(super) fn opcode(self) -> u8 {
        match self {
            Self::Text => TEXT,
            Self::Binary => BINARY,
        }
    }
}

/// The head of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    fin: bool,
    compressed: bool,
    opcode: u8,
    length: u64,
    key: [u8; 4],
    size: usize,
}

/// A data frame whose payload is arriving.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload {
    key: [u8; 4],
    /// How much of it has arrived.
    read: usize,
    remaining: u64,
    fin: bool,
}

/// The message whose frames are arriving.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    pub(super) kind: Kind,
    pub(super) compressed: bool,
    /// How many frames have begun.
    pub(super) fragments: usize,
}

/// What a frame's head opens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    Control(Control),
    /// A data frame of `length` bytes behind a head of `head` bytes.
    Data {
        head: usize,
        length: u64,
    },
}

/// What has ended with some bytes of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Nothing,
    Frame,
    Message,
}

/// Follows one direction's frames through its bytes.
#[derive(Debug)]
pub(super) struct Frames {
    sender: Peer,
    deflate: bool,
    message: Option<Current>,
    frame: Option<Payload>,
}

impl Frames {
    /// `deflate` says whether compression was negotiated.
    pub(super) fn new(sender: Peer, deflate: bool) -> Self {
        Self { sender, deflate, message: None, frame: None }
    }

    /// The message whose frames are arriving.
    pub(super) fn message(&self) -> Option<&Current> {
        self.message.as_ref()
    }

    /// Whether a payload is arriving.
    pub(super) fn in_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Reads the head of the next frame, and all of a control frame; `None` when more bytes are needed.
    pub(super) fn open(&mut self, input: &[u8]) -> Result<Option<Opened>, Error> {
        let Some(head) = self.head(input)? else { return Ok(None) };
        if head.opcode >= CLOSE {
            let end = head.size + usize::try_from(head.length).unwrap_or(MAX_CONTROL);
            let Some(raw) = input.get(..end) else { return Ok(None) };
            return control(&head, raw).map(Opened::Control).map(Some);
        }
        let kind = if head.opcode == TEXT { Kind::Text } else { Kind::Binary };
        let begun = Current { kind, compressed: head.compressed, fragments: 0 };
        self.message.get_or_insert(begun).fragments += 1;
        self.frame = Some(Payload { key: head.key, read: 0, remaining: head.length, fin: head.fin });
        Ok(Some(Opened::Data { head: head.size, length: head.length }))
    }

    /// How many of the next `available` bytes belong to the payload that is arriving; `None` when none is, or none of
    /// the bytes that it still needs are there.
    pub(super) fn reach(&self, available: usize) -> Option<usize> {
        let frame = self.frame.as_ref()?;
        let reach = usize::try_from(frame.remaining).unwrap_or(usize::MAX).min(available);
        (reach > 0 || frame.remaining == 0).then_some(reach)
    }

    /// Whether the message ends with the next `bytes`.
    pub(super) fn ends_with(&self, bytes: usize) -> bool {
        self.frame.as_ref().is_some_and(|frame| frame.fin && frame.remaining == bytes as u64)
    }

    /// Unmasks `bytes`, which begin where the payload stands.
    pub(super) fn unmask(&self, bytes: &mut [u8]) {
        if let Some(frame) = &self.frame
            && self.sender == Peer::Client
        {
            apply_mask(bytes, frame.key, frame.read);
        }
    }

    /// The same `bytes`, copied only where they are masked.
    pub(super) fn unmasked<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match self.sender {
            Peer::Endpoint => Cow::Borrowed(bytes),
            Peer::Client => {
                let mut bytes = bytes.to_vec();
                self.unmask(&mut bytes);
                Cow::Owned(bytes)
            }
        }
    }

    /// Leaves `bytes` of the payload behind.
    pub(super) fn advance(&mut self, bytes: usize) -> End {
        let Some(frame) = &mut self.frame else { return End::Nothing };
        frame.read += bytes;
        frame.remaining -= bytes as u64;
        let (whole, fin) = (frame.remaining == 0, frame.fin);
        match (whole, fin) {
            (false, _) => End::Nothing,
            (true, false) => {
                self.frame = None;
                End::Frame
            }
            (true, true) => {
                self.frame = None;
                self.message = None;
                End::Message
            }
        }
    }

    /// Checks byte after byte, so that the first fault is reported whatever the segmentation of the input.
    fn head(&self, input: &[u8]) -> Result<Option<Head>, Error> {
        let Some(&first) = input.first() else { return Ok(None) };
        self.first_byte(first)?;
        let Some(&second) = input.get(1) else { return Ok(None) };
        let (fin, opcode) = (first & FIN != 0, first & 0xf);
        let masked = second & MASKED != 0;
        match self.sender {
            Peer::Client if !masked => return Err(Error::Unmasked),
            Peer::Endpoint if masked => return Err(Error::Masked),
            Peer::Client | Peer::Endpoint => {}
        }
        let short = second & !MASKED;
        if opcode >= CLOSE && usize::from(short) > MAX_CONTROL {
            return Err(Error::LongControl);
        }
        let Some((length, mut size)) = length(short, &input[2..])? else { return Ok(None) };
        let mut key = [0; 4];
        if masked {
            let Some(found) = input.get(size..size + 4) else { return Ok(None) };
            key.copy_from_slice(found);
            size += 4;
        }
        Ok(Some(Head { fin, compressed: first & RSV1 != 0, opcode, length, key, size }))
    }

    fn first_byte(&self, byte: u8) -> Result<(), Error> {
        let opcode = byte & 0xf;
        if byte & RSV23 != 0 || (byte & RSV1 != 0 && !self.deflate) {
            return Err(Error::ReservedBit);
        }
        match opcode {
            CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG => {}
            _ => return Err(Error::Opcode(opcode)),
        }
        if byte & RSV1 != 0 && !matches!(opcode, TEXT | BINARY) {
            return Err(Error::CompressionBit);
        }
        match opcode {
            CLOSE.. if byte & FIN == 0 => Err(Error::FragmentedControl),
            CONTINUATION if self.message.is_none() => Err(Error::NothingToContinue),
            TEXT | BINARY if self.message.is_some() => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }
}

/// The length and the size of a head up to it, from the seven bits of its second byte and what follows.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Error> {
    let (value, size) = match short {
        126 => {
            let Some(bytes) = rest.first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*bytes)), 4)
        }
        127 => {
            let Some(bytes) = rest.first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*bytes), 10)
        }
        _ => (u64::from(short), 2),
    };
    if value >> 63 != 0 {
        return Err(Error::Length);
    }
    let needed = match value {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    if size != needed { Err(Error::LengthNotMinimal) } else { Ok(Some((value, size))) }
}

fn control(head: &Head, raw: &[u8]) -> Result<Control, Error> {
    let mut payload = BytesMut::from(&raw[head.size..]);
    // A frame without a mask has a key of zeros, which changes nothing.
    apply_mask(&mut payload, head.key, 0);
    let kind = match head.opcode {
        PING => ControlKind::Ping,
        PONG => ControlKind::Pong,
        _ => ControlKind::Close(Close::parse(&payload)?),
    };
    Ok(Control { kind, raw: Bytes::copy_from_slice(raw), payload: payload.freeze() })
}

/// Masks or unmasks `bytes`, the first of which stands `offset` bytes into the payload (RFC 6455, 5.3), eight at a time.
pub(super) fn apply_mask(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    let key: [u8; 8] = std::array::from_fn(|at| key[(offset + at) % 4]);
    let wide = u64::from_ne_bytes(key);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// One frame that is the last of its message; masked when there is a key.
pub(super) fn encode(opcode: u8, compressed: bool, payload: &[u8], key: Option<[u8; 4]>) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + 14);
    out.put_u8(FIN | if compressed { RSV1 } else { 0 } | opcode);
    let masked = if key.is_some() { MASKED } else { 0 };
    match payload.len() {
        short @ 0..=125 => out.put_u8(masked | short as u8),
        medium @ 126..=0xffff => {
            out.put_u8(masked | 126);
            out.put_u16(medium as u16);
        }
        long => {
            out.put_u8(masked | 127);
            out.put_u64(long as u64);
        }
    }
    if let Some(key) = key {
        out.extend_from_slice(&key);
    }
    let start = out.len();
    out.extend_from_slice(payload);
    // Without a key nothing changes.
    apply_mask(&mut out[start..], key.unwrap_or_default(), 0);
    out.freeze()
}
