//! When alerts are raised, and when not.

use serde_json::json;

use super::*;
use crate::audit::FindingCount;
use crate::flow::Action;

fn rules(text: &str) -> Rules {
    #[derive(serde::Deserialize)]
    struct File {
        alert: Vec<AlertRule>,
    }
    let file: File = toml::from_str(text).unwrap();
    AlertRule::check(&file.alert).unwrap();
    let severities = [("card.pan".to_owned(), Severity::High), ("net.ip".to_owned(), Severity::Low)];
    Rules::new(file.alert, severities.into())
}

const BURST: &str = "[[alert]]\nname = 'burst'\nwhen = 'findings'\nseverity = 'high'\ncount = 10\nwindow_s = 60";

/// `uid` sends `count` findings of `rule` at this second.
fn record(second: u64, uid: u32, (rule, count): (&str, u64)) -> Record {
    let mut record = Record::new(ExchangeId::new());
    record.time = Time::from_unix_ns(second * SECOND);
    record.caller.uid = Some(uid);
    record.caller.exe = Some("/usr/bin/curl".into());
    record.endpoint.host = Some("api.openai.com".into());
    record.findings =
        vec![FindingCount { entity: "CREDIT_CARD".into(), rule: rule.into(), count, action: Action::Mask }];
    record
}

/// What is due, raised.
fn raise(rules: &mut Rules) -> Vec<Alert> {
    let due: Vec<Alert> = rules.due().cloned().collect();
    due.iter().for_each(|alert| rules.raised(alert));
    due
}

fn note(alert: &Alert) -> Note {
    let mut content = json!(alert);
    content["event"] = "alert".into();
    Note { sequence: 1, leaf_hash: String::new(), time: alert.time, content }
}

#[test]
fn a_burst_is_told_once_a_window_and_caller_with_what_came_after() {
    let mut rules = rules(BURST);
    let (mut raised, mut suppressed) = (Vec::new(), 0);
    for second in 0..61 {
        let found = rules.record(&record(1000 + second, 1000, ("card.pan", 5)));
        suppressed += found.iter().map(|found| found.count).sum::<u64>();
        raised.extend(raise(&mut rules));
    }
    assert_eq!(raised.len(), 1);
    assert_eq!((raised[0].count, raised[0].suppressed, raised[0].records.len()), (10, 0, 2));
    assert_eq!(raised[0].reason, "10 findings of 1000/curl within 60 s");
    assert_eq!(raised[0].types, BTreeMap::from([("CREDIT_CARD".to_owned(), 10)]));
    assert_eq!(suppressed, 59 * 5);
    rules.record(&record(1061, 1000, ("card.pan", 5)));
    rules.record(&record(1062, 1000, ("card.pan", 5)));
    let again = raise(&mut rules);
    assert_eq!((again.len(), again[0].suppressed), (1, 59 * 5));
    rules.record(&record(1062, 1001, ("card.pan", 10)));
    assert_eq!(raise(&mut rules)[0].key, "uid:1001", "another caller");
}

#[test]
fn what_is_spread_over_more_than_the_window_or_is_not_meant_raises_nothing() {
    let mut rules = rules(BURST);
    for second in 0..100 {
        rules.record(&record(1000 + second * 7, 1000, ("card.pan", 1)));
        rules.record(&record(1000 + second * 7, 1000, ("net.ip", 100)));
    }
    assert!(raise(&mut rules).is_empty(), "nine within any 60 s");
    rules.record(&record(1695, 1000, ("card.pan", 1)));
    rules.record(&record(1696, 1000, ("a.rule.that.is.gone", 1)));
    assert_eq!(raise(&mut rules).len(), 1);
}

#[test]
fn a_window_is_about_any_seconds_not_about_whole_minutes() {
    let mut rules = rules(BURST);
    for second in [1050, 1059, 1060, 1061, 1062] {
        rules.record(&record(second, 1000, ("card.pan", 2)));
    }
    assert_eq!(raise(&mut rules).len(), 1);
}

#[test]
fn one_that_reads_the_log_again_knows_what_was_raised() {
    let mut first = rules(BURST);
    let records: Vec<Record> = (0..30).map(|second| record(1000 + second, 1000, ("card.pan", 5))).collect();
    let mut log = Vec::new();
    for record in &records {
        first.record(record);
        log.extend(raise(&mut first));
    }
    assert_eq!(log.len(), 1);
    // The notes stand behind the records that raised them.
    for begin in [0, 1, 2, 20] {
        let mut second = rules(BURST);
        records[begin..].iter().for_each(|record| drop(second.record(record)));
        log.iter().for_each(|alert| second.note(&note(alert)));
        assert!(raise(&mut second).is_empty(), "from record {begin} on");
    }
    // And one that was never raised is.
    let mut third = rules(BURST);
    records.iter().for_each(|record| drop(third.record(record)));
    assert_eq!(raise(&mut third), log);
}

#[test]
fn an_alert_that_the_log_does_not_take_is_due_until_it_does() {
    let mut rules = rules("alert = []");
    let at = |second| Time::from_unix_ns(second * SECOND);
    assert_eq!(rules.tell(DEGRADED, "audit_log", 1, "no room".into(), at(1000)), None);
    assert_eq!(rules.due().count(), 1);
    let quiet = Suppressed { rule: DEGRADED.into(), count: 1 };
    assert_eq!(rules.tell(DEGRADED, "audit_log", 1, "no room".into(), at(1100)), Some(quiet));
    rules.tell(DEGRADED, "audit_log", 1, "no room".into(), at(1700));
    let due = raise(&mut rules);
    assert_eq!((due.len(), due[0].suppressed), (1, 2));
    assert_eq!(rules.due().count(), 0);
}

#[test]
fn the_daemons_own_rules_need_no_configuration() {
    let mut rules = rules("alert = []");
    let mut refused = record(1000, 1000, ("card.pan", 1));
    refused.decision.rule = Some("tls.handshake".into());
    refused.decision.reason = Some("the client does not trust the CA".into());
    let mut certificate = record(1000, 1000, ("card.pan", 1));
    certificate.decision.rule = Some("upstream.certificate".into());
    let mut damaged = record(1000, 1000, ("card.pan", 1));
    damaged.log.damaged = true;
    [refused, certificate, damaged].iter().for_each(|record| drop(rules.record(record)));
    let raised = raise(&mut rules);
    let told: Vec<_> = raised.iter().map(|alert| (alert.name.as_str(), alert.key.as_str())).collect();
    assert_eq!(told, [(CLIENT_REFUSED, "uid:1000"), (ENDPOINT_REFUSED, "api.openai.com"), (LOG_DAMAGED, "")]);
    assert_eq!(raised[0].reason, "the client does not trust the CA");
}

#[test]
fn callers_without_end_do_not_take_memory_without_end() {
    let mut rules = rules(BURST);
    for uid in 0..3 * KEYS as u32 {
        rules.record(&record(1000, uid, ("card.pan", 1)));
    }
    assert!(rules.windows.len() <= KEYS + 1);
    assert_eq!(raise(&mut rules)[0].key, OTHERS);
    // An hour later they count for nothing.
    rules.record(&record(8000, 1, ("card.pan", 1)));
    rules.record(&record(8000, 90_000, ("card.pan", 10)));
    assert_eq!(raise(&mut rules)[0].key, "uid:90000");
}

#[test]
fn what_is_counted_in_a_window_takes_memory_for_its_slices_only() {
    let mut rules = rules("[[alert]]\nname = 'much'\nwhen = 'requests'\ncount = 1000000\nper = 'host'");
    for number in 0..10_000 {
        rules.record(&record(1000 + number / 200, 1000, ("card.pan", 1)));
    }
    let slices = &rules.windows[&("much".to_owned(), String::new())];
    assert!(slices.len() as u64 <= SLICES + 1, "{}", slices.len());
    assert_eq!(slices.iter().map(|slice| slice.count).sum::<u64>(), 10_000);
}

#[test]
fn a_clock_that_was_ahead_silences_nothing_once_it_is_put_right() {
    let mut rules = rules(BURST);
    let ahead = 1_000_000_000;
    rules.record(&record(ahead, 1000, ("card.pan", 50)));
    let [early] = raise(&mut rules).try_into().unwrap();
    // Counted, but not enough for an alert.
    rules.record(&record(ahead, 1001, ("card.pan", 9)));
    assert!(rules.record(&record(1000, 1000, ("card.pan", 50))).is_empty());
    let [right] = raise(&mut rules).try_into().unwrap();
    rules.record(&record(1000, 1001, ("card.pan", 9)));
    assert!(raise(&mut rules).is_empty());
    // It is quiet again, also for who reads the log later.
    assert_eq!(rules.record(&record(1001, 1000, ("card.pan", 50))).len(), 1);
    let mut later = self::rules(BURST);
    later.note(&note(&early));
    later.note(&note(&right));
    assert_eq!(later.record(&record(1001, 1000, ("card.pan", 50))).len(), 1);
    assert!(raise(&mut later).is_empty());
}
