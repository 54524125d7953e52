//! The lab's own view of the file system: a private mount namespace in which names, trust and BPF pins differ from the
//! host's. It vanishes with the lab's last process; the host's files are never written.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::names;

const BPF: &str = "/sys/fs/bpf";

/// Leaves the host's mount namespace. The process must have one thread.
pub(crate) fn leave_host() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace (a container needs CAP_SYS_ADMIN)")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("cannot make the mounts of the new namespace private")
}

/// Gives the lab a BPF file system of its own: what is pinned there goes with it.
pub(crate) fn private_bpf() -> Result<()> {
    mount(Some("bpf"), BPF, Some("bpf"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount a BPF file system on {BPF} (does the kernel have CONFIG_BPF_SYSCALL?)"))
}

/// Lets go of the pins now rather than when the kernel gets round to it.
pub(crate) fn drop_bpf() {
    let _ = umount2(BPF, MntFlags::MNT_DETACH);
}

/// Makes the lab's names resolve, and no others. `scratch` keeps the files that are mounted.
pub(crate) fn names(scratch: &Path) -> Result<()> {
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    cover(Path::new("/etc/hosts"), &scratch.join("hosts"), &names::hosts_file(hostname.trim()))?;
    // TEST-NET-1, to which there is no route: a query fails at once instead of waiting for an answer.
    let nowhere = "nameserver 192.0.2.53\noptions timeout:1 attempts:1\n";
    cover_if_there("/etc/resolv.conf", &scratch.join("resolv.conf"), nowhere)?;
    // Resolvers that answer over a local socket would answer with the host's view.
    if let Ok(switch) = fs::read_to_string("/etc/nsswitch.conf") {
        cover(Path::new("/etc/nsswitch.conf"), &scratch.join("nsswitch.conf"), &files_and_dns_only(&switch))?;
    }
    for cache in ["/run/nscd", "/run/systemd/resolve/io.systemd.Resolve"] {
        hide(Path::new(cache))?;
    }
    Ok(())
}

fn files_and_dns_only(nsswitch: &str) -> String {
    let others = nsswitch.lines().filter(|line| !line.trim_start().starts_with("hosts:"));
    others.chain(["hosts: files dns"]).fold(String::new(), |text, line| text + line + "\n")
}

/// Shows `text` (kept in `file`) in the place of `target`, which must exist.
pub(crate) fn cover(target: &Path, file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    bind(file, target)
}

fn cover_if_there(target: &str, file: &Path, text: &str) -> Result<()> {
    if Path::new(target).exists() { cover(Path::new(target), file, text) } else { Ok(()) }
}

/// Shows `source` in the place of `target`.
pub(crate) fn bind(source: &Path, target: &Path) -> Result<()> {
    let resolved = target.canonicalize().map_err(|error| missing(target, &error))?;
    mount(Some(source), &resolved, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot mount {} on {}", source.display(), resolved.display()))
}

fn missing(target: &Path, error: &io::Error) -> anyhow::Error {
    anyhow!("{} is needed to mount the lab's own over it: {error}", target.display())
}

/// An empty directory, or an unreachable socket, in the place of `target` if that exists.
fn hide(target: &Path) -> Result<()> {
    let Ok(metadata) = fs::metadata(target) else { return Ok(()) };
    if metadata.is_dir() { tmpfs(target) } else { bind(Path::new("/dev/null"), target) }
}

/// An empty directory in memory in the place of `target`.
pub(crate) fn tmpfs(target: &Path) -> Result<()> {
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=755"))
        .with_context(|| format!("cannot mount a tmpfs on {}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_and_dns_answer_for_hosts() {
        let fedora = "passwd: files sss\nhosts:  files myhostname resolve [!UNAVAIL=return] dns\nservices: files\n";
        assert_eq!(files_and_dns_only(fedora), "passwd: files sss\nservices: files\nhosts: files dns\n");
    }
}
