//! The report as a person reads it.

use std::fmt::Write as _;

use super::Absent;
use crate::daemon::{Canary, Reason, State, Status};

/// Width of the column of headings.
const HEADING: usize = 12;

/// Lines with a heading each; those that belong together stand below one.
#[derive(Default)]
struct Report {
    text: String,
}

impl Report {
    fn line(&mut self, heading: &str, text: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{heading:HEADING$}{text}");
    }

    fn lines(&mut self, heading: &str, lines: impl IntoIterator<Item = String>) {
        for (number, line) in lines.into_iter().enumerate() {
            self.line(if number == 0 { heading } else { "" }, line);
        }
    }

    fn reasons(&mut self, reasons: &[Reason]) {
        for Reason { what, remedy } in reasons {
            self.line("because", what);
            self.line("", format_args!("-> {remedy}"));
        }
    }
}

pub(super) fn status(status: &Status) -> String {
    let mut report = Report::default();
    report.line("state", format_args!("{} since {}", word(status.state), status.since));
    report.reasons(&status.reasons);
    let Status { version, pid, started, transport, .. } = status;
    let workers = status.workers.len();
    report.line("daemon", format_args!("{version}, pid {pid}, started {started}, {workers} workers on {transport}"));
    let (cgroup, pins) = (status.cgroup.display(), status.pins.display());
    report.line("enrolled", format_args!("{cgroup}, to port {}, pinned at {pins}", status.port));
    report.lines("modes", status.modes.iter().map(|(path, mode)| format!("{mode} {path}")));
    let endpoints = &status.endpoints;
    report.line("endpoints", format_args!("{} names, {} addresses", endpoints.names, endpoints.addresses));
    let namespaces = &status.namespaces;
    report.line(
        "namespaces",
        format_args!("{} of {} besides the daemon's own have a listener", namespaces.listening, namespaces.limit),
    );
    let test = &status.self_test;
    let at = test.at.as_deref().unwrap_or("not yet");
    report.line("self-test", format_args!("{at}: IPv4 {}, IPv6 {}", canary(&test.ipv4), canary(&test.ipv6)));
    report.lines("others", test.foreign.iter().map(|foreign| format!("{foreign} runs at the same hook")));
    report.lines(
        "features",
        status.features.as_object().into_iter().flatten().map(|(name, value)| format!("{name} {}", plain(value))),
    );
    report.lines("maps", status.maps.iter().map(|map| format!("{} {} of {}", map.name, map.used, map.capacity)));
    report.lines("counters", status.counters.iter().map(|(name, count)| format!("{name} {count}")));
    if let Some(days) = status.ca_days {
        report.line("internal CA", format_args!("valid for {days} days"));
    }
    report.text
}

pub(super) fn absent(absent: &Absent) -> String {
    let mut report = Report::default();
    report.line("state", word(absent.state));
    report.reasons(&absent.reasons);
    if let Some(pid) = absent.pid {
        report.line("daemon", format_args!("pid {pid}"));
    }
    let Absent { attached, destinations, .. } = absent;
    report.line("kernel", format_args!("{attached} programs attached, {destinations} destinations captured"));
    report.line("pins", absent.pins.display());
    report.lines("counters", absent.counters.iter().map(|(name, count)| format!("{name} {count}")));
    report.text
}

fn word(state: State) -> &'static str {
    match state {
        State::Healthy => "healthy",
        State::Degraded => "degraded",
        State::Stopped => "stopped",
    }
}

fn canary(canary: &Canary) -> &str {
    match canary {
        Canary::Untried => "not tried: the daemon is outside of the enrolled cgroup",
        Canary::Answered => "answered",
        Canary::Failed(why) => why,
    }
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Bool(true) => "yes".to_owned(),
        serde_json::Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn reasons_and_remedies_come_first() {
        let reasons = vec![Reason { what: "no daemon runs".to_owned(), remedy: "start it".to_owned() }];
        let text = absent(&Absent {
            state: State::Stopped,
            reasons,
            pid: None,
            pins: PathBuf::from("/sys/fs/bpf/interceptor/default"),
            attached: 10,
            destinations: 4,
            counters: [("RefusedStale".to_owned(), 3)].into(),
        });
        let expected = "\
state       stopped
because     no daemon runs
            -> start it
kernel      10 programs attached, 4 destinations captured
pins        /sys/fs/bpf/interceptor/default
counters    RefusedStale 3
";
        assert_eq!(text, expected);
    }
}
