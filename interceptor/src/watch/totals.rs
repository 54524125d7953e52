//! What the log's records come to since this daemon began, in numbers. No label is text that a client or an endpoint made
//! up: what is none of the known words counts as `other` or `none`.

use std::collections::BTreeMap;

use super::family::{Family, Kind};
use crate::audit::{Record, State};
use crate::flow::{Histogram, Provider};

/// Upper bounds of what the interceptor adds to a request, in seconds.
const OVERHEAD_SECONDS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];
/// Upper bounds of how long an endpoint takes to begin its answer, in seconds.
const FIRST_BYTE_SECONDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Kinds of values that are told apart: the rules know them, and there are fewer than that.
const TYPES: usize = 1000;
const OTHER: &str = "other";
const NONE: &str = "none";

/// The numbers.
#[derive(Debug)]
pub(super) struct Totals {
    /// By provider, decision and class of the status.
    requests: BTreeMap<[&'static str; 3], u64>,
    aborted: u64,
    /// By type and action.
    findings: BTreeMap<(String, String), u64>,
    bytes: Bytes,
    /// By provider; of the request and of the answer.
    tokens: BTreeMap<&'static str, (u64, u64)>,
    overhead: Histogram,
    first_byte: Histogram,
    damaged: u64,
    /// By rule: raised, and counted while the rule was quiet.
    alerts: BTreeMap<String, (u64, u64)>,
    /// Frames of the log that were not looked at yet.
    pub(super) behind: u64,
}

#[derive(Debug, Default)]
struct Bytes {
    requests: u64,
    scanned: u64,
    opaque: u64,
    responses: u64,
}

impl Totals {
    pub(super) fn new() -> Self {
        Self {
            requests: BTreeMap::new(),
            aborted: 0,
            findings: BTreeMap::new(),
            bytes: Bytes::default(),
            tokens: BTreeMap::new(),
            overhead: Histogram::new(&OVERHEAD_SECONDS),
            first_byte: Histogram::new(&FIRST_BYTE_SECONDS),
            damaged: 0,
            alerts: BTreeMap::new(),
            behind: 0,
        }
    }

    /// Counts a record that has ended.
    pub(super) fn count(&mut self, record: &Record) {
        let provider = provider(record.endpoint.provider.as_deref());
        let decision = decision(record.decision.action.as_deref());
        *self.requests.entry([provider, decision, class(record.response.status)]).or_default() += 1;
        self.aborted += u64::from(record.state == State::Aborted);
        self.damaged += u64::from(record.log.damaged);
        for finding in &record.findings {
            let mut key = (finding.entity.clone(), finding.action.to_string());
            if self.findings.len() >= TYPES && !self.findings.contains_key(&key) {
                OTHER.clone_into(&mut key.0);
            }
            add(self.findings.entry(key).or_default(), Some(finding.count));
        }
        add(&mut self.bytes.requests, record.request.bytes);
        add(&mut self.bytes.scanned, record.coverage.scanned_bytes);
        add(&mut self.bytes.opaque, record.coverage.opaque_bytes);
        add(&mut self.bytes.responses, record.response.bytes);
        let (input, output) = record.response.tokens();
        if input.or(output).is_some() {
            let tokens = self.tokens.entry(provider).or_default();
            add(&mut tokens.0, input);
            add(&mut tokens.1, output);
        }
        record.timing.overhead_us.into_iter().for_each(|us| self.overhead.add(us as f64 / 1e6));
        record.timing.first_byte_us.into_iter().for_each(|us| self.first_byte.add(us as f64 / 1e6));
    }

    /// Counts an alert, and what was counted for `rule` while it was quiet.
    pub(super) fn alert(&mut self, rule: &str, raised: u64, suppressed: u64) {
        let counts = self.alerts.entry(rule.to_owned()).or_default();
        counts.0 += raised;
        counts.1 += suppressed;
    }

    pub(super) fn families(&self) -> Vec<Family> {
        use Kind::{Counter, Gauge, Histogram};
        let requests = self.requests.iter().map(|([provider, decision, status], count)| {
            ([("provider", *provider), ("decision", *decision), ("status", *status)], *count)
        });
        let findings =
            self.findings.iter().map(|((entity, action), count)| ([("type", entity), ("action", action)], *count));
        let tokens = self.tokens.iter().flat_map(|(provider, (input, output))| {
            [("input", *input), ("output", *output)]
                .map(|(direction, count)| ([("provider", *provider), ("direction", direction)], count))
        });
        let raised = self.alerts.iter().map(|(rule, (raised, _))| ([("alert", rule)], *raised));
        let suppressed = self.alerts.iter().map(|(rule, (_, suppressed))| ([("alert", rule)], *suppressed));
        let Bytes { requests: asked, scanned, opaque, responses } = self.bytes;
        vec![
            Family::new(Counter, "interceptor_requests", "Exchanges that ended, by what was decided")
                .with_all(requests),
            Family::new(Counter, "interceptor_requests_aborted", "Exchanges that ended before their end")
                .of(self.aborted),
            Family::new(Counter, "interceptor_findings", "Values found, by what was done with them").with_all(findings),
            Family::new(Counter, "interceptor_request", "Bodies of requests").in_unit("bytes").of(asked),
            Family::new(Counter, "interceptor_scanned", "Text that was scanned").in_unit("bytes").of(scanned),
            Family::new(Counter, "interceptor_opaque", "Content that could not be read as text")
                .in_unit("bytes")
                .of(opaque),
            Family::new(Counter, "interceptor_response", "Bodies of responses").in_unit("bytes").of(responses),
            Family::new(Counter, "interceptor_tokens", "Tokens as providers counted them").with_all(tokens),
            Family::new(Histogram, "interceptor_overhead", "What the interceptor added to a request")
                .in_unit("seconds")
                .of(self.overhead.clone()),
            Family::new(Histogram, "interceptor_first_byte", "From a request to the first byte of its answer")
                .in_unit("seconds")
                .of(self.first_byte.clone()),
            Family::new(Counter, "interceptor_records_damaged", "Records that are not what was written")
                .of(self.damaged),
            Family::new(Counter, "interceptor_alerts", "Alerts raised").with_all(raised),
            Family::new(Counter, "interceptor_alerts_suppressed", "Counted while a rule was quiet")
                .with_all(suppressed),
            Family::new(Gauge, "interceptor_uncounted_frames", "Signed frames of the log that these counts lack")
                .of(self.behind as f64),
        ]
    }
}

/// An endpoint may claim any number.
fn add(to: &mut u64, more: Option<u64>) {
    *to = to.saturating_add(more.unwrap_or_default());
}

fn provider(name: Option<&str>) -> &'static str {
    let Some(name) = name else { return NONE };
    Provider::ALL.iter().map(|provider| provider.as_str()).find(|known| *known == name).unwrap_or(OTHER)
}

fn decision(action: Option<&str>) -> &'static str {
    let Some(action) = action else { return NONE };
    ["allow", "mask", "deny", "splice"].into_iter().find(|known| *known == action).unwrap_or(OTHER)
}

fn class(status: Option<u16>) -> &'static str {
    match status.map(|status| status / 100) {
        Some(1) => "1xx",
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(5) => "5xx",
        Some(_) => OTHER,
        None => NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::family::openmetrics;
    use super::*;
    use crate::audit::FindingCount;
    use crate::flow::{Action, ExchangeId};

    fn record() -> Record {
        let mut record = Record::new(ExchangeId::new());
        record.endpoint.provider = Some("openai".into());
        record.decision.action = Some("mask".into());
        record.response.status = Some(200);
        record.request.bytes = Some(100);
        record.response.usage = Some(serde_json::json!({"input_tokens": 4, "output_tokens": u64::MAX}));
        record.timing.overhead_us = Some(80);
        record.findings =
            vec![FindingCount { entity: "EMAIL".into(), rule: "email".into(), count: 3, action: Action::Mask }];
        record
    }

    #[test]
    fn records_are_counted_by_known_words_only() {
        let mut totals = Totals::new();
        totals.count(&record());
        totals.count(&record());
        let mut odd = record();
        odd.endpoint.provider = Some("made\"up".into());
        odd.decision.action = Some("x".into());
        odd.response.status = Some(999);
        odd.request.model = Some("anything".into());
        totals.count(&odd);
        let text = openmetrics(totals.families()).unwrap();
        for line in [
            "interceptor_requests_total{provider=\"openai\",decision=\"mask\",status=\"2xx\"} 2\n",
            "interceptor_requests_total{provider=\"other\",decision=\"other\",status=\"other\"} 1\n",
            "interceptor_findings_total{type=\"EMAIL\",action=\"mask\"} 9\n",
            "interceptor_request_bytes_total 300\n",
            "interceptor_tokens_total{provider=\"openai\",direction=\"input\"} 8\n",
            "interceptor_overhead_seconds_bucket{le=\"0.0001\"} 3\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("made") && !text.contains("anything"), "{text}");
    }

    #[test]
    fn types_without_end_do_not_take_memory_without_end() {
        let mut totals = Totals::new();
        for number in 0..2 * TYPES {
            let mut record = record();
            record.findings[0].entity = format!("TYPE_{number}");
            totals.count(&record);
        }
        assert_eq!(totals.findings.len(), TYPES + 1);
        assert_eq!(totals.findings[&("other".to_owned(), "mask".to_owned())], 3 * TYPES as u64);
    }
}
