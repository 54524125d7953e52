//! A flipped byte anywhere is found, and the record it belongs to is named.

use std::fs;
use std::path::Path;

use super::super::header::HEADER;
use super::super::scan::{Depth, SegmentFile, Step};
use super::*;

/// A log of a few short records of every kind, and the access log of one.
fn small_log() -> (Place, Vec<ExchangeId>) {
    let place = Place::new();
    let log = place.open();
    let mut worker = log.worker().unwrap();
    let ids = run(async {
        let first = exchange(&mut worker, &[b"data: one\n\n", b"data: two\n\n"]).await;
        let refused = worker.refuse(Record::new(ExchangeId::new()), Some(ORIGINAL), b"denied").await.unwrap();
        vec![first, refused]
    });
    log.close().unwrap();
    let access = Access {
        exchange: ids[0],
        time: Time::now(),
        uid: 0,
        user: None,
        auditor: place.secret.public().fingerprint(),
        reason: "test".into(),
        outcome: Outcome::Opened,
        error: None,
    };
    access.record(&place.audit(), &place.keys()).unwrap();
    place.intact();
    (place, ids)
}

/// Start, end and exchange of every frame of a segment.
fn frames(path: &Path) -> Vec<(usize, usize, ExchangeId)> {
    let mut file = SegmentFile::open(path).unwrap();
    let mut frames = Vec::new();
    let mut at = HEADER;
    while let Step::Frame(head) = file.step(at as u64, Depth::Bodies).unwrap() {
        frames.push((at, at + head.length, head.entry.exchange));
        at += head.length;
    }
    frames
}

fn flip_every_byte(place: &Place, path: &Path, step: usize, change: u8) {
    let intact = fs::read(path).unwrap();
    let frames = if path.extension().is_some_and(|e| e == "alog") { frames(path) } else { Vec::new() };
    let mut damaged = intact.clone();
    // The headers' padding is 2 KB of zeros: a sample of it will do, every byte of the rest is tried.
    let interesting = |at: usize| frames.is_empty() || !(300..HEADER - 4).contains(&at) || at.is_multiple_of(step);
    for at in (0..intact.len()).filter(|&at| interesting(at)) {
        damaged[at] ^= change;
        fs::write(path, &damaged).unwrap();
        let fault = place.faulty();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(fault.file, name, "byte {at}: {fault}");
        if let Some((start, _, id)) = frames.iter().find(|(start, end, _)| (*start..*end).contains(&at)) {
            assert_eq!(fault.id, Some(*id), "byte {at}: {fault}");
            assert_eq!(fault.offset, Some(*start as u64), "byte {at}: {fault}");
        }
        damaged[at] = intact[at];
    }
    fs::write(path, &intact).unwrap();
    place.intact();
}

#[test]
fn in_the_log() {
    let (place, _) = small_log();
    for path in place.segments() {
        flip_every_byte(&place, &path, 97, 0x01);
    }
}

#[test]
fn in_the_access_log() {
    let (place, _) = small_log();
    for path in scan::segments(&place.audit(), Stream::Access).unwrap() {
        flip_every_byte(&place, &path, 97, 0xff);
    }
}

#[test]
fn in_the_checkpoints() {
    let (place, _) = small_log();
    for stream in [Stream::Log, Stream::Access] {
        flip_every_byte(&place, &place.audit().join(stream.checkpoint()), 1, 0x20);
    }
}

#[test]
fn in_a_wrapped_data_key() {
    let (place, _) = small_log();
    let entry = fs::read_dir(place.keys().join("epochs")).unwrap().next().unwrap().unwrap();
    flip_every_byte(&place, &entry.path(), 1, 0x01);
}

#[test]
fn in_the_space_behind_the_last_record() {
    let (place, _) = small_log();
    let path = place.segments().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let used = bytes.len();
    bytes.resize(64 << 10, 0);
    fs::write(&path, &bytes).unwrap();
    place.intact();
    for at in [used, used + 1, used + 8, used + 4000, bytes.len() - 1] {
        bytes[at] = 0x80;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(place.faulty().offset, Some(used as u64));
        bytes[at] = 0;
    }
}

/// Whatever the bytes are, verifier, reader and recovery come to an end and say something.
#[test]
fn arbitrary_damage_is_survived_and_noticed() {
    let (place, _) = small_log();
    let path = place.segments().pop().unwrap();
    let intact = fs::read(&path).unwrap();
    let keep = tempfile::tempdir().unwrap();
    copy_dir(&place.audit(), keep.path());
    for seed in 0..200 {
        let mut random = crash::Random(seed);
        let mut bytes = intact.clone();
        for _ in 0..=random.next() % 4 {
            let at = (random.next() % bytes.len() as u64) as usize;
            let len = (random.next() % 300) as usize;
            let end = (at + len).min(bytes.len());
            match random.next() % 4 {
                0 => bytes.truncate(at),
                1 => bytes[at..end].fill(random.next() as u8),
                2 => bytes[at..end].iter_mut().for_each(|byte| *byte = random.next() as u8),
                _ => drop(bytes.drain(at..end)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        fuzz_segment(&bytes);
        if bytes == intact {
            continue;
        }
        fs::remove_dir_all(place.audit()).unwrap();
        copy_dir(keep.path(), &place.audit());
        fs::write(&path, &bytes).unwrap();
        place.faulty();
        if let Ok(mut reader) = Reader::open(&place.audit()) {
            let mut query = Query::oldest_first(&Everything);
            while let Ok(Some(_)) = query.record(&mut reader) {}
        }
        assert!(Log::open(place.settings()).is_err(), "seed {seed}: everything was durable and signed");
    }
}
