//! After a failed msync nobody knows what of the range reached the disk, and the kernel may have dropped the dirty
//! pages. So the segment is given up: it is cut back to what is known durable, and the frames after that, which are
//! still in the page cache, are written again into a fresh segment. Their entries, and so their leaves, stay the same;
//! chain values and checksums are those of the new segment.

use std::sync::Arc;

use super::Error;
use super::frame::{EncodedHead, Entry, trailer};
use super::header::HEADER;
use super::scan::{Depth, SegmentFile, Step};
use super::segment::{Segment, Spare};
use super::tree::chain;
use super::writer::{Retired, Shared, State};

/// A frame that was appended but never became durable.
pub(crate) struct Lost {
    entry: Entry,
    body: Vec<u8>,
}

impl Shared {
    /// Starts a fresh segment where durability ends and writes what came after it again.
    pub(crate) fn rescue(&self, state: &mut State) -> Result<(), Error> {
        if let Some(current) = state.current.take() {
            let used = current.tail.offset();
            state.retired.push(Retired { segment: current.segment, from: current.synced, used });
        }
        if state.salvage.is_none() {
            let mut lost = Vec::new();
            for given_up in &state.retired {
                collect(given_up, state.durable.frames, &mut lost)?;
            }
            state.salvage = Some(lost);
        }
        // From here on every step may fail and be tried again: the frames are in `salvage`.
        while let Some(given_up) = state.retired.last() {
            self.give_up(&given_up.segment, given_up.from)?;
            if given_up.from <= HEADER {
                state.newest = given_up.segment.header.previous_id;
            }
            state.retired.pop();
        }
        state.extent = state.durable.clone();
        let spare = match state.spares.pop_front() {
            Some(spare) => spare,
            None => Spare::allocate(&*self.disk, &self.dir, self.stream, self.segment_bytes)?,
        };
        self.start_segment(state, spare)?;
        let lost = state.salvage.take().unwrap_or_default();
        let result = lost.iter().try_for_each(|frame| self.write_again(state, frame));
        if result.is_err() {
            state.salvage = Some(lost);
        }
        state.dirty_since.get_or_insert_with(std::time::Instant::now);
        result
    }

    /// Cuts a segment back to what is durable; removes one of which nothing is.
    fn give_up(&self, segment: &Segment, durable: usize) -> Result<(), Error> {
        if durable > HEADER {
            return segment.cut(&*self.disk, durable);
        }
        match self.disk.remove(&segment.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("unlink", &segment.path, e)),
            _ => self.sync_directory(),
        }
    }

    fn write_again(&self, state: &mut State, frame: &Lost) -> Result<(), Error> {
        let head = EncodedHead::new(&frame.entry);
        let leaf = head.leaf();
        let length = super::frame::frame_length(frame.entry.sections.len(), frame.body.len());
        if state.current.as_ref().is_none_or(|current| current.tail.remaining() < length) {
            let spare = Spare::allocate(&*self.disk, &self.dir, self.stream, self.segment_bytes)?;
            self.start_segment(state, spare)?;
        }
        let current = state.current.as_mut().expect("started above");
        let value = chain(&current.link, &leaf);
        let seed = current.segment.seed;
        let head = head.finish(seed, length, &value);
        let (end, end_len) = trailer(seed, head.bytes().len(), frame.body.len(), crc32c::crc32c(&frame.body));
        current.tail.push(&[head.bytes(), &frame.body, &end[..end_len]]);
        current.link = value;
        state.extent.frames += 1;
        state.extent.chain = value;
        if frame.entry.kind.is_leaf() {
            state.extent.tree.push(leaf);
        }
        Ok(())
    }
}

/// Frames of a segment that are not durable, from the page cache.
fn collect(given_up: &Retired, durable: u64, lost: &mut Vec<Lost>) -> Result<(), Error> {
    let segment: &Arc<Segment> = &given_up.segment;
    let mut file = SegmentFile::open(&segment.path)?;
    let mut at = given_up.from.max(HEADER) as u64;
    while at < given_up.used as u64 {
        let head = match file.step(at, Depth::Bodies)? {
            Step::Frame(head) => head,
            Step::End => break,
            Step::Invalid(source) => {
                let sequence = durable + lost.len() as u64;
                return Err(Error::Damaged { path: segment.path.clone(), offset: at, sequence, source });
            }
        };
        let frame = file.bytes(at, head.length)?;
        let body = head.body();
        let body = frame[head.size..head.size + body].to_vec();
        at += head.length as u64;
        if head.entry.sequence >= durable {
            lost.push(Lost { entry: head.entry, body });
        }
    }
    Ok(())
}
