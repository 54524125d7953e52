//! The lab's network: a namespace for the clients and the daemon, one for the endpoint, a wire between them, and no
//! other way out of either.
//!
//! The namespaces have no names: they live as long as a process or an open file of the lab, so nothing can be left
//! behind in `/run/netns`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

use super::names::{CLIENT, ENROLLED, PREFIX_V4, PREFIX_V6};

/// The network namespaces of one lab.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// Where `cargo xtask lab` was called: `--upstream` is dialled from there.
    invoker: File,
    client: File,
    endpoint: File,
}

impl Namespaces {
    /// Makes and joins the two namespaces, and returns to the caller's. The process must have one thread.
    pub(crate) fn create() -> Result<Self> {
        let invoker = current()?;
        let endpoint = fresh()?;
        let client = fresh()?;
        let namespaces = Self { invoker, client, endpoint };
        let result = namespaces.connect();
        enter(&namespaces.invoker)?;
        result.map(|()| namespaces)
    }

    fn connect(&self) -> Result<()> {
        enter(&self.client)?;
        ip(&client_side(&path_of(&self.endpoint)))?;
        enter(&self.endpoint)?;
        ip(&endpoint_side())
    }

    pub(crate) fn invoker(&self) -> PathBuf {
        path_of(&self.invoker)
    }

    pub(crate) fn client(&self) -> PathBuf {
        path_of(&self.client)
    }

    pub(crate) fn endpoint(&self) -> PathBuf {
        path_of(&self.endpoint)
    }
}

/// Moves the calling thread into the network namespace behind `namespace`.
pub(crate) fn enter(namespace: &File) -> Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace of the lab")
}

/// A path by which other processes find an open file of ours.
fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

fn current() -> Result<File> {
    File::open("/proc/thread-self/ns/net").context("cannot open /proc/thread-self/ns/net")
}

fn fresh() -> Result<File> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace (a container needs CAP_SYS_ADMIN)")?;
    // Hosts that switch IPv6 off by default do so for new namespaces too.
    let _ = fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0");
    current()
}

fn client_side(endpoint: &std::path::Path) -> String {
    format!(
        "link set dev lo up\n\
         link add lab0 type veth peer name lab0 netns {peer}\n\
         link set dev lab0 addrgenmode none\n\
         addr add {v4}/{PREFIX_V4} dev lab0\n\
         addr add {v6}/{PREFIX_V6} dev lab0 nodad\n\
         link set dev lab0 up\n",
        peer = endpoint.display(),
        v4 = CLIENT.0,
        v6 = CLIENT.1,
    )
}

fn endpoint_side() -> String {
    let mut batch = String::from("link set dev lo up\nlink set dev lab0 addrgenmode none\n");
    for server in &ENROLLED {
        let _ = writeln!(batch, "addr add {}/{PREFIX_V4} dev lab0", server.v4);
        let _ = writeln!(batch, "addr add {}/{PREFIX_V6} dev lab0 nodad", server.v6);
    }
    batch.push_str("link set dev lab0 up\n");
    batch
}

/// Runs ip(8) commands, one a line, in the current namespace.
fn ip(batch: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(std::io::stderr())
        .spawn()
        .context("cannot run ip(8); `cargo xtask setup` installs iproute2")?;
    child.stdin.take().expect("its standard input is piped").write_all(batch.as_bytes())?;
    let status = child.wait()?;
    if !status.success() {
        bail!("ip(8) could not lay the lab's network: {status}");
    }
    Ok(())
}
