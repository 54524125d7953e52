//! What somebody may try who can write the log's files, but has no key: on a real log, judged by the real command.

mod attacks;
#[path = "../forge/mod.rs"]
mod forge;
mod place;

use std::io::Write as _;
use std::time::Instant;

use attacks::{ATTACKS, Attack};
use place::Place;

/// Whether the suite is to run at full size: `cargo xtask soak log-attack`.
fn full() -> bool {
    std::env::var("INTERCEPTOR_TEST_AUDIT").is_ok_and(|asked| asked.split(' ').any(|word| word == "attack"))
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("stdout");
}

#[test]
fn attack_suite() {
    let place = if full() { Place::written(1_000_000, 64 << 20) } else { Place::written(60, 64 << 10) };
    if full() {
        speed(&place);
    }
    let verified = place.verify();
    assert_eq!(verified.status, Some(0), "{verified:?}");
    for attack in ATTACKS {
        let named = (attack.run)(&place);
        let verdict = place.verify();
        say(&format!("{}: {}", attack.name, verdict.said.lines().next().unwrap_or_default()));
        judge(attack, &named, &verdict);
        place.undo();
    }
    let verified = place.verify();
    assert_eq!(verified.status, Some(0), "all was undone: {verified:?}");
    say(&format!("{} attacks on {} records, each found and named", ATTACKS.len(), place.records));
}

fn judge(attack: &Attack, named: &str, verdict: &place::Verdict) {
    assert_eq!(verdict.status, Some(1), "{}: {verdict:?}", attack.name);
    assert!(
        verdict.said.contains("NOT INTACT") && verdict.said.contains(named),
        "{} ({named}): {verdict:?}",
        attack.name
    );
}

/// How fast everything is verified, from the disk and from memory.
fn speed(place: &Place) {
    for (name, cold) in [("cold", true), ("warm", false), ("warm", false)] {
        if cold {
            place.forget();
        }
        let started = Instant::now();
        let verified = place.verify();
        assert_eq!(verified.status, Some(0), "{verified:?}");
        let (bytes, took) = (place.bytes() as f64, started.elapsed().as_secs_f64());
        say(&format!(
            "{} records, {:.2} GB verified {name}, indexes and all, in {took:.2} s: {:.2} GB/s",
            place.records,
            bytes / 1e9,
            bytes / 1e9 / took
        ));
        say(&verified.said);
    }
}
