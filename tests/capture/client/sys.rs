//! The system calls that have no safe wrapper: io_uring, sendmmsg, raw options, fork and its relatives.
#![expect(unsafe_code, reason = "the tests' client makes the calls that a program can make, libc's and io_uring's")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};
use std::str::FromStr;

use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, cqueue, opcode, types};
use nix::libc;
use nix::sched::{CloneFlags, clone};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork};
use socket2::{SockAddr, Socket};

/// How a ring makes a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ring {
    /// In the call that submits it.
    Inline,
    /// In a worker thread (IOSQE_ASYNC).
    Async,
    /// In the kernel thread that polls the queue (SQPOLL).
    Polled,
}

impl FromStr for Ring {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "inline" => Ok(Self::Inline),
            "async" => Ok(Self::Async),
            "sqpoll" => Ok(Self::Polled),
            other => anyhow::bail!("{other}: inline, async or sqpoll"),
        }
    }
}

/// One operation of a ring of its own, to its end.
///
/// # Safety
/// What the entry points to lives through the call.
unsafe fn submit(entry: Entry, how: Ring) -> io::Result<()> {
    let mut builder = IoUring::<Entry, cqueue::Entry>::builder();
    let mut ring = match how {
        Ring::Polled => builder.setup_sqpoll(50).build(2),
        Ring::Inline | Ring::Async => builder.build(2),
    }?;
    let entry = if matches!(how, Ring::Async) { entry.flags(Flags::ASYNC) } else { entry };
    // SAFETY: the caller's promise, and we wait for the completion.
    unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let done = ring.completion().next().ok_or_else(|| io::Error::other("no completion"))?.result();
    if done < 0 { Err(io::Error::from_raw_os_error(-done)) } else { Ok(()) }
}

pub(crate) fn uring_connect(socket: &Socket, to: &SockAddr, how: Ring) -> io::Result<()> {
    let entry = opcode::Connect::new(types::Fd(socket.as_raw_fd()), to.as_ptr().cast(), to.len()).build();
    // SAFETY: socket and address live to the end of this function.
    unsafe { submit(entry, how) }
}

pub(crate) fn uring_send(socket: &Socket, to: &SockAddr) -> io::Result<()> {
    with_message(to, |message| {
        let entry = opcode::SendMsg::new(types::Fd(socket.as_raw_fd()), message).build();
        // SAFETY: the message lives to the end of the closure.
        unsafe { submit(entry, Ring::Inline) }
    })
}

pub(crate) fn sendmmsg(socket: &Socket, to: &SockAddr) -> io::Result<()> {
    with_message(to, |message| {
        let mut messages = [libc::mmsghdr { msg_hdr: *message, msg_len: 0 }];
        // SAFETY: one message, which lives through the call.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), 1, 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    })
}

/// A message of one byte to `to`.
fn with_message(to: &SockAddr, send: impl FnOnce(&libc::msghdr) -> io::Result<()>) -> io::Result<()> {
    let mut byte = *b"x";
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: all zero is an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = to.as_ptr().cast_mut().cast();
    message.msg_namelen = to.len();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    send(&message)
}

pub(crate) fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    set_bytes(socket, level, name, &value.to_ne_bytes())
}

pub(crate) fn set_bytes(socket: &Socket, level: libc::c_int, name: libc::c_int, value: &[u8]) -> io::Result<()> {
    let (at, len) = (value.as_ptr().cast(), value.len() as libc::socklen_t);
    // SAFETY: the kernel reads `len` bytes at `at`.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, at, len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// connect(2) with AF_UNSPEC takes a connection back.
pub(crate) fn disconnect(socket: &Socket) -> io::Result<()> {
    // SAFETY: all zero is AF_UNSPEC.
    let nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
    let len = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address lives through the call.
    let result = unsafe { libc::connect(socket.as_raw_fd(), &raw const nowhere, len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The socket that this program was started with.
pub(crate) fn inherited(fd: RawFd) -> Socket {
    // SAFETY: whoever started us handed it over under this number; nothing else here uses it.
    unsafe { Socket::from_raw_fd(fd) }
}

/// A child that runs `work` and exits.
pub(crate) fn in_fork(work: impl FnOnce()) -> nix::Result<Pid> {
    // SAFETY: the client has one thread when a script forks.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            work();
            std::process::exit(0)
        }
    }
}

/// A child in our memory that runs `work` while we wait, as after vfork(2).
pub(crate) fn in_vfork(mut work: impl FnMut()) -> nix::Result<Pid> {
    let mut stack = vec![0; 1 << 20];
    let run = Box::new(|| {
        work();
        0
    });
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: the child has a stack of its own and we stand still until it is gone; there is no other thread.
    unsafe { clone(run, &mut stack, flags, Some(Signal::SIGCHLD as libc::c_int)) }
}
