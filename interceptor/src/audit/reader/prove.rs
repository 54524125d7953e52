//! Proving one record, and that the log goes on from an earlier state.

use std::ops::Range;
use std::time::Duration;

use super::super::checkpoint::Checkpoint;
use super::super::consistency::{Consistency, is_consistent};
use super::super::frame::EncodedHead;
use super::super::lock::WriterLock;
use super::super::proof::{Proof, root};
use super::super::subtrees::{Collector, consistency, inclusion};
use super::super::tiles::{Tiles, on_disk};
use super::super::tree::{Hash, sha256};
use super::super::walk::Walk;
use super::located::Located;
use super::{ReadError, Reader};

/// How often tiles are looked for while a log is being written, and how long apart: a proof from the whole log takes longer.
const TRIES: u32 = 10;
const AGAIN: Duration = Duration::from_millis(50);

impl Reader {
    /// A proof that the leaf which opened a record, or else the one that ended it, is in the tree that the log's
    /// checkpoint signs. Made from tiles, or from the whole log where they do not lead to what was signed: nothing that is
    /// proven is taken on trust.
    ///
    /// # Errors
    /// [`ReadError::NoCheckpoint`], [`ReadError::Unsigned`], [`ReadError::NoEnd`], [`ReadError::Unprovable`].
    pub fn prove(&mut self, at: &Located, end: bool) -> Result<Proof, ReadError> {
        let note = self.read_checkpoint();
        let frame = if end { at.end.as_ref().ok_or(ReadError::NoEnd(at.id()))? } else { &at.opening };
        let (entry, leaf) = (&frame.head.entry, frame.head.leaf);
        let index = entry.leaf_index;
        let note = note.ok_or(ReadError::NoCheckpoint)?;
        let checkpoint = Checkpoint::peek(&note).filter(|c| c.size > index).ok_or(ReadError::Unsigned(at.id()))?;
        let leads = |path: &[Hash]| root(leaf, index, checkpoint.size, path) == Some(checkpoint.root);
        let path = self.roots(&inclusion(index, checkpoint.size), checkpoint.size, leads)?;
        Ok(Proof::new(EncodedHead::new(entry).entry(), index, path, note))
    }

    /// A proof that the tree which the log's checkpoint signs begins with its first `old` leaves, and the root that these
    /// have.
    ///
    /// # Errors
    /// [`ReadError::NoCheckpoint`], [`ReadError::Shorter`], [`ReadError::Unprovable`].
    pub fn prove_continuation(&mut self, old: u64) -> Result<(Consistency, Hash), ReadError> {
        let note = self.read_checkpoint();
        let checkpoint = note.as_deref().and_then(Checkpoint::peek);
        let (Some(note), Some(checkpoint)) = (note, checkpoint) else { return Err(ReadError::NoCheckpoint) };
        let size = checkpoint.size;
        if old > size {
            return Err(ReadError::Shorter { size, old });
        }
        if old == 0 {
            return Ok((Consistency::new(0, Vec::new(), note), sha256(b"")));
        }
        // The old root too, so that it can be seen whether all lead to the new one.
        let mut subtrees = consistency(old, size);
        subtrees.push(0..old);
        let leads = |roots: &[Hash]| {
            let old_root = roots.last().filter(|_| roots.len() == subtrees.len());
            old_root.is_some_and(|root| is_consistent((old, root), (size, &checkpoint.root), &roots[..roots.len() - 1]))
        };
        let mut path = self.roots(&subtrees, size, leads)?;
        let old_root = path.pop().ok_or(ReadError::Unprovable)?;
        Ok((Consistency::new(old, path, note), old_root))
    }

    /// The roots of subtrees of the tree of `size` leaves, if they lead to what was signed.
    fn roots(
        &mut self,
        subtrees: &[Range<u64>],
        size: u64,
        leads: impl Fn(&[Hash]) -> bool,
    ) -> Result<Vec<Hash>, ReadError> {
        if let Some(roots) = self.roots_of_tiles(subtrees, size).filter(|roots| leads(roots)) {
            return Ok(roots);
        }
        self.roots_of_leaves(subtrees, size)?.filter(|roots| leads(roots)).ok_or(ReadError::Unprovable)
    }

    /// The same from tiles, which a writer makes a moment after the checkpoint that covers them; none where they are missing.
    fn roots_of_tiles(&self, subtrees: &[Range<u64>], size: u64) -> Option<Vec<Hash>> {
        let mut tries = TRIES;
        loop {
            let roots = Tiles::new(size, on_disk(&self.dir)).roots(subtrees);
            tries -= 1;
            if roots.is_some() || tries == 0 || !WriterLock::is_held(&self.dir, self.stream) {
                return roots;
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// The same from all leaves of the log; none when it does not have them.
    fn roots_of_leaves(&mut self, subtrees: &[Range<u64>], size: u64) -> Result<Option<Vec<Hash>>, ReadError> {
        let mut collector = Collector::new(subtrees, size);
        // The log may have grown: what the checkpoint covers was there before it.
        let mut walk = Walk::new(&self.dir, self.stream)?;
        while collector.next() < size
            && let Some(frame) = walk.next()?
        {
            let entry = &frame.head.entry;
            // After a failed write the writer appends frames again elsewhere.
            if !entry.kind.is_leaf() || entry.leaf_index < collector.next() {
                continue;
            }
            if entry.leaf_index > collector.next() {
                return Ok(None);
            }
            collector.push(frame.head.leaf);
        }
        self.note_all(walk.damage());
        Ok(collector.finish())
    }
}
