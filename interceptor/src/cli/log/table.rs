//! Records for people: escaped strings, colour on a terminal, aligned columns.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use crate::audit::{Record, State, Time};

/// Whether to colour standard output. `NO_COLOR` (no-color.org) switches it off.
pub(crate) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The escape sequence that starts a style, when coloured.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    Plain,
    Dim,
    Bold,
    Good,
    Warn,
    Bad,
}

impl Style {
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        let code = match self {
            Self::Dim => "2",
            Self::Bold => "1",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Plain => return text.to_owned(),
        };
        if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A string from outside with control characters escaped: a process name must not drive the auditor's terminal.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden =
            c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if hidden {
            let _ = write!(clean, "{}", c.escape_unicode());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// As [`clean`], but lines stay lines.
pub(crate) fn clean_lines(text: &str) -> String {
    text.split('\n').map(|line| clean(line.strip_suffix('\r').unwrap_or(line))).collect::<Vec<_>>().join("\n")
}

/// How a decision looks.
pub(crate) fn decision_style(action: Option<&str>) -> Style {
    match action {
        Some("allow") => Style::Good,
        Some("mask" | "splice") => Style::Warn,
        Some("deny") => Style::Bad,
        _ => Style::Plain,
    }
}

/// Findings in a few words: `CREDIT_CARD×2 US_SSN`.
pub(crate) fn findings(record: &Record) -> String {
    let mut kinds: Vec<(&str, u64)> = Vec::new();
    for finding in &record.findings {
        match kinds.iter_mut().find(|(kind, _)| *kind == finding.entity) {
            Some((_, count)) => *count += finding.count,
            None => kinds.push((&finding.entity, finding.count)),
        }
    }
    let words = kinds.iter().map(|(kind, n)| if *n == 1 { clean(kind) } else { format!("{}×{n}", clean(kind)) });
    words.collect::<Vec<_>>().join(" ")
}

const COLUMNS: usize = 8;
const HEADINGS: [&str; COLUMNS] = ["TIME (UTC)", "ID", "CALLER", "ENDPOINT", "MODEL", "DECISION", "STATUS", "FINDINGS"];
/// A longer value does not push the column of all other lines to the right.
const WIDEST: [usize; COLUMNS] = [23, 18, 32, 40, 40, 8, 9, 0];
/// Widths for records that nobody has seen yet.
const TO_COME: [usize; COLUMNS] = [23, 18, 16, 17, 16, 8, 7, 8];
const DECISION: usize = 5;
const STATUS: usize = 6;
/// The last column: what does not fit into the terminal's width is cut here and nowhere else.
const FINDINGS: usize = 7;

/// Writes records as aligned columns.
pub(crate) struct Table {
    colour: bool,
    widths: [usize; COLUMNS],
    /// Columns of the terminal, if it is one.
    terminal: Option<usize>,
}

impl Table {
    /// A table whose columns fit `records`.
    pub(crate) fn fitting<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        Self::with_at_least(HEADINGS.map(str::len), records)
    }

    /// A table for `records` and others to come.
    pub(crate) fn to_come<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        Self::with_at_least(TO_COME, records)
    }

    fn with_at_least<'a>(mut widths: [usize; COLUMNS], records: impl IntoIterator<Item = &'a Record>) -> Self {
        for record in records {
            for ((width, cell), widest) in widths.iter_mut().zip(cells(record)).zip(WIDEST) {
                *width = (*width).max(cell.chars().count().min(widest));
            }
        }
        let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        Self { colour: colour(), widths, terminal }
    }

    pub(crate) fn headings(&self, out: &mut impl Write) -> io::Result<()> {
        self.line(out, &HEADINGS.map(str::to_owned), |_| Style::Dim)
    }

    pub(crate) fn row(&self, out: &mut impl Write, record: &Record) -> io::Result<()> {
        let action = record.decision.action.as_deref();
        self.line(out, &cells(record), |column| match column {
            DECISION => decision_style(action),
            STATUS if record.log.damaged || record.state == State::Aborted => Style::Bad,
            STATUS if record.response.status.is_some_and(|s| s >= 400) => Style::Warn,
            _ => Style::Plain,
        })
    }

    fn line(&self, out: &mut impl Write, cells: &[String; COLUMNS], style: impl Fn(usize) -> Style) -> io::Result<()> {
        let (mut line, mut used) = (String::new(), 0);
        for (column, (cell, width)) in cells.iter().zip(self.widths).enumerate() {
            if column == FINDINGS {
                let room = self.terminal.map_or(usize::MAX, |terminal| terminal.saturating_sub(used).max(8));
                line.push_str(&style(column).paint(&fit(cell, room), self.colour));
                break;
            }
            let padding = width.saturating_sub(cell.chars().count()) + 2;
            line.push_str(&style(column).paint(cell, self.colour));
            line.extend(std::iter::repeat_n(' ', padding));
            used += cell.chars().count() + padding;
        }
        writeln!(out, "{}", line.trim_end())
    }
}

fn fit(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width - 1).chain(['…']).collect()
}

/// A point in time for a table: UTC, in milliseconds.
pub(crate) fn millis(time: Time) -> String {
    time.to_string()[..23].replace('T', " ")
}

fn cells(record: &Record) -> [String; COLUMNS] {
    let or_dash = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), clean);
    [
        millis(record.time),
        record.id.to_string()[..18].to_owned(),
        clean(&record.caller.short()),
        or_dash(record.endpoint.host.as_deref().or(record.endpoint.provider.as_deref())),
        or_dash(record.request.model.as_deref()),
        or_dash(record.decision.action.as_deref()),
        status(record),
        findings_and_rule(record),
    ]
}

/// What was found and, where a rule kept the request back or let it through unread, that rule.
fn findings_and_rule(record: &Record) -> String {
    let decided = matches!(record.decision.action.as_deref(), Some("deny" | "splice"));
    let rule = record.decision.rule.as_deref().filter(|_| decided).map(|rule| format!("by {}", clean(rule)));
    let words: Vec<_> = [Some(findings(record)), rule].into_iter().flatten().filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

fn status(record: &Record) -> String {
    match (record.state, record.response.status) {
        _ if record.log.damaged => "damaged".into(),
        (State::Open, _) => "open".into(),
        (State::Aborted, Some(status)) => format!("{status} cut"),
        (State::Aborted, None) => "aborted".into(),
        (State::Complete, Some(status)) => status.to_string(),
        (State::Complete, None) => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::FindingCount;
    use crate::flow::{Action, ExchangeId};

    fn record() -> Record {
        let mut record = Record::new(ExchangeId::new());
        record.caller.user = Some("alice".into());
        record.caller.exe = Some("/usr/bin/curl".into());
        record.decision.action = Some("mask".into());
        let finding =
            |count| FindingCount { entity: "CREDIT_CARD".into(), rule: "card.pan".into(), count, action: Action::Mask };
        record.findings = vec![finding(1), finding(2)];
        record
    }

    #[test]
    fn escape_sequences_of_a_caller_do_not_reach_the_terminal() {
        let mut record = record();
        record.caller.exe = Some("/tmp/\x1b]0;owned\x07\u{202e}".into());
        let mut out = Vec::new();
        Table::fitting([&record]).row(&mut out, &record).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
    }

    #[test]
    fn columns_line_up() {
        let (short, mut long) = (record(), record());
        long.caller.user = Some("somebody-with-a-long-name".into());
        let table = Table::fitting([&short, &long]);
        let mut out = Vec::new();
        table.headings(&mut out).unwrap();
        table.row(&mut out, &short).unwrap();
        table.row(&mut out, &long).unwrap();
        let text = String::from_utf8(out).unwrap();
        let columns: Vec<usize> = text
            .lines()
            .zip(["FINDINGS", "CREDIT_CARD×3", "CREDIT_CARD×3"])
            .map(|(line, word)| line[..line.find(word).unwrap()].chars().count())
            .collect();
        assert_eq!(columns[0], columns[1]);
        assert_eq!(columns[1], columns[2]);
    }

    #[test]
    fn only_findings_are_cut_at_the_terminals_width() {
        let mut record = record();
        record.caller.user = Some("somebody-with-a-name-that-is-longer-than-any-column".into());
        let table = Table { terminal: Some(20), ..Table::fitting([&record]) };
        let mut out = Vec::new();
        table.row(&mut out, &record).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("longer-than-any-column/curl") && text.ends_with("CREDIT_…\n"), "{text}");
        let table = Table { terminal: None, ..table };
        let mut out = Vec::new();
        table.row(&mut out, &record).unwrap();
        assert!(String::from_utf8(out).unwrap().ends_with("CREDIT_CARD×3\n"));
    }

    #[test]
    fn a_refusal_names_its_rule_and_a_masked_request_its_findings_alone() {
        let row = |record: &Record| {
            let mut out = Vec::new();
            Table { terminal: None, ..Table::fitting([record]) }.row(&mut out, record).unwrap();
            String::from_utf8(out).unwrap()
        };
        let mut record = record();
        record.decision.rule = Some("no-cards".into());
        assert!(row(&record).ends_with("CREDIT_CARD×3\n"), "{}", row(&record));
        record.decision.action = Some("deny".into());
        assert!(row(&record).ends_with("CREDIT_CARD×3 by no-cards\n"), "{}", row(&record));
        (record.decision.action, record.findings) = (Some("splice".into()), Vec::new());
        assert!(row(&record).ends_with("by no-cards\n"), "{}", row(&record));
    }

    #[test]
    fn times_have_milliseconds_and_damage_is_marked() {
        let mut record = record();
        record.time = Time::from_unix_ns(1_700_000_000_123_456_789);
        record.log.damaged = true;
        let mut out = Vec::new();
        Table::fitting([&record]).row(&mut out, &record).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("2023-11-14 22:13:20.123  ") && text.contains(" damaged "), "{text}");
    }
}
