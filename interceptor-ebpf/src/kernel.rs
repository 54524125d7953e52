//! Reading kernel structures whose layout the daemon found in the running kernel's BTF.
//!
//! Addresses are plain numbers here: the verifier lets no program follow them but through `bpf_probe_read_kernel`, which
//! fails, and leaves zeros, where nothing is mapped. So a chain of reads through a null pointer ends in zeros too.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user};
use interceptor_ebpf::{At, Offsets};

/// Written by the loader, before the section is frozen; the verifier then takes its fields for constants.
#[unsafe(no_mangle)]
static SNAPSHOT_OFFSETS: Offsets = Offsets::OFF;

/// Whether snapshots are to be taken. When they are not, the verifier removes all code that takes them.
#[inline(always)]
pub(crate) fn is_enabled() -> bool {
    // SAFETY: a valid static; volatile because its value is not the one the compiler sees.
    unsafe { (&raw const SNAPSHOT_OFFSETS.enabled).read_volatile() != 0 }
}

/// Whether this kernel has the member.
#[inline(always)]
pub(crate) fn has(member: At) -> bool {
    offset(member) != u64::from(Offsets::NONE)
}

/// Where a member stands in its structure.
#[inline(always)]
pub(crate) fn offset(member: At) -> u64 {
    // SAFETY: as above; the index is that of the same table.
    unsafe { u64::from((&raw const SNAPSHOT_OFFSETS.of[member as usize]).read_volatile()) }
}

/// The member of the structure at `base`; zeros where it cannot be read.
///
/// # Safety
/// Any bit pattern is a `T`.
#[inline(always)]
pub(crate) unsafe fn read<T>(base: u64, member: At) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper fills the whole buffer, with zeros when it fails.
    unsafe {
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, (base + offset(member)) as *const _);
        value.assume_init()
    }
}

/// A pointer-sized member.
#[inline(always)]
pub(crate) fn word(base: u64, member: At) -> u64 {
    // SAFETY: an integer.
    unsafe { read(base, member) }
}

/// A 32 bit member.
#[inline(always)]
pub(crate) fn number(base: u64, member: At) -> u32 {
    // SAFETY: an integer.
    unsafe { read(base, member) }
}

/// Copies kernel memory.
///
/// # Safety
/// `len` bytes at `to` may be written.
#[inline(always)]
pub(crate) unsafe fn copy(to: *mut u8, len: u64, from: u64) -> bool {
    // SAFETY: the caller's promise, which the verifier checks.
    unsafe { bpf_probe_read_kernel(to.cast(), len as u32, from as *const _) == 0 }
}

/// Copies a string of the kernel's, cut to fit, with its NUL.
///
/// # Safety
/// `len` bytes at `to` may be written.
#[inline(always)]
pub(crate) unsafe fn copy_text(to: *mut u8, len: u32, from: u64) {
    // SAFETY: the caller's promise, which the verifier checks.
    unsafe { bpf_probe_read_kernel_str(to.cast(), len, from as *const _) };
}

/// Copies memory of the calling process.
///
/// # Safety
/// `len` bytes at `to` may be written.
#[inline(always)]
pub(crate) unsafe fn copy_user(to: *mut u8, len: u64, from: u64) -> bool {
    // SAFETY: the caller's promise, which the verifier checks.
    unsafe { bpf_probe_read_user(to.cast(), len as u32, from as *const _) == 0 }
}
