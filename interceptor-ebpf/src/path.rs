//! The path of a file, as the kernel's own `d_path` makes it: from the last component up to the root of the mount
//! namespace, across mounts.

use core::hint::black_box;

use interceptor_ebpf::{At, MAX_TEXT};

use crate::kernel::{copy, number, offset, word};

/// Names and mounts to go through at most.
const MAX_STEPS: u32 = 32;

/// Longest name of a directory entry.
const MAX_NAME: u64 = 255;

/// Result of [`write()`]: where the path begins, in the low half; and these.
pub(crate) const WHOLE: u64 = 1 << 32;
pub(crate) const DELETED: u64 = 1 << 33;

/// Writes the path of the `struct path` at `path` to the end of the text at `to`.
///
/// A rename on the way that happens meanwhile may show in it, as two halves that never belonged together: the
/// kernel's lock against that cannot be had here.
#[inline(never)]
pub(crate) fn write(to: *mut u8, path: u64) -> u64 {
    let mut mount = word(path, At::PathMount);
    let mut entry = word(path, At::PathDentry);
    let mut root = word(mount, At::MountRoot);
    let deleted = if word(entry, At::DentryHashed) == 0 && entry != root { DELETED } else { 0 };
    let mut at = MAX_TEXT as u64;
    for _ in 0..MAX_STEPS {
        let parent = word(entry, At::DentryParent);
        if entry == root {
            let outer = mount - offset(At::MountInner);
            let up = word(outer, At::MountParent);
            if up == outer || up == 0 {
                return at | deleted | if up == 0 { 0 } else { WHOLE };
            }
            entry = word(outer, At::MountPoint);
            mount = up + offset(At::MountInner);
            root = word(mount, At::MountRoot);
            continue;
        }
        let len = u64::from(number(entry, At::DentryNameLen));
        if len == 0 || len > MAX_NAME || len >= at {
            break;
        }
        at -= len + 1;
        // SAFETY: the name, with its slash, ends where the part behind it begins.
        unsafe { put(to, at, len, word(entry, At::DentryName)) };
        if entry == parent {
            // In no directory: memfd and the like.
            return at | deleted | WHOLE;
        }
        entry = parent;
    }
    at | deleted
}

/// A slash and a name at `at`.
///
/// # Safety
/// `to` is the first of the three texts at the end of a snapshot, or the second; `at + 1 + len <= MAX_TEXT`.
#[inline(always)]
unsafe fn put(to: *mut u8, at: u64, len: u64, name: u64) {
    // The verifier does not follow sums, only masks; the compiler must not remove them as needless.
    const MASK: u64 = MAX_TEXT as u64 - 1;
    let slash = black_box(at) & MASK;
    let start = black_box(at + 1) & MASK;
    let len = black_box(len) & MAX_NAME;
    // SAFETY: the caller's promise. For the verifier, a name may reach into the text after this one.
    unsafe {
        to.add(slash as usize).write(b'/');
        copy(to.add(start as usize), len, name);
    }
}
