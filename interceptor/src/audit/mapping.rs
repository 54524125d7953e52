//! The memory-mapped file that frames are copied into: the only unsafe code of the audit room.
#![expect(unsafe_code, reason = "frames are copied into a shared file mapping")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::frame::ALIGN;

/// A mapped segment. Whoever flushes it shares it; only its [`Tail`] writes to it.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: MmapRaw,
}

impl Mapping {
    /// Maps the first `len` bytes of `file`, which must have been allocated: writing to a hole of a full disk raises
    /// SIGBUS.
    pub(crate) fn new(file: &File, len: usize) -> io::Result<(Arc<Self>, Tail)> {
        let map = MmapOptions::new().len(len).map_raw(file)?;
        let mapping = Arc::new(Self { map });
        let tail = Tail { mapping: Arc::clone(&mapping), offset: 0 };
        Ok((mapping, tail))
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// msync(MS_SYNC) of the pages that hold `range`.
    pub(crate) fn flush(&self, range: Range<usize>) -> io::Result<()> {
        self.map.flush_range(range.start, range.end - range.start)
    }

    /// Faults the pages of `range` in for writing, so that an append does not wait for it. An optimisation: errors do
    /// not matter.
    pub(crate) fn populate(&self, range: Range<usize>) {
        let end = range.end.min(self.len());
        if range.start < end {
            // An older kernel refuses with EINVAL, and the pages are faulted in one by one.
            let _ = self.map.advise_range(memmap2::Advice::PopulateWrite, range.start, end - range.start);
        }
    }
}

/// The one place where a mapping is written: exactly one exists per mapping, and it only moves forward.
#[derive(Debug)]
pub(crate) struct Tail {
    mapping: Arc<Mapping>,
    offset: usize,
}

impl Tail {
    /// Where the next bytes go.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn remaining(&self) -> usize {
        self.mapping.len() - self.offset
    }

    /// Copies a frame: everything after its first four bytes, then those (its length) with release ordering, so that
    /// a reader who sees the length sees the frame.
    ///
    /// # Panics
    /// When the pieces do not fit, do not add up to a multiple of [`ALIGN`], or the first is shorter than 4 bytes.
    pub(crate) fn push(&mut self, pieces: &[&[u8]]) {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert!(length <= self.remaining() && length.is_multiple_of(ALIGN), "the writer checks the room first");
        let (first, rest) = pieces.split_first().expect("a frame has a head");
        let (size, head) = first.split_at(4);
        let mut at = self.offset + 4;
        for piece in std::iter::once(&head).chain(rest) {
            // SAFETY: the sum of all pieces was checked against the mapping's length. The mapping lives as long as
            // `self`. No Rust reference to its bytes exists anywhere: this tail is its only writer (it is not Clone
            // and `push` takes `&mut self`), and the kernel and reader processes are outside Rust's memory model.
            unsafe {
                std::ptr::copy_nonoverlapping(piece.as_ptr(), self.mapping.map.as_mut_ptr().add(at), piece.len());
            }
            at += piece.len();
        }
        let size = u32::from_ne_bytes(size.try_into().expect("4 bytes"));
        // SAFETY: `offset` is within the mapping (checked above) and a multiple of 8 from a page boundary, so it is
        // aligned for a u32; the mapping outlives the reference, and all access to these bytes is atomic from now on.
        let slot = unsafe { AtomicU32::from_ptr(self.mapping.map.as_mut_ptr().add(self.offset).cast()) };
        slot.store(size, Ordering::Release);
        self.offset += length;
    }
}
