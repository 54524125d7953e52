//! Strict and exempt cgroups, a daemon that is dead or hung, quotas, and what the programs report of it.

use std::process::Stdio;

use interceptor::capture::features::{Features, Name};
use serde_json::{Value, json};

use crate::host::{DIRECT_V4, DIRECT_V6, Daemon, Direct, Host, to};

const ENROLLED: [&str; 2] = ["203.0.113.10/32,443", "2001:db8::10/128,443"];

fn set_modes(host: &Host, daemon: &mut Daemon, modes: &[(&str, &str)]) {
    let of = |(below, mode): &(&str, &str)| format!("{}={mode}", host.cgroup().join(below).display());
    let modes: Vec<_> = modes.iter().map(of).collect();
    assert_eq!(daemon.ask(&format!("modes {}", modes.join(" "))), "done");
}

fn udp(address: &str, port: u16, how: &str) -> Value {
    let mut spec = to(address, port);
    spec["kind"] = json!("udp");
    spec["how"] = json!(how);
    spec
}

#[test]
fn a_strict_cgroup_is_captured_wherever_it_goes() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    set_modes(&host, &mut daemon, &[("client", "strict")]);
    for (address, port) in [(DIRECT_V4, 22), (DIRECT_V6, 8443), ("::ffff:203.0.113.20", 80)] {
        let client = host.connect(&to(address, port));
        let line = daemon.flow_of(&client);
        assert_eq!(line["flow"]["reason"], "Strict", "{address}: {line}");
        assert_eq!(client["peer"], json!([address, port]));
    }
    // Another port of an endpoint's address is the endpoint's too.
    for port in [443, 8443] {
        let client = host.connect(&to("203.0.113.10", port));
        assert_eq!(daemon.flow_of(&client)["flow"]["reason"], "Enrolled");
    }
    assert_eq!(daemon.ask("stats")["Strict"], 3);
}

#[test]
fn a_strict_cgroup_keeps_its_local_connections_and_most_datagrams() {
    let Some(host) = Host::new() else { return };
    let local = Direct::listen("127.0.0.1", 18_080);
    let mut daemon = host.daemon(&ENROLLED);
    set_modes(&host, &mut daemon, &[(".", "strict")]);
    assert_eq!(host.connect(&to("127.0.0.1", 18_080))["said"], "direct");
    assert_eq!(local.connections(), 1);
    let sent = host.connect(&udp(DIRECT_V4, 53, "sendto"));
    assert_eq!(sent.get("error"), None, "{sent}");
    for (address, port) in [(DIRECT_V4, 443), (DIRECT_V6, 443), ("203.0.113.10", 8443), ("2001:db8::10", 53)] {
        for how in ["sendto", "connect"] {
            let client = host.connect(&udp(address, port, how));
            assert_eq!(client["error"], "ECONNREFUSED", "{address} {port} {how}: {client}");
        }
    }
}

#[test]
fn an_exempt_cgroup_goes_direct_and_is_reported_and_the_nearest_mode_counts() {
    let Some(host) = Host::new() else { return };
    let direct = Direct::listen(DIRECT_V4, 443);
    let mut daemon = host.daemon(&["203.0.113.20/32,443"]);
    set_modes(&host, &mut daemon, &[(".", "strict"), ("client", "exempt")]);
    let client = host.connect(&to(DIRECT_V4, 443));
    assert_eq!(client["said"], "direct", "{client}");
    let events = daemon.ask("events");
    let event = &events.as_array().unwrap()[0];
    assert_eq!(
        (&event["what"], &event["to"], &event["tgid"]),
        (&json!("exempt"), &json!("203.0.113.20:443"), &client["pid"])
    );
    set_modes(&host, &mut daemon, &[(".", "exempt"), ("client", "names")]);
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "203.0.113.20:443");
    set_modes(&host, &mut daemon, &[]);
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "203.0.113.20:443");
    assert_eq!((direct.connections(), daemon.ask("stats")["Exempt"].clone()), (1, json!(1)));
}

#[test]
fn without_a_heartbeat_connections_are_refused_or_open_as_the_endpoint_says() {
    let Some(host) = Host::new() else { return };
    let direct = [Direct::listen(DIRECT_V4, 443), Direct::listen(DIRECT_V6, 443)];
    // Long enough for a client to start on an emulated processor.
    let stale = [("CAPTURE_STALE_MS", "4000")];
    let mut daemon = host.daemon_with(&stale, "accept", &["203.0.113.20/32,443", "2001:db8::20/128,443,open"]);
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "203.0.113.20:443");
    std::thread::sleep(std::time::Duration::from_millis(4_100));
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["error"], "ECONNREFUSED");
    assert_eq!(host.connect(&to(DIRECT_V6, 443))["said"], "direct");
    let events = daemon.ask("events");
    let what: Vec<_> = events.as_array().unwrap().iter().map(|event| event["what"].clone()).collect();
    assert_eq!(what, ["RefusedStale", "passed open"]);
    daemon.ask("beat");
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "203.0.113.20:443");
    assert_eq!(direct.map(|server| server.connections()), [0, 1]);
    let stats = daemon.ask("stats");
    assert_eq!((&stats["RefusedStale"], &stats["PassedOpen"]), (&json!(1), &json!(1)));
}

#[test]
fn a_user_may_not_have_too_many_connections_waiting() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_with(&[("CAPTURE_WAITING", "3")], "hold", &["203.0.113.20/32,443"]);
    let script = "import socket\n\
                  held = [socket.create_connection(('203.0.113.20', 443)) for _ in range(3)]\n\
                  try: socket.create_connection(('203.0.113.20', 443))\n\
                  except ConnectionRefusedError: print('refused')";
    let run =
        |host: &Host| host.in_cgroup("client", "python3").args(["-c", script]).stdout(Stdio::piped()).output().unwrap();
    assert_eq!(run(&host).stdout, b"refused\n");
    assert_eq!(daemon.ask("stats")["RefusedQuota"], 1);
    // What is taken or swept counts no more.
    assert_eq!(daemon.ask("sweep"), 3);
    assert_eq!(run(&host).stdout, b"refused\n");
    assert_eq!(daemon.ask("waiting"), 3);
}

#[test]
fn a_flow_that_replaces_a_stale_one_counts_once() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon_with(&[("CAPTURE_WAITING", "5")], "hold", &["203.0.113.20/32,443"]);
    // One bound socket, connected and disconnected again and again: always the same tuple.
    let script = "import ctypes, socket\n\
                  libc = ctypes.CDLL(None, use_errno=True)\n\
                  sock = socket.socket(); sock.bind(('127.0.0.1', 5555))\n\
                  for _ in range(40):\n\
                  \x20 sock.connect(('203.0.113.20', 443))\n\
                  \x20 assert libc.connect(sock.fileno(), bytes(16), 16) == 0\n\
                  print('done')";
    let output = host.in_cgroup("client", "python3").args(["-c", script]).output().unwrap();
    assert_eq!(output.stdout, b"done\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(daemon.ask("stats")["RefusedQuota"], 0);
}

#[test]
fn loopback_of_another_network_namespace_is_no_way_around_strict() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    set_modes(&host, &mut daemon, &[("client", "strict")]);
    let mut command = host.in_cgroup("client", "unshare");
    command.args(["--net", "sh", "-c", r#"ip link set lo up && exec "$@""#, "sh"]);
    command.args(host.client(&to("127.0.0.5", 443)).get_args().skip(3));
    let client = crate::host::result_of(&command.output().unwrap());
    assert_eq!(client["error"], "ECONNREFUSED", "{client}");
    assert_eq!(daemon.ask("stats")["RefusedNoListener"], 1, "it was to be captured, and there is no listener");
}

#[test]
fn a_namespace_without_a_listener_asks_for_one_before_it_connects() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    let mut command = host.in_cgroup("client", "unshare");
    command.args(["--net", "python3", "-c", "import os, socket; socket.socket(); print(os.getpid())"]);
    let output = command.output().unwrap();
    let pid: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
    let events = daemon.ask("events");
    let event = &events.as_array().unwrap()[0];
    assert_eq!((&event["what"], &event["tgid"]), (&json!("netns wanted"), &json!(pid)), "{events}");
    assert_ne!(event["netns"], json!(daemon.netns));
}

#[test]
fn dns_answers_are_copied_whole_and_others_are_not() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    let script = "import socket, sys\n\
                  for family, address in [(socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')]:\n\
                  \x20 for port, answer in [(53, bytes(range(200))), (5353, b'x' * 50), (53, b'y' * 2000)]:\n\
                  \x20   server = socket.socket(family, socket.SOCK_DGRAM); server.bind((address, port))\n\
                  \x20   client = socket.socket(family, socket.SOCK_DGRAM); client.bind((address, 0))\n\
                  \x20   server.sendto(answer, client.getsockname()); client.recv(4096)";
    let status = host.in_cgroup("client", "python3").args(["-c", script]).status().unwrap();
    assert!(status.success());
    let seen = daemon.ask("dns");
    let answer: Vec<u8> = (0..200).collect();
    let placed = Features::probe().unwrap().has(Name::NetnsCookieOfPacket);
    let netns = placed.then_some(daemon.netns);
    let expected: Vec<_> = ["127.0.0.1", "::1"]
        .iter()
        .map(|resolver| json!({"resolver": resolver, "netns": netns, "payload": answer}))
        .collect();
    assert_eq!(seen, Value::from(expected));
    let stats = daemon.ask("stats");
    assert_eq!((&stats["DnsSeen"], &stats["DnsLong"]), (&json!(2), &json!(2)));
}
