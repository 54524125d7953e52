//! The same records in what others have: a log crate and SQLite, neither of which seals, hashes or signs.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use okaywal::{LogVoid, WriteAheadLog};
use rusqlite::Connection;

use super::producers::spread;
use super::{Place, SIZES};

/// A table in a database with a write-ahead log; each record is a transaction.
fn sqlite(place: &Place, durable: bool) -> Connection {
    let connection = Connection::open(place.dir.path().join("log.sqlite")).expect("a database");
    connection.busy_timeout(Duration::from_secs(60)).expect("set");
    let synchronous = if durable { "FULL" } else { "OFF" };
    let setup = format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
         CREATE TABLE IF NOT EXISTS log (sequence INTEGER PRIMARY KEY, record BLOB);"
    );
    connection.execute_batch(&setup).expect("a table");
    connection
}

fn insert(connection: &Connection, bytes: &[u8]) {
    let mut statement = connection.prepare_cached("INSERT INTO log (record) VALUES (?1)").expect("prepared");
    statement.execute([bytes]).expect("inserted");
}

pub(crate) fn others(c: &mut Criterion) {
    let mut group = c.benchmark_group("others");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(3));
    for size in SIZES {
        let bytes = vec![b'x'; size];
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("SQLite in memory, 1 producer", size), |b| {
            b.iter_custom(|appends| {
                let place = Place::in_memory();
                // The last to close empties the write-ahead log, which is not to be measured.
                let last = sqlite(&place, false);
                let took = spread(1, appends, || sqlite(&place, false), |own| insert(own, &bytes));
                drop(last);
                took
            });
        });
        for threads in [1, 8] {
            group.bench_function(BenchmarkId::new(format!("SQLite durable, {threads} producers"), size), |b| {
                b.iter_custom(|appends| {
                    let place = Place::new();
                    let last = sqlite(&place, true);
                    let took = spread(threads, appends, || sqlite(&place, true), |own| insert(own, &bytes));
                    drop(last);
                    took
                });
            });
            group.bench_function(BenchmarkId::new(format!("okaywal durable, {threads} producers"), size), |b| {
                b.iter_custom(|appends| {
                    let place = Place::new();
                    let log = WriteAheadLog::recover(place.dir.path().join("okaywal"), LogVoid).expect("a log");
                    let took = spread(
                        threads,
                        appends,
                        || log.clone(),
                        |log| {
                            let mut entry = log.begin_entry().expect("an entry");
                            entry.write_chunk(&bytes).expect("written");
                            entry.commit().expect("committed");
                        },
                    );
                    log.shutdown().expect("closed");
                    took
                });
            });
        }
    }
    group.finish();
}
