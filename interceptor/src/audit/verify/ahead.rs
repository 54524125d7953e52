//! The part of verification that needs no order, done ahead by threads: checksums, digests and leaf hashes of segments
//! that are full. What is not as it should be is left to whoever goes through the log in order and can say what it means.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use super::super::frame::{Head, Holding};
use super::super::header::HEADER;
use super::super::scan::{Depth, SegmentFile, Step};
use super::super::tree::sha256;

/// Threads beyond which the disk or the one that goes in order is what takes the time.
const MOST: usize = 8;

/// Frames at the beginning of a segment of which everything is right that can be told from each alone; the first starts
/// behind the header, and each where the one before it ends.
pub(super) type Looked = Vec<Head>;

/// Segments that are looked through ahead, in the order of the log.
pub(super) struct Ahead {
    coming: std::vec::IntoIter<Receiver<Looked>>,
}

impl Ahead {
    /// Starts to look through `paths`, except the last: that may be written meanwhile. No more segments are ahead than
    /// there are threads.
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, paths: &[PathBuf]) -> Self {
        let full = &paths[..paths.len().saturating_sub(1)];
        // Of no size: a thread goes on when its segment has been asked for.
        let (todo, coming): (Vec<_>, Vec<_>) = full
            .iter()
            .map(|path| {
                let (sender, receiver) = sync_channel(0);
                ((path.clone(), sender), receiver)
            })
            .unzip();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST).min(todo.len());
        let todo = Arc::new(Mutex::new(todo.into_iter()));
        for _ in 0..threads {
            let todo = Arc::clone(&todo);
            // Without it everything is done in order.
            let _ = std::thread::Builder::new().name("log-verify".into()).spawn_scoped(scope, move || {
                while let Some((path, sender)) = next(&todo) {
                    if sender.send(look(&path)).is_err() {
                        return;
                    }
                }
            });
        }
        Self { coming: coming.into_iter() }
    }

    /// What was found in the next segment; nothing of one that is not looked at ahead.
    pub(super) fn next(&mut self) -> Looked {
        self.coming.next().and_then(|looked| looked.recv().ok()).unwrap_or_default()
    }
}

type Todo = Mutex<std::vec::IntoIter<(PathBuf, SyncSender<Looked>)>>;

fn next(todo: &Todo) -> Option<(PathBuf, SyncSender<Looked>)> {
    todo.lock().unwrap_or_else(PoisonError::into_inner).next()
}

fn look(path: &Path) -> Looked {
    let mut looked = Vec::new();
    let Ok(mut file) = SegmentFile::open(path) else { return looked };
    let mut at = HEADER as u64;
    while let Ok(Step::Frame(head)) = file.step(at, Depth::Bodies) {
        let Ok(frame) = file.bytes(at, head.length) else { break };
        let right = head.entry.sections.iter().enumerate().all(|(row, section)| {
            section.holding == Holding::Parts
                // Whether it may be gone is asked in order.
                || head.removed.contains(row)
                || frame.get(head.section_range(row)).is_some_and(|stored| sha256(stored) == section.digest)
        });
        if !right {
            break;
        }
        at += head.length as u64;
        looked.push(head);
    }
    looked
}
