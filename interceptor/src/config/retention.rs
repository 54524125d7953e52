//! The `[audit.retention]` table: how long which contents are kept.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::audit::{Ages, Class};

const DAY: u64 = 24 * 60 * 60;

/// How long each class of content is kept; for ever where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Requests: the originals, and what left.
    pub prompts: Option<Age>,
    /// What came back.
    pub responses: Option<Age>,
    /// Everything else that a record says.
    pub decisions: Option<Age>,
}

impl Retention {
    /// By class.
    #[must_use]
    pub fn ages(&self) -> Ages {
        let ages =
            [(Class::Prompts, self.prompts), (Class::Responses, self.responses), (Class::Decisions, self.decisions)];
        ages.into_iter().filter_map(|(class, age)| Some((class, age?.0))).collect()
    }
}

/// A time of at least a day: `90d`, `12w`, `7y`. A year is 366 days, so that none is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Age(pub Duration);

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time to keep something: write days, weeks or years, as 90d, 12w or 7y");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let days = match &text[digits..] {
            "d" => number,
            "w" => number.saturating_mul(7),
            "y" => number.saturating_mul(366),
            _ => return Err(wrong()),
        };
        match days {
            0 => Err(format!("{text:?}: a day is the least that can be kept")),
            _ => Ok(Self(Duration::from_secs(days.saturating_mul(DAY)))),
        }
    }
}

impl TryFrom<String> for Age {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}d", self.0.as_secs() / DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_days_weeks_and_years() {
        let days = |text: &str| text.parse::<Age>().map(|age| age.0.as_secs() / DAY);
        assert_eq!([days("90d"), days("2w"), days("7y")], [Ok(90), Ok(14), Ok(2562)]);
        for wrong in ["", "90", "d", "0d", "5m", "1h", "-3d", "99999999999999999999d"] {
            assert!(days(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_named_is_kept_for_ever() {
        let retention: Retention = toml::from_str("prompts = '90d'\ndecisions = '7y'").unwrap();
        assert_eq!(retention.ages().into_keys().collect::<Vec<_>>(), [Class::Prompts, Class::Decisions]);
        assert!(toml::from_str::<Retention>("prompt = '90d'").is_err());
    }
}
