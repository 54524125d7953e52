//! Callers, as the kernel programs saw them at the connect call.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use interceptor_ebpf::{MAX_ANCESTORS, MAX_CGROUP_NAME, MAX_GROUPS, MAX_TEXT, flag};

use super::BootTime;

/// A calling process at its connect call. Ids are those of the initial namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// When the process started, to the nanosecond. With the process id it names one process for good.
    pub started_at: BootTime,
    /// Which program it was running.
    pub image: Image,
    /// Name of its first thread. Any process may choose its own.
    pub comm: String,
    /// The executable; none for a kernel thread.
    pub exe: Option<KernelPath>,
    /// The executable's file; none for a kernel thread.
    pub exe_file: Option<ExeFile>,
    /// The working directory.
    pub cwd: Option<KernelPath>,
    /// The arguments, as the process's memory had them. Any process may rewrite its own.
    pub arguments: Option<Arguments>,
    /// Supplementary groups of the calling thread.
    pub groups: Groups,
    /// The user who logged in, by the audit subsystem; none when nobody did or the kernel keeps no track.
    pub login_uid: Option<u32>,
    /// The audit subsystem's login session.
    pub session: Option<u32>,
    /// The parent, its parent, and so on.
    pub ancestors: Vec<Ancestor>,
    /// Path of the task's cgroup from the root of the hierarchy; none when it is too long to be kept.
    pub cgroup: Option<PathBuf>,
    /// Inode of the network namespace, as in `/proc/PID/ns/net`.
    pub net_namespace: u32,
    /// Inode of the mount namespace.
    pub mount_namespace: u32,
    /// Inode of the process's PID namespace.
    pub pid_namespace: u32,
    /// The process's id there.
    pub namespace_pid: u32,
}

/// Tells one program that a process runs from the next it executes: where the kernel put code and arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where its code begins.
    pub start_code: u64,
    /// Where its arguments begin.
    pub arg_start: u64,
}

/// A path from the root of the process's mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelPath {
    /// The path; only its end when not `whole`.
    pub path: PathBuf,
    /// Whether it begins at the root.
    pub whole: bool,
    /// Whether the file had been removed by then.
    pub deleted: bool,
}

/// What tells a file from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExeFile {
    /// Major and minor number of the file system's device.
    pub device: (u32, u32),
    /// The inode.
    pub inode: u64,
    /// Magic number of the file system, as in statfs(2).
    pub magic: u64,
}

/// Arguments of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Each ended by a NUL.
    pub bytes: Vec<u8>,
    /// Whether these are all.
    pub whole: bool,
}

/// Supplementary groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Their ids.
    pub ids: Vec<u32>,
    /// Whether these are all.
    pub whole: bool,
}

/// A process that the caller descends from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started_at: BootTime,
    /// Name of its first thread.
    pub comm: String,
}

impl From<&interceptor_ebpf::Snapshot> for Snapshot {
    fn from(raw: &interceptor_ebpf::Snapshot) -> Self {
        let has_memory = raw.start_code != 0;
        let device = (raw.exe_device >> MINOR_BITS, raw.exe_device & ((1 << MINOR_BITS) - 1));
        let exe_file = ExeFile { device, inode: raw.exe_inode, magic: raw.exe_magic };
        let arguments = Arguments {
            bytes: raw.argv[..(raw.argv_len as usize).min(MAX_TEXT)].to_vec(),
            whole: raw.flags & flag::ARGV_WHOLE != 0,
        };
        let group_count = raw.group_count as usize;
        Self {
            started_at: BootTime::from_nanos(raw.started_at),
            image: Image { start_code: raw.start_code, arg_start: raw.arg_start },
            comm: text(&raw.comm),
            exe: path(&raw.exe, raw.exe_at, raw.flags & flag::EXE_WHOLE != 0, raw.flags & flag::EXE_DELETED != 0),
            exe_file: (has_memory && raw.exe_inode != 0).then_some(exe_file),
            cwd: path(&raw.cwd, raw.cwd_at, raw.flags & flag::CWD_WHOLE != 0, raw.flags & flag::CWD_DELETED != 0),
            arguments: (has_memory && raw.argv_len > 0).then_some(arguments),
            groups: Groups {
                ids: raw.groups[..group_count.min(MAX_GROUPS)].to_vec(),
                whole: group_count <= MAX_GROUPS,
            },
            login_uid: set(raw.login_uid),
            session: set(raw.session),
            ancestors: raw.ancestors[..(raw.ancestor_count as usize).min(MAX_ANCESTORS)]
                .iter()
                .map(|ancestor| Ancestor {
                    pid: ancestor.tgid,
                    started_at: BootTime::from_nanos(ancestor.started_at),
                    comm: text(&ancestor.comm),
                })
                .collect(),
            cgroup: cgroup(raw),
            net_namespace: raw.net_namespace,
            mount_namespace: raw.mount_namespace,
            pid_namespace: raw.pid_namespace,
            namespace_pid: raw.namespace_pid,
        }
    }
}

/// Bits of the minor number in the kernel's own device numbers (`MINORBITS`).
const MINOR_BITS: u32 = 20;

/// The audit subsystem's word for "none".
const UNSET: u32 = u32::MAX;

fn set(id: u32) -> Option<u32> {
    (id != UNSET).then_some(id)
}

/// None when not every name is whole.
fn cgroup(raw: &interceptor_ebpf::Snapshot) -> Option<PathBuf> {
    let names = raw.cgroup.get(..raw.cgroup_depth as usize)?;
    let mut path = PathBuf::from("/");
    for name in names.iter().rev() {
        let end = name.iter().position(|&byte| byte == 0).filter(|end| (1..MAX_CGROUP_NAME - 1).contains(end))?;
        path.push(OsStr::from_bytes(&name[..end]));
    }
    // No names at all: the kernel has another way up than the programs know.
    (!names.is_empty()).then_some(path)
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// None when there is none; nothing above the root is the root.
fn path(text: &[u8; MAX_TEXT], at: u32, whole: bool, deleted: bool) -> Option<KernelPath> {
    let bytes = text.get(at as usize..)?;
    let path = match (bytes.is_empty(), whole) {
        (true, true) => PathBuf::from("/"),
        (true, false) => return None,
        (false, _) => PathBuf::from(OsString::from_vec(bytes.to_vec())),
    };
    Some(KernelPath { path, whole, deleted })
}

#[cfg(test)]
mod tests {
    use interceptor_ebpf::Snapshot as Raw;

    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let mut raw = Raw { exe_at: MAX_TEXT as u32 - 4, cwd_at: MAX_TEXT as u32, ..Raw::EMPTY };
        raw.exe[MAX_TEXT - 4..].copy_from_slice(b"/bin");
        raw.flags = flag::EXE_WHOLE | flag::CWD_WHOLE | flag::EXE_DELETED;
        let snapshot = Snapshot::from(&raw);
        assert_eq!(snapshot.exe, Some(KernelPath { path: "/bin".into(), whole: true, deleted: true }));
        assert_eq!(snapshot.cwd, Some(KernelPath { path: "/".into(), whole: true, deleted: false }));
        raw.flags = 0;
        assert_eq!(Snapshot::from(&raw).cwd, None);
        assert!(!Snapshot::from(&raw).exe.unwrap().whole);
    }

    #[test]
    fn a_cgroup_is_named_from_its_root_or_not_at_all() {
        let mut raw = Raw { cgroup_depth: 2, ..Raw::EMPTY };
        raw.cgroup[0][..12].copy_from_slice(b"cron.service");
        raw.cgroup[1][..12].copy_from_slice(b"system.slice");
        assert_eq!(Snapshot::from(&raw).cgroup, Some("/system.slice/cron.service".into()));
        raw.cgroup[0] = [b'x'; MAX_CGROUP_NAME];
        raw.cgroup[0][MAX_CGROUP_NAME - 1] = 0;
        assert_eq!(Snapshot::from(&raw).cgroup, None, "perhaps cut");
        for depth in [0, 3, 11] {
            assert_eq!(Snapshot::from(&Raw { cgroup_depth: depth, ..raw }).cgroup, None);
        }
    }

    #[test]
    fn what_the_kernel_does_not_know_is_none() {
        let snapshot = Snapshot::from(&Raw { login_uid: UNSET, session: UNSET, ..Raw::EMPTY });
        assert_eq!((snapshot.login_uid, snapshot.session), (None, None));
        assert_eq!((snapshot.exe_file, snapshot.arguments), (None, None));
    }

    #[test]
    fn counts_beyond_what_is_kept_are_cut_and_say_so() {
        let raw =
            Raw { group_count: 33, ancestor_count: 99, argv_len: 9999, start_code: 1, exe_at: 9999, ..Raw::EMPTY };
        let snapshot = Snapshot::from(&raw);
        assert_eq!((snapshot.groups.ids.len(), snapshot.groups.whole), (MAX_GROUPS, false));
        assert_eq!(snapshot.ancestors.len(), MAX_ANCESTORS);
        assert_eq!(snapshot.arguments.unwrap().bytes.len(), MAX_TEXT);
        assert_eq!(snapshot.exe, None);
    }
}
