//! A segment that cannot be read: readers go on with the others, and say which it is.

use std::fs;

use super::super::header::HEADER;
use super::*;

/// A log of three segments with a record each.
fn three_segments() -> (Place, Vec<ExchangeId>, Vec<PathBuf>) {
    let place = Place::new();
    let ids = (0..3).flat_map(|_| place.write(&[&[b"an answer"]])).collect();
    let segments = place.segments();
    assert_eq!(segments.len(), 3);
    (place, ids, segments)
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn ids(reader: &mut Reader) -> Vec<ExchangeId> {
    located(reader).iter().map(Located::id).collect()
}

fn told(damage: &[Damage]) -> Vec<String> {
    damage.iter().map(ToString::to_string).collect()
}

#[test]
fn readers_leave_out_a_segment_with_a_damaged_header_and_tell_of_it_once() {
    for damaged in 0..3 {
        let (place, all, segments) = three_segments();
        // Indexes are made, and kept.
        assert_eq!(ids(&mut place.reader()), all);
        change(&segments[damaged], |bytes| bytes[200] ^= 1);
        let others: Vec<_> = (0..3).filter(|&n| n != damaged).map(|n| all[n]).collect();
        let mut reader = place.reader();
        for _ in 0..2 {
            assert_eq!(ids(&mut reader), others, "{damaged}");
            reader.notes(|_| true).unwrap();
            let latest = reader.find("latest").unwrap().one().unwrap();
            assert_eq!((latest.id(), reader.record(&latest).unwrap().log.damaged), (others[1], false));
            assert!(find(&mut reader, &all[damaged]).is_none() && !reader.is_empty().unwrap());
            let name = segments[damaged].file_name().unwrap().to_str().unwrap();
            let reason = "the header's checksum does not match";
            let expected = format!("{name} cannot be read ({reason}): what it holds is left out");
            assert_eq!(told(reader.damage()), [expected], "{damaged}");
            reader.refresh().unwrap();
        }
    }
}

#[test]
fn a_log_without_a_segment_that_can_be_read_is_an_error() {
    let (place, _, segments) = three_segments();
    segments.iter().for_each(|path| change(path, |bytes| bytes[200] ^= 1));
    assert!(matches!(Reader::open(&place.audit()), Err(ReadError::Log(Error::Header { .. }))));
}

#[test]
fn a_segment_that_is_no_file_is_left_out_too() {
    let (place, all, segments) = three_segments();
    fs::remove_file(&segments[1]).unwrap();
    fs::create_dir(&segments[1]).unwrap();
    let mut reader = place.reader();
    assert_eq!(ids(&mut reader), [all[0], all[2]]);
    assert_eq!(reader.damage().len(), 1, "{:?}", reader.damage());
}

#[test]
fn segments_that_are_missing_are_told_of() {
    for gone in 0..3 {
        let (place, all, segments) = three_segments();
        fs::remove_file(&segments[gone]).unwrap();
        let mut reader = place.reader();
        let others: Vec<_> = (0..3).filter(|&n| n != gone).map(|n| all[n]).collect();
        assert_eq!(ids(&mut reader), others);
        let told = told(reader.damage());
        assert!(told.len() == 1 && told[0].contains("are missing ("), "{gone}: {told:?}");
        assert_eq!(told[0].starts_with("frames 0 to "), gone == 0, "{told:?}");
    }
}

#[test]
fn a_log_is_followed_past_a_segment_that_cannot_be_read() {
    let (place, _, segments) = three_segments();
    change(&segments[2], |bytes| bytes[200] ^= 1);
    let mut reader = place.reader();
    let mut live = Live::new(&mut reader).unwrap();
    assert!(live.poll().unwrap().is_empty());
    assert!(live.damage().is_empty(), "the reader has told of it: {:?}", live.damage());
    // A daemon does not start on such a log; one that was running goes on.
    change(&segments[2], |bytes| bytes[200] ^= 1);
    let new = place.write(&[&[b"more"]]);
    change(&segments[2], |bytes| bytes[200] ^= 1);
    let ended: Vec<_> = live
        .poll()
        .unwrap()
        .into_iter()
        .filter_map(|change| match change {
            Change::Ended(at) => Some(at.id()),
            Change::Opened(_) => None,
        })
        .collect();
    assert_eq!(ended, new);
}

#[test]
fn records_that_vanish_behind_a_damaged_head_are_told_of() {
    let place = Place::new();
    let ids_of_first = place.write(&[&[b"one"], &[b"two"], &[b"three"]]);
    let last = place.write(&[&[b"four"]]);
    let segments = place.segments();
    let length = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let bytes = fs::read(&segments[0]).unwrap();
    let mut starts = vec![HEADER];
    while let Some(&at) = starts.last().filter(|&&at| at < bytes.len()) {
        starts.push(at + length(&bytes, at));
    }
    let frames = starts.len() as u64 - 1;
    // The end of the first record is frame 2: a length of zero ends a segment.
    let at = starts[2];
    let mut zeroed = bytes.clone();
    zeroed[at..at + 4].fill(0);
    fs::write(&segments[0], zeroed).unwrap();
    let mut reader = place.reader();
    assert_eq!(ids(&mut reader), [ids_of_first[0], last[0]]);
    let name = segments[0].file_name().unwrap().to_str().unwrap();
    let next = segments[1].file_name().unwrap().to_str().unwrap();
    let missing = format!("frames 2 to {} are missing ({name} ends at byte {at}, and {next} follows)", frames - 1);
    assert_eq!(told(reader.damage()), [missing]);

    // As long a segment that ends there, and the last segment, of which only the checkpoint says how much it has.
    fs::write(&segments[0], &bytes[..at]).unwrap();
    let mut reader = place.reader();
    assert_eq!((ids(&mut reader).len(), told(reader.damage()).len()), (2, 1));
    fs::write(&segments[0], &bytes).unwrap();
    change(&segments[1], |bytes| bytes.truncate(HEADER));
    let mut reader = place.reader();
    assert_eq!(ids(&mut reader), ids_of_first);
    assert!(told(reader.damage())[0].contains("and the checkpoint covers more"), "{:?}", reader.damage());

    // Two heads in a row: the next frame is found, and how many were lost is said.
    let mut heads = bytes.clone();
    [starts[2], starts[3]].iter().for_each(|at| heads[at + 50] ^= 1);
    fs::write(&segments[0], heads).unwrap();
    let mut reader = place.reader();
    ids(&mut reader);
    assert!(told(reader.damage())[0].contains("2 frames are lost"), "{:?}", reader.damage());
}
