//! The daemon is replaced or started again while its clients' requests run.

use interceptor_tests::{Lab, OPENAI, body, program, script};

/// Shell functions: requests that hold their answers, and what happens to the daemon meanwhile.
pub(super) fn prelude() -> String {
    format!(
        "cd $INTERCEPTOR_STATE
         stream() {{ curl -sSN {OPENAI} -H 'content-type: application/json' -H \"x-lab-hold: $PWD/go\" -d '{streamed}' > stream-$1; }}
         ask() {{ curl -sS -o /dev/null -w '%{{http_code}}' {OPENAI} -H 'content-type: application/json' -d '{whole}'; }}
         begun() {{ until grep -q content stream-$1; do sleep 0.02; done; }}
         pid() {{ cat run/daemon.pid; }}
         upgrade() {{ old=$(pid); kill -HUP $old; until [ $(pid) != $old ]; do sleep 0.02; done; }}
         gone() {{ while kill -0 $1 2>/dev/null; do sleep 0.02; done; }}
         said() {{ until grep -q \"$1\" run/journal.log; do sleep 0.02; done; }}
         ",
        streamed = body("a stream that goes on", true),
        whole = body("one request", false),
    )
}

#[test]
fn streams_run_on_while_the_daemon_is_replaced() {
    const STREAMS: usize = 20;
    let lab = Lab::new();
    let run = lab.sh(&format!(
        "{}
         for n in $(seq {STREAMS}); do stream $n & streams=\"$streams $!\"; done
         for n in $(seq {STREAMS}); do begun $n; done
         first=$(pid); upgrade; second=$(pid)
         echo \"new: $(ask)\"
         stream late & late=$!; begun late
         upgrade; third=$(pid)
         echo \"newest: $(ask)\"
         kill -0 $first && kill -0 $second && kill -0 $third && echo \"three run\"
         touch go
         for stream in $streams $late; do wait $stream || echo \"broken: $?\"; done
         gone $first; gone $second
         echo \"ended: $(grep -l 'DONE' stream-* | wc -l)\"
         [ $(pid) = $third ] && echo \"last: $(ask)\"",
        prelude()
    ));
    let printed = run.ok();
    assert!(!printed.contains("broken"), "{run}");
    for expected in ["new: 200", "newest: 200", "three run", &format!("ended: {}", STREAMS + 1), "last: 200"] {
        assert!(printed.contains(expected), "{expected}: {run}");
    }
    assert!(!run.stderr.contains("the daemon died"), "{run}");
    let records = lab.records();
    assert_eq!(records.len(), STREAMS + 4, "{records:?}");
    assert!(records.iter().all(|record| record["state"] == "complete"), "{records:?}");
    let verified = lab.interceptor(&["log", "verify"]);
    assert_eq!(verified.status, 0, "{verified}");
}

#[test]
fn a_successor_that_fails_leaves_the_old_daemon_serving() {
    let lab = Lab::new();
    let run = lab.sh(&format!(
        "{}
         stream 1 & stream=$!; begun 1
         old=$(pid); cp lab/config.toml good.toml
         echo 'nonsense = 1' >> lab/config.toml
         kill -HUP $old; said 'this daemon goes on.*configuration'
         sed 's/^port = 960/port = 961/' good.toml > lab/config.toml
         kill -HUP $old; said 'listen.port changed from 960 to 961'
         [ $(pid) = $old ] && echo \"old: $(ask)\"
         cp good.toml lab/config.toml
         upgrade; echo \"new: $(ask)\"
         touch go; wait $stream && echo \"stream: whole\"; gone $old",
        prelude()
    ));
    let printed = run.ok();
    for expected in ["old: 200", "new: 200", "stream: whole"] {
        assert!(printed.contains(expected), "{expected}: {run}");
    }
    assert!(lab.records().iter().all(|record| record["state"] == "complete"), "{:?}", lab.records());
    assert_eq!(lab.interceptor(&["log", "verify"]).status, 0);
}

#[test]
fn what_runs_at_the_deadline_is_cut_off_and_recorded_as_aborted() {
    let config = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(config.path(), "[upgrade]\ndrain_s = 1\n").expect("a configuration");
    let lab = Lab::with(&["--config", config.path().to_str().expect("a path in UTF-8")]);
    let run = lab.sh(&format!(
        "{}
         stream 1 & stream=$!; begun 1
         upgrade; gone $old
         wait $stream; echo \"stream: $?\"
         echo \"new: $(ask)\"",
        prelude()
    ));
    let printed = run.ok();
    assert!(printed.contains("new: 200") && !printed.contains("stream: 0"), "{run}");
    let records = lab.records();
    assert_eq!(records.len(), 2, "{records:?}");
    assert_eq!((&records[0]["state"], &records[1]["state"]), (&"aborted".into(), &"complete".into()), "{records:?}");
    assert_eq!(lab.interceptor(&["log", "verify"]).status, 0);
}

#[test]
fn a_kept_connection_is_served_once_more_and_told_to_close() {
    let lab = Lab::new();
    let python = format!(
        "import http.client, os, signal, time
state = os.environ['INTERCEPTOR_STATE']
pid = lambda: int(open(state + '/run/daemon.pid').read())
connection = http.client.HTTPSConnection('api.openai.com', timeout=60)
def ask():
    connection.request('POST', '/v1/chat/completions', '{body}', {{'content-type': 'application/json'}})
    answer = connection.getresponse()
    answer.read()
    print(answer.status, answer.getheader('connection'))
ask()
old = pid()
os.kill(old, signal.SIGHUP)
while pid() == old: time.sleep(0.02)
while 'replaced by process' not in open(state + '/run/journal.log').read(): time.sleep(0.02)
socket = connection.sock
connection.auto_open = False
ask()
while os.path.exists(f'/proc/{{old}}/fd/0'): time.sleep(0.02)
print('gone')",
        body = body("over one connection", false)
    );
    let run = lab.run(&["python3", "-c", &python]);
    assert_eq!(run.ok().lines().collect::<Vec<_>>(), ["200 None", "200 close", "gone"], "{run}");
    assert_eq!(lab.records().len(), 2);
}

#[test]
fn connections_made_while_no_daemon_runs_wait_for_the_next_one() {
    let lab = Lab::new();
    let run = lab.run(&["python3", &script("service_manager.py"), &program("interceptor").to_string_lossy()]);
    let result = run.json();
    let all_answered = serde_json::json!(vec![200; 10]);
    assert_eq!(result["first"], 200, "{result}");
    for when in ["stopped", "killed", "after", "workers_1", "workers_5"] {
        assert_eq!(result[when], all_answered, "{when}: {result}");
    }
    assert_eq!(result["replaced"], 200, "{result}");
    assert_eq!(result["told_of_stopping"], true, "{result}");
    assert!(result["names"].as_array().is_some_and(|names| !names.is_empty()), "its listeners: {result}");
    assert_eq!(result["names"], result["names_at_the_end"], "the same all along: {result}");
    assert!(lab.records().iter().all(|record| record["state"] == "complete"), "{:?}", lab.records());
    assert_eq!(lab.interceptor(&["log", "verify"]).status, 0);
}
