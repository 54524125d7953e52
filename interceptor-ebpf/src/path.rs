//! The path of a file, as the kernel's own `d_path` makes it: from the last component up to the root of the mount
//! namespace, across mounts.

use core::hint::black_box;

use interceptor_ebpf::{At, MAX_TEXT};

use crate::kernel::{copy, number, offset, word};

/// Names and mounts to go through at most.
const MAX_STEPS: u32 = 32;

/// Longest name of a directory entry.
const MAX_NAME: u64 = 255;

/// Bits of what [`write()`] returns.
pub(crate) const WHOLE: u64 = 1;
pub(crate) const DELETED: u64 = 1 << 1;

/// Writes the path of the `struct path` at `path` to the end of the text at `to`, and where it begins to `at`.
///
/// A rename on the way that happens meanwhile may show in it, as two halves that never belonged together: the
/// kernel's lock against that cannot be had here.
///
/// # Safety
/// `to` is the first of the three texts at the end of a snapshot, or the second.
#[inline(never)]
pub(crate) unsafe fn write(to: *mut u8, at: *mut u32, path: u64) -> u64 {
    let mut mount = word(path, At::PathMount);
    let mut entry = word(path, At::PathDentry);
    let mut root = word(mount, At::MountRoot);
    let deleted = if word(entry, At::DentryHashed) == 0 && entry != root { DELETED } else { 0 };
    // SAFETY: the caller's.
    unsafe { at.write_volatile(MAX_TEXT as u32) };
    for _ in 0..MAX_STEPS {
        let parent = word(entry, At::DentryParent);
        if entry == root {
            let outer = mount - offset(At::MountInner);
            let up = word(outer, At::MountParent);
            if up == outer || up == 0 {
                return deleted | if up == 0 { 0 } else { WHOLE };
            }
            entry = word(outer, At::MountPoint);
            mount = up + offset(At::MountInner);
            root = word(mount, At::MountRoot);
            continue;
        }
        // SAFETY: the caller's.
        if !unsafe { prepend(to, at, entry) } {
            return deleted;
        }
        if entry == parent {
            // In no directory: memfd and the like.
            return deleted | WHOLE;
        }
        entry = parent;
    }
    deleted
}

/// Puts a slash and the entry's name before what stands at `at`; false when there is no room.
///
/// How far the text has come is kept in memory, not in a register: the verifier would follow its every range through all
/// steps of the loop, and give up.
#[inline(always)]
unsafe fn prepend(to: *mut u8, at: *mut u32, entry: u64) -> bool {
    // The verifier does not follow sums, only masks; the compiler must not remove them as needless.
    const MASK: u64 = MAX_TEXT as u64 - 1;
    let len = u64::from(number(entry, At::DentryNameLen));
    // SAFETY: the caller's. For the verifier, a name may reach into the text after this one.
    unsafe {
        let end = u64::from(at.read_volatile());
        if len == 0 || len > MAX_NAME || len >= end {
            return false;
        }
        let slash = end - len - 1;
        at.write_volatile(slash as u32);
        to.add((black_box(slash) & MASK) as usize).write(b'/');
        let name = to.add((black_box(slash + 1) & MASK) as usize);
        copy(name, black_box(len) & MAX_NAME, word(entry, At::DentryName));
    }
    true
}
