//! Whatever ends a lab, nothing of it stays.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use interceptor_tests::{Lab, program, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A lab of its own state that runs until it is ended: a client with a child that left its session.
fn endless(lab: &Lab) -> (Child, Trace) {
    let child = lab.spawn(&["sh", "-c", "touch $INTERCEPTOR_STATE/started; setsid sleep 600 & sleep 600"]);
    let started = lab.state().join("started");
    wait_until("the client runs", || started.exists());
    let trace = Trace::of(&child);
    assert!(!trace.processes().is_empty() && trace.cgroup.exists(), "a running lab has processes and a cgroup");
    // A shell that is interrupted before its command has begun waits for the command, which nobody has told to end.
    let sleeps = |process: &PathBuf| fs::read_to_string(process.join("comm")).is_ok_and(|name| name == "sleep\n");
    wait_until("both of its commands run", || trace.processes().iter().filter(|process| sleeps(process)).count() == 2);
    (child, trace)
}

/// Where a running lab can be seen.
struct Trace {
    cgroup: PathBuf,
    /// `net:[...]` of its two network namespaces, `mnt:[...]` of its mount namespace.
    namespaces: Vec<PathBuf>,
}

impl Trace {
    fn of(child: &Child) -> Self {
        let name = format!("interceptor-lab-{}", child.id());
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let root = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("a cgroup2 mount");
        let cgroup = PathBuf::from(root.split(' ').nth(4).expect("a mount point")).join(name);
        let mut namespaces = Vec::new();
        for part in ["client", "daemon", "endpoint"] {
            let processes = fs::read_to_string(cgroup.join(part).join("cgroup.procs")).expect("a cgroup");
            for process in processes.lines() {
                namespaces.push(fs::read_link(format!("/proc/{process}/ns/mnt")).expect("a mount namespace"));
                let net = fs::read_link(format!("/proc/{process}/ns/net")).expect("a network namespace");
                if part != "endpoint" {
                    namespaces.push(net);
                }
            }
        }
        let own = ["mnt", "net"].map(|kind| fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace"));
        assert!(namespaces.iter().all(|namespace| !own.contains(namespace)), "the lab is in namespaces of its own");
        Self { cgroup, namespaces }
    }

    /// Processes that are in one of the lab's namespaces.
    fn processes(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir("/proc").expect("processes").map(|entry| entry.expect("an entry").path());
        entries
            .filter(|process| {
                ["mnt", "net"].iter().any(|kind| {
                    fs::read_link(process.join("ns").join(kind))
                        .is_ok_and(|namespace| self.namespaces.contains(&namespace))
                })
            })
            .collect()
    }

    #[track_caller]
    fn assert_gone(&self) {
        wait_until("its processes are gone", || self.processes().is_empty());
        wait_until("its cgroup is gone", || !self.cgroup.exists());
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains("lab/hosts") && !mounts.contains("ca-bundle.pem"), "{mounts}");
        assert!(!PathBuf::from("/sys/fs/bpf/interceptor").exists(), "pins are in the lab's own file system");
    }
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), signal).expect("the lab runs");
}

#[test]
fn after_the_command_ended() {
    let lab = Lab::new();
    let mut child = lab.spawn(&["sh", "-c", "touch $INTERCEPTOR_STATE/started; setsid sleep 600 & read line"]);
    let started = lab.state().join("started");
    wait_until("the client ran", || started.exists());
    let cgroup = format!("interceptor-lab-{}", child.id());
    assert!(child.wait().expect("the lab ends").code().is_some());
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let root = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("a cgroup2 mount");
    let root = PathBuf::from(root.split(' ').nth(4).expect("a mount point"));
    assert!(!root.join(cgroup).exists(), "the cgroup, and with it every process, is gone when the lab returns");
}

#[test]
fn after_ctrl_c_and_sigterm() {
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let lab = Lab::new();
        let (mut child, trace) = endless(&lab);
        send(&child, signal);
        assert_eq!(child.wait().expect("the lab ends").code(), Some(status));
        trace.assert_gone();
    }
}

#[test]
fn after_the_lab_itself_was_killed() {
    let lab = Lab::new();
    let (mut child, trace) = endless(&lab);
    send(&child, Signal::SIGKILL);
    child.wait().expect("the lab ends");
    trace.assert_gone();
    assert_eq!(lab.run(&["true"]).status, 0, "the state is free");
}

#[test]
fn a_temporary_state_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(program("xtask"));
    command.args(["lab", "--no-build", "--", "sh", "-c", "ls -d $INTERCEPTOR_STATE"]);
    command.env("TMPDIR", directory.path()).stdin(Stdio::null());
    let output = command.output().expect("the lab runs");
    let state = String::from_utf8(output.stdout).expect("text");
    assert!(state.starts_with(directory.path().to_str().expect("a path in UTF-8")), "{state}");
    assert!(!PathBuf::from(state.trim()).exists(), "it went with the lab");
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0, "nothing else was left there");
}
