//! Clients in network namespaces that the daemon has never seen, and what is left when they go.

use interceptor_tests::{Lab, OPENAI, Run, body, curl, program, script, wait_until};
use serde_json::Value;

/// Starts a holder of a second network with a way to the endpoint, then runs `inside` there: up to two attempts.
fn in_second_network(unshare: &str, inside: &str) -> String {
    format!(
        "set -e; . {network}
         unshare {unshare} --net sleep 60 & holder=$!
         second_network $holder
         for attempt in 1 2; do
             if {inside}; then echo attempt $attempt; exit 0; fi
             sleep 0.2
         done
         exit 1",
        network = script("second_network.sh"),
    )
}

/// Runs a script that waits for things, which must come to pass within two minutes.
fn patient(lab: &Lab, text: &str) -> Run {
    lab.run(&["timeout", "120", "bash", "-c", text])
}

/// The record of the one request that got through.
fn only_record(lab: &Lab) -> Value {
    let complete: Vec<Value> = lab.records().into_iter().filter(|record| record["state"] == "complete").collect();
    assert_eq!(complete.len(), 1, "{complete:?}");
    complete[0].clone()
}

#[test]
fn a_client_in_a_second_network_namespace_is_captured_and_named() {
    let lab = Lab::new();
    let request =
        format!("curl -4 -sS --max-time 20 {OPENAI} -H content-type:application/json -d '{}'", body("two", false));
    let run = patient(
        &lab,
        &in_second_network(
            "",
            &format!(
                "nsenter --target $holder --net sh -c 'echo $$ > $INTERCEPTOR_STATE/pid; exec {}'",
                request.replace('\'', "'\\''")
            ),
        ),
    );
    assert!(run.ok().contains("You said: two") && run.stdout.contains("attempt"), "{run}");
    let record = only_record(&lab);
    let pid = std::fs::read_to_string(lab.state().join("pid")).expect("the client's pid");
    assert_eq!(record["caller"]["pid"].to_string(), pid.trim(), "{record}");
    assert!(record["caller"]["exe"].as_str().is_some_and(|exe| exe.ends_with("/curl")), "{record}");
    assert_eq!(lab.requests().len(), 1, "it arrived once");
    assert!(lab.journal().contains("listening in network namespace"), "{}", lab.journal());
}

#[test]
fn a_client_in_a_container_is_captured_and_named() {
    let lab = Lab::new();
    // A slow answer, so that the host can look at the process while it waits.
    let run = patient(
        &lab,
        &format!(
            "set -e; . {network}
         cat > $INTERCEPTOR_STATE/inside <<'END'
         mount -t proc proc /proc
         mount -t tmpfs private /mnt
         until ip route get 203.0.113.10 2> /dev/null | grep -q inner; do sleep 0.02; done
         for attempt in 1 2; do
             curl -4 -sSN --max-time 30 {OPENAI} -H content-type:application/json -H 'x-lab-delay-ms: 20' \\
                 -H 'x-lab-tokens: 100' -d '{body}' && exit 0
             sleep 0.2
         done
         exit 1
END
         unshare --net --mount --pid --fork sh $INTERCEPTOR_STATE/inside > $INTERCEPTOR_STATE/answer & container=$!
         second_network $container
         until grep -q data: $INTERCEPTOR_STATE/answer; do sleep 0.02; done
         pgrep --exact curl --ns $(pgrep --parent $container) --nslist pid > $INTERCEPTOR_STATE/pid
         wait $container",
            network = script("second_network.sh"),
            body = body("from a container", true),
        ),
    );
    let _ = run.ok();
    let record = only_record(&lab);
    let pid = std::fs::read_to_string(lab.state().join("pid")).expect("the client's pid");
    assert_eq!(record["caller"]["pid"].to_string(), pid.trim(), "as the host numbers it: {record}");
    assert!(record["caller"]["exe"].as_str().is_some_and(|exe| exe.ends_with("/curl")), "{record}");
    assert!(lab.requests_as_text()[0].contains("from a container"));
}

#[test]
fn a_namespace_without_processes_is_let_go() {
    let lab = Lab::new();
    let run = patient(
        &lab,
        &format!(
            "listeners() {{
             {interceptor} status --check --config $INTERCEPTOR_STATE/lab/config.toml |
                 sed -n 's/.*listeners \\([0-9]*\\) of.*/\\1/p'
         }}
         open() {{ ls /proc/$(cat $INTERCEPTOR_STATE/run/daemon.pid)/fd | wc -l; }}
         # A visit stays until the daemon has surely got to its namespace.
         visit() {{ unshare --net sh -c 'curl -sS --max-time 5 {OPENAI} 2> /dev/null; cat' < <(sleep 5) & }}
         settle() {{ until [ $(listeners) = $1 ]; do sleep 0.2; done; }}
         before=$(listeners)
         visit; settle $((before + 1)); wait; settle $before; opened=$(open)
         for number in 1 2 3 4 5; do visit; done
         until [ $(listeners) = $((before + 5)) ]; do sleep 0.1; done; echo all five listen
         wait; settle $before
         # What a client or the self-test has just used may still be going.
         until [ $(open) -le $opened ]; do sleep 0.2; done; echo all is let go",
            interceptor = program("interceptor").display(),
        ),
    );
    assert_eq!(run.ok(), "all five listen\nall is let go\n", "{run}");
    assert_eq!(lab.journal().matches("has no process any more").count(), 6, "{}", lab.journal());
}

#[test]
fn beyond_the_limit_a_namespace_is_refused_and_that_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("interceptor.toml");
    std::fs::write(&config, "[limits]\nnamespaces = 2\n").expect("a file");
    let lab = Lab::with(&["--config", config.to_str().expect("a path in UTF-8")]);
    // One is taken by the lab's own endpoint, which lives below the enrolled cgroup.
    let run = patient(
        &lab,
        &format!(
            "for number in 1 2 3; do unshare --net sh -c 'curl -sS {OPENAI} 2> /dev/null; cat' < <(sleep 4) & done
         until {interceptor} status --check --config $INTERCEPTOR_STATE/lab/config.toml | grep 'got no listener'; do
             sleep 0.1
         done",
            interceptor = program("interceptor").display(),
        ),
    );
    assert!(run.ok().contains("network namespaces got no listener"), "{run}");
    let journal = lab.journal();
    assert!(journal.contains("gets no listener") && journal.contains("raise limits.namespaces"), "{journal}");
    let answered = lab.run(&curl(OPENAI, &body("still here", false), &[]));
    assert!(answered.ok().contains("still here"), "{answered}");
    wait_until("the lab is gone", || !lab.state().join("run/daemon.pid").exists());
}
