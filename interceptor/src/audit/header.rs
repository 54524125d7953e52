//! The first page of a segment.
//!
//! ```text
//! 0     [8]    magic
//! 8     u16    version, 1          10   u16  size of the header, 4096      12   u32  stream: 1 log, 2 access
//! 16    u64    compatible flags    24   u64  incompatible flags
//! 32    [16]   segment id          48   [16] previous segment's id (zeros: none)
//! 64    [16]   generation          80   [16] boot id
//! 96    u64    first sequence      104  u64  leaves before it              112  u64  created, nanoseconds since 1970
//! 120   u64    bytes allocated
//! 128   [32]   previous chain value
//! 160   [32]   Merkle root of the leaves before it
//! 192   u32    number of subtree roots
//! 200   [32]*  roots of the perfect subtrees, largest first (the Merkle frontier)
//! 4092  u32    CRC-32C of bytes 0-4091
//! ```

use super::frame::{hash_at, u16_at, u32_at, u64_at};
use super::tree::{Frontier, Hash};

/// Bytes of a header.
pub(crate) const HEADER: usize = 4096;
const MAGIC: [u8; 8] = *b"\x89ALOG\r\n\x1a";
const VERSION: u16 = 1;
const ROOTS: usize = 200;
const CRC: usize = HEADER - 4;

/// Which log a segment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Exchanges, written by the daemon.
    Log,
    /// Accesses to sealed content, written by `interceptor log unseal`.
    Access,
}

impl Stream {
    /// Start of the segments' names.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Access => "access",
        }
    }

    /// Name of the file with the signed checkpoint.
    #[must_use]
    pub fn checkpoint(self) -> &'static str {
        match self {
            Self::Log => "checkpoint",
            Self::Access => "access.checkpoint",
        }
    }

    /// Name of the file that the writer locks.
    pub(crate) fn lock(self) -> &'static str {
        match self {
            Self::Log => "lock",
            Self::Access => "access.lock",
        }
    }

    /// Name of the segment whose first frame has this sequence number.
    #[must_use]
    pub fn segment_name(self, first_sequence: u64) -> String {
        format!("{}-{first_sequence:020}.alog", self.prefix())
    }

    /// Origin line of the checkpoint (C2SP tlog-checkpoint).
    #[must_use]
    pub fn origin(self, host: &str) -> String {
        match self {
            Self::Log => format!("interceptor/{host}"),
            Self::Access => format!("interceptor/{host}/access"),
        }
    }

    fn code(self) -> u32 {
        match self {
            Self::Log => 1,
            Self::Access => 2,
        }
    }
}

/// Where a segment starts, and what came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which log it belongs to.
    pub stream: Stream,
    /// Random; seeds the checksums.
    pub segment_id: [u8; 16],
    /// The segment before; zeros when this is the first.
    pub previous_id: [u8; 16],
    /// Random, the same for all segments of one writer's life.
    pub generation: [u8; 16],
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// Sequence number of the first frame.
    pub first_sequence: u64,
    /// When it was created, nanoseconds since 1970.
    pub created_ns: u64,
    /// Bytes allocated; the file is cut to what was used when it is closed.
    pub allocated: u64,
    /// Chain value of the last frame before.
    pub chain: Hash,
    /// The Merkle tree before the first frame.
    pub tree: Frontier,
}

/// Why a page is not a segment header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer than 4096 bytes.
    #[error("the header is cut short")]
    Short,
    /// Something else, or nothing, stands there.
    #[error("it does not start with the magic number of a segment")]
    Magic,
    /// Damaged.
    #[error("the header's checksum does not match")]
    Checksum,
    /// From the future.
    #[error("the header has an unknown {0}: a newer version wrote it, or it was forged")]
    Unknown(&'static str),
    /// The frontier does not belong to the size and root.
    #[error("the Merkle frontier does not fit the tree's size and root")]
    Frontier,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut page = [0; HEADER];
        page[0..8].copy_from_slice(&MAGIC);
        page[8..10].copy_from_slice(&VERSION.to_le_bytes());
        page[10..12].copy_from_slice(&(HEADER as u16).to_le_bytes());
        page[12..16].copy_from_slice(&self.stream.code().to_le_bytes());
        page[32..48].copy_from_slice(&self.segment_id);
        page[48..64].copy_from_slice(&self.previous_id);
        page[64..80].copy_from_slice(&self.generation);
        page[80..96].copy_from_slice(&self.boot_id);
        page[96..104].copy_from_slice(&self.first_sequence.to_le_bytes());
        page[104..112].copy_from_slice(&self.tree.size().to_le_bytes());
        page[112..120].copy_from_slice(&self.created_ns.to_le_bytes());
        page[120..128].copy_from_slice(&self.allocated.to_le_bytes());
        page[128..160].copy_from_slice(&self.chain);
        page[160..192].copy_from_slice(&self.tree.root());
        page[192..196].copy_from_slice(&(self.tree.roots().len() as u32).to_le_bytes());
        for (slot, root) in page[ROOTS..].chunks_exact_mut(32).zip(self.tree.roots()) {
            slot.copy_from_slice(root);
        }
        let crc = crc32c::crc32c(&page[..CRC]);
        page[CRC..].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Parses the first page of a segment.
    ///
    /// # Errors
    /// [`HeaderError`] says what is wrong first.
    pub fn parse(page: &[u8]) -> Result<Self, HeaderError> {
        let page = page.get(..HEADER).ok_or(HeaderError::Short)?;
        if page[..8] != MAGIC {
            return Err(HeaderError::Magic);
        }
        if crc32c::crc32c(&page[..CRC]) != u32_at(page, CRC) {
            return Err(HeaderError::Checksum);
        }
        if u16_at(page, 8) != VERSION || usize::from(u16_at(page, 10)) != HEADER {
            return Err(HeaderError::Unknown("version"));
        }
        if u64_at(page, 24) != 0 {
            return Err(HeaderError::Unknown("incompatible flag"));
        }
        let stream = [Stream::Log, Stream::Access]
            .into_iter()
            .find(|s| s.code() == u32_at(page, 12))
            .ok_or(HeaderError::Unknown("stream"))?;
        let roots = page[ROOTS..CRC].chunks_exact(32).take(u32_at(page, 192) as usize).map(|r| hash_at(r, 0)).collect();
        let tree = Frontier::from_parts(u64_at(page, 104), roots).ok_or(HeaderError::Frontier)?;
        if tree.root() != hash_at(page, 160) {
            return Err(HeaderError::Frontier);
        }
        let bytes16 = |at: usize| <[u8; 16]>::try_from(&page[at..at + 16]).expect("16 bytes");
        Ok(Self {
            stream,
            segment_id: bytes16(32),
            previous_id: bytes16(48),
            generation: bytes16(64),
            boot_id: bytes16(80),
            first_sequence: u64_at(page, 96),
            created_ns: u64_at(page, 112),
            allocated: u64_at(page, 120),
            chain: hash_at(page, 128),
            tree,
        })
    }
}
