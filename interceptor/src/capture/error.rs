//! What can go wrong with the kernel, and what to do about it.

use std::io;
use std::path::PathBuf;

use aya::maps::MapError;
use aya::programs::ProgramError;

/// Why capture is not in force. Each message is complete: it includes its cause, which is therefore no
/// [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no cgroup2 hierarchy.
    #[error("no cgroup2 file system is mounted; mount one: `mount -t cgroup2 none /sys/fs/cgroup`")]
    NoCgroup2,
    /// The directory to attach to is something else.
    #[error("{path} is not a cgroup2 directory; cgroup2 is mounted at {mount}")]
    NotCgroup2 {
        /// The configured directory.
        path: PathBuf,
        /// Where the hierarchy is.
        mount: PathBuf,
    },
    /// The programs do not search that far down.
    #[error("{path} is too deep in the cgroup tree for a mode of its own; give one to a directory above it")]
    TooDeep {
        /// The configured directory.
        path: PathBuf,
    },
    /// The daemon's own cgroup cannot be told.
    #[error("cannot tell the daemon's own cgroup: {what}")]
    OwnCgroup {
        /// What is odd.
        what: String,
    },
    /// The pin directory is not on a BPF file system.
    #[error("{path} is not on a BPF file system; mount one: `mount -t bpf bpf /sys/fs/bpf`")]
    NotBpffs {
        /// The configured directory.
        path: PathBuf,
    },
    /// The BPF file system reserves dots.
    #[error("{path}: names on a BPF file system may not contain dots; choose another pin directory")]
    PinName {
        /// The configured directory.
        path: PathBuf,
    },
    /// Another daemon holds the pins.
    #[error("another interceptor uses {path}; stop it, or give this one its own pin directory")]
    InUse {
        /// The pin directory.
        path: PathBuf,
    },
    /// A file or directory cannot be used.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A system call failed.
    #[error("{call}: {cause}{}", remedy(.cause))]
    Syscall {
        /// Which.
        call: &'static str,
        /// Why.
        cause: io::Error,
    },
    /// The kernel refused the object as a whole.
    #[error("cannot load the kernel programs: {}{}", chain(.cause), remedy_in(.cause))]
    Load {
        /// Why.
        cause: Box<aya::EbpfError>,
    },
    /// The kernel refused one program. The verifier's log is part of the message.
    #[error("kernel program `{program}`: {}{}", chain(.cause), remedy_in(.cause))]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        cause: Box<ProgramError>,
    },
    /// A link cannot be pinned.
    #[error("cannot pin {path}: {}{}", chain(.cause), remedy_in(.cause))]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why.
        cause: Box<aya::pin::PinError>,
    },
    /// A map operation failed.
    #[error("map {map}: {}{}", chain(.cause), full(.cause))]
    Map {
        /// Which.
        map: &'static str,
        /// Why.
        cause: Box<MapError>,
    },
    /// The embedded object lacks something: the two halves of the build do not fit.
    #[error("the embedded kernel object has no `{what}`; build again from a clean checkout")]
    Object {
        /// Its name.
        what: &'static str,
    },
    /// The log of the kernel programs cannot be read.
    #[error("cannot read the kernel programs' log: {0}")]
    Events(String),
    /// A prefix that cannot be.
    #[error("/{prefix} is longer than the address {ip}")]
    Prefix {
        /// The address.
        ip: std::net::IpAddr,
        /// Its prefix.
        prefix: u8,
    },
}

impl Error {
    pub(super) fn map(map: &'static str) -> impl Fn(MapError) -> Self {
        move |cause| Self::Map { map, cause: Box::new(cause) }
    }

    pub(super) fn program(program: &'static str) -> impl Fn(ProgramError) -> Self {
        move |cause| Self::Program { program, cause: Box::new(cause) }
    }

    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { path, cause }
    }

    pub(super) fn syscall(call: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Syscall { call, cause }
    }
}

/// aya's errors do not all print their cause.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The remedy for the first I/O error among the causes.
fn remedy_in(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return remedy(io);
        }
        next = error.source();
    }
    ""
}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(nix::libc::EPERM) => {
            "; it needs root, or CAP_BPF with CAP_NET_ADMIN (and, before Linux 5.11, a higher `ulimit -l`)"
        }
        Some(nix::libc::ENOMEM) => "; the memory limit of the daemon's cgroup is too low for the maps",
        Some(nix::libc::ENOSYS) => "; the kernel was built without CONFIG_BPF_SYSCALL",
        _ => "",
    }
}

fn full(error: &MapError) -> &'static str {
    let MapError::SyscallError(call) = error else { return "" };
    match call.io_error.raw_os_error() {
        Some(nix::libc::ENOSPC | nix::libc::E2BIG) => "; the map is full: enrol fewer addresses, or wider prefixes",
        _ => "",
    }
}
