//! What this kernel can do of what the programs and the daemon want, asked of the kernel itself: distributions backport,
//! so version numbers only serve the messages.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use aya::maps::MapType;
use aya::sys::{BpfHelper, is_map_supported};
use serde::{Deserialize, Serialize};

use super::{Error, NetnsCookie, sock_diag, sys_probe};

// Program types and attachments, include/uapi/linux/bpf.h.
const CGROUP_SKB: u32 = 8;
const CGROUP_SOCK: u32 = 9;
const SOCK_OPS: u32 = 13;
const CGROUP_SOCK_ADDR: u32 = 18;
const INGRESS: u32 = 0;
const SOCK_CREATE: u32 = 2;
const CONNECT4: u32 = 10;
const SENDMSG4: u32 = 14;
const GETPEERNAME4: u32 = 29;
const SOCK_RELEASE: u32 = 34;

const BTF: &str = "/sys/kernel/btf/vmlinux";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Something a kernel has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the table below describes each")]
pub enum Name {
    ConnectHooks,
    SendmsgHooks,
    SockCreateHook,
    SockOps,
    GetpeernameHooks,
    SockReleaseHook,
    IngressHook,
    SocketStorage,
    SocketStorageAtCreation,
    NetnsCookie,
    NetnsCookieOfSocket,
    BootTime,
    AncestorCgroup,
    Unbind,
    RingBuffer,
    TakeElement,
    SetRetval,
    MptcpSocket,
    NetnsCookieOfPacket,
    Btf,
    ReadKernel,
    SockDestroy,
}

/// How the kernel is asked.
enum Probe {
    Program { kind: u32, attach: u32, helper: Option<BpfHelper> },
    Map(MapType),
    Function(fn() -> io::Result<bool>),
}

/// A row of the table.
struct Wanted {
    name: Name,
    what: &'static str,
    since: &'static str,
    required: bool,
    without: &'static str,
    probe: Probe,
}

const fn program(kind: u32, attach: u32) -> Probe {
    Probe::Program { kind, attach, helper: None }
}

const fn helper(kind: u32, attach: u32, helper: BpfHelper) -> Probe {
    Probe::Program { kind, attach, helper: Some(helper) }
}

macro_rules! wanted {
    ($($name:ident, $what:literal, $since:literal, $need:ident, $without:literal, $probe:expr;)*) => {
        const WANTED: &[Wanted] = &[$(Wanted {
            name: Name::$name,
            what: $what,
            since: $since,
            required: wanted!(@ $need),
            without: $without,
            probe: $probe,
        },)*];
    };
    (@ required) => { true };
    (@ optional) => { false };
}

wanted! {
    ConnectHooks, "connect4/6 hooks of cgroups", "4.17", required,
        "nothing could be redirected", program(CGROUP_SOCK_ADDR, CONNECT4);
    SendmsgHooks, "sendmsg4/6 hooks of cgroups", "4.18", required,
        "QUIC could not be refused", program(CGROUP_SOCK_ADDR, SENDMSG4);
    SockCreateHook, "sock_create hook of cgroups", "4.10", required,
        "the maker of a socket would not be known", program(CGROUP_SOCK, SOCK_CREATE);
    SockOps, "sock_ops programs", "4.13", required,
        "a connection's original destination would not be known at accept", program(SOCK_OPS, 0);
    GetpeernameHooks, "getpeername4/6 hooks of cgroups", "5.8", required,
        "clients would see the proxy as their peer", program(CGROUP_SOCK_ADDR, GETPEERNAME4);
    SockReleaseHook, "sock_release hook of cgroups", "5.9", required,
        "connections that never came about would fill the map of flows", program(CGROUP_SOCK, SOCK_RELEASE);
    IngressHook, "cgroup_skb programs", "4.10", required,
        "DNS answers would not be seen", program(CGROUP_SKB, INGRESS);
    SocketStorage, "bpf_sk_storage_get at connect", "5.8", required,
        "the original destination could not be kept",
        helper(CGROUP_SOCK_ADDR, CONNECT4, BpfHelper::BPF_FUNC_sk_storage_get);
    SocketStorageAtCreation, "bpf_sk_storage_get at sock_create and sock_release", "5.12", required,
        "the maker of a socket could not be kept",
        helper(CGROUP_SOCK, SOCK_CREATE, BpfHelper::BPF_FUNC_sk_storage_get);
    NetnsCookie, "bpf_get_netns_cookie at connect", "5.7", required,
        "network namespaces could not be told apart",
        helper(CGROUP_SOCK_ADDR, CONNECT4, BpfHelper::BPF_FUNC_get_netns_cookie);
    NetnsCookieOfSocket, "SO_NETNS_COOKIE", "5.14", required,
        "the daemon could not tell its own network namespace", Probe::Function(has_netns_cookie);
    BootTime, "bpf_ktime_get_boot_ns", "5.8", required,
        "the daemon's heartbeat could not be judged",
        helper(CGROUP_SOCK_ADDR, CONNECT4, BpfHelper::BPF_FUNC_ktime_get_boot_ns);
    AncestorCgroup, "bpf_get_current_ancestor_cgroup_id at connect", "5.7", required,
        "strict and exempt cgroups could not be recognised",
        helper(CGROUP_SOCK_ADDR, CONNECT4, BpfHelper::BPF_FUNC_get_current_ancestor_cgroup_id);
    Unbind, "bpf_setsockopt at connect", "5.8", required,
        "sockets bound to an interface could not be redirected",
        helper(CGROUP_SOCK_ADDR, CONNECT4, BpfHelper::BPF_FUNC_setsockopt);
    RingBuffer, "ring buffers", "5.8", required,
        "events and DNS answers could not be handed over", Probe::Map(MapType::RingBuf);
    TakeElement, "atomic take from a hash map", "5.14", required,
        "two workers could take the same flow", Probe::Function(sys_probe::takes_elements);
    SetRetval, "bpf_set_retval", "5.18", optional,
        "a refused connection fails with EPERM instead of ECONNREFUSED",
        helper(CGROUP_SOCK_ADDR, CONNECT4, BpfHelper::BPF_FUNC_set_retval);
    MptcpSocket, "bpf_skc_to_mptcp_sock", "5.19", optional,
        "getpeername on an MPTCP socket shows the proxy, and the cgroup it was made in is not recorded",
        helper(CGROUP_SOCK_ADDR, CONNECT4, BpfHelper::BPF_FUNC_skc_to_mptcp_sock);
    NetnsCookieOfPacket, "bpf_get_netns_cookie for packets", "6.15", optional,
        "DNS answers do not tell the network namespace they were received in",
        helper(CGROUP_SKB, INGRESS, BpfHelper::BPF_FUNC_get_netns_cookie);
    Btf, "the kernel's own BTF (CONFIG_DEBUG_INFO_BTF)", "5.2", optional,
        "a caller that has exited before its connection is accepted is known by its ids alone", Probe::Function(has_btf);
    ReadKernel, "bpf_probe_read_kernel at connect (no lockdown)", "5.8", optional,
        "a caller that has exited before its connection is accepted is known by its ids alone", Probe::Function(reads_kernel);
    SockDestroy, "closing sockets of others (CONFIG_INET_DIAG_DESTROY)", "4.5", optional,
        "connections that were open before capture began stay open, unmasked", Probe::Function(sock_diag::can_destroy);
}

fn has_netns_cookie() -> io::Result<bool> {
    Ok(NetnsCookie::own().is_ok())
}

fn has_btf() -> io::Result<bool> {
    Ok(Path::new(BTF).exists())
}

fn reads_kernel() -> io::Result<bool> {
    // Without the file there is no lockdown in this kernel, or no securityfs to ask.
    let locked = fs::read_to_string(LOCKDOWN).is_ok_and(|text| text.contains("[confidentiality]"));
    let takes = |helper| sys_probe::takes_program(CGROUP_SOCK_ADDR, CONNECT4, Some(helper as u32));
    Ok(!locked
        && takes(BpfHelper::BPF_FUNC_get_current_task)?
        && takes(BpfHelper::BPF_FUNC_probe_read_kernel)?
        && takes(BpfHelper::BPF_FUNC_probe_read_user)?)
}

/// One feature, as found here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// Which.
    pub name: Name,
    /// The kernel's term for it.
    pub what: &'static str,
    /// The first version of Linux that has it.
    pub since: &'static str,
    /// Whether the daemon refuses to start without it.
    pub required: bool,
    /// Whether this kernel has it.
    pub present: bool,
    /// What is lost without it.
    pub without: &'static str,
}

/// Everything asked of this kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Features {
    /// Its release, as uname(2) tells it.
    pub kernel: String,
    /// Each feature.
    pub list: Vec<Feature>,
}

impl Features {
    /// Asks the kernel. Needs root, or CAP_BPF with CAP_NET_ADMIN.
    ///
    /// # Errors
    /// When the kernel does not answer, for want of privilege as a rule.
    pub fn probe() -> Result<Self, Error> {
        let list = WANTED.iter().map(|wanted| Ok(wanted.found(wanted.probe.ask()?))).collect::<Result<_, _>>()?;
        Ok(Self { kernel: release(), list })
    }

    /// Whether a feature is there.
    #[must_use]
    pub fn has(&self, name: Name) -> bool {
        self.list.iter().any(|feature| feature.name == name && feature.present)
    }

    /// Takes features for absent, so that what then happens can be seen on a kernel that has them.
    #[must_use]
    pub fn without(mut self, absent: &[Name]) -> Self {
        self.list
            .iter_mut()
            .filter(|feature| absent.contains(&feature.name))
            .for_each(|feature| feature.present = false);
        self
    }

    /// Optional features that this kernel lacks.
    pub fn degraded(&self) -> impl Iterator<Item = &Feature> {
        self.list.iter().filter(|feature| !feature.present && !feature.required)
    }

    /// # Errors
    /// Names every required feature that is absent.
    pub fn require(&self) -> Result<(), Error> {
        let absent: Vec<String> = self
            .list
            .iter()
            .filter(|feature| !feature.present && feature.required)
            .map(|feature| format!("{feature}, without which {}", feature.without))
            .collect();
        if absent.is_empty() {
            return Ok(());
        }
        Err(Error::Kernel { release: self.kernel.clone(), absent: absent.join("; ") })
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (Linux {})", self.what, self.since)
    }
}

impl Wanted {
    fn found(&self, present: bool) -> Feature {
        let &Self { name, what, since, required, without, .. } = self;
        Feature { name, what, since, required, present, without }
    }
}

impl Probe {
    fn ask(&self) -> Result<bool, Error> {
        let failed = Error::syscall("probing the kernel's features, bpf(2)");
        match *self {
            Self::Program { kind, attach, helper } => {
                sys_probe::takes_program(kind, attach, helper.map(|helper| helper as u32)).map_err(failed)
            }
            Self::Map(kind) => is_map_supported(kind).map_err(|error| failed(error.io_error)),
            Self::Function(ask) => ask().map_err(failed),
        }
    }
}

fn release() -> String {
    nix::sys::utsname::uname()
        .map_or_else(|_| "of unknown release".to_owned(), |name| name.release().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that has everything.
    fn everything() -> Features {
        Features { kernel: "6.18.0".into(), list: WANTED.iter().map(|wanted| wanted.found(true)).collect() }
    }

    #[test]
    fn every_feature_is_asked_for_once() {
        for (number, wanted) in WANTED.iter().enumerate() {
            assert!(WANTED[..number].iter().all(|earlier| earlier.name != wanted.name), "{:?}", wanted.name);
        }
    }

    #[test]
    fn a_missing_required_feature_is_named_with_version_and_loss() {
        assert!(everything().require().is_ok());
        let old = everything().without(&[Name::SockReleaseHook, Name::TakeElement, Name::SetRetval]);
        let message = old.require().unwrap_err().to_string();
        for part in ["6.18.0", "sock_release hook", "5.9", "atomic take", "5.14", "fill the map", "5.15"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(!message.contains("bpf_set_retval"), "{message}");
    }

    #[test]
    fn a_missing_optional_feature_is_told_and_not_refused() {
        let old = everything().without(&[Name::SetRetval]);
        assert!(old.require().is_ok() && !old.has(Name::SetRetval));
        assert_eq!(old.degraded().map(|feature| feature.since).collect::<Vec<_>>(), ["5.18"]);
        let json = serde_json::to_value(&old).unwrap();
        assert_eq!(json["list"][16]["name"], "set-retval");
        assert_eq!(json["list"][16]["present"], false);
    }
}
