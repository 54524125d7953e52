//! A wall clock that was set ahead makes contents old before their time, and what is destroyed stays destroyed. Frames hold both
//! the wall clock and the time since boot, which cannot be set: how far the one has run ahead of the other since a frame of this
//! boot is by how much it was set. Before the first frame of a boot nothing can be told.

use std::path::Path;
use std::time::Duration;

use super::RetainError;
use crate::audit::clock::Clocks;
use crate::audit::header::{HEADER, Stream};
use crate::audit::reader::ReadError;
use crate::audit::scan::{Depth, SegmentFile, Step, segments};

/// Clocks are corrected a little every now and then.
const TOLERATED: Duration = Duration::from_secs(60 * 60);
/// A clock that was set longer ago, and stayed so, was meant to be.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a frame says of the clocks.
#[derive(Clone, Copy, Debug)]
struct Reading {
    sequence: u64,
    wall_ns: u64,
    boottime_ns: u64,
}

/// Refuses to go by a wall clock that was set ahead.
pub(super) fn check(dir: &Path, clocks: &Clocks) -> Result<(), RetainError> {
    match furthest(dir, clocks)? {
        Some((ahead, frame)) if ahead > TOLERATED => Err(RetainError::Clock { ahead: in_words(ahead), frame }),
        _ => Ok(()),
    }
}

/// How far the wall clock has run ahead of the time since boot, and since which frame.
type Ahead = (Duration, u64);

/// The further of both. Later frames may have been written by the wrong clock, so all of them count.
fn further(so_far: Option<Ahead>, reading: &Reading, clocks: &Clocks) -> Option<Ahead> {
    let between = |wall: u64, boot: u64| i128::from(wall) - i128::from(boot);
    let ahead = between(clocks.wall_ns, clocks.boottime_ns) - between(reading.wall_ns, reading.boottime_ns);
    let ahead = Duration::from_nanos(u64::try_from(ahead.max(0)).unwrap_or(u64::MAX));
    so_far.into_iter().chain([(ahead, reading.sequence)]).max_by_key(|(ahead, _)| *ahead)
}

/// The furthest since any frame of this boot that is not too old.
fn furthest(dir: &Path, clocks: &Clocks) -> Result<Option<Ahead>, RetainError> {
    let mut furthest = None;
    let paths = segments(dir, Stream::Log).map_err(|e| ReadError::io("readdir", dir, e))?;
    for path in paths.into_iter().rev() {
        let mut file = SegmentFile::open(&path).map_err(ReadError::from_log)?;
        if file.header.boot_id != clocks.boot_id || clocks.boot_id == [0; 16] {
            break;
        }
        let (mut at, mut is_recent) = (HEADER as u64, false);
        while let Step::Frame(head) = file.step(at, Depth::Heads).map_err(ReadError::from_log)? {
            at += head.length as u64;
            let entry = &head.entry;
            if Duration::from_nanos(clocks.boottime_ns.saturating_sub(entry.boottime_ns)) <= REMEMBERED {
                let (sequence, wall_ns, boottime_ns) = (entry.sequence, entry.wall_ns, entry.boottime_ns);
                furthest = further(furthest, &Reading { sequence, wall_ns, boottime_ns }, clocks);
                is_recent = true;
            }
        }
        // What is before it is older. A segment without a frame says nothing.
        if !is_recent && at > HEADER as u64 {
            break;
        }
    }
    Ok(furthest)
}

fn in_words(time: Duration) -> String {
    let hours = time.as_secs() / 3600;
    if hours < 48 { format!("{hours} h {} min", time.as_secs() / 60 % 60) } else { format!("{} days", hours / 24) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn at(hour: u64, set_ahead: u64) -> Reading {
        Reading { sequence: hour, wall_ns: (1000 + hour + set_ahead) * HOUR, boottime_ns: hour * HOUR }
    }

    fn ahead_of(readings: &[Reading], now: Reading) -> Option<(u64, u64)> {
        let clocks = Clocks { wall_ns: now.wall_ns, boottime_ns: now.boottime_ns, boot_id: [1; 16] };
        let furthest = readings.iter().fold(None, |so_far, reading| further(so_far, reading, &clocks));
        furthest.map(|(ahead, frame)| (ahead.as_secs() / 3600, frame))
    }

    #[test]
    fn a_clock_that_was_set_ahead_is_told_from_time_that_passed() {
        assert_eq!(ahead_of(&[], at(9, 0)), None);
        assert_eq!(ahead_of(&[at(1, 0), at(2, 0)], at(90, 0)).map(|(hours, _)| hours), Some(0));
        assert_eq!(ahead_of(&[at(1, 0), at(2, 0)], at(3, 9000)).map(|(hours, _)| hours), Some(9000));
        // Frames that were written since do not hide it.
        assert_eq!(ahead_of(&[at(1, 9000), at(2, 0), at(3, 9000)], at(4, 9000)), Some((9000, 2)));
        // Set back.
        assert_eq!(ahead_of(&[at(1, 50), at(2, 50)], at(3, 0)).map(|(hours, _)| hours), Some(0));
    }

    #[test]
    fn times_are_said_in_words() {
        let words = |minutes: u64| in_words(Duration::from_secs(minutes * 60));
        assert_eq!((words(61).as_str(), words(60 * 49).as_str()), ("1 h 1 min", "2 days"));
    }
}
