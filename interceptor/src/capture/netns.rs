//! Network namespaces other than the daemon's: sockets made in them, by a thread that goes there and ends.
//!
//! A thread that has entered a namespace is not used for anything else afterwards: nothing can go wrong on a way back.
//! A [`Netns`] keeps its namespace alive, so whoever holds one decides how long.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Socket, Type};

use super::{Error, NetnsCookie};
use crate::sys::Listener;

/// A network namespace, open.
#[derive(Debug)]
pub struct Netns {
    /// Which one it is.
    pub cookie: NetnsCookie,
    file: File,
}

impl Netns {
    /// The network namespace of the calling thread.
    ///
    /// # Errors
    /// When /proc is not mounted, and on kernels before 5.14.
    pub fn own() -> Result<Self, Error> {
        let path = "/proc/thread-self/ns/net";
        let file = File::open(path).map_err(Error::file(path))?;
        Ok(Self { cookie: NetnsCookie::own()?, file })
    }

    /// The network namespace a process is in now. Process ids are reused: compare the cookie with the expected one.
    ///
    /// # Errors
    /// When the process is gone, or its namespace may not be entered (needs `CAP_SYS_ADMIN`).
    pub fn of_process(tgid: u32) -> Result<Self, Error> {
        Self::at(Path::new(&format!("/proc/{tgid}/ns/net")))
    }

    /// The network namespace that a path names, such as `/proc/PID/task/TID/ns/net`.
    ///
    /// # Errors
    /// When there is nothing (any more), or it may not be entered.
    pub fn at(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::file(path))?;
        let cookie = inside(&file, || NetnsCookie::own().map_err(io::Error::other));
        let cookie = cookie.map_err(Error::file(path))?;
        Ok(Self { cookie, file })
    }

    /// Its inode number: what `/proc/PID/ns/net` shows. Of no other namespace as long as this one is open.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn inode(&self) -> Result<u64, Error> {
        self.file.metadata().map(|metadata| metadata.ino()).map_err(Error::file("/proc/PID/ns/net"))
    }

    /// A socket in this namespace; it stays there wherever it is used. Non-blocking and close-on-exec.
    ///
    /// # Errors
    /// Those of setns(2) and socket(2).
    pub fn socket(&self, domain: Domain, kind: Type) -> io::Result<Socket> {
        self.enter(move || Socket::new(domain, kind.nonblocking().cloexec(), None))
    }

    /// A listener in this namespace, as [`Listener::bind_std`] makes one in the daemon's own.
    ///
    /// # Errors
    /// Those of setns(2) and of [`Listener::bind_std`].
    pub fn listen(&self, addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
        self.enter(move || Listener::bind_std(addr, backlog))
    }

    /// Runs `action` on a thread that is in this namespace.
    ///
    /// # Errors
    /// Those of `action`, of setns(2), and when no thread can be made.
    pub fn enter<T: Send>(&self, action: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        inside(&self.file, action)
    }
}

fn inside<T: Send>(namespace: &File, action: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let entered = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            action()
        };
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, entered)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Ipv4Addr;
    use std::sync::mpsc;

    use nix::sched::unshare;
    use nix::sys::socket::AddressFamily;
    use nix::sys::socket::{SockFlag, SockType, socket};

    use super::*;

    const UNPRIVILEGED: &str = "INTERCEPTOR_TEST_UNPRIVILEGED";

    /// A namespace of its own, made by a thread that has ended: only the handle keeps it.
    fn fresh() -> Option<Netns> {
        if std::env::var(UNPRIVILEGED).is_ok_and(|value| value == "1") {
            // Written past the capture of test output, so that a run without this shows it.
            let _ = writeln!(io::stderr(), "left out ({UNPRIVILEGED}=1): a test with namespaces");
            return None;
        }
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("tests with namespaces need root");
            Netns::own().unwrap()
        });
        Some(made.join().unwrap())
    }

    fn loopback_up(netns: &Netns) {
        let up = || {
            let status = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
            assert!(status.success());
            Ok(())
        };
        netns.enter(up).unwrap();
    }

    #[test]
    fn a_socket_is_made_in_the_namespace_and_the_calling_thread_stays_where_it_was() {
        let Some(netns) = fresh() else { return };
        let before = NetnsCookie::own().unwrap();
        assert_ne!(netns.cookie, before);
        let made = netns.socket(Domain::IPV4, Type::STREAM).unwrap();
        assert_eq!(NetnsCookie::of(&made).unwrap(), netns.cookie);
        assert!(made.nonblocking().unwrap());
        assert_eq!(NetnsCookie::own().unwrap(), before);
    }

    #[test]
    fn a_listener_in_a_namespace_is_reached_from_inside_only() {
        let Some(netns) = fresh() else { return };
        loopback_up(&netns);
        let listener = netns.listen((Ipv4Addr::LOCALHOST, 0).into(), 8).unwrap();
        let addr = listener.local_addr().unwrap();
        let client = netns.enter(move || std::net::TcpStream::connect(addr)).unwrap();
        let (_, peer) = loop {
            match listener.accept() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                accepted => break accepted.unwrap(),
            }
        };
        assert_eq!(peer, client.local_addr().unwrap());
        let other = fresh().unwrap();
        loopback_up(&other);
        let refused = other.enter(move || std::net::TcpStream::connect(addr)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn the_namespace_of_a_process_is_told_apart_by_its_cookie() {
        let Some(netns) = fresh() else { return };
        let own = Netns::of_process(std::process::id()).unwrap();
        assert_eq!(own.cookie, NetnsCookie::own().unwrap());
        let mut child = netns.enter(|| std::process::Command::new("sleep").arg("60").spawn()).unwrap();
        let found = Netns::of_process(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found.unwrap().cookie, netns.cookie);
        assert!(Netns::of_process(child.id()).is_err(), "it is gone");
    }

    #[test]
    fn a_namespace_lives_as_long_as_its_handle() {
        let Some(netns) = fresh() else { return };
        let (send, receive) = mpsc::channel();
        let cookie = netns.cookie;
        thread::spawn(move || {
            send.send(netns.enter(|| {
                let probe = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
                NetnsCookie::of(probe).map_err(io::Error::other)
            }))
        });
        assert_eq!(receive.recv().unwrap().unwrap(), cookie);
    }
}
