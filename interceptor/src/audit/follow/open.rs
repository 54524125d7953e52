//! What is to be handed out: exchanges, by their frames, and notes.

use super::super::Section;
use super::super::class::Class;
use super::super::frame::{Content, Entry, Holding};
use super::super::seal::plain_len;
use super::super::walk::FrameRef;

/// What is handed out next.
#[derive(Debug)]
pub(super) enum Ready {
    Exchange(Box<Open>),
    Note(Box<FrameRef>),
}

impl Ready {
    pub(super) fn first(&self) -> u64 {
        match self {
            Self::Exchange(exchange) => exchange.first,
            Self::Note(frame) => frame.head.entry.sequence,
        }
    }
}

/// An exchange whose end has not been reached.
#[derive(Debug)]
pub(super) struct Open {
    /// Its first frame: a part of its request, or the one that opened it.
    pub(super) first: u64,
    pub(super) opening: Option<FrameRef>,
    /// CLOCK_BOOTTIME of its last frame so far, nanoseconds.
    pub(super) touched_ns: u64,
    /// Parts of what is not sealed.
    pub(super) parts: Vec<FrameRef>,
    pub(super) end: Option<FrameRef>,
    /// Bytes of sealed response in part frames, before they were sealed.
    pub(super) response_bytes: Option<u64>,
    /// Some of the response was removed.
    pub(super) lost_response: bool,
    pub(super) damaged: bool,
}

impl Open {
    pub(super) fn new(first: u64) -> Self {
        Self {
            first,
            opening: None,
            touched_ns: 0,
            parts: Vec::new(),
            end: None,
            response_bytes: None,
            lost_response: false,
            damaged: false,
        }
    }

    pub(super) fn opening(&self) -> &FrameRef {
        self.opening.as_ref().expect("only exchanges that were opened are handed out")
    }

    /// Whether some content of `class` was removed from it.
    pub(super) fn has_lost(&self, class: Class) -> bool {
        let frames = self.opening.iter().chain(&self.parts).chain(&self.end);
        (self.lost_response && class == Class::Responses) || frames.into_iter().any(|frame| frame.head.has_lost(class))
    }

    pub(super) fn count(&mut self, entry: &Entry) {
        let sealed = |s: &&Section| s.content == Content::Response && s.holding == Holding::Sealed;
        for section in entry.sections.iter().filter(sealed) {
            *self.response_bytes.get_or_insert(0) += plain_len(section.stored());
        }
    }
}
