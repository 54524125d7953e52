//! Proofs from a real log, checked here and by the implementations of others.

use signed_note::{Note, StandardVerifier, VerifierList};

use super::*;

/// Two lives of a log, in several segments, with part frames between the leaves.
fn log() -> (Place, Vec<ExchangeId>) {
    let place = Place::new();
    let chunk = [7; 9000];
    let mut ids = place.write(&[&[&chunk, &chunk], &[], &[b"x"]]);
    ids.extend(place.write(&[&[&chunk, &chunk, &chunk, &chunk], &[b"y"]]));
    (place, ids)
}

/// Extra data, index, hashes and checkpoint, read line by line.
fn take_apart(text: &str) -> (Vec<u8>, u64, Vec<tlog_tiles::Hash>, &str) {
    use base64::Engine as _;
    let (head, note) = text.split_once("\n\n").unwrap();
    let mut lines = head.lines().skip(1);
    let extra = lines.next().unwrap().strip_prefix("extra ").unwrap();
    let entry = base64::engine::general_purpose::STANDARD.decode(extra).unwrap();
    let index = lines.next().unwrap().strip_prefix("index ").unwrap().parse().unwrap();
    (entry, index, lines.map(|line| tlog_tiles::Hash::parse_hash(line).unwrap()).collect(), note)
}

#[test]
fn each_record_is_proven_here_and_to_others() {
    let (place, ids) = log();
    let (mut reader, key) = (place.reader(), place.trust().key);
    assert!(place.segments().len() > 1);
    let records = located(&mut reader);
    assert_eq!(records.len(), ids.len());
    for (at, id) in records.iter().zip(&ids) {
        for (end, kind) in [(false, Kind::Request), (true, Kind::Completion)] {
            let text = reader.prove(at, end).unwrap().to_string();
            let proven = Proof::parse(&text).unwrap().verify(&key).unwrap();
            assert_eq!((proven.entry.exchange, proven.entry.kind), (*id, kind));
            assert_eq!(proven.checkpoint.size, 10);

            let (entry, index, path, note) = take_apart(&text);
            let note = Note::from_bytes(note.as_bytes()).unwrap();
            let verifier = StandardVerifier::new(&key.to_string()).unwrap();
            note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
            let checkpoint = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
            let leaf = tlog_tiles::record_hash(&entry);
            tlog_tiles::check_record(&path, checkpoint.size(), *checkpoint.hash(), index, leaf).unwrap();
        }
    }
}

#[test]
fn a_proof_of_which_a_bit_was_changed_proves_nothing() {
    let (place, _) = log();
    let mut reader = place.reader();
    let at = nth(&mut reader, 2);
    let (proof, key) = (reader.prove(&at, true).unwrap(), place.trust().key);
    let text = proof.to_string();
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        let proven = Proof::parse(&changed).and_then(|proof| proof.verify(&key));
        assert!(proven.is_err(), "byte {at}: {proven:?}");
    }
    let (_, other) = (log().0, Place::new());
    other.write(&[&[]]);
    assert!(matches!(proof.verify(&other.trust().key), Err(ProofError::Checkpoint(_))));
}

#[test]
fn what_is_not_signed_has_not_ended_or_was_changed_is_not_proven() {
    let (place, ids) = log();
    let log = place.open();
    let worker = log.worker().unwrap();
    let (exchange, _) = run(worker.begin(Record::new(ExchangeId::new()), ORIGINAL, outgoing())).unwrap();
    let mut reader = place.reader();
    let last = nth(&mut reader, ids.len());
    assert!(matches!(reader.prove(&last, true), Err(ReadError::NoEnd(id)) if id == exchange.id()));
    drop((exchange, worker));
    log.close().unwrap();
    // The checkpoint of another log.
    let other = Place::new();
    other.write(&[&[], &[], &[], &[], &[], &[], &[], &[]]);
    let saved = std::fs::read(place.audit().join("checkpoint")).unwrap();
    std::fs::copy(other.audit().join("checkpoint"), place.audit().join("checkpoint")).unwrap();
    let mut reader = place.reader();
    let first = nth(&mut reader, 0);
    assert!(matches!(reader.prove(&first, false), Err(ReadError::Unprovable)));
    std::fs::write(place.audit().join("checkpoint"), saved).unwrap();
    assert!(reader.prove(&first, false).is_ok());
    // It goes on while it is read.
    place.write(&[&[]]);
    assert!(reader.prove(&first, false).is_ok());
    std::fs::remove_file(place.audit().join("checkpoint")).unwrap();
    assert!(matches!(reader.prove(&first, false), Err(ReadError::NoCheckpoint)));
}
