//! The fuzz entry: what holds for any rule file.

use super::set::RuleSet;
use crate::mask::Error;

/// Fuzz entry: whatever a rule file says, each of its mistakes is told, in one line, at a place that the file has.
///
/// # Panics
/// When that does not hold.
#[doc(hidden)]
pub fn fuzz_rule_file(data: &[u8]) {
    let mut set = RuleSet::default();
    set.add_file("fuzz.toml", data);
    let Err(Error::Rules(mistakes)) = set.verdict() else { return };
    let text = String::from_utf8_lossy(data);
    let lines: Vec<&str> = text.split('\n').collect();
    for mistake in mistakes.list() {
        let told = mistake.to_string();
        assert!(!told.is_empty(), "{mistake:?}");
        let Some(at) = mistake.at else { continue };
        let line = at.line.checked_sub(1).and_then(|line| lines.get(line));
        let is_there = line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&at.column));
        assert!(is_there, "{told}: there is no such place in {text:?}");
    }
}
