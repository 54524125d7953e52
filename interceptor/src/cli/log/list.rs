//! `interceptor log list` and `tail`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::super::Failure;
use super::super::pager::Paging;
use super::filter::{self, Filter};
use super::table::{Table, clean};
use super::{report_damage, tell};
use crate::audit::{Change, Live, Located, Query, Reader, Record, Select as _};

/// How often a followed log is looked at: what is written through a mapping wakes nobody.
const FOLLOW: Duration = Duration::from_millis(10);
/// How often it is looked whether the log's writer is at work.
const WRITER: Duration = Duration::from_millis(100);
/// The columns of a table fit so many records, and those that follow as far as they are alike.
const FITTED: usize = 1000;
/// After this time a followed record is shown though it has not ended.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `interceptor log list`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  interceptor log list --limit 20
  interceptor log list --since '2 hours ago' --caller alice
  interceptor log list --decision deny --json | jq -r .id

{}

Exit status: 0 listed, also when there is nothing or the log is damaged (standard error tells);
2 there is no log, or it may not be read.", filter::HELP))]
pub(crate) struct ListArgs {
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

/// Arguments of `interceptor log tail`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  interceptor log tail -n 3
  interceptor log tail -f --decision deny
  interceptor log tail -f -n 0 --json | jq -c '{{id, state, decision}}'

With -f a record is shown once: when it ends or is refused. One that goes on for more than
10 seconds is shown as open too. Following outlives restarts of the daemon.

{}

Exit status: 0 shown; 2 there is no log, or it may not be read.", filter::HELP))]
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
    #[command(flatten)]
    filter: Filter,
}

pub(crate) fn list(args: &ListArgs, audit: &Path) -> Result<ExitCode, Failure> {
    let mut reader = Reader::open(audit)?;
    let shown = match args.limit {
        // Nothing is kept: a log may have millions.
        None => stream(&mut reader, &args.filter, args.json)?,
        Some(limit) => {
            let chosen = last(&mut reader, &args.filter, limit)?;
            write(&mut reader, &chosen, args.json)?;
            chosen.len()
        }
    };
    if shown == 0 {
        if reader.is_empty()? {
            tell("no records yet");
        } else if args.limit != Some(0) {
            tell(args.filter.nothing());
        }
    }
    let notes = reader.notes(|ns| args.filter.is_in_time(ns))?;
    for note in notes.iter().filter(|note| note.is_about_log()) {
        let note = clean(&note.to_string());
        // Beside JSON Lines of records only standard error is left.
        if args.json { writeln!(io::stderr(), "note: {note}")? } else { writeln!(io::stdout(), "note: {note}")? }
    }
    match notes.iter().filter(|note| note.is_alert()).count() {
        0 => {}
        1 => tell("1 alert in this time: `interceptor log alerts` shows it"),
        count => tell(format_args!("{count} alerts in this time: `interceptor log alerts` lists them")),
    }
    report_damage(reader.damage());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn tail(args: &TailArgs, audit: &Path) -> Result<ExitCode, Failure> {
    let mut reader = Reader::open(audit)?;
    let chosen = last(&mut reader, &args.filter, args.lines)?;
    if chosen.is_empty() {
        if reader.is_empty()? {
            tell("no records yet");
        } else if args.lines > 0 {
            tell(args.filter.nothing());
        }
    }
    report_damage(reader.damage());
    if !args.follow {
        write(&mut reader, &chosen, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let table = Table::to_come(chosen.iter().map(|(_, record)| record));
    let mut out = io::stdout().lock();
    if !args.json {
        table.headings(&mut out)?;
    }
    let mut follower = Follower::new(Live::new(&mut reader)?, &chosen);
    let mut ready: Vec<Located> = chosen.into_iter().map(|(at, _)| at).collect();
    let (mut reported, mut damage) = (reader.damage().len(), 0);
    loop {
        for at in ready {
            let record = if args.json { reader.record(&at)? } else { reader.outline(&at)? };
            match args.filter.takes(&record) {
                true if args.json => json_line(&mut out, &record)?,
                true => table.row(&mut out, &record)?,
                false => {}
            }
        }
        out.flush()?;
        report_damage(&reader.damage()[reported..]);
        reported = reader.damage().len();
        std::thread::sleep(FOLLOW);
        ready = follower.next(Instant::now())?;
        let seen = follower.live.damage();
        report_damage(&seen[damage..]);
        damage = seen.len();
        if !ready.is_empty() {
            reader.refresh()?;
        }
    }
}

/// The last `count` records that are wanted.
pub(super) fn last(reader: &mut Reader, filter: &Filter, count: usize) -> Result<Vec<(Located, Record)>, Failure> {
    let mut query = Query::newest_first(filter);
    let mut chosen = Vec::new();
    while chosen.len() < count
        && let Some(found) = query.outline(reader)?
    {
        chosen.push(found);
    }
    chosen.reverse();
    Ok(chosen)
}

/// Writes the records that are wanted, one after the other; says how many.
fn stream(reader: &mut Reader, filter: &Filter, json: bool) -> Result<usize, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut query = Query::oldest_first(filter);
    let mut count = 0;
    if json {
        while let Some((_, record)) = query.record(reader)? {
            json_line(&mut out, &record)?;
            count += 1;
        }
        out.flush()?;
        return Ok(count);
    }
    let mut first = Vec::new();
    while first.len() < FITTED
        && let Some((_, record)) = query.outline(reader)?
    {
        first.push(record);
    }
    if first.is_empty() {
        return Ok(0);
    }
    let table = Table::fitting(&first);
    table.headings(&mut out)?;
    first.iter().try_for_each(|record| table.row(&mut out, record))?;
    count = first.len();
    drop(first);
    while let Some((_, record)) = query.outline(reader)? {
        table.row(&mut out, &record)?;
        count += 1;
    }
    out.flush()?;
    Ok(count)
}

/// Decides when a record of a growing log is shown.
#[derive(Debug)]
struct Follower {
    live: Live,
    /// Records that have not ended, by their sequence numbers.
    open: BTreeMap<u64, Open>,
    /// When it was last looked whether a writer is at work, and what that said.
    writer: Option<(Instant, bool)>,
}

/// A record that has not ended.
#[derive(Debug)]
struct Open {
    since: Instant,
    shown: bool,
    /// Nobody is there any more to end it.
    left: bool,
}

impl Follower {
    /// Follows a log; `shown` have been shown as they are.
    fn new(live: Live, shown: &[(Located, Record)]) -> Self {
        let now = Instant::now();
        let shown = |sequence| shown.binary_search_by_key(&sequence, |(at, _)| at.sequence()).is_ok();
        let open = |sequence: &u64| (*sequence, Open { since: now, shown: shown(*sequence), left: false });
        Self { open: live.open().keys().map(open).collect(), live, writer: None }
    }

    /// Looks at the log; gives the records to be shown now.
    fn next(&mut self, now: Instant) -> Result<Vec<Located>, Failure> {
        let mut ready = Vec::new();
        for change in self.live.poll()? {
            match change {
                Change::Ended(at) => {
                    self.open.remove(&at.sequence());
                    ready.push(*at);
                }
                Change::Opened(sequence) => {
                    self.open.insert(sequence, Open { since: now, shown: false, left: false });
                }
            }
        }
        if self.open.is_empty() || self.writer.is_some_and(|(at, _)| now.duration_since(at) < WRITER) {
            return Ok(ready);
        }
        let is_held = self.live.is_written();
        self.writer = Some((now, is_held));
        let live = &mut self.live;
        self.open.retain(|&sequence, open| {
            let Some(at) = live.open().get(&sequence) else { return false };
            // The writer may have ended it and gone between our look at the frames and this one: believe the second.
            if !live.may_end(at, is_held) {
                let gone = std::mem::replace(&mut open.left, true);
                if gone {
                    ready.extend(live.take(sequence));
                }
                return !gone;
            }
            open.left = false;
            if !open.shown && now.duration_since(open.since) >= PATIENCE {
                open.shown = true;
                ready.push(at.clone());
            }
            true
        });
        Ok(ready)
    }
}

fn write(reader: &mut Reader, chosen: &[(Located, Record)], json: bool) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        for (at, _) in chosen {
            json_line(&mut out, &reader.record(at)?)?;
        }
    } else if !chosen.is_empty() {
        let records = || chosen.iter().map(|(_, record)| record);
        let table = Table::fitting(records());
        table.headings(&mut out)?;
        records().try_for_each(|record| table.row(&mut out, record))?;
    }
    out.flush()?;
    Ok(())
}

pub(super) fn json_line(out: &mut impl Write, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{AuditorSecret, Completion, Durability, Log, Outgoing, Settings, State};
    use crate::flow::ExchangeId;

    fn settings(dir: &Path, secret: &AuditorSecret) -> Settings {
        Settings {
            dir: dir.join("audit"),
            keys: dir.join("keys"),
            host: "testhost".into(),
            durability: Durability::Process,
            auditors: vec![secret.public()],
            threshold: 1,
            segment_bytes: 64 << 10,
            accept_missing_checkpoint: false,
        }
    }

    /// Writes `count` exchanges, every fourth of them refused, in segments that are full after a few.
    fn write_exchanges(settings: Settings, count: usize) -> Vec<ExchangeId> {
        let log = Log::open(settings).unwrap();
        let worker = log.worker().unwrap();
        let body = vec![b'x'; 3000];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ids = (0..count)
            .map(|n| {
                let record = Record::new(ExchangeId::new());
                let id = record.id;
                runtime.block_on(async {
                    if n % 4 == 3 {
                        worker.refuse(record, None, b"").await.unwrap();
                        return;
                    }
                    let outgoing = Outgoing { head: b"POST / HTTP/1.1\r\n\r\n", body: &body };
                    let (mut exchange, _) = worker.begin(record, b"", outgoing).await.unwrap();
                    exchange.chunk(&body).await.unwrap();
                    std::thread::sleep(Duration::from_micros(200));
                    exchange.complete(&Completion::default()).await.unwrap().await.unwrap();
                });
                id
            })
            .collect();
        log.close().unwrap();
        ids
    }

    #[test]
    fn a_follower_shows_every_record_once_across_segments_and_generations() {
        let dir = tempfile::tempdir().unwrap();
        let secret = AuditorSecret::generate();
        // A daemon that wrote nothing: its segment is gone, and the next one takes its name.
        Log::open(settings(dir.path(), &secret)).unwrap().close().unwrap();
        let idle = Log::open(settings(dir.path(), &secret)).unwrap();
        let mut reader = Reader::open(&dir.path().join("audit")).unwrap();
        let mut follower = Follower::new(Live::new(&mut reader).unwrap(), &[]);
        assert!(follower.next(Instant::now()).unwrap().is_empty());
        idle.close().unwrap();
        let writing = std::thread::spawn({
            let generations = [settings(dir.path(), &secret), settings(dir.path(), &secret)];
            move || generations.into_iter().flat_map(|settings| write_exchanges(settings, 120)).collect::<Vec<_>>()
        });
        let mut seen = Vec::new();
        loop {
            let last = writing.is_finished();
            for at in follower.next(Instant::now()).unwrap() {
                let record = reader.record(&at).unwrap();
                assert_eq!((record.state, record.log.damaged), (State::Complete, false));
                seen.push(record.id);
            }
            if last {
                break;
            }
        }
        assert_eq!(seen, writing.join().unwrap());
        let damage = follower.live.damage();
        assert!(damage.is_empty() && reader.damage().is_empty(), "{damage:?} {:?}", reader.damage());
    }

    #[test]
    fn an_exchange_that_goes_on_is_shown_open_once_and_again_when_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(settings(dir.path(), &AuditorSecret::generate())).unwrap();
        let worker = log.worker().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outgoing = Outgoing { head: b"", body: b"" };
        let begin = || runtime.block_on(worker.begin(Record::new(ExchangeId::new()), b"", outgoing)).unwrap().0;
        let (first, second) = (begin(), begin());
        let mut reader = Reader::open(&dir.path().join("audit")).unwrap();
        let mut follower = Follower::new(Live::new(&mut reader).unwrap(), &[]);
        let ids = |found: Vec<Located>| found.iter().map(Located::id).collect::<Vec<_>>();
        let (one, two) = (first.id(), second.id());
        let start = Instant::now();
        assert_eq!(ids(follower.next(start).unwrap()), []);
        assert_eq!(ids(follower.next(start + PATIENCE).unwrap()), [one, two]);
        assert_eq!(ids(follower.next(start + 2 * PATIENCE).unwrap()), []);
        runtime.block_on(async { first.complete(&Completion::default()).await.unwrap().await }).unwrap();
        assert_eq!(ids(follower.next(start + 3 * PATIENCE).unwrap()), [one]);
        // The daemon goes away without ending the second one.
        log.close().unwrap();
        let gone: Vec<Located> = (4..7).flat_map(|n| follower.next(start + n * PATIENCE).unwrap()).collect();
        assert_eq!(reader.outline(&gone[0]).unwrap().state, State::Aborted);
        assert_eq!(ids(gone), [two]);
        drop(second);
    }
}
