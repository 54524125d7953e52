//! What a record says: the contents of its frames.

use super::super::frame::{Content, Holding, Kind, Section};
use super::super::record::{Completion, Encoding, MaskedRequest, Record, ResponseBody, State};
use super::super::seal::{Opener, Place, plain_len};
use super::super::{Access, Class, Time};
use super::located::{Frame, Located, Part, Use};
use super::{ReadError, Reader};

/// A piece of a response, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// When it was recorded, before it was released to the client.
    pub time: Time,
    /// Bytes of it.
    pub bytes: u64,
    /// The bytes, if they were opened.
    pub content: Option<Vec<u8>>,
}

impl Reader {
    /// One record, folded from its frames. Of a damaged one, what can be read.
    ///
    /// # Errors
    /// When its frames cannot be read.
    pub fn record(&mut self, at: &Located) -> Result<Record, ReadError> {
        let mut record = self.outline(at)?;
        record.request.masked = self.masked(at, &mut record.log.damaged)?;
        Ok(record)
    }

    /// As [`Reader::record`], without the request as it left, which is not read.
    ///
    /// # Errors
    /// When its frames cannot be read.
    pub fn outline(&mut self, at: &Located) -> Result<Record, ReadError> {
        let entry = &at.opening.head.entry;
        let mut damaged = at.is_damaged();
        let mut record = match self.json(at, Use::Opening, &at.opening) {
            Err(ReadError::Removed(..)) => Record { time: Time::from_unix_ns(entry.wall_ns), ..Record::new(at.id()) },
            Err(ReadError::Json { .. } | ReadError::Incomplete(_)) => {
                damaged = true;
                Record { time: Time::from_unix_ns(entry.wall_ns), ..Record::new(at.id()) }
            }
            record => record?,
        };
        // What names it is the entry, which the leaf hash covers, and not a damaged text.
        record.id = at.id();
        self.end(at, &mut record, &mut damaged)?;
        record.log.sequence = Some(entry.sequence);
        record.log.leaf_hash = Some(hex::encode(at.opening.head.leaf));
        let last_leaf = at.end.as_ref().map_or(entry.leaf_index, |frame| frame.head.entry.leaf_index);
        record.log.checkpoint = self.checkpoint.as_ref().map(|c| c.size).filter(|&size| size > last_leaf);
        record.log.removed = Class::ALL.into_iter().filter(|&class| at.has_lost(class)).collect();
        let bytes = sealed_len(at, Content::Response).or(record.response.status.map(|_| 0));
        let bytes = bytes.filter(|_| !at.has_lost(Class::Responses));
        record.response.body = bytes.map(|bytes| ResponseBody { encoding: Encoding::Sealed, text: None, bytes });
        record.log.damaged = damaged;
        Ok(record)
    }

    fn masked(&mut self, at: &Located, damaged: &mut bool) -> Result<Option<MaskedRequest>, ReadError> {
        let body = match self.section(at, &at.opening, Content::MaskedBody, &mut None) {
            Err(ReadError::Removed(..)) => return Ok(None),
            Err(ReadError::Incomplete(_)) => {
                *damaged = true;
                return Ok(None);
            }
            body => body?,
        };
        let Some(body) = body else { return Ok(None) };
        let head = match self.section(at, &at.opening, Content::MaskedHead, &mut None) {
            Err(ReadError::Removed(..)) => None,
            Err(ReadError::Incomplete(_)) => {
                *damaged = true;
                None
            }
            head => head?,
        };
        let head = head.unwrap_or_default();
        Ok(Some(MaskedRequest::new(&head, body)))
    }

    /// Fills in what is known of a record's end.
    fn end(&mut self, at: &Located, record: &mut Record, damaged: &mut bool) -> Result<(), ReadError> {
        if at.opening.head.entry.kind == Kind::Refusal {
            record.state = State::Complete;
            return Ok(());
        }
        let Some(end) = &at.end else {
            record.state = if self.is_open(at) { State::Open } else { State::Aborted };
            if record.state == State::Aborted {
                record.response.error = Some("the daemon ended before the response did".into());
            }
            return Ok(());
        };
        let completion = match self.json(at, Use::Rest, end) {
            // Nothing else says how it ended.
            Err(ReadError::Removed(..)) => Completion::default(),
            Err(ReadError::Json { .. } | ReadError::Incomplete(_)) => {
                *damaged = true;
                Completion::aborted("how it ended cannot be read: the log is damaged there")
            }
            completion => completion?,
        };
        record.take_end(completion);
        Ok(())
    }

    /// The request as the client sent it, opened with an auditor's key; see [`Reader::cut_off`].
    ///
    /// # Errors
    /// [`ReadError::Unseal`] when the key is not among those it was sealed to, or the data key is gone.
    pub fn original(&mut self, at: &Located, opener: &mut Opener<'_>) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(mut original) = self.section(at, &at.opening, Content::Original, &mut Some(&mut *opener))? else {
            return Ok(None);
        };
        // What was passed on as it came stands behind the head.
        original.extend(self.parts(at, Content::Upload, None, &mut Some(opener))?);
        Ok(Some(original))
    }

    /// The response as it came, opened with an auditor's key; what there is of it: see [`Reader::cut_off`].
    ///
    /// # Errors
    /// As [`Reader::original`].
    pub fn response(&mut self, at: &Located, opener: &mut Opener<'_>) -> Result<Option<Vec<u8>>, ReadError> {
        if at.opening.head.entry.kind == Kind::Request {
            return self.parts(at, Content::Response, None, &mut Some(opener)).map(Some);
        }
        self.section(at, &at.opening, Content::Response, &mut Some(opener))
    }

    /// Why there is less of what [`original`](Self::original) (of [`Content::Upload`]) or [`response`](Self::response) gives than was
    /// sent; nothing when it is all.
    ///
    /// # Errors
    /// When the frame of its end cannot be read.
    pub fn cut_off(&mut self, at: &Located, content: Content) -> Result<Option<String>, ReadError> {
        let (missing, found) = (at.missing_of(content), at.parts_of(content).count());
        if missing > 0 {
            return Ok(Some(format!("{missing} of its {} parts are missing in the log", missing + found)));
        }
        if at.opening.head.entry.kind != Kind::Request || (content != Content::Response && found == 0) {
            return Ok(None);
        }
        let Some(end) = &at.end else {
            let why = if self.is_open(at) { "the exchange has not ended" } else { "the daemon ended before it did" };
            return Ok(Some(why.to_owned()));
        };
        if content != Content::Response {
            return Ok(None);
        }
        match self.json::<Completion>(at, Use::Rest, end) {
            Ok(Completion { state: State::Aborted, reason, .. }) => {
                Ok(Some(reason.unwrap_or_else(|| "aborted".into())))
            }
            Ok(_) | Err(ReadError::Removed(..)) => Ok(None),
            Err(ReadError::Json { .. } | ReadError::Incomplete(_)) => Ok(Some("how it ended cannot be read".into())),
            Err(error) => Err(error),
        }
    }

    /// The pieces of a response, in their order; opened if there is an opener. What retention removed is left out.
    ///
    /// # Errors
    /// As [`Reader::original`].
    pub fn pieces(&mut self, at: &Located, mut opener: Option<&mut Opener<'_>>) -> Result<Vec<Piece>, ReadError> {
        let mut pieces = Vec::new();
        if at.opening.head.entry.kind != Kind::Request {
            let sections = at.opening.head.entry.sections.iter();
            let rows = sections.enumerate().filter(|(_, s)| s.content == Content::Response);
            for (row, section) in rows.filter(|(_, s)| s.holding != Holding::Parts) {
                if !at.opening.head.removed.contains(row) {
                    let bytes = plain_len(section.stored());
                    pieces.push(self.piece(&at.opening, row, 0, bytes, &mut opener)?);
                }
            }
        }
        for (ordinal, part) in at.parts_of(Content::Response).enumerate() {
            let frame = self.part(at, part)?;
            if !frame.head.removed.contains(0) {
                let bytes = plain_len(part.row.stored as usize);
                pieces.push(self.piece(&frame, 0, ordinal as u32, bytes, &mut opener)?);
            }
        }
        Ok(pieces)
    }

    fn piece(
        &mut self,
        frame: &Frame,
        row: usize,
        ordinal: u32,
        bytes: u64,
        opener: &mut Option<&mut Opener<'_>>,
    ) -> Result<Piece, ReadError> {
        let content = match opener {
            Some(_) => Some(self.stored(frame, row, ordinal, opener)?),
            None => None,
        };
        Ok(Piece { time: Time::from_unix_ns(frame.head.entry.wall_ns), bytes, content })
    }

    /// Unwraps the data keys of everything sealed in a record, and opens none of it: tells whether the key fits.
    ///
    /// # Errors
    /// [`ReadError::Unseal`] when it does not.
    pub fn try_keys(&mut self, at: &Located, opener: &mut Opener<'_>) -> Result<(), ReadError> {
        try_key(&at.opening, opener)?;
        for part in at.parts.iter().filter(|part| part.row.sealed) {
            let frame = self.part(at, part)?;
            try_key(&frame, opener)?;
        }
        Ok(())
    }

    /// The JSON of an access record.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn access(&mut self, at: &Located) -> Result<Access, ReadError> {
        self.json(at, Use::Opening, &at.opening)
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, at: &Located, of: Use, frame: &Frame) -> Result<T, ReadError> {
        let row = frame.head.entry.sections.iter().position(|section| section.content == Content::Json);
        let bytes = match row {
            Some(row) if frame.head.entry.sections[row].holding != Holding::Parts => self.bytes(of, frame, row)?,
            _ => self.section(at, frame, Content::Json, &mut None)?.unwrap_or_default(),
        };
        serde_json::from_slice(&bytes).map_err(|source| ReadError::Json {
            path: frame.path.to_path_buf(),
            offset: frame.offset,
            source,
        })
    }

    fn section(
        &mut self,
        at: &Located,
        frame: &Frame,
        content: Content,
        opener: &mut Option<&mut Opener<'_>>,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(row) = frame.head.entry.sections.iter().position(|s| s.content == content) else { return Ok(None) };
        let section = frame.head.entry.sections[row];
        match section.holding {
            Holding::Parts => self.parts(at, content, Some(section.length as usize), opener).map(Some),
            Holding::Plain | Holding::Sealed => self.stored(frame, row, 0, opener).map(Some),
        }
    }

    /// Content from part frames; `count` when it is known how many there must be.
    fn parts(
        &mut self,
        at: &Located,
        content: Content,
        count: Option<usize>,
        opener: &mut Option<&mut Opener<'_>>,
    ) -> Result<Vec<u8>, ReadError> {
        if count.is_some_and(|count| count != at.parts_of(content).count()) {
            return Err(ReadError::Incomplete(at.id()));
        }
        let mut bytes = Vec::new();
        for (ordinal, part) in at.parts_of(content).enumerate() {
            let frame = self.part(at, part)?;
            bytes.extend(self.stored(&frame, 0, ordinal as u32, opener)?);
        }
        Ok(bytes)
    }

    /// The frame of a part.
    fn part(&mut self, at: &Located, part: &Part) -> Result<Frame, ReadError> {
        // What cannot be read is missing.
        let frame = match self.files.frame(Use::Rest, &part.path, part.row.offset) {
            Err(error) if error.of_segment().is_some() => None,
            frame => frame?,
        };
        let frame = frame.filter(|frame| frame.head.entry.exchange == at.id() && frame.head.entry.kind == Kind::Part);
        let frame = frame.ok_or(ReadError::Incomplete(at.id()))?;
        self.note_damage(&frame);
        Ok(frame)
    }

    /// The bytes of a section that is in its frame, opened if they are sealed and somebody can.
    fn stored(
        &mut self,
        frame: &Frame,
        row: usize,
        ordinal: u32,
        opener: &mut Option<&mut Opener<'_>>,
    ) -> Result<Vec<u8>, ReadError> {
        let bytes = self.bytes(Use::Rest, frame, row)?;
        let entry = &frame.head.entry;
        let section = entry.sections[row];
        match (section.holding, opener) {
            (Holding::Sealed, Some(opener)) => {
                let place = Place { exchange: entry.exchange, content: section.content, ordinal };
                Ok(opener.open(&entry.key_id, place, &bytes)?)
            }
            _ => Ok(bytes),
        }
    }

    /// The bytes of a section as they stand in its frame.
    pub(super) fn bytes(&mut self, of: Use, frame: &Frame, row: usize) -> Result<Vec<u8>, ReadError> {
        if frame.head.removed.contains(row) {
            let class = frame.head.entry.sections[row].content.class();
            return Err(ReadError::Removed(frame.head.entry.exchange, class));
        }
        let range = frame.head.section_range(row);
        let file = self.files.file(of, &frame.path)?;
        // What was read ahead may be from before the frame was written: its length is written last.
        if file.bytes(frame.offset, 4)? != (frame.head.length as u32).to_le_bytes() {
            file.refresh();
        }
        Ok(file.bytes(frame.offset + range.start as u64, range.len())?.to_vec())
    }
}

/// Unwraps the data key of everything sealed in a frame.
fn try_key(frame: &Frame, opener: &mut Opener<'_>) -> Result<(), ReadError> {
    let entry = &frame.head.entry;
    for (row, section) in entry.sections.iter().enumerate().filter(|(_, s)| s.holding == Holding::Sealed) {
        if !frame.head.removed.contains(row) {
            opener.unwrap(&entry.key_id, section.content.class())?;
        }
    }
    Ok(())
}

/// Bytes of sealed content before it was sealed; `None` when the record has none.
fn sealed_len(at: &Located, content: Content) -> Option<u64> {
    let opening = at.opening.head.entry.sections.iter();
    let opening = opening.filter(|s| s.content == content && s.holding == Holding::Sealed).map(Section::stored);
    let parts = at.parts_of(content).filter(|part| part.row.sealed).map(|part| part.row.stored as usize);
    opening.chain(parts).map(plain_len).reduce(|total, bytes| total + bytes)
}
