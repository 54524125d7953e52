//! `interceptor log replay`: conversations, in the order and timing in which they happened.

mod answer;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::super::Failure;
use super::filter::{self, Filter};
use super::table::{Style, clean, clean_lines, colour, decision_style, findings, millis};
use super::texts::{self, Place, Step};
use super::unseal::Auditor;
use super::{find, report_damage};
use crate::audit::{Located, Opener, Piece, Query, Reader, Record};
use crate::config::StatePaths;
use answer::Answer;

/// Names of members that hold what people and models say.
const SAID: [&str; 10] =
    ["content", "text", "input", "prompt", "system", "instructions", "message", "output", "arguments", "thinking"];

/// Arguments of `interceptor log replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  interceptor log replay latest
  interceptor log replay --caller alice --since today --speed 10 --max-pause 2
  interceptor log replay 01a20909 --key auditor.key --reason 'case 17'

Shows each prompt as it left, what was decided and how long it was held, and the answer as it came,
with the pauses that there were. Answers are sealed: without an auditor's key only their size and timing
are shown. With --key each record's access goes on record before anything of its answer is shown.

{}

Exit status: 0 replayed; 2 there is no such record, the log may not be read, or the key does not fit.", filter::HELP))]
pub(crate) struct Args {
    /// Id of a record, an unambiguous start of it, or `latest`; without it, all that the options name
    id: Option<String>,
    /// So many times as fast as it happened
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// No pause is longer than this, in seconds; 0 for none at all
    #[arg(long, value_name = "S", value_parser = seconds)]
    max_pause: Option<Duration>,
    /// An auditor's private key, to show answers; several where `audit.threshold` asks for several
    #[arg(long, value_name = "FILE", requires = "reason")]
    key: Vec<PathBuf>,
    /// Why answers must be opened: goes on record before they are shown
    #[arg(long, value_name = "TEXT", requires = "key")]
    reason: Option<String>,
    #[command(flatten)]
    filter: Filter,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if (0.001..=1e6).contains(&speed) => Ok(speed),
        _ => Err("write a number above 0, as 10 or 0.5".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "write a number of seconds, as 2 or 0.5".to_owned())
}

pub(crate) fn run(args: &Args, paths: &StatePaths) -> Result<ExitCode, Failure> {
    let auditor = match &args.reason {
        Some(reason) => Some(Auditor::new(&args.key, reason)?),
        None => None,
    };
    let mut reader = Reader::open(&paths.audit())?;
    let mut player = Player { args, paths, auditor, out: io::stdout().lock(), clock: None, shown: 0 };
    if let Some(id) = &args.id {
        let at = find(&mut reader, id)?;
        let record = reader.record(&at)?;
        player.play(&mut reader, &at, &record)?;
    } else {
        let mut query = Query::oldest_first(&args.filter);
        while let Some((at, record)) = query.record(&mut reader)? {
            player.play(&mut reader, &at, &record)?;
        }
    }
    if player.shown == 0 {
        eprintln!("interceptor: {}", args.filter.nothing());
    }
    report_damage(reader.damage());
    Ok(ExitCode::SUCCESS)
}

struct Player<'a, W> {
    args: &'a Args,
    paths: &'a StatePaths,
    auditor: Option<Auditor>,
    out: W,
    /// The time of what was shown last, nanoseconds since 1970.
    clock: Option<u64>,
    shown: u64,
}

impl<W: Write> Player<'_, W> {
    fn play(&mut self, reader: &mut Reader, at: &Located, record: &Record) -> Result<(), Failure> {
        let pieces = self.pieces(reader, at)?;
        self.wait_until(record.time.unix_ns())?;
        if self.shown > 0 {
            writeln!(self.out)?;
        }
        self.shown += 1;
        self.request(record)?;
        self.hold(record)?;
        self.answer(&pieces)?;
        self.end(record)?;
        Ok(self.out.flush()?)
    }

    /// The answer's pieces, opened if somebody can, and that is on record.
    fn pieces(&self, reader: &mut Reader, at: &Located) -> Result<Vec<Piece>, Failure> {
        let Some(auditor) = &self.auditor else { return Ok(reader.pieces(at, None)?) };
        let keys = self.paths.keys();
        let pieces = reader.pieces(at, Some(&mut Opener::new(&keys, auditor.secrets())));
        auditor.after_record(at.id(), pieces, self.paths)
    }

    /// Waits as long as there was between the last thing shown and `at`.
    fn wait_until(&mut self, at: u64) -> io::Result<()> {
        let before = self.clock.replace(at.max(self.clock.unwrap_or(0)));
        let pause = before.map_or(0, |before| at.saturating_sub(before));
        let pause = Duration::from_nanos(pause).div_f64(self.args.speed);
        let pause = pause.min(self.args.max_pause.unwrap_or(Duration::MAX));
        if !pause.is_zero() {
            self.out.flush()?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    fn request(&mut self, record: &Record) -> io::Result<()> {
        let to = record.endpoint.host.as_deref().map_or_else(|| "-".to_owned(), clean);
        let model = record.request.model.as_deref().map(clean).unwrap_or_default();
        let title = format!("{}  {} → {to}  {model}", millis(record.time), clean(&record.caller.short()));
        writeln!(self.out, "{}", Style::Bold.paint(title.trim_end(), colour()))?;
        let mut said = Vec::new();
        texts::each(record, |place, text| {
            let is_said = is_said(place);
            if is_said {
                said.push((place.to_string(), text.to_owned()));
            }
            is_said
        });
        for (place, text) in said {
            writeln!(self.out, "{}  {}", Style::Dim.paint(&clean(&place), colour()), clean_lines(&text))?;
        }
        if let Some(action) = record.decision.action.as_deref() {
            let rule = record.decision.rule.as_deref().map(|rule| format!(" by {}", clean(rule))).unwrap_or_default();
            let found = findings(record);
            let found = if found.is_empty() { found } else { format!(": {found}") };
            let text = format!("[{action}{rule}{found}]");
            writeln!(self.out, "{}", decision_style(Some(action)).paint(&text, colour()))?;
        }
        Ok(())
    }

    fn hold(&mut self, record: &Record) -> io::Result<()> {
        let Some(hold) = record.timing.hold_ms.filter(|&ms| ms > 0) else { return Ok(()) };
        writeln!(self.out, "[held for approval ...]")?;
        self.wait_until(record.time.unix_ns().saturating_add(hold.saturating_mul(1_000_000)))?;
        let approval = record.decision.approval.as_ref();
        let who = approval.and_then(|approval| approval.approver.as_deref()).map(clean);
        let who = who.map(|who| format!(" by {who}")).unwrap_or_default();
        let seconds = Duration::from_millis(hold).as_secs_f64();
        writeln!(self.out, "[released after {seconds:.1} s{who}]")
    }

    fn answer(&mut self, pieces: &[Piece]) -> io::Result<()> {
        let mut answer = Answer::new();
        let sealed: u64 = pieces.iter().filter(|piece| piece.content.is_none()).map(|piece| piece.bytes).sum();
        for piece in pieces {
            self.wait_until(piece.time.unix_ns())?;
            match &piece.content {
                Some(content) => write!(self.out, "{}", clean_lines(&answer.feed(content)))?,
                None => write!(self.out, "·")?,
            }
        }
        if sealed > 0 {
            let count = pieces.len();
            let pieces = if count == 1 { "piece" } else { "pieces" };
            return writeln!(self.out, " answer of {sealed} bytes in {count} {pieces}, sealed: --key opens it");
        }
        let (rest, found) = answer.finish();
        write!(self.out, "{}", clean_lines(&rest))?;
        if !found {
            // An error, or a format that is not known: as it came.
            for content in pieces.iter().filter_map(|piece| piece.content.as_deref()) {
                write!(self.out, "{}", clean_lines(&String::from_utf8_lossy(content)))?;
            }
        }
        if pieces.is_empty() { Ok(()) } else { writeln!(self.out) }
    }

    fn end(&mut self, record: &Record) -> io::Result<()> {
        let response = &record.response;
        if let Some(total) = record.timing.total_us {
            self.wait_until(record.time.unix_ns().saturating_add(total.saturating_mul(1000)))?;
        }
        let status = response.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        let reason = response.finish_reason.as_deref().map(|reason| format!(", {}", clean(reason))).unwrap_or_default();
        let error = response.error.as_deref().map(|error| format!(", {}", clean(error))).unwrap_or_default();
        let total = record.timing.total_us.map(|us| format!(", {:.1} s", us as f64 / 1e6)).unwrap_or_default();
        let damaged = if record.log.damaged { ", damaged: some of it may be missing" } else { "" };
        let text = format!("[{status}{reason}{error}{total}{damaged}]");
        writeln!(self.out, "{}", Style::Dim.paint(&text, colour()))
    }
}

/// Whether people or models say what stands there.
fn is_said(place: Place<'_>) -> bool {
    let Place::In(steps) = place else { return matches!(place, Place::Named("body")) };
    let last = steps.iter().rev().find_map(|step| if let Step::Name(name) = step { Some(name.as_str()) } else { None });
    last.is_some_and(|name| SAID.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_and_pauses_are_numbers() {
        assert_eq!((speed("10"), speed("0.5")), (Ok(10.0), Ok(0.5)));
        assert!(["0", "1e-20", "-1", "inf", "nan", "fast"].iter().all(|text| speed(text).is_err()));
        assert_eq!((seconds("0"), seconds("1.5")), (Ok(Duration::ZERO), Ok(Duration::from_millis(1500))));
        assert!(["-1", "x", "1e99"].iter().all(|text| seconds(text).is_err()));
    }

    #[test]
    fn what_is_said_is_told_from_settings() {
        let name = |name: &str| Step::Name(name.to_owned());
        let said = [name("messages"), Step::Index(0), name("content")];
        let parts = [name("input"), Step::Index(3)];
        assert!(is_said(Place::In(&said)) && is_said(Place::In(&parts)) && is_said(Place::Named("body")));
        assert!(!is_said(Place::In(&[name("model")])) && !is_said(Place::Named("head")));
        assert!(!is_said(Place::Member(&said)));
    }
}
