//! Why reading fails.

use std::path::{Path, PathBuf};

use super::super::checkpoint::CheckpointError;
use super::super::seal::UnsealError;
use super::super::{Class, Error};
use crate::flow::ExchangeId;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no log.
    #[error(
        "there is no audit log in {}: give the state directory with --state, or start the daemon first", .0.display()
    )]
    Missing(PathBuf),
    /// The caller may not read it.
    #[error(
        "{} may not be read by this user: use an account of the audit role (a member of the directory's group), or root",
        .0.display()
    )]
    Denied(PathBuf),
    /// Something else went wrong.
    #[error(transparent)]
    Log(#[from] Error),
    /// A frame's JSON is not what this version writes.
    #[error("{} at byte {offset}: the record is no record: {source}", path.display())]
    Json {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Content that a record refers to is not there.
    #[error("record {0}: a part of its content is missing; run `interceptor log verify`")]
    Incomplete(ExchangeId),
    /// Content that a record had is gone.
    #[error(
        "record {0}: its {1} were removed by retention, or erased: `interceptor log retain --acts` lists when and why"
    )]
    Removed(ExchangeId, Class),
    /// A record that is to be proven is not signed yet.
    #[error(
        "record {0}: no signed checkpoint covers it yet; a running daemon signs one within a second, one that ends signs its last"
    )]
    Unsigned(ExchangeId),
    /// The end of a record is to be proven that has none.
    #[error("record {0} has no end: prove its beginning, without --end")]
    NoEnd(ExchangeId),
    /// Nothing was signed yet, or the checkpoint is gone.
    #[error(
        "the log has no signed checkpoint: a running daemon signs the first within a second; where the file `checkpoint` was \
         removed, `interceptor log verify` says so"
    )]
    NoCheckpoint,
    /// The log is to go on from a state in which it had more.
    #[error(
        "the log's checkpoint covers {size} leaves, fewer than the {old} that it had before: records were removed, or it \
         was put back to an earlier state: run `interceptor log verify`"
    )]
    Shorter {
        /// Leaves now.
        size: u64,
        /// Leaves then.
        old: u64,
    },
    /// The frames are not those that were signed.
    #[error("the log is not what its checkpoint signs: run `interceptor log verify`")]
    Unprovable,
    /// A checkpoint given for comparison is none of this log.
    #[error("{0}")]
    Checkpoint(CheckpointError),
    /// Sealed content cannot be opened.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
}

impl ReadError {
    /// An I/O error on `path`, told apart by what helps.
    pub(crate) fn io(call: &'static str, path: &Path, error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Self::Missing(path.to_path_buf()),
            std::io::ErrorKind::PermissionDenied => Self::Denied(path.to_path_buf()),
            _ => Self::Log(Error::io(call, path, error)),
        }
    }

    /// Why a segment cannot be read, if that is what is wrong: others may be.
    pub(crate) fn of_segment(&self) -> Option<String> {
        match self {
            Self::Log(Error::Header { source, .. }) => Some(source.to_string()),
            Self::Log(Error::Io { call, source, .. }) => Some(format!("{call}: {source}")),
            Self::Log(Error::Inconsistent { reason, .. }) => Some(reason.clone()),
            Self::Denied(_) => Some("this user may not read it".to_owned()),
            _ => None,
        }
    }

    pub(crate) fn from_log(error: Error) -> Self {
        match error {
            Error::Io { path, source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Self::Denied(path)
            }
            other => Self::Log(other),
        }
    }
}
