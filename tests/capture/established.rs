//! Connections that were made before their destination was enrolled.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::host::{DIRECT_V4, DIRECT_V6, Host};

/// Connects, says so, and tells what comes of the connection.
const CLIENT: &str = "
import errno, socket, sys
how, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ':' in address else socket.AF_INET
sock = socket.socket(family, socket.SOCK_DGRAM if how == 'udp' else socket.SOCK_STREAM)
sock.connect((address, port))
print('connected', flush=True)
try:
    print(sock.recv(1).decode() or 'closed', flush=True)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
";

/// The same, to a server of its own in a network namespace of its own.
const ALONE: &str = "
import errno, socket, subprocess
subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
server = socket.create_server(('127.0.0.1', 4433))
sock = socket.create_connection(('127.0.0.1', 4433))
print('connected', flush=True)
try:
    print(sock.recv(1).decode() or 'closed', flush=True)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
";

const GONE: &str = "ECONNABORTED";

/// A client with a connection.
struct Client {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn connect(host: &Host, cgroup: &str, how: &str, to: (&str, u16)) -> Self {
        let mut command = host.in_cgroup(cgroup, "python3");
        command.args(["-c", CLIENT, how, to.0, &to.1.to_string()]);
        Self::start(command)
    }

    fn start(mut command: std::process::Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("python3");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut client = Self { child, lines };
        assert_eq!(client.says(), "connected");
        client
    }

    fn says(&mut self) -> String {
        self.lines.next().expect("a line").expect("text")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that keeps its connections open and hands them over.
fn serve(address: &str, port: u16) -> Receiver<TcpStream> {
    let listener = TcpListener::bind((address, port)).expect("the address is on lo");
    let (sender, streams) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if sender.send(stream).is_err() {
                return;
            }
        }
    });
    streams
}

#[test]
fn direct_connections_end_when_their_destination_is_enrolled_and_others_do_not() {
    let Some(host) = Host::new() else { return };
    let (_v4, _v6, other) = (serve(DIRECT_V4, 443), serve(DIRECT_V6, 443), serve(DIRECT_V4, 8080));
    let udp = UdpSocket::bind((DIRECT_V4, 443)).unwrap();
    let mapped = format!("::ffff:{DIRECT_V4}");
    let mut direct: Vec<_> = [("tcp", DIRECT_V4), ("tcp", DIRECT_V6), ("tcp", &mapped), ("udp", DIRECT_V4)]
        .into_iter()
        .map(|(how, address)| (how, address, Client::connect(&host, "client", how, (address, 443))))
        .collect();
    let mut elsewhere = Client::connect(&host, "client", "tcp", (DIRECT_V4, 8080));
    let mut daemon = host.daemon(&["203.0.113.20/32,443", "2001:db8::20/128,443"]);

    let result = daemon.ask("destroy 203.0.113.20/32,443 2001:db8::20/128,443");
    assert_eq!((&result["sockets"], &result["left"]), (&4.into(), &0.into()));
    for (how, address, client) in &mut direct {
        assert_eq!(client.says(), GONE, "{how} {address}");
    }
    other.recv().unwrap().write_all(b"x").unwrap();
    assert_eq!(elsewhere.says(), "x");
    drop(udp);
}

#[test]
fn what_is_not_enrolled_and_what_is_exempt_keeps_its_connections() {
    let Some(host) = Host::new() else { return };
    let streams = serve(DIRECT_V4, 443);
    let daemon_cgroup = host.cgroup().join("daemon");
    let mut exempt = Client::connect(&host, "daemon", "tcp", (DIRECT_V4, 443));
    // In the cgroup of the test itself: beside the enrolled one.
    let mut command = std::process::Command::new("python3");
    command.args(["-c", CLIENT, "tcp", DIRECT_V4, "443"]);
    let mut outside = Client::start(command);
    let mut daemon = host.daemon(&["203.0.113.20/32,443"]);

    let result = daemon.ask(&format!("destroy 203.0.113.20/32,443 {}=exempt", daemon_cgroup.display()));
    assert_eq!(result["sockets"], 0);
    for stream in streams.iter().take(2) {
        (&stream).write_all(b"x").unwrap();
    }
    assert_eq!((exempt.says(), outside.says()), ("x".into(), "x".into()));
}

#[test]
fn the_daemons_own_connections_are_told_by_cgroup_and_mark() {
    let Some(host) = Host::new() else { return };
    let _streams = serve(DIRECT_V4, 443);
    let mut daemon = host.daemon(&["203.0.113.99/32,443"]);
    daemon.ask("keep 203.0.113.20:443 marked");
    daemon.ask("keep 203.0.113.20:443 unmarked");
    let mut mark_alone = host.in_cgroup("client", "python3");
    let script =
        CLIENT.replace("sock.connect", "sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x1c7); sock.connect");
    mark_alone.args(["-c", &script, "tcp", DIRECT_V4, "443"]);
    let mut mark_alone = Client::start(mark_alone);

    assert_eq!(daemon.ask("destroy 203.0.113.20/32,443")["sockets"], 2);
    assert_eq!(daemon.ask("kept"), 1);
    assert_eq!(mark_alone.says(), GONE);
}

#[test]
fn connections_in_other_network_namespaces_are_found() {
    let Some(host) = Host::new() else { return };
    let mut command = host.in_cgroup("client", "unshare");
    command.args(["--net", "python3", "-c", ALONE]);
    let mut client = Client::start(command);
    let mut daemon = host.daemon(&["127.0.0.1/32,4433"]);
    assert_eq!(daemon.ask("destroy 127.0.0.1/32,4433")["sockets"], 1);
    assert_eq!(client.says(), GONE);
}

#[test]
fn what_leaves_the_host_from_a_strict_cgroup_ends_and_what_stays_does_not() {
    let Some(host) = Host::new() else { return };
    let (_elsewhere, names, local) = (serve(DIRECT_V4, 8080), serve(DIRECT_V6, 8080), serve("127.0.0.1", 8080));
    let mut leaving = Client::connect(&host, "client", "tcp", (DIRECT_V4, 8080));
    let mut staying = Client::connect(&host, "client", "tcp", ("127.0.0.1", 8080));
    let mut other = Client::connect(&host, "daemon", "tcp", (DIRECT_V6, 8080));
    let mut daemon = host.daemon(&[]);

    let strict = format!("leaving {}=strict", host.cgroup().join("client").display());
    assert_eq!(daemon.ask(&strict)["sockets"], 1);
    assert_eq!(leaving.says(), GONE);
    local.recv().unwrap().write_all(b"x").unwrap();
    assert_eq!(staying.says(), "x");
    names.recv().unwrap().write_all(b"x").unwrap();
    assert_eq!(other.says(), "x");
}
