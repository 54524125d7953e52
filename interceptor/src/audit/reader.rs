//! Reading records: walks the frames, folds those of one exchange into one record. Works beside a running writer and
//! needs no lock; contents are read when a record is asked for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoint;
use super::frame::{Content, Head, Holding, Kind};
use super::header::{HEADER, Stream};
use super::lock::WriterLock;
use super::record::{Completion, Encoding, MaskedRequest, Note, Record, ResponseBody, State};
use super::scan::{Depth, SegmentFile, Step, segments};
use super::seal::{Opener, UnsealError, plain_len};
use super::{Error, FrameError};
use crate::flow::ExchangeId;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no log.
    #[error(
        "there is no audit log in {}: give the state directory with --state, or start the daemon first", .0.display()
    )]
    Missing(PathBuf),
    /// The caller may not read it.
    #[error(
        "{} may not be read by this user: use an account of the audit role (a member of the directory's group), or root",
        .0.display()
    )]
    Denied(PathBuf),
    /// Something else went wrong.
    #[error(transparent)]
    Log(#[from] Error),
    /// A frame's JSON is not what this version writes.
    #[error("{} at byte {offset}: the record is no record: {source}", path.display())]
    Json {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Content that a record refers to is not there.
    #[error("record {0}: a part of its content is missing; run `interceptor log verify`")]
    Incomplete(ExchangeId),
    /// Sealed content cannot be opened.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
}

impl ReadError {
    /// An I/O error on `path`, told apart by what helps.
    pub(crate) fn io(call: &'static str, path: &Path, error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing(path.to_path_buf()),
            std::io::ErrorKind::PermissionDenied => Self::Denied(path.to_path_buf()),
            _ => Self::Log(Error::io(call, path, error)),
        }
    }

    pub(crate) fn from_log(error: Error) -> Self {
        match error {
            Error::Io { path, source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Self::Denied(path)
            }
            other => Self::Log(other),
        }
    }
}

/// A place where reading had to skip something.
#[derive(Debug)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
}

#[derive(Clone, Debug)]
struct FrameRef {
    segment: usize,
    offset: u64,
    head: Head,
}

/// The frames of one exchange.
#[derive(Debug)]
struct Frames {
    opening: FrameRef,
    parts: Vec<FrameRef>,
    end: Option<FrameRef>,
    generation: [u8; 16],
}

/// Names a record within a [`Reader`]: its place in the order of the log.
pub type Index = usize;

/// A log open for reading.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    stream: Stream,
    paths: Vec<PathBuf>,
    cursor: Option<Cursor>,
    records: Vec<Frames>,
    by_id: HashMap<ExchangeId, Index>,
    /// Part frames whose opening frame has not been seen.
    pending: HashMap<ExchangeId, Vec<FrameRef>>,
    notes: Vec<FrameRef>,
    damage: Vec<Damage>,
    /// The segment that contents were last read from.
    open: Option<(usize, SegmentFile)>,
    newest_generation: [u8; 16],
}

#[derive(Debug)]
struct Cursor {
    segment: usize,
    file: SegmentFile,
    at: u64,
}

impl Reader {
    /// Opens the log of exchanges in `dir`, without reading it yet: see [`Reader::poll`].
    ///
    /// # Errors
    /// [`ReadError::Missing`], [`ReadError::Denied`].
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        Self::open_stream(dir, Stream::Log)
    }

    /// Opens one stream.
    ///
    /// # Errors
    /// [`ReadError::Missing`], [`ReadError::Denied`].
    pub fn open_stream(dir: &Path, stream: Stream) -> Result<Self, ReadError> {
        segments(dir, stream).map_err(|e| ReadError::io("readdir", dir, e))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            stream,
            paths: Vec::new(),
            cursor: None,
            records: Vec::new(),
            by_id: HashMap::new(),
            pending: HashMap::new(),
            notes: Vec::new(),
            damage: Vec::new(),
            open: None,
            newest_generation: [0; 16],
        })
    }

    /// Number of records seen so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no record has been seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Places that could not be read and were skipped.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// What the log says about itself: recoveries, starts without a checkpoint.
    ///
    /// # Errors
    /// When a frame cannot be read.
    pub fn notes(&mut self) -> Result<Vec<Note>, ReadError> {
        let frames = self.notes.clone();
        frames.iter().map(|frame| Ok(Note::new(&frame.head.entry, &self.stored(frame, 0, 0, &mut None)?))).collect()
    }

    /// Reads what has been appended since the last call. Returns the records that are new or have ended since, in the
    /// order in which that happened.
    ///
    /// # Errors
    /// When a file cannot be read. Damage is no error: it is skipped and kept in [`Reader::damage`].
    pub fn poll(&mut self) -> Result<Vec<Index>, ReadError> {
        let mut changed = Vec::new();
        if let Some(cursor) = &mut self.cursor {
            cursor.file.refresh();
        }
        if let Some((_, file)) = &mut self.open {
            file.refresh();
        }
        loop {
            let Some(mut cursor) = self.cursor.take() else {
                if self.next_segment(None)? {
                    continue;
                }
                return Ok(changed);
            };
            let step = cursor.file.step(cursor.at, Depth::Heads)?;
            match step {
                Step::Frame(head) => {
                    let frame = FrameRef { segment: cursor.segment, offset: cursor.at, head };
                    cursor.at += frame.head.length as u64;
                    let generation = cursor.file.header.generation;
                    self.cursor = Some(cursor);
                    changed.extend(self.fold(frame, generation));
                }
                Step::Invalid(error) => {
                    cursor.at = self.skip(&mut cursor, error)?;
                    self.cursor = Some(cursor);
                }
                Step::End => {
                    if !self.next_segment(Some(cursor))? {
                        return Ok(changed);
                    }
                }
            }
        }
    }

    /// Goes to the segment after `from`; keeps the cursor when there is none.
    fn next_segment(&mut self, from: Option<Cursor>) -> Result<bool, ReadError> {
        let next = from.as_ref().map_or(0, |cursor| cursor.segment + 1);
        if next >= self.paths.len() {
            self.paths = segments(&self.dir, self.stream).map_err(|e| ReadError::io("readdir", &self.dir, e))?;
        }
        let Some(path) = self.paths.get(next) else {
            self.cursor = from;
            return Ok(false);
        };
        if let Some(mut from) = from {
            // The writer may have filled the segment up between our last look and its next segment.
            from.file.refresh();
            if matches!(from.file.step(from.at, Depth::Heads)?, Step::Frame(_)) {
                self.cursor = Some(from);
                return Ok(true);
            }
        }
        let (file, at) = match SegmentFile::open(path) {
            Ok(file) => (file, HEADER as u64),
            Err(error) => return Err(ReadError::from_log(error)),
        };
        self.newest_generation = file.header.generation;
        self.cursor = Some(Cursor { segment: next, file, at });
        Ok(true)
    }

    fn skip(&mut self, cursor: &mut Cursor, error: FrameError) -> Result<u64, ReadError> {
        self.damage.push(Damage { path: cursor.file.path.clone(), offset: cursor.at, reason: error.to_string() });
        let later = cursor.file.later_frames(cursor.at + 8)?;
        Ok(match later.first() {
            Some((at, _)) => *at,
            None => cursor.file.len()?,
        })
    }

    fn fold(&mut self, frame: FrameRef, generation: [u8; 16]) -> Option<Index> {
        let id = frame.head.entry.exchange;
        match frame.head.entry.kind {
            Kind::Part => {
                match self.by_id.get(&id) {
                    Some(&index) => self.records[index].parts.push(frame),
                    None => self.pending.entry(id).or_default().push(frame),
                }
                None
            }
            Kind::Completion => {
                let &index = self.by_id.get(&id)?;
                self.records[index].end = Some(frame);
                Some(index)
            }
            Kind::Request | Kind::Refusal | Kind::Access => {
                let parts = self.pending.remove(&id).unwrap_or_default();
                let index = self.records.len();
                self.records.push(Frames { opening: frame, parts, end: None, generation });
                self.by_id.insert(id, index);
                Some(index)
            }
            Kind::Note => {
                self.notes.push(frame);
                None
            }
        }
    }

    /// The id of a record.
    #[must_use]
    pub fn id(&self, index: Index) -> ExchangeId {
        self.records[index].opening.head.entry.exchange
    }

    /// When a record's opening frame was written, nanoseconds since 1970.
    #[must_use]
    pub fn wall_ns(&self, index: Index) -> u64 {
        self.records[index].opening.head.entry.wall_ns
    }

    /// Records whose id starts with `prefix`; `latest` names the last one.
    #[must_use]
    pub fn find(&self, prefix: &str) -> Vec<Index> {
        if prefix == "latest" {
            return self.records.len().checked_sub(1).into_iter().collect();
        }
        let prefix = prefix.to_ascii_lowercase();
        (0..self.records.len()).filter(|&index| self.id(index).to_string().starts_with(&prefix)).collect()
    }

    /// One record, folded from its frames.
    ///
    /// # Errors
    /// When its frames cannot be read.
    pub fn record(&mut self, index: Index) -> Result<Record, ReadError> {
        let opening = self.records[index].opening.clone();
        let mut record: Record = self.json(index, &opening)?;
        record.log.sequence = Some(opening.head.entry.sequence);
        record.log.leaf_hash = Some(hex::encode(opening.head.leaf));
        record.state = self.state(index, &mut record)?;
        let last_leaf =
            self.records[index].end.as_ref().map_or(opening.head.entry.leaf_index, |f| f.head.entry.leaf_index);
        record.log.checkpoint = self.checkpoint().map(|c| c.size).filter(|&size| size > last_leaf);
        record.request.masked = match self.content(index, Content::MaskedBody, None)? {
            Some(body) => {
                let head = self.content(index, Content::MaskedHead, None)?.unwrap_or_default();
                Some(MaskedRequest::new(&head, body))
            }
            None => None,
        };
        let bytes = self.sealed_len(index, Content::Response).or(record.response.status.map(|_| 0));
        record.response.body = bytes.map(|bytes| ResponseBody { encoding: Encoding::Sealed, text: None, bytes });
        Ok(record)
    }

    fn state(&mut self, index: Index, record: &mut Record) -> Result<State, ReadError> {
        let frames = &self.records[index];
        if frames.opening.head.entry.kind == Kind::Refusal {
            return Ok(State::Complete);
        }
        let Some(end) = frames.end.clone() else {
            let live = frames.generation == self.newest_generation && WriterLock::is_held(&self.dir, self.stream);
            return Ok(if live { State::Open } else { State::Aborted });
        };
        let completion: Completion = self.json(index, &end)?;
        record.response = completion.response;
        record.timing = completion.timing;
        Ok(completion.state)
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        let note = std::fs::read_to_string(self.dir.join(self.stream.checkpoint())).ok()?;
        Checkpoint::peek(&note)
    }

    /// The request as the client sent it, opened with an auditor's key.
    ///
    /// # Errors
    /// [`ReadError::Unseal`] when the key is not among those it was sealed to, or the data key is gone.
    pub fn original(&mut self, index: Index, opener: &mut Opener<'_>) -> Result<Option<Vec<u8>>, ReadError> {
        self.content(index, Content::Original, Some(opener))
    }

    /// The response as it came, opened with an auditor's key.
    ///
    /// # Errors
    /// As [`Reader::original`].
    pub fn response(&mut self, index: Index, opener: &mut Opener<'_>) -> Result<Option<Vec<u8>>, ReadError> {
        self.content(index, Content::Response, Some(opener))
    }

    /// Unwraps the data keys of everything sealed in a record, and opens none of it: tells whether the key fits.
    ///
    /// # Errors
    /// [`ReadError::Unseal`] when it does not.
    pub fn try_keys(&self, index: Index, opener: &mut Opener<'_>) -> Result<(), ReadError> {
        let frames = &self.records[index];
        for frame in std::iter::once(&frames.opening).chain(&frames.parts) {
            if frame.head.entry.sections.iter().any(|s| s.holding == Holding::Sealed) {
                opener.unwrap(&frame.head.entry.key_id)?;
            }
        }
        Ok(())
    }

    /// The JSON of an access record.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn access(&mut self, index: Index) -> Result<super::Access, ReadError> {
        let opening = self.records[index].opening.clone();
        self.json(index, &opening)
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, index: Index, frame: &FrameRef) -> Result<T, ReadError> {
        let bytes = self.section(index, frame, Content::Json, &mut None)?.unwrap_or_default();
        serde_json::from_slice(&bytes).map_err(|source| ReadError::Json {
            path: self.paths[frame.segment].clone(),
            offset: frame.offset,
            source,
        })
    }

    /// Content of a record, wherever it is; for a response whose end is missing, what there is of it.
    fn content(
        &mut self,
        index: Index,
        content: Content,
        mut opener: Option<&mut Opener<'_>>,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let frames = &self.records[index];
        if content == Content::Response && frames.opening.head.entry.kind == Kind::Request {
            return self.parts(index, content, None, &mut opener).map(Some);
        }
        let opening = frames.opening.clone();
        self.section(index, &opening, content, &mut opener)
    }

    fn section(
        &mut self,
        index: Index,
        frame: &FrameRef,
        content: Content,
        opener: &mut Option<&mut Opener<'_>>,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(row) = frame.head.entry.sections.iter().position(|s| s.content == content) else { return Ok(None) };
        let section = frame.head.entry.sections[row];
        match section.holding {
            Holding::Parts => self.parts(index, content, Some(section.length as usize), opener).map(Some),
            Holding::Plain | Holding::Sealed => self.stored(frame, row, 0, opener).map(Some),
        }
    }

    /// Content from part frames; `count` when it is known how many there must be.
    fn parts(
        &mut self,
        index: Index,
        content: Content,
        count: Option<usize>,
        opener: &mut Option<&mut Opener<'_>>,
    ) -> Result<Vec<u8>, ReadError> {
        let holds = |part: &&FrameRef| part.head.entry.sections.first().is_some_and(|s| s.content == content);
        let parts: Vec<FrameRef> = self.records[index].parts.iter().filter(holds).cloned().collect();
        if count.is_some_and(|count| count != parts.len()) {
            return Err(ReadError::Incomplete(self.id(index)));
        }
        let mut bytes = Vec::new();
        for (ordinal, part) in parts.iter().enumerate() {
            bytes.extend(self.stored(part, 0, ordinal as u32, opener)?);
        }
        Ok(bytes)
    }

    fn stored(
        &mut self,
        frame: &FrameRef,
        row: usize,
        ordinal: u32,
        opener: &mut Option<&mut Opener<'_>>,
    ) -> Result<Vec<u8>, ReadError> {
        let section = frame.head.entry.sections[row];
        let range = frame.head.section_range(row);
        let bytes = self.file(frame.segment)?.bytes(frame.offset + range.start as u64, range.len())?.to_vec();
        let entry = &frame.head.entry;
        match (section.holding, opener) {
            (Holding::Sealed, Some(opener)) => {
                Ok(opener.open(&entry.key_id, entry.exchange, section.content, ordinal, &bytes)?)
            }
            _ => Ok(bytes),
        }
    }

    /// Bytes of sealed content before it was sealed; `None` when the record has none.
    fn sealed_len(&self, index: Index, content: Content) -> Option<u64> {
        let frames = &self.records[index];
        let rows = std::iter::once(&frames.opening)
            .chain(&frames.parts)
            .flat_map(|frame| &frame.head.entry.sections)
            .filter(|s| s.content == content && s.holding == Holding::Sealed);
        let mut total = None;
        for row in rows {
            *total.get_or_insert(0) += plain_len(row.stored());
        }
        total
    }

    fn file(&mut self, segment: usize) -> Result<&mut SegmentFile, ReadError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != segment) {
            self.open = Some((segment, SegmentFile::open(&self.paths[segment]).map_err(ReadError::from_log)?));
        }
        let (_, file) = self.open.as_mut().expect("opened above");
        Ok(file)
    }
}
