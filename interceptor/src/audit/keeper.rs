//! The keeper thread: what must happen about once a second and may take milliseconds. Allocates the next segments,
//! replaces data keys at the end of their epoch, publishes signed checkpoints; and faults pages in before the writer comes to them.

use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::checkpoint::Checkpoint;
use super::commit::OnDrop;
use super::disk::{Disk, Kernel};
use super::seal::{Epoch, Sealer, Slot};
use super::segment::{Ahead, Spare};
use super::writer::{Extent, Shared, State};
use super::{Error, Time};

/// Segments allocated ahead: one to go on in at once, one while the next is being allocated.
const SPARES: usize = 2;
/// A segment is written to for no longer than this: what is to be removed from it waits for its end.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// At most one checkpoint in this time, and a look at each data key's age.
const INTERVAL: Duration = Duration::from_secs(1);

/// The workers' data keys.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Mutex<Vec<Weak<Mutex<Epoch>>>>,
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Slots {
    pub(crate) fn add(&self, slot: &Slot) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).push(std::sync::Arc::downgrade(slot));
    }

    /// The keeper's work of a process that writes no log any more: its exchanges still seal.
    pub(crate) fn keep(&self, sealer: &Sealer) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            self.refresh(sealer);
            stopped = self.stop.wait_timeout(stopped, INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends [`Slots::keep`].
    pub(crate) fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.notify_all();
    }

    fn refresh(&self, sealer: &Sealer) {
        let slots = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.retain(|slot| slot.strong_count() > 0);
            slots.clone()
        };
        for slot in slots.iter().filter_map(Weak::upgrade) {
            if let Err(error) = sealer.refresh(&slot) {
                log::error!("audit log: no new data key: {error}; sealing stops when the present one is too old");
            }
        }
    }
}

impl Shared {
    /// The keeper thread: returns when the log is closed.
    pub(crate) fn keeper_loop(&self, keys: Option<(&Slots, &Sealer)>) {
        // Also after a panic, nobody may wait for it.
        let _end = OnDrop(|| {
            let mut state = self.lock();
            state.shortage = Some(Error::Closed);
            state.ahead = None;
            drop(state);
            self.announce_room();
        });
        let mut published = None;
        loop {
            let allocated = self.keep_spares();
            if let Some((slots, sealer)) = keys {
                slots.refresh(sealer);
            }
            self.close_if_old(MAX_AGE);
            self.publish_if_new(&mut published);
            let state = self.lock();
            if state.closing {
                return;
            }
            // After a failure the disk gets a second before it is asked again.
            if state.spares.len() < SPARES && allocated {
                continue;
            }
            self.rest(state);
        }
    }

    /// Waits until a spare is taken, or a second has passed; meanwhile faults in what the writer comes to.
    fn rest<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        let (until, spares) = (Instant::now() + INTERVAL, state.spares.len());
        while !state.closing && state.spares.len() >= spares {
            if let Some(ahead) = state.ahead.take() {
                drop(state);
                ahead.fault_in();
                state = self.lock();
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.keep.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Allocates until there are enough spares. False when the disk has refused.
    fn keep_spares(&self) -> bool {
        let wants_more = |state: &State| state.spares.len() < SPARES && !state.closing;
        // Not for as long as they are used up: checkpoints and data keys must not wait for a quiet moment.
        for _ in 0..SPARES {
            let mut state = self.lock();
            let (ahead, more) = (state.ahead.take(), wants_more(&state));
            drop(state);
            ahead.into_iter().for_each(Ahead::fault_in);
            if !more {
                break;
            }
            let allocated = Spare::allocate(&*self.disk, &self.dir, self.stream, self.segment_bytes);
            let mut state = self.lock();
            let shortage = match allocated {
                Ok(spare) => {
                    state.spares.push_back(spare);
                    None
                }
                Err(error) => {
                    log::error!("audit log: {error}; requests will be denied when the present segment is full");
                    Some(error)
                }
            };
            let failed = shortage.is_some();
            state.shortage = shortage;
            drop(state);
            self.announce_room();
            if failed {
                return false;
            }
        }
        true
    }

    /// Goes on in a fresh segment when the present one has been written to for `age`.
    pub(crate) fn close_if_old(&self, age: Duration) {
        let now = Time::now().unix_ns();
        let mut state = self.lock();
        let frames = state.extent.frames;
        let old = state.current.as_ref().is_some_and(|current| {
            let header = &current.segment.header;
            header.first_sequence < frames && u128::from(now.saturating_sub(header.created_ns)) >= age.as_nanos()
        });
        if !old || state.poison.is_some() || state.closing {
            return;
        }
        let Some(spare) = state.spares.pop_front() else { return };
        if let Err(error) = self.start_segment(&mut state, spare) {
            log::error!("audit log: no fresh segment after a day: {error}");
            return;
        }
        // The commit thread cuts the old one.
        state.dirty_since.get_or_insert_with(Instant::now);
        self.commit.notify_one();
    }

    fn publish_if_new(&self, published: &mut Option<(u64, Instant)>) {
        let durable = self.lock().durable.clone();
        if published.is_some_and(|(frames, at)| frames == durable.frames || at.elapsed() < INTERVAL) {
            return;
        }
        match self.publish(&durable) {
            Ok(()) => *published = Some((durable.frames, Instant::now())),
            Err(error) => log::error!("audit log: no checkpoint: {error}"),
        }
    }

    /// Signs what is durable and puts it in the checkpoint's place.
    pub(crate) fn publish(&self, durable: &Extent) -> Result<(), Error> {
        let checkpoint = Checkpoint {
            origin: self.key.verifying().name(self.stream),
            size: durable.tree.size(),
            root: durable.tree.root(),
            frames: durable.frames,
            chain: durable.chain,
        };
        let path = self.dir.join(self.stream.checkpoint());
        replace_on(&*self.disk, &path, self.key.sign(&checkpoint).as_bytes())?;
        self.sync_directory()?;
        let mut state = self.lock();
        state.tally.signed = durable.frames;
        state.untiled = true;
        self.tile.notify_one();
        Ok(())
    }
}

/// Replaces a file's content so that there is always either the old or the new one. The directory is the caller's to
/// sync.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace_on(&Kernel, path, bytes)
}

/// The same; durable when this returns.
pub(crate) fn replace_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace(path, bytes)?;
    super::auditor::sync_parent(path)
}

fn replace_on(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_added_extension("tmp");
    match disk.remove(&temporary) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("unlink", &temporary, e)),
        _ => {}
    }
    let file = disk.create(&temporary).map_err(|e| Error::io("create", &temporary, e))?;
    super::auditor::readable(&file, &temporary)?;
    disk.write(&file, bytes).map_err(|e| Error::io("write", &temporary, e))?;
    disk.sync(&file).map_err(|e| Error::io("fsync", &temporary, e))?;
    disk.replace(&temporary, path).map_err(|e| Error::io("rename", path, e))
}
