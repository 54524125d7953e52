//! System calls that fail.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::disk::Disk;
use super::faults::Faulty;
use std::slice::from_ref;

use super::*;

fn open(place: &Place) -> (Arc<Faulty>, Log, Worker) {
    let disk = Arc::new(Faulty::default());
    let log = Log::open_on(place.settings(), Arc::clone(&disk) as Arc<dyn Disk>).unwrap();
    let worker = log.worker().unwrap();
    (disk, log, worker)
}

async fn begin(worker: &mut Worker) -> Result<(Exchange, Committed), Error> {
    worker.begin(Record::new(ExchangeId::new()), ORIGINAL, outgoing()).await
}

#[test]
fn a_failed_msync_is_not_acknowledged_and_the_next_request_is() {
    let place = Place::new();
    let (disk, log, mut worker) = open(&place);
    run(async {
        let kept = exchange(&mut worker, &[b"one"]).await;
        let (mut open, _) = begin(&mut worker).await.unwrap();
        open.chunk(b"before").await.unwrap();
        disk.flush.arm(0, 1);
        let error = begin(&mut worker).await.unwrap_err();
        assert!(matches!(error, Error::Io { call: "msync", .. }), "{error}");
        open.chunk(b"after").await.unwrap();
        open.complete(&Completion::default()).await.unwrap().await.unwrap();
        let later = exchange(&mut worker, &[]).await;
        let mut reader = place.reader();
        for id in [kept, later] {
            let at = find(&mut reader, &id).unwrap();
            assert_eq!(reader.record(&at).unwrap().state, State::Complete);
        }
    });
    log.close().unwrap();
    assert_eq!(place.segments().len(), 2, "the segment was given up");
    assert_eq!(place.intact().records, 4);
    let (mut reader, keys) = (place.reader(), place.keys());
    let mut opener = Opener::new(&keys, from_ref(&place.secret));
    let second = nth(&mut reader, 1);
    assert_eq!(reader.response(&second, &mut opener).unwrap().unwrap(), b"beforeafter");
    place.write(&[&[]]);
    place.intact();
}

#[test]
fn a_disk_that_stays_bad_denies_until_it_is_good_again() {
    let place = Place::new();
    let (disk, log, mut worker) = open(&place);
    run(async {
        exchange(&mut worker, &[]).await;
        disk.flush.arm(0, usize::MAX);
        disk.sync.arm(0, usize::MAX);
        for _ in 0..3 {
            assert!(begin(&mut worker).await.is_err());
        }
        disk.flush.arm(0, 0);
        disk.sync.arm(0, 0);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while begin(&mut worker).await.is_err() {
            assert!(std::time::Instant::now() < deadline, "it does not come back");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        exchange(&mut worker, &[]).await;
    });
    log.close().unwrap();
    place.intact();
}

/// Fails when `future` takes longer than a failing disk may make it.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it hangs")
}

/// Begins exchanges, a few to a segment, until one is refused; each is given to `take`. One that is dropped there writes
/// its end, which may then be what meets the failing disk.
async fn begin_until_refused(worker: &Worker, mut take: impl FnMut(Exchange)) -> Error {
    let big = vec![b'x'; 5_000];
    for _ in 0..1_000 {
        let outgoing = Outgoing { head: HEAD, body: &big };
        match in_time(worker.begin(Record::new(ExchangeId::new()), ORIGINAL, outgoing)).await {
            Ok((exchange, _)) => take(exchange),
            Err(error) => return error,
        }
    }
    panic!("no segment was needed")
}

async fn comes_back(worker: &mut Worker) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while in_time(begin(worker)).await.is_err() {
        assert!(Instant::now() < deadline, "it does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_full_disk_refuses_by_name_keeps_room_for_ends_and_comes_back() {
    let place = Place::new();
    let (disk, log, mut worker) = open(&place);
    run(async {
        let (open, _) = begin(&mut worker).await.unwrap();
        disk.allocate.arm(0, usize::MAX);
        let error = begin_until_refused(&worker, drop).await;
        assert!(matches!(error, Error::Io { call: "fallocate", .. }), "{error}");
        // Nothing is allocated any more, and yet what has begun can end.
        in_time(in_time(open.complete(&Completion::default())).await.unwrap()).await.unwrap();
        disk.allocate.arm(0, 0);
        comes_back(&mut worker).await;
    });
    log.close().unwrap();
    place.intact();
}

#[test]
fn a_failed_rename_refuses_one_request_and_the_next_goes_on() {
    let place = Place::new();
    let (disk, log, mut worker) = open(&place);
    run(async {
        disk.rename.arm(0, 1);
        let mut open = Vec::new();
        let error = begin_until_refused(&worker, |exchange| open.push(exchange)).await;
        assert!(matches!(error, Error::Io { call: "rename", .. }), "{error}");
        drop(in_time(begin(&mut worker)).await.unwrap());
        disk.rename.arm(0, usize::MAX);
        let error = begin_until_refused(&worker, |exchange| open.push(exchange)).await;
        assert!(matches!(error, Error::Io { call: "rename", .. }), "{error}");
        disk.rename.arm(0, 0);
        drop(open);
        comes_back(&mut worker).await;
    });
    log.close().unwrap();
    place.intact();
    assert!(!names(&place.audit()).iter().any(|name| name.ends_with(".spare")), "what could not be named is removed");
}

/// While the disk is asked for the next segment, nothing on the caller's thread is: other tasks go on.
#[test]
fn a_slow_allocation_makes_tasks_wait_and_not_their_thread() {
    let place = Place::new();
    let (disk, log, worker) = open(&place);
    run(async {
        // Both spares may be there already: use them up first, then wait in earnest.
        disk.slow.store(300, Ordering::SeqCst);
        let big = vec![b'x'; 7_000];
        let mut longest = Duration::ZERO;
        let begins = async {
            for _ in 0..30 {
                let outgoing = Outgoing { head: HEAD, body: &big };
                let (exchange, _) = worker.begin(Record::new(ExchangeId::new()), ORIGINAL, outgoing).await.unwrap();
                exchange.complete(&Completion::default()).await.unwrap().await.unwrap();
            }
        };
        let mut begins = std::pin::pin!(begins);
        loop {
            let before = Instant::now();
            let done = tokio::select! {
                () = &mut begins => true,
                () = tokio::time::sleep(Duration::from_millis(1)) => false,
            };
            longest = longest.max(before.elapsed());
            if done {
                break;
            }
        }
        assert!(longest < Duration::from_millis(200), "the thread stood still for {longest:?}");
    });
    log.close().unwrap();
    assert!(place.segments().len() > 3);
    place.intact();
}

#[test]
fn nobody_waits_for_a_commit_thread_that_has_ended() {
    for _ in 0..20 {
        let place = Place::new();
        let (disk, log, worker) = open(&place);
        disk.flush.arm(0, usize::MAX);
        disk.sync.arm(0, usize::MAX);
        let begun = std::thread::scope(|scope| {
            let begun = scope.spawn(|| {
                run(in_time(async {
                    loop {
                        match worker.begin(Record::new(ExchangeId::new()), ORIGINAL, outgoing()).await {
                            Err(Error::Closed) => return,
                            Err(_) => {}
                            Ok(_) => panic!("acknowledged without a disk"),
                        }
                    }
                }));
            });
            std::thread::sleep(Duration::from_millis(5));
            assert!(log.close().is_err());
            begun.join()
        });
        begun.unwrap();
    }
}

#[test]
fn a_closed_log_takes_nothing_more() {
    let place = Place::new();
    let log = place.open();
    let mut worker = log.worker().unwrap();
    let (exchange, _) = run(begin(&mut worker)).unwrap();
    log.close().unwrap();
    assert!(matches!(run(begin(&mut worker)), Err(Error::Closed)));
    assert!(matches!(run(exchange.complete(&Completion::default())).map(drop), Err(Error::Closed)));
    assert_eq!(read(&place, 0).state, State::Aborted);
    place.intact();
}

#[test]
fn a_second_writer_is_refused_while_the_first_lives() {
    let place = Place::new();
    let log = place.open();
    let error = Log::open(place.settings()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    log.close().unwrap();
    place.open();
}

#[test]
fn a_dropped_exchange_is_recorded_as_aborted() {
    let place = Place::new();
    let log = place.open();
    let mut worker = log.worker().unwrap();
    let (mut exchange, _) = run(begin(&mut worker)).unwrap();
    run(exchange.chunk(b"half an ans")).unwrap();
    assert_eq!(read(&place, 0).state, State::Open);
    drop(exchange);
    let record = read(&place, 0);
    assert_eq!((record.state, record.response.body.unwrap().bytes), (State::Aborted, 11));
    log.close().unwrap();
    place.intact();
}
