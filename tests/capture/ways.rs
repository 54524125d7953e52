//! What becomes of a connection, by where it goes and who makes it; the ways to make one are in `rows.rs`.

use serde_json::{Value, json};

use crate::host::{DIRECT_V4, DIRECT_V6, Direct, Host, result_of, to};

const V4: &str = "203.0.113.10";
const V6: &str = "2001:db8::10";
const MAPPED: &str = "::ffff:203.0.113.10";
const ENROLLED: [&str; 2] = ["203.0.113.10/32,443", "2001:db8::10/128,443"];

/// `connect.py`'s description with more keys.
fn with(mut spec: Value, more: &Value) -> Value {
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

#[test]
fn datagrams_to_enrolled_destinations_are_refused() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    for address in [V4, V6, MAPPED] {
        for how in ["connect", "sendto"] {
            let client = host.connect(&with(to(address, 443), &json!({"kind": "udp", "how": how})));
            assert_eq!(client["error"], "ECONNREFUSED", "{address} {how}: {client}");
        }
    }
    assert_eq!(daemon.ask("stats")["RefusedDatagram"], 6);
    let elsewhere = host.connect(&with(to(DIRECT_V4, 443), &json!({"kind": "udp", "how": "sendto"})));
    assert_eq!(elsewhere.get("error"), None, "{elsewhere}");
}

#[test]
fn other_destinations_are_left_alone() {
    let Some(host) = Host::new() else { return };
    let direct = [Direct::listen(DIRECT_V4, 443), Direct::listen(DIRECT_V6, 443), Direct::listen(DIRECT_V4, 8443)];
    let _daemon = host.daemon(&["203.0.113.20/32,8080", "203.0.113.0/28,443", "2001:db8::/124,443"]);
    for (address, port) in [(DIRECT_V4, 443), (DIRECT_V6, 443), (DIRECT_V4, 8443)] {
        let client = host.connect(&to(address, port));
        assert_eq!(client["said"], "direct", "{address} {port}: {client}");
        assert_eq!(client["peer"], json!([address, port]));
    }
    assert_eq!(direct.map(|server| server.connections()), [1, 1, 1]);
}

#[test]
fn a_prefix_enrols_its_addresses_and_a_new_set_replaces_the_old() {
    let Some(host) = Host::new() else { return };
    let _direct = Direct::listen(DIRECT_V4, 443);
    let mut daemon = host.daemon(&["203.0.113.16/28,443"]);
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "203.0.113.20:443");
    daemon.ask("enrol 203.0.113.10/32,443");
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "direct");
    assert_eq!(host.connect(&to(V4, 443))["said"], "203.0.113.10:443");
}

#[test]
fn own_traffic_needs_both_cgroup_and_mark() {
    let Some(host) = Host::new() else { return };
    let _direct = Direct::listen(DIRECT_V4, 443);
    let mut daemon = host.daemon(&["203.0.113.20/32,443"]);
    assert_eq!(daemon.ask("dial 203.0.113.20:443 marked"), "direct");
    assert_eq!(daemon.ask("dial 203.0.113.20:443 unmarked"), "203.0.113.20:443");
    let marked = host.connect(&with(to(DIRECT_V4, 443), &json!({"mark": 0x1c7})));
    assert_eq!(marked["said"], "203.0.113.20:443");
    assert_eq!(daemon.ask("stats")["Own"], 1);
}

#[test]
fn a_client_cannot_dial_the_listener_itself() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    let port = daemon.port;
    for address in ["127.0.0.1", "127.0.0.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"] {
        let client = host.connect(&to(address, port));
        assert_eq!(client["error"], "ECONNREFUSED", "{address}: {client}");
    }
    assert_eq!(daemon.ask("stats")["RefusedListener"], 6);
}

#[test]
fn a_connection_from_outside_the_cgroup_has_no_flow() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    let _stranger = std::net::TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    let told = daemon.wait_for("no_flow");
    assert!(told["no_flow"].as_str().unwrap().contains("was not redirected here"), "{told}");
}

#[test]
fn the_caller_is_named() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    let mut command = host.in_cgroup("client", "setpriv");
    command.args(["--reuid=65534", "--regid=0", "--groups=0,3999999123"]);
    let curl = ["curl", "--silent", "--max-time", "5", "--local-port", "45678", "http://203.0.113.10:443/"];
    let mut client = command.args(curl).current_dir("/usr").spawn().unwrap();
    let line = daemon.flow_of(&json!({"local": ["127.0.0.1", 45678]}));
    // Its status says what it made of the daemon's answer, which is none to HTTP.
    client.wait().unwrap();
    let (flow, caller) = (&line["flow"], &line["caller"]);
    assert_eq!((&flow["tgid"], &flow["uid"], &flow["gid"]), (&json!(client.id()), &json!(65534), &json!(0)));
    assert_eq!(caller["user"], "nobody");
    assert_eq!(caller["groups"], json!(["root", "3999999123"]));
    assert_eq!(caller["cwd"], "/usr");
    assert_eq!(caller["exe"], "/usr/bin/curl");
    assert_eq!(caller["cmdline"], json!(curl));
    let name = host.cgroup().file_name().unwrap().to_str().unwrap();
    assert_eq!(caller["cgroup"], format!("/{name}/client"));
    let (started, connected) = (caller["started_at"].as_u64().unwrap(), flow["connected_at"].as_u64().unwrap());
    assert!(started <= connected && connected - started < 10_000_000_000, "{started} {connected}");
}

#[test]
fn a_network_namespace_without_a_listener_is_refused() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    let mut command = host.in_cgroup("client", "unshare");
    command.args(["--net", "sh", "-c", r#"ip link set lo up && exec "$@""#, "sh"]);
    command.args(host.client(&to(V4, 443)).get_args().skip(3));
    let client = result_of(&command.output().unwrap());
    assert_eq!(client["error"], "ECONNREFUSED", "{client}");
    assert_eq!(daemon.ask("stats")["RefusedNoListener"], 1);
}
