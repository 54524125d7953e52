//! The sealed, tamper-evident log.
//!
//! A request's record is durable before the request leaves; [`Committed`] is the proof. Segments are memory-mapped
//! files of checksummed frames; a hash chain links all frames, an RFC 6962 Merkle tree holds one leaf for each request
//! and one for its end, and a signed checkpoint covers both. Originals and responses are sealed to auditors' public
//! keys: the daemon cannot read back what it wrote. `docs/log-format.md` is the reference of the format.
//!
//! ```text
//! Log::open ─ recover ─┬─ Worker ── begin ──> Exchange ── chunk, complete     (callers' threads: seal, hash, copy)
//!                      ├─ commit thread: msync, acknowledge
//!                      ├─ keeper thread: next segment, data keys, checkpoint
//!                      ├─ indexing thread: an index beside each segment that is full
//!                      └─ tile thread: the tree of each checkpoint as tiles
//! ```

mod access;
mod act;
mod alert;
mod auditor;
mod bench;
mod checkpoint;
mod class;
mod clock;
mod commit;
mod condition;
mod consistency;
mod cosignature;
mod destroy;
mod disk;
mod error;
mod exchange;
mod facets;
mod follow;
mod frame;
mod handover;
mod header;
mod index;
mod keeper;
mod lock;
mod log;
mod mapping;
mod proof;
mod reader;
mod record;
mod recover;
mod rescue;
mod retain;
mod scan;
mod seal;
mod segment;
mod subtrees;
mod tiles;
mod time;
mod tree;
mod verify;
mod walk;
mod witnessed;
mod writer;

pub use access::{Access, Outcome, signed_accesses};
pub use act::{Act, Acts, Deed, acts};
pub use alert::Alert;
pub use auditor::{AuditorPublic, AuditorSecret};
pub(crate) use auditor::{open_lock, open_regular};
pub use bench::BenchLeaves;
pub use checkpoint::{Checkpoint, CheckpointError, VerifyingKey};
pub use class::{Class, UnknownClass};
pub use clock::Clocks;
pub use condition::{Condition, Probe};
pub use consistency::{Consistency, ConsistencyError, fuzz_consistency};
pub use cosignature::{CosignatureError, UnusableWitnessKey, WitnessKey, fuzz_cosignature};
pub use error::{Error, SharedIo};
pub use exchange::{Committed, Exchange, Outgoing, Upload, Worker};
pub use facets::{Everything, Facet, Select};
pub use follow::{FollowError, Followed, Follower, Key, Position as FollowPosition, Said, Seen};
pub use frame::{Content, Entry, FrameError, Head, Holding, Kind, Section};
pub use handover::{Handover, fuzz_messages};
pub use header::{Header, HeaderError, Stream};
pub use index::fuzz_index;
pub use log::{Durability, Log, Notes, SEGMENT_BYTES, Settings};
pub use proof::{Proof, ProofError, Proven, fuzz_proof};
pub use reader::{Change, Found, Live, Located, Piece, Query, ReadError, Reader};
pub use record::{
    Approval, Caller, Completion, Coverage, Decision, Encoding, Endpoint, FindingCount, Identity, MaskedRequest, Note,
    Parent, Part, Position, Record, Request, Response, ResponseBody, State, Timing,
};
pub use retain::{
    Ages, Author, Begun, Counts, Done, Lock as RetentionLock, Plan as RetentionPlan, Removal, RetainError, Retention,
    check_ages, lock,
};
pub use scan::{fuzz_frames, fuzz_segment};
pub use seal::{KeyId, Opener, UnsealError};
pub use tiles::fuzz_tiles;
pub use time::Time;
pub use tree::{Frontier, Hash};
pub use verify::{Fault, Report, Trust, Verdict, verify};
pub use walk::Damage;
pub use witnessed::{cosigned, cosigned_by, keep_cosigned};

/// A text that is no verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no signed-note verifier key (NAME+HASH+BASE64): use the log's own keys/log-signing.pub")]
pub struct UnusableKey;

#[cfg(test)]
mod tests;
