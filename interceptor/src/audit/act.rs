//! Acts: who changed what the log keeps, and why. Contents that retention removed or that were erased, and legal holds. They
//! are frames of the access log, durable before anything is destroyed; the verifier accepts that a content is missing only
//! where a signed act says so.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::class::Class;
use super::frame::{Content, Kind};
use super::retain::RetainError;
use super::verify::{Trust, signed_acts};
use super::writer::Plan;
use super::{Error, Time};
use crate::flow::ExchangeId;

/// First and last sequence number.
pub(crate) type Range = (u64, u64);

/// A change of what the log keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When.
    pub time: Time,
    /// User id of who did it; the daemon's own for what it does by its configuration.
    pub uid: u32,
    /// That user's name.
    pub user: Option<String>,
    /// Why, in their words.
    pub reason: String,
    /// What was done.
    #[serde(flatten)]
    pub deed: Deed,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "lowercase")]
pub enum Deed {
    /// Contents of a class were removed because they are old.
    Retain {
        /// Which contents.
        class: Class,
        /// Of frames that were written before then.
        before: Time,
        /// Sequence numbers of the log, first and last, within which all contents of the class were removed.
        frames: Vec<Range>,
    },
    /// Contents of one subject were removed.
    Erase {
        /// Whose: `uid:1000`, or the subject of an identity.
        subject: String,
        /// Which contents.
        class: Class,
        /// As of [`Deed::Retain`].
        frames: Vec<Range>,
    },
    /// Records were put on hold: nothing of them is removed until the hold is released.
    Hold {
        /// Names the hold.
        name: String,
        /// Which records: `caller=alice`, `since=2026-01-31T12:00:00Z`, `id=01a2...`. Each kind must fit, of a kind any.
        records: Vec<String>,
    },
    /// A hold was released.
    Release {
        /// Names the hold.
        name: String,
    },
}

impl Act {
    /// Appends the act to the access log in `dir`, durably.
    ///
    /// # Errors
    /// When it cannot be recorded; then nothing may be destroyed.
    pub fn record(&self, dir: &Path, keys: &Path) -> Result<(), Error> {
        let json = serde_json::to_vec(self).expect("an act is plain data");
        super::access::append(
            dir,
            keys,
            &Plan::new(Kind::Act, ExchangeId::from_bytes([0; 16])).plain(Content::Json, &json),
        )
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retain { class, before, .. } => write!(f, "removed {class} from before {before}"),
            Self::Erase { subject, class, .. } => write!(f, "erased {class} of {subject}"),
            Self::Hold { name, records } => write!(f, "placed hold {name} on records with {}", records.join(" ")),
            Self::Release { name } => write!(f, "released hold {name}"),
        }
    }
}

/// All acts of a log, and what they come to.
#[derive(Clone, Debug, Default)]
pub struct Acts {
    all: Vec<Act>,
    removed: BTreeMap<Class, Vec<Range>>,
}

impl Acts {
    pub(crate) fn new(all: Vec<Act>) -> Self {
        let mut removed: BTreeMap<Class, Vec<Range>> = BTreeMap::new();
        for act in &all {
            if let Deed::Retain { class, frames, .. } | Deed::Erase { class, frames, .. } = &act.deed {
                removed.entry(*class).or_default().extend(frames);
            }
        }
        for ranges in removed.values_mut() {
            ranges.sort_unstable();
            ranges.dedup_by(|next, kept| {
                let touches = next.0 <= kept.1.saturating_add(1);
                if touches {
                    kept.1 = kept.1.max(next.1);
                }
                touches
            });
        }
        Self { all, removed }
    }

    /// The acts, oldest first.
    #[must_use]
    pub fn all(&self) -> &[Act] {
        &self.all
    }

    /// Whether an act says that contents of `class` were removed from the frame `sequence`.
    pub(crate) fn removed(&self, class: Class, sequence: u64) -> bool {
        let Some(ranges) = self.removed.get(&class) else { return false };
        let after = ranges.partition_point(|range| range.0 <= sequence);
        after > 0 && sequence <= ranges[after - 1].1
    }

    /// Holds that are in force, by name: the act that placed each.
    #[must_use]
    pub fn holds(&self) -> BTreeMap<&str, &Act> {
        let mut holds = BTreeMap::new();
        for act in &self.all {
            match &act.deed {
                Deed::Hold { name, .. } => {
                    holds.insert(name.as_str(), act);
                }
                Deed::Release { name } => {
                    holds.remove(name.as_str());
                }
                Deed::Retain { .. } | Deed::Erase { .. } => {}
            }
        }
        holds
    }
}

/// The acts that the access log in `dir` has, signed ones alone; none when there is no access log.
///
/// # Errors
/// When it cannot be read, or is not intact: what is on hold would not be known.
pub fn acts(dir: &Path, trust: &Trust) -> Result<Acts, RetainError> {
    signed_acts(dir, trust)?.map_err(RetainError::NotIntact)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(deed: Deed) -> Act {
        Act { time: Time::from_unix_ns(0), uid: 0, user: None, reason: "why".into(), deed }
    }

    fn retain(class: Class, frames: &[Range]) -> Act {
        act(Deed::Retain { class, before: Time::from_unix_ns(0), frames: frames.to_vec() })
    }

    #[test]
    fn ranges_of_all_acts_of_a_class_count_together() {
        let acts = Acts::new(vec![
            retain(Class::Prompts, &[(10, 20), (30, 30)]),
            retain(Class::Responses, &[(0, 5)]),
            retain(Class::Prompts, &[(0, 3), (15, 25)]),
        ]);
        let removed: Vec<u64> = (0..40).filter(|&sequence| acts.removed(Class::Prompts, sequence)).collect();
        let expected: Vec<u64> = (0..=3).chain(10..=25).chain([30]).collect();
        assert_eq!(removed, expected);
        assert!(acts.removed(Class::Responses, 5) && !acts.removed(Class::Decisions, 5));
    }

    #[test]
    fn a_hold_is_in_force_until_it_is_released() {
        let hold = |name: &str| act(Deed::Hold { name: name.into(), records: vec!["caller=alice".into()] });
        let release = act(Deed::Release { name: "a".into() });
        let acts = Acts::new(vec![hold("a"), hold("b"), release, hold("c")]);
        assert_eq!(acts.holds().into_keys().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn an_act_survives_its_json() {
        let act = retain(Class::Decisions, &[(1, 2)]);
        let json = serde_json::to_string(&act).unwrap();
        assert!(json.contains(r#""act":"retain","class":"decisions""#), "{json}");
        assert_eq!(serde_json::from_str::<Act>(&json).unwrap(), act);
    }
}
