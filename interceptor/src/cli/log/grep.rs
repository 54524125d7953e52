//! `interceptor log grep`: finds records by what their requests say.

use std::borrow::Cow;
use std::io::{self, StdoutLock, Write};
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use regex::{Regex, RegexBuilder};

use super::filter::{self, Filter};
use super::list::json_line;
use super::table::{Style, Table, clean, colour};
use super::{report_damage, texts};
use crate::audit::{Query, Reader, Record};
use crate::cli::pager::Paging;
use crate::cli::{Failure, NEGATIVE};

/// Characters shown on either side of what was found.
const AROUND: usize = 48;
/// Most places of one record that are shown.
const MOST_SHOWN: usize = 5;

/// Arguments of `interceptor log grep`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  interceptor log grep 'project atlas'
  interceptor log grep -i 'salary|payroll' --since yesterday --caller 'svc-*'
  interceptor log grep -F '[CARD_k7q2m9xh]' --json | jq -r .id

Searched are path, head and body of each request as it left, so what was masked is found by its
token and not by its value. Strings and names of a JSON body are searched decoded, and the body as
it is written where they have nothing. What never left, or was passed on unread, has no such body.
PATTERN is a regular expression (syntax: docs.rs/regex).

{}

Exit status: 0 found, 1 not found, 2 there is no log, or it may not be read.", filter::HELP))]
pub(crate) struct Args {
    /// What to look for
    pattern: String,
    /// Letters of either case
    #[arg(short, long)]
    ignore_case: bool,
    /// PATTERN is a text, no expression
    #[arg(short = 'F', long)]
    fixed_strings: bool,
    /// Only how many records there are
    #[arg(short, long, conflicts_with = "json")]
    count: bool,
    /// JSON Lines of full records
    #[arg(long)]
    json: bool,
    /// Only the last N records
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    pub(super) paging: Paging,
}

impl Args {
    fn expression(&self) -> Result<Regex, Failure> {
        let pattern =
            if self.fixed_strings { Cow::from(regex::escape(&self.pattern)) } else { Cow::from(&self.pattern) };
        let expression = RegexBuilder::new(&pattern).case_insensitive(self.ignore_case).multi_line(true).build();
        expression.map_err(|e| format!("{e}\nto look for the text itself, add --fixed-strings").into())
    }
}

pub(crate) fn run(args: &Args, audit: &Path) -> Result<ExitCode, Failure> {
    let expression = args.expression()?;
    let mut reader = Reader::open(audit)?;
    let mut output = Output { args, table: Table::to_come([]), out: io::stdout().lock() };
    let found = match args.limit {
        None => every(&mut reader, &expression, &mut output)?,
        Some(limit) => last(&mut reader, &expression, limit, &mut output)?,
    };
    if args.count {
        writeln!(output.out, "{found}")?;
    }
    output.out.flush()?;
    report_damage(reader.damage());
    Ok(if found > 0 { ExitCode::SUCCESS } else { ExitCode::from(NEGATIVE) })
}

/// Shows each record as it is found, and keeps none: a log may have millions. Says how many.
fn every(reader: &mut Reader, expression: &Regex, output: &mut Output<'_>) -> Result<usize, Failure> {
    let mut query = Query::oldest_first(&output.args.filter);
    let mut found = 0;
    while let Some((_, record)) = query.record(reader)? {
        let hits = Hits::of(&record, expression);
        if hits.count > 0 {
            found += 1;
            output.show(&record, &hits)?;
        }
    }
    Ok(found)
}

/// Looks from the end of the log on; shows in its order. Says how many.
fn last(reader: &mut Reader, expression: &Regex, limit: usize, output: &mut Output<'_>) -> Result<usize, Failure> {
    let mut query = Query::newest_first(&output.args.filter);
    let mut found = Vec::new();
    while found.len() < limit
        && let Some((at, record)) = query.record(reader)?
    {
        let hits = Hits::of(&record, expression);
        if hits.count > 0 {
            found.push((at, hits));
        }
    }
    for (at, hits) in found.iter().rev() {
        let record = if output.args.json { reader.record(at)? } else { reader.outline(at)? };
        output.show(&record, hits)?;
    }
    Ok(found.len())
}

struct Output<'a> {
    args: &'a Args,
    table: Table,
    out: StdoutLock<'static>,
}

impl Output<'_> {
    fn show(&mut self, record: &Record, hits: &Hits) -> io::Result<()> {
        if self.args.json {
            return json_line(&mut self.out, record);
        }
        if self.args.count {
            return Ok(());
        }
        self.table.row(&mut self.out, record)?;
        hits.show(&mut self.out)
    }
}

/// What was found in a record.
#[derive(Debug, Default)]
struct Hits {
    /// The first of them, ready to be shown: where, and what stands before, in and behind it.
    shown: Vec<(String, [String; 3])>,
    count: usize,
}

impl Hits {
    fn of(record: &Record, expression: &Regex) -> Self {
        let mut hits = Self::default();
        texts::each(record, |place, text| {
            let before = hits.count;
            for hit in expression.find_iter(text) {
                if hits.shown.len() < MOST_SHOWN {
                    hits.shown.push((place.to_string(), excerpt(text, hit.range())));
                }
                hits.count += 1;
            }
            hits.count > before
        });
        hits
    }

    fn show(&self, out: &mut impl Write) -> io::Result<()> {
        let colour = colour();
        for (place, [before, found, after]) in &self.shown {
            let (place, found) = (Style::Dim.paint(&clean(place), colour), Style::Bold.paint(found, colour));
            writeln!(out, "    {place}  {before}{found}{after}")?;
        }
        match self.count - self.shown.len() {
            0 => Ok(()),
            more => writeln!(out, "    and {more} more"),
        }
    }
}

/// What stands before, in and behind `hit` in its lines, so that a terminal can show it.
fn excerpt(text: &str, hit: Range<usize>) -> [String; 3] {
    let line = text[..hit.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[hit.end..].find('\n').map_or(text.len(), |at| hit.end + at);
    let from = text[line..hit.start].char_indices().rev().nth(AROUND - 1).map_or(line, |(at, _)| line + at);
    let to = text[hit.end..end].char_indices().nth(AROUND).map_or(end, |(at, _)| hit.end + at);
    let found = text[hit.clone()].lines().next().unwrap_or("");
    let cut = found.char_indices().nth(2 * AROUND).map_or(found.len(), |(at, _)| at);
    let mark = |cut: bool| if cut { "…" } else { "" };
    [
        format!("{}{}", mark(from > line), clean(&text[from..hit.start])),
        format!("{}{}", clean(&found[..cut]), mark(cut < hit.len())),
        format!("{}{}", clean(&text[hit.end..to]), mark(to < end)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_of_one_line_and_short() {
        let text = format!("first\n{}needle{}\nlast", "é".repeat(60), "x".repeat(10));
        let at = text.find("needle").unwrap();
        let [before, found, after] = excerpt(&text, at..at + 6);
        assert_eq!(before, format!("…{}", "é".repeat(AROUND)));
        assert_eq!((&*found, &*after), ("needle", "xxxxxxxxxx"));
        assert_eq!(excerpt("a\x1bb", 0..1), ["", "a", "\\u{1b}b"]);
        assert_eq!(excerpt("", 0..0), ["", "", ""]);
        assert_eq!(excerpt("one\ntwo", 1..6), ["o", "ne…", "o"]);
        assert_eq!(excerpt(&"x".repeat(9000), 0..9000)[1].chars().count(), 2 * AROUND + 1);
    }
}
