//! `interceptor status` tells the truth, and `interceptor unenroll` takes everything away.

use interceptor_tests::{Lab, OPENAI, Run, body, program, script};

/// Runs a shell script in the lab in which `status` is `interceptor status` with the lab's configuration.
fn with_status(lab: &Lab, text: &str) -> Run {
    let script = format!(
        "interceptor() {{ command=$1; shift; {interceptor} $command --config $INTERCEPTOR_STATE/lab/config.toml \"$@\"; }}
         status() {{ interceptor status \"$@\"; }}
         request() {{ curl -sS --max-time 20 {OPENAI} -H content-type:application/json -d '{body}' \"$@\" 2>&1; }}
         daemon() {{ cat $INTERCEPTOR_STATE/run/daemon.pid; }}
         links() {{ echo /sys/fs/bpf/interceptor/lab-*/v*/links; }}
         {text}",
        interceptor = program("interceptor").display(),
        body = body("hello", false),
    );
    lab.run(&["timeout", "120", "bash", "-c", &script])
}

#[test]
fn a_daemon_that_works_is_healthy() {
    let lab = Lab::new();
    let run = with_status(&lab, "request > /dev/null; status --check > /dev/null || exit 1; status --check --json");
    let status = run.json();
    assert_eq!(status["state"], "healthy", "{status}");
    assert_eq!(status["reasons"], serde_json::json!([]));
    assert_eq!((&status["self_test"]["ipv4"], &status["self_test"]["ipv6"]), (&"answered".into(), &"answered".into()));
    assert!(status["counters"]["Redirected"].as_u64() > Some(2), "{status}");
    assert!(status["endpoints"]["addresses"].as_u64() >= Some(8), "{status}");
    assert!(!status["workers"].as_array().expect("a list").is_empty(), "{status}");
    assert_eq!(lab.records().len(), 1, "a self-test leaves no record");
}

#[test]
fn a_detached_program_degrades() {
    let lab = Lab::new();
    let run = with_status(
        &lab,
        &format!("python3 {} detach $(links)/connect6; status --check; echo \"exit $?\"", script("kernel.py")),
    );
    let text = run.ok();
    assert!(text.contains("degraded since") && text.contains("exit 1"), "{run}");
    assert!(text.contains("kernel program connect6 is detached") && text.contains("restart the daemon"), "{run}");
    assert!(text.contains("a test connection over IPv6 did not come through"), "{run}");
    assert!(lab.journal().contains("degraded: kernel program connect6"), "{}", lab.journal());
}

#[test]
fn a_program_of_someone_else_that_denies_is_named() {
    let lab = Lab::new();
    let run = with_status(
        &lab,
        &format!(
            "cgroup=$(dirname $(find /sys/fs/cgroup -path '*interceptor-lab*' -name cgroup.procs \\
                 -exec grep -lx $(daemon) {{}} + 2> /dev/null))
             mkfifo $INTERCEPTOR_STATE/hold
             python3 {script} deny $cgroup < $INTERCEPTOR_STATE/hold > $INTERCEPTOR_STATE/said &
             exec 3> $INTERCEPTOR_STATE/hold
             until grep -q denying $INTERCEPTOR_STATE/said; do sleep 0.05; done
             status --check; echo \"exit $?\"
             exec 3>&-; wait
             status --check > /dev/null; echo \"then $?\"",
            script = script("kernel.py"),
        ),
    );
    let text = run.ok();
    assert!(text.contains("a test connection over IPv4 did not come through: a program that is not ours"), "{run}");
    assert!(text.contains("deny_all (id") && text.contains("at connect4") && text.contains("exit 1"), "{run}");
    assert!(text.ends_with("then 0\n"), "it recovers by itself: {run}");
}

#[test]
fn a_killed_daemon_is_stopped_until_the_host_is_unenrolled() {
    let lab = Lab::new();
    let run = with_status(
        &lab,
        "interceptor unenroll 2>&1; echo \"running: $?\"
         pid=$(daemon); kill -9 $pid; while [ -d /proc/$pid ]; do sleep 0.02; done
         status; echo \"killed: $?\"
         status --json | grep -o '\"state\":\"stopped\"'
         request; echo \"refused: $?\"
         interceptor unenroll; echo \"unenrolled: $?\"
         status; echo \"gone: $?\"
         interceptor unenroll; echo \"again: $?\"
         request --cacert $INTERCEPTOR_STATE/lab/endpoint-ca.pem; echo; echo \"direct: $?\"",
    );
    let text = run.ok();
    let (running, rest) = text.split_once("running: 2\n").unwrap_or_else(|| panic!("{run}"));
    assert!(running.contains("a daemon (process ") && running.contains("--force"), "{run}");
    let (killed, rest) = rest.split_once("killed: 1\n").unwrap_or_else(|| panic!("{run}"));
    assert!(killed.contains("stopped") && killed.contains("8 destinations captured"), "{run}");
    assert!(killed.contains("refused") && !killed.contains(" 0 programs attached"), "{run}");
    assert!(rest.contains("\"state\":\"stopped\"") && rest.contains("refused: 7"), "{run}");
    let (_, rest) = rest.split_once("programs detached").unwrap_or_else(|| panic!("{run}"));
    assert!(rest.contains("unenrolled: 0") && rest.contains("connections go direct\n"), "{run}");
    assert!(rest.contains("gone: 1") && rest.contains("this host is not enrolled\nagain: 0"), "{run}");
    assert!(rest.contains("You said: hello") && rest.contains("direct: 0"), "{run}");
}

#[test]
fn a_stopped_process_means_refused_and_continuing_it_serves_again() {
    let lab = Lab::new();
    let run = with_status(
        &lab,
        "request > /dev/null || exit 1
         kill -STOP $(daemon)
         # Those of the first two seconds wait in the backlog.
         until request --max-time 1 > /dev/null; [ $? = 7 ]; do sleep 0.2; done; echo refused
         status; echo \"stopped: $?\"
         kill -CONT $(daemon)
         until request; do sleep 0.1; done; echo
         until status --check > /dev/null; do sleep 0.5; done; echo healthy",
    );
    let text = run.ok();
    assert!(text.starts_with("refused\nstate       degraded"), "{run}");
    assert!(text.contains("the daemon does not answer") && text.contains("stopped: 1"), "{run}");
    assert!(text.contains("You said: hello") && text.ends_with("healthy\n"), "{run}");
}

#[test]
fn without_permission_it_cannot_be_told() {
    let lab = Lab::new();
    let run = with_status(
        &lab,
        &format!(
            "setpriv --reuid=65534 --regid=65534 --clear-groups {} status 2>&1; echo \"exit $?\"",
            program("interceptor").display()
        ),
    );
    assert!(run.ok().contains("exit 2") && run.stdout.contains("only root"), "{run}");
}
