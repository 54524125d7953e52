//! `interceptor log list` and `tail`.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::super::Failure;
use super::read;
use super::table::Table;
use crate::audit::{Index, Reader, Record, State, Time};

/// How often a followed log is looked at.
const FOLLOW: Duration = Duration::from_millis(40);

/// Arguments of `interceptor log list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// JSON Lines of full records
    #[arg(long)]
    json: bool,
    /// Only the last N records
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only records since then: 2026-01-31T12:00:00Z, 2026-01-31, 90m, 2h, 3d, today, yesterday
    #[arg(long, value_name = "T")]
    since: Option<Since>,
}

/// Arguments of `interceptor log tail`.
#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    /// Go on with records as they end
    #[arg(short, long)]
    follow: bool,
    /// How many records to start with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// JSON Lines of full records
    #[arg(long)]
    json: bool,
}

/// A point in time in people's words. Days are those of UTC, as in the listed times.
#[derive(Clone, Copy, Debug)]
struct Since(Time);

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let timestamp = parse(text, Timestamp::now())
            .map_err(|e| format!("{e}; write 2026-01-31T12:00:00Z, 2026-01-31, 90m, 2h, 3d, today or yesterday"))?;
        Ok(Self(Time::from_unix_ns(u64::try_from(timestamp.as_nanosecond()).unwrap_or(0))))
    }
}

fn parse(text: &str, now: Timestamp) -> Result<Timestamp, jiff::Error> {
    let today = now.to_zoned_datetime(TimeZone::UTC).date();
    let midnight = |day: Date| day.to_zoned_datetime(TimeZone::UTC).map(|midnight| midnight.timestamp());
    if text == "today" {
        return midnight(today);
    }
    if text == "yesterday" {
        return midnight(today.yesterday()?);
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    if let Ok(date) = text.parse::<Date>() {
        return midnight(date);
    }
    let ago = text.strip_suffix(" ago").unwrap_or(text);
    let ago = match ago.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()) {
        Some(days) => SignedDuration::from_hours(24 * days.clamp(0, 1_000_000)),
        None => ago.parse::<SignedDuration>()?,
    };
    now.checked_sub(ago)
}

pub(crate) fn list(args: &ListArgs, audit: &Path) -> Result<ExitCode, Failure> {
    let mut reader = read(audit)?;
    let since = args.since.map_or(0, |Since(time)| time.unix_ns());
    let mut chosen: Vec<Index> = (0..reader.len()).filter(|&index| reader.wall_ns(index) >= since).collect();
    if let Some(limit) = args.limit {
        chosen.drain(..chosen.len().saturating_sub(limit));
    }
    let code = write(&mut reader, &chosen, args.json)?;
    for note in reader.notes()?.iter().filter(|note| note.time.unix_ns() >= since) {
        // Beside JSON Lines of records only standard error is left.
        if args.json { writeln!(io::stderr(), "note: {note}")? } else { writeln!(io::stdout(), "note: {note}")? }
    }
    Ok(code)
}

pub(crate) fn tail(args: &TailArgs, audit: &Path) -> Result<ExitCode, Failure> {
    let mut reader = read(audit)?;
    let first = reader.len().saturating_sub(args.lines);
    let chosen: Vec<Index> = (first..reader.len()).collect();
    let code = write(&mut reader, &chosen, args.json)?;
    if !args.follow {
        return Ok(code);
    }
    let table = Table::wide();
    loop {
        std::thread::sleep(FOLLOW);
        for index in reader.poll()? {
            let record = reader.record(index)?;
            if record.state == State::Open {
                continue;
            }
            let mut out = io::stdout().lock();
            if args.json {
                json_line(&mut out, &record)?;
            } else {
                table.row(&mut out, &record)?;
            }
            out.flush()?;
        }
    }
}

fn write(reader: &mut Reader, chosen: &[Index], json: bool) -> Result<ExitCode, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        for &index in chosen {
            json_line(&mut out, &reader.record(index)?)?;
        }
    } else {
        let records = chosen.iter().map(|&index| reader.record(index)).collect::<Result<Vec<_>, _>>()?;
        let table = Table::fitting(&records);
        table.headings(&mut out)?;
        for record in &records {
            table.row(&mut out, record)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn json_line(out: &mut impl Write, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_times_in_peoples_words() {
        let at = |text: &str| text.parse::<Since>().unwrap().0;
        assert_eq!(at("2026-01-31T12:00:00Z").to_string(), "2026-01-31T12:00:00.000000000Z");
        let now = Time::now().unix_ns();
        let hours_ago = |text| (now - at(text).unix_ns()) as f64 / 3.6e12;
        assert!((hours_ago("90m") - 1.5).abs() < 0.01);
        assert!((hours_ago("2h ago") - 2.0).abs() < 0.01);
        assert!((hours_ago("3d") - 72.0).abs() < 0.01);
        assert!(at("yesterday") < at("today") && at("today") <= Time::now());
        assert!("whenever".parse::<Since>().is_err());
    }
}
