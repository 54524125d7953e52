//! The snapshot of the calling task.

use core::hint::black_box;

use aya_ebpf::helpers::generated::bpf_get_current_task;
use interceptor_ebpf::{
    Ancestor, At, Counter, Flow, MAX_ANCESTORS, MAX_CGROUP_DEPTH, MAX_CGROUP_NAME, MAX_GROUPS, MAX_TEXT, Snapshot, flag,
};

use crate::kernel::{copy, copy_text, copy_user, has, is_enabled, number, offset, word};
use crate::maps::{BLANK, SNAPSHOTS, count};
use crate::path;

/// Keeps who makes this connection, for the daemon to take with its flow.
#[inline(always)]
pub(crate) fn keep(flow: &Flow) {
    if is_enabled() && take(flow.socket_cookie, flow.connected_at) == 0 {
        count(Counter::SnapshotLost);
    }
}

/// Forgets who made a connection that never came about.
#[inline(always)]
pub(crate) fn forget(socket_cookie: u64) {
    // It may have none, or have been taken.
    let _ = SNAPSHOTS.remove(&socket_cookie);
}

/// 0: no room.
#[inline(never)]
fn take(socket_cookie: u64, connected_at: u64) -> u64 {
    // Filled where it stands: scratch memory of the CPU would be another task's too, for these programs can be
    // preempted. The entry is this socket's own, whose lock is held; a former one of it gives way.
    let Some(blank) = BLANK.get(0) else { return 0 };
    if SNAPSHOTS.insert(&socket_cookie, blank, 0).is_err() {
        return 0;
    }
    let Some(snapshot) = SNAPSHOTS.get_ptr_mut(&socket_cookie) else { return 0 };
    // SAFETY: takes nothing.
    let task = unsafe { bpf_get_current_task() };
    let leader = word(task, At::TaskLeader);
    // SAFETY: not null; the daemon leaves entries alone that have no time yet.
    unsafe {
        process(snapshot, leader);
        ancestors(snapshot, leader);
        credentials(snapshot, task);
        namespaces(snapshot, task, leader);
        cgroup(snapshot, task);
        program(snapshot, word(task, At::TaskMemory));
        directory(snapshot, word(task, At::TaskFs));
        (&raw mut (*snapshot).connected_at).write_volatile(connected_at);
    }
    1
}

#[inline(always)]
unsafe fn process(snapshot: *mut Snapshot, leader: u64) {
    // SAFETY: the caller's.
    unsafe {
        (*snapshot).started_at = word(leader, At::TaskStart);
        copy((&raw mut (*snapshot).comm).cast(), 16, leader + offset(At::TaskComm));
    }
}

#[inline(never)]
unsafe fn ancestors(snapshot: *mut Snapshot, leader: u64) {
    let mut process = leader;
    for index in 0..MAX_ANCESTORS {
        process = word(word(process, At::TaskParent), At::TaskLeader);
        let tgid = number(process, At::TaskTgid);
        if tgid == 0 {
            return;
        }
        // SAFETY: the caller's; the index is the loop's.
        unsafe {
            let ancestor: *mut Ancestor = &raw mut (*snapshot).ancestors[index];
            (*ancestor).started_at = word(process, At::TaskStart);
            (*ancestor).tgid = tgid;
            copy((&raw mut (*ancestor).comm).cast(), 16, process + offset(At::TaskComm));
            (*snapshot).ancestor_count = index as u32 + 1;
        }
    }
}

#[inline(always)]
unsafe fn credentials(snapshot: *mut Snapshot, task: u64) {
    const WORD: u64 = size_of::<u32>() as u64;
    let groups = word(word(task, At::TaskCred), At::CredGroups);
    let count = number(groups, At::GroupsCount);
    let ids = groups + offset(At::GroupsIds);
    // SAFETY: the caller's; both lengths fit.
    unsafe {
        (*snapshot).group_count = count;
        let to: *mut u8 = (&raw mut (*snapshot).groups).cast();
        if count >= MAX_GROUPS as u32 {
            copy(to, MAX_GROUPS as u64 * WORD, ids);
        } else {
            copy(to, (black_box(u64::from(count)) & (MAX_GROUPS as u64 - 1)) * WORD, ids);
        }
        (*snapshot).login_uid = if has(At::TaskLoginUid) { number(task, At::TaskLoginUid) } else { u32::MAX };
        (*snapshot).session = if has(At::TaskSession) { number(task, At::TaskSession) } else { u32::MAX };
    }
}

#[inline(always)]
unsafe fn namespaces(snapshot: *mut Snapshot, task: u64, leader: u64) {
    let proxy = word(task, At::TaskNsproxy);
    let pid = word(leader, At::TaskPid);
    // The process's numbers from the initial namespace to its own; the pointer is the last member of each.
    let stride = offset(At::UpidNamespace) + 8;
    let innermost = pid + offset(At::PidNumbers) + u64::from(number(pid, At::PidLevel)) * stride;
    // SAFETY: the caller's.
    unsafe {
        (*snapshot).net_namespace = number(word(proxy, At::NsproxyNet), At::NetInode);
        (*snapshot).mount_namespace = number(word(proxy, At::NsproxyMount), At::MountInode);
        (*snapshot).namespace_pid = number(innermost, At::UpidNumber);
        (*snapshot).pid_namespace = number(word(innermost, At::UpidNamespace), At::PidInode);
    }
}

/// The path of its cgroup, which may be gone by the time the daemon looks its id up.
#[inline(never)]
unsafe fn cgroup(snapshot: *mut Snapshot, task: u64) {
    let up = if has(At::NodeParentNow) { At::NodeParentNow } else { At::NodeParent };
    if !has(up) {
        return;
    }
    let mut node = word(word(word(task, At::TaskCgroups), At::CssSetCgroup), At::CgroupNode);
    for index in 0..=MAX_CGROUP_DEPTH {
        let parent = word(node, up);
        // The root has no name.
        if parent == 0 {
            return;
        }
        // SAFETY: the caller's; the index is checked.
        unsafe {
            (*snapshot).cgroup_depth = index as u32 + 1;
            if index < MAX_CGROUP_DEPTH {
                let to = &raw mut (*snapshot).cgroup[index];
                copy_text(to.cast(), MAX_CGROUP_NAME as u32, word(node, At::NodeName));
            }
        }
        node = parent;
    }
}

/// What it runs. Nothing for a kernel thread, which has no memory of its own.
#[inline(always)]
unsafe fn program(snapshot: *mut Snapshot, memory: u64) {
    // SAFETY: the caller's.
    unsafe {
        if memory == 0 {
            (*snapshot).exe_at = MAX_TEXT as u32;
            return;
        }
        (*snapshot).start_code = word(memory, At::MemoryStartCode);
        (*snapshot).arg_start = word(memory, At::MemoryArgStart);
        let file = word(memory, At::MemoryExe);
        let inode = word(file, At::FileInode);
        let superblock = word(inode, At::InodeSuper);
        (*snapshot).exe_inode = word(inode, At::InodeNumber);
        (*snapshot).exe_magic = word(superblock, At::SuperMagic);
        (*snapshot).exe_device = number(superblock, At::SuperDevice);
        let (to, at) = (&raw mut (*snapshot).exe, &raw mut (*snapshot).exe_at);
        let written = path::write(to.cast(), at, file + offset(At::FilePath));
        if written & path::WHOLE != 0 {
            (*snapshot).flags |= flag::EXE_WHOLE;
        }
        if written & path::DELETED != 0 {
            (*snapshot).flags |= flag::EXE_DELETED;
        }
        arguments(snapshot, memory);
    }
}

#[inline(always)]
unsafe fn arguments(snapshot: *mut Snapshot, memory: u64) {
    const MAX: u64 = MAX_TEXT as u64;
    /// The smallest page of any kernel.
    const PAGE: u64 = 4096;
    let start = word(memory, At::MemoryArgStart);
    let len = word(memory, At::MemoryArgEnd) - start;
    // SAFETY: the caller's; all lengths fit.
    unsafe {
        let to: *mut u8 = (&raw mut (*snapshot).argv).cast();
        if len >= MAX {
            if copy_user(to, MAX, start) {
                (*snapshot).argv_len = MAX as u32;
                if len == MAX {
                    (*snapshot).flags |= flag::ARGV_WHOLE;
                }
                return;
            }
        } else if copy_user(to, black_box(len) & (MAX - 1), start) {
            (*snapshot).argv_len = len as u32;
            (*snapshot).flags |= flag::ARGV_WHOLE;
            return;
        }
        // A page of them is not in memory, and must not be waited for here: what stands before it.
        let before = PAGE - (start & (PAGE - 1));
        if before < MAX && before < len && copy_user(to, black_box(before) & (MAX - 1), start) {
            (*snapshot).argv_len = before as u32;
        }
    }
}

#[inline(always)]
unsafe fn directory(snapshot: *mut Snapshot, fs: u64) {
    // SAFETY: the caller's.
    unsafe {
        if fs == 0 {
            (*snapshot).cwd_at = MAX_TEXT as u32;
            return;
        }
        let (to, at) = (&raw mut (*snapshot).cwd, &raw mut (*snapshot).cwd_at);
        let written = path::write(to.cast(), at, fs + offset(At::FsCwd));
        if written & path::WHOLE != 0 {
            (*snapshot).flags |= flag::CWD_WHOLE;
        }
        if written & path::DELETED != 0 {
            (*snapshot).flags |= flag::CWD_DELETED;
        }
    }
}
