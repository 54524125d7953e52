//! Points in time as the log writes them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time. Written as RFC 3339 in UTC with nine decimals, so that text sorts by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Timestamp);

impl Time {
    /// The system's clock.
    #[must_use]
    pub fn now() -> Self {
        Self(Timestamp::now())
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z, saturating at the ends of what RFC 3339 can write.
    #[must_use]
    pub fn from_unix_ns(ns: u64) -> Self {
        Self(Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::MAX))
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z; 0 for earlier times.
    #[must_use]
    pub fn unix_ns(self) -> u64 {
        u64::try_from(self.0.as_nanosecond()).unwrap_or(0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", self.0)
    }
}

impl FromStr for Time {
    type Err = jiff::Error;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_nine_decimals_and_z() {
        assert_eq!(Time::from_unix_ns(1_700_000_000_000_000_001).to_string(), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(Time::from_unix_ns(0).to_string(), "1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn survives_json() {
        let time = Time::from_unix_ns(1_700_000_000_123_456_789);
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), time);
    }
}
