//! The steps that work on the socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, raise};
use nix::unistd::gettid;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{Client, options, sys};

/// How long the socket waits for anything.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn step(client: &mut Client, words: &[&str]) -> Result<()> {
    match *words {
        ["socket", kind] => client.socket = Some(socket(kind)?),
        ["close"] => client.socket = None,
        ["bind", to] => client.socket()?.bind(&address(to)?)?,
        ["set", option, ref value @ ..] => options::set(client.socket()?, option, value.first().copied())?,
        ["connect", to] => client.connect(|socket| Ok(socket.connect(&address(to)?)?))?,
        ["poll-connect", to] => client.connect(|socket| poll_connect(socket, &address(to)?))?,
        ["fastopen", to] => {
            client.connect(|socket| {
                Ok(socket.send_to_with_flags(b"x", &address(to)?, libc::MSG_FASTOPEN).map(drop)?)
            })?;
        }
        ["uring-connect", to, how] => {
            let to = address(to)?;
            client.connect(|socket| Ok(sys::uring_connect(socket, &to, how.parse()?)?))?;
            // A worker of the ring may have made the call; it is of the same process.
            client.report.remove("tid");
        }
        ["race", to] => race(client, &address(to)?)?,
        ["disconnect"] => sys::disconnect(client.socket()?)?,
        ["sendto", to] => client.send(|socket| Ok(socket.send_to(b"x", &address(to)?).map(drop)?))?,
        ["sendto", to, flags] => {
            let flags = match flags {
                "confirm" => libc::MSG_CONFIRM,
                "more" => libc::MSG_MORE,
                "dontroute" => libc::MSG_DONTROUTE,
                other => bail!("{other}: confirm, more or dontroute"),
            };
            client.send(|socket| Ok(socket.send_to_with_flags(b"x", &address(to)?, flags).map(drop)?))?;
        }
        ["sendmsg", to] => client.send(|socket| {
            let (to, part) = (address(to)?, [std::io::IoSlice::new(b"x")]);
            let message = socket2::MsgHdr::new().with_addr(&to).with_buffers(&part);
            Ok(socket.sendmsg(&message, 0).map(drop)?)
        })?,
        ["sendmmsg", to] => client.send(|socket| Ok(sys::sendmmsg(socket, &address(to)?)?))?,
        ["uring-send", to] => client.send(|socket| Ok(sys::uring_send(socket, &address(to)?)?))?,
        ["send"] => client.send(|socket| Ok(socket.send(b"x").map(drop)?))?,
        ["say", ref text @ ..] => {
            let mut socket = client.socket()?;
            socket.write_all(text.join(" ").as_bytes())?;
            socket.write_all(b"\r\n")?;
        }
        ["read"] => {
            let said = read_line(client.socket()?)?;
            client.note("said", said);
            client.note_addresses()?;
        }
        ["cgroup", directory] => {
            std::fs::write(format!("{directory}/cgroup.procs"), std::process::id().to_string())?;
        }
        ["unshare", "net"] => unshare(CloneFlags::CLONE_NEWNET)?,
        ["unshare", "user"] => unshare(CloneFlags::CLONE_NEWUSER)?,
        ["stop"] => raise(Signal::SIGSTOP)?,
        _ => bail!("no such step: {words:?}"),
    }
    Ok(())
}

impl Client {
    fn socket(&self) -> Result<&Socket> {
        self.socket.as_ref().context("no socket was made")
    }

    /// Connects; what can be seen afterwards is reported.
    fn connect(&mut self, how: impl FnOnce(&Socket) -> Result<()>) -> Result<()> {
        self.note_caller();
        how(self.socket()?)?;
        self.note_addresses()
    }

    fn note_addresses(&mut self) -> Result<()> {
        let text = |found: SockAddr| found.as_socket().map(|address| address.to_string());
        let local = self.socket()?.local_addr()?;
        self.note("local", text(local));
        match self.socket()?.peer_addr() {
            Ok(peer) => self.note("peer", text(peer)),
            // A connection that waits for its first data.
            Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn send(&mut self, how: impl FnOnce(&Socket) -> Result<()>) -> Result<()> {
        self.note_caller();
        how(self.socket()?)
    }
}

fn socket(kind: &str) -> Result<Socket> {
    let raw = Type::from(libc::SOCK_RAW);
    let split = kind.len() - 1;
    let domain = match &kind[split..] {
        "4" => Domain::IPV4,
        "6" => Domain::IPV6,
        _ if kind == "packet" => Domain::PACKET,
        _ => bail!("{kind}: the last letter is 4 or 6"),
    };
    let (kind, protocol) = match &kind[..split] {
        "tcp" => (Type::STREAM, Some(Protocol::TCP)),
        "mptcp" => (Type::STREAM, Some(Protocol::MPTCP)),
        "udp" => (Type::DGRAM, Some(Protocol::UDP)),
        "udplite" => (Type::DGRAM, Some(Protocol::UDPLITE)),
        "ping" if domain == Domain::IPV4 => (Type::DGRAM, Some(Protocol::ICMPV4)),
        "ping" => (Type::DGRAM, Some(Protocol::ICMPV6)),
        "raw" => (raw, Some(Protocol::UDP)),
        "sctp" => (Type::STREAM, Some(Protocol::SCTP)),
        "dccp" => (Type::from(6), Some(Protocol::from(33))),
        _ => (raw, None),
    };
    let socket = Socket::new(domain, kind, protocol)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn address(text: &str) -> Result<SockAddr> {
    let address: SocketAddr = text.parse().with_context(|| format!("{text}: ADDRESS:PORT"))?;
    Ok(address.into())
}

fn poll_connect(socket: &Socket, to: &SockAddr) -> Result<()> {
    socket.set_nonblocking(true)?;
    match socket.connect(to) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
            let patience = PollTimeout::try_from(PATIENCE)?;
            if poll(&mut waiting, patience)? == 0 {
                bail!("still connecting after {PATIENCE:?}");
            }
            socket.take_error()?.map_or(Ok(()), Err)?;
        }
        other => other?,
    }
    Ok(socket.set_nonblocking(false)?)
}

/// Whichever thread is first connects; the other is told that it is late, or waits for the same connection.
fn race(client: &mut Client, to: &SockAddr) -> Result<()> {
    let mut tids = Vec::new();
    client.connect(|socket| {
        let attempt = || (gettid().as_raw(), socket.connect(to));
        let results = std::thread::scope(|scope| {
            let threads = [scope.spawn(attempt), scope.spawn(attempt)];
            threads.map(|thread| thread.join().expect("the thread does not panic"))
        });
        tids.extend(results.iter().map(|(tid, _)| *tid));
        let [(_, first), (_, second)] = results;
        Ok(first.or(second)?)
    })?;
    client.report.remove("tid");
    client.note("tids", tids);
    Ok(())
}

fn read_line(socket: &Socket) -> Result<String> {
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
