//! Who called, as the connect hook sees it: the calling task is alive there, whatever becomes of it before the daemon
//! accepts.

/// Bytes kept of a path, its end; and of the arguments, their beginning.
pub const MAX_TEXT: usize = 512;

/// Supplementary groups kept.
pub const MAX_GROUPS: usize = 32;

/// Ancestors kept, the parent first.
pub const MAX_ANCESTORS: usize = 8;

/// Levels kept of a cgroup's path.
pub const MAX_CGROUP_DEPTH: usize = 10;

/// Bytes kept of a cgroup's name, with its NUL: some more than `cri-containerd-ID.scope` takes.
pub const MAX_CGROUP_NAME: usize = 96;

/// Snapshots that wait for the daemon. More than flows: one of a connection that is being made has no flow yet.
pub const MAX_SNAPSHOTS: usize = 65_536;

/// A calling task, in the kernel's own numbers: ids are those of the initial namespaces.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// [`Flow::connected_at`](crate::Flow::connected_at); written last: 0 while the snapshot is being taken.
    pub connected_at: u64,
    /// Boot time of the process's start, in nanoseconds.
    pub started_at: u64,
    /// Address of the program's code. With `arg_start` it tells one program of a process from the next.
    pub start_code: u64,
    /// Address of the arguments.
    pub arg_start: u64,
    /// Inode of the executable file.
    pub exe_inode: u64,
    /// `s_magic` of the executable's file system.
    pub exe_magic: u64,
    /// `s_dev` of the executable's file system, in the kernel's encoding.
    pub exe_device: u32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Audit login uid; `u32::MAX`: not logged in, or not known.
    pub login_uid: u32,
    /// Audit session; `u32::MAX`: none, or not known.
    pub session: u32,
    /// Inode of the network namespace.
    pub net_namespace: u32,
    /// Inode of the mount namespace.
    pub mount_namespace: u32,
    /// Inode of the process's PID namespace.
    pub pid_namespace: u32,
    /// The process's number there.
    pub namespace_pid: u32,
    /// Supplementary groups the task has; more than [`MAX_GROUPS`]: only the first ones follow.
    pub group_count: u32,
    /// Entries of `ancestors`.
    pub ancestor_count: u32,
    /// Bytes of `argv`.
    pub argv_len: u32,
    /// First byte of `exe`; `MAX_TEXT`: it is empty.
    pub exe_at: u32,
    /// First byte of `cwd`.
    pub cwd_at: u32,
    /// Entries of `cgroup`; more than [`MAX_CGROUP_DEPTH`]: the path is longer.
    pub cgroup_depth: u32,
    /// Name of the process's first thread.
    pub comm: [u8; 16],
    /// Names from the task's cgroup up to the one below the root. One of [`MAX_CGROUP_NAME`]` - 1` bytes may be cut.
    pub cgroup: [[u8; MAX_CGROUP_NAME]; MAX_CGROUP_DEPTH],
    /// Supplementary groups.
    pub groups: [u32; MAX_GROUPS],
    /// The parent, its parent, and so on.
    pub ancestors: [Ancestor; MAX_ANCESTORS],
    /// Path of the executable from the root of its mount namespace, at the end of the array.
    ///
    /// The texts stand last and in this order: the verifier only sees that a name of up to 255 bytes begins within
    /// the array, so that it might reach into the one after it.
    pub exe: [u8; MAX_TEXT],
    /// Working directory, likewise.
    pub cwd: [u8; MAX_TEXT],
    /// Arguments, each ended by a NUL.
    pub argv: [u8; MAX_TEXT],
}

/// One of the processes a caller descends from.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Boot time of its start, in nanoseconds.
    pub started_at: u64,
    /// Its process id.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of its first thread.
    pub comm: [u8; 16],
}

/// Bits of [`Snapshot::flags`].
pub mod flag {
    /// `exe` goes up to the root.
    pub const EXE_WHOLE: u32 = 1;
    /// `cwd` goes up to the root.
    pub const CWD_WHOLE: u32 = 1 << 1;
    /// The executable has been removed from its directory.
    pub const EXE_DELETED: u32 = 1 << 2;
    /// The working directory has been removed from its own.
    pub const CWD_DELETED: u32 = 1 << 3;
    /// `argv` has all arguments.
    pub const ARGV_WHOLE: u32 = 1 << 4;
}

/// A member of a kernel structure that the programs read. Where it stands differs from kernel to kernel, so the daemon
/// looks it up in the running kernel's BTF and fills [`Offsets`] in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name of the structure.
    pub structure: &'static str,
    /// The member; members of members after dots.
    pub path: &'static str,
    /// How many bytes the programs read of it; 0: its address is all that matters.
    pub width: u32,
    /// Whether snapshots can be taken without it.
    pub optional: bool,
}

macro_rules! members {
    ($($name:ident = $structure:literal . $path:literal, $width:literal $($optional:ident)?;)*) => {
        /// Index into [`Offsets`].
        #[repr(usize)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum At {
            $(#[doc = concat!("`", $structure, ".", $path, "`.")] $name,)*
        }

        /// Every member the programs read, in the order of [`At`].
        pub const MEMBERS: [Member; MEMBER_COUNT] = [
            $(Member { structure: $structure, path: $path, width: $width, optional: members!(@ $($optional)?) },)*
        ];

        /// How many members the programs read.
        pub const MEMBER_COUNT: usize = [$(stringify!($name),)*].len();
    };
    (@) => { false };
    (@ optional) => { true };
}

members! {
    TaskLeader = "task_struct"."group_leader", 8;
    TaskParent = "task_struct"."real_parent", 8;
    TaskTgid = "task_struct"."tgid", 4;
    TaskStart = "task_struct"."start_boottime", 8;
    TaskComm = "task_struct"."comm", 16;
    TaskMemory = "task_struct"."mm", 8;
    TaskFs = "task_struct"."fs", 8;
    TaskCred = "task_struct"."cred", 8;
    TaskNsproxy = "task_struct"."nsproxy", 8;
    TaskPid = "task_struct"."thread_pid", 8;
    TaskLoginUid = "task_struct"."loginuid", 4 optional;
    TaskSession = "task_struct"."sessionid", 4 optional;
    TaskCgroups = "task_struct"."cgroups", 8;
    CssSetCgroup = "css_set"."dfl_cgrp", 8;
    CgroupNode = "cgroup"."kn", 8;
    NodeName = "kernfs_node"."name", 8;
    // Its name differs by version.
    NodeParent = "kernfs_node"."parent", 8 optional;
    NodeParentNow = "kernfs_node"."__parent", 8 optional;
    MemoryExe = "mm_struct"."exe_file", 8;
    MemoryArgStart = "mm_struct"."arg_start", 8;
    MemoryArgEnd = "mm_struct"."arg_end", 8;
    MemoryStartCode = "mm_struct"."start_code", 8;
    FilePath = "file"."f_path", 16;
    FileInode = "file"."f_inode", 8;
    InodeNumber = "inode"."i_ino", 8;
    InodeSuper = "inode"."i_sb", 8;
    SuperDevice = "super_block"."s_dev", 4;
    SuperMagic = "super_block"."s_magic", 8;
    PathMount = "path"."mnt", 8;
    PathDentry = "path"."dentry", 8;
    DentryParent = "dentry"."d_parent", 8;
    DentryName = "dentry"."d_name.name", 8;
    DentryNameLen = "dentry"."d_name.len", 4;
    DentryHashed = "dentry"."d_hash.pprev", 8;
    MountInner = "mount"."mnt", 0;
    MountParent = "mount"."mnt_parent", 8;
    MountPoint = "mount"."mnt_mountpoint", 8;
    MountRoot = "vfsmount"."mnt_root", 8;
    FsCwd = "fs_struct"."pwd", 16;
    CredGroups = "cred"."group_info", 8;
    GroupsCount = "group_info"."ngroups", 4;
    GroupsIds = "group_info"."gid", 0;
    NsproxyNet = "nsproxy"."net_ns", 8;
    NsproxyMount = "nsproxy"."mnt_ns", 8;
    NetInode = "net"."ns.inum", 4;
    MountInode = "mnt_namespace"."ns.inum", 4;
    PidLevel = "pid"."level", 4;
    PidNumbers = "pid"."numbers", 0;
    UpidNumber = "upid"."nr", 4;
    UpidNamespace = "upid"."ns", 8;
    PidInode = "pid_namespace"."ns.inum", 4;
}

/// Byte offsets of [`MEMBERS`], in their order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// 0: no snapshots are taken.
    pub enabled: u32,
    /// [`Offsets::NONE`] for an optional member that this kernel does not have.
    pub of: [u32; MEMBER_COUNT],
}

impl Offsets {
    /// The member does not exist.
    pub const NONE: u32 = u32::MAX;

    /// No snapshots.
    pub const OFF: Self = Self { enabled: 0, of: [Self::NONE; MEMBER_COUNT] };
}

impl Snapshot {
    /// Nothing known.
    pub const EMPTY: Self = Self {
        connected_at: 0,
        started_at: 0,
        start_code: 0,
        arg_start: 0,
        exe_inode: 0,
        exe_magic: 0,
        exe_device: 0,
        flags: 0,
        login_uid: 0,
        session: 0,
        net_namespace: 0,
        mount_namespace: 0,
        pid_namespace: 0,
        namespace_pid: 0,
        group_count: 0,
        ancestor_count: 0,
        argv_len: 0,
        exe_at: 0,
        cwd_at: 0,
        cgroup_depth: 0,
        comm: [0; 16],
        cgroup: [[0; MAX_CGROUP_NAME]; MAX_CGROUP_DEPTH],
        groups: [0; MAX_GROUPS],
        ancestors: [Ancestor { started_at: 0, tgid: 0, reserved: 0, comm: [0; 16] }; MAX_ANCESTORS],
        exe: [0; MAX_TEXT],
        cwd: [0; MAX_TEXT],
        argv: [0; MAX_TEXT],
    };
}
