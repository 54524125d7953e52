//! Options of a socket.

use std::num::NonZero;

use anyhow::{Context as _, Result, bail};
use nix::libc;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Socket};
use std::time::Duration;

use crate::sys;

/// `TCP_FASTOPEN_NO_COOKIE`: data in the SYN although the peer never gave a cookie.
const TCP_FASTOPEN_NO_COOKIE: libc::c_int = 34;

pub(crate) fn set(socket: &Socket, option: &str, value: Option<&str>) -> Result<()> {
    let value = || value.with_context(|| format!("set {option} VALUE"));
    let v4 = socket.domain()? == Domain::IPV4;
    match option {
        "v6only" => socket.set_only_v6(true)?,
        "mark" => socket.set_mark(value()?.parse()?)?,
        "reuse" => socket.set_reuse_address(true)?,
        // Closing resets: the port is free at once.
        "reset" => socket.set_linger(Some(Duration::ZERO))?,
        "device" => socket.bind_device(Some(value()?.as_bytes()))?,
        "ifindex" => {
            let index = NonZero::new(if_nametoindex(value()?)?);
            if v4 { socket.bind_device_by_index_v4(index) } else { socket.bind_device_by_index_v6(index) }?;
        }
        "transparent" if v4 => socket.set_ip_transparent_v4(true)?,
        "transparent" => socket.set_ip_transparent_v6(true)?,
        "freebind" if v4 => socket.set_freebind_v4(true)?,
        "freebind" => socket.set_freebind_v6(true)?,
        "fastopen-connect" => {
            sys::set_option(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)?;
            sys::set_option(socket, libc::IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1)?;
        }
        "defer-accept" => sys::set_option(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1)?,
        "segment" => sys::set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, value()?.parse()?)?,
        "cork" => sys::set_option(socket, libc::SOL_UDP, libc::UDP_CORK, 1)?,
        "unicast-if" => {
            let index = if_nametoindex(value()?)?.to_be().cast_signed();
            let (level, name) =
                if v4 { (libc::IPPROTO_IP, libc::IP_UNICAST_IF) } else { (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_IF) };
            sys::set_option(socket, level, name, index)?;
        }
        "source-route" => {
            let via: std::net::Ipv4Addr = value()?.parse()?;
            // RFC 791, 3.1: loose source route of one hop, pointer at it, an end of list.
            let mut options = [131, 7, 4, 0, 0, 0, 0, 0];
            options[3..7].copy_from_slice(&via.octets());
            sys::set_bytes(socket, libc::IPPROTO_IP, libc::IP_OPTIONS, &options)?;
        }
        other => bail!("no such option: {other}"),
    }
    Ok(())
}
