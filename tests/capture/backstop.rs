//! What the backstop keeps from an endpoint in another network namespace, and what it lets through. Each way is shown to
//! arrive while there is no backstop.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::host::{DIRECT_V4, Daemon, Direct, Host, eventually, result_of, to};

const V4: &str = "203.0.113.10";
const V6: &str = "2001:db8::10";
const ENROLLED: [&str; 2] = ["203.0.113.10/32,443", "2001:db8::10/128,443"];

/// A network namespace beside the host's, with a veth pair to it; gone when dropped.
struct Namespace(Child);

impl Namespace {
    /// Its end and the host's have addresses 2 and 1 of 203.0.113.`net`/30 and 2001:db8:`net`::/64.
    fn beside_the_host(net: u8) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "echo made; exec sleep 600"]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("unshare");
        let mut made = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut made).expect("it says so");
        let this = Self(child);
        let pid = this.0.id();
        sh(&format!(
            "ip link add to{net} type veth peer name inner netns {pid}
             ip link set to{net} up
             ip addr add 203.0.113.{first}/30 dev to{net}
             ip addr add 2001:db8:{net}::1/64 dev to{net} nodad",
            first = net + 1,
        ));
        let inside = this.run(
            "sh",
            &[
                "-ec",
                &format!(
                    "ip link set lo up
                 ip link set inner up
                 ip addr add 203.0.113.{second}/30 dev inner
                 ip addr add 2001:db8:{net}::2/64 dev inner nodad
                 ip route add default via 203.0.113.{first}
                 ip route add default via 2001:db8:{net}::1",
                    first = net + 1,
                    second = net + 2,
                ),
            ],
        );
        assert!(inside.expect("nsenter").success());
        this
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id())).arg(program).args(arguments);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> std::io::Result<std::process::ExitStatus> {
        self.command(program, arguments).status()
    }

    fn connect(&self, spec: &Value) -> Value {
        result_of(&self.command("python3", &[CONNECT, &spec.to_string()]).output().expect("python3"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const CONNECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/capture/connect.py");

/// In the host's network namespace.
fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().expect("sh");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The endpoint: a server for both families, and a count of the packets that arrived.
struct Endpoint {
    namespace: Namespace,
    server: Child,
}

impl Endpoint {
    fn new() -> Self {
        let namespace = Namespace::beside_the_host(64);
        let count = "table inet arrived { counter seen { }; chain entry { type filter hook prerouting priority 0; \
                     meta l4proto { tcp, udp } th dport { 443, 8443 } counter name \"seen\"; }; }";
        let addresses = format!("ip addr add {V4}/32 dev lo; ip addr add {V6}/128 dev lo nodad; nft '{count}'");
        assert!(namespace.run("sh", &["-ec", &addresses]).expect("nsenter").success());
        sh(&format!("ip route add {V4} via 203.0.113.66; ip route add {V6} via 2001:db8:64::2"));
        let script = "
import selectors, socket
ready = selectors.DefaultSelector()
for port in (443, 8443):
    ready.register(socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True), selectors.EVENT_READ)
print('ready', flush=True)
while True:
    for key, _ in ready.select():
        client, _ = key.fileobj.accept()
        client.sendall(b'direct\\n')
        client.close()
";
        let mut command = namespace.command("python3", &["-c", script]);
        let mut server = command.stdout(Stdio::piped()).spawn().expect("python3");
        let mut ready = String::new();
        BufReader::new(server.stdout.take().expect("piped")).read_line(&mut ready).expect("a line");
        Self { namespace, server }
    }

    /// Packets that arrived.
    fn arrived(&self) -> u64 {
        let list = ["--json", "list", "counters"];
        let output = self.namespace.command("nft", &list).output().expect("nft");
        let listing: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        listing["nftables"][1]["counter"]["packets"].as_u64().expect("a counter")
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Sends one packet to (address, port) through a raw socket: a TCP SYN, or a UDP datagram.
fn raw(host: &Host, address: &str, protocol: &str) {
    let script = "
import socket, struct, sys
address, protocol = sys.argv[1:]
v6 = ':' in address
number = {'tcp': 6, 'udp': 17}[protocol]
if protocol == 'tcp':
    data = struct.pack('!HHIIBBHHH', 40000, 443, 1, 0, 5 << 4, 2, 1024, 0, 0)
else:
    data = struct.pack('!HHHH', 40000, 443, 9, 0) + b'x'
sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, number)
try: sock.sendto(data, (address, 0))
except PermissionError: pass
";
    let mut command = host.in_cgroup("client", "python3");
    assert!(command.args(["-c", script, address, protocol]).status().expect("python3").success());
}

fn installed(daemon: &mut Daemon) -> Value {
    let told = daemon.ask("backstop install test-1");
    assert_eq!(told.get("error"), None, "{told}");
    told
}

#[test]
fn raw_packets_and_sockets_outside_the_daemons_cgroup_are_refused_and_counted() {
    let Some(host) = Host::new() else { return };
    let endpoint = Endpoint::new();
    let mut daemon = host.daemon(&ENROLLED);
    let attempts = |arrives: bool| {
        for address in [V4, V6] {
            for protocol in ["tcp", "udp"] {
                let before = endpoint.arrived();
                raw(&host, address, protocol);
                if arrives {
                    eventually("the packet arrives", || endpoint.arrived() > before);
                }
            }
            // Outside of the enrolled cgroup, with the daemon's mark.
            let spec = json!({"to": [address, 443], "mark": 0x1c7});
            let client = result_of(&Command::new("python3").args([CONNECT, &spec.to_string()]).output().unwrap());
            let expected = if arrives { json!({"said": "direct"}) } else { json!({"error": "ECONNREFUSED"}) };
            for (key, value) in expected.as_object().unwrap() {
                assert_eq!(&client[key], value, "{address}: {client}");
            }
        }
    };
    attempts(true);
    let told = installed(&mut daemon);
    let name = host.cgroup().file_name().unwrap().to_str().unwrap();
    assert!(told["own"].as_str().unwrap().contains(&format!("{name}/daemon and mark")), "{told}");
    let (before, counted) = (endpoint.arrived(), daemon.ask("backstop dropped"));
    assert_eq!(counted, 0);
    attempts(false);
    assert_eq!(endpoint.arrived(), before);
    assert_eq!(daemon.ask("backstop dropped"), 6);
}

#[test]
fn what_other_namespaces_send_through_this_host_is_refused_and_counted() {
    let Some(host) = Host::new() else { return };
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    let endpoint = Endpoint::new();
    let guest = Namespace::beside_the_host(80);
    let mut daemon = host.daemon(&ENROLLED);
    for address in [V4, V6] {
        assert_eq!(guest.connect(&to(address, 443))["said"], "direct");
    }
    installed(&mut daemon);
    let before = endpoint.arrived();
    for address in [V4, V6] {
        assert_eq!(guest.connect(&to(address, 443))["error"], "ECONNREFUSED");
        let udp = guest.connect(&json!({"to": [address, 443], "kind": "udp", "how": "sendto"}));
        assert_eq!(udp.get("error"), None, "a first datagram is sent: {udp}");
    }
    assert_eq!(endpoint.arrived(), before);
    assert_eq!(daemon.ask("backstop dropped"), 4);
    assert_eq!(guest.connect(&to(V4, 8443))["said"], "direct", "another port is nobody's business");
}

#[test]
fn the_daemons_own_connections_and_loopback_endpoints_are_not_cut_off() {
    let Some(host) = Host::new() else { return };
    let _endpoint = Endpoint::new();
    let _local = [Direct::listen("127.0.0.1", 11434), Direct::listen(DIRECT_V4, 443)];
    let mut daemon = host.daemon(&["203.0.113.10/32,443", "2001:db8::10/128,443", "127.0.0.1/32,11434"]);
    installed(&mut daemon);
    for address in ["203.0.113.10:443", "[2001:db8::10]:443", "127.0.0.1:11434"] {
        assert_eq!(daemon.ask(&format!("dial {address} marked")), "direct", "{address}");
    }
    for (address, port) in [(V4, 443), (V6, 443), ("127.0.0.1", 11434)] {
        let client = host.connect(&to(address, port));
        assert_eq!(client["peer"], json!([address, port]), "captured as before: {client}");
    }
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "direct");
    assert_eq!(daemon.ask("backstop dropped"), 0);
}

#[test]
fn an_exempt_cgroup_goes_direct() {
    let Some(host) = Host::new() else { return };
    let _endpoint = Endpoint::new();
    let exempt = host.cgroup().with_extension("exempt");
    fs::create_dir(&exempt).unwrap();
    let mut daemon = host.daemon(&ENROLLED);
    let told = daemon.ask(&format!("backstop install test-1 {}", exempt.display()));
    assert_eq!(told.get("error"), None, "{told}");
    let mut command = Command::new("sh");
    command.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(&exempt);
    let client = result_of(&command.args(["python3", CONNECT, &to(V4, 443).to_string()]).output().unwrap());
    fs::remove_dir(&exempt).unwrap();
    assert_eq!(client["said"], "direct", "{client}");
}

#[test]
fn the_destinations_follow_what_is_enrolled() {
    let Some(host) = Host::new() else { return };
    let _endpoint = Endpoint::new();
    let mut daemon = host.daemon(&ENROLLED);
    installed(&mut daemon);
    let outsider =
        |port: u16| result_of(&Command::new("python3").args([CONNECT, &to(V4, port).to_string()]).output().unwrap());
    for (destinations, refused_443, refused_8443) in [
        ("203.0.113.0/24,443 203.0.113.10/32,443 203.0.113.10/32,8443", true, true),
        ("203.0.113.10/32,443", true, false),
        ("203.0.113.10/32,8443 2001:db8::/32,443", false, true),
        ("0.0.0.0/0,443 ::/0,443", true, false),
    ] {
        assert_eq!(daemon.ask(&format!("backstop update {destinations}")), "done");
        for (port, refused) in [(443, refused_443), (8443, refused_8443)] {
            let client = outsider(port);
            assert_eq!(client["error"] == "ECONNREFUSED", refused, "{destinations}, port {port}: {client}");
        }
    }
}

#[test]
fn removed_it_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    installed(&mut daemon);
    assert!(sh("nft list ruleset").contains("table inet interceptor_test_1"));
    assert_eq!(daemon.ask("backstop remove"), "done");
    assert_eq!(sh("nft list ruleset"), "");
}

#[test]
fn a_killed_daemon_leaves_it_in_force_and_the_next_one_replaces_it() {
    let Some(host) = Host::new() else { return };
    let endpoint = Endpoint::new();
    let mut daemon = host.daemon(&ENROLLED);
    installed(&mut daemon);
    daemon.kill();
    let before = endpoint.arrived();
    raw(&host, V4, "tcp");
    assert_eq!(endpoint.arrived(), before);
    let mut next = host.daemon(&["203.0.113.99/32,443"]);
    installed(&mut next);
    assert_eq!(next.ask("backstop dropped"), 0, "a table of its own");
    raw(&host, V4, "tcp");
    eventually("what is no longer enrolled arrives", || endpoint.arrived() > before);
    assert_eq!(next.ask("backstop remove"), "done");
    assert_eq!(sh("nft list ruleset"), "");
}

#[test]
fn without_nft_the_package_is_named() {
    let Some(host) = Host::new() else { return };
    let mut command = host.in_cgroup("daemon", "/usr/bin/env");
    command.args(["PATH=/nonexistent", env!("CARGO_BIN_EXE_capture-daemon")]);
    command.arg(host.cgroup()).arg(host.pin_dir()).arg("deaf");
    let told = Daemon::start(command).ask("backstop install test-1");
    assert!(told["error"].as_str().unwrap().contains("install the package `nftables`"), "{told}");
}

#[test]
fn a_table_that_somebody_removed_is_missed() {
    let Some(host) = Host::new() else { return };
    let mut daemon = host.daemon(&ENROLLED);
    installed(&mut daemon);
    sh("nft flush ruleset");
    let told = daemon.ask("backstop dropped");
    assert!(told["error"].as_str().unwrap().contains("interceptor_test_1` is gone"), "{told}");
}
