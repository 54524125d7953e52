//! Steps after which another task goes on.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::wait::waitpid;
use serde_json::json;
use socket2::Socket;

use crate::{Client, sys};

/// Lets another task run `rest` and report, when the step says so.
pub(crate) fn hand_over(client: &mut Client, words: &[&str], rest: &str) -> Option<Result<()>> {
    let handed = match *words {
        ["thread"] => thread(std::mem::take(client), rest),
        ["fork"] => {
            let heir = std::mem::take(client);
            sys::in_fork(|| heir.run(rest)).and_then(|child| waitpid(child, None)).map(drop).map_err(Into::into)
        }
        ["vfork"] => {
            let mut heir = Some(std::mem::take(client));
            let child = sys::in_vfork(|| heir.take().into_iter().for_each(|heir| heir.run(rest)));
            child.and_then(|child| waitpid(child, None)).map(drop).map_err(Into::into)
        }
        ["exec", program] => exec(client, program, rest),
        ["pass"] => pass(client, rest),
        _ => return None,
    };
    Some(handed)
}

fn thread(client: Client, rest: &str) -> Result<()> {
    let rest = rest.to_owned();
    std::thread::spawn(move || client.run(&rest)).join().map_err(|_| anyhow::anyhow!("the thread panicked"))
}

/// Another program in this process, which inherits the socket.
fn exec(client: &Client, program: &str, rest: &str) -> Result<()> {
    let socket = client.socket.as_ref().context("no socket was made")?;
    fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let fd = socket.as_raw_fd().to_string();
    Err(Command::new(program).args(["inherit", &fd, &json!(client.report).to_string(), rest]).exec().into())
}

/// Another process gets the socket in a message.
fn pass(client: &mut Client, rest: &str) -> Result<()> {
    let socket = client.socket.take().context("no socket was made")?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["receive", &json!(client.report).to_string(), rest]).stdin(Stdio::from(OwnedFd::from(theirs)));
    let mut receiver = command.spawn()?;
    let rights = [socket.as_raw_fd()];
    sendmsg::<()>(
        ours.as_raw_fd(),
        &[IoSlice::new(b"x")],
        &[ControlMessage::ScmRights(&rights)],
        MsgFlags::empty(),
        None,
    )?;
    drop(socket);
    receiver.wait()?;
    Ok(())
}

/// The socket that [`pass`] sent to our standard input.
pub(crate) fn receive() -> Result<Socket> {
    let stdin = std::io::stdin();
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let message = recvmsg::<()>(stdin.as_fd().as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
    match message.cmsgs()?.next() {
        Some(ControlMessageOwned::ScmRights(fds)) if fds.len() == 1 => Ok(sys::inherited(fds[0])),
        _ => bail!("no socket came"),
    }
}
