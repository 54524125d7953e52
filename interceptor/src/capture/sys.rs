//! The system calls neither aya nor nix wraps: swapping a link's program, atomic take from a map, an array shared with
//! the programs, network namespace cookies, cgroups by id.
#![expect(unsafe_code, reason = "raw bpf(2), getsockopt(2) and open_by_handle_at(2); each block is one call")]

use std::ffi::CString;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use aya::Pod;
use interceptor_ebpf::{USER_BUCKETS, waiting_bucket};
use memmap2::{MmapOptions, MmapRaw};
use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Error;
use super::ring::Ring;

// Commands of bpf(2), include/uapi/linux/bpf.h.
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;

const SO_NETNS_COOKIE: libc::c_int = 71;
const FILEID_KERNFS: libc::c_int = 0xfe;

#[repr(C)]
#[derive(Default)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

#[repr(C)]
struct MapElement {
    map_fd: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    new_program_fd: u32,
    flags: u32,
    old_program_fd: u32,
}

/// `struct bpf_link_info` as far as it concerns cgroup links.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program_id: u32,
    reserved: u32,
    cgroup_id: u64,
    attach_type: u32,
    reserved2: u32,
}

/// BPF_PROG_QUERY's part of `union bpf_attr`, up to what Linux 5.15 knows.
#[repr(C)]
struct ProgQuery {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    reserved: u32,
}

/// What a link attaches, and to which cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CgroupHook {
    /// 0 once the cgroup is gone, or the link detached.
    pub(super) cgroup_id: u64,
    /// `enum bpf_attach_type`.
    pub(super) attach_type: u32,
    pub(super) program_id: u32,
}

/// bpf(2) with one of the argument structs above.
///
/// # Safety
/// `attr` is the struct the command takes, and its pointers are valid for what the command does with them.
pub(super) unsafe fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<libc::c_long> {
    // SAFETY: the caller's promise; the kernel reads no more than the size given.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), mem::size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A pinned BPF link.
pub(super) struct PinnedLink(OwnedFd);

impl PinnedLink {
    /// The link pinned at `path`; none when there is no such pin.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let pathname = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::file(path)(io::ErrorKind::InvalidInput.into()))?;
        let attr = ObjGet { pathname: pathname.as_ptr() as u64, ..ObjGet::default() };
        // SAFETY: the path is a C string that lives through the call; on success the result is a new descriptor.
        match unsafe { bpf(BPF_OBJ_GET, &attr) } {
            // SAFETY: just made by the kernel, owned by nobody else.
            Ok(fd) => Ok(Some(Self(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::syscall("bpf(BPF_OBJ_GET)")(error)),
        }
    }

    /// The cgroup it is attached to; 0 once that cgroup is gone.
    pub(super) fn cgroup_id(&self) -> Result<u64, Error> {
        Ok(self.info()?.cgroup_id)
    }

    /// What it attaches where; none when it is no link to a cgroup.
    pub(super) fn cgroup_hook(&self) -> Result<Option<CgroupHook>, Error> {
        const BPF_LINK_TYPE_CGROUP: u32 = 3;
        let LinkInfo { kind, program_id, cgroup_id, attach_type, .. } = self.info()?;
        Ok((kind == BPF_LINK_TYPE_CGROUP).then_some(CgroupHook { cgroup_id, attach_type, program_id }))
    }

    fn info(&self) -> Result<LinkInfo, Error> {
        let mut info = LinkInfo::default();
        let attr = InfoByFd {
            bpf_fd: self.0.as_raw_fd() as u32,
            info_len: mem::size_of::<LinkInfo>() as u32,
            info: (&raw mut info) as u64,
        };
        // SAFETY: the kernel writes at most `info_len` bytes to `info`, all plain integers.
        unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) }.map_err(Error::syscall("bpf(BPF_OBJ_GET_INFO_BY_FD)"))?;
        Ok(info)
    }

    /// Swaps the program: there is no moment without one.
    pub(super) fn update(&self, program: BorrowedFd<'_>) -> Result<(), Error> {
        let attr = LinkUpdate {
            link_fd: self.0.as_raw_fd() as u32,
            new_program_fd: program.as_raw_fd() as u32,
            flags: 0,
            old_program_fd: 0,
        };
        // SAFETY: descriptors only.
        unsafe { bpf(BPF_LINK_UPDATE, &attr) }.map_err(Error::syscall("bpf(BPF_LINK_UPDATE)"))?;
        Ok(())
    }

    /// Detaches at once, whoever else holds the link.
    pub(super) fn detach(&self) -> Result<(), Error> {
        let attr = self.0.as_raw_fd() as u32;
        // SAFETY: a descriptor only.
        unsafe { bpf(BPF_LINK_DETACH, &attr) }.map_err(Error::syscall("bpf(BPF_LINK_DETACH)"))?;
        Ok(())
    }
}

/// Ids of the programs that run at a hook for processes in `cgroup`, those attached to its ancestors included.
pub(super) fn effective_programs(cgroup: BorrowedFd<'_>, attach_type: u32) -> io::Result<Vec<u32>> {
    const BPF_F_QUERY_EFFECTIVE: u32 = 1;
    /// The kernel allows 64 programs for each cgroup of a path.
    const MOST: usize = 1024;
    let mut ids = vec![0_u32; MOST];
    let mut attr = ProgQuery {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type,
        query_flags: BPF_F_QUERY_EFFECTIVE,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST as u32,
        reserved: 0,
    };
    let at = &raw mut attr;
    // SAFETY: the kernel writes at most `prog_cnt` numbers to `prog_ids`, and their count into the struct, which is
    // therefore passed by a pointer that may be written through.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, at, mem::size_of::<ProgQuery>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    ids.truncate(attr.prog_cnt as usize);
    Ok(ids)
}

/// Makes a ring buffer awaitable on the current runtime.
pub(super) fn watch<R: Ring>(ring: R) -> io::Result<AsyncFd<R>> {
    // SAFETY: what `Ring` asks of its types, all of which are in `ring`: the descriptor stays the same and open.
    Ok(unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?)
}

/// Reads and removes an entry of a hash map in one step.
pub(super) fn take_element<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = MaybeUninit::<V>::zeroed();
    let attr = MapElement {
        map_fd: map.as_raw_fd() as u32,
        reserved: 0,
        key: std::ptr::from_ref(key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: key and value live through the call and have the sizes of the map, which the typed map that owns the
    // descriptor has checked.
    match unsafe { bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &attr) } {
        // SAFETY: `Pod`: every bit pattern is a value, and it was zeroed before.
        Ok(_) => Ok(Some(unsafe { value.assume_init() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Flows that wait for accept, by [`waiting_bucket`]: an array that the programs count up in and this process counts down
/// in. Signed: a flow that is taken while a newer one of its tuple replaces it is counted down twice.
pub(super) struct WaitingCounts {
    counts: MmapRaw,
    own_netns: u64,
}

impl WaitingCounts {
    pub(super) fn open(map: BorrowedFd<'_>, own_netns: u64) -> io::Result<Self> {
        let len = USER_BUCKETS * mem::size_of::<i64>();
        Ok(Self { counts: MmapOptions::new().len(len).map_raw(map.as_raw_fd())?, own_netns })
    }

    pub(super) fn add(&self, flow: &interceptor_ebpf::Flow) {
        self.of(self.bucket(flow)).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn subtract(&self, flow: &interceptor_ebpf::Flow) {
        self.of(self.bucket(flow)).fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        (0..USER_BUCKETS as u32).for_each(|bucket| self.of(bucket).store(0, Ordering::Relaxed));
    }

    fn bucket(&self, flow: &interceptor_ebpf::Flow) -> u32 {
        waiting_bucket(flow.uid, flow.netns_cookie, self.own_netns)
    }

    fn of(&self, bucket: u32) -> &AtomicI64 {
        let bucket = bucket as usize % USER_BUCKETS;
        // SAFETY: inside the mapping, which is as long as the buckets and page-aligned; the programs and every process
        // access it atomically only.
        unsafe { AtomicI64::from_ptr(self.counts.as_mut_ptr().cast::<i64>().add(bucket)) }
    }
}

/// The cookie of the network namespace a socket is in (Linux 5.14).
pub(super) fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut len = mem::size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `cookie`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Opens the cgroup of that id; `mount` is any directory of the hierarchy. Needs CAP_DAC_READ_SEARCH.
pub(super) fn open_cgroup(mount: BorrowedFd<'_>, id: u64) -> io::Result<OwnedFd> {
    /// `struct file_handle` with the 8 bytes that kernfs uses.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: libc::c_int,
        id: [u8; 8],
    }
    let mut handle = Handle { bytes: 8, kind: FILEID_KERNFS, id: id.to_ne_bytes() };
    let at = (&raw mut handle).cast::<libc::file_handle>();
    // SAFETY: the handle is as long as it says; the kernel reads it only.
    let fd =
        unsafe { libc::open_by_handle_at(mount.as_raw_fd(), at, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
