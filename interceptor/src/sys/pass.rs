//! Messages that carry open files from one process to another (`SCM_RIGHTS`, unix(7)).

#![expect(unsafe_code, reason = "received descriptors arrive as numbers")]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, getsockopt, recvmsg, sendmsg,
    setsockopt, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

/// Bytes of the longest message.
const MAX_MESSAGE: usize = 16 << 10;

/// Descriptors of one message at most.
const MAX_FILES: usize = 4;

/// One end of a connection that keeps messages apart (`SOCK_SEQPACKET`).
#[derive(Debug)]
pub struct Passage(OwnedFd);

impl Passage {
    /// Both ends. Neither is inherited by programs that are started, unless it is given to them.
    ///
    /// # Errors
    /// When descriptors run out.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(io::Error::from)?;
        Ok((Self(one), Self(other)))
    }

    /// An end that was inherited.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when it is something else.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        match getsockopt(&fd, sockopt::SockType) {
            Ok(SockType::SeqPacket) => Ok(Self(fd)),
            Ok(_) | Err(Errno::ENOTSOCK) => Err(io::ErrorKind::InvalidInput.into()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// How long [`receive`](Self::receive) and [`send`](Self::send) may wait; they fail with
    /// [`io::ErrorKind::WouldBlock`] then.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        let time =
            TimeVal::new(i64::try_from(patience.as_secs()).unwrap_or(i64::MAX), i64::from(patience.subsec_micros()));
        setsockopt(&self.0, sockopt::ReceiveTimeout, &time)?;
        setsockopt(&self.0, sockopt::SendTimeout, &time).map_err(Into::into)
    }

    /// Sends a message of at most 16 KiB with at most four open files.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn send(&self, message: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let numbers: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control = if numbers.is_empty() { &rights[..0] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL;
        let sent = sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(message)], control, flags, None)?;
        if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The next message with its files; `None` when the other end is closed.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when the message is longer or carries more than one may, and those of recvmsg(2).
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut message = vec![0; MAX_MESSAGE];
        let mut control = cmsg_space!([std::os::fd::RawFd; MAX_FILES]);
        let mut slices = [IoSliceMut::new(&mut message)];
        let received = recvmsg::<()>(self.0.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
        let (length, flags) = (received.bytes, received.flags);
        let mut files = Vec::new();
        for control in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = control {
                // SAFETY: the kernel has just made these descriptors for this process, and nobody else knows them.
                files.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
            }
        }
        if flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        message.truncate(length);
        Ok((length > 0 || !files.is_empty()).then_some((message, files)))
    }
}

impl From<Passage> for OwnedFd {
    fn from(passage: Passage) -> Self {
        passage.0
    }
}

impl AsFd for Passage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use super::*;

    #[test]
    fn an_open_file_arrives_with_its_message() {
        let (one, other) = Passage::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        one.send(b"here", &[file.as_fd()]).unwrap();
        one.send(b"nothing", &[]).unwrap();
        drop(one);
        let (message, mut files) = other.receive().unwrap().unwrap();
        assert_eq!((message.as_slice(), files.len()), (b"here".as_slice(), 1));
        let mut received = std::fs::File::from(files.remove(0));
        received.write_all(b"through the other").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through the other");
        let (message, files) = other.receive().unwrap().unwrap();
        assert_eq!((message.as_slice(), files.len()), (b"nothing".as_slice(), 0));
        assert!(other.receive().unwrap().is_none(), "the end");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_a_silent_peer_is_given_up() {
        let (one, other) = Passage::pair().unwrap();
        one.send(&[7; MAX_MESSAGE + 1], &[]).unwrap();
        assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
        other.set_patience(Duration::from_millis(10)).unwrap();
        assert_eq!(other.receive().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Passage::from_fd(file.into()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        Passage::from_fd(one.into()).unwrap();
    }
}
