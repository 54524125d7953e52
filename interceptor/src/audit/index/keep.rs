//! The indexing thread of a log that is being written: makes the index of each segment that is full, so that readers
//! who may not write beside the log have it too. Best effort: what it does not do a reader does.

use std::path::Path;
use std::sync::PoisonError;

use super::super::Error;
use super::super::reader::ReadError;
use super::super::scan::segments;
use super::super::writer::Shared;
use super::store::{kept, make, remove_orphans, stamp};
use crate::sys::yield_to_others;

impl Shared {
    /// The indexing thread: returns when the log is closed.
    pub(in crate::audit) fn index_loop(&self) {
        yield_to_others();
        if let Err(error) = remove_orphans(&self.dir, self.stream) {
            log::warn!("audit log: indexes without segments stay in {}: {error}", self.dir.display());
        }
        loop {
            let mut state = self.lock();
            while !state.closing && !state.unindexed {
                state = self.index.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closing {
                return;
            }
            state.unindexed = false;
            let current = state.current.as_ref().map(|current| current.segment.path.clone());
            drop(state);
            self.index_closed(current.as_deref());
        }
    }

    /// Indexes every closed segment that has no index that fits, the newest first.
    fn index_closed(&self, current: Option<&Path>) {
        let Ok(segments) = segments(&self.dir, self.stream) else { return };
        let closed = segments.iter().rev().filter(|path| current.is_none_or(|current| **path < *current));
        for path in closed {
            let Ok(stamp) = stamp(path) else { continue };
            if kept(path, stamp).is_ok() {
                continue;
            }
            let go_on = || !self.lock().closing;
            match make(&self.dir, self.stream, path, false, stamp, &go_on) {
                Ok(_) => {}
                Err(ReadError::Log(Error::Closed)) => return,
                Err(error) => {
                    log::warn!("audit log: no index of {}: {error}; readers walk through it", path.display());
                }
            }
        }
    }
}
