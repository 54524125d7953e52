//! Loss of power, simulated: a disk that knows what was synced, and after a crash has that and an arbitrary subset of the
//! pages written since. Names are a journal's: those given since the directory was last synced are there up to some point.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex};

use super::super::disk::{Disk, Kernel};
use super::super::mapping::{Mapping, Tail};
use super::crash::Random;
use super::load::{Kept, load, size};
use super::*;

const PAGE: usize = 4096;
/// Crash points that are kept of each load.
const POINTS: usize = 48;

/// A file, whatever its name is.
type Inode = u64;

/// A change to a directory.
#[derive(Clone, Debug)]
enum Change {
    Link(String, Inode),
    Unlink(String),
}

/// What the disk would have after a crash.
#[derive(Clone, Default)]
struct Durable {
    names: BTreeMap<String, Inode>,
    /// Changes to names since the directory was last synced, in their order.
    changes: Vec<Change>,
    bytes: HashMap<Inode, Vec<u8>>,
}

/// Everything at one moment.
#[derive(Clone, Default)]
struct Moment {
    durable: Durable,
    /// As processes see it, files without a name included.
    written: HashMap<Inode, Vec<u8>>,
    kept: Kept,
}

/// What a process that was killed leaves: the directory as it was, not all of which is durable.
struct After {
    durable: Durable,
    removed: HashMap<Inode, Vec<u8>>,
}

struct Model {
    durable: Durable,
    /// Last contents of files that were removed: the name may come back.
    removed: HashMap<Inode, Vec<u8>>,
    mapped: HashMap<usize, (File, Inode)>,
    moments: Vec<Moment>,
    seen: u64,
    random: Random,
}

/// The kernel, except that nothing is synced but in the model.
struct Recorder {
    dir: std::path::PathBuf,
    model: Mutex<Model>,
    kept: Arc<Mutex<Kept>>,
}

fn inode(file: &File) -> Inode {
    file.metadata().unwrap().ino()
}

fn contents(file: &File) -> Vec<u8> {
    // Also of a file that is only open for writing.
    fs::read(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

impl Recorder {
    /// Watches `dir`, all of which is durable now.
    fn new(dir: &Path, kept: Arc<Mutex<Kept>>, seed: u64) -> Arc<Self> {
        let mut durable = Durable::default();
        for (name, inode, bytes) in files(dir) {
            durable.names.insert(name, inode);
            durable.bytes.insert(inode, bytes);
        }
        Self::going_on(dir, kept, seed, After { durable, removed: HashMap::new() })
    }

    /// Watches `dir`, of which only so much is durable.
    fn going_on(dir: &Path, kept: Arc<Mutex<Kept>>, seed: u64, after: After) -> Arc<Self> {
        let model = Model {
            durable: after.durable,
            removed: after.removed,
            mapped: HashMap::new(),
            moments: Vec::new(),
            seen: 0,
            random: Random(seed),
        };
        Arc::new(Self { dir: dir.to_path_buf(), model: Mutex::new(model), kept })
    }

    fn model(&self) -> std::sync::MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// A moment at which the power may go: before and after each call. A sample of them is kept.
    fn moment(&self, model: &mut Model) {
        model.seen += 1;
        let slot = if model.moments.len() < POINTS {
            model.moments.push(Moment::default());
            model.moments.len() - 1
        } else {
            // Each moment is as likely to stay as any other.
            (model.random.next() % model.seen) as usize
        };
        if slot < POINTS {
            // First: what is acknowledged after this may be missing.
            let kept = self.kept.lock().unwrap().clone();
            let mut written = model.removed.clone();
            written.extend(files(&self.dir).into_iter().map(|(_, inode, bytes)| (inode, bytes)));
            model.moments[slot] = Moment { durable: model.durable.clone(), written, kept };
        }
    }

    fn around<T>(&self, call: impl FnOnce(&mut Model) -> io::Result<T>) -> io::Result<T> {
        let mut model = self.model();
        self.moment(&mut model);
        let result = call(&mut model);
        self.moment(&mut model);
        result
    }
}

fn files(dir: &Path) -> Vec<(String, Inode, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // Indexes and tiles come and go beside the log, and may be lost at any time.
        if name.contains(".idx") || name.starts_with("tile") {
            continue;
        }
        let file = File::open(entry.path()).unwrap();
        found.push((name, inode(&file), contents(&file)));
    }
    found
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl Disk for Recorder {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.around(|model| {
            let file = Kernel.create(path)?;
            model.durable.changes.push(Change::Link(name(path), inode(&file)));
            Ok(file)
        })
    }

    fn allocate(&self, file: &File, len: u64) -> io::Result<()> {
        self.around(|_| Kernel.allocate(file, len))
    }

    fn map(&self, file: &File, len: usize) -> io::Result<(Arc<Mapping>, Tail)> {
        self.around(|model| {
            let (mapping, tail) = Kernel.map(file, len)?;
            model.mapped.insert(Arc::as_ptr(&mapping) as usize, (file.try_clone()?, inode(file)));
            Ok((mapping, tail))
        })
    }

    fn flush(&self, mapping: &Mapping, range: Range<usize>) -> io::Result<()> {
        self.around(|model| {
            let (file, inode) = &model.mapped[&(std::ptr::from_ref(mapping) as usize)];
            let mut now = contents(file);
            let end = range.end.next_multiple_of(PAGE).min(now.len());
            let durable = model.durable.bytes.entry(*inode).or_default();
            if durable.len() < end {
                // The size is not durable by msync alone where it is new; a segment's was synced when it was allocated.
                durable.resize(end, 0);
            }
            let from = range.start / PAGE * PAGE;
            durable[from..end].swap_with_slice(&mut now[from..end]);
            Ok(())
        })
    }

    fn writable(&self, _file: &File) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        self.around(|_| Kernel.write(file, bytes))
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        self.around(|_| Kernel.truncate(file, len))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.around(|model| {
            if !file.metadata()?.is_dir() {
                model.durable.bytes.insert(inode(file), contents(file));
                return Ok(());
            }
            let changes = std::mem::take(&mut model.durable.changes);
            apply(&mut model.durable.names, &changes);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.around(|model| {
            let inode = fs::metadata(from)?.ino();
            Kernel.rename(from, to)?;
            // One transaction of the journal; a crash between the two leaves two names, which is harder.
            model.durable.changes.extend([Change::Link(name(to), inode), Change::Unlink(name(from))]);
            Ok(())
        })
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.around(|model| {
            let inode = fs::metadata(from)?.ino();
            if let Ok(replaced) = File::open(to) {
                model.removed.insert(self::inode(&replaced), contents(&replaced));
            }
            Kernel.replace(from, to)?;
            model.durable.changes.extend([Change::Link(name(to), inode), Change::Unlink(name(from))]);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.around(|model| {
            let removed = File::open(path)?;
            model.removed.insert(inode(&removed), contents(&removed));
            Kernel.remove(path)?;
            model.durable.changes.push(Change::Unlink(name(path)));
            Ok(())
        })
    }
}

fn apply(names: &mut BTreeMap<String, Inode>, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Link(name, inode) => drop(names.insert(name.clone(), *inode)),
            Change::Unlink(name) => drop(names.remove(name)),
        }
    }
}

impl Moment {
    /// The process is killed and the power stays: everything that was written is there, and durable is what was.
    fn kill(&self, dir: &Path) -> After {
        fs::remove_dir_all(dir).unwrap();
        fs::create_dir(dir).unwrap();
        let mut names = self.durable.names.clone();
        apply(&mut names, &self.durable.changes);
        let mut copies = HashMap::new();
        for (name, inode) in names {
            fs::write(dir.join(&name), self.written.get(&inode).map_or(&[][..], Vec::as_slice)).unwrap();
            copies.insert(inode, fs::metadata(dir.join(name)).unwrap().ino());
        }
        // Files that have no name any more have none of the numbers that the copies have.
        let now = |inode: &Inode| copies.get(inode).copied().unwrap_or(inode | 1 << 63);
        let durable = Durable {
            names: self.durable.names.iter().map(|(name, inode)| (name.clone(), now(inode))).collect(),
            changes: self
                .durable
                .changes
                .iter()
                .map(|change| match change {
                    Change::Link(name, inode) => Change::Link(name.clone(), now(inode)),
                    Change::Unlink(name) => Change::Unlink(name.clone()),
                })
                .collect(),
            bytes: self.durable.bytes.iter().map(|(inode, bytes)| (now(inode), bytes.clone())).collect(),
        };
        let removed = self.written.iter().filter(|(inode, _)| !copies.contains_key(inode));
        After { durable, removed: removed.map(|(inode, bytes)| (now(inode), bytes.clone())).collect() }
    }

    /// What a disk might have after a crash at this moment. Returns how many dirty pages reached it, and how many not.
    fn restore(&self, dir: &Path, random: &mut Random) -> (usize, usize) {
        fs::remove_dir_all(dir).unwrap();
        fs::create_dir(dir).unwrap();
        let mut names = self.durable.names.clone();
        let changes = &self.durable.changes;
        apply(&mut names, &changes[..random.next() as usize % (changes.len() + 1)]);
        let (mut reached, mut lost) = (0, 0);
        for (name, inode) in names {
            let nothing = Vec::new();
            let synced = self.durable.bytes.get(&inode).unwrap_or(&nothing);
            let written = self.written.get(&inode).unwrap_or(synced);
            let longest = synced.len().max(written.len());
            let length = if random.next().is_multiple_of(2) { synced.len() } else { written.len() };
            let mut image = synced.clone();
            image.resize(longest, 0);
            let keep = random.next() % 101;
            for from in (0..written.len()).step_by(PAGE) {
                let page = from..(from + PAGE).min(written.len());
                if image[page.clone()] == written[page.clone()] {
                    continue;
                }
                if random.next() % 100 < keep {
                    image[page.clone()].copy_from_slice(&written[page]);
                    reached += 1;
                } else {
                    lost += 1;
                }
            }
            image.truncate(length);
            fs::write(dir.join(name), image).unwrap();
        }
        (reached, lost)
    }
}

/// A place in memory, where that is to be had: nothing is synced here, and thousands of logs are written.
fn place() -> Place {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    Place { dir, secret: AuditorSecret::generate() }
}

/// A log that was written under load, and moments of that at which the power may have gone.
struct Powered {
    place: Place,
    moments: Vec<Moment>,
}

fn powered(seed: u64) -> Powered {
    let place = place();
    fs::create_dir(place.audit()).unwrap();
    let kept = Arc::new(Mutex::new(Kept::default()));
    let recorder = Recorder::new(&place.audit(), Arc::clone(&kept), seed);
    let log = Log::open_on(place.settings(), Arc::clone(&recorder) as Arc<dyn Disk>).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (log, kept) = (&log, &kept);
            scope.spawn(move || {
                for _ in 0..12 {
                    let mut own = Kept::default();
                    load(log, &mut own, 1, 2_000 + 4_000 * thread);
                    let mut kept = kept.lock().unwrap();
                    kept.begun.append(&mut own.begun);
                    kept.ended.append(&mut own.ended);
                }
            });
        }
    });
    log.close().unwrap();
    kept.lock().unwrap().check(&place, "the power stays");
    let moments = std::mem::take(&mut recorder.model().moments);
    Powered { place, moments }
}

/// Opens the log after a crash and goes on with it; the power sometimes goes meanwhile, and half of the time after the writer
/// was killed and the power had stayed. Returns the number of crashes.
fn recovers(place: &Place, kept: &Kept, case: &str, random: &mut Random, killed: Option<After>) -> usize {
    let shared = Arc::new(Mutex::new(kept.clone()));
    let again = if killed.is_some() { 2 } else { 4 };
    let recorder = match killed {
        Some(after) => Recorder::going_on(&place.audit(), Arc::clone(&shared), random.next(), after),
        None => Recorder::new(&place.audit(), Arc::clone(&shared), random.next()),
    };
    let log = Log::open_on(place.settings(), Arc::clone(&recorder) as Arc<dyn Disk>)
        .unwrap_or_else(|e| panic!("{case}: {e}"));
    let mut own = Kept::default();
    load(&log, &mut own, 1, 3_000);
    assert_eq!(own.ended.len(), 1, "{case}");
    {
        let mut all = shared.lock().unwrap();
        all.begun.append(&mut own.begun);
        all.ended.append(&mut own.ended);
    }
    log.close().unwrap();
    shared.lock().unwrap().check(place, case);
    if !random.next().is_multiple_of(again) {
        return 1;
    }
    let moments = std::mem::take(&mut recorder.model().moments);
    let moment = &moments[random.next() as usize % moments.len()];
    moment.restore(&place.audit(), random);
    let log = Log::open(place.settings()).unwrap_or_else(|e| panic!("{case}, and again during recovery: {e}"));
    log.close().unwrap();
    moment.kept.check(place, &format!("{case}, and again during recovery"));
    2
}

/// Any subset of the pages that were written since the last sync, at any moment of the load and of a recovery.
#[test]
fn a_crash_suite_simulator_persists_any_subset_of_dirty_pages() {
    let seeds = size("crash", 300, 10_000) as u64;
    let (mut crashes, mut pages, mut acknowledged) = (0, (0, 0), 0);
    let mut load = powered(0);
    for seed in 0..seeds {
        if seed % 250 == 249 {
            load = powered(seed);
        }
        let mut random = Random(seed);
        let moment = &load.moments[random.next() as usize % load.moments.len()];
        acknowledged += moment.kept.begun.len() + moment.kept.ended.len();
        let killed = random.next().is_multiple_of(4).then(|| moment.kill(&load.place.audit()));
        if killed.is_none() {
            let (reached, lost) = moment.restore(&load.place.audit(), &mut random);
            pages = (pages.0 + reached, pages.1 + lost);
        }
        crashes += recovers(&load.place, &moment.kept, &format!("seed {seed}"), &mut random, killed);
    }
    report(&format!(
        "power: {seeds} seeds, {crashes} crashes, {} dirty pages kept and {} lost, {acknowledged} acknowledgements, none lost or altered",
        pages.0, pages.1
    ));
}

/// A log whose writer was killed, with what it had acknowledged.
pub(super) struct Killed {
    dir: tempfile::TempDir,
    secret: AuditorSecret,
    pub(super) kept: Kept,
}

pub(super) fn killed() -> Killed {
    let place = place();
    let mut kept = Kept::default();
    let log = place.open();
    load(&log, &mut kept, 6, 9_000);
    let dir = tempfile::tempdir_in(place.dir.path().parent().unwrap()).unwrap();
    copy_dir(place.dir.path(), dir.path());
    log.close().unwrap();
    // A frame that was being copied, so that there is something to cut off.
    let newest = scan::segments(&dir.path().join("audit"), Stream::Log).unwrap().pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    bytes[used.next_multiple_of(8) + 4] = 0xff;
    fs::write(&newest, bytes).unwrap();
    Killed { dir, secret: place.secret, kept }
}

impl Killed {
    /// A copy of it.
    pub(super) fn restored(&self) -> Place {
        let dir = tempfile::tempdir_in(self.dir.path().parent().unwrap()).unwrap();
        copy_dir(self.dir.path(), dir.path());
        let path = dir.path().join("auditor.key");
        self.secret.write(&path).unwrap();
        Place { dir, secret: AuditorSecret::read(&path).unwrap() }
    }
}

/// Opens the log, with the power gone at each moment of that in turn: all or nothing of what was not synced is there.
/// Returns how many moments there are.
pub(super) fn moments_of_opening(place: &Place) -> usize {
    let recorder = Recorder::new(&place.audit(), Arc::default(), 0);
    Log::open_on(place.settings(), Arc::clone(&recorder) as Arc<dyn Disk>).unwrap().close().unwrap();
    let moments = std::mem::take(&mut recorder.model().moments);
    for (index, moment) in moments.iter().enumerate() {
        for seed in 0..8 {
            moment.restore(&place.audit(), &mut Random(seed));
            let log = Log::open(place.settings()).unwrap_or_else(|e| panic!("moment {index}, seed {seed}: {e}"));
            log.close().unwrap();
            place.intact();
        }
    }
    moments.len()
}
