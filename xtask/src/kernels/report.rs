//! What a kernel's console says about the tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// One kernel.
#[derive(Debug)]
pub(super) struct Report {
    release: String,
    /// The features it lacks; none when it did not come to tell.
    absent: Option<Vec<String>>,
    passed: usize,
    pub(super) failed: Vec<String>,
    finished: bool,
}

impl Report {
    pub(super) fn read(release: &str, console: &str) -> Self {
        let json = console.lines().filter_map(|line| serde_json::from_str::<Value>(line.trim()).ok());
        let features = json.filter_map(|value| value.get("features").cloned()).next();
        let absent = features.map(|features| {
            let list = features["list"].as_array().cloned().unwrap_or_default();
            let absent = list.iter().filter(|feature| feature["present"] == false);
            absent.filter_map(|feature| feature["name"].as_str().map(ToOwned::to_owned)).collect()
        });
        // Threads share the console, and the harness colours it: names are found by their sentences.
        let mut results = BTreeMap::new();
        for line in console.lines().map(plain) {
            if let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
                results.insert(name.to_owned(), result.trim_end().ends_with("ok"));
            }
        }
        let failed = results.iter().filter(|(_, passed)| !**passed).map(|(name, _)| name.clone()).collect();
        let passed = results.values().filter(|passed| **passed).count();
        let finished = console.lines().map(plain).any(|line| line.starts_with("test result: "));
        Self { release: release.to_owned(), absent, passed, failed, finished }
    }

    pub(super) fn is_good(&self) -> bool {
        self.finished && self.failed.is_empty() && self.passed > 0
    }
}

/// Without the escapes of ECMA-48 that colour text.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, escape)) = rest.split_once("\x1b[") {
        text.push_str(before);
        let end = escape.find(|c: char| ('@'..='~').contains(&c)).map_or(escape.len(), |at| at + 1);
        rest = &escape[end..];
    }
    text + rest
}

/// A row for each kernel.
pub(super) fn table(reports: &[Report]) -> String {
    let mut text = "| kernel | lacks | tests passed | failed |\n|---|---|---|---|".to_owned();
    for Report { release, absent, passed, failed, finished } in reports {
        let absent = match absent {
            None => "it did not tell".to_owned(),
            Some(names) if names.is_empty() => "nothing".to_owned(),
            Some(names) => names.join(", "),
        };
        let failed = match failed.as_slice() {
            [] if *finished => "none".to_owned(),
            [] => "did not finish".to_owned(),
            names => names.join(", "),
        };
        let _ = write!(text, "\n| {release} | {absent} | {passed} | {failed} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = concat!(
        "[    1.0] noise\n",
        "{\"features\":{\"kernel\":\"6.1\",\"list\":[{\"name\":\"set-retval\",\"present\":true},",
        "{\"name\":\"netns-cookie-of-packet\",\"present\":false}]}}\n",
        "test ways::mptcp_is_captured ... \x1b[32mok\x1b[m\n",
        "test ways::the_caller_is_named ... \x1b[31mFAILED\x1b[m\n",
    );

    #[test]
    fn passed_and_failed_tests_and_absent_features_are_told() {
        let report = Report::read("6.1.0", &format!("{CONSOLE}test result: FAILED. 1 passed\n"));
        assert!(!report.is_good());
        assert!(table(&[report]).ends_with("| 6.1.0 | netns-cookie-of-packet | 1 | ways::the_caller_is_named |"));
    }

    #[test]
    fn a_kernel_that_did_not_finish_has_not_passed() {
        let console = CONSOLE.replace("\x1b[31mFAILED", "ok");
        let report = Report::read("6.1.0", &console);
        assert!(!report.is_good() && table(&[report]).ends_with("| 2 | did not finish |"));
        assert!(Report::read("6.1.0", &format!("{console}test result: ok. 2 passed\n")).is_good());
        assert!(!Report::read("6.1.0", "Kernel panic\ntest result: ok.").is_good(), "no test at all");
    }
}
