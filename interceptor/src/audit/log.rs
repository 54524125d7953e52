//! The log as the daemon holds it: opening, workers, closing.

use std::collections::VecDeque;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fs, mem};

use tokio::sync::Notify;

use super::auditor::AuditorPublic;
use super::checkpoint::{SIGNING_PUB, SigningKey, VerifyingKey, read_note};
use super::clock::boot_id;
use super::condition::{Probe, Tally};
use super::disk::{Disk, Kernel};
use super::exchange::Worker;
use super::frame::Kind;
use super::handover::{Handover, Route, Sink};
use super::header::{HEADER, Stream};
use super::keeper::{Slots, replace};
use super::lock::WriterLock;
use super::recover::{WithoutCheckpoint, recover};
use super::seal::{Auditors, EPOCH, Sealer};
use super::segment::Spare;
use super::tiles::set_aside;
use super::writer::{Plan, Shared, State, Wanted, random_id};
use super::{Content, Error};
use crate::flow::ExchangeId;

/// Bytes of a segment unless set otherwise.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Bytes of the smallest segment.
const MIN_SEGMENT: u64 = 64 << 10;
/// Bytes of the largest: positions in a frame are 32 bits wide.
const MAX_SEGMENT: u64 = 1 << 31;
/// How long a daemon that was replaced waits for its last records to be in its successor's log.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What a record must survive before its request may leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The death of the daemon: the record is in the page cache.
    Process,
    /// The loss of power: msync has returned.
    #[default]
    Power,
}

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the segments are; made when absent.
    pub dir: PathBuf,
    /// Where the signing key and the wrapped data keys are; made when absent.
    pub keys: PathBuf,
    /// The host's name, in records and in the name of the log.
    pub host: String,
    /// What a record must survive before its request may leave.
    pub durability: Durability,
    /// To whom originals and responses are sealed; at least one.
    pub auditors: Vec<AuditorPublic>,
    /// How many of them it takes to open something; 1 unless set otherwise.
    pub threshold: u8,
    /// Bytes of a segment; rounded to pages, at least 64 KiB, at most 2 GiB. [`SEGMENT_BYTES`] by default.
    pub segment_bytes: u64,
    /// Goes on with a log whose signed checkpoint is missing or not signed by this log's key, and notes that in it.
    /// Without, such a log is refused: records may have been removed from its end.
    pub accept_missing_checkpoint: bool,
}

/// The audit log, open for writing. One process at a time; readers need not ask.
pub struct Log {
    pub(super) context: Arc<Context>,
    /// Of the log, while this process writes it; of the data keys alone, when its successor does.
    threads: Vec<JoinHandle<()>>,
    /// Appends for the daemon that this one replaced.
    pub(super) heirs: Vec<JoinHandle<()>>,
    pub(super) settings: Settings,
    key: VerifyingKey,
    pub(super) disk: Arc<dyn Disk>,
    /// Kept while the log changes hands.
    pub(super) handed: Option<Handover>,
}

/// What the workers share.
pub(crate) struct Context {
    pub(crate) sink: Sink,
    pub(crate) sealer: Sealer,
    pub(crate) slots: Slots,
    pub(crate) host: String,
    pub(crate) durability: Durability,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dir", &self.settings.dir).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log for writing: locks it, finds its end, cuts off a torn tail, starts a fresh segment.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process writes it, [`Error::Damaged`] or [`Error::Inconsistent`] when something
    /// that was durable is not there any more, [`Error::NoAuditor`], and what the file system says.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        Self::open_on(settings, Arc::new(Kernel))
    }

    /// Opens a log whose writer has handed it over. See [`Log::hand_over`].
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_after(settings: Settings, predecessor: Handover) -> Result<Self, Error> {
        Self::open_with(settings, Arc::new(Kernel), Some(predecessor))
    }

    pub(crate) fn open_on(settings: Settings, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        Self::open_with(settings, disk, None)
    }

    fn open_with(settings: Settings, disk: Arc<dyn Disk>, predecessor: Option<Handover>) -> Result<Self, Error> {
        let auditors = Auditors { keys: settings.auditors.clone(), threshold: settings.threshold };
        let sealer = Sealer::new(auditors, &settings.keys, EPOCH)?;
        let key = SigningKey::load_or_create(&settings.keys, &settings.host)?;
        let without = match settings.accept_missing_checkpoint {
            true => WithoutCheckpoint::Accept,
            false => WithoutCheckpoint::Refuse,
        };
        if without == WithoutCheckpoint::Accept {
            // The access log has no daemon that could be told.
            let key = SigningKey::load(&settings.keys)?;
            Shared::open(&settings.dir, Stream::Access, MIN_SEGMENT, key, Arc::clone(&disk), without, None)?
                .finish()?;
        }
        let bytes = settings.segment_bytes;
        let verifying = key.verifying().clone();
        let shared = Shared::open(&settings.dir, Stream::Log, bytes, key, Arc::clone(&disk), without, predecessor)?;
        publish_key(&shared, &settings.keys)?;
        let context = Arc::new(Context {
            sink: Sink::new(Arc::clone(&shared)),
            sealer,
            slots: Slots::default(),
            host: settings.host.clone(),
            durability: settings.durability,
        });
        let (threads, heirs) = (Vec::new(), Vec::new());
        let mut log = Self { context, threads, heirs, settings, key: verifying, disk, handed: None };
        log.start(&shared)?;
        Ok(log)
    }

    /// Starts the threads of a log that this process writes.
    pub(super) fn start(&mut self, shared: &Arc<Shared>) -> Result<(), Error> {
        let (committing, keeping, context) = (Arc::clone(shared), Arc::clone(shared), Arc::clone(&self.context));
        let (indexing, tiling) = (Arc::clone(shared), Arc::clone(shared));
        self.spawn("audit-commit", move || committing.commit_loop())?;
        self.spawn("audit-index", move || indexing.index_loop())?;
        self.spawn("audit-tiles", move || tiling.tile_loop())?;
        self.spawn("audit-keeper", move || keeping.keeper_loop(Some((&context.slots, &context.sealer))))
    }

    pub(super) fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|e| Error::io("clone", &self.settings.dir, e))?;
        self.threads.push(thread);
        Ok(())
    }

    /// A handle for one thread, with a data key of its own. Makes and stores that key, which takes milliseconds.
    ///
    /// # Errors
    /// When the wrapped key cannot be stored.
    pub fn worker(&self) -> Result<Worker, Error> {
        Worker::new(Arc::clone(&self.context))
    }

    /// Appends something the log should say about itself or the host: a start, a changed configuration. Readable to the
    /// audit role; survives the death of this process when this returns, loss of power at the latest a second later.
    ///
    /// # Errors
    /// When it could not be recorded.
    ///
    /// # Panics
    /// When `note` cannot be written as JSON.
    pub fn note(&self, note: &impl serde::Serialize) -> Result<(), Error> {
        self.notes().add(note)
    }

    /// A handle for adding notes from another thread.
    #[must_use]
    pub fn notes(&self) -> Notes {
        Notes { context: Arc::clone(&self.context) }
    }

    /// What its checkpoints are signed with.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// A handle for asking how the log is doing.
    #[must_use]
    pub fn probe(&self) -> Probe {
        Probe::new(Arc::clone(&self.context))
    }

    #[cfg(test)]
    pub(crate) fn close_if_old(&self, age: Duration) {
        let Route::Local(shared) = self.context.sink.route() else { panic!("this process writes the log") };
        // The keeper may not have allocated the next one yet.
        while shared.lock().spares.is_empty() {
            std::thread::yield_now();
        }
        shared.close_if_old(age);
    }

    /// Why no record can be made durable now; none when all is well. It may get well by itself: the log starts a fresh
    /// segment when the disk has room again.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let Route::Local(shared) = self.context.sink.route() else { return None };
        let state = shared.lock();
        state.poison.clone().or_else(|| state.shortage.as_ref().map(ToString::to_string))
    }

    /// Makes everything durable, signs a last checkpoint and closes the log. Exchanges that are still open can no
    /// longer be completed: the reader shows them as aborted. Dropping the log does the same and ignores errors.
    ///
    /// # Errors
    /// When the last frames could not be made durable.
    pub fn close(mut self) -> Result<(), Error> {
        self.shut_down()
    }

    fn shut_down(&mut self) -> Result<(), Error> {
        match self.context.sink.route() {
            // Closed already, or never started.
            Route::Local(_) if self.threads.is_empty() => Ok(()),
            Route::Local(shared) => {
                self.stop(&shared);
                shared.finish()
            }
            // The lock goes with this value. What waits for the log to be somewhere will see it nowhere.
            Route::Moving(_) => Ok(()),
            Route::Remote(remote) => {
                let finished = remote.finish(LAST_WORDS);
                self.context.slots.stop();
                self.join();
                finished
            }
        }
    }

    pub(super) fn stop(&mut self, shared: &Shared) {
        shared.stop();
        self.join();
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Adds notes to a log. See [`Log::note`].
#[derive(Clone)]
pub struct Notes {
    context: Arc<Context>,
}

impl std::fmt::Debug for Notes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notes").finish_non_exhaustive()
    }
}

impl Notes {
    /// As [`Log::note`].
    ///
    /// # Errors
    /// When it could not be recorded, also because another process writes the log now.
    ///
    /// # Panics
    /// When `note` cannot be written as JSON.
    pub fn add(&self, note: &impl serde::Serialize) -> Result<(), Error> {
        match self.context.sink.route() {
            Route::Local(shared) => shared.note(note),
            Route::Moving(_) | Route::Remote(_) => Err(Error::Closed),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            log::error!("audit log: {error}");
        }
    }
}

/// Leaves the public key where the audit role can read it.
fn publish_key(shared: &Shared, keys: &Path) -> Result<(), Error> {
    let text = shared.key.verifying().file();
    for path in [keys.join(SIGNING_PUB), shared.dir.join(SIGNING_PUB)] {
        if read_note(&path).ok().as_deref() != Some(text.as_str()) {
            replace(&path, text.as_bytes())?;
        }
    }
    Ok(())
}

/// Makes a directory with this mode; an existing one keeps its own.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        make_dir(parent, 0o750)?;
    }
    fs::DirBuilder::new().mode(mode).create(path).map_err(|e| Error::io("mkdir", path, e))?;
    // The umask must not decide who reads the log.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| Error::io("chmod", path, e))
}

impl Shared {
    /// Opens a stream for writing, its threads not yet running.
    pub(crate) fn open(
        dir: &Path,
        stream: Stream,
        segment_bytes: u64,
        key: SigningKey,
        disk: Arc<dyn Disk>,
        without: WithoutCheckpoint,
        predecessor: Option<Handover>,
    ) -> Result<Arc<Self>, Error> {
        make_dir(dir, 0o750)?;
        let (lock, generation) = match predecessor {
            Some(Handover { lock, generation }) => (WriterLock::inherit(dir, stream, lock)?, generation),
            None => (WriterLock::take(dir, stream)?, random_id(dir)?),
        };
        Spare::remove_leftovers(&*disk, dir, stream)?;
        let recovered = recover(&*disk, dir, stream, key.verifying(), without)?;
        let state = State {
            current: None,
            durable: recovered.extent.clone(),
            extent: recovered.extent,
            newest: recovered.newest,
            retired: Vec::new(),
            directory_dirty: false,
            waiters: Vec::new(),
            spares: VecDeque::new(),
            ahead: None,
            unindexed: true,
            untiled: true,
            shortage: None,
            dirty_since: None,
            salvage: None,
            poison: None,
            tally: Tally::default(),
            closing: false,
        };
        let shared = Arc::new(Self {
            dir: dir.to_path_buf(),
            stream,
            segment_bytes: segment_bytes.clamp(MIN_SEGMENT, MAX_SEGMENT).next_multiple_of(HEADER as u64),
            generation,
            boot_id: boot_id(),
            disk,
            key,
            state: Mutex::new(state),
            commit: Condvar::new(),
            keep: Condvar::new(),
            index: Condvar::new(),
            tile: Condvar::new(),
            tiles: Mutex::default(),
            room: Notify::new(),
            room_now: Condvar::new(),
            writer_lock: Mutex::new(Some(lock)),
        });
        let spare = Spare::allocate(&*shared.disk, dir, stream, shared.segment_bytes)?;
        shared.start_segment(&mut shared.lock(), spare)?;
        if let Some(unsigned) = recovered.unsigned {
            if stream == Stream::Log
                && let Err(error) = set_aside(dir)
            {
                log::warn!("audit log: tiles of what it was stay in {}: {error}", dir.display());
            }
            shared.note(&unsigned)?;
            log::warn!("audit log: no checkpoint vouches for it: {unsigned:?}");
        }
        if let Some(late) = recovered.late {
            shared.note(&late)?;
            log::info!("audit log: {late:?}");
        }
        if let Some(torn) = recovered.torn {
            if recovered.unused {
                // Else a second crash, before the checkpoint below, would leave a note that no checkpoint vouches for.
                shared.sync_now()?;
            }
            shared.note(&torn)?;
            log::warn!("audit log: cut off a torn tail: {torn:?}");
        }
        shared.sync_now()?;
        Ok(shared)
    }

    fn note(&self, note: &impl serde::Serialize) -> Result<(), Error> {
        let json = serde_json::to_vec(note).expect("a note is plain data");
        let nobody = ExchangeId::from_bytes([0; 16]);
        self.append_now(&Plan::new(Kind::Note, nobody).plain(Content::Json, &json), Wanted::Appended).map(drop)
    }

    /// Makes everything durable in the calling thread and signs it. For when no commit thread runs.
    pub(crate) fn sync_now(&self) -> Result<(), Error> {
        let (extent, poison) = {
            let state = self.lock();
            let state = if state.dirty_since.is_some() || state.directory_dirty { self.round(state) } else { state };
            (state.durable.clone(), state.poison.clone())
        };
        match poison {
            Some(reason) => Err(Error::Poisoned { reason }),
            None => self.publish(&extent),
        }
    }

    pub(crate) fn stop(&self) {
        self.lock().closing = true;
        self.commit.notify_all();
        self.keep.notify_all();
        self.index.notify_all();
        self.tile.notify_all();
        self.announce_room();
    }

    /// After the threads have ended: signs a last checkpoint, gives back unused disk space and the lock.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let result = self.finish_locked();
        if result.is_ok() && self.stream == Stream::Log {
            self.keep_last_tiles();
        }
        drop(self.take_lock());
        result
    }

    /// The writer's lock, once.
    pub(crate) fn take_lock(&self) -> Option<WriterLock> {
        self.writer_lock.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn finish_locked(&self) -> Result<(), Error> {
        let (extent, current, spares, poison) = {
            let mut state: MutexGuard<'_, State> = self.lock();
            (state.durable.clone(), state.current.take(), mem::take(&mut state.spares), state.poison.clone())
        };
        spares.into_iter().for_each(|spare| spare.discard(&*self.disk));
        if let Some(reason) = poison {
            return Err(Error::Poisoned { reason });
        }
        if let Some(current) = current {
            self.cut_or_remove(&current.segment, current.tail.offset())?;
        }
        self.publish(&extent)
    }

    fn cut_or_remove(&self, segment: &super::segment::Segment, used: usize) -> Result<(), Error> {
        if used > HEADER {
            return segment.cut(&*self.disk, used);
        }
        self.disk.remove(&segment.path).map_err(|e| Error::io("unlink", &segment.path, e))?;
        self.sync_directory()
    }
}
