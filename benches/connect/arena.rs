//! Where it happens: a network namespace with servers on its loopback, and a cgroup for each setting, with programs
//! and maps of its own.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::programs::loaded_programs;
use interceptor::capture::{BootTime, Capture, CgroupMode, Cgroups, EndpointAddr, Mode, Overrides, Settings};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::worker::Worker;

/// What is on loopback: the destination of every connection.
const SERVER_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x20);

/// Enrolled beside it, where many are.
const MANY: u32 = 10_000;

/// A cgroup and what its programs are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    programs: bool,
    /// Whether the server's addresses are enrolled.
    enrolled: bool,
    prefixes: u32,
    /// Whether another cgroup is strict.
    rules: bool,
    strict: bool,
    /// Whether its TCP connections end at the listener.
    pub(crate) captured: bool,
}

const BARE: Setting = Setting {
    name: "no program",
    programs: false,
    enrolled: false,
    prefixes: 0,
    rules: false,
    strict: false,
    captured: false,
};
const NOT_ENROLLED: Setting = Setting { name: "not enrolled", programs: true, ..BARE };
const ENROLLED: Setting = Setting { name: "enrolled", enrolled: true, captured: true, ..NOT_ENROLLED };

pub(crate) const SETTINGS: [Setting; 7] = [
    BARE,
    NOT_ENROLLED,
    Setting { name: "not enrolled, 10,000 prefixes are", prefixes: MANY, ..NOT_ENROLLED },
    Setting { name: "the same, and cgroups have rules", prefixes: MANY, rules: true, ..NOT_ENROLLED },
    ENROLLED,
    Setting { name: "enrolled, with 10,000 prefixes", prefixes: MANY, ..ENROLLED },
    Setting {
        name: "not enrolled, strict cgroup: captured",
        prefixes: MANY,
        rules: true,
        strict: true,
        captured: true,
        ..NOT_ENROLLED
    },
];

/// A setting that stands.
struct Place {
    cgroup: PathBuf,
    worker: Option<Worker>,
    capture: Option<Capture>,
    /// Identities of its programs.
    programs: Vec<u32>,
}

pub(crate) struct Arena {
    scratch: tempfile::TempDir,
    places: Vec<Place>,
    servers: Vec<TcpListener>,
    /// The listeners that stand for the daemon's.
    daemon: [TcpListener; 2],
    _datagrams: [UdpSocket; 2],
}

impl Arena {
    pub(crate) fn new() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).context("unshare")?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        for command in [
            "link set lo up".to_owned(),
            format!("addr add {SERVER_V4}/32 dev lo"),
            format!("addr add {SERVER_V6}/128 dev lo nodad"),
        ] {
            ensure!(Command::new("ip").args(command.split(' ')).status()?.success(), "ip {command}");
        }
        let scratch = tempfile::tempdir()?;
        let bpffs = scratch.path().join("bpf");
        fs::create_dir(&bpffs)?;
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), none)?;
        let at = |ip: IpAddr| SocketAddr::new(ip, 443);
        let servers = vec![listen(at(SERVER_V4.into()))?, listen(at(SERVER_V6.into()))?];
        let first = listen((Ipv4Addr::LOCALHOST, 0).into())?;
        let second = listen((Ipv6Addr::LOCALHOST, first.local_addr()?.port()).into())?;
        let datagrams = [UdpSocket::bind(at(SERVER_V4.into()))?, UdpSocket::bind(at(SERVER_V6.into()))?];
        let daemon = [first, second];
        let mut arena = Self { scratch, places: Vec::new(), servers, daemon, _datagrams: datagrams };
        for (number, setting) in SETTINGS.iter().enumerate() {
            let place = arena.place(number, setting).with_context(|| setting.name)?;
            arena.places.push(place);
        }
        Ok(arena)
    }

    fn place(&mut self, number: usize, setting: &Setting) -> Result<Place> {
        let name = format!("interceptor-bench-{}-{number}", std::process::id());
        let cgroup = Cgroups::find()?.mount().join(name);
        for directory in [cgroup.clone(), cgroup.join("client"), cgroup.join("other")] {
            fs::create_dir(&directory)?;
        }
        let before = identities()?;
        let capture = if setting.programs { Some(self.attach(number, setting, &cgroup)?) } else { None };
        let programs = identities()?.into_iter().filter(|id| !before.contains(id)).collect();
        let worker = Some(Worker::start(&cgroup.join("client"))?);
        Ok(Place { cgroup, worker, capture, programs })
    }

    fn attach(&self, number: usize, setting: &Setting, cgroup: &Path) -> Result<Capture> {
        let mut capture = Capture::attach(&Settings {
            cgroup: cgroup.to_owned(),
            pin_dir: self.scratch.path().join("bpf").join(number.to_string()),
            mark: 1,
            listener_port: self.daemon[0].local_addr()?.port(),
            // Long enough for one heartbeat: the check is made, and passes.
            stale_after: Some(Duration::from_secs(24 * 3600)),
            waiting_per_user: Settings::WAITING_PER_USER,
            overrides: Overrides::default(),
        })?;
        capture.take_heartbeat().context("a heartbeat")?.beat(BootTime::now())?;
        // Prefixes of 10.0.0.0/8 and of 2001:db8:1::/48: in the tries, never asked for.
        let others = (0..setting.prefixes / 2).flat_map(|number| {
            let v4 = Ipv4Addr::from(0x0a00_0000 + (number << 8));
            let v6 = Ipv6Addr::from(0x2001_0db8_0001_u128 << 80 | u128::from(number) << 64);
            let prefix = |ip: IpAddr, prefix| EndpointAddr { prefix, ..EndpointAddr::single(ip, 443) };
            [prefix(v4.into(), 24), prefix(v6.into(), 64)]
        });
        // As many entries in either case.
        let port = if setting.enrolled { 443 } else { 444 };
        let own = [EndpointAddr::single(SERVER_V4.into(), port), EndpointAddr::single(SERVER_V6.into(), port)];
        capture.enrol(&others.chain(own).collect::<Vec<_>>())?;
        if setting.rules {
            let strict = if setting.strict { "client" } else { "other" };
            capture.set_modes(&[CgroupMode { path: cgroup.join(strict), mode: Mode::Strict }])?;
        }
        Ok(capture)
    }

    /// The times of a number of calls, in nanoseconds.
    pub(crate) fn batch(&mut self, setting: usize, kind: &str, number: usize) -> Result<Vec<f64>> {
        let ip: IpAddr = if kind.ends_with('4') { SERVER_V4.into() } else { SERVER_V6.into() };
        let place = &mut self.places[setting];
        let worker = place.worker.as_mut().context("a worker")?;
        let times = worker.batch(kind, SocketAddr::new(ip, 443), number)?;
        // Whoever is in a queue would be in the next batch's way.
        let reached = drain(&self.daemon)?;
        drain(&self.servers)?;
        if let Some(capture) = &place.capture {
            capture.flows().sweep(Duration::ZERO)?;
        }
        let expected = if SETTINGS[setting].captured && kind.starts_with("tcp") { number } else { 0 };
        ensure!(reached == expected, "{reached} connections reached the listener, not {expected}");
        Ok(times)
    }

    /// Time and number of runs of a setting's programs so far, by name.
    pub(crate) fn run_times(&self, setting: usize) -> Result<BTreeMap<String, (Duration, u64)>> {
        let mut found = BTreeMap::new();
        for program in loaded_programs() {
            let program = program?;
            if self.places[setting].programs.contains(&program.id()) {
                let name = program.name_as_str().unwrap_or_default().to_owned();
                found.insert(name, (program.run_time(), program.run_count()));
            }
        }
        Ok(found)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for place in &mut self.places {
            drop(place.worker.take());
            if let Some(Err(error)) = place.capture.take().map(Capture::detach) {
                eprintln!("programs stay attached to {}: {error}", place.cgroup.display());
            }
            for directory in [place.cgroup.join("client"), place.cgroup.join("other"), place.cgroup.clone()] {
                let _ = fs::remove_dir(directory);
            }
        }
        let _ = umount2(&self.scratch.path().join("bpf"), MntFlags::MNT_DETACH);
    }
}

fn listen(at: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(at).with_context(|| format!("cannot listen on {at}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts what waits, and says how many there were.
fn drain(listeners: &[TcpListener]) -> Result<usize> {
    let mut number = 0;
    for listener in listeners {
        loop {
            match listener.accept() {
                Ok(_) => number += 1,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // Reset by its client, but it was there.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => number += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(number)
}

fn identities() -> Result<Vec<u32>> {
    loaded_programs().map(|program| Ok(program?.id())).collect()
}
