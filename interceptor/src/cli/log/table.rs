//! Records for people: escaped strings, colour on a terminal, aligned columns.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use crate::audit::{Record, State};

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
        Some("mask") => Style::Warn,
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

const HEADINGS: [&str; 8] = ["TIME", "ID", "CALLER", "ENDPOINT", "MODEL", "FINDINGS", "DECISION", "STATUS"];
/// Columns that are cut when a value is wider.
const WIDEST: [usize; 8] = [19, 18, 24, 28, 28, 36, 8, 9];
const DECISION: usize = 6;
const STATUS: usize = 7;

/// Writes records as aligned columns.
pub(crate) struct Table {
    colour: bool,
    widths: [usize; 8],
}

impl Table {
    /// A table whose columns fit `records`.
    pub(crate) fn fitting<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut widths = HEADINGS.map(str::len);
        for record in records {
            for (width, cell) in widths.iter_mut().zip(cells(record)) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for (width, widest) in widths.iter_mut().zip(WIDEST) {
            *width = (*width).min(widest);
        }
        Self { colour: colour(), widths }
    }

    /// A table for records to come.
    pub(crate) fn wide() -> Self {
        Self { colour: colour(), widths: WIDEST }
    }

    pub(crate) fn headings(&self, out: &mut impl Write) -> io::Result<()> {
        self.line(out, &HEADINGS.map(str::to_owned), |_| Style::Dim)
    }

    pub(crate) fn row(&self, out: &mut impl Write, record: &Record) -> io::Result<()> {
        let action = record.decision.action.as_deref();
        self.line(out, &cells(record), |column| match column {
            DECISION => decision_style(action),
            STATUS if record.state == State::Aborted => Style::Bad,
            STATUS if record.response.status.is_some_and(|s| s >= 400) => Style::Warn,
            _ => Style::Plain,
        })
    }

    fn line(&self, out: &mut impl Write, cells: &[String; 8], style: impl Fn(usize) -> Style) -> io::Result<()> {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(self.widths).enumerate() {
            let cell = fit(cell, width);
            let padding = width - cell.chars().count();
            line.push_str(&style(column).paint(&cell, self.colour));
            line.extend(std::iter::repeat_n(' ', padding + 2));
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

fn cells(record: &Record) -> [String; 8] {
    let time = record.time.to_string();
    let or_dash = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), clean);
    [
        time[..19].replace('T', " "),
        record.id.to_string()[..18].to_owned(),
        caller(record),
        or_dash(record.endpoint.host.as_deref().or(record.endpoint.provider.as_deref())),
        or_dash(record.request.model.as_deref()),
        Some(findings(record)).filter(|f| !f.is_empty()).unwrap_or_else(|| "-".to_owned()),
        or_dash(record.decision.action.as_deref()),
        status(record),
    ]
}

fn caller(record: &Record) -> String {
    let user = match (&record.caller.user, record.caller.uid) {
        (Some(user), _) => clean(user),
        (None, Some(uid)) => uid.to_string(),
        (None, None) => "-".to_owned(),
    };
    match record.caller.exe.as_deref().and_then(|exe| exe.rsplit('/').next()) {
        Some(exe) => format!("{user}/{}", clean(exe)),
        None => user,
    }
}

fn status(record: &Record) -> String {
    match (record.state, record.response.status) {
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
}
