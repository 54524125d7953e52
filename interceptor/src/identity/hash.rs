//! SHA-256 of executables, remembered by file.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::digest::{Context, SHA256};

/// Larger files are not hashed: it would take seconds.
const MAX_SIZE: u64 = 2 << 30;

/// Files remembered. Beyond that the memory starts over.
const MAX_FILES: usize = 4096;

/// A file that changed less than this ago may change again within the same time stamp: not remembered.
const SETTLED: Duration = Duration::from_secs(2);

/// How long others wait for whoever reads a file. Reading may take for ever.
const PATIENCE: Duration = Duration::from_millis(250);

const BUFFER: usize = 256 << 10;

/// A state of a file. Whatever writes to one changes its ctime, which no program can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// Digests by version. A file that several callers run at once is read once; the others wait, but not for long.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    known: Mutex<HashMap<Version, Arc<Slot>>>,
}

#[derive(Debug)]
struct Slot {
    state: Mutex<Reading>,
    read: Condvar,
}

#[derive(Debug)]
enum Reading {
    NotBegun,
    Since(Instant),
    Done(Option<String>),
}

impl Default for Slot {
    fn default() -> Self {
        Self { state: Mutex::new(Reading::NotBegun), read: Condvar::new() }
    }
}

impl Slot {
    /// What the first to ask finds; none for others when that takes too long.
    fn get_or_read(&self, read: impl FnOnce() -> Option<String>) -> Option<String> {
        let mut state = self.lock();
        loop {
            let left = match &*state {
                Reading::Done(digest) => return digest.clone(),
                Reading::NotBegun => break,
                Reading::Since(begun) => PATIENCE.checked_sub(begun.elapsed())?,
            };
            state = self.read.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *state = Reading::Since(Instant::now());
        drop(state);
        let digest = read();
        *self.lock() = Reading::Done(digest.clone());
        self.read.notify_all();
        digest
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hashes {
    /// In hexadecimal; none for what is not a regular file, is too large, changes meanwhile or cannot be read.
    pub(super) fn of(&self, file: &File) -> Option<String> {
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > MAX_SIZE {
            return None;
        }
        let version = Version::of(&metadata);
        if !is_settled(&metadata) {
            return digest(file, version).ok()?;
        }
        let slot = self.slot(version);
        slot.get_or_read(|| digest(file, version).ok().flatten())
    }

    fn slot(&self, version: Version) -> Arc<Slot> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_FILES && !known.contains_key(&version) {
            known.clear();
        }
        Arc::clone(known.entry(version).or_default())
    }
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// When the file's content or attributes last changed.
pub(super) fn changed_at(metadata: &Metadata) -> Option<SystemTime> {
    let seconds = Duration::from_secs(u64::try_from(metadata.ctime()).ok()?);
    let nanos = Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(seconds + nanos)
}

fn is_settled(metadata: &Metadata) -> bool {
    let age = changed_at(metadata).and_then(|then| SystemTime::now().duration_since(then).ok());
    age.is_some_and(|age| age > SETTLED)
}

/// None when the file is not what it was at the end.
fn digest(mut file: &File, version: Version) -> io::Result<Option<String>> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => context.update(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let same = Version::of(&file.metadata()?) == version;
    Ok(same.then(|| hex::encode(context.finish())))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_file_that_has_just_changed_is_read_again_each_time() {
        let hashes = Hashes::default();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abd").unwrap();
        file.rewind().unwrap();
        assert_ne!(hashes.of(&file).as_deref(), Some(ABC));
        file.seek(SeekFrom::Start(2)).unwrap();
        file.write_all(b"c").unwrap();
        file.rewind().unwrap();
        assert_eq!(hashes.of(&file).as_deref(), Some(ABC));
        assert!(hashes.known.lock().unwrap().is_empty());
    }

    #[test]
    fn a_settled_file_is_read_once() {
        let hashes = Hashes::default();
        let path = std::env::current_exe().unwrap();
        // As the test harness has built it; its age is that of the build.
        let settled = || is_settled(&std::fs::metadata(&path).unwrap());
        while !settled() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut file = File::open(&path).unwrap();
        let first = hashes.of(&file).expect("a digest");
        assert!(file.stream_position().unwrap() > 0);
        file.rewind().unwrap();
        assert_eq!(hashes.of(&file), Some(first));
        assert_eq!(file.stream_position().unwrap(), 0, "not read again");
    }

    #[test]
    fn what_is_no_regular_file_has_no_digest() {
        assert_eq!(Hashes::default().of(&File::open("/dev/null").unwrap()), None);
        assert_eq!(Hashes::default().of(&File::open("/").unwrap()), None);
    }

    #[test]
    fn nobody_waits_for_ever_for_another_who_reads() {
        let slot = Arc::new(Slot::default());
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (say, begun) = std::sync::mpsc::channel();
        let reads = Arc::clone(&slot);
        let reader = std::thread::spawn(move || {
            reads.get_or_read(|| {
                say.send(()).unwrap();
                let _ = held.recv();
                Some(ABC.to_owned())
            })
        });
        begun.recv().unwrap();
        assert_eq!(slot.get_or_read(|| panic!("read twice")), None);
        drop(hold);
        assert_eq!(reader.join().unwrap().as_deref(), Some(ABC));
        assert_eq!(slot.get_or_read(|| panic!("read twice")).as_deref(), Some(ABC), "what comes late is remembered");
    }

    #[test]
    fn the_memory_stays_bounded() {
        let hashes = Hashes::default();
        for inode in 0..2 * MAX_FILES as u64 + 1 {
            hashes.slot(Version { device: 1, inode, size: 1, changed: (0, 0) });
        }
        assert_eq!(hashes.known.lock().unwrap().len(), 1);
    }
}
