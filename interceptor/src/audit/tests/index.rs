//! What is found through indexes is what a walk through all frames finds, whatever happened to the log.

use std::fs;
use std::ops::Range;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::faults::Faulty;
use super::*;
use crate::flow::Action;

/// What happens to a log.
#[derive(Clone, Debug)]
enum Event {
    Begin(Says),
    Refuse(Says),
    /// A piece of the response of one of the exchanges that are open.
    Chunk(usize, usize),
    Complete(usize),
    Drop(usize),
    /// The disk fails once.
    Fault,
    /// The daemon ends, and another one starts.
    Restart,
}

/// What a record says that can be asked for.
#[derive(Clone, Debug)]
struct Says {
    who: u8,
    time: u64,
    body: usize,
}

fn says() -> impl Strategy<Value = Says> {
    (0..6u8, 0..1000u64, prop_oneof![4 => 0..900usize, 1 => 9_000..30_000usize]).prop_map(|(who, time, body)| Says {
        who,
        time,
        body,
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => says().prop_map(Event::Begin),
        3 => says().prop_map(Event::Refuse),
        8 => (any::<usize>(), 1..9_000usize).prop_map(|(which, bytes)| Event::Chunk(which, bytes)),
        6 => any::<usize>().prop_map(Event::Complete),
        2 => any::<usize>().prop_map(Event::Drop),
        1 => Just(Event::Fault),
        1 => Just(Event::Restart),
    ]
}

fn record(says: &Says) -> Record {
    let mut record = Record::new(ExchangeId::new());
    record.time = Time::from_unix_ns(1_000 + says.time);
    record.caller.user = Some(["alice", "bob"][usize::from(says.who % 2)].into());
    record.request.model = [Some("gpt-4o"), Some("o1"), None][usize::from(says.who % 3)].map(String::from);
    record.decision.action = Some(if says.who == 5 { "deny" } else { "mask" }.into());
    if says.who > 2 {
        let rule = format!("rule.{}", says.who);
        record.findings = vec![FindingCount { entity: "CREDIT_CARD".into(), rule, count: 1, action: Action::Mask }];
    }
    record
}

/// Asks for a time and some values.
#[derive(Clone, Debug)]
struct Wanted {
    time: Range<u64>,
    values: Vec<(usize, String)>,
}

impl Select for Wanted {
    fn time(&self) -> Range<u64> {
        self.time.clone()
    }

    fn asks(&self, facet: Facet) -> bool {
        self.values.iter().any(|(number, _)| Facet::ALL[*number] == facet)
    }

    fn fits(&self, facet: Facet, values: &[&str]) -> bool {
        self.values.iter().any(|(number, value)| Facet::ALL[*number] == facet && values.contains(&&**value))
    }
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let value = prop_oneof![
        Just((0, "alice".to_owned())),
        Just((2, "o1".to_owned())),
        Just((2, "gpt-4o".to_owned())),
        Just((3, "deny".to_owned())),
        Just((4, "rule.4".to_owned())),
        Just((5, "CREDIT_CARD".to_owned())),
        Just((1, "nowhere".to_owned())),
    ];
    let time = prop_oneof![Just(0..u64::MAX), (900..2_100u64, 0..900u64).prop_map(|(from, len)| from..from + len)];
    (time, vec(value, 0..3)).prop_map(|(time, values)| Wanted { time, values })
}

/// What became of a log when nobody writes it any more.
#[derive(Clone, Debug)]
enum Damage {
    None,
    /// A byte of some segment is another one.
    Flip(usize, usize),
    /// The last segment ends early.
    Cut(usize),
}

/// Does that to a log, and leaves it as it is then: still written, with exchanges that are open.
fn write(place: &Place, events: &[Event]) -> (Log, Vec<Exchange>) {
    let settings = Settings { durability: Durability::Process, ..place.settings() };
    let start = || {
        let disk = Arc::new(Faulty::default());
        let log = Log::open_on(settings.clone(), Arc::clone(&disk) as Arc<dyn disk::Disk>).unwrap();
        let worker = log.worker().unwrap();
        (disk, log, worker)
    };
    let (mut disk, mut log, mut worker) = start();
    let mut open: Vec<Exchange> = Vec::new();
    for event in events {
        let pick = |which: &usize, open: &Vec<Exchange>| (!open.is_empty()).then(|| which % open.len());
        match event {
            Event::Begin(says) => {
                let body = vec![b'x'; says.body];
                let outgoing = Outgoing { head: HEAD, body: &body };
                open.extend(run(worker.begin(record(says), ORIGINAL, outgoing)).ok().map(|(exchange, _)| exchange));
            }
            Event::Refuse(says) => drop(run(worker.refuse(record(says), Some(ORIGINAL), b"no"))),
            Event::Chunk(which, bytes) => {
                if let Some(at) = pick(which, &open) {
                    let _ = run(open[at].chunk(&vec![b'y'; *bytes]));
                }
            }
            Event::Complete(which) => {
                if let Some(at) = pick(which, &open) {
                    let exchange = open.swap_remove(at);
                    drop(run(exchange.complete(&Completion::default())));
                }
            }
            Event::Drop(which) => {
                if let Some(at) = pick(which, &open) {
                    drop(open.swap_remove(at));
                }
            }
            Event::Fault => disk.flush.arm(0, 1),
            Event::Restart => {
                // Nobody ends what is open.
                let _ = log.close();
                open.clear();
                (disk, log, worker) = start();
            }
        }
    }
    (log, open)
}

/// Compares what queries give with what a walk through everything gives.
fn compare(place: &Place, wanted: &[Wanted]) -> Result<(), TestCaseError> {
    let Ok(mut reader) = Reader::open(&place.audit()) else { return Ok(()) };
    let all = Live::everything(&reader).unwrap();
    let all: Vec<Record> = all.iter().map(|at| reader.record(at).unwrap()).collect();
    for select in wanted {
        let expected: Vec<&Record> = all.iter().filter(|record| select.takes(record)).collect();
        let mut query = Query::oldest_first(select);
        let mut found: Vec<Record> = Vec::new();
        while let Some((at, record)) = query.record(&mut reader).unwrap() {
            prop_assert_eq!(at.id(), record.id);
            found.push(record);
        }
        prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{:?}", select);
        let mut query = Query::newest_first(select);
        let mut backwards: Vec<Record> = Vec::new();
        while let Some((_, record)) = query.record(&mut reader).unwrap() {
            backwards.push(record);
        }
        backwards.reverse();
        prop_assert_eq!(backwards, found);
    }
    for record in all.iter().step_by(7) {
        let found = reader.find(&record.id.to_string()).unwrap().one();
        prop_assert_eq!(found.map(|at| at.id()), Some(record.id));
    }
    let latest = reader.find("latest").unwrap().one();
    prop_assert_eq!(latest.map(|at| at.id()), all.last().map(|record| record.id));
    Ok(())
}

fn indexes(place: &Place) -> Vec<PathBuf> {
    place.segments().iter().map(|path| path.with_extension("idx")).filter(|path| path.exists()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn queries_find_what_a_full_scan_finds(
        events in vec(event(), 1..120),
        wanted in vec(wanted(), 4),
        damage in prop_oneof![
            Just(Damage::None),
            (any::<usize>(), any::<usize>()).prop_map(|(which, at)| Damage::Flip(which, at)),
            any::<usize>().prop_map(Damage::Cut),
        ],
        spoil in any::<usize>(),
    ) {
        let place = Place::new();
        let (log, open) = write(&place, &events);
        compare(&place, &wanted)?;
        let _ = log.close();
        // Nobody ends them: the log is closed.
        drop(open);
        // Once with indexes to be made, once with those.
        compare(&place, &wanted)?;
        compare(&place, &wanted)?;
        let segments = place.segments();
        if let (Damage::Flip(which, at), false) = (&damage, segments.is_empty()) {
            let path = &segments[which % segments.len()];
            let mut bytes = fs::read(path).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
        }
        if let (Damage::Cut(at), Some(last)) = (&damage, segments.last()) {
            let bytes = fs::read(last).unwrap();
            fs::write(last, &bytes[..4096 + at % (bytes.len() - 4095)]).unwrap();
        }
        compare(&place, &wanted)?;
        // A spoilt index is noticed, wherever.
        for path in indexes(&place) {
            let mut bytes = fs::read(&path).unwrap();
            let at = spoil % bytes.len();
            bytes[at] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            fuzz_index(&bytes);
        }
        compare(&place, &wanted)?;
    }
}

#[test]
fn an_index_of_another_segment_or_an_earlier_state_is_not_used() {
    let place = Place::new();
    let ids = place.write(&[&[&[b'x'; 9_000][..]; 40][..]; 4]);
    let find_all = |what: &str| {
        let mut reader = place.reader();
        assert_eq!(located(&mut reader).iter().map(Located::id).collect::<Vec<_>>(), ids, "{what}");
    };
    find_all("as written");
    let indexes = indexes(&place);
    assert!(indexes.len() > 3, "{} indexes", indexes.len());
    let kept: Vec<Vec<u8>> = indexes.iter().map(|path| fs::read(path).unwrap()).collect();
    for (path, other) in indexes.iter().zip(kept.iter().cycle().skip(1)) {
        fs::write(path, other).unwrap();
    }
    find_all("each with the index of another");
    assert!(indexes.iter().zip(&kept).all(|(path, kept)| fs::read(path).unwrap() == *kept), "they were made again");
    for path in &indexes {
        fs::write(path, b"").unwrap();
    }
    find_all("with empty ones");
    // A segment that is written anew, as retention does, has another time or length.
    let segment = place.segments().remove(0);
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, bytes).unwrap();
    find_all("a segment written anew");
    assert_ne!(fs::read(&indexes[0]).unwrap(), kept[0]);
}

#[test]
fn the_daemon_leaves_an_index_beside_each_segment_that_is_full() {
    let place = Place::new();
    let log = place.open();
    let mut worker = log.worker().unwrap();
    for _ in 0..3 {
        run(exchange(&mut worker, &[&[b'x'; 9_000][..]; 10]));
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let full = place.segments().len() - 1;
    assert!(full > 2);
    while indexes(&place).len() < full {
        assert!(std::time::Instant::now() < deadline, "{:?}", indexes(&place));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    fs::write(place.audit().join("log-00000000000000000001.idx"), b"of nothing").unwrap();
    log.close().unwrap();
    place.write(&[&[]]);
    assert!(!place.audit().join("log-00000000000000000001.idx").exists(), "an index without a segment goes");
    place.intact();
}
