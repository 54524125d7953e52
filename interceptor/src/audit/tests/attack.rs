//! What someone with access to the files, but not to the signing key, may try.

use std::fs;
use std::path::Path;

use super::super::frame::{EncodedHead, frame_length, trailer};
use super::super::header::HEADER;
use super::super::scan::{Depth, SegmentFile, Step};
use super::super::tree::{chain, sha256};
use super::*;

/// One frame taken apart.
#[derive(Clone)]
struct Piece {
    head: Head,
    bytes: Vec<u8>,
}

fn take_apart(path: &Path) -> (SegmentFile, Vec<Piece>) {
    let mut file = SegmentFile::open(path).unwrap();
    let mut pieces = Vec::new();
    let mut at = HEADER as u64;
    while let Step::Frame(head) = file.step(at, Depth::Bodies).unwrap() {
        let bytes = file.bytes(at, head.length).unwrap().to_vec();
        at += head.length as u64;
        pieces.push(Piece { head, bytes });
    }
    (file, pieces)
}

/// Puts frames together again, with every sequence number, index, digest, chain value and checksum made right.
fn forge(path: &Path, file: &SegmentFile, pieces: &[Piece]) {
    let mut bytes = fs::read(path).unwrap()[..HEADER].to_vec();
    let mut link = file.link;
    let mut leaves = file.header.tree.size();
    for (n, piece) in pieces.iter().enumerate() {
        let mut entry = piece.head.entry.clone();
        entry.sequence = file.header.first_sequence + n as u64;
        entry.leaf_index = leaves;
        leaves += u64::from(entry.kind.is_leaf());
        let mut body = Vec::new();
        for row in 0..entry.sections.len() {
            let content = &piece.bytes[piece.head.section_range(row)];
            if entry.sections[row].holding != Holding::Parts {
                entry.sections[row].digest = sha256(content);
            }
            body.extend_from_slice(content);
        }
        let head = EncodedHead::new(&entry);
        link = chain(&link, &head.leaf());
        let length = frame_length(entry.sections.len(), body.len());
        let head = head.finish(file.seed, length, &link);
        let (end, end_len) = trailer(file.seed, head.bytes().len(), body.len(), crc32c::crc32c(&body));
        bytes.extend([head.bytes(), &body, &end[..end_len]].concat());
    }
    fs::write(path, bytes).unwrap();
}

fn three_records() -> (Place, std::path::PathBuf) {
    let place = Place::new();
    place.write(&[&[], &[], &[]]);
    let path = place.segments().pop().unwrap();
    (place, path)
}

#[test]
fn the_forger_is_good_enough_to_pass_without_a_change() {
    let (place, path) = three_records();
    let before = fs::read(&path).unwrap();
    let (file, pieces) = take_apart(&path);
    forge(&path, &file, &pieces);
    assert_eq!(fs::read(&path).unwrap(), before);
    place.intact();
}

#[test]
fn an_edited_record_with_all_later_links_recomputed_fails_against_the_checkpoint() {
    let (place, path) = three_records();
    let (file, mut pieces) = take_apart(&path);
    let json = pieces[2].head.section_range(0);
    let host = pieces[2].bytes[json.clone()].windows(8).position(|w| w == b"testhost").unwrap();
    pieces[2].bytes[json.start + host] = b'T';
    forge(&path, &file, &pieces);
    assert!(place.faulty().reason.contains("Merkle root"), "{}", place.faulty());
}

#[test]
fn dropped_exchanged_and_repeated_records_fail_even_when_recomputed() {
    type Attack = fn(&mut Vec<Piece>);
    let attacks: [(&str, Attack); 4] = [
        ("drop the last record", |pieces| pieces.truncate(4)),
        ("drop the first record", |pieces| drop(pieces.drain(..2))),
        ("exchange two records", |pieces| {
            let first: Vec<Piece> = pieces.drain(..2).collect();
            pieces.splice(2..2, first);
        }),
        ("drop one leaf", |pieces| drop(pieces.pop())),
    ];
    for (name, attack) in attacks {
        let (place, path) = three_records();
        let (file, mut pieces) = take_apart(&path);
        attack(&mut pieces);
        forge(&path, &file, &pieces);
        assert!(matches!(place.verify(), Verdict::Faulty(_)), "{name}");
    }
}

#[test]
fn reordered_frames_are_named() {
    let (place, path) = three_records();
    let bytes = fs::read(&path).unwrap();
    let (_, pieces) = take_apart(&path);
    let swapped = [&bytes[..HEADER], &pieces[1].bytes, &pieces[0].bytes].concat();
    let rest = &bytes[swapped.len()..];
    fs::write(&path, [&swapped, rest].concat()).unwrap();
    let fault = place.faulty();
    assert_eq!(fault.offset, Some(HEADER as u64));
    assert_eq!(fault.id, Some(pieces[1].head.entry.exchange));
}

#[test]
fn a_frame_spliced_in_from_another_log_is_found() {
    let (place, path) = three_records();
    let (_theirs, other) = three_records();
    let (_, mine) = take_apart(&path);
    let (_, theirs) = take_apart(&other);
    assert_eq!(mine[0].bytes.len(), theirs[0].bytes.len());
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER..HEADER + mine[0].bytes.len()].copy_from_slice(&theirs[0].bytes);
    fs::write(&path, bytes).unwrap();
    assert_eq!(place.faulty().offset, Some(HEADER as u64));
}

#[test]
fn missing_and_exchanged_segments_are_found() {
    for missing in 0..3 {
        let place = Place::new();
        for _ in 0..3 {
            place.write(&[&[]]);
        }
        fs::remove_file(&place.segments()[missing]).unwrap();
        assert!(matches!(place.verify(), Verdict::Faulty(_)), "segment {missing} removed");
    }
    let place = Place::new();
    place.write(&[&[]]);
    place.write(&[&[]]);
    let paths = place.segments();
    let (first, second) = (fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
    fs::write(&paths[0], second).unwrap();
    fs::write(&paths[1], first).unwrap();
    place.faulty();
}

#[test]
fn a_rollback_fails_against_a_saved_checkpoint() {
    let place = Place::new();
    place.write(&[&[], &[]]);
    let old = tempfile::tempdir().unwrap();
    copy_dir(&place.audit(), old.path());
    place.write(&[&[]]);
    let saved = fs::read_to_string(place.audit().join("checkpoint")).unwrap();
    fs::remove_dir_all(place.audit()).unwrap();
    copy_dir(old.path(), &place.audit());
    place.intact();
    let trust = Trust { checkpoint: Some(saved), ..place.trust() };
    let Verdict::Faulty(fault) = verify(&place.audit(), &trust).unwrap() else { panic!("not noticed") };
    assert!(fault.reason.contains("removed from its end"), "{fault}");
}

#[test]
fn an_older_saved_checkpoint_is_contained_in_a_log_that_went_on() {
    let place = Place::new();
    place.write(&[&[b"one"]]);
    let saved = fs::read_to_string(place.audit().join("checkpoint")).unwrap();
    place.write(&[&[]]);
    let trust = Trust { checkpoint: Some(saved), ..place.trust() };
    assert!(matches!(verify(&place.audit(), &trust).unwrap(), Verdict::Intact(_)));
}

#[test]
fn a_log_rebuilt_with_another_key_fails_against_the_first_ones() {
    let place = Place::new();
    place.write(&[&[]]);
    let rebuilt = Place::new();
    rebuilt.write(&[&[]]);
    let Verdict::Faulty(fault) = verify(&rebuilt.audit(), &place.trust()).unwrap() else { panic!("not noticed") };
    assert_eq!(fault.file, "checkpoint");
}

#[test]
fn a_removed_checkpoint_is_found() {
    let place = Place::new();
    place.write(&[&[]]);
    fs::remove_file(place.audit().join("checkpoint")).unwrap();
    assert!(place.faulty().reason.contains("missing"));
}

#[test]
fn the_writer_refuses_to_go_on_after_tampering() {
    let (place, path) = three_records();
    let (file, mut pieces) = take_apart(&path);
    pieces.truncate(4);
    forge(&path, &file, &pieces);
    assert!(matches!(Log::open(place.settings()), Err(Error::Inconsistent { .. })));
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(Log::open(place.settings()), Err(Error::Damaged { .. })));
}

/// Removing the checkpoint and then records must not end in a log that says it is intact.
#[test]
fn the_writer_refuses_to_go_on_when_an_older_segment_is_gone_or_none() {
    let place = Place::new();
    place.write(&[&[&[b'x'; 9_000][..]; 40][..]; 4]);
    let segments = place.segments();
    assert!(segments.len() > 4, "{} segments", segments.len());
    for path in [&segments[0], &segments[1], &segments[segments.len() - 3]] {
        let kept = fs::read(path).unwrap();
        let refused = |what: &str| {
            let error = Log::open(place.settings()).unwrap_err().to_string();
            assert!(!error.is_empty(), "{what}");
        };
        fs::remove_file(path).unwrap();
        refused("removed");
        fs::write(path, [&[kept[0] ^ 1], &kept[1..]].concat()).unwrap();
        refused("no header");
        fs::write(path, kept).unwrap();
    }
    let (first, second) = (fs::read(&segments[1]).unwrap(), fs::read(&segments[2]).unwrap());
    fs::write(&segments[1], second).unwrap();
    fs::write(&segments[2], first).unwrap();
    assert!(matches!(Log::open(place.settings()), Err(Error::Inconsistent { .. })));
}

#[test]
fn frames_that_somebody_adds_while_nobody_writes_are_signed_with_a_note() {
    let (place, path) = three_records();
    let (file, mut pieces) = take_apart(&path);
    let sequence = pieces.len() as u64;
    pieces.extend(pieces[..2].to_vec());
    forge(&path, &file, &pieces);
    assert_eq!((place.intact().unsigned_frames, place.intact().notes), (2, Vec::new()));
    place.open().close().unwrap();
    let report = place.intact();
    assert_eq!(report.unsigned_frames, 0);
    let [note] = &report.notes[..] else { panic!("{:?}", report.notes) };
    let said = ["event", "sequence", "frames"].map(|member| &note.content[member]);
    assert_eq!(serde_json::json!(said), serde_json::json!(["signed-late", sequence, 2]), "{note}");
    // Only once.
    place.open().close().unwrap();
    assert_eq!(place.intact().notes, report.notes);
}

#[test]
fn a_pipe_or_an_endless_file_in_the_place_of_another_is_no_reason_to_wait() {
    let (place, path) = three_records();
    let checkpoint = place.audit().join("checkpoint");
    let kept = fs::read(&checkpoint).unwrap();
    fs::File::create(&checkpoint).unwrap().set_len(1 << 40).unwrap();
    assert!(place.faulty().reason.contains("too large"), "{}", place.faulty());
    fs::write(&checkpoint, kept).unwrap();
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    assert!(place.faulty().reason.contains("no regular file"), "{}", place.faulty());
}

#[test]
fn a_start_does_not_replace_a_missing_or_foreign_checkpoint() {
    let foreign = Place::new();
    foreign.write(&[&[]]);
    let foreign = fs::read(foreign.audit().join("checkpoint")).unwrap();
    for replacement in [None, Some(&foreign[..]), Some(&b"\xff"[..]), Some(&b""[..])] {
        let (place, path) = three_records();
        let checkpoint = place.audit().join("checkpoint");
        match replacement {
            None => fs::remove_file(&checkpoint).unwrap(),
            Some(bytes) => fs::write(&checkpoint, bytes).unwrap(),
        }
        let (file, mut pieces) = take_apart(&path);
        pieces.truncate(4);
        forge(&path, &file, &pieces);
        let error = Log::open(place.settings()).unwrap_err();
        assert!(matches!(&error, Error::NoCheckpoint { path, .. } if *path == checkpoint), "{error}");
        assert!(error.to_string().contains("--accept-missing-checkpoint"), "{error}");
        place.faulty();

        let accepted = Settings { accept_missing_checkpoint: true, ..place.settings() };
        Log::open(accepted).unwrap().close().unwrap();
        let report = place.intact();
        assert_eq!(report.records, 2);
        let [note] = &report.notes[..] else { panic!("{:?}", report.notes) };
        assert_eq!(note.content["event"], "checkpoint-not-trusted");
        assert_eq!(note.content["frames"], 4);
        assert_eq!(place.reader().notes(|_| true).unwrap(), report.notes);
        place.write(&[&[]]);
        assert_eq!(place.intact().notes.len(), 1, "it stays, and a sound log is not noted");
    }
}

/// A process killed before its first checkpoint has acknowledged nothing: there is a segment, but no frame.
#[test]
fn a_start_that_was_killed_before_its_first_checkpoint_is_no_attack() {
    let place = Place::new();
    let log = place.open();
    let killed = tempfile::tempdir().unwrap();
    copy_dir(&place.audit(), killed.path());
    log.close().unwrap();
    fs::remove_dir_all(place.audit()).unwrap();
    copy_dir(killed.path(), &place.audit());
    fs::remove_file(place.audit().join("checkpoint")).unwrap();
    assert_eq!(place.segments().len(), 1);
    place.write(&[&[]]);
    assert!(place.intact().notes.is_empty());
}

#[test]
fn an_access_log_without_its_checkpoint_is_refused_until_accepted() {
    let place = Place::new();
    let exchange = place.write(&[&[]])[0];
    let access = Access {
        exchange,
        time: Time::now(),
        uid: 0,
        user: None,
        auditor: "a".into(),
        reason: "why".into(),
        outcome: Outcome::Opened,
        error: None,
    };
    access.record(&place.audit(), &place.keys()).unwrap();
    fs::remove_file(place.audit().join("access.checkpoint")).unwrap();
    assert!(matches!(access.record(&place.audit(), &place.keys()), Err(Error::NoCheckpoint { .. })));
    let accepted = Settings { accept_missing_checkpoint: true, ..place.settings() };
    Log::open(accepted).unwrap().close().unwrap();
    access.record(&place.audit(), &place.keys()).unwrap();
    let report = place.intact();
    assert_eq!((report.accesses, report.notes.len()), (2, 1));
}

#[test]
fn readers_go_on_past_damage_and_mark_it() {
    let (place, path) = three_records();
    let (_, pieces) = take_apart(&path);
    let second: usize = HEADER + pieces[..2].iter().map(|piece| piece.bytes.len()).sum::<usize>();
    let intact = fs::read(&path).unwrap();
    let damaged = |at: usize| {
        let mut bytes = intact.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let mut reader = place.reader();
        let records = located(&mut reader);
        let damage: Vec<(u64, u64)> = reader.damage().iter().map(|d| (d.sequence, d.offset)).collect();
        assert_eq!(damage, [(2, second as u64)]);
        records.iter().map(|at| reader.record(at).unwrap()).map(|r| (r.id, r.log.damaged)).collect::<Vec<_>>()
    };
    let ids: Vec<ExchangeId> = [0, 2, 4].map(|n: usize| pieces[n].head.entry.exchange).to_vec();
    // In the JSON: the record is there, what it says may be wrong. In the first byte of the JSON: it cannot be parsed.
    let json = second + pieces[2].head.section_range(0).start;
    for at in [json, json + 20] {
        assert_eq!(damaged(at), [(ids[0], false), (ids[1], true), (ids[2], false)]);
    }
    // In the head: the record cannot be told from noise.
    assert_eq!(damaged(second + 50), [(ids[0], false), (ids[2], false)]);
}

#[test]
fn a_given_checkpoint_that_is_none_or_another_logs_says_nothing_about_this_one() {
    let place = Place::new();
    place.write(&[&[]]);
    let note = fs::read_to_string(place.audit().join("checkpoint")).unwrap();
    let other = note.replace("interceptor/testhost", "interceptor/elsewhere");
    for given in ["root:x:0:0:root:/root:/bin/bash\n", "", "\n\n", other.as_str()] {
        let trust = Trust { checkpoint: Some(given.into()), ..place.trust() };
        assert!(matches!(verify(&place.audit(), &trust), Err(ReadError::Checkpoint(_))), "{given:?}");
    }
    // This log's, but not what was signed: that is a finding.
    let forged = note.replacen("\n2\n", "\n1\n", 1);
    assert_ne!(forged, note);
    let trust = Trust { checkpoint: Some(forged), ..place.trust() };
    assert!(matches!(verify(&place.audit(), &trust).unwrap(), Verdict::Faulty(_)));
}
