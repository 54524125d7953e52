//! Records for people: escaped strings, colour on a terminal, aligned columns.

use std::io::{self, Write};

use crate::audit::{Record, State, Time};
use crate::cli::pager;
pub(crate) use crate::flow::harmless as clean;

/// Whether to colour standard output. `NO_COLOR` (no-color.org) switches it off.
pub(crate) fn colour() -> bool {
    pager::is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
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
const TIME: usize = 0;
const ID: usize = 1;
const CALLER: usize = 2;
const ENDPOINT: usize = 3;
const MODEL: usize = 4;
const DECISION: usize = 5;
const STATUS: usize = 6;
/// The last column: on a terminal it has the rest of the line.
const FINDINGS: usize = 7;
/// Between columns.
const GAP: usize = 2;

/// Writes records as aligned columns.
pub(crate) struct Table {
    colour: bool,
    layout: Layout,
    /// Columns of the terminal, if it is one.
    terminal: Option<usize>,
}

impl Table {
    /// A table whose columns fit `records`.
    pub(crate) fn fitting<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        Self::with_at_least(HEADINGS.map(str::len), records, pager::columns())
    }

    /// A table for `records` and others to come.
    pub(crate) fn to_come<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        Self::with_at_least(TO_COME, records, pager::columns())
    }

    fn with_at_least<'a>(
        mut widths: [usize; COLUMNS],
        records: impl IntoIterator<Item = &'a Record>,
        terminal: Option<usize>,
    ) -> Self {
        for record in records {
            for ((width, cell), widest) in widths.iter_mut().zip(cells(record)).zip(WIDEST) {
                *width = (*width).max(cell.chars().count().min(widest));
            }
        }
        Self { colour: colour(), layout: Layout::of(widths, terminal.unwrap_or(usize::MAX)), terminal }
    }

    pub(crate) fn headings(&self, out: &mut impl Write) -> io::Result<()> {
        self.line(out, &HEADINGS.map(str::to_owned), |_| Style::Dim)
    }

    pub(crate) fn row(&self, out: &mut impl Write, record: &Record) -> io::Result<()> {
        let action = record.decision.action.as_deref();
        let mut cells = cells(record);
        cells[TIME] = cells[TIME][self.layout.time.clone()].to_owned();
        self.line(out, &cells, |column| match column {
            DECISION => decision_style(action),
            STATUS if record.log.damaged || record.state == State::Aborted => Style::Bad,
            STATUS if record.response.status.is_some_and(|s| s >= 400) => Style::Warn,
            _ => Style::Plain,
        })
    }

    fn line(&self, out: &mut impl Write, cells: &[String; COLUMNS], style: impl Fn(usize) -> Style) -> io::Result<()> {
        let shown =
            || cells.iter().zip(self.layout.widths).enumerate().filter_map(|(n, (cell, w))| Some((n, cell, w?)));
        let whole: usize = shown().map(|(_, cell, width)| cell.chars().count().max(width) + GAP).sum();
        // What a wide terminal has room for is shown whole, though it is wider than its column.
        let is_cut = self.terminal.is_some_and(|terminal| whole - GAP > terminal);
        let (mut line, mut used) = (String::new(), 0);
        for (column, cell, width) in shown() {
            let room = self.terminal.map_or(usize::MAX, |terminal| terminal.saturating_sub(used));
            let width = if column == FINDINGS { room } else { width.min(room) };
            let cell = if !is_cut {
                cell.clone()
            } else if column == ID {
                start(cell, width)
            } else {
                fit(cell, width)
            };
            line.push_str(&style(column).paint(&cell, self.colour));
            let cell = cell.chars().count();
            let padding = if column == FINDINGS { 0 } else { width.saturating_sub(cell) + GAP };
            line.extend(std::iter::repeat_n(' ', padding));
            used += cell + padding;
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// How wide each column is; None: it is left out.
#[derive(Clone, Debug)]
struct Layout {
    widths: [Option<usize>; COLUMNS],
    /// What is shown of a time.
    time: std::ops::Range<usize>,
}

/// Columns that may become narrower than their values, down to [`LEAST`].
const FLEXIBLE: [usize; 3] = [CALLER, ENDPOINT, MODEL];
const LEAST: usize = 9;
/// What a narrow terminal does without, one after the other: the model, the endpoint, milliseconds, the end of the id
/// (which `show` does without, but for records of the same millisecond), the year, the status, the findings.
const GIVEN_UP: [fn(&mut Layout); 7] = [
    |layout| layout.widths[MODEL] = None,
    |layout| layout.widths[ENDPOINT] = None,
    |layout| layout.show_time(0..19),
    |layout| layout.widths[ID] = Some(13),
    |layout| layout.show_time(5..19),
    |layout| layout.widths[STATUS] = None,
    |layout| layout.widths[FINDINGS] = None,
];

impl Layout {
    /// For values that are as wide as `natural`, on lines of `room` characters.
    fn of(natural: [usize; COLUMNS], room: usize) -> Self {
        let mut layout = Self { widths: natural.map(Some), time: 0..23 };
        for give_up in GIVEN_UP {
            if layout.needs(|column, width| if FLEXIBLE.contains(&column) { width.min(LEAST) } else { width }) <= room {
                break;
            }
            give_up(&mut layout);
        }
        while layout.needs(|_, width| width) > room
            && let Some(widest) = layout.widths[CALLER..=MODEL].iter_mut().flatten().max()
            && *widest > LEAST
        {
            *widest -= 1;
        }
        layout
    }

    fn show_time(&mut self, part: std::ops::Range<usize>) {
        self.widths[TIME] = Some(part.len());
        self.time = part;
    }

    /// How long a line is whose columns have the widths that `width` says.
    fn needs(&self, width: impl Fn(usize, usize) -> usize) -> usize {
        let shown = self.widths.iter().enumerate().filter_map(|(column, known)| Some(width(column, (*known)?) + GAP));
        shown.sum::<usize>() - GAP
    }
}

fn fit(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain((width > 0).then_some('…')).collect()
}

fn start(cell: &str, width: usize) -> String {
    cell.chars().take(width).collect()
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

    /// Headings and the row of a record, on a terminal of that width.
    fn on_terminal(record: &Record, width: usize) -> [String; 2] {
        let table = Table::with_at_least(HEADINGS.map(str::len), [record], Some(width));
        let mut out = Vec::new();
        table.headings(&mut out).unwrap();
        table.row(&mut out, record).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.try_into().unwrap()
    }

    #[test]
    fn a_row_is_never_wider_than_the_terminal() {
        let mut record = record();
        record.time = Time::from_unix_ns(1_700_000_000_123_456_789);
        record.caller.user = Some("somebody-with-a-long-name".into());
        record.endpoint.host = Some("endpoint.with.a.long.name.example".into());
        record.request.model = Some("a-model-with-a-long-name-2026-11-29".into());
        for width in 1..200 {
            let lines = on_terminal(&record, width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:#?}");
        }
        let all = on_terminal(&record, 200);
        assert!(all[1].contains("a-model-with-a-long-name-2026-11-29  mask") && all[1].ends_with("CREDIT_CARD×3"));
        let id = record.id.to_string();
        let [headings, row] = on_terminal(&record, 80);
        assert_eq!(headings, "TIME (UTC)           ID                  CALLER       DECISION  STATUS  FINDINGS");
        assert_eq!(row, format!("2023-11-14 22:13:20  {}  somebody-w…  mask      open    CREDIT_…", &id[..18]));
        let [headings, row] = on_terminal(&record, 60);
        assert_eq!(headings, "TIME (UTC)      ID             CALLER     DECISION  FINDINGS");
        assert_eq!(row, format!("11-14 22:13:20  {}  somebody…  mask      CREDIT_…", &id[..13]));
    }

    #[test]
    fn a_value_that_is_wider_than_its_column_is_cut_only_where_the_line_is_too_long() {
        let short = record();
        let mut long = record();
        long.caller.user = Some("somebody-with-a-long-name".into());
        let row = |terminal| {
            let mut out = Vec::new();
            Table::with_at_least(TO_COME, [&short], Some(terminal)).row(&mut out, &long).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(row(200).contains(" somebody-with-a-long-name/curl  "), "{}", row(200));
        assert!(row(127).contains(" somebody-with-a…  "), "{}", row(127));
    }

    #[test]
    fn a_refusal_names_its_rule_and_a_masked_request_its_findings_alone() {
        let row = |record: &Record| {
            let mut out = Vec::new();
            Table::with_at_least([0; COLUMNS], [record], None).row(&mut out, record).unwrap();
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
