//! The text files of procfs (proc_pid_stat(5), proc_pid_status(5), proc_pid_cmdline(5)). Lenient about what is new,
//! strict about what is used: anything odd is unknown.

use crate::capture::{BootTime, Image};

/// Unit of the start times in `stat`: 100 to the second on every architecture that Rust supports.
pub(super) const USER_HZ: u64 = 100;

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Its parent, field 4.
    pub(super) parent: u32,
    /// When it started, field 22, rounded down to a tick.
    pub(super) started_at: BootTime,
    /// Which program it runs, fields 26 and 48. Zeros for who may not know.
    pub(super) image: Image,
}

/// Nanoseconds of a tick.
pub(super) const TICK: u64 = 1_000_000_000 / USER_HZ;

/// Reads `/proc/PID/stat`. The second field, the thread's name in parentheses, may itself hold blanks, line breaks and
/// parentheses.
pub(super) fn stat(stat: &[u8]) -> Option<Stat> {
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    // Whole, or its last number may have been cut.
    let text = std::str::from_utf8(&stat[after_name..]).ok()?.strip_suffix('\n')?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    // The first two fields stand before.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(field(4)?).ok()?,
        started_at: field(22)?.checked_mul(TICK).map(BootTime::from_nanos)?,
        image: Image { start_code: field(26)?, arg_start: field(48)? },
    })
}

/// The `Groups:` line of `/proc/PID/status`; none when it is missing or cut off.
pub(super) fn groups(status: &[u8]) -> Option<Vec<u32>> {
    let mut lines = status.split_inclusive(|&byte| byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"Groups:"))?.strip_suffix(b"\n")?;
    let text = std::str::from_utf8(line).ok()?;
    text.split_ascii_whitespace().map(|gid| gid.parse().ok()).collect()
}

/// The arguments, each ended by a NUL; a last one that is cut off counts as it is. None when empty.
pub(super) fn cmdline(raw: &[u8]) -> Option<Vec<String>> {
    let raw = raw.strip_suffix(b"\0").unwrap_or(raw);
    if raw.is_empty() {
        return None;
    }
    Some(raw.split(|&byte| byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &str = "4242 (python3) S 17 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200 \
                        18446744073709551615 4198400 4998400 140730000000000 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 \
                        5000000 5100000 30000000 140730000001000 140730000002000 140730000002000 140730000003000 0\n";

    fn expected() -> Option<Stat> {
        Some(Stat {
            parent: 17,
            started_at: BootTime::from_nanos(9_876_540_000_000),
            image: Image { start_code: 4_198_400, arg_start: 140_730_000_001_000 },
        })
    }

    #[test]
    fn reads_parent_start_and_image() {
        assert_eq!(stat(STAT.as_bytes()), expected());
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        for name in ["a) S 1 2 3", "(((", ") ) )", "x\ny", "\u{fffd}"] {
            assert_eq!(stat(STAT.replace("python3", name).as_bytes()), expected(), "{name:?}");
        }
    }

    #[test]
    fn a_short_or_foreign_stat_is_unknown() {
        let cut = &STAT[..STAT.len() - 64];
        for text in ["", ")", "1 (x) S 1", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 nonsense", cut] {
            assert_eq!(stat(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn reads_every_group() {
        let status = b"Name:\tx\nUid:\t0\t0\t0\t0\nGroups:\t4 24 1000 \nNStgid:\t1\n";
        assert_eq!(groups(status), Some(vec![4, 24, 1000]));
        assert_eq!(groups(b"Name:\tx\nGroups:\t\n"), Some(vec![]));
    }

    #[test]
    fn groups_that_are_cut_off_are_unknown() {
        assert_eq!(groups(b"Name:\tx\nGroups:\t4 24 10"), None);
        assert_eq!(groups(b"Name:\tGroups: 1\n"), None);
        assert_eq!(groups(b"Groups:\t4 x\n"), None);
    }

    #[test]
    fn arguments_keep_empty_ones() {
        assert_eq!(cmdline(b"curl\0\0-v\0"), Some(vec!["curl".into(), String::new(), "-v".into()]));
        assert_eq!(cmdline(b"curl\0cut o"), Some(vec!["curl".into(), "cut o".into()]));
        assert_eq!(cmdline(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = (stat(&bytes), groups(&bytes), cmdline(&bytes));
        }
    }
}
