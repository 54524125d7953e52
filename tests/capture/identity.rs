//! The caller is named as it was when it connected, whatever has become of it by the time it is accepted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::host::{Daemon, Host, eventually};

const ENROLLED: [&str; 1] = ["203.0.113.10/32,443"];

/// What every client here begins with: a socket bound to `port`, connected.
const CONNECT: &str = "\
import os, socket, sys, threading
def connect(port):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(('', port))
    client.connect(('203.0.113.10', 443))
    return client
";

/// The interpreter's file.
fn python() -> PathBuf {
    let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().expect("python3");
    fs::canonicalize(String::from_utf8(found.stdout).unwrap().trim()).expect("python3")
}

/// The kernel's name of a process that runs it.
fn comm(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().chars().take(15).collect()
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().expect("coreutils");
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// A program of python's; short arguments, so that all of them fit into a snapshot.
fn script(host: &Host, rest: &str) -> PathBuf {
    let path = host.scratch().join("client.py");
    fs::write(&path, format!("{CONNECT}{rest}")).unwrap();
    path
}

/// A command that runs python in the client's cgroup, whose parent is this test.
fn client(host: &Host, rest: &str, more: &[&str]) -> Command {
    let mut command = host.in_cgroup("client", python().to_str().unwrap());
    command.arg(script(host, rest)).args(more).stdout(Stdio::piped());
    command
}

/// Runs it to its end; its process id and what it printed.
fn run(mut command: Command) -> (u32, String) {
    let child = command.spawn().expect("it starts");
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (id, String::from_utf8(output.stdout).unwrap())
}

fn named(daemon: &mut Daemon, port: u16) -> Value {
    let told = daemon.ask(&format!("name 127.0.0.1:{port}"));
    assert!(told.is_object(), "{told}");
    told
}

#[test]
fn a_caller_that_exited_before_accept_is_named_exactly() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    let mut command = host.in_cgroup("client", "setpriv");
    command.args(["--regid=0", "--groups=0,3999999123"]);
    let (python, script) = (python(), script(&host, "connect(45001)\nos._exit(0)"));
    let arguments = [python.to_str().unwrap(), script.to_str().unwrap(), "", "last one"];
    command.args(arguments).current_dir("/usr/lib");
    let (pid, _) = run(command);
    assert_eq!(daemon.ask("snapshots"), 1);
    let told = named(&mut daemon, 45001);
    let caller = &told["caller"];
    assert_eq!(told["tgid"], pid);
    assert_eq!(caller["exe"], json!(python));
    assert_eq!(caller["exe_sha256"], sha256(&python));
    assert_eq!(caller["cmdline"], json!(arguments));
    assert_eq!(caller["cwd"], "/usr/lib");
    assert_eq!(caller["groups"], json!(["root", "3999999123"]));
    assert_eq!(caller["groups_cut"], false);
    let parent = &caller["parents"][0];
    assert_eq!(
        (&parent["pid"], &parent["exe"]),
        (&json!(std::process::id()), &json!(std::env::current_exe().unwrap()))
    );
    let last = caller["parents"].as_array().unwrap().last().unwrap();
    assert!(caller["parents"].as_array().unwrap().len() == 8 || last["pid"] == 1, "up to the first process: {caller}");
    assert_eq!(daemon.ask("snapshots"), 0);
}

#[test]
fn a_fork_without_exec_is_named_by_what_it_runs_and_its_parent() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    let rest = "\
child = os.fork()
if child == 0:
    connect(45002)
    os._exit(0)
os.waitpid(child, 0)
print(child)";
    let (parent, child) = run(client(&host, rest, &["of a fork"]));
    let told = named(&mut daemon, 45002);
    let caller = &told["caller"];
    assert_eq!(told["tgid"].to_string(), child.trim());
    assert_eq!(caller["exe"], json!(python()));
    assert_eq!(caller["cmdline"][2], "of a fork");
    assert_eq!(caller["parents"][0], json!({"pid": parent, "exe": null, "comm": comm(&python())}));
    assert_eq!(caller["parents"][1]["pid"], std::process::id());
}

#[test]
fn a_thread_is_named_by_its_process() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    let rest = "\
open('/proc/self/comm', 'w').write('leader')
def work():
    open(f'/proc/self/task/{threading.get_native_id()}/comm', 'w').write('worker')
    connect(45003)
    os._exit(0)
threading.Thread(target=work).start()
threading.Event().wait()";
    let (pid, _) = run(client(&host, rest, &[]));
    let told = named(&mut daemon, 45003);
    assert_eq!(told["tgid"], pid);
    assert_eq!(told["caller"]["exe"], json!(python()));
    assert_eq!(told["caller"]["parents"][0]["pid"], std::process::id());
}

#[test]
fn a_process_that_has_executed_another_program_is_named_by_the_one_that_connected() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    let rest = "connect(45004).set_inheritable(True)\nos.execvp('sleep', ['sleep', '60'])";
    let mut child = client(&host, rest, &[]).current_dir("/usr").spawn().unwrap();
    let sleep = fs::canonicalize("/bin/sleep").unwrap();
    let exe = format!("/proc/{}/exe", child.id());
    eventually("it runs sleep", || fs::read_link(&exe).is_ok_and(|at| at == sleep));
    let told = named(&mut daemon, 45004);
    child.kill().unwrap();
    child.wait().unwrap();
    let caller = &told["caller"];
    assert_eq!((&told["tgid"], &caller["exe"]), (&json!(child.id()), &json!(python())));
    assert_eq!(caller["exe_sha256"], sha256(&python()));
    assert_eq!((&caller["cmdline"][0], &caller["cwd"]), (&json!(python()), &json!("/usr")));
}

#[test]
fn a_thousand_forks_that_connect_and_exit_are_each_named_right() {
    const FORKS: usize = 1000;
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    // At most as many at once as the listener's queue surely takes.
    let rest = "\
out, write = os.pipe()
running = []
for number in range(int(sys.argv[1])):
    if len(running) == 50:
        os.waitpid(running.pop(0), 0)
    child = os.fork()
    if child == 0:
        client = connect(0)
        os.write(write, b'%d %d\\n' % (os.getpid(), client.getsockname()[1]))
        os._exit(0)
    running.append(child)
for child in running:
    os.waitpid(child, 0)
os.close(write)
print(os.fdopen(out).read(), end='')";
    let (parent, told) = run(client(&host, rest, &[&FORKS.to_string()]));
    let (exe, digest) = (json!(python()), sha256(&python()));
    let mut count = 0;
    for line in told.lines() {
        let (pid, port) = line.split_once(' ').unwrap();
        let flow = daemon.flow_of(&json!({"local": ["127.0.0.1", port.parse::<u16>().unwrap()]}));
        let caller = &flow["caller"];
        assert_eq!(flow["flow"]["tgid"].to_string(), pid);
        assert_eq!((&caller["exe"], &caller["exe_sha256"]), (&exe, &json!(digest)), "{flow}");
        assert_eq!(caller["cmdline"][2], FORKS.to_string(), "{flow}");
        assert_eq!(caller["parents"][0]["pid"], parent, "{flow}");
        assert_eq!(caller["parents"][1]["pid"], std::process::id(), "{flow}");
        count += 1;
    }
    assert_eq!(count, FORKS);
    assert_eq!((daemon.ask("waiting"), daemon.ask("snapshots")), (json!(0), json!(0)));
    assert_eq!(daemon.ask("stats")["SnapshotLost"], 0);
}

#[test]
fn what_does_not_fit_into_a_snapshot_is_cut_and_says_so() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    let deep = (0..40).fold(host.scratch().to_path_buf(), |path, _| path.join("directory-of-a-deep-tree"));
    fs::create_dir_all(&deep).unwrap();
    let groups: Vec<_> = (1..=40).map(|number| (3_999_999_000_u32 + number).to_string()).collect();
    let mut command = host.in_cgroup("client", "setpriv");
    command.args(["--regid=0", &format!("--groups={}", groups.join(","))]);
    let long = "x".repeat(2000);
    command.arg(python()).arg(script(&host, "connect(45005)\nos._exit(0)")).arg(long).current_dir(&deep);
    run(command);
    let caller = named(&mut daemon, 45005)["caller"].clone();
    let cwd = caller["cwd"].as_str().unwrap();
    assert!(cwd.starts_with(".../directory-of-") && deep.to_str().unwrap().ends_with(&cwd[3..]), "{cwd}");
    assert_eq!((caller["groups"].as_array().unwrap().len(), &caller["groups_cut"]), (33, &json!(true)));
    let cmdline = caller["cmdline"].as_array().unwrap();
    let len: usize = cmdline.iter().map(|argument| argument.as_str().unwrap().len() + 1).sum();
    assert_eq!(len, 512 + 1, "512 bytes, and the last of them is no NUL: {cmdline:?}");
}

#[test]
fn what_does_not_fit_is_read_from_procfs_while_the_caller_lives() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    let long = "x".repeat(2000);
    let mut child =
        client(&host, "connect(45006)\nprint(flush=True)\nthreading.Event().wait()", &[&long]).spawn().unwrap();
    let mut line = [0; 1];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    let caller = named(&mut daemon, 45006)["caller"].clone();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(caller["cmdline"][2], long);
}

#[test]
fn a_program_in_a_mount_namespace_of_its_own_is_named_by_its_path_there() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    let inside = host.scratch().join("inside");
    fs::create_dir(&inside).unwrap();
    let mut command = host.in_cgroup("client", "unshare");
    let steps = r#"mount -t tmpfs none "$1" && mkdir "$1/bin" && cp "$2" "$1/bin/tool" && exec "$1/bin/tool" "$3""#;
    command.args(["--mount", "sh", "-c", steps, "sh"]).arg(&inside).arg(python());
    command.arg(script(&host, "connect(45007)\nos._exit(0)"));
    // It no longer stands where its library is found from.
    command.env("PYTHONHOME", python().ancestors().nth(2).unwrap());
    let (pid, _) = run(command);
    let told = named(&mut daemon, 45007);
    assert_eq!(told["tgid"], pid);
    assert_eq!(told["caller"]["exe"], json!(inside.join("bin/tool")));
    assert_eq!(told["caller"]["exe_sha256"], Value::Null, "its file went with its namespace");
}

#[test]
fn a_program_that_removed_its_own_file_is_named_as_deleted() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    let tool = host.scratch().join("tool");
    fs::copy(python(), &tool).unwrap();
    let mut command = host.in_cgroup("client", tool.to_str().unwrap());
    command.env("PYTHONHOME", python().ancestors().nth(2).unwrap());
    command.arg(script(&host, "os.unlink(sys.executable)\nconnect(45008)\nos._exit(0)"));
    run(command);
    let caller = named(&mut daemon, 45008)["caller"].clone();
    assert_eq!(caller["exe"], format!("{} (deleted)", tool.display()));
    assert_eq!(caller["exe_sha256"], Value::Null);
}

#[test]
fn a_cgroup_that_went_with_its_caller_is_named() {
    const ID: &str = "3f1ae5b0c9d24a6e8b7f0123456789abcdef0123456789abcdef0123456789ab";
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    let name = format!("client/docker-{ID}.scope");
    let directory = host.cgroup().join(&name);
    fs::create_dir(&directory).unwrap();
    let mut command = host.in_cgroup(&name, python().to_str().unwrap());
    command.arg(script(&host, "connect(45011)\nos._exit(0)"));
    run(command);
    eventually("the cgroup is gone", || fs::remove_dir(&directory).is_ok());
    let caller = named(&mut daemon, 45011)["caller"].clone();
    let parent = host.cgroup().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(caller["cgroup"], format!("/{parent}/{name}"));
    assert_eq!(caller["container"], format!("docker:{ID}"));
}

#[test]
fn snapshots_go_with_the_connections_they_belong_to() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    run(client(&host, "connect(45009)", &[]));
    assert_eq!(daemon.ask("snapshots"), 1);
    assert_eq!(daemon.ask("sweep"), 1);
    assert_eq!(daemon.ask("snapshots"), 0);
    drop(daemon);
    let mut daemon = host.daemon_that("deaf", &ENROLLED);
    let refused = client(&host, "connect(45010)", &[]).stderr(Stdio::null()).status().unwrap();
    assert!(!refused.success());
    assert_eq!(daemon.ask("snapshots"), 0);
}
