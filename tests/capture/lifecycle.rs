//! What holds when the daemon is not there, dies, comes back or goes for good.

use std::process::{Command, Stdio};

use crate::host::{DIRECT_V4, Daemon, Direct, Host, eventually, to};

/// The host's own address, so that a hole would be seen at a [`Direct`] server there.
const ENROLLED: [&str; 1] = ["203.0.113.20/32,443"];

#[test]
fn without_a_listener_connections_are_refused() {
    let Some(host) = Host::new() else { return };
    let direct = Direct::listen(DIRECT_V4, 443);
    let mut daemon = host.daemon(&ENROLLED);
    daemon.ask("withdraw");
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["error"], "ECONNREFUSED");
    assert_eq!(daemon.ask("stats")["RefusedNoListener"], 1);
    assert_eq!(direct.connections(), 0);
}

#[test]
fn a_connection_that_never_came_about_leaves_no_flow() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("deaf", &ENROLLED);
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["error"], "ECONNREFUSED");
    assert_eq!(daemon.ask("waiting"), 0);
    assert_eq!(daemon.ask("stats")["FlowAbandoned"], 1);
}

#[test]
fn a_flow_waits_for_accept_after_its_client_has_gone_and_is_swept_in_the_end() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    let mut command = host.in_cgroup("client", "python3");
    command.args(["-c", "import socket; socket.create_connection(('203.0.113.20', 443)).close()"]);
    assert!(command.status().unwrap().success());
    assert_eq!(daemon.ask("waiting"), 1);
    assert_eq!(daemon.ask("sweep"), 1);
    assert_eq!(daemon.ask("waiting"), 0);
}

#[test]
fn a_flow_made_for_an_earlier_listener_is_refused() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_that("hold", &ENROLLED);
    for (port, how, expected) in [("45001", "waiting", "203.0.113.20:443"), ("45002", "announce", "earlier listener")] {
        let script = "import socket, sys; \
                      socket.create_connection(('203.0.113.20', 443), 5, ('', int(sys.argv[1]))).close()";
        let mut command = host.in_cgroup("client", "python3");
        assert!(command.args(["-c", script, port]).status().unwrap().success());
        daemon.ask(how);
        // The daemon takes with what it announced last, as a worker that was told of it does.
        let taken = daemon.ask(&format!("take 127.0.0.1:{port}"));
        assert!(taken.as_str().unwrap().contains(expected), "{taken}");
        assert!(daemon.ask(&format!("take 127.0.0.1:{port}")).as_str().unwrap().contains("was not redirected"));
    }
}

#[test]
fn the_programs_log_when_asked_to() {
    let Some(host) = Host::new() else { return };
    let mut command = host.in_cgroup("daemon", DAEMON);
    command.arg(host.cgroup()).arg(host.pin_dir()).arg("accept").args(ENROLLED).env("CAPTURE_LOG", "1");
    let mut daemon = Daemon::start(command);
    let client = host.connect(&to(DIRECT_V4, 443));
    let expected = format!("redirected port 443 of tgid {} to port {}", client["pid"], daemon.port);
    daemon.wait_until(&expected, |line| line["log"] == expected);
}

#[test]
fn a_killed_daemon_means_refused_and_the_next_one_takes_over() {
    let Some(host) = Host::new() else { return };
    let direct = Direct::listen(DIRECT_V4, 443);
    let daemon = host.daemon(&ENROLLED);
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "203.0.113.20:443");
    daemon.kill();
    for _ in 0..3 {
        assert_eq!(host.connect(&to(DIRECT_V4, 443))["error"], "ECONNREFUSED");
    }
    let mut next = host.daemon(&ENROLLED);
    let client = host.connect(&to(DIRECT_V4, 443));
    assert_eq!(client["said"], "203.0.113.20:443");
    assert_eq!(next.flow_of(&client)["flow"]["tgid"], client["pid"]);
    assert_eq!(direct.connections(), 0);
}

#[test]
fn no_connection_slips_through_while_daemons_come_and_go() {
    let Some(host) = Host::new() else { return };
    let direct = Direct::listen(DIRECT_V4, 443);
    let mut daemon = host.daemon(&ENROLLED);
    let script = "
import socket, sys, time
end = time.time() + 60
while time.time() < end and not sys.stdin.closed:
    try: socket.create_connection(('203.0.113.20', 443), 1).close()
    except OSError: pass
";
    let mut command = host.in_cgroup("client", "python3");
    let mut hammer = command.args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    let mut redirected = 0;
    for _ in 0..4 {
        eventually("connections are redirected", || {
            let count = daemon.ask("stats")["Redirected"].as_u64().unwrap();
            std::mem::replace(&mut redirected, count) + 20 < count
        });
        daemon.kill();
        daemon = host.daemon(&ENROLLED);
    }
    hammer.kill().unwrap();
    hammer.wait().unwrap();
    assert_eq!(direct.connections(), 0);
}

#[test]
fn a_cgroup_made_anew_is_attached_to_anew() {
    let Some(host) = Host::new() else { return };
    host.daemon(&ENROLLED).kill();
    host.remove_cgroups();
    host.make_cgroups();
    let _daemon = host.daemon(&ENROLLED);
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "203.0.113.20:443");
}

#[test]
fn detaching_leaves_nothing_behind() {
    let Some(host) = Host::new() else { return };
    let direct = Direct::listen(DIRECT_V4, 443);
    let mut daemon = host.daemon(&ENROLLED);
    daemon.ask("detach");
    assert!(!host.pin_dir().exists());
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "direct");
    assert_eq!(direct.connections(), 1);
}

/// What `capture-daemon` says when it cannot start.
fn complaint(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

const DAEMON: &str = env!("CARGO_BIN_EXE_capture-daemon");

#[test]
fn two_daemons_cannot_share_their_pins() {
    let Some(host) = Host::new() else { return };
    let _daemon = host.daemon(&ENROLLED);
    let mut second = host.in_cgroup("daemon", DAEMON);
    second.arg(host.cgroup()).arg(host.pin_dir()).arg("accept");
    let complaint = complaint(second);
    assert!(complaint.contains("another interceptor uses"), "{complaint}");
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "203.0.113.20:443");
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let Some(host) = Host::new() else { return };
    let elsewhere = host.scratch().join("elsewhere");
    let mut no_bpffs = host.in_cgroup("daemon", DAEMON);
    no_bpffs.arg(host.cgroup()).arg(&elsewhere).arg("accept");
    let text = complaint(no_bpffs);
    assert!(text.contains("is not on a BPF file system") && text.contains("mount -t bpf"), "{text}");
    assert!(!elsewhere.exists());

    let mut dots = host.in_cgroup("daemon", DAEMON);
    dots.arg(host.cgroup()).arg(host.pin_dir().join("v1.2")).arg("accept");
    let text = complaint(dots);
    assert!(text.contains("may not contain dots"), "{text}");

    let mut no_cgroup = host.in_cgroup("daemon", DAEMON);
    no_cgroup.arg(host.scratch()).arg(host.pin_dir()).arg("accept");
    let text = complaint(no_cgroup);
    assert!(text.contains("is not a cgroup2 directory; cgroup2 is mounted at"), "{text}");

    // CAP_BPF is number 39; older setpriv knows no name for it.
    let mut no_privilege = host.in_cgroup("daemon", "setpriv");
    no_privilege.args(["--bounding-set=-cap_39,-sys_admin", DAEMON]).arg(host.cgroup()).arg(host.pin_dir()).arg("deaf");
    let text = complaint(no_privilege);
    assert!(text.contains("CAP_BPF"), "{text}");
    assert!(!host.pin_dir().join("v1/links/connect4").exists());
}
