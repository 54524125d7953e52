//! What scripts rely on when they call `cargo xtask lab`.

use std::io::Write as _;
use std::process::Stdio;

use interceptor_tests::{Lab, OPENAI, Run, body, client, curl};

#[test]
fn the_exit_status_is_the_commands() {
    let lab = Lab::new();
    for (client, status) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 42"], 42),
        (&["sh", "-c", "kill -9 $$"], 128 + 9),
        (&["sh", "-c", "kill -15 $$"], 128 + 15),
        (&["/nonexistent/command"], 127),
        (&["no-such-command-anywhere"], 127),
    ] {
        let run = lab.run(client);
        assert_eq!(run.status, status, "{client:?}: {run}");
    }
}

#[test]
fn a_failing_lab_exits_with_125_and_says_why() {
    for (options, why) in [
        (["--config", "/nonexistent/interceptor.toml"], "/nonexistent/interceptor.toml"),
        (["--upstream", "not-an-address"], "HOST:PORT"),
    ] {
        let run = Lab::with(&options).run(&["true"]);
        assert_eq!(run.status, 125, "{run}");
        assert!(run.stderr.contains(why), "{run}");
    }
}

#[test]
fn a_daemon_that_does_not_start_fails_the_lab_with_its_own_words() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("interceptor.toml");
    std::fs::write(&config, "[audit]\nno_such_key = true\n").expect("a file");
    let run = Lab::with(&["--config", config.to_str().expect("a path in UTF-8")]).run(&["true"]);
    assert_eq!(run.status, 125, "{run}");
    assert!(run.stderr.contains("no_such_key"), "{run}");
}

#[test]
fn the_command_keeps_arguments_directory_input_and_environment() {
    let lab = Lab::new();
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().canonicalize().expect("a path");
    let mut command =
        lab.command(&["sh", "-c", r#"pwd; echo "$1|$2|$3"; echo "$OWN"; cat"#, "sh", "a b", "--state", "*"]);
    command.current_dir(&directory).env("OWN", "kept").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the lab runs");
    child.stdin.take().expect("piped").write_all(b"from outside").expect("the lab takes input");
    let run = Run::of(child.wait_with_output().expect("the lab ends"));
    let expected = format!("{}\na b|--state|*\nkept\nfrom outside", directory.display());
    assert_eq!(run.ok(), expected, "stdout is the command's alone");
}

#[test]
fn the_environment_names_the_state_and_a_bundle_of_all_roots() {
    let lab = Lab::new();
    let run = lab.sh(
        "echo $INTERCEPTOR_STATE; echo ${SSL_CERT_DIR-unset}
         for name in SSL_CERT_FILE CURL_CA_BUNDLE REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS AWS_CA_BUNDLE PIP_CERT GIT_SSL_CAINFO \
             GRPC_DEFAULT_SSL_ROOTS_FILE_PATH; do
             grep -c 'BEGIN CERTIFICATE' ${!name}
         done",
    );
    let mut lines = run.ok().lines();
    assert_eq!(lines.next(), lab.state().to_str());
    assert_eq!(lines.next(), Some("unset"));
    let counts: Vec<u32> = lines.map(|line| line.parse().expect("a number")).collect();
    assert_eq!(counts.len(), 8);
    assert!(counts.iter().all(|&count| count > 1 && count == counts[0]), "{counts:?}");
}

#[test]
fn a_client_without_those_variables_trusts_the_systems_files() {
    let lab = Lab::new();
    let body = body("hello", false);
    let request = curl(OPENAI, &body, &[]);
    let clean = [&["env", "-i", "PATH=/usr/bin:/bin"], request.as_slice()].concat();
    assert!(lab.run(&clean).ok().contains("You said: hello"));
    let python = "import ssl, socket
name = 'api.openai.com'
with socket.create_connection((name, 443)) as plain:
    with ssl.create_default_context().wrap_socket(plain, server_hostname=name) as tls:
        print(tls.version())";
    let python = lab.run(&["env", "-i", &client("python/bin/python"), "-c", python]);
    assert_eq!(python.ok(), "TLSv1.3\n", "{python}");
}

#[test]
fn no_other_name_resolves_and_no_other_address_is_reached() {
    let lab = Lab::new();
    let run = lab.sh("getent hosts example.com; echo \"name: $?\"
         curl -sS --max-time 5 http://192.0.2.1/ 2>&1; echo \"v4: $?\"
         curl -sS --max-time 5 'http://[2001:db8:1::1]/' 2>&1; echo \"v6: $?\"
         getent ahosts api.openai.com | cut -d' ' -f1 | sort -u");
    assert!(run.ok().contains("name: 2") && run.stdout.contains("v4: 7") && run.stdout.contains("v6: 7"), "{run}");
    assert!(run.stdout.ends_with("2001:db8::10\n203.0.113.10\n"), "{run}");
}

#[test]
fn labs_run_side_by_side() {
    let labs = [Lab::new(), Lab::new(), Lab::new()];
    let body = body("hello", false);
    let request = curl(OPENAI, &body, &[]);
    let running: Vec<_> = labs.iter().map(|lab| lab.spawn(&request)).collect();
    for (child, lab) in running.into_iter().zip(&labs) {
        let run = Run::of(child.wait_with_output().expect("the lab ends"));
        assert!(run.ok().contains("You said: hello"), "{run}");
        assert_eq!(lab.requests().len(), 1, "each has its own endpoint");
        assert_eq!(lab.records().len(), 1, "each has its own log");
    }
}

#[test]
fn a_state_directory_serves_one_lab_at_a_time() {
    let lab = Lab::new();
    let mut first = lab.command(&["sh", "-c", "echo started; cat"]);
    let mut first = first.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the lab runs");
    let mut line = String::new();
    let output = first.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("a line");
    assert_eq!(line, "started\n");
    let second = lab.run(&["true"]);
    assert_eq!(second.status, 125, "{second}");
    assert!(second.stderr.contains("another lab uses"), "{second}");
    drop(first.stdin.take());
    assert!(first.wait().expect("the lab ends").success());
    assert_eq!(lab.run(&["true"]).status, 0, "free again");
}
