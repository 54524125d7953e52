//! Points in time in people's words.

use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time as Clock};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

use crate::audit::Time;

const ACCEPTED: &str = "2026-01-31T12:00:00Z, '2026-01-31 12:00:00', 2026-01-31, 12:00, today, yesterday, 90m, -2h, 3d or \
                        '2 hours ago'";

/// A point in time. Dates and times without an offset are in the time zone that TZ names, in UTC without TZ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(pub(crate) Time);

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let zone = match std::env::var_os("TZ") {
            Some(name) if !name.is_empty() => TimeZone::try_system().map_err(|e| format!("TZ: {e}"))?,
            _ => TimeZone::UTC,
        };
        let at = parse(text.trim(), &Timestamp::now().to_zoned_datetime(zone))
            .ok_or_else(|| format!("that is no point in time; write {ACCEPTED}"))?;
        Ok(Self(Time::from_unix_ns(u64::try_from(at.as_nanosecond()).unwrap_or(0))))
    }
}

fn parse(text: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let local = |at: DateTime| at.to_zoned_datetime(now.time_zone().clone()).ok().map(|at| at.timestamp());
    let midnight = |day: Date| local(day.to_datetime(Clock::midnight()));
    match text {
        "now" => return Some(now.timestamp()),
        "today" => return midnight(now.date()),
        "yesterday" => return midnight(now.date().yesterday().ok()?),
        _ => {}
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    // A date parses from a date and time as well, and forgets the time: only what has no colon is a date.
    if !text.contains(':') {
        if let Ok(date) = text.parse::<Date>() {
            return midnight(date);
        }
        return now.timestamp().checked_sub(ago(text)?).ok();
    }
    match text.parse::<DateTime>() {
        Ok(at) => local(at),
        Err(_) => local(now.date().to_datetime(text.parse::<Clock>().ok()?)),
    }
}

/// `2h`, `-2h`, `2 hours ago`, `1h30m`, `3 days`.
fn ago(text: &str) -> Option<SignedDuration> {
    let text = text.strip_suffix("ago").or_else(|| text.strip_prefix('-')).unwrap_or(text).trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let ago = match (text[..digits].parse::<i32>(), text[digits..].trim()) {
        (Ok(days), "d" | "day" | "days") => SignedDuration::from_hours(24 * i64::from(days)),
        (Ok(weeks), "w" | "week" | "weeks") => SignedDuration::from_hours(7 * 24 * i64::from(weeks)),
        _ => text.parse().ok()?,
    };
    (!ago.is_negative()).then_some(ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, zone: TimeZone) -> Option<String> {
        let now: Timestamp = "2026-11-23T16:30:00Z".parse().unwrap();
        parse(text, &now.to_zoned_datetime(zone)).map(|at| at.to_string())
    }

    #[test]
    fn understands_times_in_peoples_words() {
        for (text, expected) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"),
            ("2026-11-23T15:09:15", "2026-11-23T15:09:15Z"),
            ("2026-11-23 15:09:15", "2026-11-23T15:09:15Z"),
            ("2026-11-23 15:09", "2026-11-23T15:09:00Z"),
            ("15:09", "2026-11-23T15:09:00Z"),
            ("2026-11-22", "2026-11-22T00:00:00Z"),
            ("today", "2026-11-23T00:00:00Z"),
            ("yesterday", "2026-11-22T00:00:00Z"),
            ("90m", "2026-11-23T15:00:00Z"),
            ("1h30m", "2026-11-23T15:00:00Z"),
            ("2h", "2026-11-23T14:30:00Z"),
            ("-2h", "2026-11-23T14:30:00Z"),
            ("-1 day", "2026-11-22T16:30:00Z"),
            ("2 hours ago", "2026-11-23T14:30:00Z"),
            ("10 minutes ago", "2026-11-23T16:20:00Z"),
            ("3d", "2026-11-20T16:30:00Z"),
            ("1 day ago", "2026-11-22T16:30:00Z"),
        ] {
            assert_eq!(at(text, TimeZone::UTC).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn times_without_an_offset_are_local() {
        let east = || TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(at("2026-11-23T15:09:15", east()).as_deref(), Some("2026-11-23T13:09:15Z"));
        assert_eq!(at("15:09", east()).as_deref(), Some("2026-11-23T13:09:00Z"));
        assert_eq!(at("today", east()).as_deref(), Some("2026-11-22T22:00:00Z"));
        assert_eq!(at("2026-11-23T15:09:15Z", east()).as_deref(), Some("2026-11-23T15:09:15Z"));
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is_accepted() {
        for text in
            ["bogus", "", "25:00", "2026-13-01", "2026-11-23T99:00:00", "--2h", "-2h ago", "--until", "-", "ago", "5"]
        {
            assert_eq!(at(text, TimeZone::UTC), None, "{text}");
        }
        let error = "bogus".parse::<Since>().unwrap_err();
        assert!(error.contains("2 hours ago") && error.contains("yesterday"), "{error}");
    }
}
