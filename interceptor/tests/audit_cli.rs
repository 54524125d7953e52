//! `interceptor log` and `interceptor keys` as people and scripts call them.

mod forge;

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use interceptor::audit::{
    AuditorPublic, Completion, Durability, FindingCount, Log, Outgoing, Record, Response, Settings,
};
use interceptor::flow::{Action, ExchangeId};
use serde_json::Value;

struct State {
    dir: tempfile::TempDir,
}

impl State {
    /// A state directory with a key pair and a log of three records: complete, denied, aborted.
    fn new() -> Self {
        let state = Self { dir: tempfile::tempdir().unwrap() };
        let out = state.run(&["keys", "generate", "--out", state.key().to_str().unwrap(), "--json"]);
        assert!(out.status.success(), "{}", stderr(&out));
        let log = open(&state.settings());
        let worker = log.worker().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut exchange, _) = worker.begin(record(), ORIGINAL, OUTGOING).await.unwrap();
            exchange.chunk(b"data: the sealed answer\n\n").await.unwrap();
            let response = Response { status: Some(200), bytes: Some(25), ..Response::default() };
            exchange.complete(&Completion { response, ..Completion::default() }).await.unwrap().await.unwrap();
            let mut denied = record();
            denied.decision.action = Some("deny".into());
            denied.response.status = Some(403);
            worker.refuse(denied, Some(ORIGINAL), b"{\"error\":{}}").await.unwrap();
            drop(worker.begin(record(), ORIGINAL, OUTGOING).await.unwrap());
        });
        log.close().unwrap();
        state
    }

    fn settings(&self) -> Settings {
        Settings {
            dir: self.path("audit"),
            keys: self.path("keys"),
            host: "testhost".into(),
            durability: Durability::Power,
            auditors: vec![AuditorPublic::read(&self.dir.path().join("auditor.key.pub")).unwrap()],
            threshold: 1,
            segment_bytes: 64 << 10,
            accept_missing_checkpoint: false,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("state").join(name)
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("auditor.key")
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_interceptor"))
            .arg("--state")
            .arg(self.dir.path().join("state"))
            .args(args)
            .output()
            .unwrap()
    }

    fn lines(&self, args: &[&str]) -> Vec<Value> {
        let out = self.run(args);
        assert!(out.status.success(), "{}", stderr(&out));
        stdout(&out).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn unseal(&self, extra: &[&str]) -> Output {
        let key = self.key();
        let mut args = vec!["log", "unseal", "latest", "--key", key.to_str().unwrap()];
        args.extend(extra);
        self.run(&args)
    }
}

const ORIGINAL: &[u8] =
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\n\r\n{\"card\":\"4111111111111111\"}";
const OUTGOING: Outgoing<'static> = Outgoing {
    head: b"POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\n\r\n",
    body: b"{\"card\":\"[CARD_k7q2m9xd]\"}",
};

fn record() -> Record {
    let mut record = Record::new(ExchangeId::new());
    record.caller.user = Some("alice".into());
    record.caller.exe = Some("/usr/bin/curl".into());
    record.endpoint.host = Some("api.openai.com".into());
    record.request.model = Some("gpt-4o".into());
    record.decision.action = Some("mask".into());
    record.findings =
        vec![FindingCount { entity: "CREDIT_CARD".into(), rule: "card.pan".into(), count: 1, action: Action::Mask }];
    record
}

fn stdout(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).unwrap()
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Opens the log. Tests run side by side in one process: a child that another test has just forked holds a copy of the
/// lock until it becomes a program of its own.
fn open(settings: &Settings) -> Log {
    for _ in 0..500 {
        match Log::open(settings.clone()) {
            Err(interceptor::audit::Error::Locked { .. }) => std::thread::sleep(std::time::Duration::from_millis(10)),
            opened => return opened.expect("the log opens"),
        }
    }
    panic!("the log stays locked");
}

#[test]
fn list_and_show_tell_what_happened_and_nothing_sealed() {
    let state = State::new();
    let table = stdout(&state.run(&["log", "list"]));
    assert_eq!(table.lines().count(), 4, "{table}");
    for word in ["alice/curl", "api.openai.com", "gpt-4o", "CREDIT_CARD", "mask", "deny", "200", "403", "aborted"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    let records = state.lines(&["log", "list", "--json"]);
    let states: Vec<&str> = records.iter().map(|r| r["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["complete", "complete", "aborted"]);
    assert_eq!(state.lines(&["log", "list", "--json", "--limit", "1"]), records[2..]);
    assert_eq!(state.lines(&["log", "list", "--json", "--since", "1h"]), records);
    assert_eq!(state.lines(&["log", "tail", "--json", "-n", "2"]), records[1..]);
    let id = records[0]["id"].as_str().unwrap();
    let shown = state.lines(&["log", "show", id, "--json"]);
    assert_eq!(shown, records[..1]);
    assert_eq!(shown[0]["request"]["masked"]["text"], "{\"card\":\"[CARD_k7q2m9xd]\"}");
    assert_eq!(shown[0]["response"]["body"], serde_json::json!({"encoding": "sealed", "text": null, "bytes": 25}));
    let card = stdout(&state.run(&["log", "show", id]));
    assert!(card.contains("[CARD_k7q2m9xd]") && card.contains("signed in the tree"), "{card}");
    for args in [&["log", "list"][..], &["log", "list", "--json"], &["log", "show", id], &["log", "tail"]] {
        let out = stdout(&state.run(args));
        assert!(!out.contains("4111111111111111") && !out.contains("the sealed answer"), "{out}");
        assert!(!out.contains('\x1b'), "no colour where there is no terminal");
    }
}

#[test]
fn an_unknown_or_ambiguous_id_is_explained() {
    let state = State::new();
    let unknown = state.run(&["log", "show", "ffff"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("log list"), "{}", stderr(&unknown));
    assert_eq!(state.run(&["log", "show", "0"]).status.code(), Some(2));
}

#[test]
fn verify_says_what_it_checked_and_names_what_is_wrong() {
    let state = State::new();
    let out = state.run(&["log", "verify"]);
    assert_eq!((out.status.code(), stdout(&out).starts_with("intact: 3 records")), (Some(0), true), "{}", stdout(&out));
    let saved = state.dir.path().join("saved");
    std::fs::copy(state.path("audit/checkpoint"), &saved).unwrap();
    let key = state.path("keys/log-signing.pub");
    let trusted = ["log", "verify", "--checkpoint", saved.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let out = state.run(&trusted);
    assert_eq!(out.status.code(), Some(0));
    assert!(stdout(&out).contains("leaves, is contained"), "{}", stdout(&out));
    let out = state.run(&["log", "verify", "--checkpoint", "/etc/passwd"]);
    assert_eq!((out.status.code(), stdout(&out).as_str()), (Some(2), ""), "{}", stderr(&out));
    assert!(stderr(&out).contains("--checkpoint /etc/passwd: it is no checkpoint"), "{}", stderr(&out));

    let report = &state.lines(&["log", "verify", "--json"])[0];
    assert_eq!((&report["intact"], &report["report"]["records"]), (&Value::Bool(true), &3.into()));
    let id = state.lines(&["log", "list", "--json"])[0]["id"].as_str().unwrap().to_owned();
    let segment = state.path("audit/log-00000000000000000000.alog");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[4096 + 300] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let out = state.run(&["log", "verify"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stdout(&out).contains(&id) && stdout(&out).contains("docs/log.md"), "{}", stdout(&out));
    let out = state.run(&["log", "verify", "--json"]);
    let fault: Value = serde_json::from_str(&stdout(&out)).unwrap();
    assert_eq!((&fault["intact"], fault["fault"]["id"].as_str()), (&Value::Bool(false), Some(id.as_str())));
}

#[test]
fn a_proof_that_the_log_goes_on_is_checked_without_it_and_another_log_has_none() {
    let state = State::new();
    let at = |name: &str| state.dir.path().join(name).to_str().unwrap().to_owned();
    let (kept, key, proof) = (at("kept"), at("kept.pub"), at("proof"));
    let checkpoint = state.path("audit").join("checkpoint");
    std::fs::copy(&checkpoint, &kept).unwrap();
    std::fs::copy(state.path("audit").join("log-signing.pub"), &key).unwrap();
    let before = at("before");
    assert!(Command::new("cp").arg("-a").arg(state.path("")).arg(&before).status().unwrap().success());
    let go_on = || {
        let log = open(&state.settings());
        let worker = log.worker().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { drop(worker.begin(record(), ORIGINAL, OUTGOING).await.unwrap()) });
        log.close().unwrap();
    };
    go_on();
    let written = state.run(&["log", "prove", "--since", &kept, "--out", &proof]);
    assert!(written.status.success(), "{}", stderr(&written));
    let check = |args: &[&str]| {
        let program = env!("CARGO_BIN_EXE_interceptor");
        // Neither log nor configuration.
        Command::new(program).args(["log", "verify", "--proof", &proof, "--key", &key]).args(args).output().unwrap()
    };
    let proven = check(&["--checkpoint", &kept]);
    assert_eq!(proven.status.code(), Some(0), "{}", stderr(&proven));
    assert!(stdout(&proven).contains("of 7 leaves goes on from the 5 of the kept checkpoint"), "{}", stdout(&proven));
    let document: Value = serde_json::from_str(&stdout(&check(&["--checkpoint", &kept, "--json"]))).unwrap();
    assert_eq!((&document["proven"], &document["old_size"], &document["size"]), (&true.into(), &5.into(), &7.into()));
    let without = check(&[]);
    assert!(without.status.code() == Some(2) && stderr(&without).contains("--checkpoint"), "{}", stderr(&without));
    let newest = at("newest");
    std::fs::copy(&checkpoint, &newest).unwrap();
    let other = check(&["--checkpoint", &newest]);
    assert!(
        other.status.code() == Some(2) && stderr(&other).contains("about a tree of 5 leaves"),
        "{}",
        stderr(&other)
    );

    // Put back, and gone on from there.
    std::fs::remove_dir_all(state.path("")).unwrap();
    std::fs::rename(&before, state.path("")).unwrap();
    let since = |expected: &str| {
        let refused = state.run(&["log", "prove", "--since", &newest]);
        assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
        assert!(stdout(&refused).contains("NOT PROVEN") && stdout(&refused).contains(expected), "{}", stdout(&refused));
    };
    since("fewer than the 7 that it had before");
    go_on();
    since("does not begin with the 7 that were signed before");
    go_on();
    since("does not begin with the 7 that were signed before");
}

#[test]
fn a_proof_is_written_over_nothing_and_through_no_link() {
    let state = State::new();
    let at = |name: &str| state.dir.path().join(name);
    let kept = at("kept");
    std::fs::copy(state.path("audit/checkpoint"), &kept).unwrap();
    std::fs::write(at("there"), "precious").unwrap();
    std::os::unix::fs::symlink(at("there"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
    for what in [&["latest"][..], &["--since", kept.to_str().unwrap()]] {
        let prove = |out: PathBuf| state.run(&[&["log", "prove"], what, &["--out", out.to_str().unwrap()]].concat());
        for name in ["there", "link", "dangling"] {
            let refused = prove(at(name));
            assert_eq!(refused.status.code(), Some(2), "{name}");
            assert!(stderr(&refused).contains("not there yet"), "{name}: {}", stderr(&refused));
        }
        assert!(!at("nowhere").exists() && std::fs::read(at("there")).unwrap() == b"precious");
        assert!(prove(at("proof")).status.success());
        std::fs::remove_file(at("proof")).unwrap();
    }
}

#[test]
fn unseal_shows_the_original_after_the_access_is_on_record() {
    let state = State::new();
    let id = state.lines(&["log", "list", "--json"])[0]["id"].as_str().unwrap().to_owned();
    let key = state.key();
    let args = ["log", "unseal", &id, "--key", key.to_str().unwrap(), "--reason", "case 17"];
    let out = stdout(&state.run(&args));
    assert!(out.contains("4111111111111111") && out.contains("data: the sealed answer"), "{out}");
    let json = &state.lines(&[&args[..], &["--json"]].concat())[0];
    assert!(json["request"]["text"].as_str().unwrap().as_bytes() == ORIGINAL);
    assert_eq!(json["response"]["text"], "data: the sealed answer\n\n");
    let card = stdout(&state.run(&["log", "show", &id]));
    assert_eq!(card.matches("case 17").count(), 2, "{card}");
    assert_eq!(state.lines(&["log", "verify", "--json"])[0]["report"]["accesses"], 2);
}

#[test]
fn unseal_says_when_a_response_is_not_all_there_was() {
    let state = State::new();
    let log = open(&state.settings());
    let worker = log.worker().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut exchange, _) = worker.begin(record(), ORIGINAL, OUTGOING).await.unwrap();
        exchange.chunk(b"data: half of").await.unwrap();
        exchange.complete(&Completion::aborted("the client went away")).await.unwrap().await.unwrap();
    });
    log.close().unwrap();
    let out = stdout(&state.unseal(&["--reason", "case 17"]));
    assert!(out.contains("--- the request as the client sent it\n"), "{out}");
    assert!(out.contains("--- the response, incomplete: the client went away\ndata: half of\n"), "{out}");
    let json: Value = serde_json::from_str(&stdout(&state.unseal(&["--reason", "case 17", "--json"]))).unwrap();
    assert_eq!(json["response"]["incomplete"], "the client went away");
    assert_eq!(json["request"]["incomplete"], Value::Null);
}

#[test]
fn unseal_works_beside_the_running_writer() {
    let state = State::new();
    let log = open(&state.settings());
    let out = state.unseal(&["--reason", "while running"]);
    assert!(out.status.success(), "{}", stderr(&out));
    log.close().unwrap();
}

#[test]
fn unseal_refuses_without_a_reason_a_fitting_key_or_a_place_for_the_access() {
    let state = State::new();
    assert_eq!(state.unseal(&[]).status.code(), Some(2));
    assert_eq!(state.unseal(&["--reason", "  "]).status.code(), Some(2));

    let other = state.dir.path().join("other.key");
    assert!(state.run(&["keys", "generate", "--out", other.to_str().unwrap()]).status.success());
    let out = state.run(&["log", "unseal", "latest", "--key", other.to_str().unwrap(), "--reason", "curious"]);
    assert_eq!((out.status.code(), out.stdout.len()), (Some(2), 0));
    assert!(stderr(&out).contains("cannot open this record"), "{}", stderr(&out));
    let attempts = state.lines(&["log", "accesses", "--json"]);
    assert_eq!(
        (attempts.len(), &attempts[0]["outcome"], &attempts[0]["reason"]),
        (1, &"refused".into(), &"curious".into())
    );
    let table = stdout(&state.run(&["log", "accesses"]));
    assert!(table.contains("refused") && table.contains("curious"), "{table}");

    let public = state.dir.path().join("other.key.pub");
    let out = state.run(&["log", "unseal", "latest", "--key", public.to_str().unwrap(), "--reason", "mistaken"]);
    assert!(stderr(&out).contains("private half") && !stderr(&out).contains("chmod"), "{}", stderr(&out));
    let out = state.run(&["log", "unseal", "latest", "--key", "nokey", "--reason", "mistaken"]);
    assert!(stderr(&out).contains("--key: ") && stderr(&out).contains("keys generate"), "{}", stderr(&out));

    std::fs::set_permissions(state.key(), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(stderr(&state.unseal(&["--reason", "loose"])).contains("chmod 0600"));
    std::fs::set_permissions(state.key(), std::fs::Permissions::from_mode(0o600)).unwrap();

    // A directory where the lock should be: not even root can record the access.
    std::fs::remove_file(state.path("audit/access.lock")).unwrap();
    std::fs::create_dir(state.path("audit/access.lock")).unwrap();
    let out = state.unseal(&["--reason", "no place"]);
    assert_eq!((out.status.code(), out.stdout.len()), (Some(2), 0), "{}", stdout(&out));
    assert!(stderr(&out).contains("nothing is shown"), "{}", stderr(&out));
}

#[test]
fn an_access_that_somebody_added_to_the_file_is_told_from_those_that_are_signed() {
    let state = State::new();
    assert!(state.unseal(&["--reason", "case 17"]).status.success());
    let signed = || -> Vec<bool> {
        state.lines(&["log", "accesses", "--json"]).iter().map(|access| access["signed"].as_bool().unwrap()).collect()
    };
    assert_eq!(signed(), [true]);
    let quiet = state.run(&["log", "accesses"]);
    assert_eq!(stderr(&quiet), "");
    assert!(stdout(&quiet).contains("  opened   yes     "), "{}", stdout(&quiet));

    let path = state.path("audit/access-00000000000000000000.alog");
    let genuine = std::fs::read(&path).unwrap();
    let frame = forge::frames(&genuine)[0].clone();
    let mut segment = genuine[..frame.end].to_vec();
    segment.extend_from_slice(&genuine[frame.clone()]);
    forge::reseal(&mut segment, forge::Effort::Chain);
    std::fs::write(&path, &segment).unwrap();
    assert_eq!(signed(), [true, false]);
    let told = state.run(&["log", "accesses"]);
    assert!(stdout(&told).contains("  opened   no      "), "{}", stdout(&told));
    assert!(stderr(&told).contains("1 of 2 accesses are not signed"), "{}", stderr(&told));
    let card = stdout(&state.run(&["log", "show", "latest"]));
    assert_eq!((card.matches("case 17").count(), card.matches("(not signed)").count()), (2, 1), "{card}");

    // In the place of a signed one: checksums are right, the signed digests are not.
    let mut segment = genuine[..frame.end].to_vec();
    let reason = segment.windows(7).position(|window| window == b"case 17").unwrap();
    segment[reason] = b'C';
    forge::reseal(&mut segment, forge::Effort::Checksums);
    std::fs::write(&path, &segment).unwrap();
    assert_eq!(signed(), [false]);
    let told = state.run(&["log", "accesses"]);
    assert!(stderr(&told).contains("the access log is not intact"), "{}", stderr(&told));
}

#[test]
fn tail_follows_what_is_written() {
    let state = State::new();
    let log = open(&state.settings());
    let mut following = Command::new(env!("CARGO_BIN_EXE_interceptor"))
        .args(["log", "tail", "-f", "-n", "0", "--json", "--state"])
        .arg(state.dir.path().join("state"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(following.stdout.take().unwrap());
    let worker = log.worker().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let first = record();
    let id = first.id;
    // The follower may not have started yet: go on until it has seen one of ours.
    let (sender, seen) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        sender.send(()).unwrap();
        line
    });
    runtime.block_on(worker.refuse(first, None, b"")).unwrap();
    let mut ids = vec![id];
    while seen.recv_timeout(std::time::Duration::from_millis(100)).is_err() {
        assert!(ids.len() < 300, "nothing was seen");
        ids.push(runtime.block_on(worker.refuse(record(), None, b"")).unwrap());
    }
    following.kill().unwrap();
    following.wait().unwrap();
    let line: Value = serde_json::from_str(&reading.join().unwrap()).unwrap();
    assert!(ids.iter().any(|id| line["id"] == id.to_string()));
    log.close().unwrap();
}

#[test]
fn a_missing_log_and_a_forbidden_one_exit_with_2_and_a_remedy() {
    let empty = State { dir: tempfile::tempdir().unwrap() };
    for command in ["list", "tail", "verify"] {
        let out = empty.run(&["log", command]);
        assert_eq!(out.status.code(), Some(2), "{command}");
        assert!(stderr(&out).contains("--state"), "{command}: {}", stderr(&out));
    }
    let state = State::new();
    let copy = state.dir.path().join("interceptor");
    std::fs::copy(env!("CARGO_BIN_EXE_interceptor"), &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(state.dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for command in ["list", "verify"] {
        let out = as_nobody(&copy, &["log", command, "--state", state.dir.path().join("state").to_str().unwrap()]);
        assert_eq!(out.status.code(), Some(2), "{command}: {}", stdout(&out));
        assert!(stderr(&out).contains("audit role"), "{command}: {}", stderr(&out));
    }
}

/// Runs a program as the user nobody when this is root; else as this user, with the log's permissions taken away.
fn as_nobody(program: &Path, args: &[&str]) -> Output {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(program);
    command.args(args);
    if nix::unistd::geteuid().is_root() {
        command.uid(65534).gid(65534);
    } else {
        let audit = Path::new(args.last().unwrap()).join("audit");
        std::fs::set_permissions(audit, std::fs::Permissions::from_mode(0o0)).unwrap();
    }
    command.output().unwrap()
}

#[test]
fn damage_is_told_and_marked_and_does_not_stop_the_list() {
    let state = State::new();
    let segment = state.path("audit/log-00000000000000000000.alog");
    let mut bytes = std::fs::read(&segment).unwrap();
    let host = bytes.windows(8).position(|window| window == b"testhost").unwrap();
    bytes[host] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    for command in [&["log", "list"][..], &["log", "tail"], &["log", "show", "latest"]] {
        let out = state.run(command);
        assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
        assert!(stderr(&out).contains("frame 0 is damaged"), "{}", stderr(&out));
        assert!(stderr(&out).contains("interceptor log verify"), "{}", stderr(&out));
    }
    let table = stdout(&state.run(&["log", "list"]));
    assert!(table.lines().nth(1).unwrap().contains("damaged"), "{table}");
    let marks: Vec<bool> =
        state.lines(&["log", "list", "--json"]).iter().map(|r| r["log"]["damaged"].as_bool().unwrap()).collect();
    assert_eq!(marks, [true, false, false]);
}

#[test]
fn a_segment_that_cannot_be_read_is_named_once_and_the_others_are_shown() {
    let state = State::new();
    let log = open(&state.settings());
    let worker = log.worker().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let id = runtime.block_on(worker.refuse(record(), None, b"")).unwrap().to_string();
    log.close().unwrap();
    let name = "log-00000000000000000000.alog";
    let mut bytes = std::fs::read(state.path("audit").join(name)).unwrap();
    bytes[200] ^= 1;
    std::fs::write(state.path("audit").join(name), bytes).unwrap();
    for (command, status) in [
        (&["log", "list"][..], 0),
        (&["log", "list", "--json", "--limit", "5"], 0),
        (&["log", "show", "latest"], 0),
        (&["log", "tail"], 0),
        (&["log", "stats"], 0),
        (&["log", "export"], 0),
        (&["log", "grep", "nothing like it"], 1),
        (&["log", "alerts"], 0),
    ] {
        let out = state.run(command);
        assert_eq!(out.status.code(), Some(status), "{command:?}: {}", stderr(&out));
        let told = stderr(&out);
        let expected = format!("{name} cannot be read (the header's checksum does not match)");
        assert_eq!((told.matches(&expected).count(), told.matches(name).count()), (1, 1), "{command:?}: {told}");
        assert!(told.contains("interceptor log verify"), "{told}");
    }
    assert!(stdout(&state.run(&["log", "list"])).contains(&id[..18]));
}

#[test]
fn an_empty_list_says_so_and_a_time_that_is_none_is_refused() {
    let state = State { dir: tempfile::tempdir().unwrap() };
    assert!(state.run(&["keys", "generate", "--out", state.key().to_str().unwrap()]).status.success());
    open(&state.settings()).close().unwrap();
    let out = state.run(&["log", "list"]);
    assert_eq!((out.status.code(), stdout(&out).as_str()), (Some(0), ""));
    assert!(stderr(&out).contains("no records yet"), "{}", stderr(&out));
    let out = state.run(&["log", "list", "--since", "bogus"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("2 hours ago"), "{}", stderr(&out));
}

#[test]
fn keys_generate_overwrites_nothing() {
    let state = State { dir: tempfile::tempdir().unwrap() };
    let path = state.key();
    let generate = ["keys", "generate", "--out", path.to_str().unwrap()];
    assert!(state.run(&generate).status.success());
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(&path).unwrap();
    let again = state.run(&generate);
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::remove_file(&path).unwrap();
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    assert_eq!(state.run(&generate).status.code(), Some(2), "an empty file is not overwritten either");
    let nowhere = state.dir.path().join("missing/auditor.key");
    let out = state.run(&["keys", "generate", "--out", nowhere.to_str().unwrap()]);
    assert!(stderr(&out).contains("create it"), "{}", stderr(&out));
}

#[test]
fn a_configuration_whose_metrics_cannot_be_is_refused_before_it_is_used() {
    let state = State::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (free, taken_at) = ("127.0.0.1:9464", taken.local_addr().unwrap());
    let config = state.dir.path().join("interceptor.toml");
    let check = |metrics: &str| {
        let auditor = state.dir.path().join("auditor.key.pub");
        let text = format!("[audit]\nauditors = [{auditor:?}]\n[metrics]\n{metrics}");
        std::fs::write(&config, text).unwrap();
        state.run(&["--config", config.to_str().unwrap(), "run", "--check"])
    };
    let otlp =
        |token: &Path| format!("[metrics.otlp]\nurl = \"https://127.0.0.1:1/v1/metrics\"\ntoken_file = {token:?}");
    let token = state.dir.path().join("token");
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&token).unwrap();
    std::fs::write(&token, "secret\n").unwrap();
    let fine = check(&format!("{}\n", otlp(&token)));
    assert_eq!(fine.status.code(), Some(0), "{}", stderr(&fine));
    let missing = check(&otlp(&state.dir.path().join("missing")));
    assert_eq!(missing.status.code(), Some(2), "{}", stderr(&missing));
    assert!(stderr(&missing).contains("metrics.otlp") && stderr(&missing).contains("missing"), "{}", stderr(&missing));
    // An address of no interface of this host (TEST-NET-1).
    let elsewhere = check("listen = \"192.0.2.1:9464\"\npublic = true");
    assert_eq!(elsewhere.status.code(), Some(2), "{}", stderr(&elsewhere));
    assert!(stderr(&elsewhere).contains("metrics.listen 192.0.2.1:9464"), "{}", stderr(&elsewhere));
    assert_eq!(check(&format!("listen = \"{free}\"").replace("9464", "nowhere")).status.code(), Some(2));
    if nix::unistd::geteuid().is_root() {
        let refused = check(&format!("listen = \"{taken_at}\""));
        assert!(stderr(&refused).contains("metrics.listen"), "{}", stderr(&refused));
    }
}

#[test]
fn retention_by_hand_wants_a_reason_and_a_clock_that_is_right() {
    let state = State::new();
    let asked = |args: &[&str]| state.run(&[&["log", "retain", "--dry-run"], args].concat());
    for args in [&["--keep", "prompts=1d"][..], &["--erase", "uid:1000"]] {
        let refused = asked(args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(stderr(&refused).contains("--reason"), "{args:?}: {}", stderr(&refused));
        assert_eq!(asked(&[args, &["--reason", "new policy"]].concat()).status.code(), Some(0), "{args:?}");
    }
    let empty = state.run(&["log", "retain", "--keep", "prompts=1d", "--reason", " "]);
    assert!(empty.status.code() == Some(2) && stderr(&empty).contains("the reason is empty"), "{}", stderr(&empty));
    assert_eq!(asked(&["--keep", "prompts=1d", "--reason", "new policy", "--clock-is-right"]).status.code(), Some(0));
    assert_eq!(asked(&["--erase", "uid:1000", "--reason", "r", "--clock-is-right"]).status.code(), Some(2));
}

#[test]
fn verify_and_list_show_that_a_log_was_gone_on_with_unsigned() {
    let state = State::new();
    std::fs::remove_file(state.path("audit/checkpoint")).unwrap();
    assert!(Log::open(state.settings()).is_err());
    let accepted = Settings { accept_missing_checkpoint: true, ..state.settings() };
    open(&accepted).close().unwrap();
    for command in ["verify", "list"] {
        let out = state.run(&["log", command]);
        assert!(out.status.success(), "{}", stderr(&out));
        let text = stdout(&out);
        assert!(text.contains("checkpoint-not-trusted: the signed checkpoint is missing"), "{command}: {text}");
    }
    let out = state.run(&["log", "list", "--json"]);
    assert_eq!(stdout(&out).lines().count(), 3, "records alone");
    assert!(stderr(&out).contains("checkpoint-not-trusted"), "{}", stderr(&out));
    let report = &state.lines(&["log", "verify", "--json"])[0]["report"];
    assert_eq!(report["notes"][0]["content"]["event"], "checkpoint-not-trusted");
}

#[test]
fn what_is_no_file_of_the_log_in_the_place_of_one_is_not_intact() {
    for name in ["log-00000000000000000000.alog", "checkpoint", "access-00000000000000000000.alog", "access.checkpoint"]
    {
        let state = State::new();
        assert!(state.unseal(&["--reason", "case 17"]).status.success());
        let path = state.path("audit").join(name);
        std::fs::remove_file(&path).unwrap();
        for directory in [true, false] {
            if directory {
                std::fs::create_dir(&path).unwrap();
            } else {
                std::fs::remove_dir(&path).unwrap();
                std::fs::write(&path, "").unwrap();
            }
            let out = state.run(&["log", "verify", "--json"]);
            assert_eq!(out.status.code(), Some(1), "{name}: {}", stderr(&out));
            let document: Value = serde_json::from_str(&stdout(&out)).unwrap();
            assert_eq!(document["fault"]["file"], name, "{document}");
        }
    }
}

#[test]
fn an_access_log_that_was_removed_is_not_one_that_never_was() {
    let state = State::new();
    assert!(state.unseal(&["--reason", "case 17"]).status.success());
    for entry in std::fs::read_dir(state.path("audit")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("access") {
            std::fs::remove_file(path).unwrap();
        }
    }
    for command in [&["log", "accesses"][..], &["log", "hold", "list"]] {
        let out = state.run(command);
        assert_eq!(out.status.code(), Some(2), "{command:?}: {}", stderr(&out));
        assert!(stderr(&out).contains("the marker in the keys directory covers 1 frames"), "{}", stderr(&out));
    }
    let out = state.unseal(&["--reason", "case 18"]);
    assert!(stderr(&out).contains("some were removed") && stderr(&out).contains("docs/log.md"), "{}", stderr(&out));
    assert!(stdout(&out).is_empty(), "{}", stdout(&out));
}

#[test]
fn a_checkpoint_that_the_key_did_not_sign_signs_no_record() {
    let state = State::new();
    let path = state.path("audit/checkpoint");
    let note = std::fs::read_to_string(&path).unwrap();
    // Another character of the signature, which stands at the end.
    let at = note.trim_end().len() - 10;
    let other = if &note[at..=at] == "A" { "B" } else { "A" };
    std::fs::write(&path, [&note[..at], other, &note[at + 1..]].concat()).unwrap();
    let card = stdout(&state.run(&["log", "show", "latest"]));
    assert!(card.contains("the checkpoint's signature does not fit"), "{card}");
    assert_eq!(state.lines(&["log", "show", "latest", "--json"])[0]["log"]["checkpoint"], Value::Null);
    std::fs::remove_file(&path).unwrap();
    let out = state.run(&["log", "prove", "latest"]);
    assert!(stderr(&out).contains("the log has no signed checkpoint"), "{}", stderr(&out));
    std::fs::write(&path, note).unwrap();
    let out = state.run(&["log", "prove", "latest", "--out", "/nonexistent/proof"]);
    assert!(stderr(&out).contains("its directory is not there"), "{}", stderr(&out));
}
