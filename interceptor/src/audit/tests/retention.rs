//! What retention and erasures destroy, and what they leave as it was.

use std::fs;
use std::slice::from_ref;
use std::time::Duration;

use super::super::act::acts;
use super::super::frame::{EncodedHead, frame_length, trailer};
use super::super::header::HEADER;
use super::super::scan::{Depth, SegmentFile, Step};
use super::super::tree::{chain, sha256};
use super::super::writer::{Plan, Wanted};
use super::super::{
    Act, Acts, Ages, Author, Begun, Class, Clocks, Deed, Done, ReadError, Removal, RetainError, Retention,
    RetentionPlan, lock,
};
use super::*;

const DAY: Duration = Duration::from_secs(86_400);
/// In nanoseconds.
const YEAR: u64 = 365 * 86_400_000_000_000;
const RESPONSE: &[u8] = b"data: the answer\n\n";

fn who() -> Author {
    Author { uid: 0, user: Some("root".into()), reason: "test".into() }
}

/// A record of a caller with this user id.
async fn by(worker: &Worker, uid: u32) -> ExchangeId {
    let mut record = Record::new(ExchangeId::new());
    record.caller.uid = Some(uid);
    one(worker, record).await
}

async fn one(worker: &Worker, record: Record) -> ExchangeId {
    let id = record.id;
    let body = [BODY, &vec![b' '; 3000]].concat();
    let (mut exchange, _) = worker.begin(record, ORIGINAL, Outgoing { head: HEAD, body: &body }).await.unwrap();
    exchange.chunk(RESPONSE).await.unwrap();
    exchange.complete(&Completion::default()).await.unwrap().await.unwrap();
    id
}

/// Writes records of uid 1000 and 2000 in turns, in several segments, closed.
fn filled() -> (Place, Vec<ExchangeId>) {
    let place = Place::new();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let log = place.open();
        let worker = log.worker().unwrap();
        ids.extend((0..30).map(|n| run(by(&worker, if n % 2 == 0 { 1000 } else { 2000 }))));
        log.close().unwrap();
    }
    // The last segment is never touched: one that matters to nobody.
    place.write(&[&[]]);
    (place, ids)
}

fn days(ages: &[(Class, u32)]) -> Removal {
    Removal::Old(ages.iter().map(|&(class, days)| (class, DAY * days)).collect::<Ages>())
}

/// An erasure of these of uid 1000.
fn erase(classes: &[Class]) -> Removal {
    Removal::Subject { name: "uid:1000".into(), classes: classes.to_vec() }
}

/// Appends an act with these contents to the access log, as whoever can who has no key.
fn append(place: &Place, sections: &[&[u8]]) {
    let path = scan::segments(&place.audit(), Stream::Access).unwrap().pop().unwrap();
    let mut file = SegmentFile::open(&path).unwrap();
    let (mut at, mut last) = (HEADER as u64, None);
    while let Step::Frame(head) = file.step(at, Depth::Bodies).unwrap() {
        at += head.length as u64;
        last = Some(head);
    }
    let last = last.unwrap();
    let mut entry = last.entry;
    (entry.kind, entry.sequence, entry.leaf_index) = (Kind::Act, entry.sequence + 1, entry.leaf_index + 1);
    let section = |bytes: &&[u8]| Section {
        content: Content::Json,
        holding: Holding::Plain,
        length: u32::try_from(bytes.len()).unwrap(),
        digest: sha256(bytes),
    };
    entry.sections = sections.iter().map(section).collect();
    let body = sections.concat();
    let head = EncodedHead::new(&entry);
    let link = chain(&last.chain, &head.leaf());
    let head = head.finish(file.seed, frame_length(sections.len(), body.len()), &link);
    let (end, length) = trailer(file.seed, head.bytes().len(), body.len(), crc32c::crc32c(&body));
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(usize::try_from(at).unwrap());
    fs::write(&path, [&bytes, head.bytes(), &body, &end[..length]].concat()).unwrap();
}

impl Place {
    /// Does it as if `later` had passed since.
    fn retain(&self, removal: &Removal, later: Duration) -> (RetentionPlan, Done) {
        self.retain_unless(removal, later, &|_| false)
    }

    fn retain_unless(
        &self,
        removal: &Removal,
        later: Duration,
        held: &dyn Fn(&Record) -> bool,
    ) -> (RetentionPlan, Done) {
        self.begun(later, |begun| {
            let begun = begun.unwrap();
            let plan = begun.plan(removal, held).unwrap();
            let done = begun.apply(&plan, &who(), &|| ()).unwrap();
            (plan, done)
        })
    }

    fn begun<T>(&self, later: Duration, then: impl FnOnce(Result<Begun<'_>, RetainError>) -> T) -> T {
        let now = Time::from_unix_ns(Time::now().unix_ns() + u64::try_from(later.as_nanos()).unwrap());
        let (dir, keys) = (self.audit(), self.keys());
        then(Retention { dir: &dir, keys: &keys, now, clocks: None }.begin())
    }

    fn planned(&self, removal: &Removal, later: Duration) -> RetentionPlan {
        self.begun(later, |begun| begun.unwrap().plan(removal, &|_| false).unwrap())
    }

    fn acts(&self) -> Acts {
        acts(&self.audit(), &self.trust()).unwrap()
    }

    fn hold(&self, deed: Deed) {
        let act = Act { time: Time::now(), uid: 0, user: None, reason: "test".into(), deed };
        act.record(&self.audit(), &self.keys()).unwrap();
    }

    fn size(&self) -> u64 {
        self.segments().iter().map(|path| path.metadata().unwrap().len()).sum()
    }

    /// Original and response of a record, each opened or the error.
    fn unseal(&self, id: ExchangeId) -> [Result<Option<Vec<u8>>, ReadError>; 2] {
        let mut reader = self.reader();
        let at = find(&mut reader, &id).unwrap();
        let keys = self.keys();
        let mut opener = Opener::new(&keys, from_ref(&self.secret));
        [reader.original(&at, &mut opener), reader.response(&at, &mut opener)]
    }

    fn opens(&self, id: ExchangeId) -> [bool; 2] {
        let [original, response] = self.unseal(id);
        [
            original.is_ok_and(|bytes| bytes.as_deref() == Some(ORIGINAL)),
            response.is_ok_and(|bytes| bytes.as_deref() == Some(RESPONSE)),
        ]
    }

    fn record_of(&self, id: ExchangeId) -> Record {
        let mut reader = self.reader();
        let at = find(&mut reader, &id).unwrap();
        reader.record(&at).unwrap()
    }
}

#[test]
fn each_class_goes_in_its_time_and_everything_proven_stays_so() {
    let (place, ids) = filled();
    let ages = days(&[(Class::Prompts, 90), (Class::Responses, 365), (Class::Decisions, 2562)]);
    let before = place.intact();
    let mut reader = place.reader();
    let prove = |reader: &mut Reader, id: &ExchangeId| {
        let at = find(reader, id).unwrap();
        reader.prove(&at, true).unwrap().to_string()
    };
    let proofs: Vec<String> = ids.iter().map(|id| prove(&mut reader, id)).collect();
    let mut size = place.size();
    assert!(place.retain(&ages, DAY * 89).0.is_empty());
    for (later, opens, removed) in [
        (100, [false, true], &[Class::Prompts][..]),
        (400, [false, false], &[Class::Prompts, Class::Responses]),
        (3000, [false, false], &Class::ALL),
    ] {
        let (plan, done) = place.retain(&ages, DAY * later);
        assert_eq!((done.freed, done.segments as usize), (size - place.size(), plan.segments()), "{later} days");
        assert!(done.freed > 0);
        // Nothing of decisions is sealed.
        assert_eq!(plan.keys() > 0, later < 3000, "{later} days");
        size = place.size();
        for id in &ids {
            assert_eq!(place.opens(*id), opens, "{later} days");
            assert_eq!(place.record_of(*id).log.removed, removed);
        }
        let report = place.intact();
        assert_eq!((&report.root, report.leaves, report.missing_keys), (&before.root, before.leaves, Some(0)));
        assert_eq!(report.acts, removed.len() as u64);
        for (id, proof) in ids.iter().zip(&proofs) {
            Proof::parse(proof).unwrap().verify(&place.trust().key).unwrap();
            assert_eq!(&prove(&mut place.reader(), id), proof);
        }
        // There is nothing left to do, and the log goes on.
        assert!(place.retain(&ages, DAY * later).0.is_empty());
    }
    place.write(&[&[b"more"]]);
    place.intact();
}

#[test]
fn a_record_says_what_it_has_lost_and_keeps_the_rest() {
    let (place, ids) = filled();
    place.retain(&days(&[(Class::Prompts, 1)]), DAY * 2);
    let record = place.record_of(ids[0]);
    assert_eq!((record.caller.uid, record.request.masked, record.log.damaged), (Some(1000), None, false));
    assert_eq!(record.response.body.unwrap().bytes, RESPONSE.len() as u64);
    place.retain(&days(&[(Class::Prompts, 1), (Class::Responses, 1), (Class::Decisions, 1)]), DAY * 2);
    let record = place.record_of(ids[0]);
    assert_eq!((record.id, record.caller.uid, record.log.removed.len()), (ids[0], None, 3));
    assert!(!record.log.damaged && record.time.unix_ns() > 0);
}

#[test]
fn what_was_shredded_opens_in_no_copy_of_the_log() {
    let (place, ids) = filled();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&place.audit(), copy.path());
    place.retain(&days(&[(Class::Prompts, 1)]), DAY * 2);
    // The log as it was, beside all keys that there still are.
    fs::remove_dir_all(place.audit()).unwrap();
    copy_dir(copy.path(), &place.audit());
    for id in ids {
        let [original, response] = place.unseal(id);
        let error = original.unwrap_err();
        assert!(matches!(error, ReadError::Unseal(UnsealError::ClassShredded { .. })), "{error}");
        assert_eq!(response.unwrap().unwrap(), RESPONSE);
    }
}

#[test]
fn what_is_on_hold_stays_until_it_is_released() {
    let (place, ids) = filled();
    let kept = ids[7];
    let records = vec![format!("id={kept}")];
    place.hold(Deed::Hold { name: "case-17".into(), records });
    let held = |record: &Record| record.id == kept;
    let ages = days(&[(Class::Prompts, 1)]);
    let (plan, _) = place.retain_unless(&ages, DAY * 2, &held);
    assert_eq!(plan.held, 1);
    assert!(place.opens(kept)[0], "its data key is kept as well");
    assert!(!place.opens(ids[8])[0]);
    assert!(place.record_of(kept).request.masked.is_some() && place.record_of(ids[8]).request.masked.is_none());
    place.intact();
    place.hold(Deed::Release { name: "case-17".into() });
    // Nobody is asked when there is no hold.
    let (plan, _) = place.retain_unless(&ages, DAY * 2, &held);
    assert!(plan.held == 0 && plan.keys() > 0);
    assert!(!place.opens(kept)[0]);
    place.intact();
}

#[test]
fn one_subject_is_erased_and_no_other() {
    let (place, ids) = filled();
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&place.audit(), copy.path());
    let erase = Removal::Subject { name: "uid:1000".into(), classes: vec![Class::Prompts, Class::Responses] };
    let (plan, _) = place.retain(&erase, Duration::ZERO);
    assert_eq!((plan.counts[&Class::Prompts].frames, plan.keys()), (30, 1));
    let check = |place: &Place, why: &str| {
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(place.opens(*id), [n % 2 == 1; 2], "{why}: {n}");
        }
    };
    check(&place, "erased");
    assert_eq!(place.record_of(ids[0]).caller.uid, Some(1000), "who called is a decision's content");
    place.intact();
    // Who calls again is not forgotten, and what they send now can be opened.
    let log = place.open();
    let again = run(by(&log.worker().unwrap(), 1000));
    log.close().unwrap();
    assert_eq!(place.opens(again), [true; 2]);
    fs::remove_dir_all(place.audit()).unwrap();
    copy_dir(copy.path(), &place.audit());
    check(&place, "in a copy of the log");
}

#[test]
fn what_is_on_hold_of_an_erased_subject_stays_readable() {
    let (place, ids) = filled();
    let erase = Removal::Subject { name: "uid:1000".into(), classes: vec![Class::Prompts, Class::Responses] };
    place.hold(Deed::Hold { name: "case-17".into(), records: vec![format!("id={}", ids[2])] });
    let (plan, _) = place.retain_unless(&erase, Duration::ZERO, &|record| record.id == ids[2]);
    assert_eq!((plan.held, plan.keys()), (1, 0));
    assert_eq!([ids[0], ids[2], ids[3]].map(|id| place.opens(id)), [[false; 2], [true; 2], [true; 2]]);
    place.hold(Deed::Release { name: "case-17".into() });
    let (plan, _) = place.retain(&erase, Duration::ZERO);
    assert!(plan.keys() > 0);
    assert_eq!([ids[2], ids[3]].map(|id| place.opens(id)), [[false; 2], [true; 2]]);
    place.intact();
}

#[test]
fn nothing_is_sealed_under_a_secret_that_was_erased_meanwhile() {
    let place = Place::new();
    let log = place.open();
    let worker = log.worker().unwrap();
    let first = run(by(&worker, 1000));
    let erase = Removal::Subject { name: "uid:1000".into(), classes: vec![Class::Prompts, Class::Responses] };
    let (plan, _) = place.retain(&erase, Duration::ZERO);
    assert!(plan.waiting > 0, "the segment is being written");
    let second = run(by(&worker, 1000));
    log.close().unwrap();
    assert_eq!((place.opens(first), place.opens(second)), ([false; 2], [true; 2]));
}

#[test]
fn contents_that_are_missing_without_an_act_are_a_fault() {
    let (place, ids) = filled();
    place.retain(&days(&[(Class::Prompts, 1)]), DAY * 2);
    // Somebody removes what says that it was done, also what the keys directory knows of it.
    for path in scan::segments(&place.audit(), Stream::Access).unwrap() {
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(place.audit().join("access.checkpoint")).unwrap();
    fs::remove_file(place.keys().join("access.checkpoint")).unwrap();
    let fault = place.faulty();
    assert!(fault.reason.contains("no act on record"), "{fault}");
    assert_eq!(fault.id, Some(ids[0]));
}

#[test]
fn an_act_covers_no_more_than_it_says() {
    let (place, _) = filled();
    place.retain(&days(&[(Class::Prompts, 1)]), DAY * 2);
    // The responses of the first segment go without a record of it.
    let segments = place.segments();
    let plan = place.planned(&days(&[(Class::Responses, 1)]), DAY * 2);
    plan.rewrite(&segments[0]);
    let fault = place.faulty();
    assert!(fault.reason.contains("its responses were removed"), "{fault}");
}

#[test]
fn what_is_removed_cannot_be_changed_to_be_there() {
    let (place, _) = filled();
    place.retain(&days(&[(Class::Prompts, 1)]), DAY * 2);
    let path = &place.segments()[0];
    let bytes = fs::read(path).unwrap();
    for at in super::super::header::HEADER..bytes.len().min(6000) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(path, changed).unwrap();
        place.faulty();
    }
}

#[test]
fn a_run_that_was_stopped_is_ended_by_the_next() {
    let (place, ids) = filled();
    let ages = days(&[(Class::Prompts, 1)]);
    let plan = place.planned(&ages, DAY * 2);
    // Stopped when the act was on record, and one segment rewritten.
    plan.record(&place, &who());
    plan.rewrite(&place.segments()[1]);
    place.intact();
    place.retain(&ages, DAY * 2);
    place.intact();
    assert!(ids.iter().all(|id| place.record_of(*id).log.removed == [Class::Prompts]));
}

#[test]
fn nothing_outlives_what_says_whose_it_is() {
    let (place, _) = filled();
    for wrong in
        [days(&[(Class::Prompts, 90), (Class::Responses, 90), (Class::Decisions, 30)]), days(&[(Class::Decisions, 30)])]
    {
        let error = place.begun(DAY, |begun| begun.unwrap().plan(&wrong, &|_| false).unwrap_err());
        assert!(error.to_string().contains("keep decisions for as long at least"), "{error}");
    }
}

#[test]
fn it_takes_as_many_auditors_as_the_threshold_says() {
    let place = Place::new();
    let auditors = [AuditorSecret::generate(), AuditorSecret::generate(), AuditorSecret::generate()];
    let settings =
        Settings { auditors: auditors.iter().map(AuditorSecret::public).collect(), threshold: 2, ..place.settings() };
    let log = Log::open(settings.clone()).unwrap();
    let id = run(by(&log.worker().unwrap(), 1000));
    log.close().unwrap();
    let [a, b, c] = auditors;
    let keys = place.keys();
    let open = |secrets: &[AuditorSecret]| {
        let mut reader = place.reader();
        let at = find(&mut reader, &id).unwrap();
        let mut opener = Opener::new(&keys, secrets);
        reader.try_keys(&at, &mut opener)?;
        reader.original(&at, &mut opener)
    };
    for one in [from_ref(&a), from_ref(&b), from_ref(&place.secret)] {
        let error = open(one).unwrap_err().to_string();
        assert!(error.contains("takes the keys of 2 auditors"), "{error}");
    }
    assert_eq!(open(&[a, c]).unwrap().unwrap(), ORIGINAL);
    assert!(open(&[b, AuditorSecret::generate()]).is_err());
    for threshold in [0, 4] {
        let error = Log::open(Settings { threshold, ..settings.clone() }).unwrap_err().to_string();
        assert!(error.contains("audit.threshold"), "{error}");
    }
}

#[test]
fn an_act_that_is_not_signed_excuses_nothing_and_is_never_adopted() {
    let (place, ids) = filled();
    place.hold(Deed::Hold { name: "x".into(), records: vec![format!("id={}", ids[0])] });
    let forge = |place: &Place, deed: Deed| append(place, &[&serde_json::to_vec(&who().act(deed)).unwrap()]);
    // Whoever may write the log's files removes contents, and says that retention did.
    let plan = place.planned(&days(&[(Class::Prompts, 1)]), DAY * 2);
    forge(&place, Deed::Retain { class: Class::Prompts, before: Time::now(), frames: vec![(0, 1 << 40)] });
    assert_eq!((place.intact().acts, place.acts().all().len()), (1, 1));
    plan.rewrite(&place.segments()[0]);
    assert!(place.faulty().reason.contains("no act on record"));
    // The next genuine act does not sign it.
    place.hold(Deed::Release { name: "y".into() });
    assert_eq!(place.acts().all().len(), 2);
    assert!(place.faulty().reason.contains("no act on record"));
    assert!(names(&place.audit()).iter().any(|name| name.ends_with(".quarantine")));
    let refused = place.begun(DAY * 2, |begun| begun.err().map(|error| error.to_string())).unwrap();
    assert!(refused.contains("not intact") && refused.contains("nothing was removed"), "{refused}");
}

#[test]
fn a_release_that_is_not_signed_releases_nothing() {
    let (place, ids) = filled();
    place.hold(Deed::Hold { name: "case".into(), records: vec![format!("id={}", ids[7])] });
    append(&place, &[&serde_json::to_vec(&who().act(Deed::Release { name: "case".into() })).unwrap()]);
    place.retain_unless(&days(&[(Class::Prompts, 1)]), DAY * 2, &|record| record.id == ids[7]);
    assert_eq!([ids[7], ids[8]].map(|id| place.opens(id)[0]), [true, false]);
}

#[test]
fn an_act_that_says_nothing_is_a_fault_and_no_panic() {
    let (place, _) = filled();
    place.hold(Deed::Hold { name: "case".into(), records: vec!["caller=alice".into()] });
    append(&place, &[]);
    assert!(place.faulty().reason.contains("says nothing"));
    assert!(acts(&place.audit(), &place.trust()).is_err());
}

#[test]
fn an_access_log_whose_checkpoint_was_put_back_is_not_cut() {
    let (place, _) = filled();
    place.hold(Deed::Hold { name: "a".into(), records: vec!["caller=alice".into()] });
    let checkpoint = place.audit().join("access.checkpoint");
    let earlier = fs::read(&checkpoint).unwrap();
    place.hold(Deed::Hold { name: "b".into(), records: vec!["caller=bob".into()] });
    let newest = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, earlier).unwrap();
    let act = who().act(Deed::Release { name: "a".into() });
    act.record(&place.audit(), &place.keys()).unwrap_err();
    fs::write(&checkpoint, newest).unwrap();
    assert_eq!(place.acts().holds().len(), 2, "nothing was cut off");
}

#[test]
fn an_erasure_is_on_record_though_no_segment_can_be_rewritten_yet() {
    let place = Place::new();
    let log = place.open();
    let id = run(by(&log.worker().unwrap(), 1000));
    let (plan, _) = place.retain(&erase(&[Class::Prompts, Class::Responses]), Duration::ZERO);
    log.close().unwrap();
    assert_eq!((plan.keys(), place.opens(id)), (1, [false; 2]));
    let deeds = place.acts().all().iter().map(|act| act.deed.to_string()).collect::<Vec<_>>();
    assert_eq!(deeds, ["erased prompts of uid:1000", "erased responses of uid:1000"]);
}

#[test]
fn what_was_not_to_be_erased_still_opens() {
    let (place, ids) = filled();
    place.retain(&erase(&[Class::Responses]), Duration::ZERO);
    assert_eq!(place.opens(ids[0]), [true, false]);
    for wrong in [&[Class::Decisions][..], &[Class::Decisions, Class::Prompts]] {
        let error = place.begun(DAY, |begun| begun.unwrap().plan(&erase(wrong), &|_| false).unwrap_err());
        assert!(matches!(error, RetainError::Whose(_)), "{error}");
    }
}

#[test]
fn no_hold_is_placed_while_something_is_removed() {
    let (place, _) = filled();
    place.begun(DAY, |begun| {
        let _begun = begun.unwrap();
        assert!(matches!(lock(&place.audit()), Err(RetainError::Busy(_))));
    });
    let _hold = lock(&place.audit()).unwrap();
    place.begun(DAY, |begun| assert!(matches!(begun.err(), Some(RetainError::Busy(_)))));
}

#[test]
fn a_key_that_may_still_seal_is_kept() {
    let place = Place::new();
    let log = place.open();
    let worker = log.worker().unwrap();
    run(by(&worker, 1000));
    log.close_if_old(Duration::ZERO);
    // The segment is closed when another begins that is signed.
    run(by(&log.worker().unwrap(), 3000));
    log.close().unwrap();
    let (plan, done) = place.retain(&erase(&[Class::Prompts, Class::Responses]), Duration::ZERO);
    // The subject's secret, and no data key.
    assert_eq!((plan.keys(), done.segments), (1, 1));
    let (plan, _) = place.retain(&erase(&[Class::Prompts, Class::Responses]), DAY);
    assert_eq!(plan.keys(), 2);
    place.intact();
}

#[test]
fn a_record_in_parts_is_held_and_erased_like_others() {
    let place = Place::new();
    let log = place.open();
    let mut record = Record::new(ExchangeId::new());
    record.caller.uid = Some(1000);
    let part = |n| Part { path: format!("messages[{n}]"), bytes: Some(1), status: "scanned".into(), reason: None };
    record.coverage.parts = (0..200).map(part).collect();
    let id = run(one(&log.worker().unwrap(), record));
    log.close().unwrap();
    place.write(&[&[]]);
    place.hold(Deed::Hold { name: "case".into(), records: vec![format!("id={id}")] });
    let (plan, _) = place.retain_unless(&days(&[(Class::Prompts, 1)]), DAY * 2, &|record| record.id == id);
    assert_eq!((plan.held, place.opens(id)), (1, [true; 2]));
    place.hold(Deed::Release { name: "case".into() });
    let (plan, _) = place.retain(&erase(&[Class::Prompts, Class::Responses]), DAY);
    assert!(plan.counts[&Class::Prompts].frames > 0);
    assert_eq!(place.opens(id), [false; 2]);
}

#[test]
fn a_record_that_cannot_be_read_may_be_on_hold_and_stays() {
    let place = Place::new();
    let log = place.open();
    let id = ExchangeId::new();
    let plan = Plan::new(Kind::Refusal, id).plain(Content::Json, b"no record").plain(Content::MaskedBody, BODY);
    run(log.context.sink.append(&plan, Wanted::Appended)).unwrap();
    let other = run(by(&log.worker().unwrap(), 1000));
    log.close().unwrap();
    place.write(&[&[]]);
    place.intact();
    let is_there = |id| place.record_of(id).request.masked.is_some();
    let ages = days(&[(Class::Prompts, 1)]);
    place.hold(Deed::Hold { name: "case".into(), records: vec!["caller=nobody".into()] });
    let (plan, _) = place.retain(&ages, DAY * 2);
    assert_eq!((plan.unreadable, plan.held), (1, 1));
    assert_eq!((is_there(id), is_there(other)), (true, false));
    // Nor is it known whose it is.
    let (plan, _) = place.retain(&erase(&[Class::Prompts, Class::Responses]), DAY * 2);
    assert_eq!((plan.unreadable, is_there(id)), (1, true));
    // Where nothing is on hold, age alone counts.
    place.hold(Deed::Release { name: "case".into() });
    let (plan, _) = place.retain(&ages, DAY * 2);
    assert_eq!((plan.unreadable, is_there(id)), (0, false));
    place.intact();
}

#[test]
fn a_secret_that_did_not_get_to_the_disk_stops_nobody() {
    use std::os::unix::fs::PermissionsExt as _;
    let (place, _) = filled();
    for (name, bytes) in [("ab", &b""[..]), ("cd", &[0; 90]), ("ef", b"interceptor-subject-v1\nsub")] {
        let path = place.keys().join("subjects").join(format!("{}.key", name.repeat(16)));
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    place.write(&[&[]]);
}

#[test]
fn one_auditor_does_not_count_as_two() {
    let place = Place::new();
    let public = place.secret.public();
    let settings = Settings { auditors: vec![public, public], threshold: 2, ..place.settings() };
    assert!(matches!(Log::open(settings).err(), Some(super::super::Error::SameAuditor(_))));
}

#[test]
fn as_many_auditors_as_there_may_be_can_open_it() {
    let place = Place::new();
    let auditors: Vec<_> = (0..128).map(|_| AuditorSecret::generate()).collect();
    let publics: Vec<_> = auditors.iter().map(AuditorSecret::public).collect();
    let settings = Settings { auditors: publics.clone(), ..place.settings() };
    let log = Log::open(settings.clone()).unwrap();
    let id = run(by(&log.worker().unwrap(), 1000));
    log.close().unwrap();
    let mut reader = place.reader();
    let at = find(&mut reader, &id).unwrap();
    assert_eq!(reader.original(&at, &mut Opener::new(&place.keys(), &auditors[..1])).unwrap().unwrap(), ORIGINAL);
    let more = publics.into_iter().chain([place.secret.public()]).collect();
    assert!(Log::open(Settings { auditors: more, ..settings }).is_err());
}

#[test]
fn a_class_that_was_destroyed_without_an_act_is_missing() {
    let (place, _) = filled();
    for file in fs::read_dir(place.keys().join("epochs")).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let kept = text.lines().filter(|line| !line.starts_with("wrapped prompts") && !line.starts_with("sha256"));
        let kept: String = kept.map(|line| format!("{line}\n")).collect();
        fs::write(&path, format!("{kept}sha256 {}\n", hex::encode(sha256(kept.as_bytes())))).unwrap();
    }
    assert!(place.intact().missing_keys.is_some_and(|missing| missing > 0));
}

#[test]
fn a_segment_that_is_old_is_closed_though_it_is_not_full() {
    let place = Place::new();
    let log = place.open();
    let worker = log.worker().unwrap();
    let ids: Vec<ExchangeId> = (0..2).map(|_| run(by(&worker, 1000))).collect();
    log.close_if_old(Duration::from_secs(3600));
    assert_eq!(place.segments().len(), 1);
    log.close_if_old(Duration::ZERO);
    let last = run(by(&worker, 1000));
    assert_eq!(place.segments().len(), 2);
    // Nothing new, no further segment.
    log.close_if_old(Duration::ZERO);
    log.close_if_old(Duration::ZERO);
    assert_eq!(place.segments().len(), 3);
    log.close().unwrap();
    place.write(&[&[]]);
    place.intact();
    place.retain(&days(&[(Class::Prompts, 1)]), DAY * 2);
    assert!(ids.iter().chain([&last]).all(|id| !place.opens(*id)[0]));
}

#[test]
fn nothing_is_removed_by_a_clock_that_was_set_ahead() {
    let (place, _) = filled();
    let (dir, keys) = (place.audit(), place.keys());
    let plan = |removal: &Removal, change: &dyn Fn(&mut Clocks)| {
        let mut clocks = Clocks::now();
        change(&mut clocks);
        let now = Time::from_unix_ns(clocks.wall_ns);
        let begun = Retention { dir: &dir, keys: &keys, now, clocks: Some(clocks) }.begin().unwrap();
        begun.plan(removal, &|_| false).map(|plan| plan.is_empty())
    };
    let ages = days(&[(Class::Prompts, 90)]);
    let refused = plan(&ages, &|clocks| clocks.wall_ns += YEAR).unwrap_err();
    assert!(matches!(refused, RetainError::Clock { .. }), "{refused}");
    assert!(refused.to_string().contains("364 days") || refused.to_string().contains("365 days"), "{refused}");
    // As long as it has been up, a correction, another boot, and a clock that was set so a week ago.
    let passed = |clocks: &mut Clocks| {
        clocks.wall_ns += YEAR;
        clocks.boottime_ns += YEAR;
    };
    assert!(!plan(&ages, &passed).unwrap());
    assert!(plan(&ages, &|clocks| clocks.wall_ns += YEAR / 365 / 48).unwrap());
    let another_boot = |clocks: &mut Clocks| (clocks.wall_ns, clocks.boot_id) = (clocks.wall_ns + YEAR, [9; 16]);
    assert!(!plan(&ages, &another_boot).unwrap());
    let a_week = |clocks: &mut Clocks| {
        (clocks.wall_ns, clocks.boottime_ns) = (clocks.wall_ns + YEAR, clocks.boottime_ns + YEAR / 52 + YEAR / 365);
    };
    assert!(!plan(&ages, &a_week).unwrap());
    // Whose it is does not depend on a clock.
    assert!(!plan(&erase(&[Class::Prompts]), &|clocks| clocks.wall_ns += YEAR).unwrap());
}
