//! Who is at the other end of a local socket.

#![expect(unsafe_code, reason = "SO_PEERGROUPS has no safe wrapper")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// The supplementary groups of the process at the other end, as they were when it connected (`SO_PEERGROUPS`,
/// Linux 4.13).
///
/// # Errors
/// When it is no connected Unix socket.
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    /// A first guess; the kernel says when it takes more.
    const USUAL: usize = 64;
    let mut groups: Vec<libc::gid_t> = vec![0; USUAL];
    loop {
        let size = groups.len() * size_of::<libc::gid_t>();
        let mut len = libc::socklen_t::try_from(size).map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `len` bytes to `groups`, and the needed length to `len`.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let needed = len as usize / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || needed <= groups.len() {
            return Err(error);
        }
        groups.resize(needed, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_groups_of_the_other_end_are_its_own() {
        let (one, _other) = UnixStream::pair().unwrap();
        let mut expected: Vec<u32> = std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .find_map(|line| line.strip_prefix("Groups:"))
            .unwrap()
            .split_ascii_whitespace()
            .map(|gid| gid.parse().unwrap())
            .collect();
        let mut found = peer_groups(&one).unwrap();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
