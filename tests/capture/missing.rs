//! When something is missing or full: what is said, what becomes of connections, and where it is counted. The table in
//! `docs/capture.md` has a row for each.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::host::{DIRECT_V4, Daemon, Direct, Host, result_of, to};

const V4: &str = "203.0.113.10";
const ENROLLED: [&str; 1] = ["203.0.113.10/32,443"];
const DAEMON: &str = env!("CARGO_BIN_EXE_capture-daemon");

/// `capture-daemon` with an environment.
fn daemon(host: &Host, mode: &str, environment: &[(&str, &str)], endpoints: &[&str]) -> Command {
    let mut command = host.in_cgroup("daemon", DAEMON);
    command.arg(host.cgroup()).arg(host.pin_dir()).arg(mode).args(endpoints);
    command.envs(environment.iter().copied());
    command
}

/// `capture-daemon` in a mount namespace of its own in which `script` ran before.
fn daemon_after(host: &Host, script: &str) -> Command {
    let mut command = host.in_cgroup("daemon", "unshare");
    command.args(["--mount", "sh", "-ec", &format!(r#"{script}; exec "$@""#), "sh", DAEMON]);
    command.arg(host.cgroup()).arg(host.pin_dir()).arg("deaf");
    command
}

/// What it says when it does not start.
fn complaint(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

fn assert_names(complaint: &str, parts: &[&str]) {
    for part in parts {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
}

fn udp(address: &str) -> Value {
    json!({"to": [address, 443], "kind": "udp", "how": "sendto"})
}

#[test]
fn without_cgroup2_it_does_not_start_and_says_what_to_mount() {
    let Some(host) = Host::new() else { return };
    let unmount = "while read -r _ at kind _; do [ \"$kind\" != cgroup2 ] || umount -l \"$at\"; done < /proc/mounts";
    let text = complaint(daemon_after(&host, unmount));
    assert_names(&text, &["no cgroup2 file system is mounted", "mount -t cgroup2"]);
}

#[test]
fn without_a_readable_proc_it_does_not_start_and_names_the_file() {
    let Some(host) = Host::new() else { return };
    let text = complaint(daemon_after(&host, "mount -t tmpfs none /proc"));
    assert_names(&text, &["/proc/self/mountinfo", "No such file"]);
    assert!(!host.pin_dir().join("v2/links/connect4").exists());
}

#[test]
fn on_a_kernel_without_a_hook_it_does_not_start_and_names_hook_and_version() {
    let Some(host) = Host::new() else { return };
    let text = complaint(daemon(&host, "deaf", &[("CAPTURE_ABSENT", "sock-release-hook,take-element")], &ENROLLED));
    assert_names(&text, &["sock_release hook", "Linux 5.9", "atomic take", "Linux 5.14", "Linux 5.15 or later"]);
    assert!(!host.pin_dir().exists(), "nothing was made");
}

#[test]
fn the_features_of_this_kernel_are_found() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    let features = daemon.ask("features");
    assert_eq!(features["kernel"], nix::sys::utsname::uname().unwrap().release().to_str().unwrap());
    for feature in features["list"].as_array().unwrap() {
        let since: (u32, u32) = version(feature["since"].as_str().unwrap());
        if since <= version(features["kernel"].as_str().unwrap()) && feature["required"] == true {
            assert_eq!(feature["present"], true, "{feature}");
        }
    }
    for (name, since) in [("set-retval", (5, 18)), ("mptcp-socket", (5, 19)), ("netns-cookie-of-packet", (6, 15))] {
        let found = features["list"].as_array().unwrap().iter().find(|feature| feature["name"] == name).unwrap();
        let expected = since <= version(features["kernel"].as_str().unwrap());
        assert_eq!(found["present"], expected, "{found} on {}", features["kernel"]);
    }
}

fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split(['.', '-', '+']).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn without_the_optional_features_everything_is_captured_and_each_loss_is_told() {
    let Some(host) = Host::new() else { return };
    let absent = "set-retval,mptcp-socket,netns-cookie-of-packet,btf,read-kernel,sock-destroy";
    let mut daemon =
        Daemon::start(daemon(&host, "accept", &[("CAPTURE_ABSENT", absent), ("CAPTURE_LOG", "1")], &ENROLLED));
    for told in ["bpf_set_retval (Linux 5.18): a refused connection fails with EPERM", "BTF"] {
        daemon.wait_until(told, |line| line["log"].as_str().is_some_and(|text| text.contains(told)));
    }
    assert_eq!(host.connect(&to(V4, 443))["said"], "203.0.113.10:443");
    let mptcp = host.connect(&json!({"to": [V4, 443], "kind": "mptcp"}));
    assert_eq!(mptcp["said"], "203.0.113.10:443", "{mptcp}");
    // Refused all the same, with the error the kernel has for it.
    assert_eq!(host.connect(&udp(V4))["error"], "EPERM");
    daemon.ask("withdraw");
    assert_eq!(host.connect(&to(V4, 443))["error"], "EPERM");
    let stats = daemon.ask("stats");
    assert_eq!((&stats["RefusedDatagram"], &stats["RefusedNoListener"]), (&json!(1), &json!(1)));
}

#[test]
fn a_full_map_of_flows_is_counted_and_its_connections_find_no_flow() {
    const ROOM: usize = 4;
    let Some(host) = Host::new() else { return };
    let direct = Direct::listen(DIRECT_V4, 443);
    let mut daemon = Daemon::start(daemon(&host, "hold", &[("CAPTURE_FLOWS", "4")], &["203.0.113.20/32,443"]));
    let script = "
import json, socket
sockets = [socket.create_connection(('203.0.113.20', 443), 5) for _ in range(6)]
print(json.dumps([s.getsockname()[1] for s in sockets]))
";
    let ports = result_of(&host.in_cgroup("client", "python3").args(["-c", script]).output().unwrap());
    let ports = ports.as_array().unwrap();
    assert_eq!(daemon.ask("waiting"), ROOM);
    assert_eq!(daemon.ask("stats")["FlowLost"], ports.len() - ROOM);
    // What a worker finds at accept: it closes what has no flow.
    let taken: Vec<Value> = ports.iter().map(|port| daemon.ask(&format!("take 127.0.0.1:{port}"))).collect();
    let lost = taken.iter().filter(|told| told.as_str().unwrap().contains("was not redirected here")).count();
    assert_eq!(lost, ports.len() - ROOM, "{taken:?}");
    assert_eq!(direct.connections(), 0);
}

#[test]
fn a_full_map_of_endpoints_is_an_error_with_a_remedy_and_what_was_enrolled_stays() {
    let Some(host) = Host::new() else { return };
    let _daemon = Daemon::start(daemon(&host, "deaf", &[("CAPTURE_ENDPOINTS", "4")], &ENROLLED));
    drop(_daemon);
    let many: Vec<String> = (1..=9).map(|last| format!("203.0.113.{last}/32,443")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let text = complaint(daemon(&host, "deaf", &[], &many));
    assert_names(&text, &["map ENDPOINTS_V4", "the map is full: enrol fewer addresses, or wider prefixes"]);
    assert_eq!(host.connect(&to(V4, 443))["error"], "ECONNREFUSED");
}

#[test]
fn a_full_ring_buffer_of_events_is_counted_and_changes_no_verdict() {
    const DATAGRAMS: usize = 6000;
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    let script = "
import errno, socket
refused = 0
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    for _ in range(6000):
        try: sock.sendto(b'x', ('203.0.113.10', 443))
        except OSError as error: refused += error.errno == errno.ECONNREFUSED
print(refused)
";
    let refused = result_of(&host.in_cgroup("client", "python3").args(["-c", script]).output().unwrap());
    assert_eq!(refused, DATAGRAMS);
    let stats = daemon.ask("stats");
    assert_eq!(stats["RefusedDatagram"], DATAGRAMS);
    assert!(stats["EventLost"].as_u64().unwrap() > 0, "{stats}");
}
