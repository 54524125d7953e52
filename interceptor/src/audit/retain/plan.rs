//! Which contents go: decided frame by frame, the same way when it is planned and when a segment is rewritten.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Removal, RetainError};
use crate::audit::Time;
use crate::audit::act::{Deed, Range};
use crate::audit::class::Class;
use crate::audit::frame::{Content, Head, Holding, Kind, Rows};
use crate::audit::header::{HEADER, Stream};
use crate::audit::reader::ReadError;
use crate::audit::record::Record;
use crate::audit::scan::{Depth, SegmentFile, Step, segments};
use crate::audit::seal::{EPOCH, KeyId, WrappedKeys, epochs_dir};
use crate::flow::ExchangeId;

/// Contents of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that have some.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Says what of a frame goes.
#[derive(Debug)]
pub(super) struct Chooser {
    /// Frames written before, by class, nanoseconds since 1970.
    before: BTreeMap<Class, u64>,
    /// Of these exchanges, all of these classes.
    of: Option<(HashSet<ExchangeId>, Vec<Class>)>,
    held: HashSet<ExchangeId>,
    /// Of those, the ones that cannot be read.
    unreadable: u64,
}

impl Chooser {
    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Whether what `head`'s frame has of `class` is due, on hold or not.
    fn is_due(&self, head: &Head, class: Class) -> bool {
        let old = self.before.get(&class).is_some_and(|&before| head.entry.wall_ns < before);
        let theirs = |(ids, classes): &(HashSet<ExchangeId>, Vec<Class>)| {
            classes.contains(&class) && ids.contains(&head.entry.exchange)
        };
        old || self.of.as_ref().is_some_and(theirs)
    }

    /// Whether some of the subject's records are on hold.
    pub(super) fn holds_some(&self) -> bool {
        self.of.as_ref().is_some_and(|(ids, _)| !ids.is_disjoint(&self.held))
    }

    /// The sections that go.
    pub(super) fn rows(&self, head: &Head) -> Rows {
        let mut rows = Rows::default();
        // What the log says of itself stays.
        if matches!(head.entry.kind, Kind::Note | Kind::Access | Kind::Act) || self.held.contains(&head.entry.exchange)
        {
            return rows;
        }
        for (row, section) in stored(head) {
            if self.is_due(head, section.class()) {
                rows.insert(row);
            }
        }
        rows
    }
}

/// The sections that are in the frame.
fn stored(head: &Head) -> impl Iterator<Item = (usize, Content)> {
    let there = |&(row, section): &(usize, &crate::audit::frame::Section)| {
        section.holding != Holding::Parts && !head.removed.contains(row)
    };
    head.entry.sections.iter().enumerate().filter(there).map(|(row, section)| (row, section.content))
}

/// How long after it has sealed something a key may be about to seal more. A key's epoch, and then some: clocks are set.
const IN_USE: Duration = EPOCH.saturating_mul(3);

/// All segments of the log, read in order.
pub(super) struct Scan {
    paths: Vec<PathBuf>,
    /// How many of them, from the first, are closed and signed.
    closed: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) segments: Vec<PathBuf>,
    pub(super) counts: BTreeMap<Class, Counts>,
    pub(super) held: HashSet<ExchangeId>,
    pub(super) waiting: u64,
    /// What was written after that may be under a key that still seals.
    in_use: u64,
    /// Keys that something was sealed under, and whether something is left that needs them.
    pub(super) keys: HashMap<(KeyId, Class), bool>,
    ranges: BTreeMap<Class, Ranges>,
}

/// Sequence numbers within which everything of a class goes.
#[derive(Debug, Default)]
struct Ranges {
    done: Vec<Range>,
    current: Option<Range>,
}

impl Ranges {
    fn goes(&mut self, sequence: u64) {
        self.current.get_or_insert((sequence, sequence)).1 = sequence;
    }

    fn stays(&mut self) {
        self.done.extend(self.current.take());
    }
}

impl Scan {
    pub(super) fn new(dir: &Path, signed: u64) -> Result<Self, RetainError> {
        let paths = segments(dir, Stream::Log).map_err(|e| ReadError::io("readdir", dir, e))?;
        let mut closed = 0;
        // A segment is closed when another begins after it.
        for next in paths.iter().skip(1) {
            if open(next)?.header.first_sequence > signed {
                break;
            }
            closed += 1;
        }
        Ok(Self { paths, closed })
    }

    /// Calls `each` with every frame: the number of its segment, the file, where in it, and its head.
    fn each(
        &mut self,
        mut each: impl FnMut(usize, &mut SegmentFile, u64, &Head) -> Result<(), RetainError>,
    ) -> Result<(), RetainError> {
        for (index, path) in self.paths.iter().enumerate() {
            let mut file = open(path)?;
            let mut at = HEADER as u64;
            loop {
                match file.step(at, Depth::Heads).map_err(ReadError::from_log)? {
                    Step::Frame(head) => {
                        each(index, &mut file, at, &head)?;
                        at += head.length as u64;
                    }
                    // Behind what is closed a writer may be at work.
                    Step::Invalid(error) if index < self.closed => return Err(damaged(path, at, &error)),
                    Step::Invalid(_) | Step::End => break,
                }
            }
        }
        Ok(())
    }

    /// What is to go, turned into a question to each frame.
    pub(super) fn chooser(
        &mut self,
        removal: &Removal,
        now: Time,
        held: Option<&dyn Fn(&Record) -> bool>,
    ) -> Result<Chooser, RetainError> {
        let mut chooser = Chooser { before: BTreeMap::new(), of: None, held: HashSet::new(), unreadable: 0 };
        let subject = match removal {
            Removal::Old(ages) => {
                chooser.before = ages.iter().map(|(&class, age)| (class, before(now, *age).unix_ns())).collect();
                None
            }
            Removal::Subject { name, classes } => {
                chooser.of = Some((HashSet::new(), classes.clone()));
                Some(name)
            }
        };
        if held.is_none() && subject.is_none() {
            return Ok(chooser);
        }
        let mut parts = Parts::new();
        self.each(|_, file, at, head| {
            let record = match json(&mut parts, file, at, head)?.as_deref().map(serde_json::from_slice::<Record>) {
                Some(Ok(record)) => record,
                // Whoever it is of, and whatever holds it.
                Some(Err(_)) => {
                    chooser.held.insert(head.entry.exchange);
                    chooser.unreadable += 1;
                    return Ok(());
                }
                None => return Ok(()),
            };
            if held.is_some_and(|held| held(&record)) {
                chooser.held.insert(record.id);
            }
            if let (Some(subject), Some((ids, _))) = (subject, &mut chooser.of)
                && record.subject().as_ref() == Some(subject)
            {
                ids.insert(record.id);
            }
            Ok(())
        })?;
        Ok(chooser)
    }

    /// Asks each frame.
    pub(super) fn choose(&mut self, chooser: &Chooser, now: Time) -> Result<Found, RetainError> {
        let (paths, closed) = (self.paths.clone(), self.closed);
        let mut found = Found { in_use: before(now, IN_USE).unix_ns(), ..Found::default() };
        self.each(|index, _, _, head| {
            found.frame(chooser, head, (index < closed).then(|| &paths[index]));
            Ok(())
        })?;
        for ranges in found.ranges.values_mut() {
            ranges.stays();
        }
        Ok(found)
    }
}

impl Found {
    fn frame(&mut self, chooser: &Chooser, head: &Head, closed: Option<&PathBuf>) {
        let entry = &head.entry;
        let rows = chooser.rows(head);
        if !rows.is_empty() && closed.is_none() {
            self.waiting += 1;
        }
        if let (false, Some(path)) = (rows.is_empty(), closed)
            && self.segments.last() != Some(path)
        {
            self.segments.push(path.clone());
        }
        let mut seen = Vec::new();
        for (row, section) in entry.sections.iter().enumerate().filter(|(_, s)| s.holding != Holding::Parts) {
            let class = section.content.class();
            let goes = rows.contains(row) && closed.is_some();
            if section.holding == Holding::Sealed {
                let needed = self.keys.entry((entry.key_id, class)).or_default();
                *needed |= (!goes && !head.removed.contains(row)) || entry.wall_ns >= self.in_use;
            }
            if head.removed.contains(row) {
                continue;
            }
            let ranges = self.ranges.entry(class).or_default();
            if !goes {
                ranges.stays();
                continue;
            }
            ranges.goes(entry.sequence);
            let counts = self.counts.entry(class).or_default();
            counts.bytes += section.stored() as u64;
            if !seen.contains(&class) {
                counts.frames += 1;
                seen.push(class);
            }
        }
        let held = chooser.held.contains(&entry.exchange);
        if held && stored(head).any(|(_, content)| chooser.is_due(head, content.class())) {
            self.held.insert(entry.exchange);
        }
    }

    /// The acts that say so, one for each class; of an erasure also for a class of which no frame goes yet: those that are
    /// left are sealed under a secret that goes.
    pub(super) fn deeds(&self, removal: &Removal, now: Time, shred: &[(KeyId, Class)], secrets: bool) -> Vec<Deed> {
        let going = self.ranges.iter().filter(|(_, ranges)| !ranges.done.is_empty()).map(|(class, _)| *class);
        let mut classes: BTreeSet<Class> = going.chain(shred.iter().map(|(_, class)| *class)).collect();
        if secrets {
            classes.extend(removal.classes());
        }
        let deed = |class: Class| {
            let frames = self.ranges.get(&class).map(|ranges| ranges.done.clone()).unwrap_or_default();
            match removal {
                Removal::Old(ages) => {
                    let before = before(now, ages.get(&class).copied().unwrap_or_default());
                    Deed::Retain { class, before, frames }
                }
                Removal::Subject { name, .. } => Deed::Erase { subject: name.clone(), class, frames },
            }
        };
        classes.into_iter().map(deed).collect()
    }
}

fn before(now: Time, age: std::time::Duration) -> Time {
    let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    Time::from_unix_ns(now.unix_ns().saturating_sub(age))
}

/// Of the keys of these classes, those that nothing needs any more and that are still there.
pub(super) fn unneeded(
    keys: &Path,
    needed: &HashMap<(KeyId, Class), bool>,
    classes: &[Class],
) -> Result<Vec<(KeyId, Class)>, RetainError> {
    let dir = epochs_dir(keys);
    let there = match std::fs::read_dir(&dir) {
        Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect::<HashSet<_>>(),
        Err(e) => return Err(ReadError::io("readdir", &dir, e).into()),
    };
    let mut unneeded: Vec<_> = needed
        .iter()
        .filter(|((_, class), needed)| !**needed && classes.contains(class))
        .map(|(key, _)| *key)
        .filter(|(id, _)| there.contains(&format!("{}.key", hex::encode(id))))
        .collect();
    unneeded.retain(|(id, class)| WrappedKeys::read(keys, id).is_ok_and(|wrapped| wrapped.has(*class)));
    unneeded.sort_unstable();
    Ok(unneeded)
}

/// Of exchanges whose JSON is in part frames, what came of it so far.
type Parts = HashMap<ExchangeId, Vec<u8>>;

/// The JSON of the record that an opening frame begins, unless that was removed. Parts come before the frame that refers to
/// them.
fn json(parts: &mut Parts, file: &mut SegmentFile, at: u64, head: &Head) -> Result<Option<Vec<u8>>, RetainError> {
    let Some(row) = head.entry.sections.iter().position(|section| section.content == Content::Json) else {
        return Ok(None);
    };
    if head.removed.contains(row) {
        return Ok(None);
    }
    let exchange = head.entry.exchange;
    let range = head.section_range(row);
    let stored = file.bytes(at + range.start as u64, range.len()).map_err(ReadError::from_log)?;
    let whole = match head.entry.kind {
        Kind::Part => {
            parts.entry(exchange).or_default().extend_from_slice(stored);
            return Ok(None);
        }
        _ if head.entry.sections[row].holding == Holding::Parts => parts.remove(&exchange),
        _ => Some(stored.to_vec()),
    };
    Ok(whole.filter(|_| matches!(head.entry.kind, Kind::Request | Kind::Refusal)))
}

fn open(path: &Path) -> Result<SegmentFile, RetainError> {
    Ok(SegmentFile::open(path).map_err(ReadError::from_log)?)
}

pub(super) fn damaged(path: &Path, offset: u64, reason: &impl ToString) -> RetainError {
    RetainError::Damaged { path: path.to_path_buf(), offset, reason: reason.to_string() }
}
