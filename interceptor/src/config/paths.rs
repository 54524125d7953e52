//! The places below the state directory.

use std::path::{Path, PathBuf};

/// Environment variable that moves the state directory; `--state` wins over it.
pub const STATE_ENV: &str = "INTERCEPTOR_STATE";

const DEFAULT_STATE: &str = "/var/lib/interceptor";

/// Where the daemon keeps what must survive it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatePaths {
    root: PathBuf,
}

impl StatePaths {
    /// Below `root`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// `--state`, else the environment, else the configuration's `state`, else `/var/lib/interceptor`.
    #[must_use]
    pub fn resolve(flag: Option<&Path>, configured: Option<&Path>) -> Self {
        let root = flag
            .map(Path::to_path_buf)
            .or_else(|| std::env::var_os(STATE_ENV).filter(|value| !value.is_empty()).map(PathBuf::from))
            .or_else(|| configured.map(Path::to_path_buf))
            .unwrap_or_else(|| PathBuf::from(DEFAULT_STATE));
        Self { root }
    }

    /// The state directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The audit log's segments (`*.alog`) and checkpoints.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// The internal CA's certificate and key.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// Token key, log signing key, auditors' public keys, wrapped data keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Compiled rules, by the digest of what they were made of.
    #[must_use]
    pub fn rules(&self) -> PathBuf {
        self.root.join("rules")
    }

    /// How far each sink has got.
    #[must_use]
    pub fn sinks(&self) -> PathBuf {
        self.root.join("sinks")
    }

    /// Sockets and pid files of the running daemon.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }
}
