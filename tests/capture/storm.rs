//! Very many short connections from very many short-lived processes.

use std::collections::HashMap;

use serde_json::Value;

use crate::host::{DIRECT_V4, DIRECT_V6, Direct, Host};
use crate::table::Programs;

/// How many processes there are; `cargo xtask soak connections` asks for more.
const PROCESSES: &str = "INTERCEPTOR_TEST_PROCESSES";

const CONCURRENT: usize = 50;
const EACH: usize = 5;

#[test]
fn storm_of_short_lived_processes() {
    let Some(host) = Host::new() else { return };
    let processes: usize = match std::env::var(PROCESSES) {
        Ok(number) => number.parse().unwrap_or_else(|error| panic!("{PROCESSES}: {error}")),
        Err(_) => 2_000,
    };
    let direct = [Direct::listen(DIRECT_V4, 443), Direct::listen(DIRECT_V6, 443)];
    let mut daemon = host.daemon(&["203.0.113.0/24,443", "2001:db8::20/128,443"]);
    let programs = Programs::new(4);
    let mut storm = host.in_cgroup("client", programs.client.to_str().expect("a path in UTF-8"));
    let destinations = format!("{DIRECT_V4}:443,[{DIRECT_V6}]:443,203.0.113.77:443");
    storm.args(["storm", &processes.to_string(), &CONCURRENT.to_string(), &EACH.to_string(), &destinations]);
    let output = storm.args(&programs.copies).output().expect("the client runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let text = String::from_utf8(output.stdout).expect("text");
    let made: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(made.len(), processes * EACH);
    let mut recorded: HashMap<u64, Value> = HashMap::new();
    for line in daemon.collect("flow", made.len()) {
        let cookie = line["flow"]["socket_cookie"].as_u64().expect("a cookie");
        assert!(recorded.insert(cookie, line).is_none(), "two flows of one socket");
    }
    for connection in &made {
        let line = recorded.remove(&connection["cookie"].as_u64().expect("a cookie"));
        let line = line.unwrap_or_else(|| panic!("no record of {connection}"));
        let (flow, caller) = (&line["flow"], &line["caller"]);
        assert_eq!(flow["tgid"], connection["pid"], "{connection}: {line}");
        assert_eq!(flow["original"], connection["original"], "{connection}: {line}");
        assert_eq!(caller["exe"], connection["exe"], "{connection}: {line}");
    }
    assert!(recorded.is_empty(), "records of connections that nobody made: {recorded:?}");
    assert_eq!(daemon.ask("waiting"), 0, "the map is empty again");
    let stats = daemon.ask("stats");
    assert_eq!((&stats["Redirected"], &stats["FlowLost"]), (&made.len().into(), &0.into()), "{stats}");
    assert_eq!(direct.map(|server| server.connections()), [0, 0]);
}
