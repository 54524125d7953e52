//! What the operating system has to bring.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use nix::unistd::geteuid;

use super::{Outcome, announce};
use crate::workspace;

/// Something the system brings: how to see whether it does, what it is, and the Debian package.
pub(super) struct Need {
    pub(super) what: &'static str,
    pub(super) package: &'static str,
    pub(super) is_there: fn() -> bool,
}

const BUILD: &[Need] = &[
    Need { what: "a C and C++ compiler", package: "build-essential", is_there: || runs("cc", &["--version"]) },
    Need { what: "pkg-config", package: "pkg-config", is_there: || runs("pkg-config", &["--version"]) },
    Need {
        what: "the Hyperscan library and its header files",
        package: "libhyperscan-dev",
        is_there: || runs("pkg-config", &["--exists", "libhs"]),
    },
    Need { what: "ip(8)", package: "iproute2", is_there: || runs("ip", &["-V"]) },
    Need { what: "nft(8)", package: "nftables", is_there: || runs("nft", &["--version"]) },
    Need { what: "curl", package: "curl", is_there: || runs("curl", &["--version"]) },
    Need { what: "openssl(1)", package: "openssl", is_there: || runs("openssl", &["version"]) },
    Need {
        what: "the bundle of root certificates",
        package: "ca-certificates",
        is_there: || Path::new("/etc/ssl/certs").is_dir() || Path::new("/etc/pki/tls/certs").is_dir(),
    },
];

const CLIENTS: &[Need] = &[
    Need { what: "mkfs.ext4(8) and e2fsck(8)", package: "e2fsprogs", is_there: || runs("mkfs.ext4", &["-V"]) },
    Need { what: "mount(8), which sets loop devices up", package: "mount", is_there: || runs("mount", &["--version"]) },
    Need {
        what: "Python 3 with venv",
        package: "python3-venv",
        is_there: || runs("python3", &["-c", "import venv, ensurepip"]),
    },
    Need { what: "npm", package: "npm", is_there: || runs("npm", &["--version"]) },
    // It prints its version only after it has looked for a server's name.
    Need {
        what: "testssl",
        package: "testssl.sh",
        is_there: || runs("sh", &["-c", "command -v testssl || command -v testssl.sh"]),
    },
    Need {
        what: "rsyslog with TLS",
        package: "rsyslog-gnutls",
        is_there: || {
            runs("/usr/sbin/rsyslogd", &["-v"])
                && ["/usr/lib", "/usr/lib64"].iter().any(|lib| has_file_below(Path::new(lib), "rsyslog/lmnsd_gtls.so"))
        },
    },
    Need { what: "less", package: "less", is_there: || runs("less", &["--version"]) },
    Need { what: "wget", package: "wget", is_there: || runs("wget", &["--version"]) },
    Need {
        what: "a JDK of Java 11 or newer",
        package: "default-jdk-headless",
        // An older one has no such module, and one without a compiler does not run source files.
        is_there: || runs("javac", &["--add-modules", "java.net.http", "--version"]),
    },
];

const KERNELS: &[Need] = &[
    Need {
        what: "qemu for x86-64",
        package: "qemu-system-x86",
        is_there: || runs("qemu-system-x86_64", &["--version"]),
    },
    Need { what: "a static busybox", package: "busybox-static", is_there: || runs("/bin/busybox", &["true"]) },
    Need { what: "cpio(1)", package: "cpio", is_there: || runs("cpio", &["--version"]) },
    Need { what: "depmod(8) and modprobe(8)", package: "kmod", is_there: || runs("modprobe", &["--version"]) },
    Need { what: "xz(1)", package: "xz-utils", is_there: || runs("xz", &["--version"]) },
];

pub(super) fn build() -> Result<Outcome> {
    provide(BUILD)
}

pub(super) fn kernels() -> Result<Outcome> {
    provide(KERNELS)
}

pub(super) fn clients() -> Result<Outcome> {
    provide(CLIENTS)
}

/// The parts of Rust's toolchain that only checks need.
pub(super) fn rust_components() -> Result<Outcome> {
    let there = || runs("cargo", &["fmt", "--version"]) && runs("cargo", &["clippy", "--version"]);
    if there() {
        return Ok(Outcome::There);
    }
    let _ = workspace::run(Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]));
    if !there() {
        bail!("install rustfmt and clippy for this toolchain: rustup component add rustfmt clippy");
    }
    Ok(Outcome::Made)
}

/// Whether `file` is in the directory, or in one directly in it, as those of an architecture are.
fn has_file_below(directory: &Path, file: &str) -> bool {
    let inside = std::fs::read_dir(directory).into_iter().flatten().flatten();
    directory.join(file).exists() || inside.into_iter().any(|entry| entry.path().join(file).exists())
}

/// Whether a program can be run and succeeds.
pub(crate) fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Installs what is missing, or says what it is.
pub(super) fn provide(needs: &[Need]) -> Result<Outcome> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return Ok(Outcome::There);
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    install(&packages)?;
    let missing: Vec<&str> = missing.iter().filter(|need| !(need.is_there)()).map(|need| need.what).collect();
    if !missing.is_empty() {
        bail!("{} cannot be found although its package is installed; is PATH complete?", missing.join(", "));
    }
    Ok(Outcome::Made)
}

/// Installs Debian packages; where that cannot be done, says which are needed.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !runs("apt-get", &["--version"]) {
        bail!(
            "this system has no apt-get; install with its own package manager what Debian calls: {list}; then run \
             `cargo xtask setup` again"
        );
    }
    if !geteuid().is_root() {
        bail!("packages are missing and only root can install them: sudo apt-get install {list}");
    }
    announce(&format!("apt-get install {list}"));
    update();
    apt(&["install"], packages)
}

/// Fetches the lists of packages, once: old ones know packages that are gone, or too old, without a word about it. A
/// mirror that cannot be reached matters only if the packages cannot be had either.
fn update() {
    static UPDATED: AtomicBool = AtomicBool::new(false);
    if !UPDATED.swap(true, Ordering::Relaxed)
        && let Err(error) = apt(&["update"], &[])
    {
        announce(&format!("apt-get update: {error:#}; going on with the lists that are there"));
    }
}

fn apt(verb: &[&str], packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-y", "-q", "--no-install-recommends"]);
    // Another package must never have to go for ours.
    command.arg("--no-remove").args(verb).args(packages);
    workspace::run(&mut command)
}
