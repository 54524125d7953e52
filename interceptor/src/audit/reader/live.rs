//! Records as they are written: follows a log from where a reader has got to.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::frame::Kind;
use super::super::header::Stream;
use super::super::index::part_of;
use super::super::lock::WriterLock;
use super::super::walk::{Cursor, FrameRef, Walk};
use super::located::{Frame, Located, Part, insert};
use super::{Damage, ReadError, Reader};
use crate::flow::ExchangeId;

/// What happened to a record.
#[derive(Debug)]
pub enum Change {
    /// It was opened; its sequence number.
    Opened(u64),
    /// It has ended, or was refused.
    Ended(Box<Located>),
}

/// After this time a directory's time of change tells of every later change: it counts in the kernel's ticks.
const SETTLED: Duration = Duration::from_millis(100);

/// A log that is followed. In memory are the records that are open.
#[derive(Debug)]
pub struct Live {
    dir: PathBuf,
    stream: Stream,
    walk: Walk,
    path: Option<Arc<Path>>,
    /// Records that are open, by their sequence numbers.
    open: BTreeMap<u64, Located>,
    by_id: HashMap<ExchangeId, u64>,
    /// Parts of requests that have not been opened.
    pending: HashMap<ExchangeId, Vec<Part>>,
    /// When the directory had changed when it was last looked through, if it had settled then.
    looked: Option<SystemTime>,
}

impl Live {
    /// Follows the log from where `reader` saw its end. Records that are open there are known.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn new(reader: &mut Reader) -> Result<Self, ReadError> {
        let mut walk = match reader.last_readable()? {
            None => Walk::new(&reader.dir, reader.stream)?,
            Some(last) => {
                let end = reader.index(last)?.end();
                Walk::from(&reader.dir, reader.stream, &reader.segments[last], end)?
            }
        };
        walk.leave_out_unreadable(reader.unreadable.iter().map(|&segment| reader.segments[segment].to_path_buf()));
        let open = reader.open_records()?;
        Ok(Self {
            dir: reader.dir.clone(),
            stream: reader.stream,
            walk,
            path: None,
            by_id: open.iter().map(|located| (located.id(), located.sequence())).collect(),
            open: open.into_iter().map(|located| (located.sequence(), located)).collect(),
            pending: HashMap::new(),
            looked: None,
        })
    }

    /// Every record of the log, from a walk through all of it.
    #[cfg(test)]
    pub(crate) fn everything(reader: &Reader) -> Result<Vec<Located>, ReadError> {
        let mut walk = Walk::new(&reader.dir, reader.stream)?;
        walk.leave_out_unreadable([]);
        let mut live = Self {
            dir: reader.dir.clone(),
            stream: reader.stream,
            walk,
            path: None,
            open: BTreeMap::new(),
            by_id: HashMap::new(),
            pending: HashMap::new(),
            looked: None,
        };
        let mut all: Vec<Located> = Vec::new();
        for change in live.poll()? {
            if let Change::Ended(at) = change {
                all.push(*at);
            }
        }
        all.extend(live.open.into_values());
        all.sort_by_key(Located::sequence);
        Ok(all)
    }

    /// Reads what has been appended since the last call. When that is nothing it costs next to nothing.
    ///
    /// # Errors
    /// When a file cannot be read. Damage is no error: see [`Live::damage`].
    pub fn poll(&mut self) -> Result<Vec<Change>, ReadError> {
        let mut changes = Vec::new();
        if !self.has_news() {
            return Ok(changes);
        }
        self.walk.refresh();
        while let Some(frame) = self.walk.next()? {
            changes.extend(self.fold(frame));
        }
        Ok(changes)
    }

    /// Whether a frame, or a segment, may have come.
    fn has_news(&mut self) -> bool {
        if self.walk.place().is_some_and(Cursor::has_frame) {
            return true;
        }
        let changed = std::fs::metadata(&self.dir).and_then(|metadata| metadata.modified()).ok();
        if changed.is_some() && changed == self.looked {
            return false;
        }
        let settled = |at: &SystemTime| SystemTime::now().duration_since(*at).is_ok_and(|age| age > SETTLED);
        self.looked = changed.filter(settled);
        true
    }

    /// Adds a frame to its record. After a failed write the writer appends frames again elsewhere: the same sequence
    /// number is the same frame, and no news.
    fn fold(&mut self, frame: FrameRef) -> Option<Change> {
        let path = self.path_of(&frame);
        let entry = &frame.head.entry;
        let (id, kind, sequence) = (entry.exchange, entry.kind, entry.sequence);
        let known = self.by_id.get(&id).copied();
        match kind {
            Kind::Part => {
                let part = Part { path, row: part_of(&frame) };
                match known.and_then(|known| self.open.get_mut(&known)) {
                    Some(located) => located.add(part),
                    None => insert(self.pending.entry(id).or_default(), part),
                }
                None
            }
            Kind::Completion => {
                let mut located = self.take(known?)?;
                located.end = Some(Frame::new(frame, &path));
                Some(Change::Ended(Box::new(located)))
            }
            Kind::Request | Kind::Refusal | Kind::Access => {
                let opening = Frame::new(frame, &path);
                if known == Some(sequence)
                    && let Some(located) = self.open.get_mut(&sequence)
                {
                    located.opening = opening;
                    return None;
                }
                let parts = self.pending.remove(&id).unwrap_or_default();
                let located = Located { opening, parts, end: None };
                if located.has_ended() {
                    return Some(Change::Ended(Box::new(located)));
                }
                self.by_id.insert(id, sequence);
                self.open.insert(sequence, located);
                Some(Change::Opened(sequence))
            }
            Kind::Note | Kind::Act => None,
        }
    }

    fn path_of(&mut self, frame: &FrameRef) -> Arc<Path> {
        let path = self.walk.path(frame.segment);
        match &self.path {
            Some(known) if **known == *path => Arc::clone(known),
            _ => Arc::clone(self.path.insert(Arc::from(path))),
        }
    }

    /// Records that are open, by their sequence numbers.
    #[must_use]
    pub fn open(&self) -> &BTreeMap<u64, Located> {
        &self.open
    }

    /// Gives up a record that will not end.
    pub fn take(&mut self, sequence: u64) -> Option<Located> {
        let located = self.open.remove(&sequence)?;
        self.by_id.remove(&located.id());
        Some(located)
    }

    /// Whether the writer that opened a record may still end it. `is_held` is what [`Live::is_written`] said.
    #[must_use]
    pub fn may_end(&self, located: &Located, is_held: bool) -> bool {
        is_held && self.walk.is_newest(&located.opening.generation)
    }

    /// Whether a writer is at work.
    #[must_use]
    pub fn is_written(&self) -> bool {
        WriterLock::is_held(&self.dir, self.stream)
    }

    /// Damaged places that were seen, and segments that cannot be read.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        self.walk.damage()
    }
}

impl Reader {
    /// Records that the writer at work may still end.
    fn open_records(&mut self) -> Result<Vec<Located>, ReadError> {
        let mut open: BTreeMap<ExchangeId, (usize, u32)> = BTreeMap::new();
        let mut first = self.segments.len();
        while self.being_written && first > 0 {
            if self.is_readable(first - 1)? && self.index(first - 1)?.generation() != self.generation {
                break;
            }
            first -= 1;
        }
        for segment in first..self.segments.len() {
            if !self.is_readable(segment)? {
                continue;
            }
            for visitor in self.ask(segment, |index| index.visitors())? {
                if visitor.rest.end.is_some() {
                    open.remove(&visitor.id);
                }
            }
            for row in self.ask(segment, |index| index.unended())? {
                open.insert(self.ask(segment, |index| index.id(row))?, (segment, row));
            }
        }
        let mut records = Vec::new();
        for (segment, row) in open.into_values() {
            records.extend(self.locate(segment, row)?.filter(|located| !located.has_ended()));
        }
        Ok(records)
    }
}
