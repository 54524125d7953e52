//! Every row of [`ROWS`], against listening servers at the enrolled addresses: what is not captured would be seen
//! there.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use interceptor::capture::Cgroups;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::{DIRECT_V4, DIRECT_V6, Daemon, Direct, Host, result_of};
use crate::rows::{As, Destination, Expect, ROWS, Row};

const USER: u32 = 65534;

/// A place that every user can read, with `capture-client` and a copy of it.
pub(crate) struct Programs {
    _place: tempfile::TempDir,
    pub(crate) client: PathBuf,
    pub(crate) copies: Vec<PathBuf>,
}

impl Programs {
    pub(crate) fn new(copies: usize) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).expect("our own directory");
        let copy = |name: String| {
            let path = place.path().join(name);
            std::fs::copy(env!("CARGO_BIN_EXE_capture-client"), &path).expect("a copy");
            path
        };
        let client = copy("client".into());
        let copies = (0..copies).map(|number| copy(format!("copy-{number}"))).collect();
        Self { _place: place, client, copies }
    }
}

/// An address of a report, v4-mapped as IPv4.
fn plain(address: &Value) -> String {
    let address: SocketAddr = address.as_str().and_then(|text| text.parse().ok()).expect("a reported address");
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

/// Sockets that would receive a datagram that got through.
struct Datagrams(Vec<Socket>);

impl Datagrams {
    fn listen() -> Self {
        let ends = [(Domain::IPV4, DIRECT_V4), (Domain::IPV6, DIRECT_V6)];
        let protocols = [Protocol::UDP, Protocol::UDPLITE];
        let sockets = ends.iter().flat_map(|&(domain, address)| {
            protocols.into_iter().filter_map(move |protocol| {
                // A kernel without UDP-Lite has nothing to receive either.
                let socket = Socket::new(domain, Type::DGRAM, Some(protocol)).ok()?;
                let at =
                    format!("{}:443", if domain == Domain::IPV6 { format!("[{address}]") } else { address.into() });
                let at: SocketAddr = at.parse().expect("an address");
                socket.bind(&at.into()).expect("the address is on lo");
                socket.set_nonblocking(true).expect("a socket");
                Some(socket)
            })
        });
        Self(sockets.collect())
    }

    fn received(&self) -> usize {
        let mut bytes = [std::mem::MaybeUninit::uninit(); 16];
        self.0.iter().filter(|socket| socket.recv(&mut bytes).is_ok()).count()
    }
}

struct Table {
    daemon: Daemon,
    programs: Programs,
    other: PathBuf,
    direct: [Direct; 2],
    datagrams: Datagrams,
    /// Goes last: its cgroups must be empty.
    host: Host,
}

impl Table {
    fn run(&self, row: &Row) -> Value {
        let script = row
            .script
            .replace("{v4}", &format!("{DIRECT_V4}:443"))
            .replace("{v6}", &format!("[{DIRECT_V6}]:443"))
            .replace("{direct6}", &format!("[{DIRECT_V6}]:8443"))
            .replace("{mapped}", &format!("[::ffff:{DIRECT_V4}]:443"))
            .replace("{a4}", DIRECT_V4)
            .replace("{a6}", DIRECT_V6)
            .replace("{port}", &self.daemon.port.to_string())
            .replace("{other}", &self.other.display().to_string())
            .replace("{copy}", &self.programs.copies[0].display().to_string());
        let mut command = match row.who {
            As::User => {
                let mut command = self.host.in_cgroup("client", "setpriv");
                command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".into()]);
                command.arg(&self.programs.client);
                command
            }
            As::Root | As::Mover => {
                self.host.in_cgroup("client", self.programs.client.to_str().expect("a path in UTF-8"))
            }
        };
        result_of(&command.args(["run", &script]).output().expect("the client runs"))
    }

    /// What is wrong with what a row came to.
    fn judge(&mut self, row: &Row, seen: &Value) -> Result<(), String> {
        let error = seen["error"].as_str();
        match row.expect {
            Expect::Captured(destination) => match error {
                None => self.judge_captured(row, destination, seen)?,
                Some(error) => return Err(format!("{error} at {}", seen["step"])),
            },
            Expect::Refused if error == Some("ECONNREFUSED") => {}
            Expect::Fails(errors) if error.is_some_and(|error| errors.contains(&error)) => {}
            Expect::Refused | Expect::Fails(_) => return Err(format!("seen: {seen}")),
        }
        let reached = (self.direct.each_ref().map(Direct::connections), self.datagrams.received());
        if reached == ([0, 0], 0) { Ok(()) } else { Err(format!("reached the destination itself: {reached:?}")) }
    }

    fn judge_captured(&mut self, row: &Row, destination: Destination, seen: &Value) -> Result<(), String> {
        let original = match destination {
            Destination::V4 => format!("{DIRECT_V4}:443"),
            Destination::V6 => format!("[{DIRECT_V6}]:443"),
        };
        if seen["said"] != original {
            return Err(format!("the listener was not reached: {seen}"));
        }
        if plain(&seen["peer"]) != original {
            return Err(format!("getpeername says {}", seen["peer"]));
        }
        let line = self.daemon.flow_at(&plain(&seen["local"]));
        let (flow, caller) = (&line["flow"], &line["caller"]);
        let id = |directory: &std::path::Path| Cgroups::find().expect("cgroup2").id_of(directory).expect("a cgroup");
        let client = id(&self.host.cgroup().join("client"));
        let user = if row.who == As::User { USER } else { 0 };
        let expected = json!({
            "original": original, "tgid": seen["pid"], "uid": user, "gid": user, "socket_cgroup": client,
            "task_cgroup": if row.who == As::Mover { id(&self.other) } else { client }, "netns": self.daemon.netns,
        });
        for (key, value) in expected.as_object().expect("an object") {
            if &flow[key] != value {
                return Err(format!("{key} is {}, not {value}", flow[key]));
            }
        }
        let tid = &flow["tid"];
        let possible = seen["tids"].as_array().is_none_or(|tids| tids.contains(tid));
        if !possible || seen.get("tid").is_some_and(|expected| expected != tid) {
            return Err(format!("tid is {tid}: {seen}"));
        }
        if caller["exe"] != seen["exe"] {
            return Err(format!("exe is {}, not {}", caller["exe"], seen["exe"]));
        }
        Ok(())
    }
}

#[test]
fn every_way_to_connect_comes_to_what_is_specified() {
    let Some(host) = Host::new() else { return };
    let direct = [Direct::listen(DIRECT_V4, 443), Direct::listen(DIRECT_V6, 443)];
    let _elsewhere = Direct::listen(DIRECT_V6, 8443);
    let datagrams = Datagrams::listen();
    let daemon = host.daemon(&["203.0.113.20/32,443", "2001:db8::20/128,443"]);
    let other = host.make_cgroup("other");
    let mut table = Table { host, daemon, programs: Programs::new(1), other, direct, datagrams };
    let mut report = format!("{:44} {:28} {:10} seen\n", "way", "needs", "specified");
    let mut wrong = Vec::new();
    for row in ROWS {
        let seen = table.run(row);
        let specified = match row.expect {
            Expect::Captured(_) => "captured",
            Expect::Refused => "refused",
            Expect::Fails(_) => "fails",
        };
        let outcome = match table.judge(row, &seen) {
            Ok(()) => seen["error"].as_str().map_or_else(|| format!("captured as {}", seen["said"]), str::to_owned),
            Err(problem) => {
                wrong.push(format!("{}: {problem}", row.way));
                format!("WRONG: {problem}")
            }
        };
        let _ = writeln!(report, "{:44} {:28} {specified:10} {outcome}", row.way, row.needs);
    }
    // Past the harness, which keeps what a passing test prints to itself.
    let _ = std::io::stderr().write_all(report.as_bytes());
    assert!(ROWS.len() >= 40, "{}", ROWS.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(table.daemon.ask("waiting"), 0, "no flow is left over");
    assert_eq!(table.daemon.ask("stats")["FlowLost"], 0);
}
