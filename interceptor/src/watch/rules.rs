//! What raises an alert: rules of the configuration and the daemon's own, over what the log says and how the daemon is.
//! No clock, no files: what is told in the same order comes to the same alerts, so a daemon that reads the last hour of the
//! log again knows what was counted, and what was raised already.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::settings::{AlertRule, Per, When};
use crate::audit::{Alert, Note, Record, Time};
use crate::flow::{ExchangeId, Severity};

/// A client ended the TLS handshake: mostly one that does not trust the internal CA.
const CLIENT_REFUSED: &str = "client_refused";
/// An endpoint's certificate was refused.
const ENDPOINT_REFUSED: &str = "endpoint_refused";
/// A record of the log is not what was written.
const LOG_DAMAGED: &str = "log_damaged";
/// The log is another one, or in an earlier state.
pub(super) const LOG_REPLACED: &str = "log_replaced";
/// A self-test found something wrong.
pub(super) const DEGRADED: &str = "degraded";
/// A receiver refused something for good.
pub(super) const UNDELIVERABLE: &str = "undeliverable";
/// What a witness has seen is not how the log begins.
pub(super) const WITNESS_CONTRADICTS: &str = "witness_contradicts";
/// The names of the daemon's own rules.
pub(super) const OWN: [&str; 7] =
    [CLIENT_REFUSED, ENDPOINT_REFUSED, LOG_DAMAGED, LOG_REPLACED, DEGRADED, UNDELIVERABLE, WITNESS_CONTRADICTS];

/// Seconds that one of the daemon's own rules is quiet about a key after an alert.
const OWN_WINDOW_S: u64 = 600;
/// Records that an alert names.
const RECORDS: usize = 20;
/// Into so many slices a window is divided: what is counted within one is forgotten together.
const SLICES: u64 = 64;
/// Types of findings that an alert names.
const TYPES: usize = 50;
/// Keys that a rule tells apart. What comes beyond is counted together.
const KEYS: usize = 4096;
const OTHERS: &str = "others";
const SECOND: u64 = 1_000_000_000;

/// A rule's name and what it is about.
type Key = (String, String);

/// Everything that may raise an alert, and what was counted for it.
pub(super) struct Rules {
    configured: Vec<AlertRule>,
    own: Vec<AlertRule>,
    severities: HashMap<String, Severity>,
    windows: HashMap<Key, VecDeque<Slice>>,
    quiet: HashMap<Key, Quiet>,
    due: BTreeMap<Key, Alert>,
}

/// Something that counts for a rule.
struct Hit {
    at: u64,
    count: u64,
    types: BTreeMap<String, u64>,
    record: Option<ExchangeId>,
}

/// What was counted in a slice of a window.
#[derive(Debug, Default)]
struct Slice {
    from: u64,
    count: u64,
    types: BTreeMap<String, u64>,
    records: VecDeque<ExchangeId>,
}

impl Slice {
    fn add(&mut self, hit: Hit) {
        self.count = self.count.saturating_add(hit.count);
        for (kind, count) in hit.types {
            if self.types.len() < TYPES || self.types.contains_key(&kind) {
                let sum = self.types.entry(kind).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        self.records.extend(hit.record);
        if self.records.len() > RECORDS {
            self.records.pop_front();
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Quiet {
    until: u64,
    suppressed: u64,
}

impl Quiet {
    /// Whether it is quiet at a time, of a rule with this window. An alert is hardly ever of a time after that of what comes
    /// later in the log: one that is by more than a window was raised by a clock that was ahead, and has been put right.
    fn holds(&self, at: u64, window: u64) -> bool {
        at < self.until && self.until - at <= window.saturating_mul(2)
    }
}

/// What was counted for a rule while it was quiet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suppressed {
    pub(super) rule: String,
    pub(super) count: u64,
}

/// What an alert says besides what was counted.
struct About<'a> {
    rule: &'a AlertRule,
    key: String,
    caller: Option<String>,
    uid: Option<u32>,
    endpoint: Option<String>,
    /// In words; none: what was counted, of whom.
    reason: Option<String>,
}

impl Rules {
    /// `severities` of masking rules by their names.
    pub(super) fn new(configured: Vec<AlertRule>, severities: HashMap<String, Severity>) -> Self {
        let own =
            vec![own(CLIENT_REFUSED, Per::Caller), own(ENDPOINT_REFUSED, Per::Endpoint), own(LOG_DAMAGED, Per::Host)];
        Self { configured, own, severities, windows: HashMap::new(), quiet: HashMap::new(), due: BTreeMap::new() }
    }

    /// How far back from now something may still count.
    pub(super) fn memory(&self) -> std::time::Duration {
        let windows = self.configured.iter().chain(&self.own).map(|rule| rule.window_s);
        std::time::Duration::from_secs(windows.max().unwrap_or_default())
    }

    /// Takes a record that has ended. Gives what it would have raised, had its rule not been quiet.
    pub(super) fn record(&mut self, record: &Record) -> Vec<Suppressed> {
        let at = record.time.unix_ns().saturating_add(record.timing.total_us.unwrap_or_default().saturating_mul(1000));
        let hits = self.configured.iter().filter_map(|rule| Some((rule, self.counted(rule, record)?)));
        let own = self.own.iter().filter(|rule| happened(&rule.name, record));
        let own = own.map(|rule| (rule, (1, BTreeMap::new())));
        let hits: Vec<_> = hits.chain(own).map(|(rule, found)| (rule.clone(), found)).collect();
        let hits = hits.into_iter().map(|(rule, (count, types))| {
            let hit = Hit { at, count, types, record: Some(record.id) };
            let about = About {
                key: key(rule.per, record),
                caller: Some(record.caller.short()).filter(|caller| caller != "-"),
                uid: record.caller.uid,
                endpoint: record.endpoint.host.clone(),
                reason: OWN.contains(&rule.name.as_str()).then(|| own_reason(&rule.name, record)),
                rule: &rule,
            };
            self.hit(about, hit)
        });
        hits.flatten().collect()
    }

    /// Takes what the daemon, not the log, says: `rule` is one of [`OWN`].
    pub(super) fn tell(&mut self, rule: &str, key: &str, count: u64, reason: String, now: Time) -> Option<Suppressed> {
        let rule = own(rule, Per::Host);
        let hit = Hit { at: now.unix_ns(), count, types: BTreeMap::new(), record: None };
        let key = key.to_owned();
        self.hit(About { rule: &rule, key, caller: None, uid: None, endpoint: None, reason: Some(reason) }, hit)
    }

    /// Takes a note. An alert of this log's was raised: what it says is not raised again.
    pub(super) fn note(&mut self, note: &Note) {
        let Some(alert) = Alert::of(note) else { return };
        let key = (alert.name.clone(), alert.key.clone());
        let at = alert.time.unix_ns();
        let window = alert.window_s.saturating_mul(SECOND);
        let until = at.saturating_add(window);
        // Who began to read later than the one who raised it may have counted to a later record.
        if self.due.get(&key).is_some_and(|due| due.time.unix_ns() < until) {
            self.due.remove(&key);
        }
        let quiet = self.quiet.entry(key.clone()).or_insert(Quiet { until, suppressed: 0 });
        if quiet.until < until || !quiet.holds(at, window) {
            *quiet = Quiet { until, suppressed: 0 };
            self.windows.remove(&key);
        }
    }

    /// Alerts that are to be raised. Each is given until it [was](Self::raised).
    pub(super) fn due(&self) -> impl Iterator<Item = &Alert> {
        self.due.values()
    }

    /// An alert is in the log.
    pub(super) fn raised(&mut self, alert: &Alert) {
        self.due.remove(&(alert.name.clone(), alert.key.clone()));
    }

    fn counted(&self, rule: &AlertRule, record: &Record) -> Option<(u64, BTreeMap<String, u64>)> {
        let is = |is: bool| is.then(|| (1, BTreeMap::new()));
        match rule.when {
            When::Requests => is(true),
            When::Denied => is(record.decision.action.as_deref() == Some("deny")),
            When::Opaque => is(record.coverage.opaque_bytes.is_some_and(|bytes| bytes > 0)),
            When::Findings => {
                let mut types = BTreeMap::<String, u64>::new();
                let chosen = record.findings.iter().filter(|finding| {
                    // The severity of a rule that is not there any more is not known: it counts.
                    let severity = self.severities.get(&finding.rule).copied().unwrap_or(Severity::High);
                    rule.severity.is_none_or(|least| severity >= least)
                        && (rule.types.is_empty() || rule.types.iter().any(|kind| kind.matches(&finding.entity)))
                });
                for finding in chosen {
                    let count = types.entry(finding.entity.clone()).or_default();
                    *count = count.saturating_add(finding.count);
                }
                let count = types.values().fold(0, |sum: u64, count| sum.saturating_add(*count));
                (count > 0).then_some((count, types))
            }
        }
    }

    fn hit(&mut self, about: About<'_>, hit: Hit) -> Option<Suppressed> {
        let window = about.rule.window_s.saturating_mul(SECOND);
        let mut key = (about.rule.name.clone(), about.key.clone());
        if self.is_full(&key, hit.at) {
            OTHERS.clone_into(&mut key.1);
        }
        if let Some(quiet) = self.quiet.get_mut(&key).filter(|quiet| quiet.holds(hit.at, window)) {
            quiet.suppressed = quiet.suppressed.saturating_add(hit.count);
            return Some(Suppressed { rule: key.0, count: hit.count });
        }
        let at = hit.at;
        let slices = self.windows.entry(key.clone()).or_default();
        // What counted before a clock was put back by more counts no more.
        slices.retain(|slice| at < slice.from.saturating_add(window) && slice.from <= at.saturating_add(window));
        match slices.back_mut() {
            Some(last) if at.saturating_sub(last.from) < window / SLICES => last.add(hit),
            _ => {
                slices.push_back(Slice { from: at, ..Slice::default() });
                slices.back_mut().expect("just added").add(hit);
            }
        }
        let count = slices.iter().fold(0, |sum: u64, slice| sum.saturating_add(slice.count));
        if count < about.rule.count {
            return None;
        }
        let slices = self.windows.remove(&key).unwrap_or_default();
        let suppressed = self.quiet.get(&key).map_or(0, |quiet| quiet.suppressed);
        self.quiet.insert(key.clone(), Quiet { until: at.saturating_add(window), suppressed: 0 });
        let alert = alert(about, key.1.clone(), at, &slices, (count, suppressed));
        // The log took none of it yet: the first says how much more there was.
        let more = count.saturating_add(suppressed);
        let due = self.due.entry(key).and_modify(|due| due.suppressed = due.suppressed.saturating_add(more));
        due.or_insert(alert);
        None
    }

    /// Whether there are too many keys for a new one, after those that count for nothing any more were forgotten.
    fn is_full(&mut self, key: &Key, now: u64) -> bool {
        if self.windows.len() + self.quiet.len() < KEYS
            || self.windows.contains_key(key)
            || self.quiet.contains_key(key)
        {
            return false;
        }
        let memory = u64::try_from(self.memory().as_nanos()).unwrap_or(u64::MAX);
        self.windows.retain(|_, slices| slices.back().is_some_and(|slice| slice.from.saturating_add(memory) > now));
        self.quiet.retain(|_, quiet| quiet.until > now);
        self.windows.len() + self.quiet.len() >= KEYS
    }
}

/// One of the daemon's own rules.
fn own(name: &str, per: Per) -> AlertRule {
    AlertRule {
        name: name.to_owned(),
        when: When::Requests,
        severity: None,
        types: Vec::new(),
        count: 1,
        window_s: OWN_WINDOW_S,
        per,
        level: if name == CLIENT_REFUSED { Severity::Medium } else { Severity::High },
    }
}

fn alert(about: About<'_>, key: String, at: u64, slices: &VecDeque<Slice>, (count, suppressed): (u64, u64)) -> Alert {
    let mut all = Slice::default();
    for slice in slices {
        all.add(Hit { at, count: 0, types: slice.types.clone(), record: None });
    }
    let records: Vec<_> = slices.iter().flat_map(|slice| slice.records.iter().copied()).collect();
    let rule = about.rule;
    let reason = about.reason.unwrap_or_else(|| {
        let what = match rule.when {
            When::Findings => "findings",
            When::Denied => "denied requests",
            When::Opaque => "requests with content that could not be read",
            When::Requests => "requests",
        };
        let whose = match rule.per {
            Per::Caller => format!(" of {}", about.caller.as_deref().unwrap_or(&key)),
            Per::Endpoint => format!(" to {key}"),
            Per::Host => String::new(),
        };
        format!("{count} {what}{whose} within {} s", rule.window_s)
    });
    Alert {
        name: rule.name.clone(),
        key,
        severity: rule.level,
        time: Time::from_unix_ns(at),
        reason,
        count,
        window_s: rule.window_s,
        suppressed,
        caller: about.caller,
        uid: about.uid,
        endpoint: about.endpoint,
        types: all.types,
        records: records[records.len().saturating_sub(RECORDS)..].to_vec(),
    }
}

/// Whether a record is of what one of the daemon's own rules is about.
fn happened(rule: &str, record: &Record) -> bool {
    let decided_by = record.decision.rule.as_deref();
    match rule {
        CLIENT_REFUSED => decided_by == Some("tls.handshake"),
        ENDPOINT_REFUSED => decided_by == Some("upstream.certificate"),
        LOG_DAMAGED => record.log.damaged,
        _ => false,
    }
}

fn own_reason(rule: &str, record: &Record) -> String {
    let why = record.decision.reason.as_deref().unwrap_or("no reason is recorded");
    match rule {
        LOG_DAMAGED => "a record of the audit log is not what was written: run `interceptor log verify`".to_owned(),
        _ => why.to_owned(),
    }
}

fn key(per: Per, record: &Record) -> String {
    match per {
        Per::Caller => record.caller.uid.map_or_else(|| "unknown".to_owned(), |uid| format!("uid:{uid}")),
        Per::Endpoint => record.endpoint.host.clone().unwrap_or_else(|| "unknown".to_owned()),
        Per::Host => String::new(),
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
