//! Following the log: what is handed out, in which order, and from where it goes on.

use std::sync::Arc;

use super::*;

/// Ids of records; nobody's for a note.
fn ids(follower: &mut Follower) -> Vec<ExchangeId> {
    std::iter::from_fn(|| follower.next().unwrap()).map(|followed| id(&followed.said)).collect()
}

fn id(said: &Said) -> ExchangeId {
    match said {
        Said::Record(record) => record.id,
        Said::Note(_) => ExchangeId::from_bytes([0; 16]),
    }
}

async fn begin(worker: &Worker, body: &[u8]) -> Exchange {
    let outgoing = Outgoing { head: HEAD, body };
    worker.begin(Record::new(ExchangeId::new()), ORIGINAL, outgoing).await.unwrap().0
}

async fn complete(exchange: Exchange) -> ExchangeId {
    let id = exchange.id();
    exchange.complete(&Completion::default()).await.unwrap().await.unwrap();
    id
}

/// A log in which exchanges lie across each other, some refused, some with bodies in many frames, some without an end
/// because their writer died. Gives the ids in the order of their ends.
fn crosswise(place: &Place) -> Vec<ExchangeId> {
    let mut ended = Vec::new();
    for life in 0..3 {
        let log = place.open();
        let worker = log.worker().unwrap();
        let (mut lost, long) = (Vec::new(), vec![b'x'; 40_000]);
        run(async {
            for round in 0..8 {
                let (one, two) = (begin(&worker, &long).await, begin(&worker, BODY).await);
                let mut three = begin(&worker, BODY).await;
                three.chunk(&long).await.unwrap();
                let refused = Record::new(ExchangeId::new());
                ended.push(worker.refuse(refused, Some(ORIGINAL), b"HTTP/1.1 403 Forbidden\r\n\r\n").await.unwrap());
                ended.push(complete(two).await);
                if round % 4 == life {
                    lost.push(one);
                } else {
                    ended.push(complete(one).await);
                }
                ended.push(complete(three).await);
            }
        });
        log.close().unwrap();
        // Nothing can be recorded any more: as if this process had died.
        ended.extend(lost.iter().map(Exchange::id));
    }
    // Whose writer nobody came after is still open.
    ended.truncate(ended.len() - 2);
    ended
}

#[test]
fn every_record_comes_once_in_the_order_of_its_end() {
    let place = Place::new();
    let expected = crosswise(&place);
    let mut follower = Follower::open(&place.audit(), &place.trust().key, FollowPosition::default()).unwrap();
    assert_eq!(ids(&mut follower), expected);
    assert_eq!(Some(follower.looked_at()), follower.checkpoint().map(|(_, checkpoint)| checkpoint.frames));
    assert_eq!(follower.missing(), 0);
    // The next writer's first segment tells that the last one is dead.
    let log = place.open();
    let mut worker = log.worker().unwrap();
    let last = run(exchange(&mut worker, &[]));
    log.close().unwrap();
    assert!(follower.refresh());
    let more = ids(&mut follower);
    assert_eq!((more.len(), more.last()), (3, Some(&last)));
}

#[test]
fn records_are_those_that_the_reader_gives() {
    let place = Place::new();
    crosswise(&place);
    let mut reader = place.reader();
    let mut follower = Follower::open(&place.audit(), &place.trust().key, FollowPosition::default()).unwrap();
    while let Some(Followed { said, .. }) = follower.next().unwrap() {
        let Said::Record(record) = said else { panic!("there is no note") };
        let at = find(&mut reader, &record.id).unwrap();
        let mut expected = reader.record(&at).unwrap();
        // The follower may know a later checkpoint.
        expected.log.checkpoint = record.log.checkpoint;
        assert_eq!(*record, expected);
        let masked = record.request.masked.map(|masked| masked.text);
        assert!(masked.is_none_or(|text| !text.contains("4111")));
    }
}

#[test]
fn from_each_position_it_goes_on_with_the_next_record() {
    let place = Place::new();
    let expected = crosswise(&place);
    let mut follower = Follower::open(&place.audit(), &place.trust().key, FollowPosition::default()).unwrap();
    let mut place_in_order = 0;
    while let Some(followed) = follower.next().unwrap() {
        place_in_order += 1;
        let text = serde_json::to_string(&followed.position).unwrap();
        let mut again =
            Follower::open(&place.audit(), &place.trust().key, serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(ids(&mut again), expected[place_in_order..], "after record {place_in_order}");
    }
}

#[test]
fn nothing_is_handed_out_before_a_checkpoint_covers_it() {
    let place = Place::new();
    let ids_before = place.write(&[&[b"one"]]);
    let checkpoint = std::fs::read(place.audit().join("checkpoint")).unwrap();
    let ids_after = place.write(&[&[b"two"]]);
    let newest = std::fs::read(place.audit().join("checkpoint")).unwrap();
    std::fs::write(place.audit().join("checkpoint"), checkpoint).unwrap();
    let mut follower = Follower::open(&place.audit(), &place.trust().key, FollowPosition::default()).unwrap();
    assert_eq!(ids(&mut follower), ids_before);
    assert!(!follower.refresh());
    std::fs::write(place.audit().join("checkpoint"), newest).unwrap();
    assert!(follower.refresh());
    assert_eq!(ids(&mut follower), ids_after);
}

#[test]
fn at_the_end_only_what_comes_later_is_handed_out() {
    let place = Place::new();
    place.write(&[&[b"one"], &[b"two"]]);
    let end = Follower::end(&place.audit(), Stream::Log, &place.trust().key);
    let later = place.write(&[&[b"three"]]);
    assert_eq!(ids(&mut Follower::open(&place.audit(), &place.trust().key, end).unwrap()), later);
}

#[test]
fn notes_come_where_they_were_written_and_each_position_is_one_to_go_on_from() {
    let place = Place::new();
    let log = place.open();
    let mut worker = log.worker().unwrap();
    let nobody = ExchangeId::from_bytes([0; 16]);
    let mut expected = Vec::new();
    // Open across notes, and ended by the death of its writer.
    let across = run(begin(&worker, BODY));
    for round in 0..3 {
        log.note(&serde_json::json!({"event": "test", "reason": round.to_string()})).unwrap();
        expected.push(nobody);
        expected.push(run(exchange(&mut worker, &[])));
    }
    log.close().unwrap();
    let across = across.id();
    let log = place.open();
    log.note(&serde_json::json!({"event": "test", "reason": "next life"})).unwrap();
    log.close().unwrap();
    expected.extend([across, nobody]);
    let mut follower = Follower::open(&place.audit(), &place.trust().key, FollowPosition::default()).unwrap();
    let (mut seen, mut reasons, mut leaves) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(followed) = follower.next().unwrap() {
        seen.push(id(&followed.said));
        if let Said::Note(note) = followed.said {
            reasons.push(note.reason().unwrap().to_owned());
            leaves.push(note.leaf_hash);
        }
        let mut again = Follower::open(&place.audit(), &place.trust().key, followed.position).unwrap();
        assert_eq!(ids(&mut again), expected[seen.len()..]);
    }
    assert_eq!(seen, expected);
    assert_eq!(reasons, ["0", "1", "2", "next life"]);
    leaves.dedup();
    assert_eq!(leaves.len(), 4);
    assert_eq!(place.intact().notes.len(), 4);
}

#[test]
fn following_since_a_time_begins_in_the_segment_of_that_time() {
    let place = Place::new();
    let first = place.write(&[&[b"one"]]);
    let between = Time::now();
    let second = place.write(&[&[b"two"]]);
    let since =
        |time| Follower::open(&place.audit(), &place.trust().key, Follower::since(&place.audit(), time)).unwrap();
    assert_eq!(ids(&mut since(between)), [first.clone(), second.clone()].concat());
    assert_eq!(ids(&mut since(Time::now())), second);
    assert_eq!(ids(&mut since(Time::from_unix_ns(0))), [first, second].concat());
}

#[test]
fn another_log_or_an_earlier_state_is_noticed() {
    let place = Place::new();
    place.write(&[&[b"one"]]);
    copy_dir(&place.audit(), &place.dir.path().join("earlier"));
    place.write(&[&[b"two"]]);
    let mut follower = Follower::open(&place.audit(), &place.trust().key, FollowPosition::default()).unwrap();
    assert_eq!(ids(&mut follower).len(), 2);
    let position = follower.position();
    let earlier = Follower::open(&place.dir.path().join("earlier"), &place.trust().key, position.clone());
    assert!(matches!(earlier, Err(FollowError::Replaced(_))));
    let other = Place::new();
    other.write(&[&[b"one"], &[b"two"], &[b"three"]]);
    let mut follower = Follower::open(&other.audit(), &other.trust().key, position).unwrap();
    assert!(matches!(follower.next(), Err(FollowError::Replaced(_))));
}

/// Changes a byte of the first frame that says `text`, and makes the frame's checksum right again.
fn alter(place: &Place, stream: Stream, text: &[u8]) {
    let path = scan::segments(&place.audit(), stream).unwrap().swap_remove(0);
    let mut file = scan::SegmentFile::open(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let found = bytes.windows(text.len()).position(|window| window == text).unwrap();
    bytes[found] ^= 0x20;
    let mut at = header::HEADER as u64;
    while let scan::Step::Frame(head) = file.step(at, scan::Depth::Heads).unwrap() {
        let end = at as usize + head.length;
        if end > found {
            let (from, body) = (at as usize + head.size, head.body());
            let crc = crc32c::crc32c(&bytes[from..from + body]);
            let (trailer, len) = frame::trailer(file.seed, head.size, body, crc);
            bytes[end - len..end].copy_from_slice(&trailer[..len]);
            break;
        }
        at = end as u64;
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_was_altered_with_its_checksum_is_not_handed_out() {
    for text in [&b"testhost"[..], b"[CARD_k7q2m9xd]"] {
        let place = Place::new();
        place.write(&[&[b"one"], &[b"two"]]);
        alter(&place, Stream::Log, text);
        let mut follower = Follower::open(&place.audit(), &place.trust().key, FollowPosition::default()).unwrap();
        let damaged: Vec<bool> = std::iter::from_fn(|| follower.next().unwrap())
            .map(|followed| match followed.said {
                Said::Record(record) => record.log.damaged,
                Said::Note(note) => panic!("{note}"),
            })
            .collect();
        assert_eq!(damaged, [true, false]);
    }
    let place = Place::new();
    let log = place.open();
    log.note(&serde_json::json!({"event": "greeting"})).unwrap();
    log.close().unwrap();
    alter(&place, Stream::Log, b"greeting");
    let mut follower = Follower::open(&place.audit(), &place.trust().key, FollowPosition::default()).unwrap();
    let Some(Followed { said: Said::Note(note), .. }) = follower.next().unwrap() else { panic!("no note") };
    assert_eq!(note.event(), Some("damaged"));
}

#[test]
fn a_checkpoint_that_the_key_has_not_signed_covers_nothing() {
    let (place, other) = (Place::new(), Place::new());
    place.write(&[&[b"one"]]);
    other.write(&[&[b"one"]]);
    let mut follower = Follower::open(&place.audit(), &other.trust().key, FollowPosition::default()).unwrap();
    assert!(follower.next().unwrap().is_none());
    assert!(!follower.refresh());
}

#[test]
fn parts_of_a_request_that_failed_are_not_waited_for_for_ever() {
    let place = Place::new();
    let disk = Arc::new(super::faults::Faulty::default());
    let log = Log::open_on(place.settings(), Arc::clone(&disk) as Arc<dyn disk::Disk>).unwrap();
    let mut worker = log.worker().unwrap();
    disk.allocate.arm(0, usize::MAX);
    let body = vec![b'x'; 1 << 20];
    let failed = run(worker.begin(Record::new(ExchangeId::new()), ORIGINAL, Outgoing { head: HEAD, body: &body }));
    assert!(failed.is_err());
    disk.allocate.arm(0, 0);
    let later = run(exchange(&mut worker, &[]));
    log.close().unwrap();
    let mut follower = Follower::open(&place.audit(), &place.trust().key, FollowPosition::default()).unwrap();
    assert_eq!(ids(&mut follower), [later]);
    let pinned = follower.position().from;
    assert!(pinned < follower.looked_at(), "the parts are there");
    follower.forget_abandoned(u64::MAX);
    assert_eq!(follower.position().from, follower.looked_at());
}

#[test]
fn a_segment_that_its_writer_removes_unused_is_no_rewrite() {
    let place = Place::new();
    let log = place.open();
    let mut follower = Follower::open(&place.audit(), &place.trust().key, FollowPosition::default()).unwrap();
    assert!(follower.next().unwrap().is_none());
    assert!(!place.segments().is_empty());
    log.close().unwrap();
    assert!(place.segments().is_empty());
    follower.check().unwrap();
}
