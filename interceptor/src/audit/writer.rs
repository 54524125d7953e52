//! The writer: appends under a brief lock, and lets the commit thread make frames durable.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::checkpoint::SigningKey;
use super::clock::boottime_ns;
use super::condition::Tally;
use super::disk::Disk;
use super::frame::{Content, EncodedHead, Entry, Holding, Kind, Section, frame_length, trailer};
use super::header::{Header, Stream};
use super::lock::WriterLock;
use super::mapping::Tail;
use super::rescue::Lost;
use super::seal::KeyId;
use super::segment::{AHEAD, Ahead, Segment, Spare, capacity};
use super::tiles::TileKeeper;
use super::tree::{Frontier, Hash, chain, sha256};
use super::{Error, Time};
use crate::flow::ExchangeId;

/// A frame to be appended: everything that can be computed before the lock is.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) kind: Kind,
    pub(crate) exchange: ExchangeId,
    pub(crate) key_id: KeyId,
    pub(crate) sections: Vec<Section>,
    pub(crate) body: Vec<&'a [u8]>,
    /// CRC-32C of the body.
    pub(crate) crc: u32,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(kind: Kind, exchange: ExchangeId) -> Self {
        Self { kind, exchange, key_id: [0; 16], sections: Vec::with_capacity(4), body: Vec::with_capacity(4), crc: 0 }
    }

    /// Adds content that the audit role may read.
    pub(crate) fn plain(mut self, content: Content, bytes: &'a [u8]) -> Self {
        self.push(content, Holding::Plain, bytes, sha256(bytes));
        self
    }

    /// Adds content that the audit role may read, its SHA-256 known.
    pub(crate) fn plain_hashed(mut self, content: Content, bytes: &'a [u8], digest: Hash) -> Self {
        self.push(content, Holding::Plain, bytes, digest);
        self
    }

    /// Adds content sealed under the key `id`.
    pub(crate) fn sealed(mut self, content: Content, id: KeyId, bytes: &'a [u8]) -> Self {
        self.key_id = id;
        self.push(content, Holding::Sealed, bytes, sha256(bytes));
        self
    }

    /// Refers to content in earlier part frames.
    pub(crate) fn parts(mut self, content: Content, count: u32, digest: Hash) -> Self {
        self.add(Section { content, holding: Holding::Parts, length: count, digest }, &[]);
        self
    }

    fn push(&mut self, content: Content, holding: Holding, bytes: &'a [u8], digest: Hash) {
        let length = u32::try_from(bytes.len()).expect("content is split into parts long before 4 GiB");
        self.add(Section { content, holding, length, digest }, bytes);
    }

    /// Adds a section that is known already; no bytes when they are in part frames.
    pub(crate) fn add(&mut self, section: Section, bytes: &'a [u8]) {
        if section.holding != Holding::Parts {
            self.crc = crc32c::crc32c_append(self.crc, bytes);
            self.body.push(bytes);
        }
        self.sections.push(section);
    }

    pub(crate) fn body_len(&self) -> usize {
        self.body.iter().map(|bytes| bytes.len()).sum()
    }
}

/// What became of a frame.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) leaf: Hash,
    /// Says when the frame is durable, for who asked.
    pub(crate) ticket: Option<Ticket>,
}

/// Whether someone waits for a frame to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Appended,
    Durable,
}

/// Whose frame it is, when room is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// Someone who can wait: leaves the reserve alone.
    Patient,
    /// Someone who cannot.
    Urgent,
}

/// The last 1/N of a segment is kept for those who cannot wait, while no spare is ready.
const RESERVE: usize = 8;
/// How long the end of an exchange waits for a segment when even the reserve is used up. A bound, because the caller's
/// thread serves others too: once it was reached, callers fail at once until there is a segment.
const PATIENCE: Duration = Duration::from_millis(250);

/// Resolves when the frame is durable, or cannot be.
pub(crate) type Ticket = oneshot::Receiver<Result<(), Error>>;

/// Where a stream has got to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extent {
    /// Number of frames.
    pub(crate) frames: u64,
    /// Chain value of the last frame; zeros before the first.
    pub(crate) chain: Hash,
    /// The Merkle tree of the leaves.
    pub(crate) tree: Frontier,
}

/// A segment that is full, and what of it is not durable yet.
pub(crate) struct Retired {
    pub(crate) segment: Arc<Segment>,
    pub(crate) from: usize,
    pub(crate) used: usize,
}

/// What the lock protects.
pub(crate) struct State {
    /// The segment being filled; none after a failure, until a fresh one could be started.
    pub(crate) current: Option<Current>,
    pub(crate) extent: Extent,
    /// What of it is known to be durable.
    pub(crate) durable: Extent,
    /// Id of the newest segment; zeros before the first.
    pub(crate) newest: [u8; 16],
    pub(crate) retired: Vec<Retired>,
    /// A segment was named since the directory was last synced.
    pub(crate) directory_dirty: bool,
    pub(crate) waiters: Vec<oneshot::Sender<Result<(), Error>>>,
    /// Segments allocated ahead, by the keeper alone.
    pub(crate) spares: VecDeque<Spare>,
    /// Pages that the keeper is to fault in.
    pub(crate) ahead: Option<Ahead>,
    /// A segment was closed since the indexing thread last looked.
    pub(crate) unindexed: bool,
    /// A checkpoint was signed since the tiles were last looked at.
    pub(crate) untiled: bool,
    /// Why there is no spare, until there is one again.
    pub(crate) shortage: Option<Error>,
    /// When the first frame was appended that no round of the commit thread has seen.
    pub(crate) dirty_since: Option<Instant>,
    /// Frames to be written again after a failure; none unless a rescue is under way.
    pub(crate) salvage: Option<Vec<Lost>>,
    /// The last failure, until a fresh segment has been started.
    pub(crate) poison: Option<String>,
    pub(crate) tally: Tally,
    pub(crate) closing: bool,
}

pub(crate) struct Current {
    pub(crate) segment: Arc<Segment>,
    pub(crate) tail: Tail,
    /// Bytes of the segment known to be durable.
    pub(crate) synced: usize,
    /// What the next frame's chain value links to.
    pub(crate) link: Hash,
    /// Up to where pages are faulted in, or the keeper was asked to.
    pub(crate) faulted: usize,
}

/// One stream and everything its threads share.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) stream: Stream,
    pub(crate) segment_bytes: u64,
    pub(crate) generation: [u8; 16],
    pub(crate) boot_id: [u8; 16],
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) key: SigningKey,
    pub(crate) state: Mutex<State>,
    /// Wakes the commit thread.
    pub(crate) commit: Condvar,
    /// Wakes the keeper thread.
    pub(crate) keep: Condvar,
    /// Wakes the indexing thread.
    pub(crate) index: Condvar,
    /// Wakes the thread that keeps the tiles.
    pub(crate) tile: Condvar,
    pub(crate) tiles: Mutex<TileKeeper>,
    /// Wakes tasks that wait for room: when there is a spare, when there will be none.
    pub(crate) room: Notify,
    /// The same for threads.
    pub(crate) room_now: Condvar,
    /// Given back when the log is closed, though workers may outlive it.
    pub(crate) writer_lock: Mutex<Option<WriterLock>>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves at worst a frame without its length: not a frame.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Content that may go into one frame; more is split into parts.
    pub(crate) fn part_bytes(&self) -> usize {
        (capacity(self.segment_bytes) / 8).min(1 << 20)
    }

    /// Appends a frame: it survives the death of this process when this is done. Waits for the keeper while the segment
    /// is full and the next one not ready; a frame is appended whole or, when the future is dropped, not at all.
    pub(crate) async fn append(&self, plan: &Plan<'_>, wanted: Wanted) -> Result<Appended, Error> {
        loop {
            let mut room = pin!(self.room.notified());
            // Before looking: room that comes between looking and waiting is not missed.
            room.as_mut().enable();
            if let Some(appended) = self.try_append(&mut self.lock(), plan, wanted, Claim::Patient)? {
                return Ok(appended);
            }
            room.await;
        }
    }

    /// Appends a frame without a future, for who must know the result at once: the ends of exchanges, notes. A part of
    /// each segment is kept for them; beyond that this thread waits, but not long.
    pub(crate) fn append_now(&self, plan: &Plan<'_>, wanted: Wanted) -> Result<Appended, Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            if let Some(appended) = self.try_append(&mut state, plan, wanted, Claim::Urgent)? {
                return Ok(appended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let error = Error::NoRoom { waited: PATIENCE };
                state.shortage = Some(error.clone());
                return Err(error);
            }
            state = self.room_now.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Appends a frame, unless there is no room for it yet.
    fn try_append(
        &self,
        state: &mut State,
        plan: &Plan<'_>,
        wanted: Wanted,
        claim: Claim,
    ) -> Result<Option<Appended>, Error> {
        let length = frame_length(plan.sections.len(), plan.body_len());
        if length > capacity(self.segment_bytes) {
            return Err(Error::TooLarge { bytes: length });
        }
        if state.closing {
            return Err(Error::Closed);
        }
        if !self.make_room(state, length, claim)? {
            return Ok(None);
        }
        let leaf = self.push(state, plan, length);
        let ticket = (wanted == Wanted::Durable).then(|| self.ticket(state));
        Ok(Some(Appended { leaf, ticket }))
    }

    /// Copies a frame into the current segment, which has room for it. Returns its leaf hash.
    fn push(&self, state: &mut State, plan: &Plan<'_>, length: usize) -> Hash {
        let body = plan.body_len();
        let leaf_index = state.extent.tree.size();
        let current = state.current.as_mut().expect("make_room leaves a current segment");
        let entry = Entry {
            kind: plan.kind,
            sequence: state.extent.frames,
            leaf_index,
            durable: state.durable.frames,
            exchange: plan.exchange,
            wall_ns: Time::now().unix_ns(),
            boottime_ns: boottime_ns(),
            key_id: plan.key_id,
            sections: Vec::new(),
        };
        let head = EncodedHead::with_sections(&entry, &plan.sections);
        let leaf = head.leaf();
        let value = chain(&current.link, &leaf);
        let seed = current.segment.seed;
        let head = head.finish(seed, length, &value);
        let (end, end_len) = trailer(seed, head.bytes().len(), body, plan.crc);
        let mut pieces: [&[u8]; 2 + super::frame::MAX_SECTIONS] = [&[]; 2 + super::frame::MAX_SECTIONS];
        pieces[0] = head.bytes();
        pieces[1..=plan.body.len()].copy_from_slice(&plan.body);
        pieces[1 + plan.body.len()] = &end[..end_len];
        current.tail.push(&pieces[..2 + plan.body.len()]);
        current.link = value;
        if let Some(ahead) = Ahead::of(&current.segment, current.tail.offset(), &mut current.faulted) {
            state.ahead = Some(ahead);
            self.keep.notify_one();
        }
        state.extent.frames += 1;
        state.extent.chain = value;
        if plan.kind.is_leaf() {
            state.extent.tree.push(leaf);
        }
        state.tally.bytes += length as u64;
        state.dirty_since.get_or_insert_with(Instant::now);
        leaf
    }

    /// Makes sure that the current segment has room for `length` bytes. False when that needs a segment that the keeper
    /// has not allocated yet: nobody else allocates, because that waits for the disk.
    fn make_room(&self, state: &mut State, length: usize, claim: Claim) -> Result<bool, Error> {
        let kept = match claim {
            Claim::Patient if state.spares.is_empty() => capacity(self.segment_bytes) / RESERVE,
            _ => 0,
        };
        if state.current.as_ref().is_some_and(|current| current.tail.remaining() >= length + kept) {
            return Ok(true);
        }
        if let Some(reason) = &state.poison {
            return Err(Error::Poisoned { reason: reason.clone() });
        }
        if let Some(spare) = state.spares.pop_front() {
            self.keep.notify_one();
            return self.start_segment(state, spare).map(|()| true);
        }
        if let Some(shortage) = &state.shortage {
            return Err(shortage.clone());
        }
        self.keep.notify_one();
        Ok(false)
    }

    /// Tells those who wait for room to look again.
    pub(crate) fn announce_room(&self) {
        self.room.notify_waiters();
        self.room_now.notify_all();
    }

    /// Puts `spare` to use where the stream has got to.
    pub(crate) fn start_segment(&self, state: &mut State, spare: Spare) -> Result<(), Error> {
        let header = self.header(&state.extent, state.newest, spare.bytes())?;
        let (segment, tail) = spare.activate(&*self.disk, &self.dir, header)?;
        state.newest = segment.header.segment_id;
        if let Some(full) = state.current.take() {
            let used = full.tail.offset();
            state.retired.push(Retired { segment: full.segment, from: full.synced, used });
        }
        // Of the one before; given up while that is still mapped, so that nothing is unmapped here.
        state.ahead = None;
        state.directory_dirty = true;
        let link = segment.link;
        state.current = Some(Current { segment: Arc::new(segment), tail, synced: 0, link, faulted: AHEAD });
        Ok(())
    }

    fn header(&self, extent: &Extent, previous_id: [u8; 16], allocated: u64) -> Result<Header, Error> {
        Ok(Header {
            stream: self.stream,
            segment_id: random_id(&self.dir)?,
            previous_id,
            generation: self.generation,
            boot_id: self.boot_id,
            first_sequence: extent.frames,
            created_ns: Time::now().unix_ns(),
            allocated,
            chain: extent.chain,
            tree: extent.tree.clone(),
        })
    }
}

/// 16 random bytes.
pub(crate) fn random_id(dir: &std::path::Path) -> Result<[u8; 16], Error> {
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id)
        .map_err(|_| Error::io("getrandom", dir, std::io::Error::other("no random numbers")))?;
    Ok(id)
}
