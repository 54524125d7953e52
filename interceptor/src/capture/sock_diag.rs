//! sock_diag(7): whether this kernel lets root close other processes' sockets.

use std::io;

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use std::os::fd::AsRawFd;

const SOCK_DESTROY: u16 = 21;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const AF_INET: u8 = 2;
const IPPROTO_TCP: u8 = 6;
const EOPNOTSUPP: i32 = 95;

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
const LENGTH: usize = 16 + 56;

/// Asks for a TCP socket with port 0 to be closed, which there cannot be.
pub(super) fn can_destroy() -> io::Result<bool> {
    let socket =
        socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag);
    let socket = match socket {
        Err(nix::errno::Errno::EPROTONOSUPPORT | nix::errno::Errno::EAFNOSUPPORT) => return Ok(false),
        other => other?,
    };
    sendto(socket.as_raw_fd(), &request(), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut reply = [0; 1024];
    let length = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty())?;
    Ok(status(&reply[..length]).is_some_and(|errno| errno != -EOPNOTSUPP))
}

fn request() -> [u8; LENGTH] {
    let mut message = [0; LENGTH];
    message[..4].copy_from_slice(&(LENGTH as u32).to_ne_bytes());
    message[4..6].copy_from_slice(&SOCK_DESTROY.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message[16] = AF_INET;
    message[17] = IPPROTO_TCP;
    // Every state, and INET_DIAG_NOCOOKIE in the last eight bytes.
    message[20..24].fill(0xff);
    message[LENGTH - 8..].fill(0xff);
    message
}

/// The errno, negative, of an acknowledgement; 0 for success.
fn status(reply: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(reply.get(4..6)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then_some(())?;
    Some(i32::from_ne_bytes(reply.get(16..20)?.try_into().ok()?))
}
