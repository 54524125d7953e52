//! A fault at each call of the write path in turn.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::super::disk::{Disk, Kernel};
use super::super::mapping::{Mapping, Tail};
use super::load::{Kept, load, size};
use super::*;

/// The kernel, except that the calls of one kind fail from some call on, for a number of calls.
#[derive(Default)]
pub(super) struct Faulty {
    pub(super) create: Fault,
    pub(super) allocate: Fault,
    pub(super) map: Fault,
    pub(super) flush: Fault,
    pub(super) writable: Fault,
    pub(super) write: Fault,
    pub(super) truncate: Fault,
    pub(super) sync: Fault,
    pub(super) rename: Fault,
    pub(super) replace: Fault,
    pub(super) remove: Fault,
    /// Milliseconds that each allocation takes.
    pub(super) slow: AtomicU64,
}

#[derive(Default)]
pub(super) struct Fault {
    good: AtomicUsize,
    bad: AtomicUsize,
    struck: AtomicUsize,
}

impl Fault {
    pub(super) fn arm(&self, good: usize, bad: usize) {
        self.good.store(good, Ordering::SeqCst);
        self.bad.store(bad, Ordering::SeqCst);
    }

    fn strike(&self) -> io::Result<()> {
        let less = |n: usize| n.checked_sub(1);
        if self.good.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Ok(());
        }
        match self.bad.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => {
                self.struck.fetch_add(1, Ordering::SeqCst);
                Err(io::Error::from_raw_os_error(nix::libc::EIO))
            }
            Err(_) => Ok(()),
        }
    }
}

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.create.strike().and_then(|()| Kernel.create(path))
    }

    fn allocate(&self, file: &File, len: u64) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(self.slow.load(Ordering::SeqCst)));
        self.allocate.strike().and_then(|()| Kernel.allocate(file, len))
    }

    fn map(&self, file: &File, len: usize) -> io::Result<(Arc<Mapping>, Tail)> {
        self.map.strike().and_then(|()| Kernel.map(file, len))
    }

    fn flush(&self, mapping: &Mapping, range: Range<usize>) -> io::Result<()> {
        self.flush.strike().and_then(|()| Kernel.flush(mapping, range))
    }

    fn writable(&self, file: &File) -> io::Result<()> {
        self.writable.strike().and_then(|()| Kernel.writable(file))
    }

    /// A failing write has written the first half.
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        let struck = self.write.strike();
        let written = if struck.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        Kernel.write(file, written).and(struck)
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        self.truncate.strike().and_then(|()| Kernel.truncate(file, len))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.sync.strike().and_then(|()| Kernel.sync(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename.strike().and_then(|()| Kernel.rename(from, to))
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.replace.strike().and_then(|()| Kernel.replace(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.remove.strike().and_then(|()| Kernel.remove(path))
    }
}

type Which = fn(&Faulty) -> &Fault;

const CALLS: [(&str, Which); 11] = [
    ("open", |disk| &disk.create),
    ("fallocate", |disk| &disk.allocate),
    ("mmap", |disk| &disk.map),
    ("msync", |disk| &disk.flush),
    ("a look at the file system", |disk| &disk.writable),
    ("write", |disk| &disk.write),
    ("ftruncate", |disk| &disk.truncate),
    ("fsync", |disk| &disk.sync),
    ("renameat2", |disk| &disk.rename),
    ("rename", |disk| &disk.replace),
    ("unlink", |disk| &disk.remove),
];

/// Whatever was acknowledged is there afterwards and as it was, everything else absent or whole. The log that the fault
/// meets is opened on one that was killed, so that recovery's own calls fail as well.
#[test]
fn a_crash_suite_fault_at_any_call_loses_nothing_that_was_acknowledged() {
    let deepest = size("crash", 4, 40);
    let (mut runs, mut struck, mut refused, mut acknowledged) = (0, 0, 0, 0);
    let killed = super::power::killed();
    for (name, which) in CALLS {
        for (good, bad) in (0..deepest).flat_map(|good| [1, 2, usize::MAX].map(|bad| (good, bad))) {
            let case = format!("{name} fails {bad} times after {good}");
            let place = killed.restored();
            let mut kept = killed.kept.clone();
            let disk = Arc::new(Faulty::default());
            which(&disk).arm(good, bad);
            match Log::open_on(place.settings(), Arc::clone(&disk) as Arc<dyn Disk>) {
                Ok(log) => {
                    load(&log, &mut kept, 8, 9_000);
                    which(&disk).arm(0, 0);
                    let _ = log.close();
                }
                Err(_) => refused += 1,
            }
            runs += 1;
            struck += which(&disk).struck.load(Ordering::SeqCst);
            acknowledged += kept.begun.len();
            // As after a restart: whatever state the failure left is recovered first.
            Kept::default().write_one(&place);
            kept.check(&place, &case);
        }
        assert!(struck > 0, "{name} was never called");
    }
    report(&format!(
        "faults: {runs} runs, {struck} calls failed, {refused} logs did not open, {acknowledged} acknowledged records, none lost or altered"
    ));
}
