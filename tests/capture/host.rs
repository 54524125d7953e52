//! A host of the test's own: mount and network namespaces of the test's thread, cgroups, a BPF file system. Everything
//! goes when it is dropped.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use interceptor::capture::Cgroups;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

/// Set by a caller who wants only the tests that need no privilege.
const UNPRIVILEGED: &str = "INTERCEPTOR_TEST_UNPRIVILEGED";

/// Addresses that the host has, without anything enrolled at first.
pub(crate) const DIRECT_V4: &str = "203.0.113.20";
pub(crate) const DIRECT_V6: &str = "2001:db8::20";

/// How long anything may take, on an emulated processor too.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Host {
    scratch: tempfile::TempDir,
    cgroup: PathBuf,
}

impl Host {
    /// None only when the caller asked to leave out what needs privilege.
    ///
    /// # Panics
    /// Without the privilege to make one.
    pub(crate) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if std::env::var(UNPRIVILEGED).is_ok_and(|value| value == "1") {
            // Straight to stderr: the harness would keep `eprintln!` of a passing test to itself.
            let test = std::thread::current();
            let _ = writeln!(std::io::stderr(), "left out ({UNPRIVILEGED}=1): {}", test.name().unwrap_or("a test"));
            return None;
        }
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap_or_else(|errno| {
            panic!("capture tests need root (unshare: {errno}); {UNPRIVILEGED}=1 leaves them out");
        });
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
        for command in [
            "link set lo up",
            "link add outside type veth peer name beyond",
            "link set outside up",
            &format!("addr add {DIRECT_V4}/32 dev lo"),
            &format!("addr add {DIRECT_V6}/128 dev lo nodad"),
        ] {
            let status = Command::new("ip").args(command.split(' ')).status().expect("iproute2");
            assert!(status.success(), "ip {command}");
        }
        let scratch = tempfile::tempdir().expect("a directory");
        let bpffs = scratch.path().join("bpf");
        fs::create_dir(&bpffs).expect("a directory");
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), none).expect("a BPF file system");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("interceptor-test-{}-{number}", std::process::id());
        let cgroup = Cgroups::find().expect("cgroup2").mount().join(name);
        let host = Self { scratch, cgroup };
        host.make_cgroups();
        Some(host)
    }

    pub(crate) fn make_cgroups(&self) {
        for directory in [self.cgroup.clone(), self.cgroup.join("daemon"), self.cgroup.join("client")] {
            fs::create_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        }
    }

    /// Once nothing runs in them.
    pub(crate) fn remove_cgroups(&self) {
        for directory in self.cgroups() {
            eventually("the cgroup is empty", || fs::remove_dir(&directory).is_ok() || !directory.exists());
        }
    }

    /// A further cgroup below the one that the programs are attached to.
    pub(crate) fn make_cgroup(&self, name: &str) -> PathBuf {
        let directory = self.cgroup.join(name);
        fs::create_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        directory
    }

    /// All cgroups, children first.
    fn cgroups(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.cgroup).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).chain([self.cgroup.clone()]).collect()
    }

    /// The directory that the programs are attached to.
    pub(crate) fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    pub(crate) fn pin_dir(&self) -> PathBuf {
        self.scratch.path().join("bpf/instance")
    }

    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A daemon that is attached and accepts.
    pub(crate) fn daemon(&self, endpoints: &[&str]) -> Daemon {
        self.daemon_that("accept", endpoints)
    }

    pub(crate) fn daemon_that(&self, mode: &str, endpoints: &[&str]) -> Daemon {
        self.daemon_with(&[], mode, endpoints)
    }

    /// As [`daemon_that`](Self::daemon_that), with variables of its environment.
    pub(crate) fn daemon_with(&self, variables: &[(&str, &str)], mode: &str, endpoints: &[&str]) -> Daemon {
        let mut command = self.in_cgroup("daemon", env!("CARGO_BIN_EXE_capture-daemon"));
        command.envs(variables.iter().copied());
        command.arg(&self.cgroup).arg(self.pin_dir()).arg(mode).args(endpoints);
        Daemon::start(command)
    }

    /// A command that becomes a process of that cgroup before it runs the program.
    pub(crate) fn in_cgroup(&self, name: &str, program: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(self.cgroup.join(name)).arg(program);
        command
    }

    /// A client's connection attempt, as `connect.py` describes it.
    pub(crate) fn connect(&self, spec: &Value) -> Value {
        let output = self.client(spec).output().expect("python3");
        result_of(&output)
    }

    /// The command of a client.
    pub(crate) fn client(&self, spec: &Value) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("capture/connect.py");
        let mut command = self.in_cgroup("client", "python3");
        command.arg(script).arg(spec.to_string());
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.remove_cgroups();
        } else {
            // The daemon may still be going down; what was wrong has been told.
            for _ in 0..50 {
                let left =
                    self.cgroups().into_iter().filter(|cgroup| fs::remove_dir(cgroup).is_err() && cgroup.exists());
                if left.count() == 0 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = umount2(&self.scratch.path().join("bpf"), MntFlags::MNT_DETACH);
    }
}

pub(crate) fn result_of(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// What `connect.py` is to do, in its simplest form: a TCP connection.
pub(crate) fn to(address: &str, port: u16) -> Value {
    json!({"to": [address, port]})
}

/// `capture-daemon`, killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Value>,
    /// Lines read while looking for others.
    aside: Vec<Value>,
    pub(crate) port: u16,
    pub(crate) netns: u64,
}

impl Daemon {
    /// Starts it and waits until it is attached.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("capture-daemon starts");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let mut daemon = Self { child, stdin, lines, aside: Vec::new(), port: 0, netns: 0 };
        let ready = daemon.wait_for("ready")["ready"].clone();
        daemon.port = u16::try_from(ready["port"].as_u64().expect("a port")).expect("a port");
        daemon.netns = ready["netns"].as_u64().expect("a cookie");
        daemon
    }

    /// The answer to a command: the value under its first word.
    pub(crate) fn ask(&mut self, command: &str) -> Value {
        writeln!(self.stdin, "{command}").expect("capture-daemon runs");
        let word = command.split(' ').next().expect("a word").to_owned();
        self.wait_for(&word)[&word].clone()
    }

    /// The connection that `client` made.
    pub(crate) fn flow_of(&mut self, client: &Value) -> Value {
        let local = &client["local"];
        let text = |value: &Value| value.as_str().expect("an address").trim_start_matches("::ffff:").to_owned();
        let ip = text(&local[0]);
        let expected = if ip.contains(':') { format!("[{ip}]:{}", local[1]) } else { format!("{ip}:{}", local[1]) };
        self.flow_at(&expected)
    }

    /// The connection that came from there.
    pub(crate) fn flow_at(&mut self, client: &str) -> Value {
        self.wait_until(&format!("flow of {client}"), |line| line["flow"]["client"] == client)
    }

    pub(crate) fn wait_for(&mut self, key: &str) -> Value {
        self.wait_until(key, |line| line.get(key).is_some())
    }

    /// That many lines with `key`, in order.
    pub(crate) fn collect(&mut self, key: &str, number: usize) -> Vec<Value> {
        let (mut found, rest) =
            std::mem::take(&mut self.aside).into_iter().partition::<Vec<_>, _>(|l| l.get(key).is_some());
        self.aside = rest;
        while found.len() < number {
            found.push(self.wait_for(key));
        }
        found
    }

    pub(crate) fn wait_until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.aside.iter().position(&wanted) {
            return self.aside.remove(at);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if wanted(&line) => return line,
                Ok(line) => self.aside.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in {:?}", self.aside),
                Err(RecvTimeoutError::Disconnected) => panic!("capture-daemon ended before {what}"),
            }
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// A server that answers `direct` and counts: reached when nothing captures.
pub(crate) struct Direct {
    connections: Arc<Mutex<u32>>,
}

impl Direct {
    pub(crate) fn listen(address: &str, port: u16) -> Self {
        let listener = TcpListener::bind((address, port)).expect("the address is on lo");
        let connections = Arc::new(Mutex::new(0));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                *count.lock().expect("not poisoned") += 1;
                // The client may be gone.
                let _ = stream.map(|mut stream| writeln!(stream, "direct"));
            }
        });
        Self { connections }
    }

    pub(crate) fn connections(&self) -> u32 {
        *self.connections.lock().expect("not poisoned")
    }
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
