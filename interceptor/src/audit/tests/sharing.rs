//! Many writing threads, and readers beside them.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Tells the onlookers to stop, also when a writer fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn threads_write_while_readers_and_verifiers_look_on() {
    let place = Place::new();
    let log = place.open();
    let done = AtomicBool::new(false);
    let mut reader = Reader::open(&place.audit()).unwrap();
    let mut live = Live::new(&mut reader).unwrap();
    let (ids, looks) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|n: u8| {
                let mut worker = log.worker().unwrap();
                scope.spawn(move || {
                    let chunk = vec![n; 300 * usize::from(n)];
                    run(async {
                        let mut ids = Vec::new();
                        for _ in 0..40 {
                            ids.push(exchange(&mut worker, &[&chunk, b"end"]).await);
                        }
                        ids
                    })
                })
            })
            .collect();
        let following = scope.spawn(|| {
            let mut ended = 0;
            let mut rounds = 0;
            while ended < 240 {
                rounds += 1;
                let last = done.load(Ordering::SeqCst);
                for change in live.poll().unwrap() {
                    let Change::Ended(at) = change else { continue };
                    let record = reader.record(&at).unwrap();
                    ended += usize::from(record.state == State::Complete);
                }
                assert!(live.damage().is_empty(), "{:?}", live.damage());
                assert!(ended == 240 || !last, "only {ended} were seen");
            }
            rounds
        });
        let verifying = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::SeqCst) {
                place.intact();
                rounds += 1;
            }
            rounds
        });
        let finished = Done(&done);
        let ids: Vec<ExchangeId> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        drop(finished);
        (ids, (following.join().unwrap(), verifying.join().unwrap()))
    });
    assert!(looks.0 > 0 && looks.1 > 0, "{looks:?}");
    log.close().unwrap();
    let report = place.intact();
    assert_eq!((report.records, report.leaves, report.signed_leaves), (240, 480, 480));
    let mut reader = place.reader();
    assert!(ids.iter().all(|id| find(&mut reader, id).is_some()));
}

#[test]
fn a_checkpoint_follows_within_seconds_without_a_close() {
    let place = Place::new();
    let log = place.open();
    let mut worker = log.worker().unwrap();
    run(exchange(&mut worker, &[]));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while place.intact().unsigned_frames > 0 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(read(&place, 0).log.checkpoint, Some(2));
}

#[test]
fn every_worker_seals_under_a_key_of_its_own() {
    let place = Place::new();
    let log = place.open();
    let mut workers = [log.worker().unwrap(), log.worker().unwrap()];
    for worker in &mut workers {
        run(exchange(worker, &[]));
    }
    log.close().unwrap();
    assert_eq!(std::fs::read_dir(place.keys().join("epochs")).unwrap().count(), 2);
}

#[test]
fn accesses_are_chained_and_verified_beside_a_running_writer() {
    let place = Place::new();
    let log = place.open();
    let mut worker = log.worker().unwrap();
    let id = run(exchange(&mut worker, &[]));
    for reason in ["first", "second"] {
        let access = Access {
            exchange: id,
            time: Time::now(),
            uid: 0,
            user: Some("root".into()),
            auditor: place.secret.public().fingerprint(),
            reason: reason.into(),
            outcome: Outcome::Opened,
            error: None,
        };
        access.record(&place.audit(), &place.keys()).unwrap();
    }
    assert_eq!(place.intact().accesses, 2);
    let mut reader = Reader::open_stream(&place.audit(), Stream::Access).unwrap();
    let second = nth(&mut reader, 1);
    assert_eq!(reader.access(&second).unwrap().reason, "second");
    log.close().unwrap();
    assert_eq!(place.intact().accesses, 2);
}

/// Requests in flight at every moment, and a new segment every few of them.
#[test]
fn eight_threads_go_through_small_segments_without_an_error() {
    const THREADS: usize = 8;
    const EXCHANGES: usize = 250;
    let place = Place::new();
    let log = place.open();
    let ids: Vec<ExchangeId> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|n| {
                let mut worker = log.worker().unwrap();
                let chunk = vec![n as u8; 1_000 + 900 * n];
                scope.spawn(move || {
                    run(async {
                        let mut ids = Vec::new();
                        for _ in 0..EXCHANGES {
                            ids.push(exchange(&mut worker, &[&chunk, b"end"]).await);
                        }
                        ids
                    })
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    log.close().unwrap();
    assert!(place.segments().len() > 100, "{} segments", place.segments().len());
    assert_eq!(place.intact().records, (THREADS * EXCHANGES) as u64);
    let mut reader = place.reader();
    for id in ids {
        let found = find(&mut reader, &id).unwrap();
        assert_eq!(reader.record(&found).unwrap().state, State::Complete, "{id}");
    }
}

/// A log with one record that was unsealed twice.
fn unsealed_twice() -> Place {
    let place = Place::new();
    let id = place.write(&[&[]])[0];
    for reason in ["first", "second"] {
        unseal(&place, id, reason).unwrap();
    }
    assert_eq!((place.intact().accesses, place.intact().accesses_anchored), (2, Some(true)));
    place
}

fn unseal(place: &Place, id: ExchangeId, reason: &str) -> Result<(), Error> {
    let access = Access {
        exchange: id,
        time: Time::now(),
        uid: 0,
        user: None,
        auditor: place.secret.public().fingerprint(),
        reason: reason.into(),
        outcome: Outcome::Refused,
        error: Some("the key does not fit".into()),
    };
    access.record(&place.audit(), &place.keys())
}

fn remove_accesses(place: &Place) {
    for name in names(&place.audit()) {
        if name.starts_with("access-") || name == Stream::Access.checkpoint() {
            std::fs::remove_file(place.audit().join(name)).unwrap();
        }
    }
}

#[test]
fn an_access_log_that_was_removed_is_missed() {
    let place = unsealed_twice();
    remove_accesses(&place);
    assert_eq!(place.faulty().file, "access.checkpoint");
    let refused = unseal(&place, ExchangeId::new(), "third").unwrap_err().to_string();
    assert!(refused.contains("some were removed"), "{refused}");
    assert!(matches!(place.verify(), Verdict::Faulty(_)), "and stays missed");
}

#[test]
fn an_access_log_that_was_put_back_to_an_earlier_state_is_missed() {
    let place = Place::new();
    let id = place.write(&[&[]])[0];
    unseal(&place, id, "first").unwrap();
    let earlier = tempfile::tempdir().unwrap();
    copy_dir(&place.audit(), earlier.path());
    unseal(&place, id, "second").unwrap();
    std::fs::remove_dir_all(place.audit()).unwrap();
    copy_dir(earlier.path(), &place.audit());
    assert!(place.faulty().reason.contains("removed from its end"), "{}", place.faulty());
}
