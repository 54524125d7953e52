//! Sinks and real receivers, both killed and started again and again: nothing is lost, the order is kept, and what comes
//! twice is counted.
//!
//! Run without a harness: this program starts itself as the process that writes a log and sends it.
#![expect(clippy::print_stdout, reason = "what the test saw is its output")]

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "sinks/receivers.rs"]
mod receivers;
#[path = "sinks/worker.rs"]
mod worker;

use receivers::{RECEIVERS, Receiver};
use worker::{WORKER, Worker};

/// How often both sides are killed, unless this variable says otherwise.
const ROUNDS_VARIABLE: &str = "INTERCEPTOR_TEST_ROUNDS";
const ROUNDS: u32 = 6;

fn main() -> ExitCode {
    if let Some(dir) = std::env::var_os(WORKER) {
        worker::run(Path::new(&dir));
        return ExitCode::SUCCESS;
    }
    let rounds = std::env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |rounds| rounds.parse().expect("a number of rounds"));
    // Words are filters; what begins with a dash, and its number, is for cargo's own harness.
    let is_filter = |word: &String| !word.starts_with('-') && word.parse::<u32>().is_err();
    let wanted: Vec<String> = std::env::args().skip(1).filter(is_filter).collect();
    // Most of the time each waits.
    std::thread::scope(|scope| {
        for kind in RECEIVERS {
            if wanted.is_empty() || wanted.iter().any(|word| kind.name().contains(word.as_str())) {
                scope.spawn(move || nothing_is_lost(kind, rounds));
                if kind.wants_certificates() {
                    scope.spawn(move || a_receiver_that_knows_its_clients_takes_from_no_other(kind));
                }
            }
        }
    });
    if wanted.is_empty() || wanted.iter().any(|word| "poison".contains(word.as_str())) {
        one_refused_record_holds_nothing_up("poison", 0);
        // Who refuses everything from then on, after it has taken some, is waited for.
        one_refused_record_holds_nothing_up("shut", 1);
    }
    ExitCode::SUCCESS
}

/// What the test knows to have been recorded.
#[derive(Default)]
struct Recorded {
    begun: HashSet<String>,
    /// In the order of their ends.
    ended: Vec<String>,
}

impl Recorded {
    fn take(&mut self, lines: Vec<String>) {
        for line in lines {
            match line.split_once(' ').expect("WORD ID") {
                ("begun", id) => drop(self.begun.insert(id.to_owned())),
                ("ended", id) => self.ended.push(id.to_owned()),
                (word, _) => panic!("the worker said {word:?}"),
            }
        }
    }
}

fn nothing_is_lost(kind: receivers::Kind, rounds: u32) {
    let place = tempfile::tempdir().expect("a directory");
    let mut receiver = Receiver::start(kind, place.path());
    worker::prepare(place.path(), &receiver.configuration());
    let mut recorded = Recorded::default();
    for round in 0..rounds {
        let mut worker = Worker::start(place.path(), "write");
        // A different moment each time; sometimes the one dies first, sometimes the other.
        std::thread::sleep(std::time::Duration::from_millis(700 + u64::from(round % 7) * 170));
        if round % 2 == 0 {
            receiver.kill();
            std::thread::sleep(std::time::Duration::from_millis(u64::from(round % 5) * 150));
            recorded.take(worker.kill());
        } else {
            recorded.take(worker.kill());
            receiver.kill();
        }
        receiver.restart();
    }
    receiver.calm();
    recorded.take(Worker::start(place.path(), "drain").finish());
    receiver.settle();
    check(kind, &recorded, &receiver.taken());
}

/// Without its certificate a sink waits, and with it it sends all.
fn a_receiver_that_knows_its_clients_takes_from_no_other(kind: receivers::Kind) {
    let place = tempfile::tempdir().expect("a directory");
    let mut receiver = Receiver::start(kind, place.path());
    receiver.calm();
    worker::prepare(place.path(), &receiver.without_certificate());
    let mut recorded = Recorded::default();
    let mut worker = Worker::start(place.path(), "write");
    std::thread::sleep(std::time::Duration::from_secs(3));
    recorded.take(worker.kill());
    receiver.settle();
    assert_eq!(receiver.taken(), [""; 0], "{}", kind.name());
    worker::configure(place.path(), &receiver.configuration());
    recorded.take(Worker::start(place.path(), "drain").finish());
    receiver.settle();
    check(kind, &recorded, &receiver.taken());
}

/// All that was recorded was taken, in the order in which it ended.
fn check(kind: receivers::Kind, recorded: &Recorded, taken: &[String]) {
    let name = kind.name();
    let mut first = HashMap::new();
    let records: Vec<&String> = taken.iter().filter(|id| *id != "checkpoint").collect();
    for id in &records {
        let place = first.len();
        first.entry((*id).clone()).or_insert(place);
    }
    for id in &recorded.begun {
        assert!(first.contains_key(id), "{name}: {id} is lost");
    }
    let places: Vec<usize> = recorded.ended.iter().map(|id| first[id]).collect();
    assert!(places.is_sorted(), "{name}: the order is not that in which records ended");
    // A store of objects is asked by their names.
    if kind != receivers::Kind::S3 {
        let goes_on = |pair: &[&String]| first[pair[1]] <= first[pair[0]] + 1;
        assert!(records.windows(2).all(goes_on), "{name}: what came again did not go on from there");
    }
    assert!(!recorded.ended.is_empty(), "{name}: nothing was recorded");
    let checkpoints = taken.len() - records.len();
    assert!(checkpoints > 0, "{name}: no checkpoint was sent");
    println!(
        "{name}: {} records, none lost, in order; {} came twice; {checkpoints} checkpoints",
        first.len(),
        records.len() - first.len()
    );
}

/// A record that the receiver refuses for good, with so many `after` it, is named, and the others go on.
fn one_refused_record_holds_nothing_up(mode: &str, after: usize) {
    let place = tempfile::tempdir().expect("a directory");
    let mut receiver = Receiver::start(receivers::Kind::Webhook, place.path());
    receiver.calm();
    worker::prepare(place.path(), &receiver.configuration());
    let mut recorded = Recorded::default();
    recorded.take(Worker::start(place.path(), mode).finish());
    let taken = receiver.taken();
    let mut others = recorded.ended;
    let poisoned = others.remove(others.len() - 1 - after);
    let records: Vec<&String> = taken.iter().filter(|id| *id != "checkpoint").collect();
    assert!(records.iter().copied().eq(&others), "every other record was taken, once and in order");
    let named: PathBuf = place.path().join("state/webhook.undeliverable");
    let named = std::fs::read_to_string(named).expect("the refused record is named");
    assert!(named.lines().count() == 1 && named.contains(&poisoned), "{named}");
    println!("{mode}: {} records taken, one named as refused", others.len());
}
