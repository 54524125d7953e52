//! Retention: what is older than its class is kept, or belongs to a subject that is to be erased, is destroyed.
//!
//! ```text
//! lock ── nobody else removes, places or releases a hold; the whole log is verified: keys are destroyed on its word
//! plan ── read every frame's head: what goes, what is on hold, which data keys nothing needs any more
//! apply ─ 1. the act is on record, durable and signed
//!         2. keys are destroyed: what was sealed under them is gone, also in copies of the log
//!         3. segments are rewritten without the contents ([`rewrite`]); disk space is given back
//! ```
//!
//! Entries stay: chain, Merkle tree, checkpoints and proofs are what they were. Whatever stops it in between, the next
//! run finds what is left to do. Only closed segments that a signed checkpoint covers are touched.

mod clock;
mod plan;
mod rewrite;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::act::{Act, Acts, Deed};
use super::auditor::open_lock;
use super::checkpoint::SigningKey;
use super::class::Class;
use super::clock::Clocks;
use super::reader::ReadError;
use super::record::Record;
use super::seal::{KeyId, SubjectId, WrappedKeys};
use super::verify::{Fault, Sound, Trust, sound};
use super::{Error, Time, seal};

pub use plan::Counts;
use plan::{Chooser, Scan};

/// Held while contents are destroyed, and while holds are placed and released.
const LOCK: &str = "retain.lock";

/// How long contents are kept, by class; for ever where nothing is said.
pub type Ages = BTreeMap<Class, Duration>;

/// What is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// What is older than its class is kept.
    Old(Ages),
    /// What is one subject's, of these classes.
    Subject {
        /// `uid:1000`, or the subject of an identity: see [`Record::subject`].
        name: String,
        /// Which contents.
        classes: Vec<Class>,
    },
}

impl Removal {
    /// Which contents may go.
    fn classes(&self) -> Vec<Class> {
        match self {
            Self::Old(ages) => ages.keys().copied().collect(),
            Self::Subject { classes, .. } => classes.clone(),
        }
    }

    /// Whether it takes everything that is sealed under a subject's secret.
    #[must_use]
    pub fn takes_secrets(&self) -> bool {
        matches!(self, Self::Subject { classes, .. } if Class::SEALED.iter().all(|class| classes.contains(class)))
    }
}

/// Why nothing, or not everything, was destroyed.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something could not be written.
    #[error(transparent)]
    Write(#[from] Error),
    /// Another one is at it.
    #[error(
        "{} is held: another `interceptor log retain` or `log hold`, or the daemon's retention, is at work; wait for it",
        .0.display()
    )]
    Busy(PathBuf),
    /// What the log says cannot be believed: who is at it may want something destroyed.
    #[error(
        "the log is not intact: {0}: nothing was removed; run `interceptor log verify`, and see docs/log.md for what to do"
    )]
    NotIntact(Box<Fault>),
    /// A frame that should stay as it is cannot be read.
    #[error("{} at byte {offset}: {reason}: run `interceptor log verify`; nothing was removed from this segment", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// Records would be kept without what says whose they are.
    #[error(
        "decisions are kept for a shorter time than {0}: what says whose contents they are would go first; keep decisions for as long at least"
    )]
    Order(Class),
    /// What is old cannot be told.
    #[error(
        "the wall clock has run ahead of the time since boot by {ahead} since frame {frame} of the log: it was set ahead, and \
         what is not old would be destroyed as old; nothing was removed. Set it right, or run `interceptor log retain \
         --clock-is-right` if it is right now and was wrong then"
    )]
    Clock {
        /// By how much, in words.
        ahead: String,
        /// Since then.
        frame: u64,
    },
    /// Contents would stay without what says whose they are.
    #[error("decisions say whose {0} are: give --class {0} too, or leave decisions")]
    Whose(Class),
}

/// Who does it, and why.
#[derive(Clone, Debug)]
pub struct Author {
    /// User id.
    pub uid: u32,
    /// User name.
    pub user: Option<String>,
    /// In their words.
    pub reason: String,
}

impl Author {
    /// What they do now.
    #[must_use]
    pub fn act(&self, deed: Deed) -> Act {
        let Self { uid, user, reason } = self.clone();
        Act { time: Time::now(), uid, user, reason, deed }
    }
}

/// A log whose contents are to be destroyed.
#[derive(Clone, Copy, Debug)]
pub struct Retention<'a> {
    /// Where the log is.
    pub dir: &'a Path,
    /// Where its keys are.
    pub keys: &'a Path,
    /// From when ages count.
    pub now: Time,
    /// Against which it is checked that the wall clock was not set ahead; none when somebody says that it is right.
    pub clocks: Option<Clocks>,
}

/// What would be done.
#[derive(Debug)]
pub struct Plan {
    acts: Vec<Deed>,
    chooser: Chooser,
    segments: Vec<PathBuf>,
    shred: Vec<(KeyId, Class)>,
    erase: Vec<SubjectId>,
    /// By class.
    pub counts: BTreeMap<Class, Counts>,
    /// Records that would go if they were not on hold.
    pub held: u64,
    /// Records that stay because they cannot be read: they may be on hold.
    pub unreadable: u64,
    /// Frames that are due but in a segment that is still being written, or not signed yet.
    pub waiting: u64,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Nothing is done that no act tells of.
        self.acts.is_empty()
    }

    /// Number of segments that are rewritten.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Number of keys of data keys, and secrets of subjects, that are destroyed.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shred.len() + self.erase.len()
    }
}

/// Steps, one by one.
#[cfg(test)]
impl Plan {
    pub(crate) fn record(&self, place: &super::tests::Place, author: &Author) {
        for deed in &self.acts {
            author.act(deed.clone()).record(&place.audit(), &place.keys()).unwrap();
        }
    }

    pub(crate) fn rewrite(&self, path: &Path) {
        rewrite::segment(path, &self.chooser).unwrap();
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Bytes that the segments are shorter now.
    pub freed: u64,
    /// Segments that were rewritten.
    pub segments: u64,
}

impl<'a> Retention<'a> {
    /// Takes the lock and verifies the log. Holds that are placed from then on wait.
    ///
    /// # Errors
    /// [`RetainError::Busy`], [`RetainError::NotIntact`], [`RetainError::Read`].
    pub fn begin(self) -> Result<Begun<'a>, RetainError> {
        let lock = lock(self.dir)?;
        let key = SigningKey::load(self.keys)?.verifying().clone();
        let trust = Trust { key, checkpoint: None, keys: Some(self.keys.to_path_buf()) };
        let sound = sound(self.dir, &trust)?.map_err(RetainError::NotIntact)?;
        Ok(Begun { retention: self, sound, _lock: lock })
    }
}

/// Held while what the log keeps is changed.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock of the log in `dir`.
///
/// # Errors
/// [`RetainError::Busy`] when another one has it.
pub fn lock(dir: &Path) -> Result<Lock, RetainError> {
    let path = dir.join(LOCK);
    let file = open_lock(&path, 0o640).map_err(|e| Error::io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(std::fs::TryLockError::WouldBlock) => Err(RetainError::Busy(path)),
        Err(std::fs::TryLockError::Error(e)) => Err(Error::io("flock", path, e).into()),
    }
}

/// A log that was verified, and from which nobody else removes anything.
pub struct Begun<'a> {
    retention: Retention<'a>,
    sound: Sound,
    _lock: Lock,
}

impl Begun<'_> {
    /// What was done so far, and holds.
    #[must_use]
    pub fn acts(&self) -> &Acts {
        &self.sound.acts
    }

    /// Finds out what would be done; changes nothing. `held` says whether a record is on hold; it is asked only when there
    /// is a hold.
    ///
    /// # Errors
    /// [`RetainError::Read`], [`RetainError::Order`], [`RetainError::Clock`], [`RetainError::Whose`], [`RetainError::Damaged`].
    pub fn plan(&self, removal: &Removal, held: &dyn Fn(&Record) -> bool) -> Result<Plan, RetainError> {
        match removal {
            Removal::Old(ages) => {
                check_ages(ages)?;
                self.retention.clocks.map_or(Ok(()), |clocks| clock::check(self.retention.dir, &clocks))?;
            }
            Removal::Subject { classes, .. } => check_classes(classes)?,
        }
        let Retention { dir, keys, now, .. } = self.retention;
        let mut scan = Scan::new(dir, self.sound.signed)?;
        let held = if self.acts().holds().is_empty() { None } else { Some(held) };
        let chooser = scan.chooser(removal, now, held)?;
        let found = scan.choose(&chooser, now)?;
        let erase = match removal {
            // What is on hold, and what is not to go, must remain readable: it was sealed under the same secret.
            Removal::Subject { name, .. } if removal.takes_secrets() && !chooser.holds_some() => {
                seal::subject_ids(keys, name)?
            }
            _ => Vec::new(),
        };
        let shred = plan::unneeded(keys, &found.keys, &removal.classes())?;
        Ok(Plan {
            acts: found.deeds(removal, now, &shred, !erase.is_empty()),
            segments: found.segments,
            shred,
            erase,
            counts: found.counts,
            held: found.held.len() as u64,
            unreadable: chooser.unreadable(),
            waiting: found.waiting,
            chooser,
        })
    }

    /// Does what was planned. `progress` hears of each segment that was rewritten.
    ///
    /// # Errors
    /// What stopped it; what was done before stays done, and is on record.
    pub fn apply(&self, plan: &Plan, author: &Author, progress: &dyn Fn()) -> Result<Done, RetainError> {
        let Retention { dir, keys, .. } = self.retention;
        let mut done = Done::default();
        if plan.is_empty() {
            return Ok(done);
        }
        for deed in &plan.acts {
            author.act(deed.clone()).record(dir, keys)?;
        }
        for id in &plan.erase {
            seal::erase_subject(keys, id)?;
        }
        for (id, class) in &plan.shred {
            shred(keys, id, *class)?;
        }
        for path in &plan.segments {
            done.freed += rewrite::segment(path, &plan.chooser)?;
            done.segments += 1;
            progress();
        }
        Ok(done)
    }
}

/// Who is erased must be found when the rest is to be erased.
fn check_classes(classes: &[Class]) -> Result<(), RetainError> {
    match Class::SEALED.into_iter().find(|class| !classes.contains(class)) {
        Some(class) if classes.contains(&Class::Decisions) => Err(RetainError::Whose(class)),
        _ => Ok(()),
    }
}

/// Contents must not outlive what says whose they are.
///
/// # Errors
/// [`RetainError::Order`].
pub fn check_ages(ages: &Ages) -> Result<(), RetainError> {
    let Some(decisions) = ages.get(&Class::Decisions) else { return Ok(()) };
    let longer = |class: &Class| ages.get(class).is_none_or(|age| age > decisions);
    match [Class::Prompts, Class::Responses].into_iter().find(longer) {
        Some(class) => Err(RetainError::Order(class)),
        None => Ok(()),
    }
}

fn shred(keys: &Path, id: &KeyId, class: Class) -> Result<(), RetainError> {
    match WrappedKeys::read(keys, id) {
        Ok(wrapped) if wrapped.has(class) => Ok(wrapped.shred(class)?),
        Ok(_) => Ok(()),
        Err(error) => Err(ReadError::Unseal(error).into()),
    }
}
