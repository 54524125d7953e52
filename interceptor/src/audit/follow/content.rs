//! What followed frames say.

use super::super::Time;
use super::super::class::Class;
use super::super::frame::{Content, Holding, Kind};
use super::super::reader::ReadError;
use super::super::record::{Completion, Encoding, MaskedRequest, Note, Record, ResponseBody, State};
use super::super::scan::{Depth, Step};
use super::super::tree::sha256;
use super::super::walk::FrameRef;
use super::Follower;
use super::open::Open;

/// In place of a note that is not the one that was written.
const ALTERED: &[u8] = br#"{"event":"damaged","reason":"what this note said was altered: see interceptor log verify"}"#;

impl Follower {
    pub(super) fn note(&mut self, frame: &FrameRef) -> Result<Note, ReadError> {
        let row = frame.head.entry.sections.iter().position(|s| s.content == Content::Json);
        let json = match row {
            Some(row) => self.stored(frame, row)?.unwrap_or_else(|| ALTERED.to_vec()),
            None => Vec::new(),
        };
        Ok(Note::new(&frame.head, &json))
    }

    /// The record of an exchange. What its frames do not hold any more is left out.
    pub(super) fn record(&mut self, exchange: &Open) -> Result<Record, ReadError> {
        let opening = exchange.opening();
        let entry = &opening.head.entry;
        let mut damaged = exchange.damaged;
        let mut record = match self.json::<Record>(exchange, opening)? {
            Some(record) => record,
            None => {
                damaged |= !opening.head.has_lost(Class::Decisions);
                Record { time: Time::from_unix_ns(entry.wall_ns), ..Record::new(entry.exchange) }
            }
        };
        match &exchange.end {
            None if entry.kind == Kind::Refusal => record.state = State::Complete,
            None => {
                record.state = State::Aborted;
                record.response.error = Some("the daemon ended before the response did".into());
            }
            Some(end) => {
                let completion = self.json::<Completion>(exchange, end)?.unwrap_or_else(|| {
                    if end.head.has_lost(Class::Decisions) {
                        return Completion::default();
                    }
                    damaged = true;
                    Completion::aborted("how it ended cannot be read: the log is damaged there")
                });
                record.take_end(completion);
            }
        }
        let body = self.content(exchange, opening, Content::MaskedBody)?;
        let head = self.content(exchange, opening, Content::MaskedHead)?;
        damaged |= body.is_none() && should_have(exchange, opening, Content::MaskedBody);
        damaged |= head.is_none() && should_have(exchange, opening, Content::MaskedHead);
        record.request.masked = body.map(|body| MaskedRequest::new(&head.unwrap_or_default(), body));
        record.log.sequence = Some(entry.sequence);
        record.log.leaf_hash = Some(hex::encode(opening.head.leaf));
        record.log.checkpoint = self.checkpoint.as_ref().map(|(_, checkpoint)| checkpoint.size);
        record.log.damaged = damaged;
        record.log.removed = Class::ALL.into_iter().filter(|&class| exchange.has_lost(class)).collect();
        let bytes = exchange.response_bytes.or(record.response.status.map(|_| 0));
        let bytes = bytes.filter(|_| !exchange.has_lost(Class::Responses));
        record.response.body = bytes.map(|bytes| ResponseBody { encoding: Encoding::Sealed, text: None, bytes });
        Ok(record)
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, of: &Open, frame: &FrameRef) -> Result<Option<T>, ReadError> {
        let bytes = self.content(of, frame, Content::Json)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Content that is not sealed; none when the frame has none, or not all of it is there as it was written.
    fn content(&mut self, of: &Open, frame: &FrameRef, content: Content) -> Result<Option<Vec<u8>>, ReadError> {
        let entry = &frame.head.entry;
        let Some(row) = entry.sections.iter().position(|s| s.content == content) else { return Ok(None) };
        if frame.head.removed.contains(row) {
            return Ok(None);
        }
        match entry.sections[row].holding {
            Holding::Sealed => Ok(None),
            Holding::Plain => self.stored(frame, row),
            Holding::Parts => {
                let holds = |part: &&FrameRef| part.head.entry.sections[0].content == content;
                let parts: Vec<&FrameRef> = of.parts.iter().filter(holds).collect();
                let whole = parts.len() == entry.sections[row].length as usize;
                if !whole || parts.iter().any(|part| part.head.has_lost(content.class())) {
                    return Ok(None);
                }
                let mut bytes = Vec::new();
                for part in parts {
                    let Some(piece) = self.stored(part, 0)? else { return Ok(None) };
                    bytes.extend(piece);
                }
                Ok(Some(bytes))
            }
        }
    }

    /// What stands in a frame; none when its digest, and so its leaf, is of something else: checksums can be made right by
    /// anybody.
    fn stored(&mut self, frame: &FrameRef, row: usize) -> Result<Option<Vec<u8>>, ReadError> {
        // Retention may have written the segment again since the frame was seen: it is elsewhere then, or shorter.
        match self.file(frame.segment)?.step(frame.offset, Depth::Heads)? {
            Step::Frame(head) if head == frame.head => {}
            _ => return Err(ReadError::Incomplete(frame.head.entry.exchange)),
        }
        let range = frame.head.section_range(row);
        let bytes = self.file(frame.segment)?.bytes(frame.offset + range.start as u64, range.len())?;
        Ok((sha256(bytes) == frame.head.entry.sections[row].digest).then(|| bytes.to_vec()))
    }
}

/// Whether the frame was written with this content, and nobody has removed it.
fn should_have(exchange: &Open, frame: &FrameRef, content: Content) -> bool {
    let mut sections = frame.head.entry.sections.iter();
    sections.any(|section| section.content == content && section.holding != Holding::Sealed)
        && !exchange.has_lost(content.class())
}
