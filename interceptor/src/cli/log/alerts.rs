//! `interceptor log alerts`: what rules and the daemon itself called attention to.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::super::Failure;
use super::since::Since;
use super::table::{Style, clean, colour, millis};
use super::{report_damage, write_all};
use crate::audit::{Alert, Reader};
use crate::flow::Severity;

/// Arguments of `interceptor log alerts`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor log alerts --since yesterday
  interceptor log alerts --json | jq -c 'select(.severity == \"high\") | [.time, .reason]'

Exit status: 0 listed, also when there is none; 2 there is no log, or it may not be read.")]
pub(crate) struct Args {
    /// Only those that were raised since then
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// JSON Lines
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, audit: &Path) -> Result<ExitCode, Failure> {
    let mut reader = Reader::open(audit)?;
    let since = args.since.map_or(0, |Since(time)| time.unix_ns());
    let notes = reader.notes(|ns| ns >= since)?;
    let alerts: Vec<Alert> = notes.iter().filter_map(Alert::of).collect();
    report_damage(reader.damage());
    write_all(&alerts, args.json, "no alerts", table)
}

fn table(out: &mut dyn Write, alerts: &[Alert]) -> io::Result<()> {
    let width = alerts.iter().map(|alert| alert.name.chars().count()).max().unwrap_or(0).max(5);
    let headings = format!("{:<23}  {:<8}  {:<width$}  REASON", "TIME (UTC)", "SEVERITY", "ALERT");
    writeln!(out, "{}", Style::Dim.paint(&headings, colour()))?;
    for alert in alerts {
        let style = if alert.severity == Severity::High { Style::Bad } else { Style::Plain };
        let severity = style.paint(&format!("{:<8}", alert.severity.as_str()), colour());
        let (time, name, reason) = (millis(alert.time), clean(&alert.name), clean(&alert.reason));
        let suppressed = match alert.suppressed {
            0 => String::new(),
            count => format!(" ({count} suppressed before)"),
        };
        writeln!(out, "{time:<23}  {severity}  {name:<width$}  {reason}{suppressed}")?;
    }
    Ok(())
}
