//! Receivers as programs of their own, which can be killed and started again.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the receivers' own messages go to stays small.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const TOKEN: &str = "11111111-2222-3333-4444-555555555555";
/// The share of requests that go wrong.
const TROUBLE: &str = "0.6";
const START: Duration = Duration::from_secs(20);
/// Files that the file sink keeps beside the present one.
const KEPT: usize = 1000;

/// The kinds of receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Syslog,
    Webhook,
    Hec,
    Otlp,
    S3,
}

/// All of them.
pub(crate) const RECEIVERS: [Kind; 6] = [Kind::File, Kind::Syslog, Kind::Webhook, Kind::Hec, Kind::Otlp, Kind::S3];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Syslog => "syslog",
            Self::Webhook => "webhook",
            Self::Hec => "hec",
            Self::Otlp => "otlp",
            Self::S3 => "s3",
        }
    }

    /// Whether it speaks TLS, and takes nothing from a client without a certificate.
    pub(crate) fn wants_certificates(self) -> bool {
        matches!(self, Self::Syslog | Self::Hec | Self::Otlp)
    }
}

/// One receiver.
pub(crate) struct Receiver {
    kind: Kind,
    dir: PathBuf,
    port: u16,
    trouble: &'static str,
    child: Option<Child>,
}

impl Receiver {
    pub(crate) fn start(kind: Kind, dir: &Path) -> Self {
        for (name, content) in [("secret", SECRET), ("token", TOKEN), ("credentials", "test\ntesttesttest")] {
            fs::write(dir.join(name), content).expect("written");
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).expect("closed to others");
        }
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
        let mut receiver = Self { kind, dir: dir.to_owned(), port, trouble: TROUBLE, child: None };
        if kind.wants_certificates() {
            receiver.certificates();
        }
        if kind == Kind::Syslog {
            receiver.rsyslog_configuration();
        }
        receiver.restart();
        if kind == Kind::S3 {
            receiver.s3("create");
        }
        receiver
    }

    /// The sink that sends here.
    pub(crate) fn configuration(&self) -> String {
        let mut configuration = self.without_certificate();
        if self.kind.wants_certificates() {
            let dir = self.dir.display();
            configuration += &format!("client_cert_file = '{dir}/client.pem'\nclient_key_file = '{dir}/client.key'\n");
        }
        configuration
    }

    /// The same, but that it shows no certificate.
    pub(crate) fn without_certificate(&self) -> String {
        let (dir, port) = (self.dir.display(), self.port);
        let rest = match self.kind {
            Kind::File => format!("type = 'file'\npath = '{dir}/events.jsonl'\nmax_bytes = 300000\nkeep = {KEPT}"),
            Kind::Syslog => {
                format!("type = 'syslog'\naddress = '127.0.0.1:{port}'\nca_file = '{dir}/ca.pem'\nsettle_s = 4")
            }
            Kind::Webhook => format!(
                "type = 'webhook'\nurl = 'http://127.0.0.1:{port}/hook'\nplaintext = true\nsecret_file = '{dir}/secret'"
            ),
            Kind::Hec => format!(
                "type = 'hec'\nurl = 'https://127.0.0.1:{port}'\nca_file = '{dir}/ca.pem'\ntoken_file = '{dir}/token'\nack_timeout_s = 1"
            ),
            Kind::Otlp => format!("type = 'otlp'\nurl = 'https://127.0.0.1:{port}/v1/logs'\nca_file = '{dir}/ca.pem'"),
            Kind::S3 => format!(
                "type = 's3'\nurl = 'http://127.0.0.1:{port}'\nplaintext = true\nbucket = 'evidence'\nregion = 'us-east-1'\n\
                 prefix = 'host-a/'\ncredentials_file = '{dir}/credentials'\nretention = 'compliance'\nretention_days = 30\nseal_s = 1"
            ),
        };
        format!("[[sink]]\nname = '{}'\nfrom = 'start'\n{rest}\n", self.kind.name())
    }

    /// From the next start on, nothing goes wrong.
    pub(crate) fn calm(&mut self) {
        self.trouble = "0";
        self.kill();
        self.restart();
    }

    pub(crate) fn kill(&mut self) {
        if self.kind == Kind::S3 {
            // The emulator keeps everything in memory. The store of others does not, so it lives on.
            return;
        }
        if let Some(mut child) = self.child.take() {
            child.kill().expect("SIGKILL");
            child.wait().expect("it is dead");
        }
    }

    pub(crate) fn restart(&mut self) {
        if self.kind == Kind::File || self.child.is_some() {
            return;
        }
        let mut command = self.command();
        let messages =
            fs::File::options().create(true).append(true).open(self.dir.join("receiver.log")).expect("a file");
        command.stdout(Stdio::null()).stderr(messages);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn();
        self.child = Some(child.unwrap_or_else(|e| panic!("{program}: {e}; run `cargo xtask setup --clients`")));
        let deadline = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.dir.join("receiver.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{program} does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn command(&self) -> Command {
        let port = self.port.to_string();
        match self.kind {
            Kind::Syslog => {
                let mut command = Command::new("/usr/sbin/rsyslogd");
                command.args(["-n", "-iNONE", "-f"]).arg(self.dir.join("rsyslog.conf"));
                command
            }
            Kind::S3 => {
                let mut command = Command::new(python());
                command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]);
                command
            }
            _ => {
                let mut command = Command::new(python());
                command.arg(root().join("tests/sinks/receiver.py")).args([self.kind.name(), &port]);
                command.arg(self.dir.join("taken")).arg(self.trouble);
                if self.kind.wants_certificates() {
                    command.arg(&self.dir);
                }
                command
            }
        }
    }

    /// Waits until what was received is where [`taken`](Self::taken) looks.
    pub(crate) fn settle(&self) {
        if self.kind == Kind::Syslog {
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    /// The ids of what was taken, in order, repetitions included; `alert-KEY` for an alert, `note-EVENT-FRAME` for
    /// another note, `checkpoint` for a checkpoint.
    pub(crate) fn taken(&self) -> Vec<String> {
        if let Ok(bad) = fs::read_to_string(self.dir.join("taken.bad")) {
            panic!("{}: what came was not valid: {bad}", self.kind.name());
        }
        let lines = |path: &Path| -> Vec<String> {
            fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
        };
        match self.kind {
            Kind::File => {
                // A kill in the middle of a rotation leaves out a number.
                let old = (1..=KEPT).rev().map(|n| self.dir.join(format!("events.jsonl.{n}")));
                let mut paths: Vec<PathBuf> = old.filter(|path| path.exists()).collect();
                assert!(paths.len() < KEPT, "some may have been removed");
                assert!(!paths.is_empty(), "the file was never rotated");
                paths.push(self.dir.join("events.jsonl"));
                paths.iter().flat_map(|path| lines(path)).map(|line| id(&line)).collect()
            }
            Kind::Syslog => {
                // A kill may cut the receiver's own file in the middle of a line: it is sent again.
                let whole = lines(&self.dir.join("received")).into_iter().filter(|line| line.ends_with('}'));
                whole.filter_map(|line| Some(id(line.split_once(" ~~ ")?.1))).collect()
            }
            Kind::S3 => self.s3("read").lines().map(id).collect(),
            _ => lines(&self.dir.join("taken")),
        }
    }

    /// What the S3 client of the tests prints.
    fn s3(&self, verb: &str) -> String {
        let mut command = Command::new(python());
        command.arg(root().join("tests/sinks/bucket.py")).arg(verb).arg(self.port.to_string());
        let output = command.stderr(Stdio::inherit()).output().expect("python runs");
        assert!(output.status.success(), "bucket.py {verb} failed");
        String::from_utf8(output.stdout).expect("text")
    }

    fn certificates(&self) {
        let script = "\
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=sinks test CA' \
              -keyout ca.key -out ca.pem -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign && \
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=127.0.0.1' -keyout server.key -out server.csr && \
            printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n' > server.ext && \
            openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.pem && \
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=sinks.test' -keyout client.key -out client.csr && \
            printf 'subjectAltName=DNS:sinks.test\\nextendedKeyUsage=clientAuth\\n' > client.ext && \
            openssl x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile client.ext -out client.pem";
        let output = Command::new("sh").arg("-c").arg(script).current_dir(&self.dir).output().expect("sh runs");
        assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn rsyslog_configuration(&self) {
        let dir = self.dir.display();
        let text = format!(
            "global(workDirectory=\"{dir}\" maxMessageSize=\"1m\" defaultNetstreamDriver=\"gtls\"\n\
             defaultNetstreamDriverCAFile=\"{dir}/ca.pem\" defaultNetstreamDriverCertFile=\"{dir}/server.pem\"\n\
             defaultNetstreamDriverKeyFile=\"{dir}/server.key\")\n\
             module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" streamDriver.authMode=\"x509/name\"\n\
             permittedPeer=[\"sinks.test\"])\n\
             template(name=\"line\" type=\"string\" string=\"%hostname% %app-name% %msgid% ~~ %msg:::drop-last-lf%\\n\")\n\
             ruleset(name=\"keep\") {{ action(type=\"omfile\" file=\"{dir}/received\" template=\"line\") }}\n\
             input(type=\"imtcp\" port=\"{}\" address=\"127.0.0.1\" ruleset=\"keep\")\n",
            self.port
        );
        fs::write(self.dir.join("rsyslog.conf"), text).expect("written");
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn id(line: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    if let Some(key) = event["alert"]["key"].as_str() {
        return format!("alert-{key}");
    }
    if let Some(said) = event["note"]["content"]["event"].as_str() {
        return format!("note-{said}-{}", event["note"]["sequence"]);
    }
    event["id"].as_str().map_or_else(
        || {
            assert!(event["checkpoint"]["note"].is_string(), "{line}");
            "checkpoint".to_owned()
        },
        str::to_owned,
    )
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn python() -> PathBuf {
    let python = root().join("target/clients/sinks/bin/python");
    assert!(python.is_file(), "{} is missing: run `cargo xtask setup --clients`", python.display());
    python
}
