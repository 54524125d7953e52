//! Which records are wanted.

use std::borrow::Cow;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};

use super::since::Since;
use super::table::{caller as shown, user};
use crate::audit::{Caller, Index, Reader, Record};
use crate::cli::Failure;

/// How the help of a command explains these options.
pub(crate) const HELP: &str = "\
Of --caller, --endpoint, --model, --decision, --rule and --type a record must fit each kind that
is given, and of one kind any: `--type CREDIT_CARD --type US_SSN` has either. Case is ignored,
and * stands for any characters: `--model 'gpt-4*'`. Times are those when a record was written.

T is one of 2026-01-31T12:00:00Z, '2026-01-31 12:00:00', 2026-01-31, 12:00, today, yesterday,
90m, 2h, 3d, '2 hours ago'. Without an offset it is in the time zone that TZ names, else in UTC.";

/// Options that say which records.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Which records")]
pub(crate) struct Filter {
    /// Only records written since then
    #[arg(long, value_name = "T")]
    pub(crate) since: Option<Since>,
    /// Only records written before then
    #[arg(long, value_name = "T")]
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
    /// The records of `reader` that are wanted, in its order, without the requests as they left.
    pub(crate) fn choose<'r>(
        &'r self,
        reader: &'r mut Reader,
    ) -> impl Iterator<Item = Result<(Index, Record), Failure>> + 'r {
        (0..reader.len()).filter_map(move |index| {
            if !self.is_in_time(reader.wall_ns(index)) {
                return None;
            }
            let record = reader.outline(index).map_err(Failure::from);
            record.map(|record| self.fits(&record).then_some((index, record))).transpose()
        })
    }

    /// As [`Filter::choose`], whole.
    pub(crate) fn records<'r>(&'r self, reader: &'r mut Reader) -> impl Iterator<Item = Result<Record, Failure>> + 'r {
        (0..reader.len()).filter_map(move |index| match self.is_wanted(reader, index) {
            Ok(true) => Some(reader.record(index).map_err(Failure::from)),
            Ok(false) => None,
            Err(failure) => Some(Err(failure)),
        })
    }

    fn is_wanted(&self, reader: &mut Reader, index: Index) -> Result<bool, Failure> {
        Ok(self.is_in_time(reader.wall_ns(index))
            && (!self.names_more_than_time() || self.fits(&reader.outline(index)?)))
    }

    /// Whether `record` is wanted, whenever it is of.
    pub(crate) fn fits(&self, record: &Record) -> bool {
        let address = record.endpoint.ip.map(|ip| ip.to_string());
        let endpoint = [&record.endpoint.host, &record.endpoint.provider, &address];
        let findings = &record.findings;
        let action = record.decision.action.as_deref();
        any(&self.caller, names(&record.caller).iter().map(|name| &**name))
            && any(&self.endpoint, endpoint.into_iter().flatten().map(String::as_str))
            && any(&self.model, record.request.model.as_deref())
            && (self.decision.is_empty()
                || self.decision.iter().any(|d| action.is_some_and(|action| action.eq_ignore_ascii_case(d))))
            && any(&self.rule, findings.iter().map(|f| &*f.rule).chain(record.decision.rule.as_deref()))
            && any(&self.entity, findings.iter().map(|f| &*f.entity))
    }

    /// Whether a record that was opened at `wall_ns` is wanted.
    pub(crate) fn is_in_time(&self, wall_ns: u64) -> bool {
        let after = self.since.is_none_or(|Since(since)| wall_ns >= since.unix_ns());
        after && self.until.is_none_or(|Since(until)| wall_ns < until.unix_ns())
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

    /// Whether it is asked for more than a time.
    pub(crate) fn names_more_than_time(&self) -> bool {
        let globs = [&self.caller, &self.endpoint, &self.model, &self.rule, &self.entity];
        globs.into_iter().any(|globs| !globs.is_empty()) || !self.decision.is_empty()
    }
}

fn any<'t>(globs: &[Glob], texts: impl IntoIterator<Item = &'t str>) -> bool {
    globs.is_empty() || texts.into_iter().any(|text| globs.iter().any(|glob| glob.whole.is_match(text)))
}

/// What a caller may be called.
fn names(caller: &Caller) -> Vec<Cow<'_, str>> {
    let subject = caller.identity.as_ref().and_then(|identity| identity.subject.as_deref());
    let uid = caller.uid.map(|uid| Cow::from(uid.to_string()));
    let texts = [&caller.user, &caller.exe, &caller.unit, &caller.user_unit, &caller.container, &caller.pod];
    let texts = texts.into_iter().map(|text| text.as_deref()).chain([caller.program(), subject]);
    // And as the table shows them.
    let pair = user(caller).map(|_| Cow::from(shown(caller)));
    texts.map(|text| text.map(Cow::from)).chain([uid, pair]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use clap::{FromArgMatches, Parser};

    use super::*;
    use crate::audit::FindingCount;
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
            assert_eq!(filter(args).fits(&record()), fits, "{args}");
        }
    }

    #[test]
    fn what_is_not_known_fits_nothing() {
        let record = Record::new(ExchangeId::new());
        assert!(filter("").fits(&record));
        assert!(!filter("--caller *").fits(&record) && !filter("--model *").fits(&record));
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
    fn what_is_kept_of_a_filter_is_that_filter() {
        let given = filter("--since 2026-01-31T12:00:00Z --caller alice --caller svc-* --type US_SSN --decision mask");
        let terms = given.terms();
        assert_eq!(terms[0], "since=2026-01-31T12:00:00.000000000Z");
        let kept = Filter::of_terms(terms.iter().map(String::as_str)).unwrap();
        assert_eq!(kept.terms(), terms);
        assert!(kept.fits(&record()));
        assert!(Filter::of_terms(["colour=red"]).is_err());
    }

    #[test]
    fn a_decision_that_does_not_exist_is_refused() {
        let matches =
            <Command as clap::CommandFactory>::command().try_get_matches_from(["list", "--decision", "block"]);
        assert!(matches.and_then(|matches| Command::from_arg_matches(&matches)).is_err());
    }
}
