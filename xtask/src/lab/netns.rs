//! The lab's network: a namespace for the clients and the daemon, one for the endpoint, a wire between them, and no
//! other way out of either.
//!
//! The namespaces have no names: they live as long as a process or an open file of the lab, so nothing can be left
//! behind in `/run/netns`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

use super::names::{CLIENT, ENROLLED, PREFIX_V4, PREFIX_V6};

/// Hardware addresses of the wire's two ends, locally administered.
const CLIENT_MAC: &str = "02:00:00:00:00:02";
const ENDPOINT_MAC: &str = "02:00:00:00:00:10";

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

fn client_side(endpoint: &Path) -> String {
    let mut batch = format!(
        "link set dev lo up\n\
         link add lab0 address {CLIENT_MAC} type veth peer name lab0 address {ENDPOINT_MAC} netns {}\n\
         link set dev lab0 addrgenmode none\n",
        endpoint.display()
    );
    address(&mut batch, CLIENT.0, CLIENT.1);
    batch.push_str("link set dev lab0 up\n");
    for server in &ENROLLED {
        neighbour(&mut batch, server.v4, server.v6, ENDPOINT_MAC);
    }
    batch
}

fn endpoint_side() -> String {
    let mut batch = String::from("link set dev lo up\nlink set dev lab0 addrgenmode none\n");
    for server in &ENROLLED {
        address(&mut batch, server.v4, server.v6);
    }
    batch.push_str("link set dev lab0 up\n");
    neighbour(&mut batch, CLIENT.0, CLIENT.1, CLIENT_MAC);
    batch
}

fn address(batch: &mut String, v4: Ipv4Addr, v6: Ipv6Addr) {
    let _ = writeln!(batch, "addr add {v4}/{PREFIX_V4} dev lab0\naddr add {v6}/{PREFIX_V6} dev lab0 nodad");
}

/// Who has which address is known beforehand; asking costs a second when the wire is fresh.
fn neighbour(batch: &mut String, v4: Ipv4Addr, v6: Ipv6Addr, mac: &str) {
    for address in [IpAddr::V4(v4), IpAddr::V6(v6)] {
        let _ = writeln!(batch, "neigh add {address} lladdr {mac} dev lab0 nud permanent");
    }
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
