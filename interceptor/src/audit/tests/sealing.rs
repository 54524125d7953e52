//! What is sealed, and who opens it.

use std::slice::from_ref;

use super::*;
use crate::flow::BodyDigest;

#[test]
fn the_auditor_reads_what_was_sent_and_what_came_back() {
    let place = Place::new();
    let ids = place.write(&[&[b"data: one\n\n", b"", b"data: two\n\n"]]);
    let mut reader = place.reader();
    let at = find(&mut reader, &ids[0]).unwrap();
    let keys = place.keys();
    let mut opener = Opener::new(&keys, from_ref(&place.secret));
    reader.try_keys(&at, &mut opener).unwrap();
    assert_eq!(reader.original(&at, &mut opener).unwrap().unwrap(), ORIGINAL);
    assert_eq!(reader.response(&at, &mut opener).unwrap().unwrap(), b"data: one\n\ndata: two\n\n");
}

#[test]
fn a_response_of_which_the_end_is_missing_is_not_taken_for_all_of_it() {
    let place = Place::new();
    let ids = place.write(&[&[b"data: one\n\n", b"data: two\n\n"], &[b"whole"]]);
    let opened = |n: usize| {
        let mut reader = place.reader();
        let at = find(&mut reader, &ids[n]).unwrap();
        let keys = place.keys();
        let response = reader.response(&at, &mut Opener::new(&keys, from_ref(&place.secret))).unwrap().unwrap();
        let cut = reader.cut_off(&at, Content::Response).unwrap();
        (response, cut, reader.outline(&at).unwrap().log.damaged, reader.cut_off(&at, Content::Upload).unwrap())
    };
    assert_eq!(opened(0), (b"data: one\n\ndata: two\n\n".to_vec(), None, false, None));
    // Frames: the request, two parts, the end. The head of the second part is damaged.
    let path = place.segments().remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let part =
        (0..2).fold(header::HEADER, |at, _| at + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize);
    bytes[part + 50] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let cut = "1 of its 2 parts are missing in the log".to_owned();
    assert_eq!(opened(0), (b"data: one\n\n".to_vec(), Some(cut), true, None));
    assert_eq!(opened(1), (b"whole".to_vec(), None, false, None));
}

#[test]
fn a_response_that_was_cut_off_says_why() {
    let place = Place::new();
    let log = place.open();
    let worker = log.worker().unwrap();
    let (id, left) = run(async {
        let (mut exchange, _) = worker.begin(Record::new(ExchangeId::new()), ORIGINAL, outgoing()).await.unwrap();
        exchange.chunk(b"half of").await.unwrap();
        let id = exchange.id();
        let aborted = Completion::aborted("the endpoint went away");
        exchange.complete(&aborted).await.unwrap().await.unwrap();
        let (mut left, _) = worker.begin(Record::new(ExchangeId::new()), ORIGINAL, outgoing()).await.unwrap();
        left.chunk(b"some").await.unwrap();
        (id, left)
    });
    let cut = |id: &ExchangeId| {
        let mut reader = place.reader();
        let at = find(&mut reader, id).unwrap();
        reader.cut_off(&at, Content::Response).unwrap()
    };
    assert_eq!(cut(&id).as_deref(), Some("the endpoint went away"));
    assert_eq!(cut(&left.id()).as_deref(), Some("the exchange has not ended"));
    let id = left.id();
    log.close().unwrap();
    assert_eq!(cut(&id).as_deref(), Some("the daemon ended before it did"));
    drop(left);
}

#[test]
fn a_record_reads_back_with_the_masked_request_and_a_sealed_response() {
    let place = Place::new();
    let log = place.open();
    let worker = log.worker().unwrap();
    let mut written = Record::new(ExchangeId::new());
    written.caller.user = Some("alice".into());
    written.request.model = Some("gpt-4o".into());
    let completion = Completion {
        response: Response { status: Some(200), bytes: Some(3), ..Response::default() },
        timing: Timing { total_us: Some(5), ..Timing::default() },
        ..Completion::default()
    };
    run(async {
        let (mut exchange, committed) = worker.begin(written.clone(), ORIGINAL, outgoing()).await.unwrap();
        assert_eq!(committed.digest(), BodyDigest::of(BODY));
        exchange.chunk(b"abc").await.unwrap();
        exchange.complete(&completion).await.unwrap().await.unwrap();
    });
    log.close().unwrap();
    let record = read(&place, 0);
    assert_eq!((record.id, record.time, record.host.as_str()), (written.id, written.time, "testhost"));
    assert_eq!((record.caller, record.request.model.as_deref()), (written.caller, Some("gpt-4o")));
    let masked = record.request.masked.unwrap();
    assert_eq!((masked.encoding, masked.text.as_bytes(), masked.head.as_bytes()), (Encoding::Utf8, BODY, HEAD));
    assert_eq!(record.response.status, Some(200));
    let body = record.response.body.unwrap();
    assert_eq!((body.encoding, body.text, body.bytes), (Encoding::Sealed, None, 3));
    assert_eq!((record.timing, record.state), (completion.timing, State::Complete));
    assert_eq!((record.log.sequence, record.log.checkpoint), (Some(0), Some(2)));
}

#[test]
fn every_member_of_a_record_is_present() {
    let place = Place::new();
    place.write(&[&[b"response"]]);
    let record = read(&place, 0);
    let json = serde_json::to_value(&record).unwrap();
    let sorted = |pointer: &str, expected: &str| {
        let mut expected: Vec<&str> = expected.split(' ').collect();
        expected.sort_unstable();
        let mut members: Vec<&String> = json.pointer(pointer).unwrap().as_object().unwrap().keys().collect();
        members.sort_unstable();
        assert_eq!(members, expected, "{pointer}");
    };
    sorted("", "id time host caller endpoint request findings coverage decision response timing log state");
    sorted(
        "/caller",
        "uid gid user groups groups_cut pid started_at exe exe_sha256 cmdline cwd parents cgroup container pod unit \
         user_unit session loginuid identity",
    );
    sorted("/endpoint", "provider host ip port");
    sorted("/request", "method path operation model bytes text_bytes masked");
    sorted("/coverage", "scanned_bytes opaque_bytes parts");
    sorted("/decision", "action rule reason approval");
    sorted("/response", "status bytes finish_reason usage restored not_restored error body");
    sorted("/response/body", "encoding text bytes");
    sorted("/timing", "overhead_us hold_ms first_byte_us total_us");
    sorted("/log", "sequence leaf_hash checkpoint damaged removed");
}

#[test]
fn another_auditors_key_opens_nothing_and_is_told_why() {
    let place = Place::new();
    place.write(&[&[]]);
    let mut reader = place.reader();
    let (keys, other) = (place.keys(), AuditorSecret::generate());
    let mut opener = Opener::new(&keys, from_ref(&other));
    let at = nth(&mut reader, 0);
    let error = reader.original(&at, &mut opener).unwrap_err();
    assert!(matches!(error, ReadError::Unseal(UnsealError::WrongKey { .. })), "{error}");
    assert!(error.to_string().contains(&place.secret.public().fingerprint()), "{error}");
}

#[test]
fn a_destroyed_data_key_shreds_the_content_and_no_proof() {
    let place = Place::new();
    place.write(&[&[b"response"]]);
    std::fs::remove_dir_all(place.keys().join("epochs")).unwrap();
    assert_eq!(place.intact().missing_keys, Some(1));
    let (mut reader, keys) = (place.reader(), place.keys());
    let at = nth(&mut reader, 0);
    let error = reader.original(&at, &mut Opener::new(&keys, from_ref(&place.secret))).unwrap_err();
    assert!(matches!(error, ReadError::Unseal(UnsealError::Shredded { .. })), "{error}");
}

#[test]
fn every_auditor_opens_alone() {
    let place = Place::new();
    let second = AuditorSecret::generate();
    let mut settings = place.settings();
    settings.auditors.push(second.public());
    let log = Log::open(settings).unwrap();
    run(exchange(&mut log.worker().unwrap(), &[]));
    log.close().unwrap();
    let (mut reader, keys) = (place.reader(), place.keys());
    for secret in [&place.secret, &second] {
        let at = nth(&mut reader, 0);
        assert_eq!(reader.original(&at, &mut Opener::new(&keys, from_ref(secret))).unwrap().unwrap(), ORIGINAL);
    }
}

#[test]
fn a_log_without_auditors_is_refused() {
    let place = Place::new();
    let settings = Settings { auditors: Vec::new(), ..place.settings() };
    assert!(matches!(Log::open(settings), Err(Error::NoAuditor)));
}

#[test]
fn bodies_larger_than_a_segment_come_back_whole() {
    let place = Place::new();
    let original: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let masked: Vec<u8> = original.iter().map(|byte| byte ^ 1).collect();
    let response: Vec<u8> = original.iter().rev().copied().collect();
    let log = place.open();
    let worker = log.worker().unwrap();
    run(async {
        let outgoing = Outgoing { head: HEAD, body: &masked };
        let (mut exchange, _) = worker.begin(Record::new(ExchangeId::new()), &original, outgoing).await.unwrap();
        exchange.chunk(&response).await.unwrap();
        exchange.complete(&Completion::default()).await.unwrap().await.unwrap();
    });
    log.close().unwrap();
    assert!(place.segments().len() > 50);
    place.intact();
    let (mut reader, keys) = (place.reader(), place.keys());
    let mut opener = Opener::new(&keys, from_ref(&place.secret));
    let at = nth(&mut reader, 0);
    assert_eq!(reader.original(&at, &mut opener).unwrap().unwrap(), original);
    assert_eq!(reader.response(&at, &mut opener).unwrap().unwrap(), response);
    let record = reader.record(&at).unwrap();
    let stored = record.request.masked.unwrap();
    assert_eq!((stored.encoding, stored.text), Encoding::of(masked));
    assert_eq!(record.response.body.unwrap().bytes, response.len() as u64);
}

#[test]
fn what_was_sealed_stands_nowhere_in_the_state() {
    let place = Place::new();
    place.write(&[&[b"the answer is 4111111111111111"]]);
    let mut dirs = vec![place.dir.path().to_path_buf()];
    let mut files = 0;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(16).any(|w| w == b"4111111111111111"), "{}", path.display());
        }
    }
    assert!(files >= 6, "log, checkpoint, lock, three keys");
}

#[test]
fn modes_keep_others_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.write(&[&[]]);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&place.audit()), 0o750);
    assert_eq!(mode(&place.keys()), 0o700);
    assert_eq!(mode(&place.keys().join("epochs")), 0o700);
    assert_eq!(mode(&place.keys().join("log-signing.key")), 0o600);
    assert_eq!(mode(&place.segments()[0]), 0o640);
    assert_eq!(mode(&place.audit().join("checkpoint")), 0o640);
}
