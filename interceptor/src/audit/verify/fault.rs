//! What is wrong with a log, and how it is named.

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use super::super::Error;
use super::super::frame::Entry;
use super::super::reader::ReadError;
use crate::flow::ExchangeId;

/// What is wrong with a log, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// Where in it, when it is about a place.
    pub offset: Option<u64>,
    /// The frame that is wrong or missing.
    pub sequence: Option<u64>,
    /// The record it belongs to.
    pub id: Option<ExchangeId>,
    /// What is wrong.
    pub reason: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        if let Some(sequence) = self.sequence {
            write!(f, ", frame {sequence}")?;
        }
        if let Some(id) = self.id {
            write!(f, ", record {id}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Why a verification ends early.
pub(super) enum Stop {
    Fault(Box<Fault>),
    Read(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::Header { path, source } => fault(&path, Some(0), source.to_string()),
            // A pipe, a directory or a link in the place of a file of the log was put there.
            Error::Io { path, source, .. } if source.kind() == ErrorKind::InvalidInput => {
                fault(&path, None, source.to_string())
            }
            other => Self::Read(ReadError::from_log(other)),
        }
    }
}

pub(super) fn fault(path: &Path, offset: Option<u64>, reason: impl Into<String>) -> Stop {
    Stop::Fault(Box::new(Fault { file: name(path), offset, sequence: None, id: None, reason: reason.into() }))
}

pub(super) fn in_frame(path: &Path, at: u64, entry: &Entry, reason: String) -> Stop {
    Stop::Fault(Box::new(Fault {
        file: name(path),
        offset: Some(at),
        sequence: Some(entry.sequence),
        id: Some(entry.exchange),
        reason,
    }))
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
