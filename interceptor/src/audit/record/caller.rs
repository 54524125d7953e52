//! Who called.

use serde::{Deserialize, Serialize};

use super::super::Time;

/// The process that connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caller {
    /// User id in the host's user namespace.
    pub uid: Option<u32>,
    /// Group id, likewise.
    pub gid: Option<u32>,
    /// User name.
    pub user: Option<String>,
    /// Names of the user's groups.
    pub groups: Option<Vec<String>>,
    /// There are more groups than `groups` names.
    pub groups_cut: bool,
    /// Process (thread group) id in the host's namespace.
    pub pid: Option<u32>,
    /// When the process started.
    pub started_at: Option<Time>,
    /// Path of the executable.
    pub exe: Option<String>,
    /// SHA-256 of the executable, in hexadecimal.
    pub exe_sha256: Option<String>,
    /// Command line, arguments separated by spaces, masked.
    pub cmdline: Option<String>,
    /// Working directory, masked.
    pub cwd: Option<String>,
    /// The processes it descends from, its parent first.
    pub parents: Vec<Parent>,
    /// Path of the control group.
    pub cgroup: Option<String>,
    /// Container id or name.
    pub container: Option<String>,
    /// UID of the Kubernetes pod.
    pub pod: Option<String>,
    /// systemd unit.
    pub unit: Option<String>,
    /// Unit of the user's own service manager.
    pub user_unit: Option<String>,
    /// Login session.
    pub session: Option<String>,
    /// User id that logged in.
    pub loginuid: Option<u32>,
    /// An identity that someone vouches for.
    pub identity: Option<Identity>,
}

impl Caller {
    /// Name of the executable.
    #[must_use]
    pub fn program(&self) -> Option<&str> {
        self.exe.as_deref().and_then(|exe| exe.rsplit('/').next())
    }

    /// The user's name, or else number.
    #[must_use]
    pub fn short_user(&self) -> Option<String> {
        self.user.clone().or_else(|| self.uid.map(|uid| uid.to_string()))
    }

    /// User and program: `alice/curl`.
    #[must_use]
    pub fn short(&self) -> String {
        let user = self.short_user().unwrap_or_else(|| "-".to_owned());
        self.program().map_or(user.clone(), |program| format!("{user}/{program}"))
    }
}

/// A process that a caller descends from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parent {
    /// Process id in the host's namespace.
    pub pid: u32,
    /// Path of the executable, when it could still be had.
    pub exe: Option<String>,
    /// Else the name the process gave itself.
    pub comm: Option<String>,
}

/// An identity with an issuer: an OIDC login, a workload identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// Who vouches.
    pub issuer: Option<String>,
    /// For whom.
    pub subject: Option<String>,
    /// The subject's groups.
    pub groups: Option<Vec<String>>,
}
