//! The index of a segment: which records opened in it, where their frames are, and the values that filters look at.
//!
//! An index is a cache. It is made from its segment by whoever closes or reads it, and made again whenever it is not there,
//! is damaged, or is of a segment that has changed since. Nothing that must be proven is taken from it: the verifier
//! looks at indexes only to tell whether they say what their segments do. `docs/log-format.md` has the layout.

mod build;
mod compare;
mod encode;
mod file;
mod fuzz;
mod keep;
mod select;
mod store;

pub(super) use build::part as part_of;
pub(super) use compare::compare;
pub(super) use file::SegmentIndex;
pub use fuzz::fuzz_index;
pub(super) use store::{make_anew as make, open};

use super::frame::Content;
use crate::flow::ExchangeId;

/// End of the name of an index; the rest is its segment's.
pub(super) const EXTENSION: &str = "idx";

/// Why a file is no index of the segment at hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// It is not there, or cannot be read.
    #[error("it cannot be read: {0}")]
    Io(std::io::ErrorKind),
    /// It is none, of another version, or damaged.
    #[error("{0}")]
    Damaged(&'static str),
    /// The segment is not, or no longer, the one that it was made from.
    #[error("it was made from another state of the segment")]
    Changed,
}

/// A record that opened in the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where its opening frame is.
    pub(super) opening: u64,
    /// That frame's sequence number.
    pub(super) sequence: u64,
    /// What else of it is in the segment.
    pub(super) rest: Rest,
}

/// Frames of an exchange in one segment, without the one that opened it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// Where its end is.
    pub(super) end: Option<u64>,
    /// Its part frames: the first of them in the table of parts, and how many.
    pub(super) parts: (u32, u32),
}

/// An exchange that has frames in the segment and opened in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visitor {
    pub(super) id: ExchangeId,
    pub(super) rest: Rest,
}

/// A part frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartRow {
    pub(super) offset: u64,
    pub(super) sequence: u64,
    /// Bytes of the section as it stands in the frame; 0 when it was removed from there.
    pub(super) stored: u32,
    /// `None` for a part without a section.
    pub(super) content: Option<Content>,
    pub(super) sealed: bool,
    pub(super) damaged: bool,
}
