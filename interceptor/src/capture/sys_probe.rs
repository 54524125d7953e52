//! Questions to the kernel that need bpf(2) itself: does it take this program type, attachment, helper, map command?
//!
//! aya asks for helpers at one attachment of a program type only, and some of ours depend on the attachment.
#![expect(unsafe_code, reason = "raw bpf(2); each block is one call")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;

use super::sys;

// Commands and values of bpf(2), include/uapi/linux/bpf.h.
const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_MAP_TYPE_HASH: u32 = 1;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const MOVE: u8 = 0xb7;

/// errno of the kernel's own that userspace's lists lack.
const ENOTSUPP: i32 = 524;

/// `struct bpf_insn`.
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD had in Linux 4.17.
#[repr(C)]
struct ProgLoad {
    kind: u32,
    instructions: u32,
    instructions_at: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_at: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
}

/// Whether the kernel takes a program of this type for this attachment, and lets it call the helper if one is asked for.
///
/// The program is never attached. It calls the helper without arguments, so the verifier refuses it either way; only
/// when the helper is not to be had does it say so (as libbpf's probes do it).
pub(super) fn takes_program(kind: u32, attach: u32, helper: Option<u32>) -> io::Result<bool> {
    let exit = Instruction { code: EXIT, registers: 0, offset: 0, immediate: 0 };
    let first = match helper {
        Some(helper) => Instruction { code: CALL, registers: 0, offset: 0, immediate: helper as i32 },
        // r0 = 1: allow.
        None => Instruction { code: MOVE, registers: 0, offset: 0, immediate: 1 },
    };
    let instructions = [first, exit];
    let license = c"GPL";
    let mut log = [0_u8; 4096];
    let attr = ProgLoad {
        kind,
        instructions: instructions.len() as u32,
        instructions_at: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 1,
        log_size: log.len() as u32,
        log_at: log.as_mut_ptr() as u64,
        kernel_version: 0,
        flags: 0,
        name: [0; 16],
        interface: 0,
        attach,
    };
    // SAFETY: instructions, licence and log live through the call and have the sizes given.
    match unsafe { sys::bpf(BPF_PROG_LOAD, &attr) } {
        Ok(fd) => {
            // SAFETY: just made by the kernel, owned by nobody else.
            drop(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
            Ok(true)
        }
        Err(error) => judge(error, &log),
    }
}

/// What a refused program says about the kernel.
fn judge(error: io::Error, log: &[u8]) -> io::Result<bool> {
    const ABSENT: [&str; 3] = ["invalid func ", "unknown func ", "program of this type cannot use helper "];
    let log = log.split(|&byte| byte == 0).next().unwrap_or_default();
    let log = String::from_utf8_lossy(log);
    match error.raw_os_error() {
        // Not even looked at: the type or the attachment is unknown.
        Some(libc::EINVAL | libc::E2BIG) if log.is_empty() => Ok(false),
        _ if log.is_empty() => Err(error),
        // Whatever else the verifier complains about, it knows the helper.
        _ => Ok(!ABSENT.iter().any(|absent| log.contains(absent))),
    }
}

/// Whether an entry of a hash map can be read and removed in one step.
pub(super) fn takes_elements() -> io::Result<bool> {
    let attr = MapCreate { kind: BPF_MAP_TYPE_HASH, key_size: 4, value_size: 4, entries: 1, flags: 0 };
    // SAFETY: plain numbers.
    let fd = unsafe { sys::bpf(BPF_MAP_CREATE, &attr) }?;
    // SAFETY: just made by the kernel, owned by nobody else.
    let map = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    match sys::take_element::<u32, u32>(map.as_fd(), &0) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP)) => Ok(false),
        Err(error) => Err(error),
    }
}

const _: () = assert!(mem::size_of::<ProgLoad>() == 72);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: i32, log: &str) -> io::Result<bool> {
        judge(io::Error::from_raw_os_error(errno), format!("{log}\0").as_bytes())
    }

    #[test]
    fn a_refused_program_is_read_as_libbpf_reads_it() {
        assert!(!refused(libc::EINVAL, "").unwrap(), "unknown type");
        assert!(!refused(libc::EINVAL, "0: (85) call unknown#999\ninvalid func unknown#999").unwrap());
        assert!(!refused(libc::EINVAL, "program of this type cannot use helper bpf_set_retval#187").unwrap());
        assert!(!refused(libc::EINVAL, "unknown func bpf_get_netns_cookie#122").unwrap());
        assert!(refused(libc::EACCES, "R1 !read_ok").unwrap(), "known helper, no arguments");
        assert_eq!(refused(libc::EPERM, "").unwrap_err().raw_os_error(), Some(libc::EPERM), "nothing was learnt");
    }

    #[test]
    fn a_helper_or_type_that_does_not_exist_is_absent_and_one_that_does_is_not() {
        const CGROUP_SOCK_ADDR: u32 = 18;
        const CONNECT4: u32 = 10;
        let rows = [
            (CGROUP_SOCK_ADDR, CONNECT4, Some(1), true),
            (CGROUP_SOCK_ADDR, CONNECT4, Some(1_000_000), false),
            (CGROUP_SOCK_ADDR, CONNECT4, None, true),
            (CGROUP_SOCK_ADDR, 1_000_000, None, false),
            (1_000_000, 0, None, false),
        ];
        for (kind, attach, helper, expected) in rows {
            match takes_program(kind, attach, helper) {
                Ok(found) => assert_eq!(found, expected, "{kind} {attach} {helper:?}"),
                Err(error) => {
                    assert!(!nix::unistd::geteuid().is_root(), "{error}");
                    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
                }
            }
        }
    }
}
