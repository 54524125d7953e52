//! Listeners in other network namespaces: made when a process is seen in one, gone when the last process has left.
//!
//! A listening socket keeps its namespace alive, so the kernel never says that one is over: a sweep looks whether any
//! process is still in it. Users may make namespaces at will, so their number and rate are bounded for each; what is
//! beyond is refused by the kernel programs, which find no listener there.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc;

use super::status::NamespaceCount;
use super::{Error, Workers, occupied};
use crate::capture::{self, Capture, Listening, Namespaces, Netns, NetnsCookie};
use crate::sys::Listener;

/// Connections that wait to be accepted by one worker.
const BACKLOG: u32 = 1024;

/// How many namespaces of one user may get a listener at once, after a while without new ones.
const BURST: f64 = 64.0;

/// How many more each second.
const RATE: f64 = 16.0;

/// How often a refusal of the same kind is logged.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// How often the enrolled processes are searched for namespaces: it takes a few microseconds for each of them.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Bounds on what users can make the daemon hold open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Namespaces with a listener.
    pub(super) total: usize,
    /// Of those, namespaces of processes of one user other than root.
    pub(super) per_user: usize,
}

/// The namespaces that have a listener, besides the daemon's own.
#[derive(Debug)]
pub(super) struct Foreign {
    port: u16,
    limits: Limits,
    /// The same namespaces, for dialling from them.
    registry: Namespaces,
    open: HashMap<NetnsCookie, Entry>,
    budgets: HashMap<u32, Budget>,
    refused: u64,
    said: Option<Instant>,
    /// Whether a process was gone before its namespace could be found: another one in it may have been refused.
    missed: bool,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    listening: Listening,
    inode: u64,
    uid: u32,
    /// Whether the last sweep saw nobody in it.
    empty: bool,
}

/// A token bucket: how many new namespaces a user may have now.
#[derive(Debug)]
struct Budget {
    left: f64,
    at: Instant,
}

/// Why a namespace got no listener.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0} network namespaces have a listener; raise limits.namespaces")]
    Full(usize),
    #[error("{count} network namespaces of uid {uid} have a listener; raise limits.namespaces_per_user")]
    User { uid: u32, count: usize },
    #[error("uid {uid} makes network namespaces faster than {RATE} a second")]
    Rate { uid: u32 },
    #[error("process {tgid} has left it already")]
    Gone { tgid: u32 },
    #[error("cannot listen there: {0}")]
    Listen(io::Error),
    #[error(transparent)]
    Capture(#[from] capture::Error),
    #[error(transparent)]
    Worker(#[from] Error),
}

impl Foreign {
    pub(super) fn new(port: u16, limits: Limits, registry: Namespaces) -> Self {
        Self {
            port,
            limits,
            registry,
            open: HashMap::new(),
            budgets: HashMap::new(),
            refused: 0,
            said: None,
            missed: false,
            looked: None,
        }
    }

    /// A process was seen in a namespace that has no listener.
    pub(super) fn wanted(
        &mut self,
        capture: &mut Capture,
        workers: &mut Workers,
        cookie: NetnsCookie,
        tgid: u32,
        now: Instant,
    ) {
        if self.open.contains_key(&cookie) || cookie == capture.listening().netns {
            return;
        }
        match self.add(capture, workers, cookie, tgid, now) {
            Ok(listening) => log::info!(
                "listening in network namespace {} of process {tgid} ({} in all)",
                listening.netns.0,
                self.open.len()
            ),
            // A process that sets a namespace up is often gone when the one that uses it starts.
            Err(Refusal::Gone { .. }) => self.missed = true,
            Err(refusal) => {
                self.refused += 1;
                if self.said.is_none_or(|said| now.duration_since(said) >= SAY_EVERY) {
                    self.said = Some(now);
                    log::warn!(
                        "network namespace {} gets no listener, its connections are refused: {refusal} ({} so far)",
                        cookie.0,
                        self.refused
                    );
                }
            }
        }
    }

    fn add(
        &mut self,
        capture: &mut Capture,
        workers: &mut Workers,
        cookie: NetnsCookie,
        tgid: u32,
        now: Instant,
    ) -> Result<Listening, Refusal> {
        let uid = real_uid(tgid).ok_or(Refusal::Gone { tgid })?;
        self.admit(uid, now)?;
        let netns = Arc::new(find(cookie, tgid).ok_or(Refusal::Gone { tgid })?);
        let inode = netns.inode()?;
        let sockets = listen(&netns, self.port, workers.count()).map_err(Refusal::Listen)?;
        let listening = capture.announce(cookie, self.port)?;
        if let Err(error) = workers.listen(listening, sockets) {
            capture.withdraw(cookie)?;
            return Err(error.into());
        }
        self.registry.insert(netns);
        self.open.insert(cookie, Entry { listening, inode, uid, empty: false });
        Ok(listening)
    }

    fn admit(&mut self, uid: u32, now: Instant) -> Result<(), Refusal> {
        if self.open.len() >= self.limits.total {
            return Err(Refusal::Full(self.open.len()));
        }
        let count = self.open.values().filter(|entry| entry.uid == uid).count();
        if uid != 0 && count >= self.limits.per_user {
            return Err(Refusal::User { uid, count });
        }
        self.budgets.retain(|_, budget| budget.refill(now) < BURST);
        let budget = self.budgets.entry(uid).or_insert(Budget { left: BURST, at: now });
        if budget.left < 1.0 {
            return Err(Refusal::Rate { uid });
        }
        budget.left -= 1.0;
        Ok(())
    }

    /// Looks for the namespaces of processes that were gone too soon, but not too often.
    pub(super) fn look_for_missed(
        &mut self,
        capture: &mut Capture,
        workers: &mut Workers,
        cgroup: &Path,
        now: Instant,
    ) {
        let rested = self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_EVERY);
        if self.missed && rested {
            self.adopt(capture, workers, cgroup, now);
            (self.missed, self.looked) = (false, Some(now));
        }
    }

    /// The namespaces of processes that are enrolled already.
    pub(super) fn adopt(&mut self, capture: &mut Capture, workers: &mut Workers, cgroup: &Path, now: Instant) {
        let own = occupied::inode("self");
        let mut seen: HashSet<u64> = own.into_iter().chain(self.inodes()).collect();
        for tgid in occupied::members(cgroup) {
            let inode = occupied::inode(&tgid.to_string());
            if inode.is_some_and(|inode| seen.insert(inode))
                && let Ok(netns) = Netns::of_process(tgid)
            {
                self.wanted(capture, workers, netns.cookie, tgid, now);
            }
        }
    }

    /// Inode numbers of the open namespaces.
    pub(super) fn inodes(&self) -> impl Iterator<Item = u64> + '_ {
        self.open.values().map(|entry| entry.inode)
    }

    /// Closes those that nobody has been in twice in a row: one that is between two processes keeps its listener.
    pub(super) fn sweep(&mut self, capture: &mut Capture, workers: &mut Workers, occupied: &HashSet<u64>) {
        let mut over = Vec::new();
        for (cookie, entry) in &mut self.open {
            let empty = !occupied.contains(&entry.inode);
            if std::mem::replace(&mut entry.empty, empty) && empty {
                over.push(*cookie);
            }
        }
        for cookie in over {
            let Some(entry) = self.open.remove(&cookie) else { continue };
            // First the kernel programs stop sending connections there, then the sockets go.
            if let Err(e) = capture.withdraw(cookie) {
                log::error!("the listener of network namespace {} stays announced: {e}", cookie.0);
            }
            workers.close(entry.listening);
            self.registry.remove(cookie);
            log::info!("network namespace {} has no process any more: its listener is closed", cookie.0);
        }
    }

    pub(super) fn count(&self) -> NamespaceCount {
        NamespaceCount { listening: self.open.len(), limit: self.limits.total, refused: self.refused }
    }
}

impl Budget {
    /// What is left now.
    fn refill(&mut self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = BURST.min(passed.mul_add(RATE, self.left));
        self.at = now;
        self.left
    }
}

/// The namespace, as a thread of the process is in it now: ids are reused and namespaces are left.
fn find(cookie: NetnsCookie, tgid: u32) -> Option<Netns> {
    let is_it = |netns: &Netns| netns.cookie == cookie;
    if let Some(netns) = Netns::of_process(tgid).ok().filter(is_it) {
        return Some(netns);
    }
    let threads = std::fs::read_dir(format!("/proc/{tgid}/task")).ok()?;
    threads.flatten().find_map(|thread| Netns::at(&thread.path().join("ns/net")).ok().filter(is_it))
}

/// The real user of a process, in the initial user namespace (proc_pid_status(5)).
fn real_uid(tgid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{tgid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// A socket for each worker at 127.0.0.1 and at ::1, whether or not `lo` is up yet.
fn listen(netns: &Netns, port: u16, workers: usize) -> io::Result<Vec<TcpListener>> {
    netns.enter(|| {
        let bind = |address: SocketAddr| {
            (0..workers).map(|_| Listener::bind_anywhere(address, BACKLOG)).collect::<io::Result<Vec<_>>>()
        };
        let mut sockets = bind((Ipv4Addr::LOCALHOST, port).into())?;
        match bind((Ipv6Addr::LOCALHOST, port).into()) {
            Ok(v6) => sockets.extend(v6),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
                log::info!("a network namespace has no IPv6 ({e}): IPv6 connections are refused in it");
            }
            Err(e) => return Err(e),
        }
        Ok(sockets)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(total: usize, per_user: usize) -> Foreign {
        Foreign::new(960, Limits { total, per_user }, Namespaces::default())
    }

    fn occupy(foreign: &mut Foreign, cookie: u64, uid: u32) {
        let netns = NetnsCookie(cookie);
        let listening = Listening { netns, generation: cookie };
        foreign.open.insert(netns, Entry { listening, inode: cookie, uid, empty: false });
    }

    #[test]
    fn one_user_cannot_use_up_the_room_of_others() {
        let mut foreign = foreign(4, 2);
        let now = Instant::now();
        occupy(&mut foreign, 1, 1000);
        occupy(&mut foreign, 2, 1000);
        assert!(matches!(foreign.admit(1000, now), Err(Refusal::User { uid: 1000, count: 2 })));
        foreign.admit(1001, now).unwrap();
        occupy(&mut foreign, 3, 0);
        occupy(&mut foreign, 4, 0);
        assert!(matches!(foreign.admit(0, now), Err(Refusal::Full(4))));
    }

    #[test]
    fn namespaces_in_a_loop_are_held_to_a_rate() {
        let mut foreign = foreign(10_000, 10_000);
        let start = Instant::now();
        let admitted = (0..1000).filter(|_| foreign.admit(1000, start).is_ok()).count();
        assert_eq!(admitted, BURST as usize);
        foreign.admit(1001, start).unwrap();
        let later = start + Duration::from_secs(1);
        let admitted = (0..1000).filter(|_| foreign.admit(1000, later).is_ok()).count();
        assert_eq!(admitted, RATE as usize);
        foreign.admit(0, start + Duration::from_secs(60)).unwrap();
        assert_eq!(foreign.budgets.len(), 1, "users who are quiet cost nothing");
    }
}
