//! `interceptor log stats`: what a log holds, counted.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::filter::{self, Filter};
use super::table::{Style, clean, colour, millis};
use super::{report_damage, tell};
use crate::audit::{Query, Reader, Record, Time};
use crate::cli::Failure;
use crate::cli::pager::Paging;

/// Arguments of `interceptor log stats`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  interceptor log stats --since today
  interceptor log stats --type CREDIT_CARD --top 3
  interceptor log stats --json | jq .findings

{}

Exit status: 0 counted, also when there is nothing; 2 there is no log, or it may not be read.", filter::HELP))]
pub(crate) struct Args {
    /// How many of each kind to show, the most frequent first
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// One JSON document, with all of each kind
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    pub(super) paging: Paging,
}

/// What was counted.
#[derive(Debug, Default, Serialize)]
struct Stats {
    records: u64,
    /// Of the first and of the last record.
    from: Option<Time>,
    to: Option<Time>,
    request_bytes: u64,
    response_bytes: u64,
    /// As providers counted them.
    input_tokens: u64,
    output_tokens: u64,
    decisions: Counts,
    callers: Counts,
    endpoints: Counts,
    models: Counts,
    statuses: Counts,
    /// Values found, by type.
    findings: Counts,
    /// Rules of policy that decided.
    rules: Counts,
    /// What the interceptor added to each request.
    overhead_us: Spread,
}

/// How often something occurred.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
struct Counts(BTreeMap<String, u64>);

/// The middle and the end of many values.
#[derive(Debug, Default, Serialize)]
struct Spread {
    /// How often each value came: the values are few, and the records many.
    #[serde(skip)]
    values: BTreeMap<u64, u64>,
    p50: Option<u64>,
    p99: Option<u64>,
    max: Option<u64>,
}

impl Counts {
    fn add(&mut self, what: Option<String>, count: u64) {
        let sum = self.0.entry(what.unwrap_or_else(|| "-".to_owned())).or_default();
        *sum = sum.saturating_add(count);
    }

    /// The most frequent first; those of one frequency by name.
    fn sorted(&self) -> Vec<(&str, u64)> {
        let mut sorted: Vec<_> = self.0.iter().map(|(what, count)| (&**what, *count)).collect();
        sorted.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        sorted
    }
}

impl Spread {
    fn finish(&mut self) {
        let total: u64 = self.values.values().sum();
        let at = |percent: u64| {
            let mut below = 0;
            let reaches = |(_, count): &(&u64, &u64)| {
                below += **count;
                below >= (total * percent).div_ceil(100)
            };
            self.values.iter().find(reaches).map(|(value, _)| *value)
        };
        let (p50, p99) = (at(50), at(99));
        (self.p50, self.p99, self.max) = (p50, p99, self.values.keys().next_back().copied());
    }
}

impl Stats {
    fn add(&mut self, record: &Record) {
        self.records += 1;
        self.from = Some(self.from.map_or(record.time, |from| from.min(record.time)));
        self.to = Some(self.to.map_or(record.time, |to| to.max(record.time)));
        // Endpoints say what they like.
        let add = |sum: &mut u64, more: Option<u64>| *sum = sum.saturating_add(more.unwrap_or(0));
        add(&mut self.request_bytes, record.request.bytes);
        add(&mut self.response_bytes, record.response.bytes);
        let (input, output) = record.response.tokens();
        add(&mut self.input_tokens, input);
        add(&mut self.output_tokens, output);
        self.decisions.add(record.decision.action.clone(), 1);
        self.callers.add(Some(record.caller.short()), 1);
        self.endpoints.add(record.endpoint.host.clone().or_else(|| record.endpoint.provider.clone()), 1);
        self.models.add(record.request.model.clone(), 1);
        self.statuses.add(record.response.status.map(|status| status.to_string()), 1);
        for finding in &record.findings {
            self.findings.add(Some(finding.entity.clone()), finding.count);
        }
        if let Some(rule) = &record.decision.rule {
            self.rules.add(Some(rule.clone()), 1);
        }
        if let Some(overhead) = record.timing.overhead_us {
            *self.overhead_us.values.entry(overhead).or_default() += 1;
        }
    }

    fn write(&self, out: &mut impl Write, top: usize) -> io::Result<()> {
        let (Some(from), Some(to)) = (self.from, self.to) else { return Ok(()) };
        writeln!(out, "records    {} from {} to {} (UTC)", self.records, millis(from), millis(to))?;
        writeln!(out, "requests   {}, {} tokens", bytes(self.request_bytes), self.input_tokens)?;
        writeln!(out, "responses  {}, {} tokens", bytes(self.response_bytes), self.output_tokens)?;
        let spread = &self.overhead_us;
        if let (Some(p50), Some(p99), Some(max)) = (spread.p50, spread.p99, spread.max) {
            writeln!(out, "added      {p50} µs in the median, {p99} µs in 99 of 100, {max} µs at most")?;
        }
        for (title, counts) in [
            ("DECISION", &self.decisions),
            ("CALLER", &self.callers),
            ("ENDPOINT", &self.endpoints),
            ("MODEL", &self.models),
            ("STATUS", &self.statuses),
            ("FOUND", &self.findings),
            ("RULE", &self.rules),
        ] {
            counts.write(out, title, top)?;
        }
        Ok(())
    }
}

impl Counts {
    fn write(&self, out: &mut impl Write, title: &str, top: usize) -> io::Result<()> {
        let sorted = self.sorted();
        let total = sorted.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
        if total == 0 {
            return Ok(());
        }
        writeln!(out, "\n{}", Style::Dim.paint(&format!("{:>9}  {:>6}  {title}", "COUNT", "SHARE"), colour()))?;
        let mut line = |count: u64, what: &str| {
            let share = 100.0 * count as f64 / total as f64;
            writeln!(out, "{count:>9}  {share:>5.1}%  {what}")
        };
        for (what, count) in sorted.iter().take(top) {
            line(*count, &clean(what))?;
        }
        match sorted.get(top..).unwrap_or_default() {
            [] => Ok(()),
            rest => line(
                rest.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count)),
                &format!("({} others)", rest.len()),
            ),
        }
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

pub(crate) fn run(args: &Args, audit: &Path) -> Result<ExitCode, Failure> {
    let mut reader = Reader::open(audit)?;
    let mut stats = Stats::default();
    let mut query = Query::oldest_first(&args.filter);
    while let Some((_, record)) = query.outline(&mut reader)? {
        stats.add(&record);
    }
    report_damage(reader.damage());
    stats.overhead_us.finish();
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &stats).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if stats.records == 0 {
        tell(args.filter.nothing());
    } else {
        stats.write(&mut out, args.top)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::FindingCount;
    use crate::flow::{Action, ExchangeId};

    #[test]
    fn records_are_counted_by_what_they_are() {
        let mut stats = Stats::default();
        for n in 0..4u64 {
            let mut record = Record::new(ExchangeId::new());
            record.time = Time::from_unix_ns(1_700_000_000_000_000_000 + n);
            record.caller.user = Some("alice".into());
            record.caller.exe = Some("/usr/bin/curl".into());
            record.request.bytes = Some(10);
            record.request.model = (n > 0).then(|| "gpt-4o".into());
            record.decision.action = Some(if n == 3 { "deny" } else { "mask" }.into());
            record.response.usage = Some(serde_json::json!({"input_tokens": 4, "output_tokens": 6}));
            record.timing.overhead_us = Some(n);
            let finding =
                FindingCount { entity: "US_SSN".into(), rule: "us.ssn".into(), count: n, action: Action::Mask };
            record.findings = vec![finding];
            stats.add(&record);
        }
        stats.overhead_us.finish();
        let json = serde_json::to_value(&stats).unwrap();
        assert_eq!(json["records"], 4);
        assert_eq!(json["from"], "2023-11-14T22:13:20.000000000Z");
        assert_eq!((&json["request_bytes"], &json["input_tokens"]), (&40.into(), &16.into()));
        assert_eq!(json["decisions"], serde_json::json!({"mask": 3, "deny": 1}));
        assert_eq!(json["models"], serde_json::json!({"-": 1, "gpt-4o": 3}));
        assert_eq!(json["callers"], serde_json::json!({"alice/curl": 4}));
        assert_eq!(json["findings"], serde_json::json!({"US_SSN": 6}));
        assert_eq!(json["overhead_us"], serde_json::json!({"p50": 1, "p99": 3, "max": 3}));
        let mut out = Vec::new();
        stats.write(&mut out, 1).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("        3   75.0%  mask\n        1   25.0%  (1 others)\n"), "{text}");
    }
}
