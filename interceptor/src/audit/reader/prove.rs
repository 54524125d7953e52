//! Proving one record.

use super::super::checkpoint::Checkpoint;
use super::super::frame::EncodedHead;
use super::super::proof::Proof;
use super::super::tree::{Hash, PathBuilder};
use super::super::walk::Walk;
use super::located::Located;
use super::{ReadError, Reader};

impl Reader {
    /// A proof that the leaf which opened a record, or else the one that ended it, is in the tree that the log's
    /// checkpoint signs. Reads the whole log: nothing that is proven comes from an index.
    ///
    /// # Errors
    /// [`ReadError::Unsigned`], [`ReadError::NoEnd`], [`ReadError::Unprovable`].
    pub fn prove(&mut self, at: &Located, end: bool) -> Result<Proof, ReadError> {
        let note = self.read_checkpoint();
        let frame = if end { at.end.as_ref().ok_or(ReadError::NoEnd(at.id()))? } else { &at.opening };
        let entry = &frame.head.entry;
        let checkpoint = note.as_deref().and_then(Checkpoint::peek).filter(|c| c.size > entry.leaf_index);
        let (Some(note), Some(checkpoint)) = (note, checkpoint) else { return Err(ReadError::Unsigned(at.id())) };
        let path = self.path(entry.leaf_index, frame.head.leaf, &checkpoint)?.ok_or(ReadError::Unprovable)?;
        Ok(Proof::new(EncodedHead::new(entry).entry(), entry.leaf_index, path, note))
    }

    /// The hashes beside the way from a leaf to the root, if the leaves of the log lead to what the checkpoint signs.
    fn path(&mut self, index: u64, leaf: Hash, checkpoint: &Checkpoint) -> Result<Option<Vec<Hash>>, ReadError> {
        let mut builder = PathBuilder::new(index, checkpoint.size);
        // The log may have grown: what the checkpoint covers was there before it.
        let mut walk = Walk::new(&self.dir, self.stream)?;
        let mut next = 0;
        while next < checkpoint.size
            && let Some(frame) = walk.next()?
        {
            let entry = &frame.head.entry;
            // After a failed write the writer appends frames again elsewhere.
            if !entry.kind.is_leaf() || entry.leaf_index < next {
                continue;
            }
            if entry.leaf_index > next || (next == index && frame.head.leaf != leaf) {
                return Ok(None);
            }
            builder.push(frame.head.leaf);
            next += 1;
        }
        self.note_all(walk.damage());
        Ok(builder.finish().filter(|(root, _)| *root == checkpoint.root).map(|(_, path)| path))
    }
}
