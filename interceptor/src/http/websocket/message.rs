//! The client's direction: whole messages, held until all of one is known.

use bytes::{Bytes, BytesMut};

use super::frame::{End, Frames, Opened};
use super::inflate::Inflater;
use super::utf8::Utf8;
use super::{Control, ControlKind, Deflate, Error, Kind, Limits, Peer};

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Text or binary.
    pub kind: Kind,
    /// Whether it came compressed.
    pub compressed: bool,
    /// What it says: unmasked, inflated, put together.
    pub content: Bytes,
    /// Its frames as they came. Control frames among them were given out before and are not repeated.
    pub raw: Bytes,
}

/// Something whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message.
    Message(Message),
    /// A control frame; after a close frame there are no more events.
    Control(Control),
}

/// One step of [`Messages::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Input bytes that are done with.
    pub consumed: usize,
    /// What they completed.
    pub event: Option<Event>,
}

/// Puts one direction's messages together, however its bytes are cut.
#[derive(Debug)]
pub struct Messages {
    frames: Frames,
    inflater: Option<Inflater>,
    limits: Limits,
    held: Held,
    closed: bool,
}

/// What is known of the message that is arriving.
#[derive(Debug, Default)]
struct Held {
    raw: BytesMut,
    content: BytesMut,
    text: Utf8,
}

impl Messages {
    /// For what the client of a session with this compression sends.
    #[must_use]
    pub fn new(deflate: Option<&Deflate>, limits: Limits) -> Self {
        Self::of(Peer::Client, deflate, limits)
    }

    pub(super) fn of(sender: Peer, deflate: Option<&Deflate>, limits: Limits) -> Self {
        let frames = Frames::new(sender, deflate.is_some());
        let inflater = deflate.map(|deflate| Inflater::new(deflate.window_bits(sender), deflate.takeover(sender)));
        Self { frames, inflater, limits, held: Held::default(), closed: false }
    }

    /// Takes the next bytes, up to the first event. Call again with what was not consumed until there is neither an event
    /// nor anything consumed: then more bytes are needed. What comes behind a close frame is consumed and has no meaning
    /// (RFC 6455, 5.5.1).
    ///
    /// # Errors
    /// What the peer did wrong: the session is over.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, Error> {
        let mut consumed = 0;
        while !self.closed {
            let rest = &input[consumed..];
            if let Some(reach) = self.frames.reach(rest.len()) {
                consumed += reach;
                if let Some(message) = self.payload(&rest[..reach])? {
                    return Ok(Decoded { consumed, event: Some(Event::Message(message)) });
                }
            } else if self.frames.in_frame() {
                return Ok(Decoded { consumed, event: None });
            } else {
                match self.frames.open(rest)? {
                    None => return Ok(Decoded { consumed, event: None }),
                    Some(Opened::Data { head, length }) => {
                        self.admit(head, length)?;
                        self.held.raw.extend_from_slice(&rest[..head]);
                        consumed += head;
                    }
                    Some(Opened::Control(control)) => {
                        consumed += control.raw.len();
                        self.closed = matches!(control.kind, ControlKind::Close(_));
                        return Ok(Decoded { consumed, event: Some(Event::Control(control)) });
                    }
                }
            }
        }
        Ok(Decoded { consumed: input.len(), event: None })
    }

    /// Bytes that are held of a message that is not whole.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.raw.len() + self.held.content.len()
    }

    /// Judges a frame by its head: nothing is held of one that will be refused.
    fn admit(&self, head: usize, length: u64) -> Result<(), Error> {
        let Limits { message, raw, fragments } = self.limits;
        let Some(current) = self.frames.message() else { return Ok(()) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !current.compressed && length > message - self.held.content.len() {
            return Err(Error::MessageTooLarge { limit: message });
        }
        if head.saturating_add(length) > raw.saturating_sub(self.held.raw.len()) {
            return Err(Error::MessageTooLarge { limit: raw });
        }
        if current.fragments > fragments { Err(Error::TooManyFragments { limit: fragments }) } else { Ok(()) }
    }

    /// Takes bytes of a payload; the message when it is whole.
    fn payload(&mut self, bytes: &[u8]) -> Result<Option<Message>, Error> {
        let Self { frames, held, .. } = self;
        let Some(&current) = frames.message() else { return Ok(None) };
        held.raw.extend_from_slice(bytes);
        let end = if let Some(inflater) = self.inflater.as_mut().filter(|_| current.compressed) {
            let unmasked = frames.unmasked(bytes);
            let end = frames.advance(bytes.len());
            held.inflate(inflater, &unmasked, end == End::Message, current.kind, self.limits.message)?;
            end
        } else {
            let start = held.content.len();
            held.content.extend_from_slice(bytes);
            frames.unmask(&mut held.content[start..]);
            held.judge(current.kind, start)?;
            frames.advance(bytes.len())
        };
        if end != End::Message {
            return Ok(None);
        }
        let Held { raw, content, text } = std::mem::take(held);
        text.finish()?;
        let (raw, content) = (raw.freeze(), content.freeze());
        Ok(Some(Message { kind: current.kind, compressed: current.compressed, content, raw }))
    }
}

impl Held {
    /// Text is refused with its first byte that cannot be.
    fn judge(&mut self, kind: Kind, start: usize) -> Result<(), Error> {
        match kind {
            Kind::Text => self.text.push(&self.content[start..]),
            Kind::Binary => Ok(()),
        }
    }

    fn inflate(
        &mut self,
        inflater: &mut Inflater,
        mut bytes: &[u8],
        ends: bool,
        kind: Kind,
        limit: usize,
    ) -> Result<(), Error> {
        let mut taken = false;
        loop {
            let step = if taken { inflater.finish()? } else { inflater.push(bytes)? };
            if !taken {
                bytes = &bytes[step.taken..];
            }
            let start = self.content.len();
            let fits = step.content.len().min(limit - start);
            let (fits_not, more) = (fits < step.content.len(), step.more);
            self.content.extend_from_slice(&step.content[..fits]);
            self.judge(kind, start)?;
            if fits_not {
                return Err(Error::MessageTooLarge { limit });
            }
            if !more && bytes.is_empty() {
                if taken || !ends {
                    return Ok(());
                }
                taken = true;
            }
        }
    }
}
