//! A daemon that does nothing but capture: it tells each client where it meant to go, and its tests what it learnt.
//!
//! Standard output is JSON Lines: `{"ready":...}` once attached, `{"flow":...}` for each connection, and an answer to
//! each line of standard input: `dial ADDRESS marked|unmarked`, `enrol ENDPOINT...`, `stats`, `features`, `waiting`,
//! `sweep`, `take CLIENT`, `name CLIENT` (takes, and tells who called), `announce`, `withdraw`, `modes CGROUP=MODE...`,
//! `beat`, `events`, `dns`, `detach`, `destroy ENDPOINT... CGROUP=MODE...`, `leaving CGROUP=MODE...`, `keep ADDRESS
//! marked|unmarked`, `kept`, `learn RESOLVER`, `backstop install INSTANCE EXEMPT_CGROUP...`, `backstop update ENDPOINT...`,
//! `backstop dropped`, `backstop remove`. With `CAPTURE_LOG=1` also `{"log":...}` for each line that the
//! daemon or the kernel programs log.

#![expect(clippy::print_stdout, reason = "the tests read it")]

use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use interceptor::capture::backstop::{self, Backstop};
use interceptor::capture::{
    Addresses, BootTime, Capture, Catalogue, CgroupMode, DnsPackets, EndpointAddr, Event, Features, Flow, Flows,
    Listening, Mode, Overrides, Resolvers, Scope, Settings, TakeError, What, WhenDown, destroy_direct, destroy_leaving,
};
use interceptor::flow::ClientAddr;
use interceptor::identity::{Caller, CgroupPath, Resolver};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

const MARK: u32 = 0x1c7;

fn main() -> Result<()> {
    if std::env::var("CAPTURE_LOG").is_ok_and(|value| value == "1") {
        log::set_logger(&Logger)?;
        log::set_max_level(log::LevelFilter::Debug);
    }
    let mut args = std::env::args().skip(1).peekable();
    if args.peek().is_some_and(|first| first == "features") {
        say(&json!({"features": Features::probe()?}));
        return Ok(());
    }
    let cgroup = PathBuf::from(args.next().context("usage: features | CGROUP PIN_DIR accept|hold|deaf ENDPOINT...")?);
    let pin_dir = PathBuf::from(args.next().context("PIN_DIR")?);
    let mode = args.next().context("accept, hold or deaf")?;
    let endpoints = args.map(|text| parse(&text)).collect::<Result<Vec<_>>>()?;

    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = v4.local_addr()?.port();
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port))?;
    let mut capture = Capture::attach(&Settings {
        cgroup: cgroup.clone(),
        pin_dir,
        mark: MARK,
        listener_port: port,
        stale_after: setting("CAPTURE_STALE_MS")?.map(Duration::from_millis),
        waiting_per_user: setting("CAPTURE_WAITING")?.unwrap_or(Settings::WAITING_PER_USER),
        overrides: overrides()?,
    })?;
    capture.enrol(&endpoints)?;
    let flows = capture.flows();
    let at = capture.listening();
    let mut held = Vec::new();
    let resolver = Arc::new(Resolver::new());
    match mode.as_str() {
        "accept" => {
            for listener in [v4, v6] {
                let (flows, resolver) = (flows.clone(), Arc::clone(&resolver));
                std::thread::spawn(move || serve(&listener, &flows, at, &resolver));
            }
        }
        // Connections queue and are never accepted.
        "hold" => held.extend([v4, v6]),
        "deaf" => drop((v4, v6)),
        other => bail!("{other}: accept, hold or deaf"),
    }
    let snapshots = capture.snapshot_support().map_or_else(|error| error.to_string(), |()| "on".to_owned());
    say(&json!({"ready": {"port": port, "netns": at.netns.0, "snapshots": snapshots}}));
    answer(capture, &flows, &resolver, at, port, &cgroup)
}

/// A number from the environment.
fn setting(name: &str) -> Result<Option<u64>> {
    std::env::var(name).ok().map(|value| value.parse().with_context(|| format!("{name}={value}"))).transpose()
}

/// `CGROUP=strict|exempt|names`.
fn parse_mode(text: &str) -> Result<CgroupMode> {
    let (path, mode) = text.split_once('=').with_context(|| format!("{text}: CGROUP=MODE"))?;
    let mode = match mode {
        "strict" => Mode::Strict,
        "exempt" => Mode::Exempt,
        "names" => Mode::Names,
        other => bail!("{other}: strict, exempt or names"),
    };
    Ok(CgroupMode { path: path.into(), mode })
}

/// Other circumstances than this host's: `CAPTURE_FLOWS`, `CAPTURE_ENDPOINTS`, and `CAPTURE_ABSENT` with names of features
/// between commas.
fn overrides() -> Result<Overrides> {
    let absent = std::env::var("CAPTURE_ABSENT").unwrap_or_default();
    let names = absent.split(',').filter(|name| !name.is_empty());
    Ok(Overrides {
        absent: names.map(|name| Ok(serde_json::from_value(name.into())?)).collect::<Result<_>>()?,
        flows: setting("CAPTURE_FLOWS")?.map(u32::try_from).transpose()?,
        endpoints: setting("CAPTURE_ENDPOINTS")?.map(u32::try_from).transpose()?,
    })
}

/// `ADDRESS/PREFIX PORT` with a comma in between; `,open` behind it for an endpoint that is open while the daemon is down.
fn parse(text: &str) -> Result<EndpointAddr> {
    if let Some(text) = text.strip_suffix(",open") {
        return Ok(EndpointAddr { when_down: WhenDown::Open, ..parse(text)? });
    }
    let (network, port) = text.split_once(',').with_context(|| format!("{text}: ADDRESS/PREFIX,PORT"))?;
    let (ip, prefix) = network.split_once('/').with_context(|| format!("{text}: ADDRESS/PREFIX,PORT"))?;
    Ok(EndpointAddr { prefix: prefix.parse()?, ..EndpointAddr::single(ip.parse()?, port.parse()?) })
}

fn serve(listener: &TcpListener, flows: &Flows, at: Listening, resolver: &Resolver) {
    loop {
        // With its address: one that has been reset meanwhile has none any more, and its flow waits all the same.
        let Ok((stream, client)) = listener.accept() else { continue };
        match flows.take(ClientAddr(client), at) {
            Ok(flow) => {
                say(&json!({"flow": describe(client, &flow), "caller": name(&resolver.resolve(&flow))}));
                // The client may be gone; that is its business.
                let _ = tell(stream, &flow);
            }
            Err(error @ (TakeError::Missing { .. } | TakeError::Stale { .. } | TakeError::Syscall(_))) => {
                say(&json!({"no_flow": error.to_string()}));
            }
        }
    }
}

/// Where it meant to go. Then reads to the end: a close with bytes unread would reset the connection.
fn tell(mut stream: TcpStream, flow: &Flow) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    writeln!(stream, "{}", flow.original)?;
    stream.shutdown(Shutdown::Write)?;
    std::io::copy(&mut stream, &mut std::io::sink())?;
    Ok(())
}

fn describe(client: SocketAddr, flow: &Flow) -> Value {
    json!({
        "client": client.to_string(),
        "original": flow.original.to_string(),
        "tgid": flow.tgid,
        "tid": flow.tid,
        "uid": flow.uid,
        "gid": flow.gid,
        "task_cgroup": flow.task_cgroup,
        "socket_cgroup": flow.socket_cgroup,
        "netns": flow.netns.0,
        "socket_cookie": flow.socket_cookie,
        "connected_at": flow.connected_at.as_nanos(),
        "reason": format!("{:?}", flow.reason),
    })
}

fn name(caller: &Caller) -> Value {
    json!({
        "user": caller.user,
        "groups": caller.groups,
        "exe": caller.exe,
        "exe_sha256": caller.exe_sha256,
        "cmdline": caller.cmdline,
        "cwd": caller.cwd,
        "cgroup": caller.cgroup.as_ref().map(CgroupPath::as_path),
        "container": caller.container().map(|container| container.to_string()),
        "unit": caller.unit(),
        "groups_cut": caller.groups_cut,
        "parents": caller
            .parents
            .iter()
            .map(|parent| json!({"pid": parent.pid, "exe": parent.exe, "comm": parent.comm}))
            .collect::<Vec<_>>(),
        "login_uid": caller.login_uid,
        "audit_session": caller.audit_session,
        "started_at": caller.started_at.map(BootTime::as_nanos),
    })
}

fn tell_event(event: &Event) -> Value {
    let (what, to) = match event.what {
        What::NetnsWanted => ("netns wanted".to_owned(), None),
        What::Refused { to, why } => (format!("{why:?}"), Some(to)),
        What::PassedOpen { to } => ("passed open".to_owned(), Some(to)),
        What::Exempt { to } => ("exempt".to_owned(), Some(to)),
    };
    json!({
        "what": what, "to": to.map(|to| to.to_string()), "tgid": event.tgid, "uid": event.uid,
        "cgroup": event.cgroup, "netns": event.netns.0,
    })
}

fn answer(
    mut capture: Capture,
    flows: &Flows,
    resolver: &Resolver,
    mut at: Listening,
    port: u16,
    cgroup: &Path,
) -> Result<()> {
    let mut backstop = None;
    let mut heartbeat = capture.take_heartbeat().context("a fresh capture has its heartbeat")?;
    let mut events = capture.take_events().context("a fresh capture has its events")?;
    let mut dns = capture.take_dns().context("a fresh capture has its DNS answers")?;
    let mut kept = Vec::new();
    let mut learning = Learning::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["dial", to, how] => say(&json!({"dial": dial(to.parse()?, how == "marked")})),
            ["stats"] => {
                let stats = capture.stats()?;
                let counts: serde_json::Map<_, _> =
                    stats.iter().map(|(counter, value)| (format!("{counter:?}"), value.into())).collect();
                say(&json!({"stats": counts}));
            }
            ["features"] => say(&json!({"features": capture.features()})),
            ["snapshots"] => say(&json!({"snapshots": flows.snapshots_waiting()?})),
            ["waiting"] => say(&json!({"waiting": flows.waiting()?})),
            ["sweep"] => say(&json!({"sweep": flows.sweep(Duration::ZERO)?})),
            ["take", client] => {
                let taken = flows.take(ClientAddr(client.parse()?), at);
                say(&json!({"take": taken.map_or_else(|error| error.to_string(), |flow| flow.original.to_string())}));
            }
            ["name", client] => {
                let taken = flows.take(ClientAddr(client.parse()?), at);
                let caller = taken.map(|flow| json!({"tgid": flow.tgid, "caller": name(&resolver.resolve(&flow))}));
                say(&json!({"name": caller.unwrap_or_else(|error| error.to_string().into())}));
            }
            ["announce"] => {
                at = capture.announce(at.netns, port)?;
                say(&json!({"announce": "done"}));
            }
            ["withdraw"] => {
                capture.withdraw(at.netns)?;
                say(&json!({"withdraw": "done"}));
            }
            ["enrol", ref endpoints @ ..] => {
                let endpoints = endpoints.iter().map(|text| parse(text)).collect::<Result<Vec<_>>>()?;
                capture.enrol(&endpoints)?;
                say(&json!({"enrol": "done"}));
            }
            ["backstop", ref rest @ ..] => {
                let told = hold_back(&mut backstop, &capture, rest);
                say(&json!({"backstop": told.unwrap_or_else(|error| json!({"error": error.to_string()}))}));
            }
            [command @ ("destroy" | "leaving"), ref what @ ..] => {
                let (modes, endpoints): (Vec<&str>, Vec<&str>) = what.iter().partition(|word| word.contains('='));
                let modes = modes.into_iter().map(parse_mode).collect::<Result<Vec<_>>>()?;
                let endpoints = endpoints.into_iter().map(parse).collect::<Result<Vec<_>>>()?;
                let scope = Scope { cgroup, modes: &modes, own_mark: MARK };
                let direct = command == "destroy";
                let gone = if direct { destroy_direct(&endpoints, &scope)? } else { destroy_leaving(&scope)? };
                say(&json!({command: {"sockets": gone.sockets, "left": gone.left}}));
            }
            ["keep", to, how] => {
                kept.push(connect(to.parse()?, how == "marked")?);
                say(&json!({"keep": "done"}));
            }
            ["kept"] => {
                let alive = kept.iter().filter(|socket| matches!(socket.take_error(), Ok(None))).count();
                say(&json!({"kept": alive}));
            }
            ["learn", resolver] => say(&json!({"learn": learning.run(&mut capture, &mut dns, resolver)?})),
            ["modes", ref modes @ ..] => {
                let modes = modes.iter().map(|text| parse_mode(text)).collect::<Result<Vec<_>>>()?;
                capture.set_modes(&modes)?;
                say(&json!({"modes": "done"}));
            }
            ["beat"] => {
                heartbeat.beat(BootTime::now())?;
                say(&json!({"beat": "done"}));
            }
            ["events"] => {
                let all: Vec<_> = std::iter::from_fn(|| events.take()).map(|event| tell_event(&event)).collect();
                say(&json!({"events": all}));
            }
            ["dns"] => {
                let all: Vec<_> = std::iter::from_fn(|| dns.take())
                    .map(|packet| {
                        json!({
                            "resolver": packet.resolver.to_string(),
                            "netns": packet.netns.map(|netns| netns.0),
                            "payload": packet.payload,
                        })
                    })
                    .collect();
                say(&json!({"dns": all}));
            }
            ["detach"] => {
                capture.detach()?;
                say(&json!({"detach": "done"}));
                return Ok(());
            }
            _ => bail!("what is {line:?}?"),
        }
    }
    Ok(())
}

/// The backstop's commands.
fn hold_back(held: &mut Option<Backstop>, capture: &Capture, words: &[&str]) -> Result<Value> {
    match *words {
        ["install", instance, ref exempt @ ..] => {
            let exempt = exempt.iter().map(PathBuf::from).collect();
            let settings = backstop::Settings { instance: instance.to_owned(), mark: MARK, forward: true, exempt };
            let installed = Backstop::install(&settings, &capture.enrolled()?)?;
            let own = installed.own().to_string();
            *held = Some(installed);
            Ok(json!({"own": own}))
        }
        ["update", ref endpoints @ ..] => {
            let endpoints = endpoints.iter().map(|text| parse(text)).collect::<Result<Vec<_>>>()?;
            held.as_mut().context("not installed")?.update(&endpoints)?;
            Ok(json!("done"))
        }
        ["dropped"] => Ok(json!(held.as_ref().context("not installed")?.dropped()?)),
        ["remove"] => {
            held.take().context("not installed")?.remove()?;
            Ok(json!("done"))
        }
        _ => bail!("backstop what?"),
    }
}

/// A connection of the daemon's own: what it came to.
fn dial(to: SocketAddr, marked: bool) -> String {
    let read = |stream: TcpStream| -> std::io::Result<String> {
        let mut line = String::new();
        std::io::BufReader::new(stream).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    };
    connect(to, marked).and_then(read).unwrap_or_else(|error| format!("error: {error}"))
}

fn connect(to: SocketAddr, marked: bool) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if marked {
        socket.set_mark(MARK)?;
    }
    socket.connect_timeout(&to.into(), Duration::from_secs(2))?;
    Ok(socket.into())
}

/// Enrols what DNS answers say about `*.llm.example`.
struct Learning {
    addresses: Addresses,
}

impl Learning {
    fn new() -> Self {
        let endpoint = json!({"provider": "openai", "names": ["*.llm.example"]});
        let endpoint = serde_json::from_value(endpoint).expect("an endpoint");
        let addresses = Addresses::new(Catalogue::new(&[endpoint], None), [], Instant::now());
        Self { addresses }
    }

    /// Takes in the answers so far, as far as they are of `resolver`.
    fn run(&mut self, capture: &mut Capture, dns: &mut DnsPackets, resolver: &str) -> Result<Value> {
        let resolvers = Resolvers::system(&[resolver.parse()?], capture.listening().netns);
        let mut changed = false;
        while let Some(packet) = dns.take() {
            changed |= self.addresses.observe_packet(&packet, &resolvers, Instant::now());
        }
        capture.enrol(&self.addresses.current())?;
        let counts = self.addresses.dns_counts();
        Ok(json!({"changed": changed, "answers": counts.answers, "untrusted": counts.untrusted}))
    }
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        say(&json!({"log": record.args().to_string()}));
    }

    fn flush(&self) {}
}

/// One line, whole: several threads speak.
fn say(value: &Value) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    println!("{value}");
}
