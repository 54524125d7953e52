//! Records on their way to another host, from a host on which everything is captured, while the daemon is replaced.

use super::elsewhere::{Elsewhere, FOREIGN};
use super::upgrade::prelude;

/// The lab's whole cgroup is strict, the daemon's own included; the port that HTTP is spoken on elsewhere takes anything.
const CONFIG: &str = "\
[capture]
strict = ['.']
[[sink]]
name = 'hook'
type = 'webhook'
url = 'http://203.0.113.200/hook'
plaintext = true
secret_file = 'SECRET'
";

/// The ids of the records in what reached the receiver, each where it came first.
fn ids(arrived: &[Vec<u8>]) -> Vec<String> {
    let mut ids = Vec::new();
    for line in arrived.iter().flat_map(|bytes| bytes.split(|&byte| byte == b'\n')) {
        let Some(rest) = line.strip_prefix(br#"{"id":""#) else { continue };
        let id = String::from_utf8_lossy(&rest[..36]).into_owned();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

#[test]
fn records_reach_a_receiver_in_order_from_a_strict_host_and_over_upgrades() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "0123456789abcdef0123456789abcdef").expect("a secret");
    let elsewhere = Elsewhere::new(&CONFIG.replace("SECRET", secret.path().to_str().expect("UTF-8")));
    // Six before the first upgrade, a stream over it, six between the two, six after the second, and one to elsewhere.
    let run = elsewhere.sh(&format!(
        "{}
         six() {{ for n in 1 2 3 4 5 6; do ask; done; echo; }}
         sent() {{ cat $DIR/80-* | grep -ao '^{{\"id\":\"[^\"]*\"' | sort -u | wc -l; }}
         six; {FOREIGN}; echo
         stream 1 & stream=$!; begun 1
         upgrade; first=$old
         six; touch go; wait $stream; gone $first
         upgrade; gone $old
         six
         for n in $(seq 600); do [ $(sent) = 20 ] && break; sleep 0.1; done
         echo \"sent: $(sent)\"",
        prelude()
    ));
    let printed = run.ok();
    assert_eq!(printed.matches("200200200200200200").count(), 3, "{run}");
    assert!(printed.contains("sent: 20"), "{run}\n{}", elsewhere.lab.journal());

    let records = elsewhere.lab.records();
    let id = |record: &serde_json::Value| record["id"].as_str().expect("an id").to_owned();
    // What the sink itself sent would be a record, too: one more for each of its connections.
    assert_eq!(records.len(), 20, "{records:#?}");
    let foreign: Vec<_> = records.iter().filter(|record| record["endpoint"]["host"] == "foreign.example").collect();
    assert!(foreign.len() == 1 && foreign[0]["decision"]["rule"] == "connection.foreign_name", "{foreign:#?}");
    let is_to_endpoint = |record: &&serde_json::Value| record["endpoint"]["host"] == "api.openai.com";
    let mut expected: Vec<String> = records.iter().filter(is_to_endpoint).map(id).collect();
    assert_eq!(expected.len(), 19, "{records:#?}");
    // The stream began before the second six, and ended after them.
    expected[6..13].rotate_left(1);

    let mut arrived = ids(&elsewhere.arrived("80"));
    let foreign = id(foreign[0]);
    assert!(arrived.contains(&foreign));
    arrived.retain(|id| *id != foreign);
    assert_eq!(arrived, expected);
    assert_eq!(elsewhere.lab.interceptor(&["log", "verify"]).status, 0);
}
