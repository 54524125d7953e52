//! The text files of procfs (proc_pid_stat(5), proc_pid_status(5), proc_pid_cmdline(5)). Lenient about what is new,
//! strict about what is used: anything odd is unknown.

use crate::capture::BootTime;

/// Unit of the start times in `stat`: 100 to the second on every architecture that Rust supports.
pub(super) const USER_HZ: u64 = 100;

/// Field 22 of `/proc/PID/stat`. The second field, the thread's name in parentheses, may itself hold blanks, line
/// breaks and parentheses.
pub(super) fn start_time(stat: &[u8]) -> Option<BootTime> {
    const FIELDS_BEFORE: usize = 22 - 3;
    let after_name = stat.iter().rposition(|&byte| byte == b')')? + 1;
    let fields = std::str::from_utf8(&stat[after_name..]).ok()?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(FIELDS_BEFORE)?.parse().ok()?;
    ticks.checked_mul(1_000_000_000 / USER_HZ).map(BootTime::from_nanos)
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

    const STAT: &str = "4242 (python3) S 1 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200 \
                        18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";

    #[test]
    fn reads_the_start_time() {
        assert_eq!(start_time(STAT.as_bytes()), Some(BootTime::from_nanos(9_876_540_000_000)));
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        for name in ["a) S 1 2 3", "(((", ") ) )", "x\ny", "\u{fffd}"] {
            let stat = STAT.replace("python3", name);
            assert_eq!(start_time(stat.as_bytes()), Some(BootTime::from_nanos(9_876_540_000_000)), "{name:?}");
        }
    }

    #[test]
    fn a_short_or_foreign_stat_is_unknown() {
        for stat in ["", ")", "1 (x) S 1", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 nonsense"] {
            assert_eq!(start_time(stat.as_bytes()), None, "{stat:?}");
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
            let _ = (start_time(&bytes), groups(&bytes), cmdline(&bytes));
        }
    }
}
