//! The internal CA is rotated under clients that trust the old one, the new one, or both.

use interceptor_tests::{Lab, OPENAI, body};

#[test]
fn the_ca_is_rotated_without_a_client_that_trusts_both_noticing() {
    let lab = Lab::new();
    let run = lab.sh(&format!(
        "cd $INTERCEPTOR_STATE; umask 022; trusted=$(mktemp -d)
         rotate() {{ interceptor ca rotate --config lab/config.toml \"$@\"; }}
         # 200, or the error of curl: 60 is a certificate that does not chain to what it trusts.
         ask() {{ curl -sS -o /dev/null -w '%{{http_code}}' --capath /nonexistent --cacert $trusted/$1 {OPENAI} \
             -H 'content-type: application/json' -d '{body}' 2>/dev/null || echo \" curl $?\"; }}
         stage() {{ echo \"$1: old $(ask old), new $(ask new), both $(ask both)\"; }}
         interceptor ca show > $trusted/old
         rotate > announced; interceptor ca show --next > $trusted/new; cat $trusted/old $trusted/new > $trusted/both
         stage announced
         interceptor ca show --json
         rotate --activate > activated
         stage activated
         pid() {{ cat run/daemon.pid; }}
         old=$(pid); kill -HUP $old; until [ $(pid) != $old ] || grep 'the upgrade failed' run/journal.log; do sleep 0.02; done
         stage reloaded
         interceptor ca show --json
         rotate --discard --json
         rm -r $trusted",
        body = body("hello", false),
    ));
    let printed = run.ok();
    let expected = [
        "announced: old 200, new 000 curl 60, both 200",
        "activated: old 200, new 000 curl 60, both 200",
        "reloaded: old 000 curl 60, new 200, both 200",
    ];
    for expected in expected {
        assert!(printed.contains(expected), "{expected}: {run}");
    }
    let shown: Vec<serde_json::Value> = printed
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let roles = |document: &serde_json::Value| {
        let list = document["certificates"].as_array().expect("certificates").clone();
        list.iter().map(|one| one["role"].as_str().expect("a role").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(roles(&shown[0]), ["signs", "next"], "{run}");
    assert_eq!(roles(&shown[1]), ["signs", "previous"], "{run}");
    assert_eq!(shown[0]["certificates"][1]["fingerprint_sha256"], shown[1]["fingerprint_sha256"], "{run}");
    assert_eq!(shown[1]["names"].as_array().map(Vec::len), Some(4), "the lab's names: {run}");
    assert_eq!(shown[2]["done"], "nothing", "{run}");
    // Who refused, and why, is on record.
    let records = lab.records();
    let refused: Vec<_> = records.iter().filter(|record| record["decision"]["rule"] == "tls.handshake").collect();
    assert_eq!(refused.len(), 3, "{records:?}");
    for record in refused {
        let reason = record["decision"]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("refused the internal CA") && reason.contains("UnknownCA"), "{record}");
        assert_eq!(record["caller"]["exe"], "/usr/bin/curl", "{record}");
    }
    assert_eq!(lab.interceptor(&["ca", "show", "--next"]).status, 2);
    let again = lab.interceptor(&["ca", "rotate", "--activate"]);
    assert!(again.status == 2 && again.stderr.contains("no next CA"), "{again}");
}
