//! Following the log: every record once it has ended, and every note, when a signed checkpoint covers it; in the order in
//! which records ended and notes were written, from a place that can be stored and come back to.
//!
//! What a checkpoint covers is durable and never written again with other content: its sequence numbers mean the same
//! for ever. Memory is what the open exchanges need, however long the log is.

mod content;
mod open;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;
use super::checkpoint::{Checkpoint, VerifyingKey, read_note};
use super::class::Class;
use super::frame::{Content, Kind};
use super::header::Stream;
use super::reader::ReadError;
use super::record::{Note, Record};
use super::scan::{Depth, FileId, SegmentFile, Step, segments};
use super::walk::{FrameRef, Walk};
use crate::flow::ExchangeId;
use open::{Open, Ready};

/// Where following has got to. The default is the beginning of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The first frame that is still needed: it opens the oldest exchange that had not ended.
    pub from: u64,
    /// The last record or note that was handed out, if any was.
    pub last: Option<Key>,
    /// The last frame that was looked at: by it, another log in the same place is told from this one.
    pub seen: Option<Seen>,
}

/// The place of a record in the order in which records end; a note opens and ends with its one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The frame that ended it; for what its writer's death ended, the first frame of the next writer.
    pub end: u64,
    /// The frame that opened it.
    pub opening: u64,
}

/// A frame and what was in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Its sequence number.
    pub sequence: u64,
    /// Its leaf hash, in hexadecimal.
    pub leaf_hash: String,
}

/// Why the log cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The place to go on from is one of another log, or of a later state of this one.
    #[error(
        "frame {0} of the audit log is not the one that was there before: the log was replaced or put back to an earlier \
         state; compare it with a checkpoint that is kept elsewhere (`interceptor log verify --checkpoint FILE`)"
    )]
    Replaced(u64),
    /// Retention has written a segment anew that was read from: what was removed must not be handed on.
    #[error("retention has written the audit log anew; it is read again from the last place that is settled")]
    Rewritten,
}

impl From<Error> for FollowError {
    fn from(error: Error) -> Self {
        Self::Read(ReadError::from_log(error))
    }
}

/// Nanoseconds after which a request of which only parts came is not expected any more: they are written in one go.
const ABANDONED: u64 = 15 * 60 * 1_000_000_000;
/// Frames after which it is looked for those.
const LOOK: u64 = 1024;

/// What the log says, and where to go on after it.
#[derive(Clone, Debug)]
pub struct Followed {
    /// What it says.
    pub said: Said,
    /// After it.
    pub position: Position,
}

/// What the log says.
#[derive(Clone, Debug)]
pub enum Said {
    /// Of an exchange that has ended; with masked content only.
    Record(Box<Record>),
    /// About itself or the host.
    Note(Note),
}

/// Hands out records as they end, and notes.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    stream: Stream,
    /// Whose checkpoints are believed.
    key: VerifyingKey,
    walk: Walk,
    /// A frame that no checkpoint covers yet.
    held: Option<FrameRef>,
    checkpoint: Option<(String, Checkpoint)>,
    /// The life of the writer whose frames are being walked through.
    generation: Option<[u8; 16]>,
    open: HashMap<ExchangeId, Open>,
    /// First frames of what has not been handed out.
    firsts: BTreeSet<u64>,
    ready: VecDeque<(Key, Ready)>,
    position: Position,
    /// The frame after the last one that was looked at.
    next: u64,
    /// Frames that the log should have and that were not found.
    missing: u64,
    /// The segment that contents were last read from.
    file: Option<(usize, SegmentFile)>,
    /// All segments that contents were read from and that were not [let go](Self::let_go).
    read: HashMap<PathBuf, FileId>,
}

impl Follower {
    /// Follows the log of exchanges in `dir` that `key` signs, from `position` on.
    ///
    /// # Errors
    /// [`FollowError::Replaced`] when the log does not reach that far; [`FollowError::Read`].
    pub fn open(dir: &Path, key: &VerifyingKey, position: Position) -> Result<Self, FollowError> {
        Self::open_stream(dir, Stream::Log, key, position)
    }

    /// Follows a stream of the log in `dir`. Accesses and acts are handed out as notes.
    ///
    /// # Errors
    /// As [`Follower::open`].
    pub fn open_stream(
        dir: &Path,
        stream: Stream,
        key: &VerifyingKey,
        position: Position,
    ) -> Result<Self, FollowError> {
        let start = position.seen.as_ref().map_or(position.from, |seen| seen.sequence.min(position.from));
        let mut follower = Self {
            dir: dir.to_path_buf(),
            stream,
            key: key.clone(),
            walk: Walk::starting(dir, stream, start)?,
            held: None,
            checkpoint: None,
            generation: None,
            open: HashMap::new(),
            firsts: BTreeSet::new(),
            ready: VecDeque::new(),
            next: start,
            position,
            missing: 0,
            file: None,
            read: HashMap::new(),
        };
        follower.refresh();
        let Position { from, seen, .. } = &follower.position;
        let reached = |frames| *from <= frames && seen.as_ref().is_none_or(|seen| seen.sequence < frames);
        match &follower.checkpoint {
            Some((_, checkpoint)) if !reached(checkpoint.frames) => Err(FollowError::Replaced(checkpoint.frames)),
            _ => Ok(follower),
        }
    }

    /// Behind everything that a checkpoint of the stream covers now.
    #[must_use]
    pub fn end(dir: &Path, stream: Stream, key: &VerifyingKey) -> Position {
        let frames = read_checkpoint(dir, stream, key, None).map_or(0, |(_, checkpoint)| checkpoint.frames);
        Position { from: frames, ..Position::default() }
    }

    /// At the beginning of the segment that was being written at `time`: before everything that ended since.
    #[must_use]
    pub fn since(dir: &Path, time: super::Time) -> Position {
        let paths = segments(dir, Stream::Log).unwrap_or_default();
        let headers = paths.iter().rev().filter_map(|path| Some(SegmentFile::open(path).ok()?.header));
        let mut from = 0;
        for header in headers {
            from = header.first_sequence;
            if header.created_ns <= time.unix_ns() {
                break;
            }
        }
        Position { from, ..Position::default() }
    }

    /// Looks for a newer checkpoint. Says whether there is one.
    pub fn refresh(&mut self) -> bool {
        let known = self.checkpoint.as_ref().map(|(note, _)| note.as_str());
        let Some(newest) = read_checkpoint(&self.dir, self.stream, &self.key, known) else { return false };
        self.checkpoint = Some(newest);
        self.walk.refresh();
        if let Some((_, file)) = &mut self.file {
            file.refresh();
        }
        true
    }

    /// The newest checkpoint, as it is signed, and what it says.
    #[must_use]
    pub fn checkpoint(&self) -> Option<(&str, &Checkpoint)> {
        self.checkpoint.as_ref().map(|(note, checkpoint)| (note.as_str(), checkpoint))
    }

    /// Frames that the newest checkpoint covers and that were not looked at.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.covered().saturating_sub(self.next)
    }

    /// The frame before which everything was looked at.
    #[must_use]
    pub fn looked_at(&self) -> u64 {
        self.next
    }

    /// Frames that the log should have and that were not found where they should be: it is damaged there.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Whether nothing that was read since [`let_go`](Self::let_go) has been removed from the log.
    ///
    /// # Errors
    /// [`FollowError::Rewritten`]: what was handed out since then may hold what is to be forgotten.
    pub fn check(&self) -> Result<(), FollowError> {
        let is_current = self.walk.is_current() && self.read.iter().all(|(path, id)| id.is_at(path));
        if is_current { Ok(()) } else { Err(FollowError::Rewritten) }
    }

    /// What was handed out so far is nobody's concern any more.
    pub fn let_go(&mut self) {
        let present = self.file.as_ref().map(|(_, file)| file.path.clone());
        self.read.retain(|path, _| Some(path) == present.as_ref());
    }

    fn covered(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |(_, checkpoint)| checkpoint.frames)
    }

    /// Where to go on after the last record or note that was handed out.
    #[must_use]
    pub fn position(&self) -> Position {
        // What is left out here ended before the last record did, or has not ended.
        let from = self.firsts.first().map_or(self.next, |&first| first.min(self.next));
        Position { from: from.max(self.position.from), ..self.position.clone() }
    }

    /// The next record that has ended or note, if the newest checkpoint that was looked at covers one.
    ///
    /// # Errors
    /// When the log cannot be read, or is another one. A damaged frame is no error: its record says so. After an error,
    /// follow anew from the last position that was kept.
    #[expect(clippy::should_implement_trait, reason = "what there is none of now may come later")]
    pub fn next(&mut self) -> Result<Option<Followed>, FollowError> {
        loop {
            while let Some((key, ready)) = self.ready.pop_front() {
                self.firsts.remove(&ready.first());
                if self.position.last.is_none_or(|last| last < key) {
                    let said = match &ready {
                        Ready::Exchange(exchange) => Said::Record(Box::new(self.record(exchange)?)),
                        Ready::Note(frame) => Said::Note(self.note(frame)?),
                    };
                    self.position.last = Some(key);
                    return Ok(Some(Followed { said, position: self.position() }));
                }
            }
            if !self.step()? {
                return Ok(None);
            }
        }
    }

    /// Takes one more frame. False when none is covered.
    fn step(&mut self) -> Result<bool, FollowError> {
        let held = match self.held.take() {
            Some(frame) if self.is_in_place(&frame)? => Some(frame),
            // The writer could not make it durable, and writes it again elsewhere.
            _ => None,
        };
        let frame = match held {
            Some(frame) => Some(frame),
            None => self.walk.next()?,
        };
        self.bury();
        let Some(frame) = frame else { return Ok(!self.ready.is_empty()) };
        let sequence = frame.head.entry.sequence;
        if sequence >= self.covered() {
            self.held = Some(frame);
            return Ok(!self.ready.is_empty());
        }
        if sequence < self.next {
            return Ok(true);
        }
        self.missing += sequence - self.next;
        self.next = sequence + 1;
        let leaf_hash = hex::encode(frame.head.leaf);
        if self.position.seen.as_ref().is_some_and(|seen| seen.sequence == sequence && seen.leaf_hash != leaf_hash) {
            return Err(FollowError::Replaced(sequence));
        }
        if self.position.seen.as_ref().is_none_or(|seen| seen.sequence < sequence) {
            self.position.seen = Some(Seen { sequence, leaf_hash });
        }
        let now = frame.head.entry.boottime_ns;
        if sequence >= self.position.from {
            self.fold(frame);
        }
        if sequence.is_multiple_of(LOOK) {
            self.forget_abandoned(now);
        }
        Ok(true)
    }

    fn is_in_place(&mut self, frame: &FrameRef) -> Result<bool, FollowError> {
        if frame.head.entry.sequence >= self.covered() {
            return Ok(true);
        }
        let step = match self.file(frame.segment) {
            Ok(file) => file.step(frame.offset, Depth::Heads)?,
            Err(ReadError::Missing(_) | ReadError::Log(Error::Io { .. })) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        Ok(matches!(step, Step::Frame(head) if head == frame.head))
    }

    /// What the writer before this one left open has no end.
    fn bury(&mut self) {
        let Some((generation, first)) = self.walk.writer() else { return };
        if self.generation.replace(generation).is_none_or(|before| before == generation) {
            return;
        }
        let (mut opened, never): (Vec<_>, Vec<_>) =
            self.open.drain().map(|(_, o)| o).partition(|o| o.opening.is_some());
        for exchange in never {
            self.firsts.remove(&exchange.first);
        }
        opened.sort_by_key(|exchange| exchange.opening().head.entry.sequence);
        let keyed = opened.into_iter().map(|exchange| {
            let opening = exchange.opening().head.entry.sequence;
            (Key { end: first, opening }, Ready::Exchange(Box::new(exchange)))
        });
        self.ready.extend(keyed);
    }

    /// Requests that failed when a part of them was written have no frame that opens them, and never will. `now`: CLOCK_BOOTTIME.
    pub(in crate::audit) fn forget_abandoned(&mut self, now: u64) {
        let firsts = &mut self.firsts;
        self.open.retain(|_, exchange| {
            let is_expected = exchange.opening.is_some() || now.saturating_sub(exchange.touched_ns) < ABANDONED;
            is_expected || !firsts.remove(&exchange.first)
        });
    }

    fn fold(&mut self, frame: FrameRef) {
        let (id, kind, sequence) = (frame.head.entry.exchange, frame.head.entry.kind, frame.head.entry.sequence);
        if matches!(kind, Kind::Note | Kind::Access | Kind::Act) {
            self.firsts.insert(sequence);
            self.ready.push_back((Key { end: sequence, opening: sequence }, Ready::Note(Box::new(frame))));
            return;
        }
        if !matches!(kind, Kind::Request | Kind::Refusal | Kind::Part | Kind::Completion) {
            return;
        }
        if kind == Kind::Completion {
            let Some(mut exchange) = self.open.remove(&id) else { return };
            if exchange.opening.is_none() {
                // It was open before the place that was gone on from, and has been handed out.
                self.firsts.remove(&exchange.first);
                return;
            }
            exchange.damaged |= frame.damaged;
            exchange.end = Some(frame);
            let opening = exchange.opening().head.entry.sequence;
            self.ready.push_back((Key { end: sequence, opening }, Ready::Exchange(Box::new(exchange))));
            return;
        }
        let exchange = self.open.entry(id).or_insert_with(|| {
            self.firsts.insert(sequence);
            Open::new(sequence)
        });
        exchange.damaged |= frame.damaged;
        exchange.touched_ns = frame.head.entry.boottime_ns;
        exchange.count(&frame.head.entry);
        exchange.lost_response |= frame.head.has_lost(Class::Responses);
        if kind == Kind::Part {
            let is_kept = |content| matches!(content, Content::Json | Content::MaskedHead | Content::MaskedBody);
            if frame.head.entry.sections.first().is_some_and(|s| is_kept(s.content)) {
                exchange.parts.push(frame);
            }
            return;
        }
        exchange.opening = Some(frame);
        if kind == Kind::Refusal
            && let Some(exchange) = self.open.remove(&id)
        {
            self.ready.push_back((Key { end: sequence, opening: sequence }, Ready::Exchange(Box::new(exchange))));
        }
    }

    fn file(&mut self, segment: usize) -> Result<&mut SegmentFile, ReadError> {
        if self.file.as_ref().is_none_or(|(open, _)| *open != segment) {
            let file = SegmentFile::open(self.walk.path(segment)).map_err(ReadError::from_log)?;
            let id = file.id().map_err(|e| ReadError::io("stat", &file.path, e))?;
            self.read.insert(file.path.clone(), id);
            self.file = Some((segment, file));
        }
        Ok(&mut self.file.as_mut().expect("opened above").1)
    }
}

/// The stream's checkpoint, unless it is the `known` one, whose signature need not be looked at again. What the key has not signed is
/// passed over: the writer puts the next one in its place.
fn read_checkpoint(
    dir: &Path,
    stream: Stream,
    key: &VerifyingKey,
    known: Option<&str>,
) -> Option<(String, Checkpoint)> {
    let note = read_note(&dir.join(stream.checkpoint())).ok().filter(|note| known != Some(note.as_str()))?;
    let checkpoint = Checkpoint::verify(&note, key, stream).ok()?;
    Some((note, checkpoint))
}
