//! The log changes hands while exchanges run.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;

/// Hands the log of `old` to a new one, which serves it.
fn replace(place: &Place, old: &mut Log) -> Log {
    let handed = old.hand_over().unwrap();
    let mut new = Log::open_after(place.settings(), handed).unwrap();
    join(old, &mut new);
    new
}

fn join(old: &mut Log, new: &mut Log) {
    let (theirs, ours) = UnixStream::pair().unwrap();
    new.serve(theirs).unwrap();
    old.follow(ours, new.part_bytes()).unwrap();
}

fn begun(worker: &Worker) -> Exchange {
    run(worker.begin(Record::new(ExchangeId::new()), ORIGINAL, outgoing())).unwrap().0
}

fn states(place: &Place) -> Vec<State> {
    let mut reader = place.reader();
    let records = located(&mut reader);
    assert_eq!(records.len() as u64, place.intact().records);
    records.iter().map(|at| reader.record(at).unwrap().state).collect()
}

#[test]
fn exchanges_of_the_predecessor_end_in_the_log_of_its_successor() {
    let place = Place::new();
    let mut old = place.open();
    let worker = old.worker().unwrap();
    let mut open = begun(&worker);
    run(open.chunk(b"before, ")).unwrap();
    let (given_up, unended) = (begun(&worker), begun(&worker));

    let new = replace(&place, &mut old);
    let mut other = new.worker().unwrap();
    run(async {
        exchange(&mut other, &[b"the successor's own"]).await;
        open.chunk(b"after").await.unwrap();
        drop(given_up);
        open.complete(&Completion::default()).await.unwrap().await.unwrap();
    });
    // A whole request on a connection that the old one keeps open; too large for one frame.
    let body = vec![b'x'; 50_000];
    let large = Outgoing { head: HEAD, body: &body };
    let (mut late, _) = run(worker.begin(Record::new(ExchangeId::new()), ORIGINAL, large)).unwrap();
    run(late.chunk(&body)).unwrap();
    run(async { late.complete(&Completion::default()).await.unwrap().await.unwrap() });
    assert_eq!(read(&place, 2).state, State::Open, "its writer is another process, and alive");
    drop(unended);
    old.close().unwrap();
    new.close().unwrap();

    let complete = State::Complete;
    assert_eq!(states(&place), [complete, State::Aborted, State::Aborted, complete, complete]);
    assert_eq!(read(&place, 0).response.body.unwrap().bytes, 13);
    assert_eq!(read(&place, 4).request.masked.unwrap().text.len(), body.len());
}

#[test]
fn many_threads_write_while_the_log_changes_hands_again_and_again() {
    const WRITERS: usize = 4;
    let place = Place::new();
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let mut logs = vec![place.open()];
        let mut writers = Vec::new();
        for _ in 0..4 {
            let mut newest = logs.pop().unwrap();
            for _ in 0..WRITERS {
                let mut worker = newest.worker().unwrap();
                let stop = &stop;
                writers.push(scope.spawn(move || {
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        run(exchange(&mut worker, &[b"one", &[7; 9000], b"two"]));
                        count += 1;
                    }
                    count
                }));
            }
            let next = replace(&place, &mut newest);
            logs.push(newest);
            logs.push(next);
        }
        std::thread::sleep(Duration::from_millis(100));
        stop.store(true, Ordering::Relaxed);
        let written: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        // Every one appends through those after it: the oldest ends first.
        logs.into_iter().for_each(|log| log.close().unwrap());
        written
    });
    let report = place.intact();
    assert!(written > 0);
    assert_eq!((report.records, report.leaves), (written, 2 * written), "none is missing, none is aborted");
    assert!(states(&place).iter().all(|state| *state == State::Complete));
}

#[test]
fn a_log_that_nobody_took_is_gone_on_with() {
    let place = Place::new();
    let mut log = place.open();
    let worker = log.worker().unwrap();
    let (mut open, given_up) = (begun(&worker), begun(&worker));
    let handed = log.hand_over().unwrap();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| run(open.chunk(b"while it was nobody's")));
        drop(given_up);
        assert!(matches!(Log::open(place.settings()), Err(Error::Locked { .. })), "it is locked all the while");
        // A successor that failed.
        drop(handed);
        log.resume().unwrap();
        waiting.join().unwrap()
    });
    waiting.unwrap();
    run(async { open.complete(&Completion::default()).await.unwrap().await.unwrap() });
    log.close().unwrap();
    assert_eq!(states(&place), [State::Complete, State::Aborted]);
}

#[test]
fn without_its_successor_a_predecessor_records_nothing() {
    let place = Place::new();
    let mut old = place.open();
    let worker = old.worker().unwrap();
    let mut open = begun(&worker);
    let handed = old.hand_over().unwrap();
    let new = Log::open_after(place.settings(), handed).unwrap();
    let (theirs, ours) = UnixStream::pair().unwrap();
    old.follow(ours, new.part_bytes()).unwrap();
    // One that was submitted, and is never answered.
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| run(open.chunk(b"lost")));
        std::thread::sleep(Duration::from_millis(20));
        drop(theirs);
        waiting.join().unwrap()
    });
    assert!(matches!(waiting, Err(Error::Successor { .. })), "{waiting:?}");
    let refused = run(worker.begin(Record::new(ExchangeId::new()), ORIGINAL, outgoing())).map(drop);
    assert!(matches!(refused, Err(Error::Successor { .. })), "{refused:?}");
    assert!(run(open.complete(&Completion::default())).is_err());
    assert!(old.close().is_ok(), "nothing is left to be said");
    new.close().unwrap();
    assert_eq!(states(&place), [State::Aborted]);
}

#[test]
fn what_a_peer_makes_up_ends_its_connection_alone() {
    use std::io::{Read as _, Write as _};
    let place = Place::new();
    let mut log = place.open();
    let (theirs, mut ours) = UnixStream::pair().unwrap();
    log.serve(theirs).unwrap();
    ours.write_all(&[5, 0, 0, 0, 1, 2, 3, 4, 5]).unwrap();
    let mut rest = Vec::new();
    ours.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    let mut worker = log.worker().unwrap();
    run(exchange(&mut worker, &[]));
    log.close().unwrap();
    assert_eq!(states(&place), [State::Complete]);
}

#[test]
fn a_lock_of_another_log_is_not_taken_for_this_ones() {
    let (place, other) = (Place::new(), Place::new());
    let mut log = other.open();
    place.open().close().unwrap();
    let handed = log.hand_over().unwrap();
    assert!(matches!(Log::open_after(place.settings(), handed), Err(Error::Inconsistent { .. })));
    log.resume().unwrap();
}

#[test]
fn a_dropped_wait_leaves_one_end() {
    let place = Place::new();
    let mut log = place.open();
    let worker = log.worker().unwrap();
    let open = begun(&worker);
    let handed = log.hand_over().unwrap();
    drop(handed);
    let log = Arc::new(std::sync::Mutex::new(log));
    run(async {
        let completion = Completion::default();
        let completing = open.complete(&completion);
        assert!(tokio::time::timeout(Duration::from_millis(10), completing).await.is_err(), "it waits for the log");
    });
    log.lock().unwrap().resume().unwrap();
    drop(log);
    assert_eq!(states(&place), [State::Aborted]);
}
