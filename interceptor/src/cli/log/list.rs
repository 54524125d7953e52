//! `interceptor log list` and `tail`.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::super::Failure;
use super::filter::{self, Filter};
use super::table::Table;
use super::{read, report_damage};
use crate::audit::{Index, Reader, Record};

/// How often a followed log is looked at.
const FOLLOW: Duration = Duration::from_millis(40);
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
    let mut reader = read(audit)?;
    let shown = match args.limit {
        // Nothing is kept: a log may have millions.
        None if args.json => stream(&mut reader, &args.filter)?,
        limit => {
            let chosen = last(&mut reader, &args.filter, limit.unwrap_or(usize::MAX))?;
            write(&mut reader, &chosen, args.json)?;
            chosen.len()
        }
    };
    if reader.is_empty() {
        eprintln!("interceptor: no records yet");
    } else if shown == 0 && args.limit != Some(0) {
        eprintln!("interceptor: {}", args.filter.nothing());
    }
    for note in reader.notes()?.iter().filter(|note| args.filter.is_in_time(note.time.unix_ns())) {
        // Beside JSON Lines of records only standard error is left.
        if args.json { writeln!(io::stderr(), "note: {note}")? } else { writeln!(io::stdout(), "note: {note}")? }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn tail(args: &TailArgs, audit: &Path) -> Result<ExitCode, Failure> {
    let mut reader = read(audit)?;
    let chosen = last(&mut reader, &args.filter, args.lines)?;
    if reader.is_empty() {
        eprintln!("interceptor: no records yet");
    } else if chosen.is_empty() && args.lines > 0 {
        eprintln!("interceptor: {}", args.filter.nothing());
    }
    if !args.follow {
        write(&mut reader, &chosen, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let table = Table::to_come(chosen.iter().map(|(_, record)| record));
    let mut out = io::stdout().lock();
    if !args.json {
        table.headings(&mut out)?;
    }
    let mut follower = Follower::new(&reader, &chosen);
    let mut ready: Vec<Index> = chosen.iter().map(|(index, _)| *index).collect();
    let mut damage = reader.damage().len();
    loop {
        for index in ready {
            let record = if args.json { reader.record(index)? } else { reader.outline(index)? };
            match args.filter.is_in_time(reader.wall_ns(index)) && args.filter.fits(&record) {
                true if args.json => json_line(&mut out, &record)?,
                true => table.row(&mut out, &record)?,
                false => {}
            }
        }
        out.flush()?;
        std::thread::sleep(FOLLOW);
        ready = follower.next(&mut reader, Instant::now())?;
        report_damage(&reader.damage()[damage..]);
        damage = reader.damage().len();
    }
}

/// The last `count` records that are wanted.
fn last(reader: &mut Reader, filter: &Filter, count: usize) -> Result<Vec<(Index, Record)>, Failure> {
    if filter.names_more_than_time() {
        // Files are read forward: from the end, each step would read what is behind it again.
        let mut chosen = VecDeque::new();
        for found in filter.choose(reader) {
            chosen.push_back(found?);
            if chosen.len() > count {
                chosen.pop_front();
            }
        }
        return Ok(chosen.into());
    }
    let wanted: Vec<Index> = (0..reader.len()).filter(|&index| filter.is_in_time(reader.wall_ns(index))).collect();
    let wanted = &wanted[wanted.len().saturating_sub(count)..];
    wanted.iter().map(|&index| Ok((index, reader.outline(index)?))).collect()
}

/// Writes the records that are wanted as JSON Lines, one after the other; says how many.
fn stream(reader: &mut Reader, filter: &Filter) -> Result<usize, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut count = 0;
    for record in filter.records(reader) {
        json_line(&mut out, &record?)?;
        count += 1;
    }
    out.flush()?;
    Ok(count)
}

/// Decides when a record of a growing log is shown.
#[derive(Debug, Default)]
struct Follower {
    open: BTreeMap<Index, Open>,
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
    /// Follows `reader` from where it is; `shown` have been shown as they are.
    fn new(reader: &Reader, shown: &[(Index, Record)]) -> Self {
        let mut follower = Self::default();
        for index in (0..reader.len()).filter(|&index| reader.is_open(index)) {
            follower.wait(index, Instant::now(), shown.binary_search_by_key(&index, |(index, _)| *index).is_ok());
        }
        follower
    }

    fn wait(&mut self, index: Index, since: Instant, shown: bool) {
        self.open.entry(index).or_insert(Open { since, shown, left: false });
    }

    /// Looks at the log; gives the records to be shown now.
    fn next(&mut self, reader: &mut Reader, now: Instant) -> Result<Vec<Index>, Failure> {
        let mut ready = Vec::new();
        for index in reader.poll()? {
            if reader.has_ended(index) {
                self.open.remove(&index);
                ready.push(index);
            } else {
                self.wait(index, now, false);
            }
        }
        self.open.retain(|&index, open| {
            // The writer may have ended it and gone between our look at the frames and this one: believe the second.
            if !reader.is_open(index) {
                let gone = std::mem::replace(&mut open.left, true);
                if gone {
                    ready.push(index);
                }
                return !gone;
            }
            open.left = false;
            if !open.shown && now.duration_since(open.since) >= PATIENCE {
                open.shown = true;
                ready.push(index);
            }
            true
        });
        Ok(ready)
    }
}

fn write(reader: &mut Reader, chosen: &[(Index, Record)], json: bool) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        for &(index, _) in chosen {
            json_line(&mut out, &reader.record(index)?)?;
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
        let mut follower = Follower::new(&reader, &[]);
        assert!(follower.next(&mut reader, Instant::now()).unwrap().is_empty());
        idle.close().unwrap();
        let writing = std::thread::spawn({
            let generations = [settings(dir.path(), &secret), settings(dir.path(), &secret)];
            move || generations.into_iter().flat_map(|settings| write_exchanges(settings, 120)).collect::<Vec<_>>()
        });
        let mut seen = Vec::new();
        loop {
            let last = writing.is_finished();
            for index in follower.next(&mut reader, Instant::now()).unwrap() {
                let record = reader.record(index).unwrap();
                assert_eq!((record.state, record.log.damaged), (State::Complete, false));
                seen.push(record.id);
            }
            if last {
                break;
            }
        }
        assert_eq!(seen, writing.join().unwrap());
        assert!(reader.damage().is_empty(), "{:?}", reader.damage());
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
        let mut follower = Follower::new(&reader, &[]);
        let start = Instant::now();
        assert!(follower.next(&mut reader, start).unwrap().is_empty());
        assert_eq!(follower.next(&mut reader, start + PATIENCE).unwrap(), [0, 1]);
        assert!(follower.next(&mut reader, start + 2 * PATIENCE).unwrap().is_empty());
        runtime.block_on(async { first.complete(&Completion::default()).await.unwrap().await }).unwrap();
        assert_eq!(follower.next(&mut reader, start + 3 * PATIENCE).unwrap(), [0]);
        // The daemon goes away without ending the second one.
        log.close().unwrap();
        let gone: Vec<Index> = (0..3).flat_map(|_| follower.next(&mut reader, start + 3 * PATIENCE).unwrap()).collect();
        assert_eq!(gone, [1]);
        assert_eq!(reader.record(1).unwrap().state, State::Aborted);
        drop(second);
    }
}
