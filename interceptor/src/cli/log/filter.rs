//! Which records are wanted.

use std::ops::Range;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};

use super::super::Failure;
use super::since::Since;
use crate::audit::{Facet, Select};

/// How the help of a command explains these options.
pub(crate) const HELP: &str = "\
Of --caller, --endpoint, --model, --decision, --rule and --type a record must fit each kind that
is given, and of one kind any: `--type CREDIT_CARD --type US_SSN` has either. Case is ignored,
and * stands for any characters: `--model 'gpt-4*'`. Times are those when a request arrived.

T is one of 2026-01-31T12:00:00Z, '2026-01-31 12:00:00', 2026-01-31, 12:00, today, yesterday,
90m, -2h, 3d, '2 hours ago'. Without an offset it is in the time zone that TZ names, else in UTC.";

/// Options that say which records.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Which records")]
pub(crate) struct Filter {
    /// Only requests that arrived since then
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(crate) since: Option<Since>,
    /// Only requests that arrived before then
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    until: Option<Since>,
    /// Of this user, uid, program (name or path), user/program, unit, container, pod or identity
    #[arg(long, value_name = "WHO")]
    caller: Vec<Glob>,
    /// To this host, address or provider
    #[arg(long, value_name = "WHERE")]
    endpoint: Vec<Glob>,
    /// For this model
    #[arg(long, value_name = "M")]
    model: Vec<Glob>,
    /// Decided so
    #[arg(long, value_name = "D", value_parser = ["allow", "mask", "deny", "splice"], ignore_case = true)]
    decision: Vec<String>,
    /// With findings of this masking rule, or decided by this rule of policy
    #[arg(long, value_name = "ID")]
    rule: Vec<Glob>,
    /// With findings of this type, as CREDIT_CARD
    #[arg(long = "type", value_name = "TYPE")]
    entity: Vec<Glob>,
}

/// A text in which `*` stands for any characters; case is ignored.
#[derive(Clone, Debug)]
struct Glob {
    text: String,
    whole: Regex,
}

impl FromStr for Glob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("that is empty; * stands for anything".to_owned());
        }
        let parts: Vec<_> = text.split('*').map(regex::escape).collect();
        let whole = format!(r"\A(?:{})\z", parts.join("(?s:.*)"));
        let whole = RegexBuilder::new(&whole).case_insensitive(true).build().map_err(|e| e.to_string())?;
        Ok(Self { text: text.to_owned(), whole })
    }
}

impl Filter {
    /// Whether a time is wanted, nanoseconds since 1970.
    pub(crate) fn is_in_time(&self, ns: u64) -> bool {
        self.time().contains(&ns)
    }

    /// What to say when a log with records has none that are wanted.
    pub(crate) fn nothing(&self) -> String {
        match (self.since, self.until) {
            _ if self.names_more_than_time() => "no record fits".to_owned(),
            (Some(Since(since)), None) => format!("no records since {since}"),
            (None, Some(Since(until))) => format!("no records before {until}"),
            (Some(Since(since)), Some(Since(until))) => format!("no records from {since} to {until}"),
            (None, None) => "no records yet".to_owned(),
        }
    }

    /// The options as they can be kept and read again: `caller=alice`, times in full.
    pub(crate) fn terms(&self) -> Vec<String> {
        let time = |name: &str, time: Option<Since>| time.map(|Since(time)| format!("{name}={time}"));
        let globs = [
            ("caller", &self.caller),
            ("endpoint", &self.endpoint),
            ("model", &self.model),
            ("rule", &self.rule),
            ("type", &self.entity),
        ];
        let times = time("since", self.since).into_iter().chain(time("until", self.until));
        let texts = globs.into_iter().flat_map(|(name, globs)| globs.iter().map(move |g| format!("{name}={}", g.text)));
        times.chain(texts).chain(self.decision.iter().map(|d| format!("decision={d}"))).collect()
    }

    /// What [`Filter::terms`] wrote.
    pub(crate) fn of_terms<'t>(terms: impl IntoIterator<Item = &'t str>) -> Result<Self, Failure> {
        let options = terms.into_iter().map(|term| format!("--{term}"));
        let command = clap::Command::new("terms").no_binary_name(true);
        let matches = <Self as clap::Args>::augment_args(command).try_get_matches_from(options)?;
        Ok(<Self as clap::FromArgMatches>::from_arg_matches(&matches)?)
    }

    fn globs(&self, facet: Facet) -> &[Glob] {
        match facet {
            Facet::Caller => &self.caller,
            Facet::Endpoint => &self.endpoint,
            Facet::Model => &self.model,
            Facet::Decision => &[],
            Facet::Rule => &self.rule,
            Facet::Type => &self.entity,
        }
    }

    /// Whether it is asked for more than a time.
    pub(crate) fn names_more_than_time(&self) -> bool {
        Facet::ALL.into_iter().any(|facet| self.asks(facet))
    }
}

impl Select for Filter {
    fn time(&self) -> Range<u64> {
        let ns = |at: Option<Since>| at.map(|Since(at)| at.unix_ns());
        ns(self.since).unwrap_or(0)..ns(self.until).unwrap_or(u64::MAX)
    }

    fn asks(&self, facet: Facet) -> bool {
        match facet {
            Facet::Decision => !self.decision.is_empty(),
            other => !self.globs(other).is_empty(),
        }
    }

    fn fits(&self, facet: Facet, values: &[&str]) -> bool {
        match facet {
            Facet::Decision => values.iter().any(|value| self.decision.iter().any(|d| value.eq_ignore_ascii_case(d))),
            other => values.iter().any(|value| self.globs(other).iter().any(|glob| glob.whole.is_match(value))),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{FromArgMatches, Parser};

    use super::*;
    use crate::audit::{FindingCount, Record};
    use crate::flow::{Action, ExchangeId};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        filter: Filter,
    }

    fn filter(args: &str) -> Filter {
        Command::parse_from(["list"].into_iter().chain(args.split_whitespace())).filter
    }

    fn record() -> Record {
        let mut record = Record::new(ExchangeId::new());
        record.caller.user = Some("alice".into());
        record.caller.uid = Some(1000);
        record.caller.exe = Some("/usr/bin/python3.11".into());
        record.endpoint.host = Some("api.openai.com".into());
        record.request.model = Some("gpt-4o-mini".into());
        record.decision.action = Some("mask".into());
        let finding = |entity: &str, rule: &str| FindingCount {
            entity: entity.into(),
            rule: rule.into(),
            count: 1,
            action: Action::Mask,
        };
        record.findings = vec![finding("CREDIT_CARD", "card.pan"), finding("US_SSN", "us.ssn")];
        record
    }

    #[test]
    fn a_record_fits_each_kind_and_of_a_kind_any() {
        for (args, fits) in [
            ("", true),
            ("--caller alice", true),
            ("--caller 1000 --model gpt-4*", true),
            ("--caller python3.11", true),
            ("--caller /usr/bin/*", true),
            ("--caller ALICE --endpoint api.*.com", true),
            ("--caller ali", false),
            ("--caller alice/python3.11 --decision MASK", true),
            ("--caller bob --caller alice", true),
            ("--caller alice --model o1", false),
            ("--decision mask --decision deny", true),
            ("--decision deny", false),
            ("--rule card.pan --type us_ssn", true),
            ("--rule card.p.n", false),
            ("--type IBAN_CODE", false),
        ] {
            assert_eq!(filter(args).takes(&record()), fits, "{args}");
        }
    }

    #[test]
    fn what_is_not_known_fits_nothing() {
        let record = Record::new(ExchangeId::new());
        assert!(filter("").takes(&record));
        assert!(!filter("--caller *").takes(&record) && !filter("--model *").takes(&record));
    }

    #[test]
    fn times_are_from_and_to() {
        let filter = filter("--since 2026-01-31T12:00:00Z --until 2026-01-31T13:00:00Z");
        let at = |text: &str| text.parse::<Since>().unwrap().0.unix_ns();
        for (time, is_in) in [
            ("2026-01-31T11:59:59Z", false),
            ("2026-01-31T12:00:00Z", true),
            ("2026-01-31T12:59:59Z", true),
            ("2026-01-31T13:00:00Z", false),
        ] {
            assert_eq!(filter.is_in_time(at(time)), is_in, "{time}");
        }
        let (from, to) = ("2026-01-31T12:00:00.000000000Z", "2026-01-31T13:00:00.000000000Z");
        assert_eq!(filter.nothing(), format!("no records from {from} to {to}"));
    }

    #[test]
    fn a_time_ago_may_begin_with_a_hyphen() {
        let [ago, hyphen] = ["--since 1h --until 30m", "--since -1h --until -30m"].map(|args| filter(args).time());
        let half_an_hour = 1_800_000_000_000;
        assert!(hyphen.start - ago.start < half_an_hour && hyphen.end - ago.end < half_an_hour);
        let missing = <Command as clap::CommandFactory>::command().try_get_matches_from(["list", "--since", "--until"]);
        assert!(missing.is_err());
    }

    #[test]
    fn what_is_kept_of_a_filter_is_that_filter() {
        let given = filter("--since 2026-01-31T12:00:00Z --caller alice --caller svc-* --type US_SSN --decision mask");
        let terms = given.terms();
        assert_eq!(terms[0], "since=2026-01-31T12:00:00.000000000Z");
        let kept = Filter::of_terms(terms.iter().map(String::as_str)).unwrap();
        assert_eq!(kept.terms(), terms);
        assert!(kept.takes(&record()));
        assert!(Filter::of_terms(["colour=red"]).is_err());
    }

    #[test]
    fn a_decision_that_does_not_exist_is_refused() {
        let matches =
            <Command as clap::CommandFactory>::command().try_get_matches_from(["list", "--decision", "block"]);
        assert!(matches.and_then(|matches| Command::from_arg_matches(&matches)).is_err());
    }
}
