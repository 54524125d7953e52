//! What the kernel programs did that an operator should hear of, without a line for each connection.

use std::collections::HashMap;
use std::fmt;

use interceptor_ebpf::Counter;

/// One kind of notice of one user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// `refused`, `passed open` or `exempt`.
    pub(super) what: &'static str,
    /// Why, as the event says it.
    pub(super) reason: String,
    pub(super) uid: u32,
}

/// Kinds of notices kept apart within a second; a host with more users than that sees the rest as one sum.
const KINDS: usize = 256;

/// Why something was refused, and what comes of it.
pub(super) fn in_words(why: Counter) -> String {
    let words = match why {
        Counter::RefusedNoListener => "no listener in its network namespace yet",
        Counter::RefusedNoStorage => "no kernel memory to keep where it was going",
        Counter::RefusedNoSettings => "the daemon was still starting",
        Counter::RefusedDatagram => "UDP to an endpoint; clients fall back to TCP",
        Counter::RefusedProtocol => "neither TCP nor UDP",
        Counter::RefusedListener => "it dialled the daemon's own port",
        Counter::RefusedDevice => "its socket is bound to an interface that does not lead to the daemon",
        Counter::RefusedStale => "the daemon or one of its workers gave no sign of life",
        Counter::RefusedQuota => "too many connections of this user wait to be accepted",
        other => return format!("{other:?}"),
    };
    words.to_owned()
}

/// Notices of one second.
#[derive(Debug, Default)]
pub(super) struct Notices {
    counts: HashMap<Key, Notice>,
    others: u64,
}

#[derive(Debug)]
struct Notice {
    count: u64,
    /// The first one's destination and process.
    example: String,
}

impl Notices {
    pub(super) fn add(&mut self, key: Key, example: impl fmt::Display) {
        if let Some(notice) = self.counts.get_mut(&key) {
            notice.count += 1;
        } else if self.counts.len() < KINDS {
            self.counts.insert(key, Notice { count: 1, example: example.to_string() });
        } else {
            self.others += 1;
        }
    }

    /// A line for each kind, the most frequent first; starts over.
    pub(super) fn lines(&mut self) -> Vec<String> {
        let mut counts: Vec<_> = self.counts.drain().collect();
        counts.sort_by(|(_, a), (_, b)| b.count.cmp(&a.count).then_with(|| a.example.cmp(&b.example)));
        let mut lines: Vec<_> = counts
            .into_iter()
            .map(|(Key { what, reason, uid }, Notice { count, example })| {
                format!("{what}: {count} of uid {uid} ({reason}), as {example}")
            })
            .collect();
        if self.others > 0 {
            lines.push(format!("and {} more of other users or reasons", std::mem::take(&mut self.others)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(uid: u32) -> Key {
        Key { what: "refused", reason: "no listener".to_owned(), uid }
    }

    #[test]
    fn a_second_of_refusals_is_a_line_for_each_user_and_reason() {
        let mut notices = Notices::default();
        for _ in 0..1000 {
            notices.add(key(1000), "process 7 to 203.0.113.10:443");
        }
        notices.add(key(0), "process 1 to 203.0.113.10:443");
        let lines = notices.lines();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], "refused: 1000 of uid 1000 (no listener), as process 7 to 203.0.113.10:443");
        assert!(notices.lines().is_empty(), "said once");
    }

    #[test]
    fn every_refusal_has_words() {
        for counter in Counter::ALL.into_iter().filter(|counter| format!("{counter:?}").starts_with("Refused")) {
            assert!(in_words(counter).contains(' '), "{counter:?}");
        }
    }

    #[test]
    fn more_kinds_than_that_are_counted_together() {
        let mut notices = Notices::default();
        for uid in 0..300 {
            notices.add(key(uid), "");
        }
        let lines = notices.lines();
        assert_eq!(lines.len(), KINDS + 1);
        assert_eq!(lines[KINDS], "and 44 more of other users or reasons");
    }
}
