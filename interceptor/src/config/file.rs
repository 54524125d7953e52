//! The configuration file: TOML, every key optional, unknown keys refused.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::{Limits, Retention, Rules, Upstream};
use crate::audit::Durability;
use crate::capture::{Base, Endpoint, HttpProxy};
use crate::policy::{self, ConnectionRule};
use crate::sinks::{Settings as SinkSettings, WitnessSettings};
use crate::sys::TransportSetting;
use crate::upstream::DialFrom;
use crate::watch::{AlertRule, Settings as MetricsSettings};

/// Where the configuration is looked for when no flag names one.
pub const DEFAULT_FILE: &str = "/etc/interceptor/interceptor.toml";

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// State directory; a flag and the environment win over it.
    pub state: Option<PathBuf>,
    /// Where redirected connections arrive.
    pub listen: Listen,
    /// What is enrolled, and where the kernel objects are pinned.
    pub capture: Capture,
    /// nftables rules behind the kernel programs.
    pub backstop: Backstop,
    /// How the real endpoint is reached and verified.
    pub upstream: Upstream,
    /// The log.
    pub audit: Audit,
    /// Bounds on what a client can make the daemon hold.
    pub limits: Limits,
    /// How the daemon is replaced while it runs.
    pub upgrade: Upgrade,
    /// How it stops.
    pub stop: Stop,
    /// What is looked for besides the built-in rules.
    pub rules: Rules,
    /// What happens to requests.
    pub policy: policy::Settings,
    /// What happens to captured connections that are not to an enrolled destination.
    pub strict: policy::Strict,
    /// Exceptions for connections, first match decides.
    #[serde(rename = "connection")]
    pub connections: Vec<ConnectionRule>,
    /// The HTTP proxies that clients are configured to use.
    #[serde(rename = "proxy")]
    pub proxies: Vec<HttpProxy>,
    /// Model endpoints of this installation; see [`Capture::catalogue`] for the others.
    #[serde(rename = "endpoint")]
    pub endpoints: Vec<Endpoint>,
    /// Where finished records are sent to.
    #[serde(rename = "sink", alias = "sinks")]
    pub sinks: Vec<SinkSettings>,
    /// What is counted, and who is told.
    pub metrics: MetricsSettings,
    /// What raises an alert.
    #[serde(rename = "alert", alias = "alerts")]
    pub alerts: Vec<AlertRule>,
}

/// The `[listen]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Loopback port, below 1024 so that no ordinary process can take it over while the daemon is away.
    pub port: u16,
    /// Worker threads; 0 stands for one per core.
    pub workers: usize,
    /// What the workers wait for their sockets with.
    pub transport: TransportSetting,
}

/// The `[capture]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// The cgroup2 directory that is enrolled with everything below it; none: the root of the cgroup2 mount.
    pub cgroup: Option<PathBuf>,
    /// Directory on bpffs for this instance's links and maps.
    pub pin: PathBuf,
    /// Whether a clean stop removes the programs. Otherwise enrolled connections are refused until the next start.
    pub detach_on_exit: bool,
    /// Socket mark of the daemon's own connections.
    pub mark: u32,
    /// What is captured besides the configured endpoints; none: the built-in catalogue when no endpoint is configured,
    /// else nothing.
    pub catalogue: Option<Base>,
    /// Resolvers whose answers to others are learnt from, besides those of `/etc/resolv.conf` and systemd-resolved.
    pub resolvers: Vec<IpAddr>,
    /// cgroup2 directories, absolute or below `cgroup`, whose processes' every connection is captured: the name in the
    /// TLS hello decides, whatever the address is.
    pub strict: Vec<PathBuf>,
    /// cgroup2 directories, absolute or below `cgroup`, whose processes are not captured.
    pub exempt: Vec<PathBuf>,
}

/// The `[backstop]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backstop {
    /// Whether packets to enrolled addresses that are not the daemon's are refused, however they were made.
    pub enabled: bool,
    /// Whether that includes packets this host forwards: of containers, virtual machines, other hosts.
    pub forward: bool,
}

/// The `[audit]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// When a record counts as durable.
    pub durability: Durability,
    /// Files with auditors' public keys.
    pub auditors: Vec<PathBuf>,
    /// How many of them it takes to unseal.
    pub threshold: u8,
    /// Bytes of one segment file.
    pub segment_bytes: u64,
    /// How long contents are kept.
    pub retention: Retention,
    /// Who sees each checkpoint.
    #[serde(rename = "witness")]
    pub witnesses: Vec<WitnessSettings>,
}

/// The `[upgrade]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upgrade {
    /// Seconds that the replaced daemon lets its connections run, before it cuts them off.
    pub drain_s: u64,
    /// Seconds a successor may take for each of its two steps, before it is given up and the old daemon goes on.
    pub ready_s: u64,
}

/// The `[stop]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// Seconds that requests under way may take to end.
    pub drain_s: u64,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read configuration {path}: {source}; check that it exists and that this user may read it")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("configuration {path} cannot be used: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, key and reason.
        message: String,
    },
}

impl Default for Listen {
    fn default() -> Self {
        Self { port: 960, workers: 0, transport: TransportSetting::Auto }
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            cgroup: None,
            pin: PathBuf::from("/sys/fs/bpf/interceptor/default"),
            detach_on_exit: false,
            mark: 0x1c_e9_70,
            catalogue: None,
            resolvers: Vec::new(),
            strict: Vec::new(),
            exempt: Vec::new(),
        }
    }
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { drain_s: 600, ready_s: 60 }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self { drain_s: 5 }
    }
}

impl Default for Backstop {
    fn default() -> Self {
        Self { enabled: false, forward: true }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            auditors: Vec::new(),
            threshold: 1,
            segment_bytes: 64 << 20,
            retention: Retention::default(),
            witnesses: Vec::new(),
        }
    }
}

impl Config {
    /// Reads `flag`, or the file at its usual place; the defaults when there is none.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Parse`], each naming the file.
    pub fn load(flag: Option<&Path>) -> Result<Self, Error> {
        let path = flag.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|message| Error::Parse { path: path.to_path_buf(), message }),
            Err(e) if flag.is_none() && e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Error::Read { path: path.to_path_buf(), source }),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let Listen { port, .. } = self.listen;
        if port == 0 || port >= 1024 {
            return Err(format!("listen.port is {port}; choose one from 1 to 1023, which only root can bind"));
        }
        if self.upgrade.ready_s == 0 {
            return Err("upgrade.ready_s is 0, in which no successor could get ready; choose 10 or more".into());
        }
        if self.capture.mark == 0 {
            return Err("capture.mark is 0, which every socket has; choose another number".into());
        }
        if self.backstop.enabled && self.backstop.forward && self.upstream.dial_from != DialFrom::Host {
            return Err("backstop.forward refuses what this host forwards, and with upstream.dial_from = \"client\" the \
                        daemon's own connections are among it; set upstream.dial_from = \"host\" or backstop.forward = false"
                .into());
        }
        self.limits.check()?;
        self.upstream.check()?;
        for endpoint in &self.endpoints {
            let bytes = endpoint.bounds.body_bytes.unwrap_or_default();
            self.limits.holds(bytes, &format!("body_bytes of endpoint {endpoint}"))?;
        }
        self.connections.iter().try_for_each(ConnectionRule::check)?;
        self.proxies.iter().try_for_each(HttpProxy::check)?;
        SinkSettings::check(&self.sinks)?;
        self.metrics.check()?;
        AlertRule::check(&self.alerts)?;
        WitnessSettings::check(&self.audit.witnesses)?;
        if self.endpoints.is_empty() && self.capture.catalogue == Some(Base::None) {
            return Err("capture.catalogue is \"none\" and there is no [[endpoint]]: nothing would be captured".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Config::parse("").unwrap().listen.port, 960);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let message = Config::parse("[listen]\nprot = 1\n").unwrap_err();
        assert!(message.contains("line 2") && message.contains("prot"), "{message}");
    }

    #[test]
    fn an_unprivileged_port_is_refused() {
        let message = Config::parse("[listen]\nport = 8080\n").unwrap_err();
        assert!(message.contains("8080") && message.contains("1023"), "{message}");
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error_and_the_usual_one_is_not() {
        let missing = Path::new("/nonexistent/interceptor.toml");
        let message = Config::load(Some(missing)).unwrap_err().to_string();
        assert!(message.contains("/nonexistent/interceptor.toml"), "{message}");
    }

    #[test]
    fn what_is_said_about_connections_is_read_and_checked() {
        let config = Config::parse(
            r#"
            [strict]
            no_name = "splice"
            [upstream]
            dial_from = "host"
            [[proxy]]
            addresses = ["203.0.113.5"]
            [[connection]]
            name = "backup"
            exe = ["/usr/bin/restic"]
            user = ["backup"]
            action = "splice"
            "#,
        )
        .unwrap();
        assert_eq!(config.strict.no_name, policy::NoName::Splice);
        assert_eq!(config.upstream.dial_from, DialFrom::Host);
        assert_eq!((config.proxies[0].port, config.connections[0].name.as_str()), (3128, "backup"));
        for (bad, expected) in [
            ("[[proxy]]\naddresses = []", "no addresses"),
            ("[[connection]]\nname = 'a'\naction = 'splice'", "condition"),
            ("[[connection]]\nname = 'a'\nexe = ['/usr/bin/restic']\naction = 'splice'", "exe_sha256"),
            ("[[connection]]\nname = 'a'\naction = 'pass'", "pass"),
            ("[strict]\nno_names = 'deny'", "no_names"),
        ] {
            let message = Config::parse(bad).unwrap_err();
            assert!(message.contains(expected), "{bad}: {message}");
        }
    }

    #[test]
    fn policy_and_endpoints_are_read() {
        let config = Config::parse(
            r#"
            [policy]
            documents = "record"
            [[policy.rule]]
            name = "no keys"
            types = ["SECRET_*"]
            action = "deny"
            [[endpoint]]
            provider = "openai"
            names = ["llm.corp.example"]
            addresses = ["203.0.113.10"]
            "#,
        )
        .unwrap();
        assert_eq!(config.policy.rules[0].name, "no keys");
        assert_eq!(config.endpoints[0].ports, [443]);
    }

    #[test]
    fn an_endpoint_that_cannot_be_is_named_with_its_line() {
        let message = Config::parse("\n[[endpoint]]\nprovider = 'openai'\nnames = ['*.com']\n").unwrap_err();
        assert!(message.contains("line 4") && message.contains("*.com"), "{message}");
    }

    #[test]
    fn sinks_are_read_and_each_has_a_name_of_its_own() {
        let sink = "[[sink]]\nname = 'a'\ntype = 'stdout'\n";
        assert_eq!(Config::parse(sink).unwrap().sinks[0].name, "a");
        assert!(Config::parse(&format!("{sink}{sink}")).unwrap_err().contains("two sinks are called \"a\""));
        let message = Config::parse("[[sink]]\nname = 'a'\ntype = 'file'\npath = '/x'\nurl = 'h'\n").unwrap_err();
        assert!(message.contains("sink \"a\"") && message.contains("url"), "{message}");
    }

    #[test]
    fn metrics_and_alerts_are_read_and_checked() {
        let config = Config::parse(
            r#"
            [metrics]
            listen = "127.0.0.1:9464"
            [metrics.otlp]
            url = "https://collector.example.com/v1/metrics"
            [[alert]]
            name = "burst"
            when = "findings"
            count = 10
            "#,
        )
        .unwrap();
        assert!(config.metrics.is_wanted() && config.alerts[0].name == "burst");
        for (bad, expected) in [
            ("[metrics]\nlisten = '192.0.2.1:9464'\n", "metrics.public"),
            ("[metrics]\nport = 1\n", "port"),
            ("[[alert]]\nname = 'a'\n", "when"),
            ("[[alert]]\nname = 'a'\nwhen = 'findings'\nwindow = 1\n", "window"),
            ("[[alert]]\nname = 'a'\nwhen = 'findings'\ncount = 0\n", "count is 0"),
        ] {
            let message = Config::parse(bad).unwrap_err();
            assert!(message.contains(expected), "{bad}: {message}");
        }
    }

    #[test]
    fn witnesses_are_read() {
        let witness = "[[audit.witness]]\nname = 'a'\ndirectory = '/mnt/worm'\n";
        assert_eq!(Config::parse(witness).unwrap().audit.witnesses[0].name, "a");
        assert!(Config::parse(&format!("{witness}{witness}")).unwrap_err().contains("two witnesses are called \"a\""));
    }

    #[test]
    fn a_configuration_that_captures_nothing_is_refused() {
        let none = "[capture]\ncatalogue = 'none'\n";
        assert!(Config::parse(none).unwrap_err().contains("nothing would be captured"));
        assert!(Config::parse(&format!("{none}[[endpoint]]\nprovider = 'openai'\nnames = ['a.example']\n")).is_ok());
        assert!(Config::parse("[capture]\ncatalogue = 'builtin'\nresolvers = ['192.0.2.53']\n").is_ok());
    }

    #[test]
    fn a_backstop_that_would_cut_off_the_daemon_is_refused() {
        let message = Config::parse("[backstop]\nenabled = true\n").unwrap_err();
        assert!(message.contains("backstop.forward") && message.contains("upstream.dial_from"), "{message}");
        assert!(Config::parse("[backstop]\nenabled = true\nforward = false\n").is_ok());
        assert!(Config::parse("[backstop]\nenabled = true\n[upstream]\ndial_from = \"host\"\n").is_ok());
    }
}
