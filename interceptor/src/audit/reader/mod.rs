//! Reading records: the indexes say where the frames of a record are, the frames what it says. Works beside a running
//! writer and needs no lock. What is in memory at a time does not grow with the log: a few segments' indexes, and the
//! records that are being looked at.

mod content;
mod error;
mod find;
mod live;
mod located;
mod prove;
mod query;

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::{Checkpoint, VerifyingKey, read_note};
use super::frame::Content;
use super::header::Stream;
use super::index::{self, SegmentIndex, Unfit};
use super::lock::WriterLock;
use super::record::Note;
use super::scan::{SegmentFile, segments};
use super::walk::first_sequence;
use super::{Damage, Error};
pub use content::Piece;
pub use error::ReadError;
pub use find::Found;
pub use live::{Change, Live};
pub use located::Located;
use located::{Files, Use};
pub use query::Query;

/// Indexes that are kept open.
const INDEXES: usize = 8;

/// A log open for reading.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    stream: Stream,
    segments: Vec<Arc<Path>>,
    /// Whether a writer is at work, in the last of the segments.
    being_written: bool,
    /// Of the newest segment.
    generation: [u8; 16],
    /// Open indexes by segment; the one used last stands last.
    indexes: Vec<(usize, SegmentIndex)>,
    /// Offset and time of the notes of each segment that was looked at and has some.
    notes: BTreeMap<usize, Vec<(u64, u64)>>,
    /// Of the segments that were looked at, those that cannot be read.
    unreadable: HashSet<usize>,
    damage: Vec<Damage>,
    /// Places of `damage`.
    damaged: HashSet<(Arc<Path>, u64)>,
    /// The newest checkpoint when the log was last looked at, unless it is known that the log's key did not sign it.
    checkpoint: Option<Checkpoint>,
    /// Frames that it claims to cover, whoever signed it.
    covered: u64,
    /// Whether there is one that is not to be believed.
    false_checkpoint: bool,
    files: Files,
}

impl Reader {
    /// Opens the log of exchanges in `dir`.
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
        let mut reader = Self {
            dir: dir.to_path_buf(),
            stream,
            segments: Vec::new(),
            being_written: false,
            generation: [0; 16],
            indexes: Vec::new(),
            notes: BTreeMap::new(),
            unreadable: HashSet::new(),
            damage: Vec::new(),
            damaged: HashSet::new(),
            checkpoint: None,
            covered: 0,
            false_checkpoint: false,
            files: Files::default(),
        };
        reader.refresh()?;
        Ok(reader)
    }

    /// Looks at the log anew: what is asked after this is answered from the log as it is now.
    ///
    /// # Errors
    /// When the directory cannot be read, or no segment.
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        // Before the segments: a segment that is taken for closed must be.
        self.being_written = WriterLock::is_held(&self.dir, self.stream);
        // Likewise: what it covers must be there.
        let note = self.read_checkpoint();
        let claimed = note.as_deref().and_then(Checkpoint::peek);
        self.covered = claimed.as_ref().map_or(0, |claimed| claimed.frames);
        self.checkpoint = match VerifyingKey::read(&self.dir.join("log-signing.pub")) {
            Ok(key) => note.as_deref().and_then(|note| Checkpoint::verify(note, &key, self.stream).ok()),
            Err(_) => claimed,
        };
        self.false_checkpoint = note.is_some() && self.checkpoint.is_none();
        let paths = segments(&self.dir, self.stream).map_err(|e| ReadError::io("readdir", &self.dir, e))?;
        self.segments = paths.into_iter().map(Arc::from).collect();
        self.indexes.clear();
        self.notes.clear();
        self.unreadable.clear();
        self.files.refresh();
        let mut failed = Vec::new();
        for segment in (0..self.segments.len()).rev() {
            match SegmentFile::open(&self.segments[segment]) {
                Ok(file) => {
                    self.generation = file.header.generation;
                    failed.into_iter().for_each(|(segment, reason)| self.leave_out(segment, reason));
                    return Ok(());
                }
                // A writer that leaves removes the segment it has not used.
                Err(Error::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound && segment + 1 == self.segments.len() =>
                {
                    self.segments.pop();
                }
                Err(error) => {
                    let error = ReadError::from_log(error);
                    match error.of_segment() {
                        // With none that can be read there is nothing to go on with.
                        Some(reason) if segment > 0 => failed.push((segment, reason)),
                        _ => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a segment can be read. One that cannot is told of, and left out.
    fn is_readable(&mut self, segment: usize) -> Result<bool, ReadError> {
        if self.unreadable.contains(&segment) || self.notes.contains_key(&segment) {
            return Ok(!self.unreadable.contains(&segment));
        }
        // An index that is kept does not say what has become of its segment since.
        let looked = SegmentFile::open(&self.segments[segment]).map_err(ReadError::from_log);
        let looked = looked.and_then(|_| self.index(segment).map(drop));
        Ok(self.unless_unreadable(segment, looked)?.is_some())
    }

    /// What was read of a segment; nothing when it turned out that it cannot be.
    fn unless_unreadable<T>(&mut self, segment: usize, read: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) => {
                let Some(reason) = error.of_segment() else { return Err(error) };
                self.leave_out(segment, reason);
                Ok(None)
            }
        }
    }

    fn leave_out(&mut self, segment: usize, reason: String) {
        self.unreadable.insert(segment);
        self.note_all(&[Damage::of_segment(&self.segments[segment], reason)]);
    }

    /// The last segment that can be read.
    fn last_readable(&mut self) -> Result<Option<usize>, ReadError> {
        for segment in (0..self.segments.len()).rev() {
            if self.is_readable(segment)? {
                return Ok(Some(segment));
            }
        }
        Ok(None)
    }

    /// Whether there is a checkpoint that the log's key did not sign: nothing is covered by it.
    #[must_use]
    pub fn has_false_checkpoint(&self) -> bool {
        self.false_checkpoint
    }

    /// Whether the log has no record.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_empty(&mut self) -> Result<bool, ReadError> {
        for segment in (0..self.segments.len()).rev() {
            if self.is_readable(segment)? && self.index(segment)?.rows() > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Damaged places in the segments that were looked at so far, and those segments that cannot be read.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// What the log says about itself: recoveries, starts without a checkpoint. Those that `is_wanted` takes the time
    /// of, nanoseconds since 1970.
    ///
    /// # Errors
    /// When a frame cannot be read.
    pub fn notes(&mut self, is_wanted: impl Fn(u64) -> bool) -> Result<Vec<Note>, ReadError> {
        for segment in 0..self.segments.len() {
            self.is_readable(segment)?;
        }
        let mut notes = Vec::new();
        for (segment, places) in self.notes.clone() {
            let path = Arc::clone(&self.segments[segment]);
            for (offset, _) in places.into_iter().filter(|(_, time)| is_wanted(*time)) {
                let frame = self.files.frame(Use::Rest, &path, offset);
                let Some(frame) = self.unless_unreadable(segment, frame)?.flatten() else { continue };
                if let Some(row) = frame.head.entry.sections.iter().position(|s| s.content == Content::Json) {
                    let json = self.bytes(Use::Rest, &frame, row)?;
                    notes.push(Note::new(&frame.head, &json));
                }
            }
        }
        Ok(notes)
    }

    fn read_checkpoint(&self) -> Option<String> {
        read_note(&self.dir.join(self.stream.checkpoint())).ok()
    }

    /// The index of a segment.
    fn index(&mut self, segment: usize) -> Result<&mut SegmentIndex, ReadError> {
        if let Some(at) = self.indexes.iter().position(|(of, _)| *of == segment) {
            let used = self.indexes.remove(at);
            self.indexes.push(used);
        } else {
            let index = index::open(&self.dir, self.stream, &self.segments[segment], self.is_being_written(segment))?;
            self.keep(segment, index);
        }
        Ok(&mut self.indexes.last_mut().expect("one was put there").1)
    }

    fn is_being_written(&self, segment: usize) -> bool {
        self.being_written && segment + 1 == self.segments.len()
    }

    fn keep(&mut self, segment: usize, index: SegmentIndex) {
        self.indexes.retain(|(of, _)| *of != segment);
        // That of the segment that is being written stays: made again it would say more, and a reader that goes on
        // from what it said would miss what came in between.
        if self.indexes.len() == INDEXES
            && let Some(oldest) = self.indexes.iter().position(|(of, _)| !self.is_being_written(*of))
        {
            self.indexes.remove(oldest);
        }
        let path = Arc::clone(&self.segments[segment]);
        // What cannot be read is made again when it is asked for.
        let mut damage = index.damage(&path).unwrap_or_default();
        self.note_gap(segment, &index, &mut damage);
        self.damage.extend(damage.into_iter().filter(|d| self.damaged.insert((Arc::clone(&path), d.offset))));
        self.notes.insert(segment, index.notes().unwrap_or_default());
        self.indexes.push((segment, index));
    }

    /// Notes when frames that should come before the first segment, or follow the last frame of one, are not there: a length of
    /// zero, or the end of the file, is where a segment ends.
    fn note_gap(&self, segment: usize, index: &SegmentIndex, damage: &mut Vec<Damage>) {
        let path = &self.segments[segment];
        let first = first_sequence(path).filter(|_| segment == 0).and_then(NonZeroU64::new);
        if let Some(first) = first {
            let reason = format!("the log begins with {}", name(path));
            let path = path.to_path_buf();
            damage.push(Damage { path, offset: 0, sequence: 0, missing: Some(first), reason });
        }
        let (found, end) = (index.next_sequence(), index.end());
        let after = self.segments.get(segment + 1);
        let next = after.map_or(Some(self.covered), |path| first_sequence(path)).unwrap_or_default();
        let Some(missing) = NonZeroU64::new(next.saturating_sub(found)) else { return };
        let path = path.to_path_buf();
        let Some(place) = damage.iter().position(|place| place.sequence == found && place.missing.is_none()) else {
            let goes_on =
                after.map_or("the checkpoint covers more".to_owned(), |path| format!("{} follows", name(path)));
            let reason = format!("{} ends at byte {end}, and {goes_on}", name(&path));
            damage.push(Damage { path, offset: end, sequence: found, missing: Some(missing), reason });
            return;
        };
        let Damage { offset, reason, .. } = damage.swap_remove(place);
        let lost =
            format!("from there on nothing of this segment can be read, frames {found} to {} are lost", next - 1);
        let reason = format!("{reason}; {lost}");
        damage.push(Damage { path, offset, sequence: found, missing: None, reason });
    }

    /// Asks the index of a segment; makes it again when it turns out to be damaged.
    fn ask<T>(&mut self, segment: usize, ask: impl Fn(&mut SegmentIndex) -> Result<T, Unfit>) -> Result<T, ReadError> {
        if let Ok(answer) = ask(self.index(segment)?) {
            return Ok(answer);
        }
        self.make_again(segment)?;
        ask(self.index(segment)?).map_err(|unfit| {
            let path = self.segments[segment].to_path_buf();
            ReadError::Log(Error::Inconsistent { path, reason: format!("its index: {unfit}; try again") })
        })
    }

    /// Makes an index anew that does not say what the segment does.
    fn make_again(&mut self, segment: usize) -> Result<(), ReadError> {
        let being_written = self.is_being_written(segment);
        let index = index::make(&self.dir, self.stream, &self.segments[segment], being_written)?;
        self.keep(segment, index);
        Ok(())
    }

    fn note_damage(&mut self, frame: &located::Frame) {
        if frame.damaged && self.damaged.insert((Arc::clone(&frame.path), frame.offset)) {
            self.damage.push(Damage {
                path: frame.path.to_path_buf(),
                offset: frame.offset,
                sequence: frame.head.entry.sequence,
                missing: None,
                reason: super::FrameError::BodyChecksum.to_string(),
            });
        }
    }

    fn note_all(&mut self, damage: &[Damage]) {
        for damage in damage {
            if self.damaged.insert((Arc::from(&*damage.path), damage.offset)) {
                self.damage.push(damage.clone());
            }
        }
    }

    /// Whether a record has not ended, and the writer that could end it is at work.
    #[must_use]
    pub fn is_open(&self, at: &Located) -> bool {
        !at.has_ended() && at.opening.generation == self.generation && WriterLock::is_held(&self.dir, self.stream)
    }
}

/// A segment's name, as people are told of it.
fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
