//! Destroys connections that were made before their destination was enrolled: the programs see connect(2), so what is
//! connected already would stay direct for as long as it lives.
//!
//! Netlink's sock_diag (sock_diag(7), `linux/inet_diag.h`): a dump of the sockets of one network namespace, and
//! SOCK_DESTROY for some of them. The crates for it neither destroy nor know the cgroup of a socket.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

use super::{CgroupMode, Cgroups, EndpointAddr, Error, Mode, Netns};

// linux/sock_diag.h, linux/netlink.h, linux/inet_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const INET_DIAG_MARK: u16 = 15;
const INET_DIAG_CGROUP_ID: u16 = 21;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// `struct inet_diag_sockid`.
const SOCKET_ID: usize = 48;
/// `struct inet_diag_msg`; attributes follow.
const MESSAGE: usize = 72;

const TCP: u8 = libc::IPPROTO_TCP as u8;
const UDP: u8 = libc::IPPROTO_UDP as u8;

/// QUIC's usual port.
const HTTPS: u16 = 443;

/// Every state in which data may be on its way: not listening, not TIME_WAIT. Connected UDP sockets are "established".
const STATES: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

/// Room for a batch of a dump; the kernel fills at most 32 KiB.
const BUFFER: usize = 64 << 10;

/// Whose connections are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The enrolled cgroup2 directory: sockets made by processes in it and below.
    pub cgroup: &'a Path,
    /// Directories below it with a mode of their own; the nearest decides.
    pub modes: &'a [CgroupMode],
    /// The daemon's own SO_MARK: with its cgroup, it tells the daemon's own connections.
    pub own_mark: u32,
}

/// What became of the connections that were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Destroyed {
    /// Reset: both ends see an error.
    pub sockets: usize,
    /// Still there, because this kernel does not destroy sockets; a warning was logged, once.
    pub left: usize,
}

/// A socket of the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    family: u8,
    protocol: u8,
    id: [u8; SOCKET_ID],
    peer: SocketAddr,
    mark: u32,
    cgroup: Option<u64>,
}

/// Resets every connection, and every connected UDP socket, that goes to one of `endpoints` directly, whichever network
/// namespace of a process in the cgroup it is in. The endpoints have to be enrolled before, or new connections follow.
///
/// A socket whose cgroup is gone may have belonged to the enrolled one: it is destroyed too.
///
/// # Errors
/// When the kernel does not list sockets, or processes cannot be looked at.
pub fn destroy_direct(endpoints: &[EndpointAddr], scope: &Scope<'_>) -> Result<Destroyed, Error> {
    if endpoints.is_empty() {
        return Ok(Destroyed::default());
    }
    destroy(scope, |mode, socket| mode != Mode::Exempt && endpoints.iter().any(|endpoint| endpoint.covers(socket.peer)))
}

/// Resets every connection of a strict cgroup that leaves the host, and every UDP socket that is connected to port 443.
///
/// # Errors
/// As [`destroy_direct`].
pub fn destroy_leaving(scope: &Scope<'_>) -> Result<Destroyed, Error> {
    if !scope.modes.iter().any(|rule| rule.mode == Mode::Strict) {
        return Ok(Destroyed::default());
    }
    destroy(scope, |mode, socket| {
        let seen = socket.protocol == TCP || socket.peer.port() == HTTPS;
        mode == Mode::Strict && seen && !socket.peer.ip().is_loopback() && !socket.peer.ip().is_unspecified()
    })
}

fn destroy(scope: &Scope<'_>, wanted: impl Fn(Mode, &Found) -> bool + Sync) -> Result<Destroyed, Error> {
    let owners = Owners::new(scope)?;
    let mut total = destroy_here(&wanted, &owners)?;
    for netns in other_namespaces(scope.cgroup)? {
        let here = netns.enter(|| destroy_here(&wanted, &owners).map_err(io::Error::other));
        let here = here.map_err(Error::syscall("sock_diag in another network namespace"))?;
        total.sockets += here.sockets;
        total.left += here.left;
    }
    Ok(total)
}

/// In the network namespace of the calling thread.
fn destroy_here(wanted: &impl Fn(Mode, &Found) -> bool, owners: &Owners) -> Result<Destroyed, Error> {
    let mut result = Destroyed::default();
    let mut diag = Diag::open().map_err(Error::syscall("socket(NETLINK_SOCK_DIAG)"))?;
    let mut modes = HashMap::new();
    for protocol in [TCP, UDP] {
        for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
            let sockets = match diag.dump(family, protocol) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    warn_once("does not list sockets (CONFIG_INET_DIAG, CONFIG_INET_UDP_DIAG)");
                    continue;
                }
                sockets => sockets.map_err(Error::syscall("sock_diag: list sockets"))?,
            };
            for socket in sockets.iter().filter(|socket| !owners.is_own(socket)) {
                let mode = *modes.entry(socket.cgroup).or_insert_with(|| owners.mode(socket.cgroup));
                if !mode.is_some_and(|mode| wanted(mode, socket)) {
                    continue;
                }
                match diag.destroy(socket).map_err(|error| (error.raw_os_error(), error)) {
                    Ok(()) => {
                        log::info!("reset a direct connection to {}, made before it was enrolled", socket.peer);
                        result.sockets += 1;
                    }
                    // Closed meanwhile.
                    Err((Some(libc::ENOENT), _)) => {}
                    Err((Some(libc::EOPNOTSUPP), _)) => {
                        warn_once("cannot reset sockets (CONFIG_INET_DIAG_DESTROY)");
                        result.left += 1;
                    }
                    Err((_, error)) => return Err(Error::syscall("sock_diag: SOCK_DESTROY")(error)),
                }
            }
        }
    }
    Ok(result)
}

fn warn_once(what: &str) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::warn!(
            "this kernel {what}: connections made before their destination was enrolled stay direct until they end; \
             restart the programs that have such connections"
        );
    });
}

/// Which sockets are whose.
struct Owners {
    cgroups: Cgroups,
    enrolled: PathBuf,
    modes: Vec<(PathBuf, Mode)>,
    own_cgroup: u64,
    own_mark: u32,
}

impl Owners {
    fn new(scope: &Scope<'_>) -> Result<Self, Error> {
        let cgroups = Cgroups::find()?;
        let own_cgroup = cgroups.own()?;
        // A cgroup that is gone has no mode any more.
        let modes = scope.modes.iter().filter_map(|rule| Some((fs::canonicalize(&rule.path).ok()?, rule.mode)));
        Ok(Self {
            cgroups,
            enrolled: fs::canonicalize(scope.cgroup).map_err(Error::file(scope.cgroup))?,
            modes: modes.collect(),
            own_cgroup,
            own_mark: scope.own_mark,
        })
    }

    /// How the programs treat the sockets of that cgroup; none when they do not see them.
    fn mode(&self, cgroup: Option<u64>) -> Option<Mode> {
        let Some(path) = cgroup.and_then(|id| self.cgroups.path_of(id)) else { return Some(Mode::Names) };
        let path = self.cgroups.mount().join(path.strip_prefix("/").unwrap_or(&path));
        let above = self.modes.iter().filter(|(rule, _)| path.starts_with(rule));
        let nearest = above.max_by_key(|(rule, _)| rule.components().count());
        path.starts_with(&self.enrolled).then(|| nearest.map_or(Mode::Names, |&(_, mode)| mode))
    }

    /// As the programs recognise them: neither is enough alone.
    fn is_own(&self, socket: &Found) -> bool {
        socket.mark == self.own_mark && socket.cgroup == Some(self.own_cgroup)
    }
}

/// The network namespaces of the processes in `cgroup` and below, but for that of the calling thread.
fn other_namespaces(cgroup: &Path) -> Result<Vec<Netns>, Error> {
    let inode = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/net")).map(|metadata| metadata.ino());
    let own = inode("thread-self").map_err(Error::file("/proc/thread-self/ns/net"))?;
    let mut seen = HashSet::from([own]);
    let mut found = Vec::new();
    let mut directories = vec![cgroup.to_path_buf()];
    while let Some(directory) = directories.pop() {
        // Cgroups and processes go while they are looked at; only the enrolled directory itself has to be there.
        let entries = match fs::read_dir(&directory) {
            Err(error) if directory == cgroup => return Err(Error::file(directory)(error)),
            entries => entries.into_iter().flatten().flatten(),
        };
        directories.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
        let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in processes.lines() {
            let new = inode(pid).is_ok_and(|inode| seen.insert(inode));
            if let Some(netns) = pid.parse().ok().filter(|_| new).and_then(|pid| Netns::of_process(pid).ok()) {
                found.push(netns);
            }
        }
    }
    Ok(found)
}

impl EndpointAddr {
    /// Whether a connection to `peer` is one to this endpoint.
    fn covers(&self, peer: SocketAddr) -> bool {
        let bits = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
            IpAddr::V6(ip) => (u128::from(ip), 128),
        };
        let ((own, width), (other, other_width)) = (bits(self.ip), bits(peer.ip()));
        let differing = (own ^ other).leading_zeros();
        self.port == peer.port() && width == other_width && differing >= u32::from(self.prefix).min(width)
    }
}

/// A netlink socket; what it sees are the sockets of the network namespace it was made in.
struct Diag {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Diag {
    fn open() -> io::Result<Self> {
        let kind = Type::DGRAM.cloexec();
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), kind, Some(Protocol::from(libc::NETLINK_SOCK_DIAG)))?;
        Ok(Self { socket, buffer: vec![0; BUFFER] })
    }

    fn dump(&mut self, family: u8, protocol: u8) -> io::Result<Vec<Found>> {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
        self.send(SOCK_DIAG_BY_FAMILY, flags, family, protocol, &[0; SOCKET_ID])?;
        let mut found = Vec::new();
        loop {
            let len = self.socket.read(&mut self.buffer)?;
            for (kind, body) in Messages(&self.buffer[..len]) {
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(found),
                    libc::NLMSG_ERROR => return Err(error_of(body)),
                    _ => found.extend(parse_socket(protocol, body)),
                }
            }
        }
    }

    fn destroy(&mut self, socket: &Found) -> io::Result<()> {
        self.send(SOCK_DESTROY, libc::NLM_F_REQUEST | libc::NLM_F_ACK, socket.family, socket.protocol, &socket.id)?;
        let len = self.socket.read(&mut self.buffer)?;
        match Messages(&self.buffer[..len]).next() {
            Some((kind, body)) if i32::from(kind) == libc::NLMSG_ERROR => match error_of(body) {
                acknowledged if acknowledged.raw_os_error() == Some(0) => Ok(()),
                error => Err(error),
            },
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn send(&self, kind: u16, flags: i32, family: u8, protocol: u8, id: &[u8; SOCKET_ID]) -> io::Result<()> {
        let mut message = Vec::with_capacity(HEADER + REQUEST);
        message.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((flags as u16).to_ne_bytes());
        message.extend([0; 8]);
        message.extend([family, protocol, 0, 0]);
        message.extend(STATES.to_ne_bytes());
        message.extend(id);
        self.socket.send(&message).map(drop)
    }
}

/// The messages of one datagram: type and body. Ends at the first that does not fit.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = u32::from_ne_bytes(*self.0.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*self.0.get(4..)?.first_chunk()?);
        let body = self.0.get(HEADER..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    }
}

/// The attributes behind a message: type and value.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16::from_ne_bytes(*self.0.first_chunk()?));
        let kind = u16::from_ne_bytes(*self.0.get(2..)?.first_chunk()?);
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The error of an NLMSG_ERROR; 0 is an acknowledgement.
fn error_of(body: &[u8]) -> io::Error {
    match body.first_chunk() {
        Some(code) => io::Error::from_raw_os_error(-i32::from_ne_bytes(*code)),
        None => io::ErrorKind::InvalidData.into(),
    }
}

/// One `struct inet_diag_msg` and its attributes.
fn parse_socket(protocol: u8, body: &[u8]) -> Option<Found> {
    let attributes = body.get(MESSAGE..)?;
    let id: [u8; SOCKET_ID] = *body.get(4..)?.first_chunk()?;
    let port = u16::from_be_bytes([id[2], id[3]]);
    let address: [u8; 16] = *id[20..].first_chunk()?;
    let family = body[0];
    let ip = if family == libc::AF_INET as u8 {
        IpAddr::from([address[0], address[1], address[2], address[3]])
    } else {
        IpAddr::from(address).to_canonical()
    };
    let mut found = Found { family, protocol, id, peer: SocketAddr::new(ip, port), mark: 0, cgroup: None };
    for (kind, value) in Attributes(attributes) {
        match kind {
            INET_DIAG_MARK => found.mark = u32::from_ne_bytes(*value.first_chunk()?),
            INET_DIAG_CGROUP_ID => found.cgroup = Some(u64::from_ne_bytes(*value.first_chunk()?)),
            _ => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests;
