//! Reading records: walks the frames, folds those of one exchange into one record. Works beside a running writer and
//! needs no lock; contents are read when a record is asked for.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, CheckpointError};
use super::frame::{Content, EncodedHead, Holding, Kind};
use super::header::Stream;
use super::proof::Proof;
use super::record::{Completion, Encoding, MaskedRequest, Note, Record, ResponseBody, State};
use super::scan::SegmentFile;
use super::seal::{Opener, UnsealError, plain_len};
use super::tree::{self, Hash};
use super::walk::{FrameRef, Walk};
use super::{Damage, Error, Time};
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
    /// A record that is to be proven is not signed yet.
    #[error(
        "record {0}: no signed checkpoint covers it yet; a running daemon signs one within a second, one that ends signs its last"
    )]
    Unsigned(ExchangeId),
    /// The end of a record is to be proven that has none.
    #[error("record {0} has no end: prove its beginning, without --end")]
    NoEnd(ExchangeId),
    /// The frames are not those that were signed.
    #[error("the log is not what its checkpoint signs: run `interceptor log verify`")]
    Unprovable,
    /// A checkpoint given for comparison is none of this log.
    #[error("{0}")]
    Checkpoint(CheckpointError),
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

/// The frames of one exchange.
#[derive(Debug)]
struct Frames {
    opening: FrameRef,
    parts: Vec<FrameRef>,
    end: Option<FrameRef>,
}

impl Frames {
    fn all(&self) -> impl Iterator<Item = &FrameRef> {
        std::iter::once(&self.opening).chain(&self.parts).chain(&self.end)
    }
}

/// Names a record within a [`Reader`]: its place in the order of the log.
pub type Index = usize;

/// A log open for reading.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    stream: Stream,
    walk: Walk,
    records: Vec<Frames>,
    by_id: HashMap<ExchangeId, Index>,
    /// Part frames whose opening frame has not been seen.
    pending: HashMap<ExchangeId, Vec<FrameRef>>,
    notes: Vec<FrameRef>,
    /// The newest checkpoint when the log was last looked at.
    checkpoint: Option<Checkpoint>,
    /// The segment that contents were last read from.
    open: Option<(usize, SegmentFile)>,
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
        Ok(Self {
            dir: dir.to_path_buf(),
            stream,
            walk: Walk::new(dir, stream)?,
            records: Vec::new(),
            by_id: HashMap::new(),
            pending: HashMap::new(),
            notes: Vec::new(),
            checkpoint: None,
            open: None,
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

    /// Damaged places seen so far, in the order of the log.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        self.walk.damage()
    }

    /// What the log says about itself: recoveries, starts without a checkpoint.
    ///
    /// # Errors
    /// When a frame cannot be read.
    pub fn notes(&mut self) -> Result<Vec<Note>, ReadError> {
        let frames = self.notes.clone();
        frames.iter().map(|frame| Ok(Note::new(&frame.head.entry, &self.stored(frame, 0, 0, &mut None)?))).collect()
    }

    /// Reads what has been appended since the last call. Returns the records that are new or have ended since, each
    /// once, in the order in which that happened first.
    ///
    /// # Errors
    /// When a file cannot be read. Damage is no error: see [`Reader::damage`].
    pub fn poll(&mut self) -> Result<Vec<Index>, ReadError> {
        self.walk.refresh();
        self.checkpoint = self.read_checkpoint().as_deref().and_then(Checkpoint::peek);
        if let Some((_, file)) = &mut self.open {
            file.refresh();
        }
        let (mut changed, mut seen) = (Vec::new(), HashSet::new());
        while let Some(frame) = self.walk.next()? {
            if let Some(index) = self.fold(frame)
                && seen.insert(index)
            {
                changed.push(index);
            }
        }
        Ok(changed)
    }

    /// Adds a frame to its record. After a failed write the writer appends frames again elsewhere: the same sequence
    /// number is the same frame, and no news.
    fn fold(&mut self, frame: FrameRef) -> Option<Index> {
        let id = frame.head.entry.exchange;
        let known = self.by_id.get(&id).copied();
        match frame.head.entry.kind {
            Kind::Part => {
                let parts = match known {
                    Some(index) => &mut self.records[index].parts,
                    None => self.pending.entry(id).or_default(),
                };
                let sequence = |part: &FrameRef| part.head.entry.sequence;
                match parts.binary_search_by_key(&sequence(&frame), sequence) {
                    Ok(again) => parts[again] = frame,
                    Err(place) => parts.insert(place, frame),
                }
                None
            }
            Kind::Completion => {
                let index = known?;
                let before = self.records[index].end.replace(frame);
                before.is_none().then_some(index)
            }
            Kind::Request | Kind::Refusal | Kind::Access => {
                if let Some(index) = known
                    && self.records[index].opening.head.entry.sequence == frame.head.entry.sequence
                {
                    self.records[index].opening = frame;
                    return None;
                }
                let parts = self.pending.remove(&id).unwrap_or_default();
                let index = self.records.len();
                self.records.push(Frames { opening: frame, parts, end: None });
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

    /// Whether the end of a record has been seen.
    #[must_use]
    pub fn has_ended(&self, index: Index) -> bool {
        let frames = &self.records[index];
        frames.opening.head.entry.kind != Kind::Request || frames.end.is_some()
    }

    /// Whether a record has not ended, and the writer that could end it is at work.
    #[must_use]
    pub fn is_open(&self, index: Index) -> bool {
        !self.has_ended(index) && self.walk.is_alive(&self.records[index].opening.generation)
    }

    /// One record, folded from its frames. Of a damaged one, what can be read.
    ///
    /// # Errors
    /// When its frames cannot be read.
    pub fn record(&mut self, index: Index) -> Result<Record, ReadError> {
        let mut record = self.outline(index)?;
        record.request.masked = self.masked(index, &mut record.log.damaged)?;
        Ok(record)
    }

    /// As [`Reader::record`], without the request as it left, which is not read.
    ///
    /// # Errors
    /// When its frames cannot be read.
    pub fn outline(&mut self, index: Index) -> Result<Record, ReadError> {
        let opening = self.records[index].opening.clone();
        let mut damaged = self.records[index].all().any(|frame| frame.damaged);
        let mut record = match self.json(index, &opening) {
            Err(ReadError::Json { .. } | ReadError::Incomplete(_)) => {
                damaged = true;
                Record { time: Time::from_unix_ns(opening.head.entry.wall_ns), ..Record::new(self.id(index)) }
            }
            record => record?,
        };
        self.end(index, &mut record, &mut damaged)?;
        record.log.sequence = Some(opening.head.entry.sequence);
        record.log.leaf_hash = Some(hex::encode(opening.head.leaf));
        let last_leaf =
            self.records[index].end.as_ref().map_or(opening.head.entry.leaf_index, |f| f.head.entry.leaf_index);
        record.log.checkpoint = self.checkpoint.as_ref().map(|c| c.size).filter(|&size| size > last_leaf);
        let bytes = self.sealed_len(index, Content::Response).or(record.response.status.map(|_| 0));
        record.response.body = bytes.map(|bytes| ResponseBody { encoding: Encoding::Sealed, text: None, bytes });
        record.log.damaged = damaged;
        Ok(record)
    }

    fn masked(&mut self, index: Index, damaged: &mut bool) -> Result<Option<MaskedRequest>, ReadError> {
        let body = match self.content(index, Content::MaskedBody, None) {
            Err(ReadError::Incomplete(_)) => {
                *damaged = true;
                return Ok(None);
            }
            body => body?,
        };
        let Some(body) = body else { return Ok(None) };
        let head = match self.content(index, Content::MaskedHead, None) {
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
    fn end(&mut self, index: Index, record: &mut Record, damaged: &mut bool) -> Result<(), ReadError> {
        let frames = &self.records[index];
        if frames.opening.head.entry.kind == Kind::Refusal {
            record.state = State::Complete;
            return Ok(());
        }
        let Some(end) = frames.end.clone() else {
            record.state = if self.is_open(index) { State::Open } else { State::Aborted };
            if record.state == State::Aborted {
                record.response.error = Some("the daemon ended before the response did".into());
            }
            return Ok(());
        };
        let completion = match self.json(index, &end) {
            Err(ReadError::Json { .. } | ReadError::Incomplete(_)) => {
                *damaged = true;
                Completion::aborted("how it ended cannot be read: the log is damaged there")
            }
            completion => completion?,
        };
        record.response = completion.response;
        record.response.error = completion.reason;
        record.timing = completion.timing;
        record.state = completion.state;
        record.request.bytes = completion.request_bytes.or(record.request.bytes);
        record.coverage.streamed(completion.request_bytes);
        Ok(())
    }

    fn read_checkpoint(&self) -> Option<String> {
        std::fs::read_to_string(self.dir.join(self.stream.checkpoint())).ok()
    }

    /// The request as the client sent it, opened with an auditor's key.
    ///
    /// # Errors
    /// [`ReadError::Unseal`] when the key is not among those it was sealed to, or the data key is gone.
    pub fn original(&mut self, index: Index, opener: &mut Opener<'_>) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(mut original) = self.content(index, Content::Original, Some(&mut *opener))? else { return Ok(None) };
        // What was passed on as it came stands behind the head.
        original.extend(self.parts(index, Content::Upload, None, &mut Some(opener))?);
        Ok(Some(original))
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

    /// A proof that the leaf which opened a record, or else the one that ended it, is in the tree that the log's
    /// checkpoint signs.
    ///
    /// # Errors
    /// [`ReadError::Unsigned`], [`ReadError::NoEnd`], [`ReadError::Unprovable`].
    pub fn prove(&mut self, index: Index, end: bool) -> Result<Proof, ReadError> {
        let note = self.read_checkpoint();
        // The log may have grown: what the checkpoint covers was there before it.
        self.poll()?;
        let frames = &self.records[index];
        let id = self.id(index);
        let frame = if end { frames.end.as_ref().ok_or(ReadError::NoEnd(id))? } else { &frames.opening };
        let entry = &frame.head.entry;
        let checkpoint = note.as_deref().and_then(Checkpoint::peek).filter(|c| c.size > entry.leaf_index);
        let (Some(note), Some(checkpoint)) = (note, checkpoint) else { return Err(ReadError::Unsigned(id)) };
        // A forged frame may claim the place of another: then the tree is right, and this frame is not in it.
        let ours = |leaves: &Vec<Hash>| leaves.get(entry.leaf_index as usize) == Some(&frame.head.leaf);
        let leaves =
            self.leaves(checkpoint.size).filter(|leaves| ours(leaves) && tree::root(leaves) == checkpoint.root);
        let leaves = leaves.ok_or(ReadError::Unprovable)?;
        Ok(Proof::new(EncodedHead::new(entry).entry(), entry.leaf_index, &leaves, note))
    }

    /// The first `size` leaves, if all have been seen.
    fn leaves(&self, size: u64) -> Option<Vec<Hash>> {
        let records = self.records.iter().flat_map(|frames| std::iter::once(&frames.opening).chain(&frames.end));
        let mut leaves: Vec<_> =
            records.chain(&self.notes).map(|frame| (frame.head.entry.leaf_index, frame.head.leaf)).collect();
        leaves.sort_unstable_by_key(|(index, _)| *index);
        leaves.dedup_by_key(|(index, _)| *index);
        leaves.truncate(usize::try_from(size).ok()?);
        (leaves.last()?.0.checked_add(1) == Some(size)).then(|| leaves.into_iter().map(|(_, leaf)| leaf).collect())
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
            path: self.walk.path(frame.segment).to_path_buf(),
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
            self.open = Some((segment, SegmentFile::open(self.walk.path(segment)).map_err(ReadError::from_log)?));
        }
        let (_, file) = self.open.as_mut().expect("opened above");
        Ok(file)
    }
}
