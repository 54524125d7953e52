//! The report as a person reads it.

use std::fmt::Write as _;

use serde_json::Value;

use super::Absent;
use crate::daemon::{Canary, Reason, State, Status};
use crate::sinks::{SinkStatus, WitnessStatus};

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
        for Reason { what, remedy, .. } in reasons {
            self.line("because", what);
            self.line("", format_args!("-> {remedy}"));
        }
    }
}

pub(super) fn status(status: &Status) -> String {
    let mut report = Report::default();
    report.line("state", format_args!("{} since {}", word(status.state), status.since));
    report.reasons(&status.reasons);
    let Status { version, pid, started, transport, transport_because, .. } = status;
    let workers = status.workers.len();
    report.line("daemon", format_args!("{version}, pid {pid}, started {started}, {workers} workers"));
    report.line("transport", format_args!("{transport}: {transport_because}"));
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
    report.lines("features", features(&status.features));
    report.lines("maps", status.maps.iter().map(|map| format!("{} {} of {}", map.name, map.used, map.capacity)));
    report.lines("counters", status.counters.iter().map(|(name, count)| format!("{name} {count}")));
    if let Some(days) = status.ca_days {
        report.line("internal CA", format_args!("valid for {days} days"));
    }
    report.lines("sinks", status.sinks.iter().flat_map(sink));
    report.lines("witnesses", status.witnesses.iter().flat_map(witness));
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
    report.line("pins", format_args!("{} (named by {})", absent.pins.display(), absent.pins_named_by));
    report.lines("counters", absent.counters.iter().map(|(name, count)| format!("{name} {count}")));
    report.text
}

/// What one sink has done, and what keeps it from going on.
fn sink(sink: &SinkStatus) -> Vec<String> {
    let SinkStatus { name, to, delivered, behind, undeliverable, .. } = sink;
    let up_to = sink.sequence.map(|sequence| format!(" up to frame {sequence}")).unwrap_or_default();
    let mut lines = vec![format!("{name}: {to}, {delivered} records delivered{up_to}, {behind} frames behind")];
    if *undeliverable > 0 {
        lines.push(format!("  {undeliverable} records refused: their ids are in sinks/{name}.undeliverable"));
    }
    if sink.missing > 0 {
        lines.push(format!("  {} frames of the log were not found; run `interceptor log verify`", sink.missing));
    }
    lines.extend(trouble(sink.error.as_deref(), sink.retry_at.as_deref()));
    lines
}

/// What one witness has seen, and what keeps it from seeing more.
fn witness(witness: &WitnessStatus) -> Vec<String> {
    let WitnessStatus { name, to, size, at, error, retry_at, .. } = witness;
    let at = at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
    let seen = size.map_or("has seen nothing yet".to_owned(), |size| format!("has seen {size} leaves{at}"));
    let mut lines = vec![format!("{name}: {to}, {seen}")];
    lines.extend(trouble(error.as_deref(), retry_at.as_deref()));
    lines
}

fn trouble(error: Option<&str>, retry_at: Option<&str>) -> Option<String> {
    let retry = retry_at.map(|at| format!("; next attempt at {at}")).unwrap_or_default();
    error.map(|error| format!("  {error}{retry}"))
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

/// How many there are, then each that is missing with what is lost; `features` as [`Features`](crate::capture::Features)
/// is written.
fn features(features: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let list = features["list"].as_array().map_or(&[][..], Vec::as_slice);
    let missing: Vec<_> = list.iter().filter(|feature| feature["present"] != true).collect();
    let there = list.len() - missing.len();
    let mut lines = vec![format!("kernel {}, {there} of {}", text(&features["kernel"]), list.len())];
    lines.extend(missing.into_iter().map(|feature| {
        let (what, since, lost) = (text(&feature["what"]), text(&feature["since"]), text(&feature["without"]));
        format!("missing: {what} (Linux {since}): {lost}")
    }));
    lines
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::daemon::Concern;

    #[test]
    fn features_are_a_count_and_what_is_lost() {
        let feature = |name: &str, present: bool| {
            json!({"name": name, "what": format!("bpf_{name}"), "since": "5.18", "required": false,
                   "present": present, "without": "a refusal is EPERM"})
        };
        let document = json!({"kernel": "6.18.5", "list": [feature("one", true), feature("two", false)]});
        assert_eq!(features(&document), ["kernel 6.18.5, 1 of 2", "missing: bpf_two (Linux 5.18): a refusal is EPERM"]);
    }

    #[test]
    fn a_sink_says_how_far_it_is_and_what_keeps_it() {
        let mut status =
            SinkStatus { name: "siem".into(), to: "syslog at h:6514 over TLS".into(), ..SinkStatus::default() };
        (status.delivered, status.sequence, status.behind) = (7, Some(20), 3);
        let first = "siem: syslog at h:6514 over TLS, 7 records delivered up to frame 20, 3 frames behind";
        assert_eq!(sink(&status), [first]);
        status.undeliverable = 1;
        status.error = Some("no answer".into());
        status.retry_at = Some("12:00".into());
        let refused = "  1 records refused: their ids are in sinks/siem.undeliverable";
        assert_eq!(sink(&status), [first, refused, "  no answer; next attempt at 12:00"]);
    }

    #[test]
    fn a_witness_says_what_it_has_seen_and_what_keeps_it() {
        let mut status = WitnessStatus { name: "w".into(), to: "directory /mnt".into(), ..WitnessStatus::default() };
        assert_eq!(witness(&status), ["w: directory /mnt, has seen nothing yet"]);
        (status.size, status.at) = (Some(7), Some("12:00".into()));
        (status.error, status.retry_at) = (Some("it is full".into()), Some("12:01".into()));
        let lines = ["w: directory /mnt, has seen 7 leaves at 12:00", "  it is full; next attempt at 12:01"];
        assert_eq!(witness(&status), lines);
    }

    #[test]
    fn reasons_and_remedies_come_first() {
        let reasons =
            vec![Reason { concern: Concern::Daemon, what: "no daemon runs".to_owned(), remedy: "start it".to_owned() }];
        let text = absent(&Absent {
            state: State::Stopped,
            reasons,
            pid: None,
            pins: PathBuf::from("/sys/fs/bpf/interceptor/default"),
            pins_named_by: "/state/run/pins".to_owned(),
            attached: 10,
            destinations: 4,
            counters: [("RefusedStale".to_owned(), 3)].into(),
        });
        let expected = "\
state       stopped
because     no daemon runs
            -> start it
kernel      10 programs attached, 4 destinations captured
pins        /sys/fs/bpf/interceptor/default (named by /state/run/pins)
counters    RefusedStale 3
";
        assert_eq!(text, expected);
    }
}
