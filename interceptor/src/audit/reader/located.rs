//! Where the frames of a record are.

use std::path::Path;
use std::sync::Arc;

use super::super::class::Class;
use super::super::frame::{Content, Head, Holding, Kind, MAX_HEAD, check_body, parse_head};
use super::super::index::PartRow;
use super::super::scan::SegmentFile;
use super::super::walk::FrameRef;
use super::ReadError;
use crate::flow::ExchangeId;

/// A frame, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) path: Arc<Path>,
    pub(super) offset: u64,
    pub(super) head: Head,
    /// The head is whole, what follows is not what was written.
    pub(super) damaged: bool,
    /// Which life of the writer it belongs to.
    pub(super) generation: [u8; 16],
}

impl Frame {
    pub(super) fn new(frame: FrameRef, path: &Arc<Path>) -> Self {
        let FrameRef { offset, head, damaged, generation, .. } = frame;
        Self { path: Arc::clone(path), offset, head, damaged, generation }
    }
}

/// A part frame, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) path: Arc<Path>,
    pub(super) row: PartRow,
}

/// A record that was found: where its frames are.
#[derive(Clone, Debug)]
pub struct Located {
    pub(super) opening: Frame,
    /// In the order of their sequence numbers.
    pub(super) parts: Vec<Part>,
    pub(super) end: Option<Frame>,
}

impl Located {
    pub(super) fn new(opening: Frame) -> Self {
        Self { opening, parts: Vec::new(), end: None }
    }

    /// The record's id.
    #[must_use]
    pub fn id(&self) -> ExchangeId {
        self.opening.head.entry.exchange
    }

    /// Number of the frame that opened it: records are in this order.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.opening.head.entry.sequence
    }

    /// Whether its end is known.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.opening.head.entry.kind != Kind::Request || self.end.is_some()
    }

    pub(super) fn is_damaged(&self) -> bool {
        let parts = || self.parts.iter().any(|part| part.row.damaged);
        let missing = || Content::ALL.into_iter().any(|content| self.missing_of(content) > 0);
        self.opening.damaged || self.end.as_ref().is_some_and(|end| end.damaged) || parts() || missing()
    }

    /// How many parts of a content are not there, of those that its other frames refer to.
    pub(super) fn missing_of(&self, content: Content) -> usize {
        let sections = [Some(&self.opening), self.end.as_ref()].into_iter().flatten();
        let sections = sections.flat_map(|frame| &frame.head.entry.sections);
        let referred = sections.filter(|section| section.content == content && section.holding == Holding::Parts);
        let referred: usize = referred.map(|section| section.length as usize).sum();
        referred.saturating_sub(self.parts_of(content).count())
    }

    /// Whether some content of `class` was removed from it.
    pub(super) fn has_lost(&self, class: Class) -> bool {
        let frame = |frame: &Frame| frame.head.has_lost(class);
        let part = |part: &Part| part.row.stored == 0 && part.row.content.is_some_and(|c| c.class() == class);
        frame(&self.opening) || self.end.as_ref().is_some_and(frame) || self.parts.iter().any(part)
    }

    /// Adds a part. After a failed write the writer appends frames again elsewhere: the same sequence number is the
    /// same frame.
    pub(super) fn add(&mut self, part: Part) {
        insert(&mut self.parts, part);
    }

    /// How many parts from before the opening frame are not known yet.
    pub(super) fn missing_parts(&self) -> usize {
        let sections = self.opening.head.entry.sections.iter().filter(|section| section.holding == Holding::Parts);
        let wanted: usize = sections.map(|section| section.length as usize).sum();
        wanted.saturating_sub(self.parts.iter().filter(|part| part.row.sequence < self.sequence()).count())
    }

    /// The parts of one content.
    pub(super) fn parts_of(&self, content: Content) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.row.content == Some(content))
    }
}

/// Puts a part into its place.
pub(super) fn insert(parts: &mut Vec<Part>, part: Part) {
    match parts.binary_search_by_key(&part.row.sequence, |part| part.row.sequence) {
        Ok(again) => parts[again] = part,
        Err(place) => parts.insert(place, part),
    }
}

/// Segments that frames are read from: one for frames that open records, one for the others, which are further on.
#[derive(Debug, Default)]
pub(super) struct Files([Option<(Arc<Path>, SegmentFile)>; 2]);

/// Which of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Use {
    Opening,
    Rest,
}

impl Files {
    pub(super) fn refresh(&mut self) {
        *self = Self::default();
    }

    pub(super) fn file(&mut self, of: Use, path: &Arc<Path>) -> Result<&mut SegmentFile, ReadError> {
        let slot = &mut self.0[of as usize];
        if slot.as_ref().is_none_or(|(open, _)| open != path) {
            let file = SegmentFile::open_at_random(path).map_err(ReadError::from_log)?;
            *slot = Some((Arc::clone(path), file));
        }
        Ok(&mut slot.as_mut().expect("opened above").1)
    }

    /// The frame at `offset`, if one is there. It may have been written since its surroundings were read.
    pub(super) fn frame(&mut self, of: Use, path: &Arc<Path>, offset: u64) -> Result<Option<Frame>, ReadError> {
        let found = self.look(of, path, offset)?;
        if found.as_ref().is_some_and(|frame| !frame.damaged) {
            return Ok(found);
        }
        self.file(of, path)?.refresh();
        self.look(of, path, offset)
    }

    fn look(&mut self, of: Use, path: &Arc<Path>, offset: u64) -> Result<Option<Frame>, ReadError> {
        let file = self.file(of, path)?;
        let (seed, generation) = (file.seed, file.header.generation);
        let Ok(head) = parse_head(seed, file.bytes(offset, MAX_HEAD)?) else { return Ok(None) };
        let damaged = check_body(seed, &head, file.bytes(offset, head.length)?).is_err();
        Ok(Some(Frame { path: Arc::clone(path), offset, head, damaged, generation }))
    }
}
