//! Walking through the frames of a stream in order: across segments, past damage, beside a running writer.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Error;
use super::frame::{ALIGN, FrameError, Head, check_body};
use super::header::{HEADER, Header, Stream};
use super::lock::WriterLock;
use super::reader::ReadError;
use super::scan::{Depth, SegmentFile, Step, segments};

/// How often a place that looks damaged is looked at again while a writer is at work there.
const LOOKS: u32 = 20;
/// How long to wait in between: a frame is copied within microseconds.
const PAUSE: Duration = Duration::from_millis(1);
/// Read at once when looking for the end of damaged bytes.
const WINDOW: usize = 1 << 20;

/// A damaged place, or a segment that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where in it; 0, where no frame is, when nothing of it can be read.
    pub offset: u64,
    /// The frame that is damaged, or the first of those that cannot be found.
    pub sequence: u64,
    /// How many frames are not there at all, between others that are whole: those from `sequence` on.
    pub missing: Option<NonZeroU64>,
    /// What is wrong.
    pub reason: String,
}

impl Damage {
    /// A segment of which nothing can be read.
    pub(crate) fn of_segment(path: &Path, reason: String) -> Self {
        let sequence = first_sequence(path).unwrap_or_default();
        Self { path: path.to_path_buf(), offset: 0, sequence, missing: None, reason }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, offset, sequence, missing, reason } = self;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        match missing.map(NonZeroU64::get) {
            Some(1) => return write!(f, "frame {sequence} is missing ({reason})"),
            Some(count) => return write!(f, "frames {sequence} to {} are missing ({reason})", sequence + count - 1),
            None => {}
        }
        match offset {
            0 => write!(f, "{file} cannot be read ({reason}): what it holds is left out"),
            _ => write!(f, "frame {sequence} is damaged ({file} at byte {offset}: {reason})"),
        }
    }
}

/// The sequence number that a segment begins with: its name says it.
pub(crate) fn first_sequence(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.rsplit('-').next()?.parse().ok()
}

/// A frame, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct FrameRef {
    /// Index into [`Walk::path`].
    pub(crate) segment: usize,
    pub(crate) offset: u64,
    pub(crate) head: Head,
    /// The head is whole, what follows is not what was written.
    pub(crate) damaged: bool,
    /// Which life of the writer it belongs to.
    pub(crate) generation: [u8; 16],
}

/// Where walking has got to.
#[derive(Debug)]
pub(crate) struct Walk {
    dir: PathBuf,
    stream: Stream,
    paths: Vec<PathBuf>,
    cursor: Option<Cursor>,
    damage: Vec<Damage>,
    newest_generation: [u8; 16],
    /// Sequence number of the frame that should come next.
    expected: u64,
    /// Whether to stay in the segments that are known, and whether the last of them is being written.
    bounds: Option<bool>,
    /// The segment to begin with: an index into `paths`.
    first: usize,
    /// Where segments that cannot be read are left out: those that were.
    left_out: Option<HashSet<PathBuf>>,
}

/// A place in a segment.
#[derive(Debug)]
pub(crate) struct Cursor {
    segment: usize,
    file: SegmentFile,
    at: u64,
}

impl Cursor {
    pub(crate) fn header(&self) -> &Header {
        &self.file.header
    }

    /// Where the next frame starts, or will.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Whether something stands here: looks at the file itself, and at nothing else.
    pub(crate) fn has_frame(&self) -> bool {
        self.file.has_bytes(self.at)
    }

    /// What stands here, and what is wrong with the body if it is a frame.
    fn look(&mut self) -> Result<(Step, Option<FrameError>), Error> {
        let step = self.file.step(self.at, Depth::Heads)?;
        let Step::Frame(head) = &step else { return Ok((step, None)) };
        let seed = self.file.seed;
        let body = check_body(seed, head, self.file.bytes(self.at, head.length)?).err();
        Ok((step, body))
    }
}

impl Walk {
    pub(crate) fn new(dir: &Path, stream: Stream) -> Result<Self, ReadError> {
        segments(dir, stream).map_err(|e| ReadError::io("readdir", dir, e))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            stream,
            paths: Vec::new(),
            cursor: None,
            damage: Vec::new(),
            newest_generation: [0; 16],
            expected: 0,
            bounds: None,
            first: 0,
            left_out: None,
        })
    }

    /// A walk through one segment alone. Damage in one that is being written may be a frame that is being copied.
    pub(crate) fn within(dir: &Path, stream: Stream, path: &Path, being_written: bool) -> Result<Self, ReadError> {
        let mut walk = Self::new(dir, stream)?;
        walk.start(vec![path.to_path_buf()], 0, HEADER as u64)?;
        walk.bounds = Some(being_written);
        Ok(walk)
    }

    /// A walk that begins at `at` in a segment, where a frame starts or the next one will.
    pub(crate) fn from(dir: &Path, stream: Stream, path: &Path, at: u64) -> Result<Self, ReadError> {
        let mut walk = Self::new(dir, stream)?;
        let paths = segments(dir, stream).map_err(|e| ReadError::io("readdir", dir, e))?;
        let segment = paths.iter().position(|known| known == path);
        walk.start(paths, segment.ok_or_else(|| ReadError::Missing(path.to_path_buf()))?, at)?;
        Ok(walk)
    }

    fn start(&mut self, paths: Vec<PathBuf>, segment: usize, at: u64) -> Result<(), ReadError> {
        let file = SegmentFile::open(&paths[segment]).map_err(ReadError::from_log)?;
        (self.newest_generation, self.expected) = (file.header.generation, file.header.first_sequence);
        self.paths = paths;
        self.cursor = Some(Cursor { segment, file, at });
        Ok(())
    }

    /// Goes on past segments that cannot be read, and tells of each once, but for those that are `known`.
    pub(crate) fn leave_out_unreadable(&mut self, known: impl IntoIterator<Item = PathBuf>) {
        self.left_out = Some(known.into_iter().collect());
    }

    /// Where the walk is; nowhere before the first segment.
    pub(crate) fn place(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// Bytes of the frame that came last.
    pub(crate) fn bytes(&mut self, frame: &FrameRef, range: Range<usize>) -> Result<&[u8], ReadError> {
        let cursor = self.cursor.as_mut().filter(|cursor| cursor.segment == frame.segment);
        let file = &mut cursor.expect("the frame came from this walk").file;
        Ok(file.bytes(frame.offset + range.start as u64, range.len())?)
    }

    /// As [`Walk::new`], from the segment on that has frame `sequence`, or from the oldest there is.
    pub(crate) fn starting(dir: &Path, stream: Stream, sequence: u64) -> Result<Self, ReadError> {
        let mut walk = Self::new(dir, stream)?;
        walk.paths = segments(dir, stream).map_err(|e| ReadError::io("readdir", dir, e))?;
        // Names say which frame is a segment's first, and sort by it.
        let name = dir.join(stream.segment_name(sequence));
        walk.first = walk.paths.partition_point(|path| *path <= name).saturating_sub(1);
        Ok(walk)
    }

    /// Which life of a writer the present segment belongs to, and the segment's first frame.
    pub(crate) fn writer(&self) -> Option<([u8; 16], u64)> {
        self.cursor.as_ref().map(|cursor| (cursor.file.header.generation, cursor.file.header.first_sequence))
    }

    pub(crate) fn path(&self, segment: usize) -> &Path {
        &self.paths[segment]
    }

    /// Whether the segment it is in is still the one of that name. One that its writer removed unused held nothing.
    pub(crate) fn is_current(&self) -> bool {
        let is_in_place = |cursor: &Cursor| cursor.file.id().is_ok_and(|id| id.is_at(&cursor.file.path));
        let was_unused = |cursor: &Cursor| {
            cursor.at == HEADER as u64 && !cursor.has_frame() && matches!(cursor.file.path.try_exists(), Ok(false))
        };
        self.cursor.as_ref().is_none_or(|cursor| is_in_place(cursor) || was_unused(cursor))
    }

    pub(crate) fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Whether the segment that was entered last is of this life of the writer.
    pub(crate) fn is_newest(&self, generation: &[u8; 16]) -> bool {
        *generation == self.newest_generation
    }

    /// Forgets what was read ahead: the writer may have gone on.
    pub(crate) fn refresh(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            cursor.file.refresh();
        }
    }

    /// The next frame, if it has been written.
    pub(crate) fn next(&mut self) -> Result<Option<FrameRef>, ReadError> {
        loop {
            let Some(mut cursor) = self.cursor.take() else {
                if self.enter(None)? {
                    continue;
                }
                return Ok(None);
            };
            match self.look(&mut cursor)? {
                (Step::Frame(head), error) => {
                    if let Some(error) = error {
                        self.note(&cursor, head.entry.sequence, error.to_string());
                    }
                    let frame = FrameRef {
                        segment: cursor.segment,
                        offset: cursor.at,
                        damaged: error.is_some(),
                        generation: cursor.file.header.generation,
                        head,
                    };
                    cursor.at += frame.head.length as u64;
                    self.expected = frame.head.entry.sequence + 1;
                    self.cursor = Some(cursor);
                    return Ok(Some(frame));
                }
                (Step::Invalid(error), _) => {
                    // The first alone: a segment with many damaged places would else be read to its end for each.
                    let later = cursor.file.later_frame(cursor.at + ALIGN as u64)?;
                    let lost = later.as_ref().map_or(0, |(_, head)| head.entry.sequence.saturating_sub(self.expected));
                    match &later {
                        Some((at, _)) if lost > 1 => {
                            self.note(
                                &cursor,
                                self.expected,
                                format!("{error}; up to byte {at} {lost} frames are lost"),
                            );
                        }
                        _ => self.note(&cursor, self.expected, error.to_string()),
                    }
                    cursor.at = match later {
                        Some((at, _)) => at,
                        None => end_of_bytes(&mut cursor.file, cursor.at)?,
                    };
                    self.cursor = Some(cursor);
                }
                (Step::End, _) => {
                    if !self.enter(Some(cursor))? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn note(&mut self, cursor: &Cursor, sequence: u64, reason: String) {
        let path = cursor.file.path.clone();
        self.damage.push(Damage { path, offset: cursor.at, sequence, missing: None, reason });
    }

    /// What stands at the cursor. What looks damaged may be a frame that is being written, read from memory that both
    /// sides use at once: it gets time to become whole.
    fn look(&self, cursor: &mut Cursor) -> Result<(Step, Option<FrameError>), ReadError> {
        let mut looks = 0;
        loop {
            let found = cursor.look()?;
            let whole = matches!(found, (Step::Frame(_) | Step::End, None));
            let being_written = self.bounds.unwrap_or_else(|| {
                cursor.segment + 1 >= self.paths.len() && WriterLock::is_held(&self.dir, self.stream)
            });
            if whole || looks == LOOKS || (looks > 0 && !being_written) {
                return Ok(found);
            }
            if looks > 0 {
                std::thread::sleep(PAUSE);
            }
            looks += 1;
            cursor.file.refresh();
        }
    }

    /// Goes to the segment after `from`; keeps the cursor when there is none.
    fn enter(&mut self, from: Option<Cursor>) -> Result<bool, ReadError> {
        let replaced = from.as_ref().is_some_and(|cursor| self.is_replaced(cursor));
        let next = from.as_ref().map_or(self.first, |cursor| cursor.segment + usize::from(!replaced));
        if self.bounds.is_some() {
            self.cursor = from;
            return Ok(false);
        }
        if replaced || self.paths.get(next..).unwrap_or_default().iter().all(|path| self.is_left_out(path)) {
            self.paths = segments(&self.dir, self.stream).map_err(|e| ReadError::io("readdir", &self.dir, e))?;
        }
        if next >= self.paths.len() {
            self.cursor = from;
            return Ok(false);
        }
        if let Some(mut from) = from {
            // The writer may have filled the segment up between our last look and its next segment.
            from.file.refresh();
            if !replaced && matches!(from.file.step(from.at, Depth::Heads)?, Step::Frame(_)) {
                self.cursor = Some(from);
                return Ok(true);
            }
            self.cursor = Some(from);
        }
        self.open_first(next)
    }

    /// Goes to the first segment from `next` on that can be read.
    fn open_first(&mut self, next: usize) -> Result<bool, ReadError> {
        for segment in next..self.paths.len() {
            match SegmentFile::open(&self.paths[segment]) {
                Ok(file) => {
                    self.newest_generation = file.header.generation;
                    self.cursor = Some(Cursor { segment, file, at: HEADER as u64 });
                    return Ok(true);
                }
                // A writer that leaves removes the segment it has not used.
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    self.paths.truncate(segment);
                    return Ok(false);
                }
                Err(error) => self.leave_out(segment, ReadError::from_log(error))?,
            }
        }
        Ok(false)
    }

    /// Goes on without a segment, if that is what is wanted.
    fn leave_out(&mut self, segment: usize, error: ReadError) -> Result<(), ReadError> {
        let path = &self.paths[segment];
        let (Some(left_out), Some(reason)) = (&mut self.left_out, error.of_segment()) else { return Err(error) };
        if left_out.insert(path.clone()) {
            self.damage.push(Damage::of_segment(path, reason));
        }
        Ok(())
    }

    fn is_left_out(&self, path: &Path) -> bool {
        self.left_out.as_ref().is_some_and(|left_out| left_out.contains(path))
    }

    /// Whether a writer removed this segment unused, and the next one gave its name to another.
    fn is_replaced(&self, cursor: &Cursor) -> bool {
        cursor.at == HEADER as u64
            && SegmentFile::open(&cursor.file.path)
                .is_ok_and(|now| now.header.segment_id != cursor.file.header.segment_id)
    }
}

/// Where the zeros begin that follow the last byte which is none: where a writer goes on.
fn end_of_bytes(file: &mut SegmentFile, from: u64) -> Result<u64, Error> {
    let (mut at, mut end) = (from, from + ALIGN as u64);
    loop {
        let bytes = file.bytes(at, WINDOW)?;
        if bytes.is_empty() {
            return Ok(end.next_multiple_of(ALIGN as u64));
        }
        if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
            end = end.max(at + last as u64 + 1);
        }
        at += bytes.len() as u64;
    }
}
