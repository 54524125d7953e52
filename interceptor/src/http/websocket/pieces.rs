//! The endpoint's direction: bytes that pass on as they come, and what they say.

use bytes::Bytes;

use super::frame::{End, Frames, Opened};
use super::inflate::Inflater;
use super::utf8::Utf8;
use super::{Control, ControlKind, Deflate, Error, Kind, Limits, Peer};

/// Some content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Of the message.
    pub kind: Kind,
    /// Unmasked and inflated. May end in the middle of a character, and may be empty.
    pub content: Bytes,
    /// The message ends with it.
    pub last: bool,
}

/// What some bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Content of a message.
    Piece(Piece),
    /// A control frame; after a close frame there is nothing more to see.
    Control(Control),
}

/// One step of [`Pieces::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Input bytes that may be passed on: everything they say was given out, at the latest in this step.
    pub consumed: usize,
    /// What was seen.
    pub seen: Option<Seen>,
}

/// Follows one direction's messages without holding them, however its bytes are cut.
#[derive(Debug)]
pub struct Pieces {
    frames: Frames,
    inflater: Option<Inflater>,
    limits: Limits,
    text: Utf8,
    /// Content of the current message so far, where it is compressed.
    inflated: usize,
    /// Bytes behind those that were consumed which the decompressor has taken, without having said all that they say.
    taken: usize,
    /// The end of a compressed message is being inflated.
    ending: bool,
    closed: bool,
}

impl Pieces {
    /// For what the endpoint of a session with this compression sends.
    #[must_use]
    pub fn new(deflate: Option<&Deflate>, limits: Limits) -> Self {
        Self::of(Peer::Endpoint, deflate, limits)
    }

    pub(super) fn of(sender: Peer, deflate: Option<&Deflate>, limits: Limits) -> Self {
        let frames = Frames::new(sender, deflate.is_some());
        let inflater = deflate.map(|deflate| Inflater::new(deflate.window_bits(sender), deflate.takeover(sender)));
        let text = Utf8::default();
        Self { frames, inflater, limits, text, inflated: 0, taken: 0, ending: false, closed: false }
    }

    /// Takes the next bytes, up to some content or a control frame. Call again with what was not consumed until nothing is
    /// seen and nothing consumed: then more bytes are needed. What comes behind a close frame is not consumed.
    ///
    /// # Errors
    /// What the peer did wrong: the session is over.
    pub fn decode(&mut self, input: &[u8]) -> Result<Stretch, Error> {
        if self.closed {
            return Ok(Stretch { consumed: 0, seen: None });
        }
        let mut consumed = 0;
        if !self.frames.in_frame() {
            match self.frames.open(input)? {
                None => return Ok(Stretch { consumed: 0, seen: None }),
                Some(Opened::Control(control)) => {
                    self.closed = matches!(control.kind, ControlKind::Close(_));
                    return Ok(Stretch { consumed: control.raw.len(), seen: Some(Seen::Control(control)) });
                }
                Some(Opened::Data { head, .. }) => consumed = head,
            }
        }
        let (Some(&current), Some(reach)) = (self.frames.message(), self.frames.reach(input.len() - consumed)) else {
            return Ok(Stretch { consumed, seen: None });
        };
        let payload = &input[consumed..consumed + reach];
        let (more, piece) = match &mut self.inflater {
            Some(_) if current.compressed => self.inflate(payload, current.kind)?,
            _ => self.plain(payload, current.kind)?,
        };
        Ok(Stretch { consumed: consumed + more, seen: piece.map(Seen::Piece) })
    }

    /// Whether the bytes consumed so far end with a frame: only there can another frame follow.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        !self.frames.in_frame()
    }

    fn plain(&mut self, payload: &[u8], kind: Kind) -> Result<(usize, Option<Piece>), Error> {
        let content = Bytes::from(self.frames.unmasked(payload).into_owned());
        self.judge(kind, &content)?;
        let last = self.frames.advance(payload.len()) == End::Message;
        if last {
            self.end()?;
        }
        let piece = Piece { kind, content, last };
        Ok((payload.len(), (last || !piece.content.is_empty()).then_some(piece)))
    }

    /// Goes on until there is content. The payload counts as consumed when all that it says has been given out.
    fn inflate(&mut self, payload: &[u8], kind: Kind) -> Result<(usize, Option<Piece>), Error> {
        let unmasked = self.frames.unmasked(payload);
        loop {
            let (content, more) = self.step(&unmasked[self.taken..])?;
            let fits = content.len().min(self.limits.message - self.inflated);
            self.inflated += fits;
            self.judge(kind, &content[..fits])?;
            if fits < content.len() {
                return Err(Error::MessageTooLarge { limit: self.limits.message });
            }
            let mut piece = Piece { kind, content, last: false };
            let some = !piece.content.is_empty();
            if !more && self.taken == payload.len() {
                if self.ending || !self.frames.ends_with(payload.len()) {
                    self.taken = 0;
                    piece.last = self.frames.advance(payload.len()) == End::Message;
                    if piece.last {
                        self.end()?;
                    }
                    return Ok((payload.len(), Some(piece).filter(|piece| some || piece.last)));
                }
                self.ending = true;
            }
            if some {
                return Ok((0, Some(piece)));
            }
        }
    }

    /// One step of the decompressor, and whether it has more to say of what it took.
    fn step(&mut self, rest: &[u8]) -> Result<(Bytes, bool), Error> {
        let Some(inflater) = &mut self.inflater else { return Ok((Bytes::new(), false)) };
        let step = if self.ending { inflater.finish()? } else { inflater.push(rest)? };
        if !self.ending {
            self.taken += step.taken;
        }
        Ok((Bytes::copy_from_slice(step.content), step.more))
    }

    fn judge(&mut self, kind: Kind, content: &[u8]) -> Result<(), Error> {
        match kind {
            Kind::Text => self.text.push(content),
            Kind::Binary => Ok(()),
        }
    }

    /// The message has ended.
    fn end(&mut self) -> Result<(), Error> {
        self.inflated = 0;
        self.ending = false;
        std::mem::take(&mut self.text).finish()
    }
}
