//! The verdict: what the self-test found, against how it should be.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use interceptor_ebpf::{Counter, MAX_ENDPOINTS, MAX_FLOWS, MAX_LISTENERS};
use jiff::{SignedDuration, Timestamp};

use super::status::{
    Canary, Concern, FailedUpgrade, Gauge, NamespaceCount, Reason, SelfTest, State, Status, WorkerSign,
};
use super::supervisor::{CallerFacts, Facts, Settings};
use crate::capture::{BootTime, Capture, Effective, Error, Pinned, Stats};
use crate::proxy::Pulse;
use crate::sinks::SinkStatus;

/// A worker that was silent for so long is stuck.
const SILENT: Duration = Duration::from_secs(1);

/// A map that is fuller than this many percent is worth a warning: full, it makes connections fail.
const FULL: usize = 80;

/// A sink that has failed for so long is worth a warning: receivers are restarted every now and then.
const SINK_FAILS: SignedDuration = SignedDuration::from_mins(5);

/// Days before the CA's certificate expires from which on it is worth a warning.
const CA_DAYS: i64 = 30;

/// What is new since the last test is trouble; what was before has been reported.
const LOSSES: [(Counter, &str, &str); 7] = [
    (
        Counter::FlowLost,
        "redirected connections were lost because the map of flows was full",
        "find out who opens so many connections; limits per user hold them back",
    ),
    (
        Counter::EventLost,
        "events of the kernel programs were lost",
        "namespaces and refusals may have gone unseen; find out who causes so many",
    ),
    (
        Counter::DnsLost,
        "DNS answers were lost",
        "addresses of endpoints may be missing; enrol strict mode where that matters",
    ),
    (
        Counter::RefusedStale,
        "connections were refused because a worker gave no sign of life",
        "see the log for the worker's name; give the daemon more CPU time (CPUWeight)",
    ),
    (
        Counter::RefusedQuota,
        "connections were refused because their user has too many that wait to be accepted",
        "see the log for the user; give the daemon more CPU time if that user did nothing unusual",
    ),
    (
        Counter::RefusedNoStorage,
        "connections were refused because the kernel had no memory for where they were going",
        "free memory on this host",
    ),
    (
        Counter::SnapshotLost,
        "callers could not be noted at their connect call, as too many wait to be accepted",
        "who exits at once is known by ids alone; find out who opens so many connections",
    ),
];

/// The last verdict, and what it rests on.
pub(super) struct Health {
    settings: Settings,
    started: Timestamp,
    since: Timestamp,
    reasons: Vec<Reason>,
    found: Found,
    failed_upgrade: Option<FailedUpgrade>,
    /// Counters at the test before, to tell what is new.
    before: Option<Stats>,
    namespaces_refused: u64,
}

#[derive(Default)]
struct Found {
    tested_at: Option<Timestamp>,
    ipv4: Canary,
    ipv6: Canary,
    effective: Effective,
    maps: Vec<Gauge>,
    counters: BTreeMap<String, u64>,
    workers: Vec<WorkerSign>,
    namespaces: NamespaceCount,
    facts: Facts,
}

impl Health {
    pub(super) fn new(settings: Settings) -> Self {
        let started = Timestamp::now();
        Self {
            settings,
            started,
            since: started,
            reasons: Vec::new(),
            found: Found::default(),
            failed_upgrade: None,
            before: None,
            namespaces_refused: 0,
        }
    }

    /// Whether there is a verdict.
    pub(super) fn tested(&self) -> bool {
        self.found.tested_at.is_some()
    }

    /// Looks at everything and comes to a verdict.
    pub(super) fn judge(
        &mut self,
        canaries: (Canary, Canary),
        capture: &Capture,
        pulses: &[Arc<Pulse>],
        namespaces: NamespaceCount,
        facts: Facts,
    ) {
        let mut reasons = Reasons::default();
        let effective =
            reasons.or_default(Concern::Programs, self.effective(), "the attached programs cannot be asked for");
        let stats = capture.stats();
        let waiting = reasons.or_default(Concern::Map, capture.flows().waiting(), "the map of flows cannot be read");
        let announced = reasons.or_default(Concern::Map, capture.announced(), "the map of listeners cannot be read");
        let gauge = |name: &str, used, capacity| Gauge { name: name.to_owned(), used, capacity };
        let (ipv4, ipv6) = match effective.covers_daemon {
            true => canaries,
            // Not captured, so that nothing can be learnt from it.
            false => (Canary::Untried, Canary::Untried),
        };
        let now = BootTime::now();
        let signs = pulses.iter().map(|pulse| WorkerSign {
            name: pulse.name().to_owned(),
            silent_ms: pulse.age(now).as_millis().try_into().unwrap_or(u64::MAX),
        });
        let counters = counters(stats.as_ref().ok(), &facts);
        if let Some(Err(why)) = &facts.backstop {
            reasons.add(Concern::Backstop, why, "restart the daemon: it installs the backstop again");
        }
        self.found = Found {
            tested_at: Some(Timestamp::now()),
            ipv4,
            ipv6,
            effective,
            maps: vec![
                gauge("endpoints", facts.endpoints.addresses, MAX_ENDPOINTS),
                gauge("flows", waiting, MAX_FLOWS),
                gauge("listeners", announced, MAX_LISTENERS),
            ],
            counters,
            workers: signs.collect(),
            namespaces,
            facts,
        };
        self.found.complain(&mut reasons);
        if let Some(stats) = reasons.or_none(Concern::Map, stats, "the counters cannot be read") {
            self.complain_of_losses(&stats, &mut reasons);
            self.before = Some(stats);
        }
        if self.found.namespaces.refused
            > std::mem::replace(&mut self.namespaces_refused, self.found.namespaces.refused)
        {
            reasons.add(
                Concern::Namespaces,
                "network namespaces got no listener: enrolled connections are refused in them",
                "see the log for why; limits.namespaces and limits.namespaces_per_user bound them",
            );
        }
        reasons.0.extend(self.failed_upgrade.as_ref().map(FailedUpgrade::reason));
        self.conclude(reasons.0);
    }

    /// Counts anew what a report shows, without a new verdict.
    pub(super) fn count(&mut self, stats: Result<Stats, Error>, facts: &Facts) {
        self.found.facts.sinks.clone_from(&facts.sinks);
        self.found.facts.witnesses.clone_from(&facts.witnesses);
        // What cannot be read is told by the next self-test.
        let Ok(stats) = stats else { return };
        self.found.counters = counters(Some(&stats), facts);
    }

    /// This daemon goes on although it was to be replaced.
    pub(super) fn upgrade_failed(&mut self, why: String) {
        let failed = FailedUpgrade { at: Timestamp::now().to_string(), why };
        let earlier = self.failed_upgrade.replace(failed.clone()).map(|earlier| earlier.reason());
        let others = self.reasons.iter().filter(|reason| Some(*reason) != earlier.as_ref());
        let reasons = others.cloned().chain([failed.reason()]).collect();
        self.conclude(reasons);
    }

    fn effective(&self) -> Result<Effective, Error> {
        match Pinned::find(&self.settings.pins)? {
            Some(pinned) => pinned.effective(&self.settings.cgroup),
            None => Ok(Effective { gone: true, ..Effective::default() }),
        }
    }

    fn complain_of_losses(&self, stats: &Stats, reasons: &mut Reasons) {
        let Some(before) = &self.before else { return };
        for (counter, what, remedy) in LOSSES {
            let new = stats.get(counter).saturating_sub(before.get(counter));
            if new > 0 {
                reasons.add(Concern::Loss, format!("{new} {what}"), remedy);
            }
        }
    }

    fn conclude(&mut self, reasons: Vec<Reason>) {
        let before = self.state();
        for reason in reasons.iter().filter(|reason| !self.reasons.contains(reason)) {
            log::warn!("degraded: {}; {}", reason.what, reason.remedy);
        }
        self.reasons = reasons;
        if self.state() != before {
            self.since = Timestamp::now();
            if self.state() == State::Healthy {
                log::info!("healthy again");
            }
        }
    }

    fn state(&self) -> State {
        if self.reasons.is_empty() { State::Healthy } else { State::Degraded }
    }

    /// The report; `namespaces` as they are now.
    pub(super) fn status(&self, namespaces: NamespaceCount) -> Status {
        let Settings { cgroup, pins, port, transport, modes, features, .. } = self.settings.clone();
        let found = &self.found;
        Status {
            state: self.state(),
            since: self.since.to_string(),
            reasons: self.reasons.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started.to_string(),
            transport: transport.transport,
            transport_because: transport.because,
            cgroup,
            pins,
            port,
            modes: modes.into_iter().collect(),
            features,
            endpoints: found.facts.endpoints.clone(),
            namespaces,
            workers: found.workers.clone(),
            maps: found.maps.clone(),
            counters: found.counters.clone(),
            failed_upgrade: self.failed_upgrade.clone(),
            self_test: SelfTest {
                at: found.tested_at.map(|at| at.to_string()),
                ipv4: found.ipv4.clone(),
                ipv6: found.ipv6.clone(),
                foreign: found.effective.foreign.clone(),
            },
            ca_days: found.facts.ca_days,
            sinks: found.facts.sinks.clone(),
            witnesses: found.facts.witnesses.clone(),
        }
    }
}

fn counters(stats: Option<&Stats>, facts: &Facts) -> BTreeMap<String, u64> {
    let backstop = facts.backstop.as_ref().and_then(|refused| refused.as_ref().ok());
    let backstop = backstop.map(|refused| ("RefusedByBackstop".into(), *refused));
    let CallerFacts { unnamed, unreadable, .. } = facts.callers;
    let callers = [("CallersNotNamedInTime", unnamed), ("CallersHiddenByProc", unreadable)];
    let callers = callers.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count));
    stats.into_iter().flat_map(Stats::nonzero).chain(backstop).chain(callers).collect()
}

/// Whether the time that `since` says is longer ago than `age`.
fn is_older(since: &str, age: SignedDuration) -> bool {
    since.parse::<Timestamp>().is_ok_and(|since| Timestamp::now().duration_since(since) > age)
}

impl Found {
    fn complain(&self, reasons: &mut Reasons) {
        const AGAIN: &str = "restart the daemon: it attaches what is missing";
        if self.effective.gone {
            reasons.add(Concern::Programs, "the pins of the kernel programs are gone", AGAIN);
        }
        for fault in &self.effective.faults {
            reasons.add(Concern::Programs, fault, AGAIN);
        }
        for (family, canary) in [("IPv4", &self.ipv4), ("IPv6", &self.ipv6)] {
            let Canary::Failed(why) = canary else { continue };
            let others: Vec<_> = self.effective.foreign.iter().map(ToString::to_string).collect();
            let remedy = match others.as_slice() {
                [] => "restart the daemon; if that does not help, run it with INTERCEPTOR_LOG=debug".to_owned(),
                others => format!("look at the programs of others at the same hooks: {}", others.join(", ")),
            };
            let what = format!("a test connection over {family} did not come through: {why}");
            reasons.add(Concern::SelfTest, what, remedy);
        }
        for WorkerSign { name, silent_ms } in &self.workers {
            if u128::from(*silent_ms) > SILENT.as_millis() {
                let what = format!("{name} gives no sign of life since {silent_ms} ms");
                reasons.add(
                    Concern::Worker,
                    what,
                    "restart the daemon if it does not recover; the log says what it did last",
                );
            }
        }
        for SinkStatus { name, failing_since, missing, .. } in &self.facts.sinks {
            if let Some(since) = failing_since.as_ref().filter(|since| is_older(since, SINK_FAILS)) {
                let what = format!("the sink {name} delivers nothing since {since}");
                reasons.add(
                    Concern::Sink,
                    what,
                    "`interceptor status` says why; the audit log keeps the records until it does",
                );
            }
            if *missing > 0 {
                let what = format!("the sink {name} did not find {missing} frames of the audit log");
                reasons.add(Concern::Sink, what, "run `interceptor log verify`");
            }
        }
        for Gauge { name, used, capacity } in &self.maps {
            if used * 100 > capacity * FULL {
                let what = format!("the map of {name} is almost full: {used} of {capacity}");
                reasons.add(Concern::Map, what, "enrol fewer addresses, or find out who holds so many");
            }
        }
        if let Some(why) = &self.facts.audit {
            let what = format!("the audit log takes no records: {why}");
            reasons.add(Concern::AuditLog, what, "requests are denied until it does");
        }
        if let Some(why) = &self.facts.retention {
            let what = format!("retention did not remove all that is old: {why}");
            reasons.add(Concern::Retention, what, "tried again once a day; `interceptor log retain` does it now");
        }
        if let Some(days) = self.facts.ca_days.filter(|days| *days < CA_DAYS) {
            let what = format!("the internal CA's certificate expires in {days} days");
            reasons.add(Concern::Ca, what, "replace it with overlap: interceptor ca rotate");
        }
        if self.facts.callers.stuck > 0 {
            reasons.add(
                Concern::Callers,
                format!("{} threads that name callers are kept waiting", self.facts.callers.stuck),
                "the log names users whose processes do not answer; or the user database is out of reach",
            );
        }
        if !self.facts.endpoints.unresolved.is_empty() {
            let names = self.facts.endpoints.unresolved.join(", ");
            reasons.add(
                Concern::Names,
                format!("endpoints do not resolve: {names}"),
                "only addresses known from before, or seen in DNS answers, are captured; configure addresses",
            );
        }
    }
}

#[derive(Default)]
struct Reasons(Vec<Reason>);

impl Reasons {
    fn add(&mut self, concern: Concern, what: impl Display, remedy: impl Into<String>) {
        self.0.push(Reason { concern, what: what.to_string(), remedy: remedy.into() });
    }

    fn or_none<T>(&mut self, concern: Concern, result: Result<T, Error>, what: &str) -> Option<T> {
        let named = "the message names the remedy, if there is one";
        result.map_err(|e| self.add(concern, format!("{what}: {e}"), named)).ok()
    }

    fn or_default<T: Default>(&mut self, concern: Concern, result: Result<T, Error>, what: &str) -> T {
        self.or_none(concern, result, what).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Fault, Foreign};
    use crate::daemon::status::Endpoints;

    fn complaints(found: &Found) -> Vec<Reason> {
        let mut reasons = Reasons::default();
        found.complain(&mut reasons);
        reasons.0
    }

    #[test]
    fn nothing_wrong_is_healthy() {
        let found = Found { ipv4: Canary::Answered, ipv6: Canary::Answered, ..Found::default() };
        assert_eq!(complaints(&found), []);
    }

    #[test]
    fn each_thing_that_is_wrong_is_named_with_its_remedy() {
        let sign = WorkerSign { name: "worker-3".to_owned(), silent_ms: 1700 };
        let gauge = Gauge { name: "flows".to_owned(), used: 90, capacity: 100 };
        let unresolved = vec!["llm.corp.example: no such name".to_owned()];
        let callers = CallerFacts { stuck: 3, ..CallerFacts::default() };
        let rows: [(Found, &str); 8] = [
            (
                Found {
                    effective: Effective {
                        faults: vec![Fault::Detached { program: "connect4".to_owned() }],
                        ..Effective::default()
                    },
                    ..Found::default()
                },
                "connect4 is detached",
            ),
            (Found { ipv6: Canary::Failed("refused".to_owned()), ..Found::default() }, "over IPv6"),
            (Found { workers: vec![sign], ..Found::default() }, "worker-3"),
            (Found { facts: Facts { callers, ..Facts::default() }, ..Found::default() }, "3 threads"),
            (Found { maps: vec![gauge], ..Found::default() }, "90 of 100"),
            (
                Found { facts: Facts { audit: Some("no space".to_owned()), ..Facts::default() }, ..Found::default() },
                "no space",
            ),
            (
                Found {
                    facts: Facts { retention: Some("the clock".to_owned()), ..Facts::default() },
                    ..Found::default()
                },
                "the clock",
            ),
            (
                Found {
                    facts: Facts { endpoints: Endpoints { unresolved, ..Endpoints::default() }, ..Facts::default() },
                    ..Found::default()
                },
                "llm.corp.example",
            ),
        ];
        for (found, what) in rows {
            let reasons = complaints(&found);
            assert_eq!(reasons.len(), 1, "{reasons:?}");
            assert!(reasons[0].what.contains(what) && !reasons[0].remedy.is_empty(), "{reasons:?}");
        }
    }

    #[test]
    fn a_program_that_denies_is_named() {
        let foreign = Foreign { hook: "connect4".to_owned(), id: 77, name: Some("deny_all".to_owned()) };
        let effective = Effective { foreign: vec![foreign], ..Effective::default() };
        let found = Found { effective, ipv4: Canary::Failed("EPERM".to_owned()), ..Found::default() };
        let reasons = complaints(&found);
        assert!(reasons[0].remedy.contains("deny_all (id 77) at connect4"), "{reasons:?}");
    }
}
