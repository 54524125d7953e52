//! What the daemon says about itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::capture::Foreign;
use crate::sinks::{SinkStatus, WitnessStatus};
use crate::sys::Transport;

/// Whether what is enrolled is intercepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Everything that the self-test looks at is as it should be.
    Healthy,
    /// Something is not; see the reasons.
    Degraded,
    /// No daemon runs.
    Stopped,
}

/// What a reason is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// The daemon as a whole: it does not run, or does not answer.
    Daemon,
    /// The kernel programs: detached, replaced, their pins gone.
    Programs,
    /// A test connection did not come through.
    SelfTest,
    /// A worker gives no sign of life.
    Worker,
    /// A map is almost full, or cannot be read.
    Map,
    /// Something of the kernel programs was lost, or refused for want of room.
    Loss,
    /// Network namespaces without a listener.
    Namespaces,
    /// The audit log takes no records.
    AuditLog,
    /// What is older than it is to be kept was not removed.
    Retention,
    /// A sink delivers nothing, or does not find all of the log.
    Sink,
    /// The internal CA's certificate expires soon.
    Ca,
    /// Threads that name callers are kept waiting.
    Callers,
    /// Endpoints that do not resolve.
    Names,
    /// The backstop cannot be counted.
    Backstop,
    /// The last upgrade failed.
    Upgrade,
}

impl Concern {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Daemon,
        Self::Programs,
        Self::SelfTest,
        Self::Worker,
        Self::Map,
        Self::Loss,
        Self::Namespaces,
        Self::AuditLog,
        Self::Retention,
        Self::Sink,
        Self::Ca,
        Self::Callers,
        Self::Names,
        Self::Backstop,
        Self::Upgrade,
    ];

    /// The word for it in reports, metrics and alerts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Programs => "programs",
            Self::SelfTest => "self_test",
            Self::Worker => "worker",
            Self::Map => "map",
            Self::Loss => "loss",
            Self::Namespaces => "namespaces",
            Self::AuditLog => "audit_log",
            Self::Retention => "retention",
            Self::Sink => "sink",
            Self::Ca => "ca",
            Self::Callers => "callers",
            Self::Names => "names",
            Self::Backstop => "backstop",
            Self::Upgrade => "upgrade",
        }
    }
}

/// Why the state is not `healthy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What it is about.
    pub concern: Concern,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The verdict.
    pub state: State,
    /// When the state became this one; RFC 3339, UTC.
    pub since: String,
    /// Why it is degraded; empty when it is not.
    pub reasons: Vec<Reason>,
    /// The program's version.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
    /// When it started; RFC 3339, UTC.
    pub started: String,
    /// How its workers wait for their sockets.
    pub transport: Transport,
    /// Why it is this one.
    pub transport_because: String,
    /// The enrolled cgroup2 directory.
    pub cgroup: PathBuf,
    /// Where links and maps are pinned.
    pub pins: PathBuf,
    /// The loopback port that connections are redirected to.
    pub port: u16,
    /// How cgroups are enrolled, where that is not `names`: path and mode.
    pub modes: BTreeMap<String, String>,
    /// What this kernel can do, by name.
    pub features: serde_json::Value,
    /// What is enrolled.
    pub endpoints: Endpoints,
    /// Listeners outside the daemon's own network namespace.
    pub namespaces: NamespaceCount,
    /// The workers' signs of life.
    pub workers: Vec<WorkerSign>,
    /// How full the maps are.
    pub maps: Vec<Gauge>,
    /// The kernel programs' counters that are not 0, as of the answer.
    pub counters: BTreeMap<String, u64>,
    /// The last upgrade, if it failed.
    pub failed_upgrade: Option<FailedUpgrade>,
    /// The last self-test.
    pub self_test: SelfTest,
    /// Days until the internal CA's certificate expires.
    pub ca_days: Option<i64>,
    /// Where finished records are sent to, and how that goes.
    #[serde(default)]
    pub sinks: Vec<SinkStatus>,
    /// Who sees the log's checkpoints, and how that goes.
    #[serde(default)]
    pub witnesses: Vec<WitnessStatus>,
}

/// What is enrolled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// Names in the catalogue.
    pub names: usize,
    /// Addresses and prefixes that are captured.
    pub addresses: usize,
    /// Names without an address, and why.
    pub unresolved: Vec<String>,
}

/// An upgrade after which the old daemon goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedUpgrade {
    /// When it failed; RFC 3339, UTC.
    pub at: String,
    /// What the successor, or the attempt to start it, died of.
    pub why: String,
}

impl FailedUpgrade {
    /// It degrades the daemon until the next one, which has none behind it.
    pub(super) fn reason(&self) -> Reason {
        Reason {
            concern: Concern::Upgrade,
            what: format!("the upgrade at {} failed, the old program and configuration go on: {}", self.at, self.why),
            remedy: "put right what it says, then reload or restart the daemon".to_owned(),
        }
    }
}

/// Network namespaces other than the daemon's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceCount {
    /// With a listener.
    pub listening: usize,
    /// The most there may be.
    pub limit: usize,
    /// How often one got none.
    pub refused: u64,
}

/// A worker's last sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSign {
    /// Its thread's name.
    pub name: String,
    /// Milliseconds ago.
    pub silent_ms: u64,
}

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gauge {
    /// Which.
    pub name: String,
    /// Entries in use.
    pub used: usize,
    /// Entries there can be.
    pub capacity: usize,
}

/// What the last self-test found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTest {
    /// When; RFC 3339, UTC. None before the first.
    pub at: Option<String>,
    /// A connection of the daemon's own over IPv4, through the kernel programs and back.
    pub ipv4: Canary,
    /// The same over IPv6.
    pub ipv6: Canary,
    /// Programs of others at the hooks of ours: they may refuse or redirect what we see.
    pub foreign: Vec<Foreign>,
}

/// What came of a canary connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Canary {
    /// Not tried yet, or the daemon is outside of the enrolled cgroup, so that its connections are not captured.
    #[default]
    Untried,
    /// It was redirected to a worker, which answered.
    Answered,
    /// It was not: why.
    Failed(String),
}
